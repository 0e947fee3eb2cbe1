/*
 * One segment of the journal, for reading, in whichever form it is.
 *
 * Data is read by pread() and not mapped: on a failing disk a read is an error,
 * a mapped page is a signal, and the thread that ages segments lives in a
 * worker. Only the index, which the tool alone reads, is mapped. A packed segment
 * is read member by member; the table beside it says where they begin, and if
 * that is lost they are found by unpacking once.
 */
#include "edge/journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define LINE_LIMIT (64u * 1024u * 1024u)	/* a longer line is damage */
#define GZIP_WINDOW (16 + MAX_WBITS)

/* ---- names ---- */

void journal_file_path(char out[JOURNAL_PATH], const char *directory, const char *stem, const char *ending)
{
	snprintf(out, JOURNAL_PATH, "%s/%s%s", directory, stem, ending);
}

static int compare_stems(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The stem of a data file's name; empty for any other file. */
static struct slice stem_of(const char *name)
{
	static const char *const endings[] = { ".faded.jsonl.gz", ".jsonl.gz", ".jsonl" };
	struct slice s = slice_of(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		struct slice ending = slice_of(endings[i]);

		if (slice_ends_nocase(s, ending))
			return slice_head(s, s.n - ending.n);
	}
	return SLICE_NULL;
}

static void add_stem(struct arena *a, const char ***list, size_t *count, size_t *cap, struct slice stem)
{
	if (*count == *cap) {
		const char **more = arena_array(a, const char *, *cap ? *cap * 2 : 64);

		if (*count > 0)
			memcpy(more, *list, *count * sizeof(*more));
		*cap = *cap ? *cap * 2 : 64;
		*list = more;
	}
	(*list)[(*count)++] = slice_cstr(a, stem);
}

bool journal_stems(struct arena *a, const char *directory, const char ***out, size_t *count)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	const char **list = NULL;
	size_t n = 0, cap = 0, kept = 0;

	if (!d)
		return false;
	while ((e = readdir(d))) {
		struct slice stem = stem_of(e->d_name);

		if (stem.n > 0 && journal_stem_begun(e->d_name) >= 0)
			add_stem(a, &list, &n, &cap, stem);
	}
	closedir(d);
	if (n > 0)
		qsort(list, n, sizeof(*list), compare_stems);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || strcmp(list[kept - 1], list[i]) != 0)
			list[kept++] = list[i];
	*out = list;
	*count = kept;
	return true;
}

nanoseconds journal_stem_begun(const char *stem)
{
	struct tm tm = { 0 };
	const char *end = strptime(stem, "%Y%m%dT%H%M%S", &tm);

	return end && (*end == '-' || *end == '.') ? (nanoseconds)timegm(&tm) * NS_PER_SECOND : -1;
}

bool journal_stem_slot_eq(const char *a, const char *b)
{
	const char *slot_a = strrchr(a, '.'), *slot_b = strrchr(b, '.');

	return slot_a && slot_b && strcmp(slot_a, slot_b) == 0;
}

/* ---- reading ---- */

/* All of it, unless the end of the file comes first; -1: errno. */
static ssize_t read_at(int fd, void *out, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(offset + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static bool text_reserve(struct journal_segment *s, size_t n)
{
	char *more;

	if (n <= s->text_cap)
		return true;
	more = realloc(s->text, n);
	if (!more)
		return false;
	s->text = more;
	s->text_cap = n;
	return true;
}

/* From a file that is not packed. What stands behind the last newline is being written, or was when its writer died. */
static bool load_plain(struct journal_segment *s, uint64_t offset, size_t want)
{
	for (;; want *= 4) {
		size_t n = s->size - offset < want ? (size_t)(s->size - offset) : want;
		ssize_t got;
		const char *last;

		if (!text_reserve(s, n + 1))
			return false;
		got = read_at(s->fd, s->text, n, offset);
		if (got < 0)
			return false;
		last = memrchr(s->text, '\n', (size_t)got);
		s->text_at = offset;
		s->text_n = last ? (size_t)(last + 1 - s->text) : 0;
		if (last || (size_t)got < want)
			return true;
		if (want >= LINE_LIMIT) {
			errno = EBADMSG;
			return false;
		}
	}
}

/* Unpacks n octets, which are one member, into exactly `size`. */
static bool unpack(const char *packed, size_t n, unsigned char *out, size_t size)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)packed, .avail_in = (uInt)n, .avail_out = (uInt)size };
	bool ok;

	z.next_out = out;

	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return false;
	ok = inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_out == 0;
	inflateEnd(&z);
	return ok;
}

static bool load_member(struct journal_segment *s, const struct journal_member *m)
{
	uint64_t size = m[1].text - m[0].text, n = m[1].packed - m[0].packed;
	char *packed;
	bool ok;

	s->text_n = 0;
	errno = EBADMSG;
	if (size > LINE_LIMIT || n > LINE_LIMIT)
		return false;
	packed = malloc(n + 1);
	ok = packed && text_reserve(s, size + 1) && read_at(s->fd, packed, n, m->packed) == (ssize_t)n &&
		unpack(packed, n, (unsigned char *)s->text, size);
	free(packed);
	if (!ok) {
		errno = EBADMSG;
		return false;
	}
	s->text_at = m->text;
	s->text_n = size;
	return true;
}

/* The member in which an offset lies. */
static const struct journal_member *find_member(const struct journal_segment *s, uint64_t offset)
{
	size_t low = 0, high = s->member_count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (s->members[middle].text <= offset)
			low = middle;
		else
			high = middle;
	}
	return &s->members[low];
}

bool journal_segment_lines(struct journal_segment *s, uint64_t offset, size_t want, struct slice *lines)
{
	*lines = SLICE_NULL;
	if (offset >= s->size)
		return true;
	if (offset < s->text_at || offset >= s->text_at + s->text_n) {
		if (!(s->packed ? load_member(s, find_member(s, offset)) : load_plain(s, offset, want)))
			return false;
		if (offset < s->text_at || offset >= s->text_at + s->text_n)
			return true;
	}
	*lines = slice_make(s->text + (offset - s->text_at), s->text_n - (size_t)(offset - s->text_at));
	return true;
}

void journal_segment_rest(struct journal_segment *s)
{
	free(s->text);
	s->text = NULL;
	s->text_n = s->text_cap = 0;
}

/* ---- opening ---- */

static bool add_member(struct journal_segment *s, size_t *cap, uint64_t text, uint64_t packed)
{
	if (s->member_count + 1 >= *cap) {
		size_t size = *cap ? *cap * 2 : 64;
		struct journal_member *more = realloc(s->members, size * sizeof(*more));

		if (!more)
			return false;
		s->members = more;
		*cap = size;
	}
	s->members[s->member_count++] = (struct journal_member){ text, packed };
	return true;
}

/* Feeds z with what comes next of the file. false: there is no more. */
static bool feed(struct journal_segment *s, z_stream *z, unsigned char *in, size_t size, uint64_t *at)
{
	ssize_t got = read_at(s->fd, in, size, *at);

	if (got <= 0)
		return false;
	*at += (uint64_t)got;
	z->next_in = in;
	z->avail_in = (uInt)got;
	return true;
}

/* The table is lost: find the members. What cannot be unpacked is not there. */
static bool find_members(struct journal_segment *s)
{
	unsigned char in[16384], out[32768];
	z_stream z = { 0 };
	uint64_t at = 0, text = 0;
	size_t cap = 0;
	bool ok;

	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return false;
	s->member_count = 0;
	ok = add_member(s, &cap, 0, 0);
	while (ok && (z.avail_in > 0 || feed(s, &z, in, sizeof(in), &at))) {
		int rc;

		z.next_out = out;
		z.avail_out = sizeof(out);
		rc = inflate(&z, Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END)
			break;
		text += sizeof(out) - z.avail_out;
		if (rc == Z_STREAM_END) {
			ok = add_member(s, &cap, text, at - z.avail_in);
			inflateReset(&z);
		}
	}
	inflateEnd(&z);
	s->member_count--;
	return ok;
}

static bool members_are_sane(const struct journal_segment *s, off_t file_size)
{
	for (size_t i = 0; i < s->member_count; i++)
		if (s->members[i].text >= s->members[i + 1].text || s->members[i].packed >= s->members[i + 1].packed)
			return false;
	return s->members[0].text == 0 && s->members[0].packed == 0 &&
		s->members[s->member_count].packed == (uint64_t)file_size;
}

static bool read_members(struct journal_segment *s, const char *path, off_t file_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool ok = false;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(*s->members) &&
	    st.st_size % (off_t)sizeof(*s->members) == 0) {
		s->members = malloc((size_t)st.st_size);
		s->member_count = (size_t)st.st_size / sizeof(*s->members) - 1;
		ok = s->members && read_at(fd, s->members, (size_t)st.st_size, 0) == st.st_size &&
			members_are_sane(s, file_size);
	}
	close(fd);
	return ok;
}

static void map_index(struct journal_segment *s, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(*s->index)) {
		p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		if (p != MAP_FAILED) {
			s->index = p;
			s->index_bytes = (size_t)st.st_size;
			s->index_count = s->index_bytes / sizeof(*s->index);
		}
	}
	close(fd);
}

static bool open_form(struct journal_segment *s, const char *directory, const char *stem, bool packed, bool faded)
{
	char path[JOURNAL_PATH];
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->packed = packed;
	s->faded = faded;
	journal_file_path(path, directory, stem, faded ? ".faded.jsonl.gz" : packed ? ".jsonl.gz" : ".jsonl");
	s->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s->fd < 0)
		return false;
	if (fstat(s->fd, &st) != 0)
		goto fail;
	s->size = (uint64_t)st.st_size;
	if (packed) {
		journal_file_path(path, directory, stem, faded ? ".faded.gzi" : ".gzi");
		if (!read_members(s, path, st.st_size) && !find_members(s))
			goto fail;
		s->size = s->members[s->member_count].text;
	}
	journal_file_path(path, directory, stem, faded ? ".faded.idx" : ".idx");
	map_index(s, path);
	return true;
fail:
	journal_segment_close(s);
	return false;
}

bool journal_segment_open(struct journal_segment *s, const char *directory, const char *stem)
{
	/* Twice: while we look it may pass from one form to the next. */
	for (int attempt = 0; attempt < 2; attempt++)
		if (open_form(s, directory, stem, true, true) || open_form(s, directory, stem, false, false) ||
		    open_form(s, directory, stem, true, false))
			return true;
	return false;
}

void journal_segment_close(struct journal_segment *s)
{
	int error = errno;

	if (s->fd >= 0)
		close(s->fd);
	if (s->index)
		munmap((void *)(uintptr_t)s->index, s->index_bytes);
	free(s->members);
	free(s->text);
	memset(s, 0, sizeof(*s));
	s->fd = -1;
	errno = error;
}
