/*
 * Packing: a segment is written anew as gzip of many members, each of whole
 * lines, with a table of where they begin and a complete index.
 *
 * One record can so be read by unpacking 256 KiB, and `zcat` reads it all. Everything is
 * written under temporary names, brought to the disk, and renamed, the data
 * last: whatever dies, the form before is there or this one is whole.
 *
 * Rejected: one gzip stream with saved inflate states (32 KiB of window each), zstd's
 * seekable format (a further library, and no zcat).
 */
#include "edge/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define READ_CHUNK (1024u * 1024u)
#define LEVEL 6

struct packer {
	const struct journal_salt *salt;	/* NULL: nothing is faded */
	const char *directory, *stem;
	int fd;
	z_stream z;
	struct arena member_arena;		/* of the text of the member under way */
	struct str text;
	uint64_t text_total, packed_total;
	unsigned char *packed;
	size_t packed_cap;
	struct arena arena;			/* of the two tables */
	struct str members, index;
	uint64_t offset;			/* of the record being indexed */
};

static void pack_path(const struct packer *p, char out[JOURNAL_PATH], const char *kind, const char *ending)
{
	char whole[64];

	snprintf(whole, sizeof(whole), "%s%s%s", p->salt ? ".faded" : "", kind, ending);
	journal_file_path(out, p->directory, p->stem, whole);
}

static int create(const struct packer *p, const char *kind)
{
	char path[JOURNAL_PATH];

	pack_path(p, path, kind, ".tmp");
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
}

static bool write_all(int fd, const void *bytes, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t wrote = write(fd, (const char *)bytes + done, n - done);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return false;
		done += (size_t)wrote;
	}
	return true;
}

/* Adds an entry to one of the tables. */
static void add_entry(struct str *table, const void *entry, size_t n)
{
	str_add(table, slice_make(entry, n));
}

static bool flush_member(struct packer *p)
{
	struct journal_member member = { p->text_total, p->packed_total };
	size_t bound, n;

	if (p->text.n == 0)
		return true;
	deflateReset(&p->z);
	bound = deflateBound(&p->z, p->text.n);
	if (bound > p->packed_cap) {
		free(p->packed);
		p->packed_cap = bound;
		p->packed = malloc(bound);
		if (!p->packed) {
			p->packed_cap = 0;
			return false;
		}
	}
	p->z.next_in = (Bytef *)p->text.p;
	p->z.avail_in = (uInt)p->text.n;
	p->z.next_out = p->packed;
	p->z.avail_out = (uInt)p->packed_cap;
	if (deflate(&p->z, Z_FINISH) != Z_STREAM_END)
		return false;
	n = p->packed_cap - p->z.avail_out;
	add_entry(&p->members, &member, sizeof(member));
	p->text_total += p->text.n;
	p->packed_total += n;
	p->text.n = 0;
	return write_all(p->fd, p->packed, n);
}

static bool index_key(void *arg, const char *path, struct slice raw)
{
	struct packer *p = arg;
	struct arena scratch = ARENA_INIT;
	struct str plain = STR_IN(&scratch);

	if (raw.n == 0 || !journal_path_is_key(path))
		return true;
	journal_unescape(&plain, raw);
	struct journal_index_entry entry = { journal_key_hash(str_slice(&plain)), p->offset };

	add_entry(&p->index, &entry, sizeof(entry));
	arena_drop(&scratch);
	return true;
}

/* One line. What is no record cannot be faded, so it is not kept; where nothing is faded it is, and offsets stay. */
static bool pack_line(struct packer *p, struct slice line)
{
	size_t before = p->text.n;

	if (!p->salt)
		str_add(&p->text, line);
	else if (!journal_fade(&p->text, p->salt, line))
		p->text.n = before;
	p->offset = p->text_total + before;
	if (p->salt && p->text.n == before)
		return true;
	journal_each_text(slice_from(str_slice(&p->text), before), index_key, p);
	str_addc(&p->text, '\n');
	return p->text.n < JOURNAL_MEMBER_SIZE || flush_member(p);
}

static bool pack_lines(struct packer *p, struct journal_segment *from)
{
	struct slice lines;
	uint64_t offset = 0;

	for (;;) {
		if (!journal_segment_lines(from, offset, READ_CHUNK, &lines))
			return false;
		if (lines.n == 0)
			return flush_member(p);
		offset += lines.n;
		while (lines.n > 0)
			if (!pack_line(p, slice_split(&lines, '\n')))
				return false;
	}
}

static bool write_table(const struct packer *p, const char *kind, const struct str *table)
{
	int fd = create(p, kind);
	bool ok = fd >= 0 && write_all(fd, table->p, table->n) && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool appear(const struct packer *p, const char *kind)
{
	char from[JOURNAL_PATH], to[JOURNAL_PATH];

	pack_path(p, from, kind, ".tmp");
	pack_path(p, to, kind, "");
	return rename(from, to) == 0;
}

static bool sync_directory(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool finish(struct packer *p)
{
	struct journal_member end = { p->text_total, p->packed_total };

	add_entry(&p->members, &end, sizeof(end));
	return fsync(p->fd) == 0 && write_table(p, ".gzi", &p->members) && write_table(p, ".idx", &p->index) &&
		appear(p, ".idx") && appear(p, ".gzi") && appear(p, ".jsonl.gz") && sync_directory(p->directory);
}

static void remove_file(const char *directory, const char *stem, const char *ending)
{
	char path[JOURNAL_PATH];

	journal_file_path(path, directory, stem, ending);
	unlink(path);
}

static void remove_temporary(const struct packer *p)
{
	static const char *const kinds[] = { ".jsonl.gz", ".gzi", ".idx" };
	char path[JOURNAL_PATH];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		pack_path(p, path, kinds[i], ".tmp");
		unlink(path);
	}
}

void journal_remove(const char *directory, const char *stem, bool faded_too)
{
	static const char *const endings[] = { ".jsonl", ".jsonl.gz", ".gzi", ".idx" };
	static const char *const faded[] = { ".faded.jsonl.gz", ".faded.gzi", ".faded.idx" };

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
		remove_file(directory, stem, endings[i]);
	for (size_t i = 0; i < sizeof(faded) / sizeof(faded[0]) && faded_too; i++)
		remove_file(directory, stem, faded[i]);
}

bool journal_pack(struct journal_segment *from, const char *directory, const char *stem, const struct journal_salt *salt)
{
	struct packer p = { .salt = salt, .directory = directory, .stem = stem, .fd = -1 };
	bool ok;
	int error;

	p.members = STR_IN(&p.arena);
	p.index = STR_IN(&p.arena);
	p.text = STR_IN(&p.member_arena);
	if (deflateInit2(&p.z, LEVEL, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		errno = ENOMEM;
		return false;
	}
	p.fd = create(&p, ".jsonl.gz");
	ok = p.fd >= 0 && pack_lines(&p, from) && (p.text_total == 0 || finish(&p));
	error = errno;
	if (p.fd >= 0)
		close(p.fd);
	/* Nothing but the beginning of a line: nothing is kept. */
	if (!ok || p.text_total == 0)
		remove_temporary(&p);
	if (ok && p.text_total == 0)
		journal_remove(directory, stem, false);
	else if (ok && salt)
		journal_remove(directory, stem, false);
	else if (ok)
		remove_file(directory, stem, ".jsonl");
	deflateEnd(&p.z);
	free(p.packed);
	arena_drop(&p.member_arena);
	arena_drop(&p.arena);
	errno = error;
	return ok;
}
