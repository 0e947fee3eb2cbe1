/*
 * The socketmap client against servers that play scripts: what counts as an answer and, above all, what does not.
 * Most of it runs again one byte at a time.
 */
#include "fake_backend.h"

#include "net/socketmap.h"

#define QUESTION "<21:users ann@example.org,"
#define YES ">18:OK ann@example.org,"
#define NO ">9:NOTFOUND ,"

static struct fake server;
static struct arena arena;
static struct fiber_job job;
static struct socketmap *map;
static bool answered, found, done;
static struct slice said;
static const char *why;
static unsigned times;

static int setup(void **state)
{
	char address[64];

	fake_begin(state, &server);
	fake_open(&server);
	snprintf(address, sizeof(address), "inet:127.0.0.1:%u", server.port);
	why = NULL;
	map = socketmap_open(slice_of(address), SLICE("users"), 2, 5 * NS_PER_SECOND, &why);
	assert_non_null(map);
	answered = found = done = false;
	times = 1;
	return 0;
}

static int teardown(void **state)
{
	stream_limit_io(0);
	socketmap_close_all();
	for (int i = 0; i < fake_peer_count && i < FAKE_PEERS; i++)
		stream_abort(&fake_peers[i].stream);
	fake_close(&server);
	turns_now();
	arena_drop(&arena);
	loop_patience(0);
	return turns_teardown(state);
}

static void ask(void *arg)
{
	for (unsigned i = 0; i < times; i++)
		answered = socketmap_ask(map, &arena, SLICE("ann@example.org"), &found, &said, &why,
			deadline_in(60 * NS_PER_SECOND));
	done = true;
}

static void play(unsigned count, const char *const *first, const char *const *second)
{
	server.scripts[0] = first;
	server.scripts[1] = second;
	times = count;
	done = false;
	fiber_start(&job, "test", ask, NULL);
	while (!done && loop_turn(DEADLINE_NONE))
		;
	assert_true(done);
	assert_int_equal(fake_failures, 0);
}

#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })

static struct socketmap_info info(void)
{
	struct socketmap_info i;

	socketmap_inspect(map, &i);
	return i;
}

static void test_yes_and_no_on_one_connection(void **state)
{
	play(3, SCRIPT(QUESTION, YES, QUESTION, NO, QUESTION, YES, "w"), NULL);
	assert_true(answered && found);
	assert_slice(said, "ann@example.org");
	assert_int_equal(server.connections, 1);
	assert_int_equal(info().found, 2);
	assert_int_equal(info().absent, 1);
	assert_int_equal(info().idle, 1);
	assert_int_equal(info().busy, 0);
}

static void test_no_is_an_answer(void **state)
{
	play(1, SCRIPT(QUESTION, NO, "w"), NULL);
	assert_true(answered && !found);
}

/* None of these is an answer about the mailbox. */
static void test_trouble_is_no_answer(void **state)
{
	static const char *const replies[] = { ">8:TEMP low,", ">12:TIMEOUT slow,", ">11:PERM no map,", ">3:xyz,", ">0:,",
		">garbage\r\n", ">09:NOTFOUND ,", ">8:NOTFOUND ,", ">9:NOTFOUND ;", ">9:notfound ,", ">99999:OK x",
		">9:NOTFOUND ,9:NOTFOUND ,", ">5:OK xy,5:OK xy,", ">9:NOTFOUND ,x" };

	for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		server.connections = 0;
		socketmap_close_all();
		found = true;
		play(1, SCRIPT(QUESTION, replies[i], "w"), NULL);
		assert_false(answered);
		assert_non_null(why);
	}
	assert_int_equal(info().found + info().absent, 0);
}

static void test_end_instead_of_a_reply(void **state)
{
	play(1, SCRIPT(QUESTION, "c"), NULL);
	assert_false(answered);
	server.connections = 0;
	play(1, SCRIPT(QUESTION, ">9:NOTF", "c"), NULL);
	assert_false(answered);
	server.connections = 0;
	play(1, SCRIPT("c"), NULL);
	assert_false(answered);
}

/* The kept connection is gone when the next question comes: it is asked on a new one, and its end says nothing. */
static void test_stale_connection_is_replaced(void **state)
{
	play(2, SCRIPT(QUESTION, YES, QUESTION, "r"), SCRIPT(QUESTION, NO, "w"));
	assert_true(answered && !found);
	assert_int_equal(server.connections, 2);
	assert_int_equal(info().trouble, 0);
}

/* Half a reply is not stale: the server took the question. */
static void test_half_a_reply_is_not_asked_again(void **state)
{
	play(2, SCRIPT(QUESTION, YES, QUESTION, ">9:NOT", "c"), SCRIPT("w"));
	assert_false(answered);
	assert_int_equal(server.connections, 1);
}

static void test_silence_ends_with_the_time_allowed(void **state)
{
	nanoseconds began = clock_now();

	play(1, SCRIPT("w"), NULL);
	assert_false(answered);
	assert_in_range(clock_now() - began, 5 * NS_PER_SECOND, 6 * NS_PER_SECOND);
	assert_string_equal(why, "no reply within the time allowed");
}

static void test_who_is_down_is_left_alone(void **state)
{
	struct arena scratch = ARENA_INIT;
	int before;

	fake_close(&server);
	play(3, NULL, NULL);
	assert_false(answered);
	assert_false(info().up);
	before = (int)info().opened;
	play(1, NULL, NULL);
	assert_int_equal(info().opened, before);
	assert_non_null(strstr(why, "down"));
	/* Back again: the first question after the pause finds it. */
	clock_fake_advance(11 * NS_PER_SECOND);
	fake_open(&server);
	server.connections = 0;
	play(1, SCRIPT(QUESTION, YES, "w"), NULL);
	assert_true(answered && found);
	assert_true(info().up);
	arena_drop(&scratch);
}

/* ---- more questions than connections ---- */

static struct asker {
	struct fiber_job job;
	bool answered, found, done;
} askers[5];

static void ask_beside(void *arg)
{
	struct asker *asker = arg;
	struct arena own = ARENA_INIT;
	struct slice text;
	const char *reason;

	asker->answered = socketmap_ask(map, &own, SLICE("ann@example.org"), &asker->found, &text, &reason,
		deadline_in(60 * NS_PER_SECOND));
	asker->done = true;
	arena_drop(&own);
}

static void test_many_questions_share_few_connections(void **state)
{
	const char *const *script = SCRIPT(QUESTION, YES, QUESTION, YES, QUESTION, YES, QUESTION, YES, QUESTION, YES, "w");

	memset(askers, 0, sizeof(askers));
	server.scripts[0] = script;
	for (int i = 0; i < 5; i++)
		fiber_start(&askers[i].job, "asker", ask_beside, &askers[i]);
	for (int i = 0; i < 1000 && !(askers[0].done && askers[4].done && askers[3].done && askers[2].done); i++)
		loop_turn(clock_now() + NS_PER_MS);
	for (int i = 0; i < 5; i++)
		assert_true(askers[i].done && askers[i].answered && askers[i].found);
	assert_int_equal(server.connections, 2);
	assert_int_equal(fake_failures, 0);
}

static void test_addresses(void **state)
{
	static const char *const bad[] = { "", "/tmp/x", "unix:", "unix:relative", "inet:", "inet:127.0.0.1", "inet::25",
		"inet:127.0.0.1:0", "inet:127.0.0.1:65536", "inet:::1:25", "inet:localhost:25", "tcp:127.0.0.1:25" };
	static const char *const good[] = { "unix:/run/x.sock", "inet:[::1]:25", "inet:192.0.2.1:65535" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_null(socketmap_open(slice_of(bad[i]), SLICE("m"), 1, NS_PER_SECOND, &why));
		assert_non_null(why);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct socketmap *m = socketmap_open(slice_of(good[i]), SLICE("m"), 1, NS_PER_SECOND, &why);

		assert_non_null(m);
		assert_ptr_equal(m, socketmap_open(slice_of(good[i]), SLICE("m"), 9, NS_PER_SECOND, &why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(test_yes_and_no_on_one_connection), both(test_no_is_an_answer), both(test_trouble_is_no_answer),
		both(test_end_instead_of_a_reply), both(test_stale_connection_is_replaced),
		both(test_half_a_reply_is_not_asked_again), both(test_silence_ends_with_the_time_allowed),
		both(test_many_questions_share_few_connections),
		cmocka_unit_test_setup_teardown(test_who_is_down_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
