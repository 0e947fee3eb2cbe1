/* spamd: the question as it is sent, and what is made of every kind of answer. Most of it again one byte at a time. */
#include "fake_backend.h"

#include "net/spamd.h"

static struct fake peer;
static struct fiber_job job;
static struct arena arena;
static struct spamd_answer answer;
static const char *why;
static bool done, ok;

struct two_pieces {
	struct pieces pieces;
	int at;
};

static bool next(struct pieces *base, struct slice *piece)
{
	struct two_pieces *p = (struct two_pieces *)base;
	static const char *const texts[] = { "Subject: x\r\n", "\r\nbody\r\n" };

	*piece = p->at < 2 ? slice_of(texts[p->at]) : SLICE_NULL;
	p->at++;
	return true;
}

static int setup(void **state)
{
	fake_begin(state, &peer);
	memset(&answer, 0, sizeof(answer));
	done = ok = false;
	why = "";
	return 0;
}

static int teardown(void **state)
{
	int status = fake_end(state, &peer);

	arena_drop(&arena);
	return status;
}

static uint64_t size;

static void ask(void *arg)
{
	struct endpoint to = fake_endpoint(&peer);
	struct two_pieces message = { .pieces = { next } };
	struct spamd_question q = { .user = SLICE("bob@example.org"), .size = size, .message = &message.pieces };

	(void)arg;
	ok = spamd_check(&to, &q, &arena, &answer, &why, deadline_in(60 * NS_PER_SECOND));
	done = true;
}

static void play(const char *const *script)
{
	fake_open(&peer);
	peer.scripts[0] = script;
	size = 20;
	fiber_start(&job, "test", ask, NULL);
	turns();
	assert_int_equal(fake_failures, 0);
	assert_true(done);
}

#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define QUESTION "<SYMBOLS SPAMC/1.5\r\nContent-length: 20\r\nUser: bob@example.org\r\n\r\nSubject: x\r\n\r\nbody\r\n"

static void expect_trouble(const char *text)
{
	assert_false(ok);
	if (strstr(why, text) == NULL)
		fail_msg("why is \"%s\", not \"%s\"", why, text);
}

static void a_score_and_its_rules(void **state)
{
	(void)state;
	play(SCRIPT(QUESTION, ">SPAMD/1.1 0 EX_OK\r\nContent-length: 16\r\nSpam: True ; 1000.2 / 5.0\r\n\r\nGTUBE,NO_DATE_X\n",
		"c"));
	assert_true(ok);
	assert_true(answer.spam);
	assert_int_equal(answer.score, 1000000);
	assert_int_equal(answer.threshold, 5000);
	assert_string_equal(answer.symbols, "GTUBE,NO_DATE_X");
}

static void half_an_answer(void **state)
{
	(void)state;
	play(SCRIPT(QUESTION, ">SPAMD/1.1 0 EX_OK\r\nContent-length: 16\r\nSpam: False ; 1.0 / 5.0\r\n\r\nGTU", "c"));
	expect_trouble("not as long");
}

static void half_a_header(void **state)
{
	(void)state;
	play(SCRIPT(QUESTION, ">SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1.0 / 5.0\r\n", "c"));
	expect_trouble("half");
}

static void silence(void **state)
{
	(void)state;
	/* More than a minute; our side is closed by then, which must not end it. */
	play(SCRIPT(QUESTION, "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+", "+",
		"+", "+", "+", "+", "+", "+"));
	expect_trouble("timeout");
}

static void an_error_of_its_own(void **state)
{
	(void)state;
	play(SCRIPT(QUESTION, ">SPAMD/1.0 76 EX_PROTOCOL\r\n\r\n", "c"));
	expect_trouble("spamd: SPAMD/1.0 76 EX_PROTOCOL");
}

static void a_close_before_the_question(void **state)
{
	(void)state;
	play(SCRIPT("r"));
	expect_trouble("");
}

static bool parse(const char *text)
{
	answer = (struct spamd_answer){ 0 };
	why = "";
	return spamd_answer_parse(&answer, slice_of(text), &arena, &why);
}

#define HEAD "SPAMD/1.1 0 EX_OK\r\n"

static void scores(void **state)
{
	(void)state;
	assert_true(parse(HEAD "Spam: False ; -1.25 / 5\r\n\r\n"));
	assert_false(answer.spam);
	assert_int_equal(answer.score, -1250);
	assert_true(parse(HEAD "Spam: Yes ; 5.0001 / 5.0\r\n\r\n"));
	assert_int_equal(answer.score, 5000);
	assert_true(parse(HEAD "Spam: Yes ; 99999999999999999999 / 5.0\r\n\r\n"));
	assert_int_equal(answer.score, 1000000);
}

static void answers_that_are_none(void **state)
{
	static const char *const bad[] = { "", "HTTP/1.1 200 OK\r\n\r\n", HEAD "\r\n", HEAD "Spam: True\r\n\r\n",
		HEAD "Spam: Maybe ; 1 / 5\r\n\r\n", HEAD "Spam: True ; x / 5\r\n\r\n", HEAD "Spam: True ; 1 / \r\n\r\n",
		HEAD "Spam: True ; 1 / 5 / 9\r\n\r\n", HEAD "Spam: True ; 1 / 5\r\nSpam: False ; 0 / 5\r\n\r\n",
		HEAD "Content-length: -1\r\nSpam: True ; 1 / 5\r\n\r\n", HEAD "Content-length: 99999999\r\nSpam: True ; 1 / 5\r\n\r\n",
		"SPAMD/1.1 00x EX_OK\r\nSpam: True ; 1 / 5\r\n\r\n", HEAD "Spam: True ; . / 5\r\n\r\n",
		"SPAMD/1.1 0 EX_OK\nSpam: True ; 1 / 5\n\n", NULL };

	(void)state;
	for (size_t i = 0; bad[i]; i++) {
		if (parse(bad[i]))
			fail_msg("\"%s\" was believed", bad[i]);
		assert_true(why[0] != '\0');
	}
}

static void users(void **state)
{
	(void)state;
	assert_true(spamd_user_valid(SLICE("bob+x@example.org")));
	assert_false(spamd_user_valid(SLICE("")));
	assert_false(spamd_user_valid(SLICE("-bob")));
	assert_false(spamd_user_valid(SLICE("bob\r\nTell: x")));
	assert_false(spamd_user_valid(SLICE("bob smith")));
}

#define plain(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(both(a_score_and_its_rules), both(half_an_answer), both(half_a_header), both(silence),
	both(an_error_of_its_own), both(a_close_before_the_question), plain(scores), plain(answers_that_are_none),
	plain(users))
