/* dmarc: alignment, discovery, authors, and trouble of DNS. */
#include "answers.h"

#include "check/dmarc.h"

static struct dmarc_conf conf;
static struct auth_facts auth;
static struct header header;
static bool trusted;

static int setup(void **state)
{
	answers_setup(state);
	conf = (struct dmarc_conf){ .organization = ORGANIZATION_SUFFIX_LIST };
	auth = (struct auth_facts){ .dkim_asked = true };
	trusted = false;
	return 0;
}

static void run(void *arg)
{
	dmarc_evaluate(dns, &arena, &conf, &header, trusted, &auth, &findings, deadline_in(30 * NS_PER_SECOND));
}

/* "result policy of aligned_by override", with the policy as a letter. */
static const char *evaluate(const char *fields)
{
	const struct dmarc_facts *f = &auth.dmarc;

	findings = (struct findings){ 0 };
	asked[0] = '\0';
	header_init(&header, &arena, 1 << 20, 100);
	header_push(&header, slice_of(fields));
	header_finish(&header);
	in_fiber(run, NULL);
	return arena_printf(&arena, "%s %c %.*s %s %s", result_name(f->result), f->policy ? f->policy : '-',
		SLICE_ARG(f->policy_domain), f->aligned_by ? f->aligned_by : "-", f->overridden_by ? f->overridden_by : "-");
}

static void spf_is(const char *domain, enum result result)
{
	auth.spf = (struct spf_facts){ .asked = true, .result = result, .domain = slice_of(domain) };
}

static void signed_by(const char *domain, enum result result)
{
	struct dkim_facts *f = arena_new(&arena, struct dkim_facts);

	*f = (struct dkim_facts){ .result = result, .domain = slice_of(domain), .next = auth.dkim };
	auth.dkim = f;
}

static void nobody_asked_for_anything(void **state)
{
	assert_string_equal(evaluate("From: a@sub.example.com\r\n"), "none -  - -");
	assert_true(was_asked("TXT _dmarc.sub.example.com"));
	assert_true(was_asked("TXT _dmarc.example.com"));
	assert_false(was_asked("TXT _dmarc.com"));
	assert_int_equal(finding_count(), 1);
}

static void alignment(void **state)
{
	answer("_dmarc.example.com", DNS_TXT, "v=DMARC1; p=reject; sp=quarantine");
	answer("_dmarc.strict.example", DNS_TXT, "v=DMARC1; p=reject; adkim=s; aspf=s");
	assert_string_equal(evaluate("From: a@example.com\r\n"), "fail r example.com - -");
	assert_string_equal(evaluate("From: a@sub.example.com\r\n"), "fail q example.com - -");
	spf_is("mail.example.com", RESULT_PASS);
	assert_string_equal(evaluate("From: a@EXAMPLE.com\r\n"), "pass r example.com spf -");
	signed_by("other.example.com", RESULT_PASS);
	assert_string_equal(evaluate("From: a@example.com\r\n"), "pass r example.com spf dkim -");
	spf_is("example.com", RESULT_FAIL);
	assert_string_equal(evaluate("From: a@example.com\r\n"), "pass r example.com dkim -");
	signed_by("mail.strict.example", RESULT_PASS);
	assert_string_equal(evaluate("From: a@strict.example\r\n"), "fail r strict.example - -");
	signed_by("strict.example", RESULT_FAIL);
	assert_string_equal(evaluate("From: a@strict.example\r\n"), "fail r strict.example - -");
	signed_by("strict.example", RESULT_PASS);
	assert_string_equal(evaluate("From: a@strict.example\r\n"), "pass r strict.example dkim -");
}

/* A failed question is not an answer. */
static void trouble(void **state)
{
	answer("_dmarc.example.com", DNS_TXT, "TROUBLE");
	assert_string_equal(evaluate("From: a@example.com\r\n"), "temperror -  - -");
	assert_string_equal(evaluate("From: a@sub.example.com\r\n"), "temperror -  - -");
	answer("_dmarc.example.net", DNS_TXT, "v=DMARC1; p=reject");
	signed_by("example.org", RESULT_TEMPERROR);
	assert_string_equal(evaluate("From: a@example.net\r\n"), "fail r example.net - -");
	signed_by("mail.example.net", RESULT_TEMPERROR);
	assert_string_equal(evaluate("From: a@example.net\r\n"), "temperror r example.net - -");
	auth.dkim->hopeless = true;
	assert_string_equal(evaluate("From: a@example.net\r\n"), "fail r example.net - -");
	spf_is("example.net", RESULT_TEMPERROR);
	assert_string_equal(evaluate("From: a@example.net\r\n"), "temperror r example.net - -");
	signed_by("example.net", RESULT_PASS);
	assert_string_equal(evaluate("From: a@example.net\r\n"), "pass r example.net dkim -");
}

static void records_that_are_none(void **state)
{
	answer("_dmarc.two.example", DNS_TXT, "v=DMARC1; p=reject\nv=DMARC1; p=none");
	answer("_dmarc.other.example", DNS_TXT, "something else\nv=DMARC1; p=reject");
	answer("_dmarc.broken.example", DNS_TXT, "v=DMARC1; p=rjct");
	assert_string_equal(evaluate("From: a@two.example\r\n"), "none -  - -");
	assert_string_equal(evaluate("From: a@other.example\r\n"), "fail r other.example - -");
	assert_string_equal(evaluate("From: a@broken.example\r\n"), "permerror -  - -");
}

static void domains_that_do_not_exist(void **state)
{
	answer("_dmarc.example.com", DNS_TXT, "v=DMARC1; p=none; sp=none; np=reject");
	answer("real.example.com", DNS_A, "192.0.2.1");
	answer("perhaps.example.com", DNS_A, "TROUBLE");
	answer("perhaps.example.com", DNS_MX, "TROUBLE");
	answer("perhaps.example.com", DNS_AAAA, "TROUBLE");
	answer("bare.example.com", DNS_TXT, "x");
	assert_string_equal(evaluate("From: a@example.com\r\n"), "fail n example.com - -");
	assert_string_equal(evaluate("From: a@real.example.com\r\n"), "fail n example.com - -");
	assert_string_equal(evaluate("From: a@absent.example.com\r\n"), "fail r example.com - -");
	assert_string_equal(evaluate("From: a@bare.example.com\r\n"), "fail r example.com - -");
	assert_string_equal(evaluate("From: a@perhaps.example.com\r\n"), "temperror n example.com - -");
	conf.organization = ORGANIZATION_TREE_WALK;
	assert_string_equal(evaluate("From: a@bare.example.com\r\n"), "fail n example.com - -");
	assert_string_equal(evaluate("From: a@absent.example.com\r\n"), "fail r example.com - -");
}

static void not_for_all_messages(void **state)
{
	int refused = 0;

	answer("_dmarc.t.example", DNS_TXT, "v=DMARC1; p=reject; t=y");
	answer("_dmarc.q.example", DNS_TXT, "v=DMARC1; p=quarantine; pct=0");
	answer("_dmarc.half.example", DNS_TXT, "v=DMARC1; p=reject; pct=50");
	assert_string_equal(evaluate("From: a@t.example\r\n"), "fail q t.example - -");
	assert_string_equal(evaluate("From: a@q.example\r\n"), "fail n q.example - -");
	for (int i = 0; i < 200; i++) {
		const char *fields = arena_printf(&arena, "From: a@half.example\r\nSubject: %d\r\n", i), *first = evaluate(fields);

		assert_string_equal(evaluate(fields), first);
		refused += auth.dmarc.policy == 'r';
	}
	assert_in_range(refused, 50, 150);
	conf.organization = ORGANIZATION_TREE_WALK;
	assert_string_equal(evaluate("From: a@q.example\r\n"), "fail q q.example - -");
}

static void several_authors(void **state)
{
	answer("_dmarc.bank.example", DNS_TXT, "v=DMARC1; p=reject");
	answer("_dmarc.mild.example", DNS_TXT, "v=DMARC1; p=none");
	signed_by("mild.example", RESULT_PASS);
	assert_string_equal(evaluate("From: a@mild.example, b@bank.example\r\n"), "fail r bank.example - -");
	assert_string_equal(auth.dmarc.defect, "authors of several domains");
	assert_int_equal(finding_at(1)->result, RESULT_BAD_FROM);
	assert_string_equal(evaluate("From: a@mild.example\r\nFrom: b@bank.example\r\n"), "fail r bank.example - -");
	assert_string_equal(auth.dmarc.defect, "there are several From fields");
	assert_string_equal(evaluate("From: a@mild.example, b@mild.example\r\n"), "pass n mild.example dkim -");
	assert_null(auth.dmarc.defect);
	assert_string_equal(evaluate("From: nonsense\r\n"), "permerror -  - -");
	assert_int_equal(finding_at(1)->result, RESULT_BAD_FROM);
	assert_string_equal(evaluate("From: a@[192.0.2.1]\r\n"), "permerror -  - -");
	assert_string_equal(auth.dmarc.defect, "an author's domain is no domain name");
	assert_string_equal(evaluate("Subject: x\r\n"), "none -  - -");
	assert_int_equal(finding_at(1)->result, RESULT_NO_FROM);
	assert_null(auth.dmarc.defect);
}

static void who_vouches_for_it(void **state)
{
	answer("_dmarc.bank.example", DNS_TXT, "v=DMARC1; p=reject");
	trusted = true;
	assert_string_equal(evaluate("From: b@bank.example\r\n"), "fail r bank.example - trusted forwarder");
	trusted = false;
	auth.arc = (struct arc_facts){ .asked = true, .result = RESULT_PASS };
	assert_string_equal(evaluate("From: b@bank.example\r\n"), "fail r bank.example - -");
	auth.arc.trusted = true;
	assert_string_equal(evaluate("From: b@bank.example\r\n"), "fail r bank.example - arc");
}

static void tree_walk(void **state)
{
	conf.organization = ORGANIZATION_TREE_WALK;
	answer("_dmarc.example.com", DNS_TXT, "v=DMARC1; p=reject");
	assert_string_equal(evaluate("From: a@a.b.example.com\r\n"), "fail r example.com - -");
	assert_true(was_asked("TXT _dmarc.com"));
	signed_by("x.example.com", RESULT_PASS);
	assert_string_equal(evaluate("From: a@a.b.example.com\r\n"), "pass r example.com dkim -");
	/* psd=n cuts it off. */
	answer("_dmarc.b.example.com", DNS_TXT, "v=DMARC1; p=reject; psd=n");
	assert_string_equal(evaluate("From: a@a.b.example.com\r\n"), "fail r b.example.com - -");
	assert_string_equal(evaluate("From: a@example.com\r\n"), "pass r example.com dkim -");
	/* A public suffix: the domain below it is the organization, its own record or not. */
	answer("_dmarc.suffix.test", DNS_TXT, "v=DMARC1; p=none; sp=quarantine; psd=y");
	assert_string_equal(evaluate("From: a@x.one.suffix.test\r\n"), "fail q suffix.test - -");
	signed_by("two.suffix.test", RESULT_PASS);
	assert_string_equal(evaluate("From: a@x.one.suffix.test\r\n"), "fail q suffix.test - -");
	signed_by("one.suffix.test", RESULT_PASS);
	assert_string_equal(evaluate("From: a@x.one.suffix.test\r\n"), "pass q suffix.test dkim -");
	/* More than eight labels. */
	assert_string_equal(evaluate("From: a@1.2.3.4.5.6.7.8.9.example.org\r\n"), "none -  - -");
	assert_true(was_asked("TXT _dmarc.5.6.7.8.9.example.org"));
	assert_false(was_asked("TXT _dmarc.4.5.6.7.8.9.example.org"));
	/* A stop that cannot be asked may be the organization. */
	answer("_dmarc.net", DNS_TXT, "TROUBLE");
	answer("_dmarc.sub.example.net", DNS_TXT, "v=DMARC1; p=reject");
	signed_by("example.net", RESULT_PASS);
	assert_string_equal(evaluate("From: a@sub.example.net\r\n"), "temperror r sub.example.net - -");
	signed_by("sub.example.net", RESULT_PASS);
	assert_string_equal(evaluate("From: a@sub.example.net\r\n"), "pass r sub.example.net dkim -");
}

#define D(test) cmocka_unit_test_setup_teardown(test, setup, answers_teardown)
UNIT_MAIN(D(nobody_asked_for_anything), D(alignment), D(trouble), D(records_that_are_none), D(domains_that_do_not_exist),
	D(not_for_all_messages), D(several_authors), D(who_vouches_for_it), D(tree_walk))
