/* The signature on what comes back: over header section and body where the body came back, over the header section alone where it
 * did not; of our domains and of no others. */
#include "answers.h"

#include "../rfc8463.h"
#include "check/returned.h"

#define RSA_NAME "test._domainkey.football.example.com"
#define SIGNED_AT INT64_C(1528637909)

static int64_t now;

static struct dkim_keys *keys;
static const struct dkim_conf conf = { .max_signatures = 10 };
static struct returned *returned;
static const struct notice *notice;
static struct returned_answer answered;
static const char *ours;

static int setup(void **state)
{
	answers_setup(state);
	keys = dkim_keys_open(16);
	answer(RSA_NAME, DNS_TXT, RFC8463_RSA_KEY);
	ours = "football.example.com";
	now = SIGNED_AT + 100;
	return 0;
}

static int teardown(void **state)
{
	dkim_keys_close(keys);
	return answers_teardown(state);
}

static bool is_ours(void *arg, struct slice domain)
{
	(void)arg;
	return slice_eq_nocase(domain, slice_of(ours));
}

static void run(void *arg)
{
	(void)arg;
	returned_verify(returned, &notice->original, dns, keys, now, &answered, deadline_in(30 * NS_PER_SECOND));
}

/* A notice with this part behind its text, in pieces of so many octets. */
static void comes_in(const char *type, const char *part, const char *end, size_t step)
{
	const struct returned_conf c = { &conf, is_ours, NULL, 14 * 86400 };
	struct path null = { .null = true };
	struct header *h = arena_new(&arena, struct header);
	struct slice body = slice_of(arena_printf(&arena, "--b\r\n\r\nIt failed.\r\n--b\r\nContent-Type: %s\r\n\r\n%s%s",
		type, part, end));
	struct notice_reader *reader;

	asked[0] = '\0';
	returned = returned_begin(&arena, &c);
	reader = notice_begin(&arena, &null, returned_watch(returned));
	header_init(h, &arena, 1 << 20, 1000);
	header_push(h, SLICE("From: MAILER-DAEMON@mx.example.net\r\nContent-Type: multipart/report; boundary=b; "
		"report-type=delivery-status\r\n\r\n"));
	header_finish(h);
	notice_header(reader, h);
	for (; body.n > 0; body = slice_from(body, step < body.n ? step : body.n))
		notice_body(reader, slice_head(body, step < body.n ? step : body.n));
	notice = notice_finish(reader);
	in_fiber(run, NULL);
	returned_drop(returned);
}

#define END "\r\n--b--\r\n"
#define SIGNED RFC8463_RSA_FIELD RFC8463_HEADER

static void assert_answer(enum result result, bool other_body)
{
	assert_int_equal(answered.result, result);
	assert_int_equal(answered.other_body, other_body);
	if (result == RESULT_PASS) {
		assert_slice(answered.domain, "football.example.com");
		assert_slice(answered.signature, "F45dVWDf");
	} else {
		assert_int_equal(answered.domain.n + answered.signature.n, 0);
	}
}

static void a_whole_message(void **state)
{
	(void)state;
	for (size_t step = 1; step < 3000; step += step < 10 ? 1 : 97) {
		comes_in("message/rfc822", SIGNED "\r\n" RFC8463_BODY, END, step);
		assert_answer(RESULT_PASS, false);
	}
	/* What a server puts on top of it is not signed. */
	comes_in("message/rfc822", "Received: by mx.example.net\r\n" SIGNED "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_PASS, false);
}

static void another_body(void **state)
{
	(void)state;
	comes_in("message/rfc822", SIGNED "\r\n" RFC8463_BODY "Buy this.\r\n", END, 100);
	assert_answer(RESULT_FAIL, true);
	comes_in("message/rfc822", SIGNED "\r\nBuy this.\r\n", END, 100);
	assert_answer(RESULT_FAIL, true);
}

/* Out of an archive. */
static void an_old_one(void **state)
{
	(void)state;
	now = SIGNED_AT + 14 * 86400;
	comes_in("message/rfc822", SIGNED "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_PASS, false);
	assert_false(answered.too_old);
	now++;
	comes_in("message/rfc822", SIGNED "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_FAIL, false);
	assert_true(answered.too_old);
	comes_in("text/rfc822-headers", SIGNED, END, 100);
	assert_answer(RESULT_FAIL, false);
	assert_true(answered.too_old);
}

static void no_body(void **state)
{
	(void)state;
	comes_in("text/rfc822-headers", SIGNED, END, 100);
	assert_answer(RESULT_PASS, false);
	comes_in("message/rfc822", SIGNED, END, 100);
	assert_answer(RESULT_PASS, false);
	comes_in("message/rfc822", SIGNED "\r\n\r\n \r\n", END, 100);
	assert_answer(RESULT_PASS, false);
}

static void a_body_that_was_cut(void **state)
{
	(void)state;
	comes_in("message/rfc822", SIGNED "\r\n----- Message truncated -----\r\n", END, 100);
	assert_answer(RESULT_PASS, false);
	for (size_t step = 1; step < 600; step += 41) {
		comes_in("message/rfc822", SIGNED "\r\nHi.\r\n\r\nWe lost the\r\n[message truncated]\r\n", END, step);
		assert_answer(RESULT_PASS, false);
	}
	/* The notice itself ends in the middle of it. */
	comes_in("message/rfc822", SIGNED "\r\nHi.\r\n", "", 100);
	assert_answer(RESULT_PASS, false);
}

static void a_header_that_was_altered(void **state)
{
	(void)state;
	comes_in("message/rfc822", RFC8463_RSA_FIELD "Subject: other\r\n" RFC8463_HEADER "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_FAIL, false);
	comes_in("text/rfc822-headers", RFC8463_RSA_FIELD "Subject: other\r\n" RFC8463_HEADER, END, 100);
	assert_answer(RESULT_FAIL, false);
}

/* Readers see the one on top, and only the other one is signed. */
static void a_second_author(void **state)
{
	(void)state;
	comes_in("message/rfc822", "From: bob@football.example.com\r\n" SIGNED "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_NONE, false);
	assert_string_equal(asked, "");
}

static void of_nobody_here(void **state)
{
	(void)state;
	ours = "example.org";
	comes_in("message/rfc822", SIGNED "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_NONE, false);
	assert_string_equal(asked, "");
	ours = "football.example.com";
	comes_in("message/rfc822", RFC8463_HEADER "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_NONE, false);
}

static void trouble_is_no_answer(void **state)
{
	(void)state;
	answer(RSA_NAME, DNS_TXT, "TROUBLE");
	comes_in("message/rfc822", SIGNED "\r\n" RFC8463_BODY, END, 100);
	assert_answer(RESULT_TEMPERROR, false);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_whole_message), TEST(another_body), TEST(no_body), TEST(an_old_one), TEST(a_body_that_was_cut),
		TEST(a_header_that_was_altered), TEST(a_second_author), TEST(of_nobody_here), TEST(trouble_is_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
