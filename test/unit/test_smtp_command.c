/* smtp_command: lines to verbs, arguments to paths and parameters, and which reply a bad one gets. */
#include "unit.h"

#include "wire/envelope.h"
#include "wire/smtp_command.h"

#include <stdio.h>

#define ALL_OFFERS (OFFER_SIZE | OFFER_8BITMIME | OFFER_SMTPUTF8 | OFFER_DSN | OFFER_PRDR)

static enum verb verb_of(struct slice line, const char *argument)
{
	struct command c;
	const char *why;

	command_parse(&c, line, &why);
	if (argument) {
		assert_null(why);
		assert_slice(c.argument, argument);
	}
	return c.verb;
}

static void test_verbs(void **state)
{
	struct command c;
	const char *why;

	assert_int_equal(verb_of(SLICE("EHLO mx.example.org"), "mx.example.org"), VERB_EHLO);
	assert_int_equal(verb_of(SLICE("ehlo\tmx "), "mx"), VERB_EHLO);
	assert_int_equal(verb_of(SLICE("quit"), ""), VERB_QUIT);
	assert_int_equal(verb_of(SLICE("Mail FROM:<>  "), "FROM:<>"), VERB_MAIL);
	assert_int_equal(verb_of(SLICE("MAILX FROM:<>"), "FROM:<>"), VERB_UNKNOWN);
	assert_int_equal(verb_of(SLICE("MAI"), ""), VERB_UNKNOWN);
	assert_int_equal(verb_of(SLICE(""), ""), VERB_UNKNOWN);
	assert_int_equal(verb_of(SLICE(" QUIT"), "QUIT"), VERB_UNKNOWN);
	assert_int_equal(verb_of(SLICE("GET / HTTP/1.1"), "/ HTTP/1.1"), VERB_UNKNOWN);
	assert_int_equal(verb_of(SLICE("unknown"), ""), VERB_UNKNOWN);
	for (enum verb v = VERB_UNKNOWN + 1; v < VERB_COUNT; v++) {
		command_parse(&c, slice_of(verb_name(v)), &why);
		assert_int_equal(c.verb, v);
		assert_slice(c.word, verb_name(v));
	}
	assert_aborts(verb_name(VERB_COUNT));
}

static void test_control_characters_make_no_command(void **state)
{
	static const struct slice bad[] = {
		SLICE("QUIT\0"), SLICE("QUIT\r"), SLICE("MAIL FROM:<a\n@b>"), SLICE("NOOP \033[2J"), SLICE("NOOP \177"),
	};
	struct command c;
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		command_parse(&c, bad[i], &why);
		assert_int_equal(c.verb, VERB_UNKNOWN);
		assert_non_null(why);
	}
	command_parse(&c, SLICE("NOOP \303\244"), &why);
	assert_int_equal(c.verb, VERB_NOOP);
	assert_null(why);
}

/* ---- MAIL ---- */

static enum reply_name mail(struct mail_command *m, const char *argument, unsigned offers)
{
	enum reply_name reply = REPLY_NONE;
	const char *why = NULL;

	memset(m, 0x55, sizeof(*m));
	if (mail_command_parse(m, slice_of(argument), offers, &reply, &why))
		return REPLY_NONE;
	assert_non_null(why);
	assert_int_not_equal(reply, REPLY_NONE);
	for (size_t i = 0; i < sizeof(*m); i++)		/* outputs untouched */
		assert_int_equal(((const char *)m)[i], 0x55);
	return reply;
}

static void test_mail_good(void **state)
{
	struct mail_command m;

	assert_int_equal(mail(&m, "FROM:<>", 0), REPLY_NONE);
	assert_true(path_is_null(&m.reverse_path));
	assert_int_equal(mail(&m, "from:<joe@example.org>", 0), REPLY_NONE);
	assert_slice(m.reverse_path.text, "joe@example.org");
	assert_int_equal(m.size, 0);
	assert_int_equal(mail(&m, "FROM:<joe@example.org> SIZE=1000 body=8bitmime SMTPUTF8 RET=hdrs ENVID=QQ+2B1 PRDR "
		"AUTH=<>", ALL_OFFERS), REPLY_NONE);
	assert_int_equal(m.size, 1000);
	assert_true(m.eight_bit_mime && m.smtputf8 && m.prdr);
	assert_int_equal(m.ret, 'H');
	assert_slice(m.envid, "QQ+2B1");
	assert_int_equal(mail(&m, "FROM:<> BODY=7BIT RET=FULL", ALL_OFFERS), REPLY_NONE);
	assert_false(m.eight_bit_mime);
	assert_int_equal(m.ret, 'F');
	assert_int_equal(mail(&m, "FROM:<> SIZE=99999999999999999999", ALL_OFFERS), REPLY_NONE);
	assert_true(m.size == INT64_MAX);
	assert_int_equal(mail(&m, "FROM:<j\303\266e@ex\303\244mple.org> SMTPUTF8", ALL_OFFERS), REPLY_NONE);
	assert_true(m.reverse_path.utf8);
	assert_int_equal(mail(&m, "FROM:<> AUTH=joe+40example.org", 0), REPLY_NONE);
}

static void test_mail_bad(void **state)
{
	static const struct {
		const char *argument;
		enum reply_name reply;
	} bad[] = {
		{ "", REPLY_BAD_ARGUMENT },
		{ "FROM", REPLY_BAD_ARGUMENT },
		{ "FROM:", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b>", REPLY_BAD_ARGUMENT },
		{ "FROM :<a@b>", REPLY_BAD_ARGUMENT },
		{ "FROM:a@b", REPLY_BAD_ARGUMENT },
		{ "FROM:<a@b>x", REPLY_BAD_ARGUMENT },
		{ "FROM:<a@b>SIZE=3", REPLY_BAD_ARGUMENT },
		{ "FROM:<a@b", REPLY_BAD_SENDER },
		{ "FROM:<a b@c>", REPLY_BAD_SENDER },
		{ "FROM:<postmaster>", REPLY_BAD_SENDER },
		{ "FROM:<j\303\266e@example.org>", REPLY_BAD_SENDER },
		{ "FROM:<joe@ex\303\244mple.org> SIZE=1", REPLY_BAD_SENDER },
		{ "FROM:<> SIZE", REPLY_BAD_ARGUMENT },
		{ "FROM:<> SIZE=", REPLY_BAD_ARGUMENT },
		{ "FROM:<> SIZE=-1", REPLY_BAD_ARGUMENT },
		{ "FROM:<> SIZE=1x", REPLY_BAD_ARGUMENT },
		{ "FROM:<> SIZE=100000000000000000000", REPLY_BAD_ARGUMENT },
		{ "FROM:<> SIZE=1 SIZE=2", REPLY_BAD_ARGUMENT },
		{ "FROM:<> =1", REPLY_BAD_ARGUMENT },
		{ "FROM:<> -X=1", REPLY_BAD_ARGUMENT },
		{ "FROM:<> S!ZE=1", REPLY_BAD_ARGUMENT },
		{ "FROM:<> BODY=9BIT", REPLY_BAD_ARGUMENT },
		{ "FROM:<> BODY=BINARYMIME", REPLY_BAD_PARAMETER },
		{ "FROM:<> SMTPUTF8=yes", REPLY_BAD_ARGUMENT },
		{ "FROM:<> RET=SOME", REPLY_BAD_ARGUMENT },
		{ "FROM:<> ENVID=a+2", REPLY_BAD_ARGUMENT },
		{ "FROM:<> ENVID=a+2x", REPLY_BAD_ARGUMENT },
		{ "FROM:<> ENVID=\303\244", REPLY_BAD_ARGUMENT },
		{ "FROM:<> ENVID=\303", REPLY_BAD_ARGUMENT },
		{ "FROM:<> NOTIFY=NEVER", REPLY_BAD_PARAMETER },
		{ "FROM:<> XYZZY", REPLY_BAD_PARAMETER },
		{ "FROM:<> REQUIRETLS", REPLY_BAD_PARAMETER },
	};
	static const char *const unoffered[] = { "SIZE=1", "BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=x", "PRDR" };
	struct mail_command m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mail(&m, bad[i].argument, ALL_OFFERS), bad[i].reply);
	for (size_t i = 0; i < sizeof(unoffered) / sizeof(unoffered[0]); i++) {
		char argument[64];
		snprintf(argument, sizeof(argument), "FROM:<a@b> %s", unoffered[i]);
		assert_int_equal(mail(&m, argument, ALL_OFFERS), REPLY_NONE);
		assert_int_equal(mail(&m, argument, 0), REPLY_BAD_PARAMETER);
	}
}

static void test_envid_is_bounded(void **state)
{
	struct mail_command m;
	char argument[200] = "FROM:<> ENVID=";
	size_t n = strlen(argument);

	memset(argument + n, 'x', 100);
	assert_int_equal(mail(&m, argument, ALL_OFFERS), REPLY_NONE);
	argument[n + 100] = 'x';
	assert_int_equal(mail(&m, argument, ALL_OFFERS), REPLY_BAD_ARGUMENT);
}

/* ---- RCPT ---- */

static enum reply_name rcpt(struct rcpt_command *c, const char *argument, unsigned offers, bool smtputf8)
{
	enum reply_name reply = REPLY_NONE;
	const char *why = NULL;

	if (rcpt_command_parse(c, slice_of(argument), offers, smtputf8, &reply, &why))
		return REPLY_NONE;
	assert_non_null(why);
	return reply;
}

static void test_rcpt_good(void **state)
{
	struct rcpt_command c;

	assert_int_equal(rcpt(&c, "TO:<joe@example.org>", 0, false), REPLY_NONE);
	assert_slice(c.forward_path.text, "joe@example.org");
	assert_int_equal(c.notify, 0);
	assert_int_equal(rcpt(&c, "to:<PostMaster>", 0, false), REPLY_NONE);
	assert_true(path_is_postmaster(&c.forward_path));
	assert_int_equal(rcpt(&c, "TO:<a@b> NOTIFY=success,Delay ORCPT=rfc822;joe+2B@x", ALL_OFFERS, false), REPLY_NONE);
	assert_int_equal(c.notify, NOTIFY_SUCCESS | NOTIFY_DELAY);
	assert_slice(c.orcpt, "rfc822;joe+2B@x");
	assert_int_equal(rcpt(&c, "TO:<a@b> NOTIFY=NEVER", ALL_OFFERS, false), REPLY_NONE);
	assert_int_equal(c.notify, NOTIFY_NEVER);
	assert_int_equal(rcpt(&c, "TO:<j\303\266e@b> ORCPT=utf-8;j\303\266e@b", ALL_OFFERS, true), REPLY_NONE);
	assert_int_equal(rcpt(&c, "TO:<a@b> ORCPT=utf-8;j\\x{F6}e@b", ALL_OFFERS, false), REPLY_NONE);
	assert_int_equal(rcpt(&c, "TO:<a@b> ORCPT=rfc822;prvs=1@x", ALL_OFFERS, false), REPLY_NONE);
}

static void test_rcpt_bad(void **state)
{
	static const struct {
		const char *argument;
		enum reply_name reply;
	} bad[] = {
		{ "TO:<>", REPLY_BAD_RECIPIENT },
		{ "TO:a@b", REPLY_BAD_ARGUMENT },
		{ "FROM:<a@b>", REPLY_BAD_ARGUMENT },
		{ "TO:<a>", REPLY_BAD_RECIPIENT },
		{ "TO:<j\303\266e@b>", REPLY_BAD_RECIPIENT },
		{ "TO:<a@b>,<c@d>", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> NOTIFY=", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> NOTIFY=NEVER,DELAY", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> NOTIFY=SUCCESS,", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> NOTIFY=,SUCCESS", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> NOTIFY=SOMETIMES", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> ORCPT=joe@x", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> ORCPT=rfc822;", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> ORCPT=;x", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> ORCPT=rfc822;a+", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> ORCPT=utf-8;j\303\266e", REPLY_BAD_ARGUMENT },
		{ "TO:<a@b> SIZE=10", REPLY_BAD_PARAMETER },
	};
	struct rcpt_command c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(rcpt(&c, bad[i].argument, ALL_OFFERS, false), bad[i].reply);
	assert_int_equal(rcpt(&c, "TO:<a@b> NOTIFY=NEVER", 0, false), REPLY_BAD_PARAMETER);
}

/* ---- BDAT, HELO ---- */

static void test_bdat(void **state)
{
	static const char *const bad[] = { "", "LAST", "-1", "+1", "1x", "1 LATS", "1 LAST x", "0x10",
		"9223372036854775808", "99999999999999999999999" };
	uint64_t size = 0;
	bool last = true;

	assert_true(bdat_command_parse(SLICE("1000"), &size, &last));
	assert_int_equal(size, 1000);
	assert_false(last);
	assert_true(bdat_command_parse(SLICE("0 last"), &size, &last));
	assert_int_equal(size, 0);
	assert_true(last);
	assert_true(bdat_command_parse(SLICE("9223372036854775807"), &size, &last));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(bdat_command_parse(slice_of(bad[i]), &size, &last));
}

static void test_helo(void **state)
{
	struct slice out = SLICE("before");
	char name[256];

	assert_true(helo_argument_parse(SLICE("mx_1.example.org"), &out));
	assert_slice(out, "mx_1.example.org");
	assert_true(helo_argument_parse(SLICE("[192.0.2.1]"), &out));
	assert_true(helo_argument_parse(SLICE("(!"), &out));
	assert_false(helo_argument_parse(SLICE(""), &out));
	assert_false(helo_argument_parse(SLICE("a b"), &out));
	assert_false(helo_argument_parse(SLICE("\303\244.example"), &out));
	assert_slice(out, "(!");
	memset(name, 'x', sizeof(name));
	assert_true(helo_argument_parse(slice_make(name, 255), &out));
	assert_false(helo_argument_parse(slice_make(name, 256), &out));
}

UNIT_MAIN(T(test_verbs), T(test_control_characters_make_no_command), T(test_mail_good), T(test_mail_bad),
	T(test_envid_is_bounded), T(test_rcpt_good), T(test_rcpt_bad), T(test_bdat), T(test_helo))
