/* dmarc_record: what is meant as a record, and what is left of one with mistakes. */
#include "unit.h"

#include "wire/dmarc_record.h"

static void what_is_meant_as_one(void **state)
{
	assert_true(dmarc_record_is(SLICE("v=DMARC1")));
	assert_true(dmarc_record_is(SLICE("v=DMARC1; p=none")));
	assert_true(dmarc_record_is(SLICE("v = DMARC1 ;p=none")));
	assert_false(dmarc_record_is(SLICE("v=dmarc1; p=none")));
	assert_false(dmarc_record_is(SLICE("v=DMARC1x; p=none")));
	assert_false(dmarc_record_is(SLICE("p=none; v=DMARC1")));
	assert_false(dmarc_record_is(SLICE(" v=DMARC1")));
	assert_false(dmarc_record_is(SLICE("v=spf1 -all")));
	assert_false(dmarc_record_is(SLICE("")));
}

/* "p sp np adkim aspf pct t psd", or the reason. */
static const char *summary(struct arena *a, const char *text)
{
	struct dmarc_record r;
	const char *why = "?";

	if (!dmarc_record_parse(&r, slice_of(text), &why))
		return why;
	return arena_printf(a, "%c%c%c %c%c %u %c%c", r.policy, r.sub_policy, r.absent_policy, r.strict_dkim ? 's' : 'r',
		r.strict_spf ? 's' : 'r', r.percent, r.testing ? 'y' : 'n', r.public_suffix);
}

static void tags(void **state)
{
	static const struct { const char *text, *wanted; } cases[] = {
		{ "v=DMARC1; p=reject", "rrr rr 100 nu" },
		{ "v=DMARC1;p=Reject;sp=quarantine;np=none;adkim=s;aspf=S;pct=20;t=y;psd=Y", "rqn ss 20 yy" },
		{ "v=DMARC1; p = reject ; adkim = s", "rrr sr 100 nu" },
		{ "v=DMARC1; p=reject; sp=none", "rnn rr 100 nu" },
		{ "v=DMARC1; p=none; np=reject", "nnr rr 100 nu" },
		/* mistakes that cost their tag alone */
		{ "v=DMARC1; p=reject; pct=200; adkim=x; junk; =; np=what; psd=maybe", "rrr rr 100 nu" },
		{ "v=DMARC1; p=reject; p=none", "rrr rr 100 nu" },
		{ "v=DMARC1; p=reject; unknown=x", "rrr rr 100 nu" },
		/* RFC 7489 section 6.6.3, step 6 */
		{ "v=DMARC1; p=rejct; rua=mailto:a@example.com", "nnn rr 100 nu" },
		{ "v=DMARC1; p=reject; sp=bad; rua=mailto:a@example.com", "nnn rr 100 nu" },
		{ "v=DMARC1; rua=mailto:a@example.com", "nnn rr 100 nu" },
		{ "v=DMARC1; p=rejct", "p= is no policy" },
		{ "v=DMARC1; p=rejct; rua=nothing", "p= is no policy" },
		{ "v=DMARC1; p=reject; sp=bad", "sp= is no policy" },
		{ "v=DMARC1", "p= is missing" },
		{ "v=DMARC2; p=none", "it does not begin with v=DMARC1" },
	};
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *got = summary(&a, cases[i].text);

		if (strcmp(got, cases[i].wanted) != 0)
			fail_msg("%s: %s instead of %s", cases[i].text, got, cases[i].wanted);
	}
	arena_drop(&a);
	assert_string_equal(dmarc_policy_name(DMARC_QUARANTINE), "quarantine");
}

UNIT_MAIN(cmocka_unit_test(what_is_meant_as_one), cmocka_unit_test(tags))
