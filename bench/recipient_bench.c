/*
 * What a warm answer about a recipient costs: recipient_look_up() alone, finding and reason included, as RCPT calls it.
 *
 *   recipient_bench [ADDRESSES [LOOK-UPS]]      default 100000, 300000; a store and a list in a directory in /tmp
 *
 * Addresses are taken in an order without pattern. Each way is measured in five rounds, interleaved; a line is the median of them, in
 * nanoseconds. No directory and no backend is there to be asked, so an answer that is not warm ends the run.
 */
#include "base/clock.h"
#include "check/recipient_record.h"
#include "net/store_lmdb.h"
#include "run/loop.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOUR (3600 * NS_PER_SECOND)
#define ROUNDS 5
#define WAYS 5

static struct arena lasting;
static struct store *store;
static uint64_t addresses = 100000, look_ups = 300000;

static struct recipient_directory directory = { .name = "users" };
static struct recipient_source list = { .kind = SOURCE_FILE }, others = { .kind = SOURCE_FILE };
static const struct recipient_source warm = { .kind = SOURCE_DIRECTORY, .directory = &directory };

static struct way {
	const char *name, *domain;
	struct recipient_source sources[2];
	size_t count;
	enum recipient_answer expected;
	nanoseconds each[ROUNDS];
} ways[WAYS];

static struct slice address(struct arena *a, uint64_t n, const char *domain)
{
	return slice_of(arena_printf(a, "user%llu@%s", (unsigned long long)n, domain));
}

static uint64_t scattered(uint64_t n)
{
	n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	n ^= n >> 29;
	return n * UINT64_C(0xbf58476d1ce4e5b9) % addresses;
}

static struct recipient_conf conf_of(const struct way *w)
{
	return (struct recipient_conf){ .sources = w->sources, .source_count = w->count, .positive_ttl = 168 * HOUR,
		.refresh_after = 24 * HOUR, .negative_ttl = HOUR, .confirm_after = HOUR, .fresh = HOUR, .stale_for = 48 * HOUR };
}

static struct list_file *list_of(const char *path, const char *domain, uint64_t count)
{
	struct list_file *file;
	const char *why;
	FILE *f = fopen(path, "w");

	for (uint64_t i = 0; f && i < count; i++)
		fprintf(f, "user%llu@%s\n", (unsigned long long)i, domain);
	if (!f || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
	file = list_file_open(path, LIST_RECIPIENTS, SLICE("+"), 0, &lasting, &why);
	if (!file) {
		fprintf(stderr, "recipient_bench: %s\n", why);
		exit(1);
	}
	return file;
}

/* What the directory, or the backend, said of everybody. */
static void remember(const struct way *w, bool of_directory, bool exists)
{
	const struct reply said = { .code = 250, .text = SLICE("ok") };
	struct recipient_conf conf = conf_of(w);

	for (uint64_t i = 0; i < addresses; i++) {
		struct arena a = ARENA_INIT;
		struct recipient r = { .canonical = address(&a, i, w->domain) };
		const char *reason;

		if (of_directory)
			r.canonical = recipient_directory_record(&a, &directory, r.canonical);
		if (exists)
			recipient_learn_exists(&conf, store, &r, &said);
		else
			recipient_learn_no(&conf, store, &r, NULL, &reason);
		arena_drop(&a);
		if (i % 1000 == 0)
			store_flush(store);	/* a cache drops what comes faster than it is written */
	}
	store_flush(store);
}

static nanoseconds run(const struct way *w)
{
	struct recipient_conf conf = conf_of(w);
	nanoseconds spent = 0;

	for (uint64_t done = 0; done < look_ups;) {
		enum { BATCH = 100 };	/* a transaction of so many recipients: arena and addresses are not measured */
		struct arena a = ARENA_INIT;
		struct recipient r[BATCH];
		struct findings findings = { 0 };
		nanoseconds began;

		for (int i = 0; i < BATCH; i++, done++)
			r[i] = (struct recipient){ .canonical = address(&a, scattered(done), w->domain) };
		began = clock_precise();
		for (int i = 0; i < BATCH; i++)
			if (recipient_look_up(&conf, store, &r[i], false, &findings, &a, DEADLINE_NONE) != w->expected) {
				fprintf(stderr, "recipient_bench: %s: not warm: %.*s\n", w->name, SLICE_ARG(r[i].canonical));
				exit(1);
			}
		spent += clock_precise() - began;
		arena_drop(&a);
	}
	return spent / (nanoseconds)look_ups;
}

static int by_value(const void *a, const void *b)
{
	nanoseconds x = *(const nanoseconds *)a, y = *(const nanoseconds *)b;

	return x < y ? -1 : x > y;
}

static char home[] = "/tmp/recipient_bench.XXXXXX";

static int away(const char *path, const struct stat *status, int kind, struct FTW *where) { return remove(path); }

static void clean(void)
{
	if (nftw(home, away, 8, FTW_DEPTH | FTW_PHYS) != 0)
		fprintf(stderr, "recipient_bench: %s is left\n", home);
}

static void prepare(void)
{
	static const struct recipient_source callforward = { .kind = SOURCE_CALLFORWARD };

	list.file = list_of(arena_printf(&lasting, "%s/users", home), "list.example", addresses);
	others.file = list_of(arena_printf(&lasting, "%s/others", home), "others.example", 1000);
	ways[0] = (struct way){ "a list in memory", "list.example", { list }, 1, RECIPIENT_EXISTS, { 0 } };
	ways[1] = (struct way){ "a directory, warm", "users.example", { warm }, 1, RECIPIENT_EXISTS, { 0 } };
	ways[2] = (struct way){ "list, then directory, warm", "users.example", { others, warm }, 2, RECIPIENT_EXISTS, { 0 } };
	ways[3] = (struct way){ "a directory's no, remembered", "gone.example", { warm }, 1, RECIPIENT_NO_SUCH_USER, { 0 } };
	ways[4] = (struct way){ "callforward, known", "backend.example", { callforward }, 1, RECIPIENT_EXISTS, { 0 } };
	remember(&ways[1], true, true);
	remember(&ways[3], true, false);
	remember(&ways[4], false, true);
}

int main(int argc, char **argv)
{
	struct store_conf store_conf = { .directory = mkdtemp(home) };
	const char *why = "no directory in /tmp";

	addresses = argc > 1 ? strtoull(argv[1], NULL, 10) : addresses;
	look_ups = argc > 2 ? strtoull(argv[2], NULL, 10) : look_ups;
	if (store_conf.directory)
		atexit(clean);
	loop_init();
	store = store_conf.directory && addresses > 0 && look_ups >= 100 ? store_open(&lasting, &store_conf, &why) : NULL;
	if (!store) {
		fprintf(stderr, "recipient_bench: %s\n", why);
		return 1;
	}
	prepare();
	for (int i = 0; i < ROUNDS; i++)
		for (size_t w = 0; w < WAYS; w++)
			ways[w].each[i] = run(&ways[w]);
	for (size_t w = 0; w < WAYS; w++) {
		qsort(ways[w].each, ROUNDS, sizeof(ways[w].each[0]), by_value);
		printf("%-30s %6lld ns a look-up (%lld to %lld)\n", ways[w].name, (long long)ways[w].each[ROUNDS / 2],
			(long long)ways[w].each[0], (long long)ways[w].each[ROUNDS - 1]);
	}
	store_close(store);
	arena_drop(&lasting);
	loop_drop();
	return 0;
}
