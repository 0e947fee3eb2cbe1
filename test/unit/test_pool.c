/*
 * The pool against backends that come and go: what is kept and for how long, who waits and in
 * which order, when a host is left alone and who tries it again. The clock is fake.
 */
#include "fake_backend.h"

#include "net/pool_host.h"

#include <errno.h>
#include <sys/resource.h>

#define SCRIPT(...) ({ static const char *const script_[] = { __VA_ARGS__, NULL }; script_; })
#define EHLO "<EHLO gate.example.org\r\n"
#define HELLO ">220 mx.example.net ESMTP\r\n", EHLO, ">250-mx.example.net\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
#define SECONDS(n) ((n) * NS_PER_SECOND)

static struct fake backend, second;
static struct pool *pool;
static struct backend conf;
static struct backend_host hosts[2];
static struct arena arena;
static struct reply reply;
static const char *why;
static struct fiber_job job;
static bool done;
static char certificate[100];

static int setup(void **state)
{
	(void)state;
	clock_fake(EPOCH, WALL);
	loop_init();
	fiber_init(64, 64 * 1024);
	loop_patience(1);
	memset(&backend, 0, sizeof(backend));
	memset(&second, 0, sizeof(second));
	fake_peer_count = fake_failures = 0;
	done = false;
	why = "";
	pool = pool_open(NULL, "gate.example.org");
	fake_open(&backend);
	backend.scripts[0] = SCRIPT("m");
	hosts[0] = fake_host(&backend, BACKEND_SMTP);
	conf = (struct backend){ .name = "test", .hosts = hosts, .host_count = 1, .max_connections = 10,
		.keep_idle = SECONDS(60) };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stream_limit_io(0);
	if (pool)
		pool_close(pool);
	turns_now();
	for (int i = 0; i < fake_peer_count && i < FAKE_PEERS; i++)
		stream_abort(&fake_peers[i].stream);
	fake_close(&backend);
	fake_close(&second);
	tls_context_unref(backend.tls);
	arena_drop(&arena);
	turns();
	loop_patience(0);
	fiber_drop();
	loop_drop();
	return 0;
}

#define test_case(f) { #f, f, setup, teardown, NULL }

static void run_body(void *fn)
{
	(*(void (**)(void))fn)();
	done = true;
}

static void play(void (*fn)(void))
{
	void (*body)(void) = fn;

	fiber_start(&job, "test", run_body, &body);
	while (!done && loop_turn(DEADLINE_NONE))
		;
	assert_int_equal(fake_failures, 0);
	assert_true(done);
}

ASYNC static struct smtp_client *take_from(const struct backend *b, bool fresh)
{
	why = "";
	return pool_take(pool, &arena, b, fresh, &reply, &why, deadline_in(SECONDS(120)));
}

ASYNC static struct smtp_client *take(void) { return take_from(&conf, false); }

ASYNC static bool answer(struct smtp_client *c)
{
	return smtp_client_reply(c, &arena, &reply, &why, "test", deadline_in(SECONDS(60)));
}

/* One transaction of two commands. */
ASYNC static void mail(struct smtp_client *c)
{
	struct envelope e = { .reverse_for_backend = SLICE("a@example.com") };

	smtp_client_queue_mail(c, &e, 0);
	CHECK(answer(c) && reply.code == 250);
}

ASYNC static void pass(nanoseconds span) { wait_until("test", deadline_in(span)); }

static bool why_has(const char *text)
{
	if (strstr(why, text))
		return true;
	print_error("why is \"%s\"\n", why);
	return false;
}

static struct pool_host_info found;
static int host_count;

static void find_host(const struct pool_host_info *i, void *url)
{
	if (strcmp(i->url, url) == 0)
		found = *i;
	host_count++;
}

static const struct pool_host_info *info_of(struct fake *f)
{
	memset(&found, 0, sizeof(found));
	host_count = 0;
	pool_each_host(pool, find_host, f->url);
	return &found;
}

/* ---- our own want of descriptors ---- */

static void has_no_descriptor_left(void)
{
	struct rlimit limit, none;
	struct smtp_client *a = take(), *b;

	CHECK(a != NULL);
	pool_give(pool, a);
	CHECK(info_of(&backend)->idle == 1);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = limit.rlim_max };
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	b = take_from(&conf, true);
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK(b == NULL && why_has("Too many open files"));
	CHECK(info_of(&backend)->failed == 0 && info_of(&backend)->idle == 1);
	b = take_from(&conf, true);
	CHECK(b != NULL);
	pool_give(pool, b);
}

static void test_whose_want_it_is(void **state)
{
	(void)state;
	assert_true(error_is_our_want(EMFILE, AF_INET6) && error_is_our_want(ENOBUFS, AF_UNIX));
	assert_true(error_is_our_want(EADDRNOTAVAIL, AF_INET));
	/* Every connect() over IPv6 where that is switched off: a dead host with both would never be left alone. */
	assert_false(error_is_our_want(EADDRNOTAVAIL, AF_INET6));
	assert_false(error_is_our_want(ECONNREFUSED, AF_INET) || error_is_our_want(0, AF_INET));
}

/* It says nothing about the host: nobody backs off, and what is warm stays so. */
static void test_want_of_descriptors_is_no_failure_of_the_host(void **state) { play(has_no_descriptor_left); }

/* ---- keeping ---- */

static void keeps(void)
{
	struct smtp_client *a = take(), *b, *c;

	CHECK(a && a->fresh && a->capabilities == (CAP_PIPELINING | CAP_SIZE) && a->size_limit == 1000);
	CHECK(a && strcmp(a->host->url, backend.url) == 0 && a->host->url != backend.url);
	mail(a);
	pool_give(pool, a);
	CHECK(info_of(&backend)->idle == 1 && found.out == 0 && found.transactions == 1 && found.opened == 1);
	b = take();
	CHECK(b == a && !b->fresh && backend.connections == 1);
	c = take_from(&conf, true);
	CHECK(c && c != b && c->fresh && backend.connections == 2);
	CHECK(info_of(&backend)->out == 2 && found.idle == 0 && found.up && found.known && !found.last_error);
	pool_give(pool, c);
	pool_give(pool, b);
	CHECK(take() == b);	/* the one given back last */
	CHECK(take() == c);
	pool_give(pool, c);
	pool_discard(pool, b, false);
	CHECK(info_of(&backend)->idle == 1 && found.out == 0 && found.up);
}

static void test_connections_are_kept(void **state) { play(keeps); }

static void shares(void)
{
	char *url = strdup(backend.url), *name = strdup("127.0.0.1");
	struct backend_host other_host = { .protocol = BACKEND_SMTP, .url = url, .name = name, .port = backend.port };
	struct backend other = conf;
	struct smtp_client *a, *b;

	other.hosts = &other_host;
	a = take_from(&other, false);
	CHECK(a != NULL);
	free(url);	/* a reload drops the configuration */
	free(name);
	CHECK(a && strcmp(a->host->url, backend.url) == 0 && strcmp(a->host->name, "127.0.0.1") == 0);
	pool_give(pool, a);
	CHECK(take() == a);
	pool_give(pool, a);
	other_host = hosts[0];
	other_host.protocol = BACKEND_LMTP;
	b = take_from(&other, false);
	CHECK(b && b != a && b->lmtp && backend.connections == 2);
	pool_give(pool, b);
	info_of(&backend);
	CHECK(host_count == 2);
}

static void test_hosts_are_known_by_value(void **state) { play(shares); }

static void is_left(void)
{
	struct smtp_client *a = take(), *b;

	pool_give(pool, a);
	CHECK(info_of(&backend)->idle == 1);
	pass(SECONDS(4));
	CHECK(info_of(&backend)->idle == 0 && found.out == 0 && found.up);
	b = take();
	CHECK(b && b->fresh && backend.connections == 2);
	pool_give(pool, b);
}

static void test_idle_and_closed_by_the_backend(void **state)
{
	backend.scripts[0] = SCRIPT(HELLO, "+", "c");
	play(is_left);
}

static void test_idle_and_reset_by_the_backend(void **state)
{
	backend.scripts[0] = SCRIPT(HELLO, "+", "r");
	play(is_left);
}

static void test_idle_and_told_421(void **state)
{
	backend.scripts[0] = SCRIPT(HELLO, "+", ">421 4.3.2 shutting down\r\n", "w");
	play(is_left);
}

static void cools(void)
{
	struct smtp_client *a, *b;

	conf.keep_idle = SECONDS(10);
	a = take();
	b = take();
	pool_give(pool, a);
	pass(SECONDS(5));
	pool_give(pool, b);
	pass(SECONDS(6));
	CHECK(info_of(&backend)->idle == 1 && backend.quits == 1);
	CHECK(take() == b);
	pass(SECONDS(20));
	pool_give(pool, b);
	pass(SECONDS(9));
	CHECK(info_of(&backend)->idle == 1);
	pass(SECONDS(2));
	CHECK(info_of(&backend)->idle == 0 && backend.quits == 2);
	conf.keep_idle = 0;
	pool_give(pool, take());
	pass(SECONDS(1));
	CHECK(info_of(&backend)->idle == 0 && backend.quits == 3);
}

static void test_the_oldest_is_closed_first(void **state) { play(cools); }

static void wears(void)
{
	struct smtp_client *c = NULL;

	for (int i = 0; i < 100; i++) {
		c = take();
		CHECK(c && backend.connections == 1);
		mail(c);
		pool_give(pool, c);
	}
	pass(SECONDS(1));
	CHECK(info_of(&backend)->idle == 0 && backend.quits == 1 && found.transactions == 100);
	c = take();
	for (int i = 0; i < 8; i++) {
		smtp_client_queue(c, "RCPT TO:<unknown>");
		CHECK(answer(c) && reply.code == 550);
	}
	pool_give(pool, c);
	pass(SECONDS(1));
	CHECK(backend.quits == 2);
	conf.keep_idle = SECONDS(3600);
	c = take();
	pass(SECONDS(299));
	pool_give(pool, c);
	CHECK(take() == c);
	pass(SECONDS(2));
	pool_give(pool, c);
	pass(SECONDS(1));
	CHECK(backend.quits == 3 && backend.connections == 3);
}

static void test_worn_connections_are_closed(void **state) { play(wears); }

static void gives_garbage(void)
{
	struct smtp_client *c = take();

	smtp_client_queue(c, "NOOP");
	assert_aborts(pool_give(pool, c));	/* its reply would be another message's */
	CHECK(answer(c) && reply.code == 250 && c->broken);
	pool_give(pool, c);
	CHECK(info_of(&backend)->idle == 0 && found.out == 0);
	c = take();
	smtp_client_queue(c, "NOOP");
	CHECK(!answer(c) && c->broken);
	pool_give(pool, c);
	CHECK(info_of(&backend)->idle == 0 && found.out == 0 && found.up);
}

static void test_broken_ones_are_not_kept(void **state)
{
	backend.scripts[0] = SCRIPT(HELLO, "<NOOP\r\n", ">250 ok\r\n250 more\r\n", "w");
	backend.scripts[1] = SCRIPT(HELLO, "<NOOP\r\n", ">hello\r\n", "w");
	play(gives_garbage);
}

/* ---- the line ---- */

struct taker {
	struct fiber_job job;
	struct smtp_client *got;
	const char *why;
	bool fresh, ended;
	nanoseconds patience, at;
};

static void taker_run(void *arg)
{
	struct taker *t = arg;
	struct reply said;

	t->got = pool_take(pool, &arena, &conf, t->fresh, &said, &t->why, deadline_in(t->patience));
	t->ended = true;
	t->at = clock_now();
}

static void taker_start(struct taker *t, nanoseconds patience)
{
	t->patience = patience;
	fiber_start(&t->job, "taker", taker_run, t);
	pass(NS_PER_MS);
}

static void waits(void)
{
	struct taker t[5] = { 0 };
	struct smtp_client *a, *b;

	conf.max_connections = 2;
	a = take();
	b = take();
	for (int i = 0; i < 5; i++)
		taker_start(&t[i], i == 1 ? SECONDS(2) : SECONDS(100));
	CHECK(!t[0].ended && !t[4].ended && info_of(&backend)->out == 2);
	pool_give(pool, a);
	pass(SECONDS(1));
	CHECK(t[0].ended && t[0].got == a && !t[1].ended && !t[2].ended);
	pass(SECONDS(2));
	CHECK(t[1].ended && !t[1].got && strstr(t[1].why, "in use"));
	pool_discard(pool, b, false);	/* a place becomes free, and no connection */
	pass(SECONDS(1));
	CHECK(t[2].ended && t[2].got && t[2].got->fresh && !t[3].ended && backend.connections == 3);
	t[4].fresh = true;	/* too late to matter: it is in line already */
	fiber_job_cancel(&t[3].job);
	pass(SECONDS(1));
	CHECK(t[3].ended && !t[3].got && strcmp(t[3].why, "cancelled") == 0 && !t[4].ended);
	pool_give(pool, t[0].got);
	pass(SECONDS(1));
	CHECK(t[4].got == a && backend.connections == 3);
	pool_give(pool, t[4].got);
	pool_give(pool, t[2].got);
	CHECK(info_of(&backend)->idle == 2 && found.out == 0);
}

static void test_first_come_first_served(void **state) { play(waits); }

static void waits_for_a_fresh_one(void)
{
	struct taker t = { .fresh = true };
	struct smtp_client *a, *b;

	conf.max_connections = 1;
	a = take();
	taker_start(&t, SECONDS(10));
	pool_give(pool, a);	/* warm: it must be replaced */
	pass(SECONDS(1));
	CHECK(t.got && t.got->fresh && backend.connections == 2 && backend.quits == 1);
	pool_give(pool, t.got);
	b = take_from(&conf, true);	/* the idle one makes place */
	CHECK(b && b->fresh && backend.connections == 3 && info_of(&backend)->out == 1 && found.idle == 0);
	pool_give(pool, b);
}

static void test_fresh_at_the_limit(void **state) { play(waits_for_a_fresh_one); }

static void raises(void)
{
	struct taker t = { 0 };
	struct smtp_client *a, *b;

	conf.max_connections = 1;
	a = take();
	taker_start(&t, SECONDS(10));
	CHECK(!t.ended);
	conf.max_connections = 3;
	b = take();
	pass(SECONDS(1));
	CHECK(t.got && b && info_of(&backend)->out == 3);
	conf.max_connections = 1;
	pool_give(pool, a);
	pool_give(pool, b);
	pool_give(pool, t.got);
	CHECK(info_of(&backend)->idle == 3);
}

static void test_a_reload_raises_the_limit(void **state) { play(raises); }

static void waits_for_a_dead_host(void)
{
	struct taker t[2] = { 0 };
	struct smtp_client *a;

	conf.max_connections = 1;
	a = take();
	taker_start(&t[0], SECONDS(100));
	taker_start(&t[1], SECONDS(100));
	pool_discard(pool, a, true);
	pass(NS_PER_MS);
	CHECK(t[0].ended && !t[0].got && strstr(t[0].why, "failed in mid-dialogue"));
	CHECK(t[1].ended && !t[1].got);
	CHECK(info_of(&backend)->out == 0);
}

static void test_nobody_waits_for_a_dead_host(void **state) { play(waits_for_a_dead_host); }

/* ---- health ---- */

static void is_refused(void)
{
	nanoseconds expected = SECONDS(1) / 2;
	struct smtp_client *a;

	fake_close(&backend);
	for (int i = 0; i < 10; i++) {
		nanoseconds now = clock_now();

		CHECK(!take());
		CHECK(why_has("Connection refused") && why_has(backend.url));
		CHECK(reply.code == 0 && clock_now() == now);
		info_of(&backend);
		CHECK(!found.up && found.failed == (uint64_t)i + 1 && strstr(found.last_error, "Connection refused"));
		CHECK(found.retry_at - now >= expected * 79 / 100 && found.retry_at - now <= expected * 121 / 100);
		CHECK(!take());		/* told at once, without a try */
		CHECK(why_has("Connection refused") && info_of(&backend)->failed == (uint64_t)i + 1);
		pass(found.retry_at - clock_now());
		expected = expected * 2 > SECONDS(60) ? SECONDS(60) : expected * 2;
	}
	fake_open(&backend);
	pass(SECONDS(80));
	a = take();
	CHECK(a && info_of(&backend)->up);
	pool_give(pool, a);
}

static void test_back_off_doubles_to_a_minute(void **state) { play(is_refused); }

static void probes(void)
{
	struct taker t[3] = { 0 };

	fake_close(&backend);
	CHECK(!take());
	pass(SECONDS(1));
	backend.scripts[0] = SCRIPT("+", HELLO, "w");
	fake_open(&backend);
	for (int i = 0; i < 3; i++)
		taker_start(&t[i], SECONDS(60));
	CHECK(!t[0].ended && backend.connections == 1);	/* the probe */
	CHECK(!t[1].ended && !t[2].ended);		/* wait for what it brings */
	pass(SECONDS(4));
	CHECK(t[0].got && info_of(&backend)->up);
	pass(SECONDS(4));
	CHECK(t[1].got && t[2].got);
	for (int i = 0; i < 3; i++)
		pool_give(pool, t[i].got);
	pool_give(pool, take());
}

/* The probe fails: those who waited for it are told so, not each made to try. */
static void probe_fails(void)
{
	struct taker t[3] = { 0 };

	fake_close(&backend);
	CHECK(!take());
	pass(SECONDS(1));
	backend.scripts[0] = SCRIPT("+", "=");
	fake_open(&backend);
	for (int i = 0; i < 3; i++)
		taker_start(&t[i], SECONDS(60));
	pass(SECONDS(60));
	for (int i = 0; i < 3; i++)
		CHECK(t[i].ended && !t[i].got);
	CHECK(backend.connections == 1);
}

static void test_failed_probe_speaks_for_all(void **state) { play(probe_fails); }

static void test_one_probe_at_a_time(void **state) { play(probes); }

static void dies_with_many(void)
{
	struct smtp_client *c[5], *idle;
	nanoseconds now;

	for (int i = 0; i < 5; i++)
		c[i] = take();
	idle = take();
	pool_give(pool, idle);
	pass(SECONDS(1));
	for (int i = 0; i < 5; i++)
		pool_discard(pool, c[i], true);
	now = clock_now();
	info_of(&backend);
	CHECK(found.retry_at - now < SECONDS(1) && found.idle == 0 && found.out == 0 && found.failed == 5);
	pass(SECONDS(1));
	c[0] = take();		/* no message has gone well since: the next failure counts as the second */
	CHECK(c[0] && info_of(&backend)->up);
	now = clock_now();
	pool_discard(pool, c[0], true);
	CHECK(info_of(&backend)->retry_at - now > SECONDS(1) * 3 / 4);
	pass(SECONDS(2));
	c[0] = take();
	mail(c[0]);
	pool_give(pool, c[0]);
	CHECK(take() == c[0]);
	now = clock_now();
	pool_discard(pool, c[0], true);
	CHECK(info_of(&backend)->retry_at - now < SECONDS(1) * 3 / 4);
}

static void test_many_deaths_are_one_failure(void **state) { play(dies_with_many); }

static void is_crowded(void)
{
	struct smtp_client *a = take();

	pool_give(pool, a);
	CHECK(!take_from(&conf, true));		/* no more connections */
	CHECK(why_has("greeting was 421") && reply.code == 421);
	CHECK(slice_eq(reply.text, SLICE("too many")));
	CHECK(!info_of(&backend)->up && found.idle == 1);
	CHECK(take() == a);			/* but this one serves */
	reply.code = 0;
	CHECK(!take());
	CHECK(reply.code == 421 && slice_eq(reply.text, SLICE("too many")));
	pool_give(pool, a);
}

static void test_a_crowded_host_serves_over_warm_ones(void **state)
{
	backend.scripts[0] = SCRIPT("m");
	backend.scripts[1] = SCRIPT(">421 4.7.0 too many\r\n", "w");
	play(is_crowded);
}

static void is_cancelled(void)
{
	struct taker t[2] = { 0 };

	conf.max_connections = 1;
	taker_start(&t[0], SECONDS(60));
	taker_start(&t[1], SECONDS(60));
	CHECK(backend.connections == 1 && !t[0].ended && !t[1].ended);
	fiber_job_cancel(&t[0].job);
	pass(SECONDS(1));
	CHECK(t[0].ended && !t[0].got && info_of(&backend)->up && found.failed == 0);
	CHECK(t[1].got && backend.connections == 2);	/* the place went on */
	pool_give(pool, t[1].got);
}

static void test_cancelled_while_opening(void **state)
{
	backend.scripts[0] = SCRIPT("w");
	backend.scripts[1] = SCRIPT("m");
	play(is_cancelled);
}

static void is_impatient(void)
{
	CHECK(!pool_take(pool, &arena, &conf, false, &reply, &why, deadline_in(SECONDS(1))));
	CHECK(why_has("timeout: greeting"));
	CHECK(info_of(&backend)->up);		/* it had no fair chance */
	CHECK(!pool_take(pool, &arena, &conf, false, &reply, &why, deadline_in(SECONDS(3))));
	CHECK(!info_of(&backend)->up && found.out == 0);
	pass(SECONDS(1));
	CHECK(!take());
	CHECK(clock_now() - EPOCH < SECONDS(40));	/* not all of the two minutes it was given */
}

static void test_a_stalling_host(void **state)
{
	backend.scripts[0] = SCRIPT("w");
	play(is_impatient);
}

static void falls_back(void)
{
	struct smtp_client *a, *b, *c;

	hosts[1] = fake_host(&second, BACKEND_SMTP);
	conf.host_count = 2;
	a = take();
	CHECK(a && a->host->port == backend.port);
	pool_discard(pool, a, false);
	fake_close(&backend);
	b = take();
	CHECK(b && b->host->port == second.port);
	CHECK(!info_of(&backend)->up && found.failed == 1 && info_of(&second)->up);
	c = take();		/* the first one is passed over */
	CHECK(c && c->host->port == second.port && info_of(&backend)->failed == 1);
	pool_give(pool, b);
	fake_open(&backend);
	pass(SECONDS(1));
	a = take();		/* and tried again */
	CHECK(a && a->host->port == backend.port && info_of(&backend)->up);
	pool_give(pool, c);
	pool_give(pool, a);
	fake_close(&backend);
	fake_close(&second);
	CHECK(!take_from(&conf, true));
	CHECK(why_has(second.url));
}

static void test_hosts_in_order(void **state)
{
	fake_open(&second);
	second.scripts[0] = SCRIPT("m");
	play(falls_back);
}

static void overflows(void)
{
	struct taker t = { 0 };
	struct smtp_client *a, *b;

	hosts[1] = fake_host(&second, BACKEND_SMTP);
	conf.host_count = 2;
	conf.max_connections = 1;
	a = take();
	b = take();
	CHECK(a && b && b->host->port == second.port);
	taker_start(&t, SECONDS(50));
	pool_discard(pool, a, true);
	pass(NS_PER_MS);
	CHECK(!t.ended);	/* it waits for the second alone */
	pool_give(pool, b);
	pass(NS_PER_MS);
	CHECK(t.got == b);
	pool_give(pool, b);
}

static void test_waiting_for_either_host(void **state)
{
	fake_open(&second);
	second.scripts[0] = SCRIPT("m");
	play(overflows);
}

/* ---- back into step ---- */

static void resets(void)
{
	struct envelope e = { .reverse_for_backend = SLICE("a@example.com") };
	struct recipient r = { .for_backend = SLICE("one@example.net") };
	struct smtp_client *a = take();

	mail(a);
	pool_reset_and_give(pool, a);
	CHECK(info_of(&backend)->out == 1);	/* until RSET is answered */
	pass(SECONDS(1));
	CHECK(info_of(&backend)->idle == 1 && backend.rsets == 1);
	a = take();
	smtp_client_queue_mail(a, &e, 0);
	smtp_client_queue_rcpt(a, &r);
	CHECK(answer(a));
	pool_reset_and_give(pool, a);		/* the answer to RCPT is still to come */
	pass(SECONDS(1));
	CHECK(take() == a && backend.connections == 1 && backend.rsets == 2 && a->unread == 0);
	smtp_client_queue_mail(a, &e, 0);
	smtp_client_queue_rcpt(a, &r);
	pool_reset_and_give(pool, a);		/* nothing has even been sent */
	pass(SECONDS(1));
	CHECK(take() == a && backend.mails == 3 && backend.rsets == 3);
	pool_reset_and_give(pool, a);		/* nothing has been asked: nothing to reset */
	CHECK(info_of(&backend)->idle == 1 && backend.rsets == 3);
}

static void test_reset_and_give(void **state) { play(resets); }

static void presents(void)
{
	struct client_facts client = { .port = 4711 };
	struct smtp_client *a;

	conf.forward_client = true;
	a = take();
	CHECK(smtp_client_present(a, &conf, &client, "REF", "gate.example.org", &why, deadline_in(SECONDS(60))));
	CHECK(a->unread == 1);
	pool_give(pool, a);
	pass(SECONDS(1));
	CHECK(info_of(&backend)->idle == 1);
	CHECK(take() == a);
	pool_give(pool, a);
}

static void test_presented_and_given_back(void **state)
{
	backend.scripts[0] = SCRIPT(">220 hi\r\n", EHLO, ">250-hi\r\n250-PIPELINING\r\n250 XFORWARD PORT\r\n",
		"<XFORWARD PORT=4711\r\nRSET\r\n", ">250 ok\r\n250 ok\r\n", "w");
	play(presents);
}

static void resets_data(void)
{
	struct smtp_client *a = take();

	smtp_client_queue(a, "DATA");
	pool_reset_and_give(pool, a);
	CHECK(info_of(&backend)->out == 0 && found.idle == 0);
	a = take();
	smtp_client_queue(a, "DATA");
	CHECK(answer(a) && reply.code == 354);
	pool_reset_and_give(pool, a);
	CHECK(info_of(&backend)->out == 0 && found.idle == 0 && found.up);
	pass(SECONDS(1));
	CHECK(backend.rsets == 0 && backend.quits == 0);
}

static void test_no_reset_in_a_message(void **state) { play(resets_data); }

static void resets_in_vain(void)
{
	struct taker t = { 0 };
	struct smtp_client *a;

	conf.max_connections = 1;
	a = take();
	mail(a);
	pool_reset_and_give(pool, a);
	taker_start(&t, SECONDS(60));
	pass(SECONDS(5));
	CHECK(!t.ended);
	pass(SECONDS(6));
	CHECK(t.got && t.got->fresh && info_of(&backend)->up);	/* 10 s, then the place went on */
	mail(t.got);
	pool_reset_and_give(pool, t.got);
	pass(SECONDS(1));
	CHECK(info_of(&backend)->idle == 0 && found.out == 0);
}

static void test_unanswered_and_refused_resets(void **state)
{
	backend.scripts[0] = SCRIPT(HELLO, "<MAIL FROM:<a@example.com>\r\n", ">250 ok\r\n", "<RSET\r\n", "w");
	backend.scripts[1] = SCRIPT(HELLO, "<MAIL FROM:<a@example.com>\r\n", ">250 ok\r\n", "<RSET\r\n", ">500 no\r\n", "w");
	play(resets_in_vain);
}

static void closes(void)
{
	struct taker t = { 0 };
	struct smtp_client *a, *b;

	conf.max_connections = 2;
	a = take();
	b = take();
	mail(a);
	pool_reset_and_give(pool, a);
	taker_start(&t, SECONDS(60));
	pool_close(pool);
	pass(NS_PER_MS);
	CHECK(t.ended && !t.got && strcmp(t.why, "shutting down") == 0);
	pool_give(pool, b);	/* the last one frees the pool */
	pool = NULL;
	pass(NS_PER_MS);
	CHECK(backend.open == 0 || backend.open == 1);
}

static void test_closing_with_all_under_way(void **state)
{
	backend.scripts[0] = SCRIPT(HELLO, "<MAIL FROM:<a@example.com>\r\n", ">250 ok\r\n", "<RSET\r\n", "w");
	backend.scripts[1] = SCRIPT("m");
	play(closes);
}

/* ---- what backends offer ---- */

static int learnt;

static void learner_run(void *arg)
{
	const char *reason = "";

	(void)arg;
	learnt += pool_learn(pool, &arena, &conf, &reason, deadline_in(SECONDS(60)));
}

static void learns(void)
{
	static struct fiber_job learners[5];
	unsigned capabilities = 0;
	uint64_t limit = 0;

	CHECK(!pool_capabilities(pool, &conf, &capabilities, &limit));
	learnt = 0;
	for (int i = 0; i < 5; i++)
		fiber_start(&learners[i], "learner", learner_run, NULL);
	pass(SECONDS(5));
	CHECK(learnt == 5 && backend.connections == 1);
	CHECK(pool_capabilities(pool, &conf, &capabilities, &limit));
	CHECK(capabilities == (CAP_PIPELINING | CAP_SIZE) && limit == 1000);
	CHECK(info_of(&backend)->known && found.capabilities == capabilities && found.size_limit == 1000);
}

static void test_one_learns_for_all(void **state)
{
	backend.scripts[0] = SCRIPT("+", HELLO, "w");
	play(learns);
}

static void learns_nothing(void)
{
	static struct fiber_job learners[3];
	unsigned capabilities = 0;
	uint64_t limit = 0;

	learnt = 0;
	for (int i = 0; i < 3; i++)
		fiber_start(&learners[i], "learner", learner_run, NULL);
	pass(SECONDS(5));
	CHECK(learnt == 0 && backend.connections == 1);
	CHECK(!pool_learn(pool, &arena, &conf, &why, deadline_in(SECONDS(60))));
	CHECK(why_has("greeting was 554"));
	CHECK(!pool_capabilities(pool, &conf, &capabilities, &limit));
}

static void test_learning_from_a_refusal(void **state)
{
	backend.scripts[0] = SCRIPT("+", ">554 no\r\n", "w");
	play(learns_nothing);
}

static void learns_from_two(void)
{
	unsigned capabilities = 0;
	uint64_t limit = 0;
	struct smtp_client *a, *b;

	hosts[1] = fake_host(&second, BACKEND_SMTP);
	conf.host_count = 2;
	conf.max_connections = 1;
	a = take();
	b = take();
	CHECK(pool_capabilities(pool, &conf, &capabilities, &limit));
	CHECK(capabilities == CAP_SIZE && limit == 500);
	pool_give(pool, a);
	pool_give(pool, b);
}

static void test_what_all_hosts_share(void **state)
{
	fake_open(&second);
	second.scripts[0] = SCRIPT(">220 hi\r\n", EHLO, ">250-hi\r\n250-SMTPUTF8\r\n250 SIZE 500\r\n", "w");
	play(learns_from_two);
}

/* ---- reaching a host ---- */

static void reaches_localhost(void)
{
	struct smtp_client *a;

	hosts[0].name = "LocalHost";
	a = take();
	CHECK(a != NULL);
	pool_give(pool, a);
	hosts[0].name = "mx.example.net";	/* and nobody to ask */
	CHECK(!take());
	CHECK(why_has("address of the host"));
	hosts[0].name = NULL;
	hosts[0].path = "/nowhere/at/all";
	CHECK(!take());
	CHECK(why_has("No such file"));
	hosts[0].path = "/a/path/that/is/longer/than/a/socket/address/can/hold/and/that/would/be/cut/if/it/was/not/measured/first/of/all";
	CHECK(!take());
	CHECK(why_has("too long"));
}

static void test_localhost_and_no_host(void **state) { play(reaches_localhost); }

static void reaches_unix(void)
{
	struct smtp_client *a;

	conf.tls = BACKEND_TLS_VERIFY;	/* means nothing here */
	hosts[0] = fake_host(&second, BACKEND_LMTP);
	a = take();
	CHECK(a && a->lmtp && !a->stream.tls);
	pool_give(pool, a);
	CHECK(take() == a);
	pool_give(pool, a);
}

static void test_unix_socket(void **state)
{
	fake_open_unix(&second);
	second.scripts[0] = SCRIPT("m");
	play(reaches_unix);
}

static bool answers_dns(void *arg, struct arena *a, struct slice name, enum dns_type type,
	struct dns_answer *out, nanoseconds *delay)
{
	static struct dns_record records[2];

	(void)arg;
	(void)a;
	(void)delay;
	memset(out, 0, sizeof(*out));
	if (slice_starts(name, SLICE("trouble"))) {
		out->status = DNS_TROUBLE;
		out->why = "SERVFAIL";
	} else if (slice_starts(name, SLICE("nobody"))) {
		out->status = DNS_NXDOMAIN;
	} else if (type == DNS_A) {
		ip_parse(&records[0].ip, SLICE("127.0.0.2"));	/* nobody listens there */
		ip_parse(&records[1].ip, SLICE("127.0.0.1"));
		out->status = DNS_FOUND;
		out->records = records;
		out->count = 2;
	} else {
		out->status = DNS_NODATA;
	}
	return true;
}

static void reaches_by_name(void)
{
	struct smtp_client *a;

	hosts[0].name = "mx.example.net";
	a = take();
	CHECK(a && info_of(&backend)->failed == 0);	/* the second address answered */
	pool_give(pool, a);
	hosts[0].name = "trouble.example.net";
	CHECK(!take());
	CHECK(why_has("address of the host: SERVFAIL"));
	hosts[0].name = "nobody.example.net";
	CHECK(!take());
	CHECK(why_has("address of the host"));
	hosts[0].name = "mx.example.net";
	CHECK(take() == a);
	pool_give(pool, a);
}

static void test_names_and_addresses_in_turn(void **state)
{
	struct dns_conf dns_conf = { .recurse = true, .trust_anchor_file = "", .timeout = SECONDS(5) };
	struct dns *dns = dns_open(&arena, &dns_conf, &why);

	assert_non_null(dns);
	dns_set_source(dns, answers_dns, NULL);
	pool_set_dns(pool, dns);
	play(reaches_by_name);
	pool_close(pool);
	pool = NULL;
	dns_close(dns);
}

/* ---- TLS ---- */

static void tls_fails(void)
{
	struct smtp_client *a, *b;

	conf.tls = BACKEND_TLS_OPPORTUNISTIC;
	a = take();
	CHECK(a && !a->stream.tls && backend.connections == 2 && info_of(&backend)->failed == 0);
	b = take();		/* not tried again so soon */
	CHECK(b && !b->stream.tls && backend.connections == 3);
	pool_discard(pool, a, false);
	pool_discard(pool, b, false);
	conf.tls = BACKEND_TLS_VERIFY;
	CHECK(!take());
	CHECK(why_has("STARTTLS is not offered"));
	conf.ca_file = "/nowhere/ca.pem";
	CHECK(!take());
	CHECK(strlen(why) > 0 && backend.connections == 4);
}

static void test_opportunistic_tls_goes_on_without(void **state)
{
	backend.scripts[0] = SCRIPT(">220 hi\r\n", EHLO, ">250-hi\r\n250 STARTTLS\r\n", "<STARTTLS\r\n", ">220 go\r\n", "c");
	backend.scripts[1] = SCRIPT(">220 hi\r\n", EHLO, ">250 hi\r\n", "w");
	play(tls_fails);
}

static void tls_kept(void)
{
	struct smtp_client *a;

	conf.tls = BACKEND_TLS_VERIFY;
	conf.ca_file = certificate;
	a = take();
	CHECK(a && a->stream.tls);
	pool_give(pool, a);
	pass(SECONDS(1));
	CHECK(info_of(&backend)->idle == 1);	/* session tickets are no reason to drop it */
	CHECK(take() == a);
	smtp_client_queue(a, "NOOP");
	CHECK(answer(a) && reply.code == 250);
	pool_give(pool, a);
	pass(SECONDS(4));
	CHECK(info_of(&backend)->idle == 0);
}

static void test_tls_is_kept_warm(void **state)
{
	const char *reason = "";

	backend.tls = tls_server_context(&arena, certificate, certificate, &reason);
	assert_non_null(backend.tls);
	backend.scripts[0] = SCRIPT(">220 hi\r\n", EHLO, ">250-hi\r\n250 STARTTLS\r\n", "<STARTTLS\r\n", ">220 go\r\n", "t",
		EHLO, ">250 hi\r\n", "<NOOP\r\n", ">250 ok\r\n", "+", "c");
	play(tls_kept);
}

static void is_forgotten(void)
{
	struct smtp_client *a = take();

	pool_give(pool, a);
	info_of(&backend);
	CHECK(host_count == 1);
	pass(SECONDS(3 * 3600));
	info_of(&backend);
	CHECK(host_count == 0);
	pool_give(pool, take());
}

static void test_hosts_are_forgotten(void **state) { play(is_forgotten); }

static int certificate_make(void **state)
{
	(void)state;
	fake_certificate(certificate, sizeof(certificate));
	return 0;
}

static int certificate_remove(void **state)
{
	(void)state;
	unlink(certificate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(test_connections_are_kept),
		both(test_hosts_are_known_by_value),
		both(test_idle_and_closed_by_the_backend),
		test_case(test_idle_and_reset_by_the_backend),
		both(test_idle_and_told_421),
		test_case(test_the_oldest_is_closed_first),
		test_case(test_worn_connections_are_closed),
		test_case(test_broken_ones_are_not_kept),
		both(test_first_come_first_served),
		test_case(test_fresh_at_the_limit),
		test_case(test_a_reload_raises_the_limit),
		test_case(test_nobody_waits_for_a_dead_host),
		test_case(test_back_off_doubles_to_a_minute),
		both(test_one_probe_at_a_time),
		both(test_failed_probe_speaks_for_all),
		test_case(test_many_deaths_are_one_failure),
		both(test_a_crowded_host_serves_over_warm_ones),
		test_case(test_cancelled_while_opening),
		test_case(test_a_stalling_host),
		both(test_presented_and_given_back),
		both(test_hosts_in_order),
		test_case(test_waiting_for_either_host),
		both(test_reset_and_give),
		both(test_no_reset_in_a_message),
		both(test_unanswered_and_refused_resets),
		both(test_closing_with_all_under_way),
		both(test_one_learns_for_all),
		test_case(test_learning_from_a_refusal),
		test_case(test_what_all_hosts_share),
		test_case(test_localhost_and_no_host),
		both(test_unix_socket),
		test_case(test_names_and_addresses_in_turn),
		both(test_opportunistic_tls_goes_on_without),
		both(test_tls_is_kept_warm),
		test_case(test_hosts_are_forgotten),
		test_case(test_whose_want_it_is),
		test_case(test_want_of_descriptors_is_no_failure_of_the_host),
	};

	return cmocka_run_group_tests(tests, certificate_make, certificate_remove);
}
