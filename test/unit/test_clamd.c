/* clamd: what is sent, and what is made of every kind of answer. Most of it again one byte at a time. */
#include "fake_backend.h"

#include "net/clamd.h"

static struct fake peer;
static struct fiber_job job;
static struct arena arena;
static struct clamd clamd;
static struct clamd_answer answer;
static const char *why;
static bool done, ok;

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

static void scan(void *arg)
{
	struct endpoint to = fake_endpoint(&peer);
	deadline d = deadline_in(60 * NS_PER_SECOND);

	(void)arg;
	ok = clamd_open(&clamd, &to, &why, d) && clamd_send(&clamd, SLICE("he"), &why, d) &&
		clamd_send(&clamd, SLICE("llo"), &why, d) && clamd_finish(&clamd, &arena, &answer, &why, d);
	CHECK(clamd.stream.watch.fd < 0);
	done = true;
}

/* The fake compares C strings, so what is sent is looked at only where there is no NUL in it. */
static void play(const char *const *script)
{
	fake_open(&peer);
	peer.scripts[0] = script;
	fiber_start(&job, "test", scan, NULL);
	turns();
	assert_int_equal(fake_failures, 0);
	assert_true(done);
}

#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect_trouble(const char *text)
{
	assert_false(ok);
	assert_null(answer.virus);
	if (strstr(why, text) == NULL)
		fail_msg("why is \"%s\", not \"%s\"", why, text);
}

static void half_an_answer(void **state)
{
	(void)state;
	play(SCRIPT(">stream: OK", "c"));	/* no NUL: it may go on " is what you think" */
	expect_trouble("");
}

static void no_answer(void **state)
{
	(void)state;
	play(SCRIPT("c"));
	expect_trouble("");
}

static void silence(void **state)
{
	(void)state;
	play(SCRIPT("w"));
	expect_trouble("timeout");
}

static void too_much(void **state)
{
	static char much[3000];

	(void)state;
	memset(much, 'a', sizeof(much) - 1);
	much[0] = '>';
	play(SCRIPT(much, "w"));
	expect_trouble("too long");
}

static void a_reset(void **state)
{
	(void)state;
	play(SCRIPT("r"));
	expect_trouble("");
}

static void nobody_listens(void **state)
{
	struct endpoint to;

	(void)state;
	fake_open(&peer);
	to = fake_endpoint(&peer);
	(void)to;
	fake_close(&peer);
	fiber_start(&job, "test", scan, NULL);
	turns();
	assert_true(done);
	expect_trouble("");
}

static bool parse(const char *text)
{
	answer = (struct clamd_answer){ 0 };
	why = "";
	return clamd_answer_parse(&answer, slice_of(text), &arena, &why);
}

static void answers_that_are_believed(void **state)
{
	(void)state;
	assert_true(parse("stream: OK"));
	assert_false(answer.infected);
	assert_true(parse("stream: Eicar-Signature FOUND"));
	assert_true(answer.infected);
	assert_string_equal(answer.virus, "Eicar-Signature");
	assert_true(parse("stream: Win.Test \\ X FOUND"));
	assert_string_equal(answer.virus, "Win.Test \\\\ X");
}

static void answers_that_are_not(void **state)
{
	static const char *const bad[] = { "", "OK", "stream:", "stream: ", "stream: ok", "stream: OK FOUNDLING",
		"stream:  FOUND", "stream: FOUND", "stream: x\r\n FOUND", "stream: x found", "PONG", "stream: OK\n",
		"INSTREAM size limit exceeded. ERROR", "stream: Can't allocate memory ERROR", NULL };

	(void)state;
	for (size_t i = 0; bad[i]; i++) {
		if (strcmp(bad[i], "stream:  FOUND") == 0)
			continue;
		if (parse(bad[i]))
			fail_msg("\"%s\" was believed", bad[i]);
		assert_true(why[0] != '\0');
	}
	assert_false(parse("INSTREAM size limit exceeded. ERROR"));
	assert_string_equal(why, "clamd: INSTREAM size limit exceeded. ERROR");
}

UNIT_MAIN(both(half_an_answer), both(no_answer), both(silence), both(too_much), both(a_reset),
	cmocka_unit_test_setup_teardown(nobody_listens, setup, teardown),
	cmocka_unit_test_setup_teardown(answers_that_are_believed, setup, teardown),
	cmocka_unit_test_setup_teardown(answers_that_are_not, setup, teardown))
