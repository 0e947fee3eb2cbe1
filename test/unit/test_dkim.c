/* dkim: the example of RFC 8463, and everything that can happen to it and to its keys on the way. */
#include "answers.h"

#include "../rfc8463.h"
#include "check/dkim.h"

#define ED25519_NAME "brisbane._domainkey.football.example.com"
#define RSA_NAME "test._domainkey.football.example.com"
#define SIGNED_AT INT64_C(1528637909)

static struct dkim_keys *keys;
static struct dkim_conf conf;
static struct auth_facts auth;
static struct dkim_check *check;
static int64_t now;

static int setup(void **state)
{
	answers_setup(state);
	keys = dkim_keys_open(16);
	conf = (struct dkim_conf){ .max_signatures = 10 };
	now = SIGNED_AT + 100;
	answer(ED25519_NAME, DNS_TXT, RFC8463_ED25519_KEY);
	answer(RSA_NAME, DNS_TXT, RFC8463_RSA_KEY);
	return 0;
}

static int teardown(void **state)
{
	dkim_keys_close(keys);
	return answers_teardown(state);
}

static void run(void *arg)
{
	dkim_finish(check, dns, keys, now, &auth, &findings, deadline_in(30 * NS_PER_SECOND));
}

static void verify(const char *header, const char *body)
{
	struct header *h = arena_new(&arena, struct header);
	struct body_hashes *hashes = body_hashes_new(&arena);

	findings = (struct findings){ 0 };
	auth = (struct auth_facts){ .dkim_asked = false };
	asked[0] = '\0';
	header_init(h, &arena, 1 << 20, 1000);
	header_push(h, slice_of(header));
	header_finish(h);
	check = dkim_begin(&arena, &conf);
	dkim_header(check, h, hashes);
	for (const char *p = body; *p; p++)
		body_hashes_push(hashes, slice_make(p, 1));
	in_fiber(run, NULL);
	body_hashes_drop(hashes);
	assert_true(auth.dkim_asked);
}

static const struct dkim_facts *facts_at(size_t n)
{
	const struct dkim_facts *f = auth.dkim;

	while (n-- > 0 && f)
		f = f->next;
	assert_non_null(f);
	return f;
}

/* The only signature came to this. */
static void assert_only(enum result result, const char *reason)
{
	assert_finding(CHECK_DKIM, result);
	assert_string_equal(facts_at(0)->reason, reason);
	assert_string_equal(finding_at(0)->reason, reason);
	assert_int_equal(facts_at(0)->result, result);
	assert_null(facts_at(0)->next);
	assert_int_equal(dkim_best(&auth), result);
}

#define GOOD "the signature is good"
#define WEAK GOOD "; the RSA key of 1024 bits is weak (RFC 8301 section 3.2)"

static void the_example_is_good(void **state)
{
	verify(RFC8463_ED25519_FIELD RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_int_equal(finding_count(), 2);
	assert_int_equal(facts_at(0)->result, RESULT_PASS);
	assert_string_equal(facts_at(0)->reason, GOOD);
	assert_string_equal(facts_at(0)->algorithm, "ed25519-sha256");
	assert_slice(facts_at(0)->domain, "football.example.com");
	assert_slice(facts_at(0)->selector, "brisbane");
	assert_slice(facts_at(0)->identity, "@football.example.com");
	assert_slice(facts_at(0)->signature_start, "/gCrinpc");
	assert_int_equal(facts_at(1)->result, RESULT_PASS);
	assert_int_equal(facts_at(1)->key_bits, 1024);
	assert_string_equal(facts_at(1)->reason, WEAK);
	assert_string_equal(finding_at(1)->evidence, "d=football.example.com s=test a=rsa-sha256 bits=1024 b=F45dVWDf");
	assert_int_equal(dkim_best(&auth), RESULT_PASS);
	assert_true(was_asked("TXT " RSA_NAME) && was_asked("TXT " ED25519_NAME));
}

static void no_signature_is_none(void **state)
{
	verify(RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_finding(CHECK_DKIM, RESULT_NONE);
	assert_null(auth.dkim);
	assert_int_equal(dkim_best(&auth), RESULT_NONE);
	assert_string_equal(asked, "");
}

static void what_was_altered_fails(void **state)
{
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY "more\r\n");
	assert_only(RESULT_FAIL, "the body was altered: bh= is not its hash");
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", "hi.\r\n");
	assert_only(RESULT_FAIL, "the body was altered: bh= is not its hash");
	/* A second From, Subject or Date was signed as absent. */
	verify(RFC8463_RSA_FIELD "From: other@example.com\r\n" RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_FAIL, "the signature does not go with its key and the signed header fields");
	verify(RFC8463_ED25519_FIELD "Subject: other\r\n" RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_FAIL, "the signature does not go with its key and the signed header fields");
	/* A second To was not, and is above the one that is signed. */
	verify(RFC8463_RSA_FIELD "To: other@example.com\r\n" RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_PASS, WEAK);
	/* What relaxed canonicalisation lets pass. */
	verify(RFC8463_RSA_FIELD "FROM : Joe  SixPack\r\n\t<joe@football.example.com> \r\n"
		"To: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\n"
		"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nX-New: 1\r\n"
		"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n",
		"Hi. \r\n\r\nWe lost the game. Are you hungry \tyet?\r\n\r\nJoe.\r\n\r\n\r\n");
	assert_only(RESULT_PASS, WEAK);
}

static void keys_decide(void **state)
{
	static const char *const rows[][2] = {
		{ "NXDOMAIN", "there is no key of this name in DNS" },
		{ "NODATA", "there is no key of this name in DNS" },
		{ "v=DKIM1; p=", "the key has been revoked" },
		{ "v=DKIM1; k=rsa", "the key record has no p=" },
		{ RFC8463_ED25519_KEY, "the key is of another type than the signature" },
		{ RFC8463_RSA_KEY "; h=sha1", "the key is not for the digest of the signature" },
		{ RFC8463_RSA_KEY "; s=other", "the key is not for mail" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		answer(RSA_NAME, DNS_TXT, rows[i][0]);
		verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
		assert_only(RESULT_PERMERROR, rows[i][1]);
	}
	/* Another key of the right form. */
	answer(ED25519_NAME, DNS_TXT, "v=DKIM1; k=ed25519; p=sPs07Vu29FpHT/80UXUcYHFOHifD4o2ZlP2+XUh9g6E=");
	verify(RFC8463_ED25519_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_FAIL, "the signature does not go with its key and the signed header fields");
	answer(RSA_NAME, DNS_TXT, RFC8463_RSA_KEY "; t=y");
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_PASS, WEAK "; the domain says that it is testing (t=y)");
}

/* RFC 6376 section 6.1.2: all records of the name are tried, whatever their order. */
static void one_good_key_is_enough(void **state)
{
	answer(RSA_NAME, DNS_TXT, "v=spf1 -all\nv=DKIM1; p=\n" RFC8463_RSA_KEY);
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_PASS, WEAK);
	answer(RSA_NAME, DNS_TXT, RFC8463_RSA_KEY "\nv=DKIM1; p=");
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_PASS, WEAK);
}

static void trouble_is_temporary(void **state)
{
	answer(RSA_NAME, DNS_TXT, "TROUBLE");
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_TEMPERROR, "the key cannot be asked for: SERVFAIL");
	assert_false(facts_at(0)->hopeless);
	/* ... also for an altered body, but then no answer could have helped. */
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", "other\r\n");
	assert_only(RESULT_TEMPERROR, "the key cannot be asked for: SERVFAIL");
	assert_true(facts_at(0)->hopeless);
	answer_late(RSA_NAME, DNS_TXT, RFC8463_RSA_KEY, 100 * NS_PER_SECOND);
	verify(RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_TEMPERROR, "the key cannot be asked for: timeout");
	/* The other signature is not kept from being good. */
	answer(RSA_NAME, DNS_TXT, "TROUBLE");
	verify(RFC8463_ED25519_FIELD RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_int_equal(facts_at(0)->result, RESULT_PASS);
	assert_int_equal(facts_at(1)->result, RESULT_TEMPERROR);
	assert_int_equal(dkim_best(&auth), RESULT_PASS);
}

/* All keys are asked for at once. */
static void keys_are_asked_for_in_parallel(void **state)
{
	nanoseconds began = clock_now();

	answer_late(RSA_NAME, DNS_TXT, RFC8463_RSA_KEY, 3 * NS_PER_SECOND);
	answer_late(ED25519_NAME, DNS_TXT, RFC8463_ED25519_KEY, 3 * NS_PER_SECOND);
	verify(RFC8463_ED25519_FIELD RFC8463_RSA_FIELD RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_int_equal(facts_at(0)->result, RESULT_PASS);
	assert_int_equal(facts_at(1)->result, RESULT_PASS);
	assert_true(clock_now() - began < 4 * NS_PER_SECOND);
}

#define FIELD(tags) "DKIM-Signature: v=1; a=rsa-sha256; d=football.example.com; s=test; h=from;" tags "; b=AAAA\r\n"
#define BODY_HASH " c=relaxed/relaxed; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="

static void limits_of_time_and_length(void **state)
{
	verify(FIELD(BODY_HASH "; t=1; x=1528637900") RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_PERMERROR, "the signature has expired");
	assert_string_equal(asked, "");
	verify(FIELD(BODY_HASH "; t=1; x=1528638009") RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_FAIL, "the signature does not go with its key and the signed header fields");
	verify(FIELD(BODY_HASH "; l=1000") RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_FAIL, "the body is shorter than l= says");
	verify(FIELD(BODY_HASH "; l=3") RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_only(RESULT_FAIL, "the body was altered: bh= is not its hash");
	assert_true(facts_at(0)->partial);
}

static void only_so_many_are_looked_at(void **state)
{
	struct str header = STR_IN(&arena);

	conf.max_signatures = 3;
	for (int i = 0; i < 5; i++)
		str_puts(&header, i == 2 ? RFC8463_RSA_FIELD : "DKIM-Signature: v=2\r\n");
	str_puts(&header, RFC8463_HEADER "\r\n");
	verify(str_cstr(&header), RFC8463_BODY);
	assert_int_equal(finding_count(), 4);
	assert_int_equal(facts_at(0)->result, RESULT_PERMERROR);
	assert_string_equal(facts_at(0)->reason, "d= is missing");
	assert_int_equal(facts_at(2)->result, RESULT_PASS);
	assert_null(facts_at(2)->next);
	assert_int_equal(finding_at(3)->result, RESULT_POLICY);
	assert_string_equal(finding_at(3)->reason, "2 more signatures were not looked at (max-signatures)");
	/* More kinds of hashes than we compute. */
	conf.max_signatures = 20;
	header = STR_IN(&arena);
	for (unsigned i = 0; i <= BODY_HASH_MAX_KINDS; i++)
		str_printf(&header, FIELD(BODY_HASH "; l=%u"), i);
	str_puts(&header, RFC8463_HEADER "\r\n");
	verify(str_cstr(&header), RFC8463_BODY);
	assert_int_equal(facts_at(BODY_HASH_MAX_KINDS - 1)->result, RESULT_FAIL);
	assert_int_equal(facts_at(BODY_HASH_MAX_KINDS)->result, RESULT_POLICY);
}

#define TD(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(TD(the_example_is_good), TD(no_signature_is_none), TD(what_was_altered_fails), TD(keys_decide),
	TD(one_good_key_is_enough), TD(trouble_is_temporary), TD(keys_are_asked_for_in_parallel),
	TD(limits_of_time_and_length), TD(only_so_many_are_looked_at))
