/*
 * Which backends tell the truth: when they are asked for somebody who does not exist, what their answers are worth, and what is
 * learnt from deliveries. Each test has a domain of its own, for what a worker has heard of lasts as long as it does.
 */
#include "fake_backend.h"

#include "check/backend_truth.h"
#include "net/pool.h"

#include <stdio.h>
#include <stdlib.h>

#define SCRIPT(...) ({ static const char *const script_[] = { __VA_ARGS__, NULL }; script_; })
#define HELLO ">220 mx.example.net ESMTP\r\n", "<EHLO gate.example.org\r\n", ">250-mx.example.net\r\n250 PIPELINING\r\n"
#define QUESTION "<MAIL FROM:<>\r\n", "<RCPT TO:<spurn-", "l"
#define MINUTE (60 * NS_PER_SECOND)
#define HOUR (60 * MINUTE)
#define RETEST (24 * HOUR)

static struct fake server;
static struct arena arena;
static struct store *store;
static struct pool *pool;
static struct backend backend;
static struct backend_host host;
static char where[64];

static int setup(void **state)
{
	struct store_conf conf = { .directory = where, .map_size = 16 << 20, .synchronous = true };
	const char *why = "";

	fake_begin(state, &server);
	fake_open(&server);
	strcpy(where, "/tmp/spurn-test-truth-XXXXXX");
	assert_non_null(mkdtemp(where));
	store = store_open(&arena, &conf, &why);
	assert_non_null(store);
	pool = pool_open(NULL, "gate.example.org");
	host = fake_host(&server, BACKEND_SMTP);
	backend = (struct backend){ .name = "truth", .hosts = &host, .host_count = 1, .max_connections = 2 };
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	for (int i = 0; i < 100; i++)	/* a question that still waits comes to the end of its time */
		loop_turn(deadline_in(NS_PER_SECOND));
	pool_close(pool);
	turns_now();
	store_close(store);
	arena_drop(&arena);
	snprintf(command, sizeof(command), "rm -rf %s", where);
	assert_int_equal(system(command), 0);
	assert_int_equal(fake_failures, 0);
	return fake_end(state, &server);
}

/* The backend will say this to whoever asks for nobody; kept connections are gone. */
static void says(const char *const *script)
{
	server.connections = 0;
	server.scripts[0] = script;
}

static bool accepted(const char *domain)
{
	return truth_accepted(store, pool, &backend, domain, RETEST);
}

/* So much later it takes somebody of the domain again; what that sets off comes to its end, within the minute. */
static bool accepted_after(nanoseconds span, const char *domain)
{
	clock_fake_advance(span);
	accepted(domain);
	for (int i = 0; i < 100; i++)
		loop_turn(deadline_in(NS_PER_MS));
	return accepted(domain);
}

static int state_of(const char *domain)
{
	struct truth t = { .state = TRUTH_UNTESTED };

	truth_get(store, backend.name, domain, &t);
	return (int)t.state;
}

static void it_is_asked_a_minute_after_the_first_acceptance(void **state)
{
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n550 5.1.1 who?\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	assert_false(accepted("first.example"));
	assert_false(accepted_after(59 * NS_PER_SECOND, "first.example"));
	assert_int_equal(server.connections, 0);
	assert_int_equal(state_of("first.example"), TRUTH_UNTESTED);
	assert_false(accepted_after(NS_PER_SECOND, "first.example"));
	assert_int_equal(server.connections, 1);
	assert_int_equal(state_of("first.example"), TRUTH_TELLS);
}

static void who_takes_anybody_is_known_for_it(void **state)
{
	struct truth t;

	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n250 ok\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	accepted("all.example");
	assert_true(accepted_after(MINUTE, "all.example"));
	assert_int_equal(state_of("all.example"), TRUTH_ACCEPTS_ALL);
	assert_true(truth_get(store, backend.name, "all.example", &t));
	assert_int_equal(t.tested, clock_wall_seconds());
	/* That is said of this domain alone. */
	assert_false(accepted("other.example"));
	assert_int_equal(state_of("other.example"), TRUTH_UNTESTED);
}

static void it_is_asked_again_after_retest(void **state)
{
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n250 ok\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	accepted("again.example");
	assert_true(accepted_after(MINUTE, "again.example"));
	pool_close(pool);
	pool = pool_open(NULL, "gate.example.org");
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n550 5.1.1 who?\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	assert_true(accepted_after(RETEST - MINUTE, "again.example"));
	assert_int_equal(server.connections, 0);
	assert_false(accepted_after(2 * MINUTE, "again.example"));
	assert_int_equal(server.connections, 1);
	assert_int_equal(state_of("again.example"), TRUTH_TELLS);
}

/* A 4xx, a 5xx about the sender, a greeting that does not come: none of them clears it, none convicts it. */
static void only_an_answer_is_an_answer(void **state)
{
	const char *const *const scripts[] = {
		(const char *const[]){ HELLO, QUESTION, ">250 ok\r\n451 4.3.0 later\r\n", "<RSET\r\n", ">250 ok\r\n", "w", NULL },
		(const char *const[]){ HELLO, QUESTION, ">250 ok\r\n550 5.7.1 not you\r\n", "<RSET\r\n", ">250 ok\r\n", "w", NULL },
		(const char *const[]){ HELLO, QUESTION, ">550 5.1.8 no <>\r\n503 no\r\n", "<RSET\r\n", ">250 ok\r\n", "w", NULL },
		(const char *const[]){ HELLO, QUESTION, ">250 ok\r\n", NULL },
		(const char *const[]){ HELLO, QUESTION, ">garbage\r\n", "w", NULL },
		(const char *const[]){ ">554 no\r\n", NULL },
	};

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		const char *domain = arena_printf(&arena, "trouble%zu.example", i);

		pool_close(pool);
		pool = pool_open(NULL, "gate.example.org");
		says(scripts[i]);
		accepted(domain);
		assert_false(accepted_after(MINUTE, domain));
		assert_int_equal(server.connections, 1);
		assert_int_equal(state_of(domain), TRUTH_UNTESTED);
		/* It is left alone for ten minutes. */
		assert_false(accepted_after(9 * MINUTE, domain));
		assert_int_equal(server.connections, 1);
	}
}

static void trouble_does_not_clear_who_takes_anybody(void **state)
{
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n250 ok\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	accepted("still.example");
	assert_true(accepted_after(MINUTE, "still.example"));
	pool_close(pool);
	pool = pool_open(NULL, "gate.example.org");
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n451 4.3.0 later\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	assert_true(accepted_after(RETEST + MINUTE, "still.example"));
	assert_int_equal(server.connections, 1);
	assert_int_equal(state_of("still.example"), TRUTH_ACCEPTS_ALL);
}

static void it_is_not_asked_where_that_is_off(void **state)
{
	says(SCRIPT(HELLO, "."));
	for (int i = 0; i < 3; i++) {
		assert_false(truth_accepted(store, pool, &backend, "off.example", 0));
		clock_fake_advance(HOUR);
	}
	turns_now();
	assert_int_equal(server.connections, 0);
}

static void one_question_at_a_time(void **state)
{
	says(SCRIPT(">220 mx.example.net\r\n", "w"));
	accepted("one.example");
	clock_fake_advance(MINUTE);
	for (int i = 0; i < 5; i++) {
		accepted("one.example");
		for (int turn = 0; turn < 20; turn++)
			loop_turn(deadline_in(NS_PER_MS));
	}
	assert_int_equal(server.connections, 1);
}

/* Another worker has asked: its answer stands in the store, and is looked for once a minute. */
static void workers_share_what_they_learn(void **state)
{
	struct store_value v = { .length = 16, .bytes = { 0xB7, TRUTH_ACCEPTS_ALL },
		.expires = (uint32_t)clock_wall_seconds() + 86400 };
	struct slice parts[] = { SLICE("backend truth"), SLICE("truth"), SLICE("shared.example") };
	struct store_key key = store_key(store, STORE_RECIPIENT, parts, 3);
	uint32_t tested = (uint32_t)clock_wall_seconds();

	says(SCRIPT(HELLO, "."));
	assert_false(accepted("shared.example"));
	memcpy(v.bytes + 4, &tested, sizeof(tested));
	assert_int_equal(store_put(store, STORE_RECIPIENT, &key, &v), STORE_OK);
	assert_true(accepted_after(MINUTE, "shared.example"));
	assert_int_equal(server.connections, 0);
	/* What is no record of ours says nothing. */
	v.bytes[0] = 0;
	assert_int_equal(store_put(store, STORE_RECIPIENT, &key, &v), STORE_OK);
	assert_int_equal(state_of("shared.example"), TRUTH_UNTESTED);
}

static void late_refusals_are_counted(void **state)
{
	const struct reply unknown = { .code = 550, .enhanced = { 5, 1, 1 }, .text = SLICE("who?") };
	const struct reply full = { .code = 552, .enhanced = { 5, 2, 2 }, .text = SLICE("full") };
	const struct reply spam = { .code = 550, .enhanced = { 5, 7, 1 }, .text = SLICE("spam") };
	const struct reply later = { .code = 451, .enhanced = { 4, 1, 1 }, .text = SLICE("later") };
	struct truth t;

	assert_false(truth_refused_late(store, &backend, "late.example", &full));
	assert_false(truth_refused_late(store, &backend, "late.example", &spam));
	assert_false(truth_refused_late(store, &backend, "late.example", &later));
	assert_false(truth_get(store, backend.name, "late.example", &t));
	for (unsigned i = 1; i <= 3; i++) {
		clock_fake_advance(MINUTE);
		assert_true(truth_refused_late(store, &backend, "late.example", &unknown));
		assert_true(truth_get(store, backend.name, "late.example", &t));
		assert_int_equal(t.late, i);
		assert_int_equal(t.last_late, clock_wall_seconds());
		assert_int_equal(t.state, TRUTH_UNTESTED);
	}
	/* The count outlives what the question finds. */
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n250 ok\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	accepted("late.example");
	assert_true(accepted_after(MINUTE, "late.example"));
	assert_true(truth_get(store, backend.name, "late.example", &t));
	assert_true(t.late == 3 && t.state == TRUTH_ACCEPTS_ALL);
}

static void without_a_store_the_worker_knows_it_alone(void **state)
{
	struct store *kept = store;

	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n250 ok\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	store = NULL;
	accepted("alone.example");
	assert_true(accepted_after(MINUTE, "alone.example"));
	assert_int_equal(state_of("alone.example"), TRUTH_UNTESTED);
	store = kept;
}

struct seen {
	int all, told;
};

static void see(const char *name, const char *domain, const struct truth *t, void *arg)
{
	struct seen *seen = arg;

	if (strcmp(domain, "status.example") == 0 && strcmp(name, "truth") == 0)
		seen->told += t->state == TRUTH_TELLS;
	seen->all++;
}

static void status_lists_whom_this_worker_has_heard_of(void **state)
{
	struct seen before = { 0, 0 }, after = { 0, 0 };

	truth_each(store, see, &before);
	says(SCRIPT(HELLO, QUESTION, ">250 ok\r\n550 5.1.1 who?\r\n", "<RSET\r\n", ">250 ok\r\n", "w"));
	accepted("status.example");
	accepted_after(MINUTE, "status.example");
	truth_each(store, see, &after);
	assert_int_equal(after.all, before.all + 1);
	assert_int_equal(after.told, 1);
}

#define row(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		row(it_is_asked_a_minute_after_the_first_acceptance), row(who_takes_anybody_is_known_for_it),
		row(it_is_asked_again_after_retest), row(only_an_answer_is_an_answer),
		row(trouble_does_not_clear_who_takes_anybody), row(it_is_not_asked_where_that_is_off),
		row(one_question_at_a_time), row(workers_share_what_they_learn), row(late_refusals_are_counted),
		row(without_a_store_the_worker_knows_it_alone), row(status_lists_whom_this_worker_has_heard_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
