/*
 * The store: one process, several processes, killed processes, damaged files.
 *
 * Workers are forked children that are told by a byte through a pipe what to do and answer with a byte;
 * whoever forks has no store open at that moment, as the master.
 */
#include "unit.h"

#include "net/store_lmdb.h"

#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- tools ---- */

static struct arena arena;
static char place[64];
static int stores;	/* open */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
	return remove(path);
}

static int place_make(void **state)
{
	arena = ARENA_INIT;
	strcpy(place, "/tmp/test_store.XXXXXX");
	assert_non_null(mkdtemp(place));
	return 0;
}

static int place_remove(void **state)
{
	/* A test that failed has left its store with its thread in there. */
	if (stores == 0)
		arena_drop(&arena);
	arena = ARENA_INIT;
	stores = 0;
	return nftw(place, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(const char *name)
{
	return arena_printf(&arena, "%s/%s", place, name);
}

static struct store_conf conf_of(unsigned slot)
{
	return (struct store_conf){ .directory = place, .slot = slot, .map_size = 64u << 20 };
}

static struct store *open_conf(struct store_conf conf)
{
	const char *why = "unset";
	struct store *s = store_open(&arena, &conf, &why);

	if (!s || why)
		print_error("store_open: %s\n", why);
	assert_non_null(s);
	assert_null(why);
	stores++;
	return s;
}

static void close_store(struct store *s)
{
	store_close(s);
	stores--;
}

static struct store *open_slot(unsigned slot)
{
	return open_conf(conf_of(slot));
}

/* For expiry and the like: everything inline, the clock stands still. */
static struct store *open_still(unsigned slot)
{
	struct store_conf conf = conf_of(slot);

	conf.synchronous = true;
	return open_conf(conf);
}

static uint32_t in_seconds(uint32_t seconds)
{
	return (uint32_t)clock_wall_seconds() + seconds;
}

static struct store_key key_number(const struct store *s, uint64_t n)
{
	struct slice part = slice_make((const char *)&n, sizeof(n));

	return store_key(s, STORE_COMMIT, &part, 1);
}

static struct store_value value_number(uint64_t n, uint32_t seconds)
{
	struct store_value v = { .length = 8, .expires = in_seconds(seconds) };

	memcpy(v.bytes, &n, 8);
	return v;
}

static enum store_status put_number(struct store *s, uint64_t n, uint64_t value)
{
	struct store_key k = key_number(s, n);
	struct store_value v = value_number(value, 3600);

	return store_put(s, STORE_COMMIT, &k, &v);
}

static enum store_status delete_number(struct store *s, uint64_t n)
{
	struct store_key k = key_number(s, n);

	return store_delete(s, STORE_COMMIT, &k);
}

/* The value, or -1: not found, -2: trouble, -3: damaged. */
static int64_t get_number(struct store *s, uint64_t n)
{
	struct store_key k = key_number(s, n);
	struct store_value v;
	int64_t value;

	switch (store_get(s, STORE_COMMIT, &k, &v)) {
	case STORE_OK:
		memcpy(&value, v.bytes, 8);
		return v.length == 8 ? value : -3;
	case STORE_NOT_FOUND:
		return -1;
	default:
		return -2;
	}
}

static struct store_stats stats_of(struct store *s)
{
	struct store_stats st;

	store_stats(s, &st);
	return st;
}

/* A worker process: runs fn with the pipes and ends. */
struct worker {
	pid_t pid;
	int to, from;
};

static struct worker worker_start(void (*fn)(int in, int out))
{
	int to[2], from[2];
	struct worker w;

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	w.pid = fork();
	assert_true(w.pid >= 0);
	if (w.pid == 0) {
		close(to[1]);
		close(from[0]);
		fn(to[0], from[1]);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	w.to = to[1];
	w.from = from[0];
	return w;
}

static void worker_end(struct worker *w, int signal_expected)
{
	int status;

	close(w->to);
	close(w->from);
	assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
	assert_int_equal(WIFSIGNALED(status) ? WTERMSIG(status) : 0, signal_expected);
	if (!signal_expected)
		assert_int_equal(WEXITSTATUS(status), 0);
}

static void say(int fd)
{
	assert_int_equal(write(fd, "x", 1), 1);
}

static bool hear(int fd)
{
	char c;

	return read(fd, &c, 1) == 1;
}

/* ---- one process ---- */

static void test_keys(void **state)
{
	struct store *s = open_slot(0);
	struct slice ab_c[] = { SLICE("ab"), SLICE("c") }, a_bc[] = { SLICE("a"), SLICE("bc") };
	char *longer = arena_zero(&arena, 5000);
	struct slice long_one = { longer, 5000 }, long_two = { longer, 4999 };
	struct store_key k1 = store_key(s, STORE_SENT, ab_c, 2), k2 = store_key(s, STORE_SENT, a_bc, 2);
	struct store_key k3 = store_key(s, STORE_CACHE, ab_c, 2), k4 = store_key(s, STORE_SENT, ab_c, 2);

	assert_memory_not_equal(&k1, &k2, 16);
	assert_memory_not_equal(&k1, &k3, 16);
	assert_memory_equal(&k1, &k4, 16);
	k1 = store_key(s, STORE_SENT, &long_one, 1);
	k2 = store_key(s, STORE_SENT, &long_two, 1);
	assert_memory_not_equal(&k1, &k2, 16);
	longer[4990] = 1;
	k2 = store_key(s, STORE_SENT, &long_one, 1);
	assert_memory_not_equal(&k1, &k2, 16);
	close_store(s);

	struct stat st;
	assert_int_equal(stat(path_of("key"), &st), 0);
	assert_int_equal(st.st_size, 16);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* The same after reopening. */
	s = open_slot(0);
	k3 = store_key(s, STORE_SENT, &long_one, 1);
	assert_memory_equal(&k2, &k3, 16);
	close_store(s);
}

static void test_put_get_delete(void **state)
{
	struct store *s = open_slot(0);

	assert_int_equal(get_number(s, 1), -1);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(put_number(s, 1, 10), STORE_OK);
		assert_int_equal(get_number(s, 1), 10);
		assert_int_equal(put_number(s, 1, 11), STORE_OK);
		assert_int_equal(get_number(s, 1), 11);
		if (round)
			assert_true(store_flush(s));
		assert_int_equal(get_number(s, 1), 11);
		assert_int_equal(delete_number(s, 1), STORE_OK);
		assert_int_equal(get_number(s, 1), -1);
		assert_int_equal(delete_number(s, 1), STORE_OK);
		assert_int_equal(get_number(s, 1), -1);
		assert_true(store_flush(s));
		assert_int_equal(get_number(s, 1), -1);
		assert_int_equal(stats_of(s).entries[STORE_COMMIT], 0);
	}
	/* Replaced while committed, deleted while replaced. */
	put_number(s, 2, 20);
	store_flush(s);
	put_number(s, 2, 21);
	assert_int_equal(get_number(s, 2), 21);
	delete_number(s, 2);
	assert_int_equal(get_number(s, 2), -1);
	store_flush(s);
	assert_int_equal(get_number(s, 2), -1);
	assert_null(stats_of(s).last_error);
	close_store(s);
}

static void test_values(void **state)
{
	struct store *s = open_slot(0);
	struct store_key k = key_number(s, 1);
	struct store_value v = { .expires = in_seconds(60) }, out;

	for (int flushed = 0; flushed < 2; flushed++) {
		for (unsigned n = 0; n <= STORE_VALUE_MAX; n++) {
			memset(v.bytes, (int)n, n);
			v.length = (uint8_t)n;
			assert_int_equal(store_put(s, STORE_SENT, &k, &v), STORE_OK);
			if (flushed && n % 8 == 0)
				store_flush(s);
			memset(&out, 0xaa, sizeof(out));
			assert_int_equal(store_get(s, STORE_SENT, &k, &out), STORE_OK);
			assert_int_equal(out.length, n);
			assert_int_equal(out.expires, v.expires);
			assert_memory_equal(out.bytes, v.bytes, n);
		}
	}
	/* A table of its own. */
	assert_int_equal(store_get(s, STORE_RECEIVED, &k, &out), STORE_NOT_FOUND);
	v.length = STORE_VALUE_MAX + 1;
	assert_aborts(store_put(s, STORE_SENT, &k, &v));
	close_store(s);
}

static void test_reopen(void **state)
{
	struct store *s = open_slot(3);

	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(put_number(s, i, i * 7), STORE_OK);
	for (uint64_t i = 0; i < 500; i += 5)
		assert_int_equal(delete_number(s, i), STORE_OK);
	close_store(s);
	s = open_slot(3);
	assert_int_equal(stats_of(s).entries[STORE_COMMIT], 400);
	assert_int_equal(stats_of(s).pending, 0);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(get_number(s, i), i % 5 ? (int64_t)i * 7 : -1);
	close_store(s);
	/* And for a worker of another slot. */
	s = open_slot(0);
	for (uint64_t i = 0; i < 500; i++)
		assert_int_equal(get_number(s, i), i % 5 ? (int64_t)i * 7 : -1);
	close_store(s);
}

static void test_coalescing(void **state)
{
	struct store *s = open_slot(0);
	struct store_stats st;

	for (uint64_t i = 0; i < 20000; i++) {
		struct store_key k = key_number(s, i);
		struct store_value v = value_number(i, 3600), existing;
		bool won = false;
		assert_int_equal(store_claim(s, STORE_COMMIT, &k, &v, &won, &existing), STORE_OK);
		assert_true(won);
		put_number(s, i, i + 1);
		delete_number(s, i);
	}
	st = stats_of(s);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.entries[STORE_COMMIT], 0);
	/* The thread may have come by at one of them, under valgrind at more. */
	assert_true(st.saved > 19000);
	assert_true(st.commits < 100);
	close_store(s);
}

static void test_linger(void **state)
{
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 60;
	struct store *s = open_conf(conf);

	put_number(s, 1, 1);
	assert_int_equal(stats_of(s).pending, 1);
	for (int i = 0; i < 500 && stats_of(s).pending; i++)
		usleep(10000);
	assert_int_equal(stats_of(s).pending, 0);
	assert_int_equal(stats_of(s).commits, 1);
	assert_int_equal(stats_of(s).entries[STORE_COMMIT], 1);
	assert_int_equal(get_number(s, 1), 1);
	close_store(s);
}

static void test_claim(void **state)
{
	struct store *s = open_slot(0);
	struct store_key k = key_number(s, 1);
	struct store_value first = value_number(1, 60), second = value_number(2, 60), existing;
	bool won;

	for (int flushed = 0; flushed < 2; flushed++) {
		won = false;
		assert_int_equal(store_claim(s, STORE_COMMIT, &k, &first, &won, &existing), STORE_OK);
		assert_true(won);
		if (flushed)
			store_flush(s);
		assert_int_equal(store_claim(s, STORE_COMMIT, &k, &second, &won, &existing), STORE_OK);
		assert_false(won);
		assert_int_equal(existing.length, 8);
		assert_int_equal(existing.bytes[0], 1);
		assert_int_equal(get_number(s, 1), 1);
		delete_number(s, 1);
		assert_int_equal(get_number(s, 1), -1);
	}
	/* Claimed again while the grave of the committed one is pending: must not come back. */
	won = false;
	assert_int_equal(store_claim(s, STORE_COMMIT, &k, &second, &won, &existing), STORE_OK);
	assert_true(won);
	delete_number(s, 1);
	assert_int_equal(get_number(s, 1), -1);
	store_flush(s);
	assert_int_equal(get_number(s, 1), -1);
	close_store(s);
}

/* ---- time ---- */

static void test_expiry(void **state)
{
	clock_fake(NS_PER_SECOND, 1700000000 * NS_PER_SECOND);
	struct store *s = open_still(0);
	struct store_key k = key_number(s, 1);
	struct store_value v = value_number(5, 100), existing;
	bool won = false;

	assert_int_equal(store_put(s, STORE_COMMIT, &k, &v), STORE_OK);
	clock_fake_advance(99 * NS_PER_SECOND);
	assert_int_equal(get_number(s, 1), 5);
	clock_fake_advance(NS_PER_SECOND);
	assert_int_equal(get_number(s, 1), -1);
	assert_int_equal(stats_of(s).entries[STORE_COMMIT], 1);
	/* What is expired may be claimed. */
	v = value_number(6, 10);
	assert_int_equal(store_claim(s, STORE_COMMIT, &k, &v, &won, &existing), STORE_OK);
	assert_true(won);
	assert_int_equal(get_number(s, 1), 6);
	clock_fake_advance(10 * NS_PER_SECOND);
	assert_int_equal(get_number(s, 1), -1);
	close_store(s);
}

static void test_sweep(void **state)
{
	clock_fake(NS_PER_SECOND, 1700000000 * NS_PER_SECOND);
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 10000;
	struct store *s = open_conf(conf);
	size_t swept = 0;

	for (uint64_t i = 0; i < 3000; i++) {
		struct store_key k = key_number(s, i);
		struct store_value v = value_number(i, i % 3 ? 100 : 1000);
		assert_int_equal(store_put(s, STORE_SENT, &k, &v), STORE_OK);
	}
	close_store(s);
	clock_fake_advance(200 * NS_PER_SECOND);
	conf.synchronous = true;
	s = open_conf(conf);
	assert_int_equal(stats_of(s).entries[STORE_SENT], 3000);
	for (int i = 0; i < 40; i++)
		swept += writer_sweep(store_writer(s), STORE_SENT, 100);
	assert_int_equal(swept, 2000);
	assert_int_equal(stats_of(s).expired, 2000);
	assert_int_equal(stats_of(s).entries[STORE_SENT], 1000);
	for (uint64_t i = 0; i < 3000; i += 3) {
		struct store_key k = key_number(s, i);
		struct store_value v;
		assert_int_equal(store_get(s, STORE_SENT, &k, &v), STORE_OK);
	}
	close_store(s);
}

/* The thread sweeps by itself. */
static void test_sweep_thread(void **state)
{
	clock_fake(NS_PER_SECOND, 1700000000 * NS_PER_SECOND);
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 20;
	struct store *s = open_conf(conf);

	for (uint64_t i = 0; i < 100; i++) {
		struct store_key k = key_number(s, i);
		struct store_value v = value_number(i, 10);
		store_put(s, STORE_CACHE, &k, &v);
	}
	store_flush(s);
	assert_int_equal(stats_of(s).entries[STORE_CACHE], 100);
	clock_fake_advance(11 * NS_PER_SECOND);
	put_number(s, 1, 1);	/* tells the thread what time it is */
	for (int i = 0; i < 1000 && stats_of(s).entries[STORE_CACHE]; i++)
		usleep(10000);
	assert_int_equal(stats_of(s).entries[STORE_CACHE], 0);
	assert_int_equal(stats_of(s).expired, 100);
	close_store(s);
}

/* ---- full ---- */

static void test_full_group(void **state)
{
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 60000;
	struct store *s = open_conf(conf);
	struct store_key k = { { 0 } };
	struct store_value v = value_number(1, 60), out;
	enum store_status status = STORE_OK;
	unsigned n = 0;

	/* All of one group. */
	for (; n < 100 && status == STORE_OK; n++) {
		k.bytes[0] = (uint8_t)n;
		status = store_put(s, STORE_SENT, &k, &v);
	}
	assert_int_equal(status, STORE_TROUBLE);
	assert_int_equal(n, PENDING_GROUP + 1);
	assert_string_equal(stats_of(s).last_error, "pending table is full");
	assert_int_equal(store_get(s, STORE_SENT, &k, &out), STORE_NOT_FOUND);
	k.bytes[0] = 3;
	assert_int_equal(store_get(s, STORE_SENT, &k, &out), STORE_OK);
	/* What is in it can be changed all the same, and there is room again when it is committed. */
	assert_int_equal(store_put(s, STORE_SENT, &k, &v), STORE_OK);
	store_flush(s);
	for (n = 0; n < PENDING_GROUP; n++) {
		k.bytes[0] = (uint8_t)(100 + n);
		assert_int_equal(store_put(s, STORE_SENT, &k, &v), STORE_OK);
	}
	close_store(s);
}

static void test_many_pending(void **state)
{
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 60000;
	struct store *s = open_conf(conf);

	/* More than the table holds, faster than the linger: it is emptied when half full. */
	for (uint64_t i = 0; i < 60000; i++)
		while (put_number(s, i, i) != STORE_OK)
			usleep(1000);
	for (uint64_t i = 0; i < 60000; i++)
		assert_int_equal(get_number(s, i), (int64_t)i);
	close_store(s);
}

static void test_eviction(void **state)
{
	struct store_conf conf = conf_of(0);
	conf.map_size = 2u << 20;
	conf.synchronous = true;
	struct store *s = open_conf(conf);
	struct store_stats st;
	uint64_t n = 0;

	for (; n < 1000; n++)
		assert_int_equal(put_number(s, n, n), STORE_OK);
	store_flush(s);
	for (uint64_t i = 0; i < 50000; i++) {
		struct store_key k = key_number(s, 1000000 + i);
		struct store_value v = value_number(i, 60);
		enum store_table t = i % 2 ? STORE_CACHE : STORE_SENT;
		assert_int_equal(store_put(s, t, &k, &v), STORE_OK);
	}
	assert_true(store_flush(s));
	st = stats_of(s);
	assert_true(st.evicted > 15000);
	assert_int_equal(st.failures, 0);
	assert_true(st.map_used < st.map_size / 10 * 9);
	assert_int_equal(st.entries[STORE_COMMIT], 1000);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(get_number(s, i), (int64_t)i);
	/* The cache alone was not enough, but it went first. */
	assert_true(st.entries[STORE_CACHE] < st.entries[STORE_SENT]);
	close_store(s);
}

/* ---- walking ---- */

static bool add_up(void *arg, const struct store_key *key, const struct store_value *value)
{
	uint64_t *sum = arg, n;

	memcpy(&n, value->bytes, 8);
	sum[0]++;
	sum[1] += n;
	return sum[0] != sum[2];
}

static void test_each(void **state)
{
	uint64_t sum[3] = { 0, 0, 0 };
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 60000;
	struct store *s = open_conf(conf);

	for (uint64_t i = 0; i < 1000; i++)
		put_number(s, i, 1000000);
	store_flush(s);
	for (uint64_t i = 900; i < 2000; i++)
		put_number(s, i, i);
	for (uint64_t i = 0; i < 900; i++)
		put_number(s, i, i);
	delete_number(s, 5);
	delete_number(s, 1995);
	store_each(s, STORE_COMMIT, add_up, sum);
	assert_int_equal(sum[0], 1998);
	assert_int_equal(sum[1], 1999 * 1000 - 2000);
	memset(sum, 0, sizeof(sum));
	store_each(s, STORE_HINT, add_up, sum);
	assert_int_equal(sum[0], 0);
	sum[2] = 10;
	store_each(s, STORE_COMMIT, add_up, sum);
	assert_int_equal(sum[0], 10);
	close_store(s);
	memset(sum, 0, sizeof(sum));
	s = open_slot(STORE_READ_ONLY);
	store_each(s, STORE_COMMIT, add_up, sum);
	assert_int_equal(sum[0], 1998);
	close_store(s);
}

/* ---- several processes ---- */

/* Slot 1: puts 100..199 and keeps 150..199 pending; then, when told, more. */
static void other_worker(int in, int out)
{
	struct store_conf conf = conf_of(1);
	conf.linger_ms = 60000;
	struct store *s = open_conf(conf);

	for (uint64_t i = 100; i < 150; i++)
		put_number(s, i, i);
	store_flush(s);
	for (uint64_t i = 150; i < 200; i++)
		put_number(s, i, i);
	say(out);
	hear(in);
	/* The reader has put 300 (pending), 301 (committed), replaced 110 and 160, deleted 111 and 161. */
	assert_int_equal(get_number(s, 300), 300);
	assert_int_equal(get_number(s, 301), 301);
	assert_int_equal(get_number(s, 110), 1110);
	assert_int_equal(get_number(s, 160), 1160);
	assert_int_equal(get_number(s, 111), -1);
	assert_int_equal(get_number(s, 161), -1);
	store_flush(s);
	assert_int_equal(get_number(s, 160), 1160);
	assert_int_equal(get_number(s, 161), -1);
	/* Delete what is the other's, put again what the other has deleted. */
	assert_int_equal(delete_number(s, 300), STORE_OK);
	assert_int_equal(delete_number(s, 301), STORE_OK);
	assert_int_equal(put_number(s, 111, 2111), STORE_OK);
	say(out);
	hear(in);
	close_store(s);
}

static void test_two_workers(void **state)
{
	struct worker w = worker_start(other_worker);
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 60000;
	struct store *s = open_conf(conf);

	assert_true(hear(w.from));
	for (uint64_t i = 100; i < 200; i++)
		assert_int_equal(get_number(s, i), (int64_t)i);
	put_number(s, 301, 301);
	put_number(s, 110, 1110);
	delete_number(s, 111);
	store_flush(s);
	put_number(s, 300, 300);
	put_number(s, 160, 1160);
	delete_number(s, 161);
	assert_int_equal(get_number(s, 111), -1);
	assert_int_equal(get_number(s, 161), -1);
	say(w.to);
	assert_true(hear(w.from));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(get_number(s, 300), -1);
		assert_int_equal(get_number(s, 301), -1);
		assert_int_equal(get_number(s, 111), 2111);
		assert_int_equal(get_number(s, 110), 1110);
		store_flush(s);
	}
	say(w.to);
	worker_end(&w, 0);
	assert_int_equal(get_number(s, 300), -1);
	assert_int_equal(get_number(s, 161), -1);
	assert_int_equal(get_number(s, 111), 2111);
	/* The dead worker's store is read as before, with the tool too. */
	close_store(s);
	s = open_slot(STORE_READ_ONLY);
	assert_int_equal(get_number(s, 160), 1160);
	assert_int_equal(get_number(s, 161), -1);
	assert_int_equal(get_number(s, 199), 199);
	assert_int_equal(put_number(s, 1, 1), STORE_TROUBLE);
	assert_int_equal(delete_number(s, 199), STORE_TROUBLE);
	close_store(s);
}

/* An entry with a short life hides an older one with a long life, also after it was swept. */
static void hidden_worker(int in, int out)
{
	clock_fake(NS_PER_SECOND, 1700000000 * NS_PER_SECOND);
	struct store *s = open_still(1);
	put_number(s, 1, 1);
	put_number(s, 2, 2);
	say(out);
	hear(in);
	close_store(s);
}

static void test_hiding(void **state)
{
	struct worker w = worker_start(hidden_worker);
	clock_fake(NS_PER_SECOND, 1700000000 * NS_PER_SECOND);
	assert_true(hear(w.from));
	struct store *s = open_still(0);
	struct store_key k = key_number(s, 1);
	struct store_value v = value_number(9, 10);

	assert_int_equal(get_number(s, 1), 1);
	assert_int_equal(store_put(s, STORE_COMMIT, &k, &v), STORE_OK);
	assert_int_equal(get_number(s, 1), 9);
	delete_number(s, 2);
	clock_fake_advance(11 * NS_PER_SECOND);
	assert_int_equal(get_number(s, 1), -1);
	assert_int_equal(writer_sweep(store_writer(s), STORE_COMMIT, 100), 0);
	assert_int_equal(get_number(s, 1), -1);
	assert_int_equal(get_number(s, 2), -1);
	clock_fake_advance(3600 * NS_PER_SECOND);
	assert_int_equal(get_number(s, 1), -1);
	assert_int_equal(writer_sweep(store_writer(s), STORE_COMMIT, 100), 2);
	assert_int_equal(get_number(s, 1), -1);
	assert_int_equal(get_number(s, 2), -1);
	say(w.to);
	worker_end(&w, 0);
	close_store(s);
}

#define RACERS 4
#define RACES 4000

static unsigned racer;

/* Claims all keys in the same order as the others and writes which ones it won. */
static void racing_worker(int in, int out)
{
	struct store *s = open_slot(racer);
	uint8_t *wins = calloc(1, RACES);
	bool won;

	say(out);
	hear(in);
	for (uint64_t i = 0; i < RACES; i++) {
		struct store_key k = key_number(s, i);
		struct store_value v = value_number(racer, 600), existing;
		while (store_claim(s, STORE_COMMIT, &k, &v, &won, &existing) == STORE_TROUBLE)
			usleep(1000);
		wins[i] = won;
		if (!won && existing.bytes[0] == racer)
			_exit(3);
	}
	for (size_t done = 0; done < RACES;) {
		ssize_t n = write(out, wins + done, RACES - done);
		if (n <= 0)
			_exit(2);
		done += (size_t)n;
	}
	hear(in);
	close_store(s);
	free(wins);
}

static void test_claim_race(void **state)
{
	struct worker w[RACERS];
	uint8_t wins[RACERS][RACES];

	for (racer = 0; racer < RACERS; racer++)
		w[racer] = worker_start(racing_worker);
	for (int i = 0; i < RACERS; i++)
		assert_true(hear(w[i].from));
	for (int i = 0; i < RACERS; i++)
		say(w[i].to);
	for (int i = 0; i < RACERS; i++) {
		for (size_t done = 0; done < RACES;) {
			ssize_t n = read(w[i].from, wins[i] + done, RACES - done);
			assert_true(n > 0);
			done += (size_t)n;
		}
	}
	for (int i = 0; i < RACERS; i++) {
		say(w[i].to);
		worker_end(&w[i], 0);
	}
	struct store *s = open_slot(0);
	for (int k = 0; k < RACES; k++) {
		int winners = 0, winner = -1;
		for (int i = 0; i < RACERS; i++) {
			winners += wins[i][k];
			if (wins[i][k])
				winner = i;
		}
		assert_int_equal(winners, 1);
		assert_int_equal(get_number(s, (uint64_t)k), winner);
	}
	close_store(s);
}

/* As before, but each tells of each claim when it has returned. */
static void telling_worker(int in, int out)
{
	struct store *s = open_slot(racer);
	bool won;

	say(out);
	hear(in);
	for (uint64_t i = 0; i < RACES; i++) {
		struct store_key k = key_number(s, i);
		struct store_value v = value_number(racer, 600), existing;
		while (store_claim(s, STORE_COMMIT, &k, &v, &won, &existing) == STORE_TROUBLE)
			usleep(100);
		char c = won ? 'w' : 'l';
		if (write(out, &c, 1) != 1)
			_exit(2);
	}
	hear(in);
	close_store(s);
}

/* The first is killed somewhere, perhaps with a lock in its hands; the other one goes on. Of what nobody
 * says he has won there is at most one, and the dead one has it. */
static void test_claim_kill(void **state)
{
	static char said[2][RACES];

	for (unsigned round = 0; round < 8; round++) {
		struct worker w[2];
		size_t done[2] = { 0, 0 };
		ssize_t n;
		unsigned unclaimed = 0;
		for (racer = 0; racer < 2; racer++)
			w[racer] = worker_start(telling_worker);
		for (int i = 0; i < 2; i++)
			assert_true(hear(w[i].from));
		for (int i = 0; i < 2; i++)
			say(w[i].to);
		while (done[0] < 100 + round * 400)
			done[0] += (size_t)read(w[0].from, said[0] + done[0], 100);
		kill(w[0].pid, SIGKILL);
		while ((n = read(w[0].from, said[0] + done[0], RACES - done[0])) > 0)
			done[0] += (size_t)n;
		while (done[1] < RACES && (n = read(w[1].from, said[1] + done[1], RACES - done[1])) > 0)
			done[1] += (size_t)n;
		assert_int_equal(done[1], RACES);
		for (size_t k = 0; k < RACES; k++) {
			int winners = (k < done[0] && said[0][k] == 'w') + (said[1][k] == 'w');
			assert_in_range(winners, 0, 1);
			if (winners == 0) {
				unclaimed++;
				assert_int_equal(k, done[0]);
			}
		}
		assert_in_range(unclaimed, 0, 1);
		say(w[1].to);
		worker_end(&w[0], SIGKILL);
		worker_end(&w[1], 0);
		place_remove(NULL);
		place_make(NULL);
	}
}

/* All start at once with an empty directory: one secret for all. */
static void starting_worker(int in, int out)
{
	hear(in);
	struct store *s = open_slot(racer);
	struct store_key k = key_number(s, 1);
	if (write(out, &k, sizeof(k)) != sizeof(k))
		_exit(2);
	close_store(s);
}

static void test_start_together(void **state)
{
	for (int round = 0; round < 5; round++) {
		struct worker w[RACERS];
		struct store_key first, k;
		place_remove(NULL);
		place_make(NULL);
		for (racer = 0; racer < RACERS; racer++)
			w[racer] = worker_start(starting_worker);
		for (int i = 0; i < RACERS; i++)
			say(w[i].to);
		for (int i = 0; i < RACERS; i++) {
			assert_int_equal(read(w[i].from, &k, sizeof(k)), sizeof(k));
			if (i == 0)
				first = k;
			assert_memory_equal(&k, &first, sizeof(k));
			worker_end(&w[i], 0);
		}
	}
}

/* ---- kills ---- */

/* Puts, replaces and deletes without an end, and tells of each after it returned: the number and the value,
 * 0 for deleted. */
static void storming_worker(int in, int out)
{
	struct store_conf conf = conf_of(1);
	conf.linger_ms = 2;	/* so that the kill meets commits as well */
	struct store *s = open_conf(conf);

	for (uint64_t i = 1;; i++) {
		uint64_t note[2] = { i * UINT64_C(2654435761) % 3000, i };
		if (i % 7 == 0)
			note[1] = 0;
		while ((note[1] ? put_number(s, note[0], note[1]) : delete_number(s, note[0])) != STORE_OK)
			usleep(500);
		if (write(out, note, sizeof(note)) != sizeof(note))
			_exit(2);
	}
}

/* Puts as the storm does, but the acknowledgement of the last one may be missing: value or successor. */
static void storm_check(struct store *s, const uint64_t *known, uint64_t last)
{
	for (uint64_t k = 0; k < 3000; k++) {
		int64_t value = get_number(s, k), expected = known[k] ? (int64_t)known[k] : -1;
		if (value == expected)
			continue;
		/* The one operation that was under way when it was killed. */
		assert_int_equal((last + 1) * UINT64_C(2654435761) % 3000, k);
		assert_int_equal(value, (last + 1) % 7 ? (int64_t)last + 1 : -1);
	}
}

static void storm_run(unsigned milliseconds)
{
	static uint64_t known[3000];
	struct worker w = worker_start(storming_worker);
	uint64_t note[2], last = 0;
	nanoseconds until = 0;
	bool killed = false;

	memset(known, 0, sizeof(known));
	struct store *s = open_slot(0);
	while (read(w.from, note, sizeof(note)) == sizeof(note)) {
		known[note[0]] = note[1];
		last++;
		if (!until)
			until = clock_precise() + milliseconds * NS_PER_MS;
		if (!killed && clock_precise() > until) {
			kill(w.pid, SIGKILL);
			killed = true;
		}
	}
	worker_end(&w, SIGKILL);
	storm_check(s, known, last);
	close_store(s);
	/* The successor adopts it, and commits it. */
	s = open_slot(1);
	assert_int_equal(stats_of(s).slot, 1);
	storm_check(s, known, last);
	assert_true(store_flush(s));
	assert_int_equal(stats_of(s).pending, 0);
	storm_check(s, known, last);
	close_store(s);
	/* And without any pending table. */
	assert_int_equal(unlink(path_of("1/pending")), 0);
	s = open_slot(0);
	storm_check(s, known, last);
	close_store(s);
}

static void test_kill(void **state)
{
	const char *soak = getenv("STORE_KILLS");
	unsigned rounds = soak ? (unsigned)atoi(soak) : 12;

	for (unsigned i = 0; i < rounds; i++) {
		storm_run(1 + i * 7 % 100);
		place_remove(NULL);
		place_make(NULL);
	}
}

/* The holder of a key's lock is killed: the next one takes it over. */
static void holding_worker(int in, int out)
{
	struct store *s = open_slot(1);
	struct store_key k = key_number(s, 1);
	struct stat st;
	int fd = open(path_of("shared"), O_RDWR);
	uint64_t word = (UINT64_C(2) << 32) | (uint32_t)getpid(), *words;
	uint32_t hash;

	fstat(fd, &st);
	words = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memcpy(&hash, k.bytes + 12, 4);
	words[st.st_size / 8 - 2048 + hash % 2048] = word;
	say(out);
	hear(in);
	_exit(0);
}

static void test_lock_of_the_dead(void **state)
{
	struct worker w = worker_start(holding_worker);
	assert_true(hear(w.from));
	struct store *s = open_slot(0);
	struct store_key k = key_number(s, 1);
	struct store_value v = value_number(1, 60), existing;
	bool won = false;

	/* Alive: it is not taken, and not waited for for long. */
	assert_int_equal(store_claim(s, STORE_COMMIT, &k, &v, &won, &existing), STORE_TROUBLE);
	kill(w.pid, SIGKILL);
	worker_end(&w, SIGKILL);
	assert_int_equal(store_claim(s, STORE_COMMIT, &k, &v, &won, &existing), STORE_OK);
	assert_true(won);
	close_store(s);
}

/* A slot that another process holds is not shared: upgrade with draining sessions. */
static void draining_worker(int in, int out)
{
	struct store *s = open_slot(0);
	put_number(s, 1, 1);
	say(out);
	hear(in);
	put_number(s, 2, 2);
	say(out);
	hear(in);
	close_store(s);
}

static void test_slot_taken(void **state)
{
	struct worker w = worker_start(draining_worker);
	assert_true(hear(w.from));
	struct store *s = open_slot(0);

	assert_int_equal(stats_of(s).slot, STORE_STAND_IN);
	assert_int_equal(get_number(s, 1), 1);
	put_number(s, 3, 3);
	say(w.to);
	assert_true(hear(w.from));
	assert_int_equal(get_number(s, 2), 2);
	say(w.to);
	worker_end(&w, 0);
	close_store(s);
	s = open_slot(0);
	assert_int_equal(stats_of(s).slot, 0);
	for (int i = 1; i <= 3; i++)
		assert_int_equal(get_number(s, (uint64_t)i), i);
	close_store(s);
}

/* ---- damage ---- */

static void overwrite(const char *name, off_t at, size_t n, int byte)
{
	int fd = open(path_of(name), O_RDWR);
	char *bytes = arena_alloc(&arena, n);

	assert_true(fd >= 0);
	memset(bytes, byte, n);
	assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

static void kept_pending(int in, int out)
{
	struct store_conf conf = conf_of(0);
	conf.linger_ms = 60000;
	struct store *s = open_conf(conf);

	for (uint64_t i = 0; i < 10; i++)
		put_number(s, i, i);
	say(out);
	hear(in);
	_exit(0);
}

/* The body of a slot is overwritten, its word is not: as a power cut may leave it. */
static void test_torn_slot(void **state)
{
	struct worker w = worker_start(kept_pending);
	int found = 0;

	assert_true(hear(w.from));
	kill(w.pid, SIGKILL);
	worker_end(&w, SIGKILL);
	/* The upper half of the table. */
	overwrite("0/pending", 4096 + 16384 * 8 + 16384 * 128, 16384 * 128, 0x5a);
	struct store *s = open_slot(1);	/* a reader of it, and its owner */
	for (int owner = 0; owner < 2; owner++) {
		found = 0;
		for (int i = 0; i < 10; i++) {
			int64_t value = get_number(s, (uint64_t)i);
			assert_true(value == i || value == -1);
			found += value == i;
		}
		close_store(s);
		s = open_slot(0);
	}
	assert_true(found < 10);
	assert_int_equal(stats_of(s).pending, 0);
	assert_int_equal(stats_of(s).entries[STORE_COMMIT], found);
	close_store(s);
}

/* A half that is being written when the process is killed is nobody's. */
static void test_half_written(void **state)
{
	struct worker w = worker_start(kept_pending);
	int word = 4096, words = 0;
	uint64_t bits;

	assert_true(hear(w.from));
	kill(w.pid, SIGKILL);
	worker_end(&w, SIGKILL);
	int fd = open(path_of("0/pending"), O_RDWR);
	for (int i = 0; i < 16384; i++) {
		assert_int_equal(pread(fd, &bits, 8, word + i * 8), 8);
		if (bits & WORD_LIVE) {
			/* The half that is not current. */
			char junk[112];
			memset(junk, 0x77, sizeof(junk));
			off_t at = 4096 + 16384 * 8 + i * 256 + 16 + (bits & WORD_HALF ? 0 : 112);
			assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
			words++;
		} else {
			overwrite("0/pending", 4096 + 16384 * 8 + i * 256, 240, 0x33);
		}
		if (i % 1024 == 0)
			arena_drop(&arena);
	}
	close(fd);
	assert_int_equal(words, 10);
	struct store *s = open_slot(0);
	assert_int_equal(stats_of(s).pending, 10);
	for (int i = 0; i < 10; i++)
		assert_int_equal(get_number(s, (uint64_t)i), i);
	close_store(s);
}

static void expect_warning(unsigned slot, const char *text, int64_t expected)
{
	struct store_conf conf = conf_of(slot);
	const char *why = NULL;
	struct store *s = store_open(&arena, &conf, &why);

	assert_non_null(s);
	assert_non_null(why);
	assert_non_null(strstr(why, text));
	assert_int_equal(get_number(s, 1), expected);
	assert_int_equal(put_number(s, 2, 2), STORE_OK);
	assert_true(store_flush(s));
	store_close(s);
	s = open_slot(slot);
	assert_int_equal(get_number(s, 2), 2);
	close_store(s);
}

static void test_damage(void **state)
{
	struct store *s = open_slot(0);
	put_number(s, 1, 1);
	close_store(s);

	/* Both meta pages. */
	overwrite("0/data.mdb", 0, 8192, 0xff);
	expect_warning(0, "data.mdb.bad", -1);
	assert_int_equal(access(path_of("0/data.mdb.bad"), F_OK), 0);
	/* Shorter than it was. */
	s = open_slot(0);
	for (uint64_t i = 0; i < 2000; i++)
		put_number(s, 100 + i, 1);
	put_number(s, 1, 1);
	close_store(s);
	assert_int_equal(truncate(path_of("0/data.mdb"), 3 * 4096), 0);
	expect_warning(0, "damaged", -1);
	/* The pending table: of another version, short, empty. What is committed stays. */
	for (int kind = 0; kind < 3; kind++) {
		s = open_slot(0);
		put_number(s, 1, 1);
		close_store(s);
		if (kind == 0)
			overwrite("0/pending", 0, 16, 'z');
		else
			assert_int_equal(truncate(path_of("0/pending"), kind == 1 ? 5000 : 0), 0);
		expect_warning(0, "pending", 1);
	}
	/* What is shared may be lost or damaged without a trace. */
	overwrite("shared", 0, 16, 'z');
	s = open_slot(0);
	assert_int_equal(get_number(s, 1), 1);
	close_store(s);
	assert_int_equal(unlink(path_of("shared")), 0);
	s = open_slot(0);
	assert_int_equal(get_number(s, 1), 1);
	put_number(s, 1, 7);
	assert_int_equal(get_number(s, 1), 7);
	close_store(s);
	/* The secret: then everything is unknown, and nothing is wrong. */
	assert_int_equal(truncate(path_of("key"), 7), 0);
	expect_warning(0, "key", -1);
}

/* Another slot that cannot be read is trouble, not absence; what is found elsewhere is found. */
static void test_unreadable_other(void **state)
{
	struct store *s = open_slot(1);
	put_number(s, 1, 1);
	close_store(s);
	overwrite("1/data.mdb", 0, 8192, 0xff);
	s = open_slot(0);
	assert_int_equal(get_number(s, 1), -2);
	assert_non_null(stats_of(s).last_error);
	put_number(s, 2, 2);
	assert_int_equal(get_number(s, 2), 2);
	struct store_key k = key_number(s, 3);
	struct store_value v = value_number(3, 60), existing;
	bool won = false;
	assert_int_equal(store_claim(s, STORE_COMMIT, &k, &v, &won, &existing), STORE_TROUBLE);
	assert_false(won);
	close_store(s);
	expect_warning(1, "damaged", -1);
	s = open_slot(0);
	assert_int_equal(get_number(s, 1), -1);
	close_store(s);
}

/* Pages of garbage behind good meta pages: LMDB aborts. After the second crash the environment is made anew. */
static void crash_handler(int signo)
{
	store_crashed();	/* NOLINT(bugprone-signal-handler,cert-sig30-c): made for it */
	signal(signo, SIG_DFL);
	raise(signo);
}

static void crashing_worker(int in, int out)
{
	dup2(open("/dev/null", O_WRONLY), 2);
	signal(SIGABRT, crash_handler);
	signal(SIGSEGV, crash_handler);
	signal(SIGBUS, crash_handler);
	struct store_conf conf = conf_of(0);
	const char *why;
	struct store *s = store_open(&arena, &conf, &why);
	if (!s)
		_exit(9);
	for (uint64_t i = 0; i < 3000; i++)
		get_number(s, i);
	_exit(why ? 42 : 0);
}

static void test_crashes(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	skip();		/* reports before the signal that is to be noted */
#endif
	struct store *s = open_slot(0);
	struct stat st;
	int status, crashes = 0, warned = 0;

	for (uint64_t i = 0; i < 3000; i++)
		put_number(s, i, i);
	close_store(s);
	assert_int_equal(stat(path_of("0/data.mdb"), &st), 0);
	for (off_t page = 2; page < st.st_size / 4096; page++)
		overwrite("0/data.mdb", page * 4096 + 10, 4086, 0xee);
	for (int i = 0; i < 8 && !warned; i++) {
		struct worker w = worker_start(crashing_worker);
		close(w.to);
		close(w.from);
		assert_int_equal(waitpid(w.pid, &status, 0), w.pid);
		crashes += WIFSIGNALED(status);
		warned = WIFEXITED(status) && WEXITSTATUS(status) == 42;
	}
	assert_true(crashes <= 2);
	assert_true(warned);
	s = open_slot(0);
	assert_int_equal(get_number(s, 1), -1);
	close_store(s);
}

static void test_refusals(void **state)
{
	struct store_conf conf = conf_of(STORE_READ_ONLY);
	const char *why = NULL;

	/* Nothing there for the tool, and it makes nothing. */
	assert_null(store_open(&arena, &conf, &why));
	assert_non_null(strstr(why, "no store here"));
	conf.directory = path_of("absent");
	assert_null(store_open(&arena, &conf, &why));
	assert_int_equal(access(conf.directory, F_OK), -1);
	conf.slot = 0;
	conf.directory = path_of("absent/below");
	assert_null(store_open(&arena, &conf, &why));
	assert_non_null(why);
	conf.directory = "/dev/null";
	assert_null(store_open(&arena, &conf, &why));
	conf = conf_of(STORE_STAND_IN);
	assert_null(store_open(&arena, &conf, &why));
}

/* Pending tables in a place of their own, which is emptied when the machine starts. */
static void test_pending_directory(void **state)
{
	struct store_conf conf = conf_of(0);
	conf.pending_directory = path_of("run");
	struct store *s = open_conf(conf);

	put_number(s, 1, 1);
	assert_int_equal(access(path_of("run/0/pending"), F_OK), 0);
	assert_int_equal(access(path_of("0/pending"), F_OK), -1);
	close_store(s);
	assert_int_equal(nftw(conf.pending_directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	s = open_conf(conf);
	assert_int_equal(get_number(s, 1), 1);
	put_number(s, 1, 2);
	assert_int_equal(get_number(s, 1), 2);
	close_store(s);
}

/* The wall clock goes back by a day, another worker replaces what was put before. */
static void yesterdays_worker(int in, int out)
{
	clock_fake(NS_PER_SECOND, (1700000000 - 86400) * NS_PER_SECOND);
	struct store *s = open_still(1);
	hear(in);
	put_number(s, 1, 2);
	delete_number(s, 2);
	say(out);
	hear(in);
	close_store(s);
}

static void test_clock_goes_back(void **state)
{
	struct worker w = worker_start(yesterdays_worker);
	clock_fake(NS_PER_SECOND, 1700000000 * NS_PER_SECOND);
	struct store *s = open_still(0);
	struct store_key k = key_number(s, 1);
	struct store_value v;

	put_number(s, 1, 1);
	put_number(s, 2, 1);
	say(w.to);
	assert_true(hear(w.from));
	assert_int_equal(get_number(s, 2), -1);
	/* The later put, by its own clock expired. */
	assert_int_equal(store_get(s, STORE_COMMIT, &k, &v), STORE_NOT_FOUND);
	say(w.to);
	worker_end(&w, 0);
	close_store(s);
}

#define S(function) cmocka_unit_test_setup_teardown(function, place_make, place_remove)

/* The fake clock cannot be taken back: those who use it come last. */
UNIT_MAIN(
	S(test_keys), S(test_put_get_delete), S(test_values), S(test_reopen), S(test_coalescing), S(test_linger),
	S(test_claim), S(test_full_group), S(test_many_pending), S(test_eviction), S(test_each), S(test_two_workers),
	S(test_claim_race), S(test_claim_kill), S(test_start_together), S(test_kill), S(test_lock_of_the_dead),
	S(test_slot_taken),
	S(test_torn_slot), S(test_half_written), S(test_damage), S(test_unreadable_other), S(test_crashes),
	S(test_refusals), S(test_pending_directory),
	S(test_expiry), S(test_sweep), S(test_sweep_thread), S(test_hiding), S(test_clock_goes_back))
