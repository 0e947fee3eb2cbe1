/* A directory in the chain: how long its answers hold, what happens when it is slow, gone, or suddenly knows nobody. */
#include "fake_backend.h"

#include "check/recipient.h"
#include "net/socketmap.h"

#include <stdio.h>
#include <stdlib.h>

#define MINUTE (60 * NS_PER_SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define QUESTION "<21:users ann@example.org,"
#define YES ">18:OK ann@example.org,"
#define NO ">9:NOTFOUND ,"
#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })

static struct fake server;
static struct arena arena;
static struct fiber_job job;
static char where[64];
static struct store *store;
static struct recipient_directory directory = { .name = "users" };
static const struct recipient_source source = { .kind = SOURCE_DIRECTORY, .directory = &directory };
static const struct recipient_conf conf = { .sources = &source, .source_count = 1, .positive_ttl = 7 * DAY,
	.refresh_after = DAY, .negative_ttl = 10 * MINUTE, .confirm_after = 10 * MINUTE, .fresh = 10 * MINUTE,
	.stale_for = 2 * DAY };
static const struct recipient_conf *conf_at_hand;
static struct recipient recipient = { .canonical = SLICE("ann@example.org") };
static struct findings findings;
static bool harvester, done;
static enum recipient_answer answer;

static int setup(void **state)
{
	struct store_conf store_conf = { .directory = where, .map_size = 16 << 20, .synchronous = true };
	char address[64];
	const char *why = "";

	turns_setup(state);
	loop_patience(1);
	memset(&server, 0, sizeof(server));
	fake_peer_count = fake_failures = 0;
	fake_open(&server);
	strcpy(where, "/tmp/spurn-test-directory-XXXXXX");
	assert_non_null(mkdtemp(where));
	store = store_open(&arena, &store_conf, &why);
	assert_non_null(store);
	snprintf(address, sizeof(address), "inet:127.0.0.1:%u", server.port);
	directory.map = socketmap_open(slice_of(address), SLICE("users"), 2, 5 * NS_PER_SECOND, &why);
	assert_non_null(directory.map);
	harvester = false;
	conf_at_hand = &conf;
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	socketmap_close_all();
	for (int i = 0; i < fake_peer_count && i < FAKE_PEERS; i++)
		stream_abort(&fake_peers[i].stream);
	if (server.connections >= 0)
		fake_close(&server);
	turns_now();
	store_close(store);
	arena_drop(&arena);
	loop_patience(0);
	snprintf(command, sizeof(command), "rm -rf %s", where);
	assert_int_equal(system(command), 0);
	return turns_teardown(state);
}

static void look(void *arg)
{
	findings = (struct findings){ 0 };
	answer = recipient_look_up(conf_at_hand, store, &recipient, harvester, &findings, &arena, deadline_in(60 * NS_PER_SECOND));
	done = true;
}

static enum result asked(void)
{
	done = false;
	fiber_start(&job, "test", look, NULL);
	while (!done && loop_turn(DEADLINE_NONE))
		;
	assert_true(done);
	turns_now();
	assert_int_equal(fake_failures, 0);
	assert_non_null(findings.first);
	assert_null(findings.first->next);
	return findings.first->result;
}

struct session {
	struct fiber_job job;
	struct arena arena;
	struct findings found;
	enum recipient_answer answer;
	bool done;
};

static void look_too(void *arg)
{
	struct session *s = arg;

	s->answer = recipient_look_up(conf_at_hand, store, &recipient, false, &s->found, &s->arena,
		deadline_in(60 * NS_PER_SECOND));
	s->done = true;
}

/* The server says this from now on; kept connections are gone. */
static void says(const char *const *first)
{
	socketmap_close_all();
	server.connections = 0;
	server.scripts[0] = first;
	server.scripts[1] = NULL;
}

static void test_yes_is_not_asked_again_while_fresh(void **state)
{
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
	says(SCRIPT(">no further question,"));
	clock_fake_advance(9 * MINUTE);
	assert_int_equal(asked(), RESULT_EXISTS);
	assert_int_equal(server.connections, 0);
}

/* Eight sessions at once about one address: all hear what the one question brings. */
static void eight_at_once(const char *const *script, enum recipient_answer expected)
{
	static struct session sessions[8];

	says(script);
	memset(sessions, 0, sizeof(sessions));
	for (int i = 0; i < 8; i++)
		fiber_start(&sessions[i].job, "test", look_too, &sessions[i]);
	for (int i = 0; i < 8; i++) {
		while (!sessions[i].done && loop_turn(DEADLINE_NONE))
			;
		assert_true(sessions[i].done);
		assert_int_equal(sessions[i].answer, expected);
		arena_drop(&sessions[i].arena);
	}
	turns_now();
	assert_int_equal(fake_failures, 0);
	assert_int_equal(server.connections, 1);
}

static void test_one_question_in_flight(void **state)
{
	eight_at_once(SCRIPT(QUESTION, YES, "."), RECIPIENT_EXISTS);
}

static void test_one_question_in_flight_about_nobody(void **state)
{
	eight_at_once(SCRIPT(QUESTION, NO, "."), RECIPIENT_NO_SUCH_USER);
}

static void test_one_question_in_flight_that_is_not_answered(void **state)
{
	eight_at_once(SCRIPT(QUESTION, ">12:TEMP trouble,", "."), RECIPIENT_CANNOT_TELL);
}

/* It answers from memory at once, and is asked with nobody waiting. */
static void test_yes_is_renewed_in_the_background(void **state)
{
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
	clock_fake_advance(6 * DAY);
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
	while (server.connections == 0 && loop_turn(DEADLINE_NONE))
		;
	for (int i = 0; i < 20; i++)
		turns_now();
	/* Renewed: six more days are no matter. */
	says(SCRIPT(QUESTION, YES, "w"));
	clock_fake_advance(6 * DAY);
	assert_int_equal(asked(), RESULT_EXISTS);
}

static void test_no_holds_for_a_short_while(void **state)
{
	says(SCRIPT(QUESTION, NO, "w"));
	assert_int_equal(asked(), RESULT_NO_SUCH_USER);
	says(SCRIPT(QUESTION, YES, "w"));
	clock_fake_advance(9 * MINUTE);
	assert_int_equal(asked(), RESULT_NO_SUCH_USER);
	assert_int_equal(server.connections, 0);
	clock_fake_advance(2 * MINUTE);
	assert_int_equal(asked(), RESULT_EXISTS);
}

/* An hour without it: whom it knew exists, of others nothing is said. */
static void test_directory_is_gone(void **state)
{
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
	says(SCRIPT("c"));
	fake_close(&server);
	server.connections = -1;
	clock_fake_advance(HOUR);
	assert_int_equal(asked(), RESULT_EXISTS);
	recipient.canonical = SLICE("eve@example.org");
	assert_int_equal(asked(), RESULT_UNKNOWN);
	assert_int_equal(answer, RECIPIENT_CANNOT_TELL);
	recipient.canonical = SLICE("ann@example.org");
	/* It knew her too long ago to be believed, and cannot be asked. */
	clock_fake_advance(8 * DAY);
	assert_int_equal(asked(), RESULT_UNKNOWN);
}

/* stale-for may be longer than an answer is good for while the directory answers. */
static void test_directory_is_gone_for_long(void **state)
{
	struct recipient_conf longer = conf;

	longer.stale_for = 21 * DAY;
	conf_at_hand = &longer;
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
	says(SCRIPT("c"));
	fake_close(&server);
	server.connections = -1;
	clock_fake_advance(20 * DAY);
	assert_int_equal(asked(), RESULT_EXISTS);
	clock_fake_advance(2 * DAY);
	assert_int_equal(asked(), RESULT_UNKNOWN);
}

static void test_known_one_turns_unknown(void **state)
{
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
	clock_fake_advance(8 * DAY);	/* no longer remembered */
	assert_false(recipient_forget(&conf, store, recipient.canonical));
	says(SCRIPT(QUESTION, NO, "w"));
	assert_int_equal(asked(), RESULT_NO_SUCH_USER);
}

/* A mailbox that was made a minute ago: the postmaster need not wait for the "no" to end. */
static void test_no_is_forgotten_on_request(void **state)
{
	says(SCRIPT(QUESTION, NO, "w"));
	assert_int_equal(asked(), RESULT_NO_SUCH_USER);
	assert_true(recipient_forget(&conf, store, recipient.canonical));
	assert_false(recipient_forget(&conf, store, recipient.canonical));
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_EXISTS);
}

static void test_harvester_does_not_ask(void **state)
{
	harvester = true;
	says(SCRIPT(QUESTION, YES, "w"));
	assert_int_equal(asked(), RESULT_UNKNOWN);
	assert_int_equal(server.connections, 0);
	harvester = false;
	assert_int_equal(asked(), RESULT_EXISTS);
	harvester = true;
	assert_int_equal(asked(), RESULT_EXISTS);
}

#define with_server(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_server(test_yes_is_not_asked_again_while_fresh),
		with_server(test_one_question_in_flight),
		with_server(test_one_question_in_flight_about_nobody),
		with_server(test_one_question_in_flight_that_is_not_answered),
		with_server(test_yes_is_renewed_in_the_background),
		with_server(test_no_holds_for_a_short_while),
		with_server(test_directory_is_gone),
		with_server(test_directory_is_gone_for_long),
		with_server(test_known_one_turns_unknown),
		with_server(test_no_is_forgotten_on_request),
		with_server(test_harvester_does_not_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
