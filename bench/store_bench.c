/*
 * What the store costs. Each figure is of one worker's main thread; the writer thread runs beside it.
 *
 *   store_bench [ENTRIES [DIRECTORY [PENDING-DIRECTORY]]]      default 1000000, a directory in /tmp
 *
 * First the life of a commit entry (claim, update, delete) and plain puts into an empty store, then ENTRIES
 * puts, their size on the disk, look-ups of random present and absent keys, and the slowest puts while the
 * writer commits. With a second store beside it, as of another worker, look-ups cost twice the walk.
 */
#include "base/clock.h"
#include "net/store_lmdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store *store;

static uint64_t key_at(uint64_t n)
{
	n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	n ^= n >> 29;
	return n * UINT64_C(0xbf58476d1ce4e5b9);
}

static struct store_key key_of(uint64_t n)
{
	uint64_t bytes = key_at(n);
	struct slice part = slice_make((const char *)&bytes, 8);

	return store_key(store, STORE_SENT, &part, 1);
}

static double user_seconds(int who)
{
	struct rusage r;

	getrusage(who, &r);
	return (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec +
		(double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void report(const char *what, uint64_t count, nanoseconds spent)
{
	printf("%-46s %8.0f ns   %9.0f /s\n", what, (double)spent / (double)count,
		(double)count * 1e9 / (double)spent);
}

static struct store_value value_now(uint64_t n)
{
	struct store_value v = { .length = 16, .expires = (uint32_t)time(NULL) + 86400 };

	memcpy(v.bytes, &n, 8);
	return v;
}

static void bench_commit(uint64_t count)
{
	struct store_value existing, v = value_now(1);
	struct store_stats st;
	nanoseconds begin = clock_precise();
	bool won;

	for (uint64_t i = 0; i < count; i++) {
		struct store_key k = key_of(1000000000 + i);
		store_claim(store, STORE_COMMIT, &k, &v, &won, &existing);
		store_put(store, STORE_COMMIT, &k, &v);
		store_delete(store, STORE_COMMIT, &k);
	}
	report("claim + update + delete", count, clock_precise() - begin);
	store_stats(store, &st);
	printf("%-46s %8.2f %% never cost a transaction\n", "", 100.0 * (double)st.saved / (double)count);
}

static int by_size(const void *a, const void *b)
{
	const nanoseconds *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Paced: so many a second, each measured. */
static void bench_slowest(const char *what, uint64_t base, uint64_t count, uint64_t per_second)
{
	nanoseconds *spent = malloc(count * sizeof(*spent)), next = clock_precise();

	for (uint64_t i = 0; i < count; i++) {
		struct store_key k = key_of(base + i);
		struct store_value v = value_now(i);
		while (clock_precise() < next)
			usleep(100);
		next += NS_PER_SECOND / (nanoseconds)per_second;
		nanoseconds begin = clock_precise();
		if (store_put(store, STORE_SENT, &k, &v) != STORE_OK)
			printf("trouble\n");
		spent[i] = clock_precise() - begin;
	}
	qsort(spent, count, sizeof(*spent), by_size);
	uint64_t at_99 = count / 100 * 99, at_999 = count / 1000 * 999, middle = count / 2;
	printf("%-46s median %.1f us, 99 %% %.1f, 99.9 %% %.1f, worst %.1f us\n", what, (double)spent[middle] / 1e3,
		(double)spent[at_99] / 1e3, (double)spent[at_999] / 1e3, (double)spent[count - 1] / 1e3);
	free(spent);
}

static void bench_puts(uint64_t count)
{
	nanoseconds begin = clock_precise();
	uint64_t waits = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct store_key k = key_of(i);
		struct store_value v = value_now(i);
		while (store_put(store, STORE_SENT, &k, &v) != STORE_OK) {
			waits++;
			usleep(1000);
		}
	}
	store_flush(store);
	report("puts, as fast as they are committed", count, clock_precise() - begin);
}

static void bench_gets(const char *what, uint64_t entries, uint64_t from, uint64_t count)
{
	nanoseconds begin = clock_precise();
	uint64_t found = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct store_key k = key_of(from + key_at(i) % entries);
		struct store_value v;
		found += store_get(store, STORE_SENT, &k, &v) == STORE_OK;
	}
	report(what, count, clock_precise() - begin);
	if (found != (from ? 0 : count))
		printf("found %llu of %llu\n", (unsigned long long)found, (unsigned long long)count);
}

static struct store *open_or_end(struct arena *a, const char *directory, const char *pending, unsigned slot)
{
	struct store_conf conf = { .directory = directory, .pending_directory = pending, .slot = slot };
	const char *why;

	store = store_open(a, &conf, &why);
	if (!store || why)
		fprintf(stderr, "store_bench: %s\n", why);
	if (!store)
		exit(1);
	return store;
}

int main(int argc, char **argv)
{
	struct arena a = ARENA_INIT;
	uint64_t entries = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
	char place[] = "/tmp/store_bench.XXXXXX";
	const char *directory = argc > 2 ? argv[2] : mkdtemp(place), *pending = argc > 3 ? argv[3] : NULL;
	struct store_stats st;
	struct stat file;

	open_or_end(&a, directory, pending, 0);
	store_key(store, STORE_SENT, NULL, 0);
	nanoseconds begin = clock_precise();
	for (uint64_t i = 0; i < 1000000; i++)
		key_of(i);
	report("key of 8 bytes", 1000000, clock_precise() - begin);
	bench_commit(1000000);
	begin = clock_precise();
	for (uint64_t i = 0; i < 8000; i++) {
		struct store_key k = key_of(2000000000 + i);
		struct store_value v = value_now(i);
		store_put(store, STORE_CACHE, &k, &v);
	}
	report("put", 8000, clock_precise() - begin);
	store_flush(store);

	double cpu = user_seconds(RUSAGE_SELF);
	bench_puts(entries);
	cpu = user_seconds(RUSAGE_SELF) - cpu;
	store_stats(store, &st);
	stat(arena_printf(&a, "%s/0/data.mdb", directory), &file);
	printf("%-46s %8.2f us CPU an entry, %llu commits\n", "", cpu * 1e6 / (double)entries,
		(unsigned long long)st.commits);
	printf("%-46s %8.1f bytes an entry in use (value of 16), file %lld MB\n", "",
		(double)st.map_used / (double)(st.entries[STORE_SENT]), (long long)file.st_size >> 20);
	bench_gets("get, present", entries, 0, 1000000);
	bench_gets("get, absent", entries, 3000000000, 1000000);
	bench_slowest("put at 5,000 a second", 4000000000, 50000, 5000);
	store_close(store);

	/* The same beside an empty store of another worker, and as its owner's neighbour. */
	open_or_end(&a, directory, pending, 1);
	bench_gets("get, present, in the other of two slots", entries, 0, 1000000);
	bench_gets("get, absent, two slots", entries, 3000000000, 1000000);
	bench_commit(1000000);
	store_close(store);
	arena_drop(&a);
	return 0;
}
