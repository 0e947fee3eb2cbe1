/* Rates: limits, buckets, eviction, scores; the same with processes that compete and die. The moments between two
 * instructions, which those meet once in a million, are made by hand: hence the source itself. */
#include "unit.h"

#include "check/rate.c"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define EPOCH (1000 * NS_PER_SECOND)

static void *memory;
static size_t memory_size;
static const struct rate_limit no_limit;

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(&ip, slice_of(text)));
	return ip;
}

static struct ip ip_number(uint32_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
	return ip_of(text);
}

static struct rates *table_new(size_t clients)
{
	clock_fake(EPOCH, EPOCH);
	memory_size = rate_memory(clients);
	memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	rate_init(memory, clients);
	return rate_attach(memory, 0);
}

static void table_end(void)
{
	munmap(memory, memory_size);
}

static enum rate_answer begin(struct rates *r, const char *client, uint32_t max)
{
	struct ip ip = ip_of(client);

	return rate_session_begin(r, &ip, max, no_limit);
}

static void end(struct rates *r, const char *client)
{
	struct ip ip = ip_of(client);

	rate_session_end(r, &ip);
}

/* Sessions that this client could still open. */
static unsigned room_of(struct rates *r, const struct ip *ip, uint32_t max)
{
	unsigned n = 0;

	while (n <= max && rate_session_begin(r, ip, max, no_limit) == RATE_OK)
		n++;
	for (unsigned i = 0; i < n; i++)
		rate_session_end(r, ip);
	return n;
}

static void sessions_are_limited(void **state)
{
	struct rates *r = table_new(100);

	assert_int_equal(begin(r, "192.0.2.1", 2), RATE_OK);
	assert_int_equal(begin(r, "192.0.2.1", 2), RATE_OK);
	assert_int_equal(begin(r, "192.0.2.1", 2), RATE_TOO_MANY_SESSIONS);
	assert_int_equal(begin(r, "192.0.2.2", 2), RATE_OK);
	end(r, "192.0.2.1");
	assert_int_equal(begin(r, "192.0.2.1", 2), RATE_OK);
	assert_int_equal(begin(r, "192.0.2.1", 2), RATE_TOO_MANY_SESSIONS);
	assert_int_equal(begin(r, "192.0.2.1", 0), RATE_OK);	/* no limit */
	table_end();
}

static void a_client_is_a_network(void **state)
{
	struct rates *r = table_new(100);

	assert_int_equal(begin(r, "2001:db8:1:2::1", 1), RATE_OK);
	assert_int_equal(begin(r, "2001:db8:1:2:ffff::9", 1), RATE_TOO_MANY_SESSIONS);
	assert_int_equal(begin(r, "2001:db8:1:3::1", 1), RATE_OK);
	assert_int_equal(begin(r, "192.0.2.1", 1), RATE_OK);
	assert_int_equal(begin(r, "::ffff:192.0.2.1", 1), RATE_TOO_MANY_SESSIONS);
	assert_int_equal(begin(r, "192.0.2.0", 1), RATE_OK);
	table_end();
}

static void ending_too_often_is_harmless(void **state)
{
	struct rates *r = table_new(100);

	end(r, "192.0.2.1");
	assert_int_equal(begin(r, "192.0.2.1", 1), RATE_OK);
	end(r, "192.0.2.1");
	end(r, "192.0.2.1");
	assert_int_equal(begin(r, "192.0.2.1", 1), RATE_OK);
	assert_int_equal(begin(r, "192.0.2.1", 1), RATE_TOO_MANY_SESSIONS);
	table_end();
}

static void the_bucket_leaks(void **state)
{
	struct rates *r = table_new(100);
	struct ip ip = ip_of("192.0.2.1"), other = ip_of("192.0.2.9");
	struct rate_limit limit = { 6, 60 * NS_PER_SECOND };

	for (int i = 0; i < 6; i++)
		assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_OK);
	assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_TOO_FAST);
	assert_int_equal(rate_session_begin(r, &other, 0, limit), RATE_OK);
	clock_fake_advance(9 * NS_PER_SECOND);
	assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_TOO_FAST);
	clock_fake_advance(1 * NS_PER_SECOND);		/* a refused one costs nothing */
	assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_OK);
	assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_TOO_FAST);
	clock_fake_advance(3600 * NS_PER_SECOND);	/* never more than one burst saved up */
	for (int i = 0; i < 6; i++)
		assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_OK);
	assert_int_equal(rate_session_begin(r, &ip, 0, limit), RATE_TOO_FAST);
	/* A session refused for its rate is not counted as open: 6 + 1 + 6 are. */
	assert_int_equal(rate_session_begin(r, &ip, 13, no_limit), RATE_TOO_MANY_SESSIONS);
	assert_int_equal(rate_session_begin(r, &ip, 14, no_limit), RATE_OK);
	table_end();
}

static void a_shorter_period_holds_at_once(void **state)
{
	struct rates *r = table_new(100);
	struct ip ip = ip_of("192.0.2.1");
	struct rate_limit hourly = { 2, 3600 * NS_PER_SECOND }, minutely = { 2, 60 * NS_PER_SECOND };

	assert_int_equal(rate_session_begin(r, &ip, 0, hourly), RATE_OK);
	assert_int_equal(rate_session_begin(r, &ip, 0, hourly), RATE_OK);
	assert_int_equal(rate_session_begin(r, &ip, 0, minutely), RATE_TOO_FAST);
	assert_int_equal(rate_session_begin(r, &ip, 0, no_limit), RATE_OK);
	clock_fake_advance(3600 * NS_PER_SECOND);
	assert_int_equal(rate_session_begin(r, &ip, 0, minutely), RATE_OK);
	table_end();
}

static void odd_limits(void **state)
{
	struct rates *r = table_new(100);
	struct ip ip = ip_of("192.0.2.1");

	for (int i = 0; i < 100; i++)
		assert_int_equal(rate_session_begin(r, &ip, 0, (struct rate_limit){ 0, NS_PER_SECOND }), RATE_OK);
	for (int i = 0; i < 100; i++)
		assert_int_equal(rate_session_begin(r, &ip, 0, (struct rate_limit){ 1000000, 10 }), i < 10 ? RATE_OK
			: RATE_TOO_FAST);
	table_end();
}

static void unknown_recipients_fade(void **state)
{
	struct rates *r = table_new(100);
	struct ip ip = ip_of("192.0.2.1"), other = ip_of("192.0.2.2");
	uint32_t last;

	assert_int_equal(rate_unknown_score(r, &ip), 0);
	for (uint32_t i = 1; i <= 100; i++)
		assert_int_equal(rate_unknown_recipient(r, &ip), i);
	assert_int_equal(rate_unknown_score(r, &other), 0);
	clock_fake_advance(600 * NS_PER_SECOND);
	assert_int_equal(rate_unknown_score(r, &ip), 50);
	clock_fake_advance(600 * NS_PER_SECOND);
	assert_int_equal(rate_unknown_score(r, &ip), 25);
	last = 25;
	for (int i = 0; i < 600; i++) {	/* never up, never a jump */
		clock_fake_advance(NS_PER_SECOND);
		assert_true(rate_unknown_score(r, &ip) <= last && rate_unknown_score(r, &ip) + 1 >= last);
		last = rate_unknown_score(r, &ip);
	}
	clock_fake_advance(INT64_C(86400) * NS_PER_SECOND);
	assert_int_equal(rate_unknown_score(r, &ip), 0);
	assert_int_equal(rate_unknown_recipient(r, &ip), 1);
	table_end();
}

/* Many guesses a second for a long time: the fraction of a second is not lost. */
static void steady_guessing_reaches_a_level(void **state)
{
	struct rates *r = table_new(100);
	struct ip ip = ip_of("192.0.2.1");
	uint32_t score = 0;

	for (int i = 0; i < 100000; i++) {
		clock_fake_advance(500 * NS_PER_MS);
		score = rate_unknown_recipient(r, &ip);
	}
	/* 2 a second and a half-life of 600 s: 2 * 600 / ln 2 = 1731. */
	assert_in_range(score, 1500, 2500);
	table_end();
}

/* An attacker rich in addresses flushes neither open sessions nor what hangs on them. */
static void open_sessions_are_not_evicted(void **state)
{
	struct rates *r = table_new(64);
	struct ip held = ip_of("192.0.2.1");

	assert_int_equal(rate_session_begin(r, &held, 1, no_limit), RATE_OK);
	for (int i = 0; i < 30; i++)
		rate_unknown_recipient(r, &held);
	for (uint32_t i = 0; i < 20000; i++) {
		struct ip ip = ip_number(i);

		clock_fake_advance(NS_PER_US);
		assert_int_equal(rate_session_begin(r, &ip, 1, no_limit), RATE_OK);
		rate_session_end(r, &ip);
	}
	assert_int_equal(rate_unknown_score(r, &held), 30);
	assert_int_equal(rate_session_begin(r, &held, 1, no_limit), RATE_TOO_MANY_SESSIONS);
	table_end();
}

/* The least recent goes first. */
static void recent_clients_stay(void **state)
{
	struct rates *r = table_new(6000);
	struct ip busy = ip_of("192.0.2.1");

	rate_unknown_recipient(r, &busy);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip ip = ip_number(i);

		clock_fake_advance(NS_PER_US);
		rate_unknown_recipient(r, &ip);
		if (i % 500 == 0) {
			rate_session_begin(r, &busy, 0, no_limit);
			rate_session_end(r, &busy);
		}
	}
	assert_int_equal(rate_unknown_score(r, &busy), 1);
	table_end();
}

/* More clients with open sessions than the table holds: all are let in, those counted keep their limit. */
static void a_full_table_lets_strangers_in(void **state)
{
	struct rates *r = table_new(6);
	unsigned limited = 0;

	for (uint32_t i = 0; i < 50; i++) {
		struct ip ip = ip_number(i);

		assert_int_equal(rate_session_begin(r, &ip, 1, no_limit), RATE_OK);
	}
	for (uint32_t i = 0; i < 50; i++) {
		struct ip ip = ip_number(i);

		limited += rate_session_begin(r, &ip, 1, no_limit) == RATE_TOO_MANY_SESSIONS;
	}
	assert_int_equal(limited, 8);
	for (int twice = 0; twice < 2; twice++) {
		for (uint32_t i = 0; i < 50; i++) {
			struct ip ip = ip_number(i);

			rate_session_end(r, &ip);
		}
	}
	for (uint32_t i = 0; i < 50; i++) {
		struct ip ip = ip_number(i);

		assert_int_equal(room_of(r, &ip, 3), 3);
	}
	table_end();
}

static void a_table_for_n_clients_holds_most_of_them(void **state)
{
	struct rates *r = table_new(10000);
	unsigned held = 0;

	for (uint32_t i = 0; i < 10000; i++) {
		struct ip ip = ip_number(i);

		rate_unknown_recipient(r, &ip);
	}
	for (uint32_t i = 0; i < 10000; i++) {
		struct ip ip = ip_number(i);

		held += rate_unknown_score(r, &ip);
	}
	assert_true(held > 9500);
	table_end();
}

/* ---- processes ---- */

#define WORKERS 6

struct shared {
	_Atomic int go, inside, most, over, finished;
};

static struct shared *shared_new(void)
{
	return mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void children_start(struct shared *s, void (*work)(struct shared *, unsigned), pid_t pids[WORKERS])
{
	for (unsigned i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		while (!atomic_load(&s->go))
			sched_yield();
		work(s, i + 1);
		_exit(0);
	}
	atomic_store(&s->go, 1);
}

static void children_end(const pid_t pids[WORKERS])
{
	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

#define LIMIT 3

static void note_inside(struct shared *s)
{
	int now = atomic_fetch_add(&s->inside, 1) + 1, most = atomic_load(&s->most);

	while (now > most && !atomic_compare_exchange_weak(&s->most, &most, now))
		;
	if (now > LIMIT)
		atomic_fetch_add(&s->over, 1);
}

static void compete(struct shared *s, unsigned slot)
{
	struct rates *r = rate_attach(memory, slot);
	struct ip ip = ip_of("192.0.2.1");

	for (int i = 0; i < 20000; i++) {
		if (rate_session_begin(r, &ip, LIMIT, no_limit) != RATE_OK)
			continue;
		note_inside(s);
		if (i % 64 == 0)
			sched_yield();
		atomic_fetch_sub(&s->inside, 1);
		rate_session_end(r, &ip);
	}
}

static void the_limit_holds_among_workers(void **state)
{
	struct rates *r = table_new(100);
	struct shared *s = shared_new();
	struct ip ip = ip_of("192.0.2.1");
	pid_t pids[WORKERS];

	children_start(s, compete, pids);
	children_end(pids);
	assert_int_equal(atomic_load(&s->over), 0);
	assert_true(atomic_load(&s->most) >= 2);
	assert_int_equal(room_of(r, &ip, LIMIT), LIMIT);
	table_end();
}

/* Each wants one session and keeps it: exactly as many as the limit get one. */
static void grab(struct shared *s, unsigned slot)
{
	struct rates *r = rate_attach(memory, slot);
	struct ip ip = ip_of("192.0.2.1");

	if (rate_session_begin(r, &ip, LIMIT, no_limit) == RATE_OK)
		atomic_fetch_add(&s->inside, 1);
}

static void nobody_is_refused_while_there_is_room(void **state)
{
	for (int round = 0; round < 100; round++) {
		table_new(100);

		struct shared *s = shared_new();
		pid_t pids[WORKERS];

		children_start(s, grab, pids);
		children_end(pids);
		assert_int_equal(atomic_load(&s->inside), LIMIT);
		table_end();
		munmap(s, sizeof(*s));
	}
}

/* Many clients in few sets: entries change hands all the time, counts must not go astray. */
static void churn(struct shared *s, unsigned slot)
{
	struct rates *r = rate_attach(memory, slot);
	struct ip held = ip_of("192.0.2.1");
	uint32_t seed = slot;

	if (rate_session_begin(r, &held, 0, no_limit) != RATE_OK)
		_exit(1);
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1664525 + 1013904223;

		struct ip ip = ip_number(seed >> 16 & 255);

		if (rate_session_begin(r, &ip, 0, no_limit) != RATE_OK)
			_exit(2);
		if (seed >> 28 == 0)
			sched_yield();
		rate_session_end(r, &ip);
	}
	atomic_fetch_add(&s->finished, 1);
}

static void counts_do_not_go_astray_in_a_small_table(void **state)
{
	struct rates *r = table_new(20);
	struct shared *s = shared_new();
	struct ip held = ip_of("192.0.2.1");
	pid_t pids[WORKERS];

	children_start(s, churn, pids);
	children_end(pids);
	assert_int_equal(atomic_load(&s->finished), WORKERS);
	/* The sessions left open are all there, and nothing else is. */
	assert_int_equal(room_of(r, &held, WORKERS + 2), 2);
	for (unsigned i = 1; i <= WORKERS; i++)
		rate_worker_gone(memory, i);
	assert_int_equal(room_of(r, &held, WORKERS + 2), WORKERS + 2);
	for (uint32_t i = 0; i < 256; i++) {
		struct ip ip = ip_number(i);

		assert_int_equal(room_of(r, &ip, 2), 2);
	}
	table_end();
}

static void killed(struct shared *s, unsigned slot)
{
	struct rates *r = rate_attach(memory, slot);
	uint32_t seed = slot * 77;

	atomic_fetch_add(&s->inside, 1);
	for (;;) {
		seed = seed * 1664525 + 1013904223;

		struct ip ip = ip_number(seed >> 16 & 63);

		rate_session_begin(r, &ip, 4, no_limit);
		rate_unknown_recipient(r, &ip);
		if (seed >> 31)
			rate_session_end(r, &ip);
	}
}

/* Killed anywhere, also in the middle of taking an entry: the master's word restores all. */
static void a_killed_worker_leaves_nothing(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct rates *r = table_new(12);
		struct shared *s = shared_new();
		pid_t pids[WORKERS];

		children_start(s, killed, pids);
		while (atomic_load(&s->inside) < WORKERS)
			sched_yield();
		usleep(3000 + round * 500);
		for (unsigned i = 0; i < WORKERS; i++) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
			rate_worker_gone(memory, i + 1);
		}
		for (uint32_t i = 0; i < 64; i++) {
			struct ip ip = ip_number(i);

			assert_int_equal(room_of(r, &ip, 4), 4);
		}
		table_end();
		munmap(s, sizeof(*s));
	}
}

static void drip(struct shared *s, unsigned slot)
{
	struct rates *r = rate_attach(memory, slot);
	struct ip ip = ip_of("192.0.2.1");
	struct rate_limit limit = { 1000, 3600 * NS_PER_SECOND };

	for (int i = 0; i < 500; i++)
		if (rate_session_begin(r, &ip, 0, limit) == RATE_OK)
			atomic_fetch_add(&s->inside, 1);
	for (int i = 0; i < 1000; i++)
		rate_unknown_recipient(r, &ip);
}

static void one_bucket_for_all_workers(void **state)
{
	struct rates *r = table_new(100);
	struct shared *s = shared_new();
	struct ip ip = ip_of("192.0.2.1");
	pid_t pids[WORKERS];

	children_start(s, drip, pids);
	children_end(pids);
	assert_int_equal(atomic_load(&s->inside), 1000);
	assert_int_equal(rate_unknown_score(r, &ip), WORKERS * 1000);
	table_end();
}

/* ---- moments ---- */

/* The entry of a client that has had one session. */
static struct rate_entry *entry_for(struct rates *r, const struct ip *ip)
{
	struct rate_table *t = table_of(r);
	uint64_t tag = tag_of(t, ip);

	rate_session_begin(r, ip, 0, no_limit);
	rate_session_end(r, ip);
	return set_find(set_of(t, tag), tag);
}

/* Killed between the mark and the new tag. */
static void a_mark_goes_with_its_worker(void **state)
{
	struct rates *r = table_new(1);
	struct ip ip = ip_of("192.0.2.1");
	struct rate_entry *e = entry_for(r, &ip);

	atomic_store(&e->tag, 5 + 1);
	rate_worker_gone(memory, 4);
	assert_true(atomic_load(&e->tag) == 6);
	rate_worker_gone(memory, 5);
	assert_true(atomic_load(&e->tag) == TAG_FREE);
	table_end();
}

/* Before the master has noticed: all the others can still count, in every order of entries. */
static void a_dead_mark_stops_nobody(void **state)
{
	for (size_t i = 0; i < WAYS; i++) {
		struct rates *r = table_new(1);
		struct ip ip = ip_of("192.0.2.1");

		atomic_store(&table_of(r)->entries[i].tag, 5 + 1);
		assert_int_equal(rate_session_begin(r, &ip, 1, no_limit), RATE_OK);
		/* Behind a mark it gives way for ever, and is let in uncounted; before it, it counts. */
		rate_session_end(r, &ip);
		rate_worker_gone(memory, 5);
		assert_int_equal(room_of(r, &ip, 2), 2);
		table_end();
	}
}

static void a_session_is_not_counted_for_another(void **state)
{
	struct rates *r = table_new(1);
	struct ip ip = ip_of("192.0.2.1"), other = ip_of("192.0.2.2");
	struct rate_entry *e = entry_for(r, &ip);

	/* Found, and taken over by another client before we counted. */
	atomic_store(&e->tag, tag_of(table_of(r), &other));
	assert_false(entry_count(e, tag_of(table_of(r), &ip), 0));
	assert_int_equal(open_sum(e), 0);
	/* ... or about to be. */
	atomic_store(&e->tag, 5 + 1);
	assert_false(entry_count(e, tag_of(table_of(r), &ip), 0));
	assert_int_equal(open_sum(e), 0);
	table_end();
}

static void two_entries_of_one_client_are_summed_up(void **state)
{
	struct rates *r = table_new(1), *other = rate_attach(memory, 1);
	struct ip ip = ip_of("192.0.2.1");
	struct rate_entry *e = entry_for(r, &ip), *second = e == table_of(r)->entries ? e + 1 : e - 1;

	atomic_store(&second->tag, atomic_load(&e->tag));
	atomic_store(&second->open[1], 2);
	assert_int_equal(rate_session_begin(r, &ip, 3, no_limit), RATE_OK);
	assert_int_equal(rate_session_begin(r, &ip, 3, no_limit), RATE_TOO_MANY_SESSIONS);
	rate_session_end(other, &ip);
	rate_session_end(other, &ip);
	rate_session_end(r, &ip);
	assert_int_equal(room_of(r, &ip, 3), 3);
	table_end();
}

/* A taker finds that a session began in the entry while it set its mark: the old tag comes back. */
static void an_entry_in_use_is_not_taken(void **state)
{
	struct rates *r = table_new(1);
	struct rate_entry *set = table_of(r)->entries;
	uint64_t was;

	for (size_t i = 0; i < WAYS; i++) {
		atomic_store(&set[i].tag, 1000 + i);
		atomic_store(&set[i].seen, (int64_t)i);
		atomic_store(&set[i].open[3], i == 2 ? 0 : 1);
	}
	assert_ptr_equal(set_take(set, 1, &was), &set[2]);
	assert_true(was == 1002 && atomic_load(&set[2].tag) == 1);
	assert_null(set_take(set, 2, &was));
	table_end();
}

/* ---- mail ---- */

static const struct rate_limit two_an_hour = { 2, 3600 * NS_PER_SECOND };

static bool mail(struct rates *r, enum rate_kind kind, const char *key)
{
	return rate_mail(r, kind, slice_of(key), two_an_hour);
}

static void mail_is_counted_by_each_key_alone(void **state)
{
	struct rates *r = table_new(100), *other = rate_attach(memory, 1);

	assert_true(mail(r, RATE_OF_RECIPIENT, "bob@example.org"));
	assert_true(mail(other, RATE_OF_RECIPIENT, "bob@example.org"));
	assert_false(mail(r, RATE_OF_RECIPIENT, "bob@example.org"));
	assert_false(mail(other, RATE_OF_RECIPIENT, "bob@example.org"));
	/* Neither for somebody else nor as something else. */
	assert_true(mail(r, RATE_OF_RECIPIENT, "ann@example.org"));
	assert_true(mail(r, RATE_OF_NULL_SENDER, "bob@example.org"));
	assert_true(mail(r, RATE_OF_SENDER_DOMAIN, "bob@example.org"));
	assert_true(mail(r, RATE_OF_CLIENT, "bob@example.org"));
	table_end();
}

/* What was refused is not counted: the place that comes free after half an hour is not taken by those who asked meanwhile. */
static void mail_comes_through_again_as_the_bucket_leaks(void **state)
{
	struct rates *r = table_new(100);

	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	for (int i = 0; i < 29; i++) {
		clock_fake_advance(60 * NS_PER_SECOND);
		assert_false(mail(r, RATE_OF_CLIENT, "a"));
	}
	clock_fake_advance(60 * NS_PER_SECOND);
	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	assert_false(mail(r, RATE_OF_CLIENT, "a"));
	/* No more than a burst is saved up. */
	clock_fake_advance(86400 * NS_PER_SECOND);
	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	assert_false(mail(r, RATE_OF_CLIENT, "a"));
	table_end();
}

static void mail_without_a_limit_is_not_counted(void **state)
{
	const struct rate_limit odd[] = { { 0, 0 }, { 0, NS_PER_SECOND }, { 1, 0 }, { 1, -1 } };
	struct rates *r = table_new(100);

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		for (int n = 0; n < 5; n++)
			assert_true(rate_mail(r, RATE_OF_CLIENT, SLICE("a"), odd[i]));
	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	assert_true(mail(r, RATE_OF_CLIENT, "a"));
	assert_false(mail(r, RATE_OF_CLIENT, "a"));
	table_end();
}

/* Empty, long and binary keys are keys like others. */
static void any_octets_are_a_key(void **state)
{
	char longest[300];
	const struct slice keys[] = { SLICE(""), slice_make("\0", 1), slice_make("\0\0", 2), slice_make(longest, sizeof(longest)),
		slice_make(longest, sizeof(longest) - 1) };
	struct rates *r = table_new(100);

	memset(longest, 0xff, sizeof(longest));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		assert_true(rate_mail(r, RATE_OF_SENDER_DOMAIN, keys[i], two_an_hour));
		assert_true(rate_mail(r, RATE_OF_SENDER_DOMAIN, keys[i], two_an_hour));
		assert_false(rate_mail(r, RATE_OF_SENDER_DOMAIN, keys[i], two_an_hour));
	}
	table_end();
}

static void the_slot_is_checked(void **state)
{
	table_new(10);
	assert_aborts(rate_attach(memory, RATE_WORKERS));
	table_end();
}

UNIT_MAIN(T(sessions_are_limited), T(a_client_is_a_network), T(ending_too_often_is_harmless), T(the_bucket_leaks),
	T(a_shorter_period_holds_at_once), T(odd_limits), T(unknown_recipients_fade),
	T(steady_guessing_reaches_a_level), T(open_sessions_are_not_evicted), T(recent_clients_stay),
	T(a_full_table_lets_strangers_in), T(a_table_for_n_clients_holds_most_of_them),
	T(the_limit_holds_among_workers), T(nobody_is_refused_while_there_is_room),
	T(counts_do_not_go_astray_in_a_small_table), T(a_killed_worker_leaves_nothing), T(one_bucket_for_all_workers),
	T(a_mark_goes_with_its_worker), T(a_dead_mark_stops_nobody), T(a_session_is_not_counted_for_another),
	T(two_entries_of_one_client_are_summed_up), T(an_entry_in_use_is_not_taken), T(mail_is_counted_by_each_key_alone),
	T(mail_comes_through_again_as_the_bucket_leaks), T(mail_without_a_limit_is_not_counted), T(any_octets_are_a_key),
	T(the_slot_is_checked))
