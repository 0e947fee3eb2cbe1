/*
 * A recipients file out of what a directory lists, or out of an export.
 *
 * The new file is written beside the old one, synced, and takes its place by rename(): a reader sees the old or
 * the new one, whole, and so does whoever reads after a power cut. Entries are canonical, sorted and single, so that two
 * copies can be compared with diff.
 *
 * A list that has shrunk by more than shrink-guard is not believed: more often than not it is a search base that
 * moved, a right that was lost or a page that did not come. An empty list never replaces one that has entries, whatever the
 * guard.
 */
#include "app/directory.h"

#include "base/log.h"
#include "wire/address.h"
#include "wire/address_export.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MOST 20000000u
#define RETRY (300 * NS_PER_SECOND)

struct collection {
	struct directory_sink sink;	/* first: a sink is its collection */
	struct arena arena;
	struct slice *entries;
	size_t count, room;
	size_t passed_over;
};

/* An entry as a recipients file has it: * and # in a local part are themselves only in quotes. */
static struct slice entry_of(struct arena *a, struct slice canonical)
{
	ptrdiff_t at = slice_rfind(canonical, '@');
	struct slice local = slice_head(canonical, at < 0 ? 0 : (size_t)at);

	if (local.n == 0 || local.p[0] == '"' || (slice_find(local, '*') < 0 && slice_find(local, '#') < 0))
		return canonical;
	return slice_of(arena_printf(a, "\"%.*s\"%.*s", SLICE_ARG(local), SLICE_ARG(slice_from(canonical, local.n))));
}

/* One line that the reader of the file would refuse would cost the whole file: it is asked before. */
static bool entry_is_good(struct slice entry)
{
	struct arena scratch = ARENA_INIT;
	const char *why;
	bool good = slice_find(entry, '\n') < 0 && slice_find(entry, '\r') < 0 &&
		address_set_add(address_set_new(&scratch), entry, SLICE_NULL, &why);

	arena_drop(&scratch);
	return good;
}

static bool collect(struct directory_sink *sink, struct slice value)
{
	struct collection *c = (struct collection *)sink;
	struct slice address, canonical = SLICE_NULL;

	if (directory_value_address(value, &address) && address_canonical(&c->arena, address, SLICE_NULL, &canonical))
		canonical = entry_of(&c->arena, canonical);
	if (canonical.n == 0 || !entry_is_good(canonical)) {
		c->passed_over++;
		return true;
	}
	if (c->count == ENTRIES_MOST)
		return false;
	if (c->count == c->room) {
		c->room = c->room ? c->room * 2 : 1024;
		c->entries = realloc(c->entries, c->room * sizeof(*c->entries));
		if (!c->entries)
			arena_exhausted(c->room * sizeof(*c->entries));
	}
	c->entries[c->count++] = canonical;
	return true;
}

static int compare(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void sort_single(struct collection *c)
{
	size_t kept = 0;

	if (c->count == 0)
		return;
	qsort(c->entries, c->count, sizeof(*c->entries), compare);
	for (size_t i = 0; i < c->count; i++)
		if (kept == 0 || !slice_eq(c->entries[kept - 1], c->entries[i]))
			c->entries[kept++] = c->entries[i];
	c->count = kept;
}

static void collection_drop(struct collection *c)
{
	free(c->entries);
	arena_drop(&c->arena);
}

/* Entries of a file as we write it; 0 if there is none. */
static size_t count_entries(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0, n = 0;

	while (f && getline(&line, &room, f) > 0)
		n += line[0] != '#' && line[0] != '\n' && line[0] != '\r';
	free(line);
	if (f)
		fclose(f);
	return n;
}

/* ---- writing ---- */

static bool write_entries(FILE *f, const struct collection *c, const char *origin)
{
	char when[25];
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	clock_rfc3339(t.tv_sec * NS_PER_SECOND + t.tv_nsec, when);
	fprintf(f, "# %s, %s, %zu addresses\n", origin, when, c->count);
	for (size_t i = 0; i < c->count; i++) {
		fwrite(c->entries[i].p, 1, c->entries[i].n, f);
		fputc('\n', f);
	}
	return fflush(f) == 0 && !ferror(f) && fsync(fileno(f)) == 0;
}

static void sync_directory(const char *path)
{
	struct arena a = ARENA_INIT;
	struct slice whole = slice_of(path);
	ptrdiff_t slash = slice_rfind(whole, '/');
	const char *directory = slash > 0 ? slice_cstr(&a, slice_head(whole, (size_t)slash)) : slash == 0 ? "/" : ".";
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	arena_drop(&a);
}

static bool replace_file(const char *path, const struct collection *c, const char *origin, struct directory_why *why)
{
	struct arena a = ARENA_INIT;
	const char *fresh = arena_printf(&a, "%s.new.%d", path, (int)getpid());
	int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	bool ok = f && write_entries(f, c, origin);

	if (f)
		ok = fclose(f) == 0 && ok;
	ok = ok && rename(fresh, path) == 0;
	if (ok)
		sync_directory(path);
	else
		directory_why(why, "%s: %s", fresh, strerror(errno));
	if (!ok && fd >= 0)
		unlink(fresh);
	arena_drop(&a);
	return ok;
}

/* Guards, then writes. */
static bool publish(const char *path, struct collection *c, unsigned guard, const char *origin,
	struct directory_copy *out, struct directory_why *why)
{
	sort_single(c);
	*out = (struct directory_copy){ .had = count_entries(path), .has = c->count, .passed_over = c->passed_over };
	if (c->count == 0 && out->had > 0) {
		directory_why(why, "refused: the new list is empty, %s has %zu addresses", path, out->had);
		return false;
	}
	if (guard > 0 && guard < 100 && c->count * 100 < out->had * (100 - guard)) {
		directory_why(why, "refused: the new list has %zu addresses, %s has %zu, and shrink-guard is %u per cent (spurn "
			"recipient sync --force if this is meant)", c->count, path, out->had, guard);
		return false;
	}
	return replace_file(path, c, origin, why);
}

/* ---- a directory ---- */

bool directory_copy_make(struct directory_source *s, unsigned guard, struct directory_copy *out, struct directory_why *why)
{
	const struct directory_conf *conf = directory_source_conf(s);
	struct directory_health *h = directory_source_health(s);
	struct collection c = { .sink = { collect } };
	struct arena a = ARENA_INIT;
	bool ok = directory_source_list(s, &c.sink, why) &&
		publish(conf->copy, &c, guard, arena_printf(&a, "copy of directory %s", conf->name), out, why);
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	snprintf(h->copy_error, sizeof(h->copy_error), "%s", ok ? "" : why->text);
	if (ok) {
		h->copied = out->has;
		h->copied_at = t.tv_sec * NS_PER_SECOND + t.tv_nsec;
	}
	arena_drop(&a);
	collection_drop(&c);
	return ok;
}

bool directory_copy_import(const char *path, struct slice text, const char *column, unsigned guard,
	struct directory_copy *out, struct directory_why *why)
{
	struct collection c = { .sink = { collect } };
	struct address_export *e = arena_new(&c.arena, struct address_export);
	struct slice value;
	const char *reason = NULL;
	bool ok = address_export_open(e, &c.arena, text, slice_of(column), &reason);

	while (ok && address_export_next(e, &c.arena, &value, &reason))
		ok = collect(&c.sink, value);
	if (!ok || reason)
		directory_why(why, "%s", reason ? reason : "too many addresses");
	ok = ok && !reason && publish(path, &c, guard, "import", out, why);
	collection_drop(&c);
	return ok;
}

/* ---- the schedule ---- */

/* So long until it is due. */
static nanoseconds due_in(const struct directory_conf *conf, bool failed)
{
	struct timespec now;
	struct stat st;
	nanoseconds age;

	if (failed)
		return conf->copy_every < RETRY ? conf->copy_every : RETRY;
	clock_gettime(CLOCK_REALTIME, &now);
	if (stat(conf->copy, &st) != 0)
		return 0;
	age = (now.tv_sec - st.st_mtim.tv_sec) * NS_PER_SECOND + now.tv_nsec - st.st_mtim.tv_nsec;
	if (age < 0 || age >= conf->copy_every)
		return 0;
	return conf->copy_every - age;
}

static void *keep_copy(void *arg)
{
	struct directory_source *s = arg;
	const struct directory_conf *conf = directory_source_conf(s);
	bool failed = false, said = false;

	for (;;) {
		nanoseconds wait = due_in(conf, failed);
		struct timespec pause = { .tv_sec = wait / NS_PER_SECOND, .tv_nsec = wait % NS_PER_SECOND };
		struct directory_copy copy;
		struct directory_why why;

		if (wait > 0)
			nanosleep(&pause, NULL);
		failed = !directory_copy_make(s, conf->shrink_guard, &copy, &why);
		if (failed && !said)
			log_alert("directory %s: copy %s: %s; the old one stays in use", conf->name, conf->copy, why.text);
		else if (!failed)
			log_info("directory %s: copy %s: %zu addresses, %zu before", conf->name, conf->copy, copy.has, copy.had);
		said = failed;
	}
	return NULL;
}

bool directory_copy_schedule(struct directory_source *s)
{
	pthread_t thread;
	pthread_attr_t attributes;
	bool ok;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 512 * 1024);
	ok = pthread_create(&thread, &attributes, keep_copy, s) == 0;
	pthread_attr_destroy(&attributes);
	return ok;
}
