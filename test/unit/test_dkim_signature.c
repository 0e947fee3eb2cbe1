/* dkim_signature: every tag with its mistakes, in DKIM and ARC fields, and keys that do not go with a signature. */
#include "unit.h"

#include "../rfc8463.h"
#include "check/dkim_signature.h"

static struct arena arena;
static struct header header;

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

/* The field "X: value". */
static const struct field *field_of(const char *value)
{
	struct slice text = slice_of(arena_printf(&arena, "X: %s\r\n\r\n", value));

	header_init(&header, &arena, 100000, 10);
	header_push(&header, text);
	assert_int_equal(header.count, 1);
	return &header.fields[0];
}

static struct dkim_signature parse(const char *value, enum signature_kind kind)
{
	struct dkim_signature s;
	const char *why = NULL;

	if (!dkim_signature_parse(&s, &arena, field_of(value), kind, &why))
		fail_msg("%s: %s", value, why);
	return s;
}

static void test_all_tags(void **state)
{
	struct dkim_signature s = parse("v=1; a=RSA-sha256; d=Example.ORG; s=S1.mail; c=Relaxed/simple; q=x:dns/txt;\r\n"
		" i=a b@Sub.example.org; h=From : to;\r\n\tbh=Zm9v\r\n YmFy; l=12; t=100; x=200; z=From:x; new=1;\r\n b= Zm 9v\r\n"
		"\tYmFyYmF6 ", SIGNATURE_DKIM);

	assert_int_equal(s.algorithm, ALGORITHM_RSA_SHA256);
	assert_string_equal(s.algorithm_name, "rsa-sha256");
	assert_slice(s.domain, "example.org");
	assert_slice(s.selector, "s1.mail");
	assert_int_equal(s.header_canon, CANON_RELAXED);
	assert_int_equal(s.body_canon, CANON_SIMPLE);
	assert_slice(s.identity, "ab@Sub.example.org");
	assert_slice(s.identity_domain, "sub.example.org");
	assert_slice(s.names, "From : to");
	assert_slice(s.body_hash, "foobar");
	assert_slice(s.value, "foobarbaz");
	assert_slice(s.start, "Zm9vYmFy");
	assert_slice(s.emptied, " Zm 9v\r\n\tYmFyYmF6 ");
	assert_int_equal(s.body_length, 12);
	assert_int_equal(s.signed_at, 100);
	assert_int_equal(s.expires_at, 200);
}

#define LEAST "v=1; a=ed25519-sha256; d=example.org; s=s; h=from; bh=AAAA; b=BBBB"

static void test_defaults(void **state)
{
	struct dkim_signature s = parse(LEAST, SIGNATURE_DKIM);

	assert_int_equal(s.algorithm, ALGORITHM_ED25519_SHA256);
	assert_int_equal(s.header_canon, CANON_SIMPLE);
	assert_int_equal(s.body_canon, CANON_SIMPLE);
	assert_slice(s.identity, "@example.org");
	assert_slice(s.identity_domain, "example.org");
	assert_true(s.body_length == BODY_LENGTH_ALL);
	assert_true(s.signed_at == DKIM_TIME_NONE && s.expires_at == DKIM_TIME_NONE);
	assert_int_equal(parse(LEAST "; c=relaxed", SIGNATURE_DKIM).header_canon, CANON_RELAXED);
	assert_int_equal(parse(LEAST "; c=relaxed", SIGNATURE_DKIM).body_canon, CANON_SIMPLE);
	assert_int_equal(parse(LEAST "; l=0", SIGNATURE_DKIM).body_length, 0);
	/* RFC 8616: U-labels stand for A-labels. */
	assert_slice(parse("v=1; a=rsa-sha256; d=b\xc3\xbc" "cher.example; s=s; h=from; bh=AAAA; b=BBBB", SIGNATURE_DKIM).domain,
		"xn--bcher-kva.example");
}

static void refused(const char *value, enum signature_kind kind, const char *expected)
{
	struct dkim_signature s;
	const char *why = NULL;

	if (dkim_signature_parse(&s, &arena, field_of(value), kind, &why))
		fail_msg("%s was taken", value);
	assert_string_equal(why, expected);
	assert_true(s.value.n == 0 && s.body_hash.n == 0 && s.names.n == 0);
}

static void test_mistakes(void **state)
{
	static const char *const rows[][2] = {
		{ "", "a tag without \"=\"" },
		{ "v=1; v=1", "a tag given twice" },
		{ "a=rsa-sha256; d=a.b; s=s; h=from; bh=AAAA; b=BBBB", "v= is missing" },
		{ "v=1.0; a=rsa-sha256; d=a.b; s=s; h=from; bh=AAAA; b=BBBB", "v= is not 1" },
		{ "v=1; d=a.b; s=s; h=from; bh=AAAA; b=BBBB", "a= is missing" },
		{ "v=1; a=rsa-sha512; d=a.b; s=s; h=from; bh=AAAA; b=BBBB", "a= names an unknown algorithm" },
		{ "v=1; a=rsa-sha256; s=s; h=from; bh=AAAA; b=BBBB", "d= is missing" },
		{ "v=1; a=rsa-sha256; d=a b; s=s; h=from; bh=AAAA; b=BBBB", "d= is not a domain name" },
		{ "v=1; a=rsa-sha256; d=; s=s; h=from; bh=AAAA; b=BBBB", "d= is not a domain name" },
		{ "v=1; a=rsa-sha256; d=a.b; h=from; bh=AAAA; b=BBBB", "s= is missing" },
		{ "v=1; a=rsa-sha256; d=a.b; s=.; h=from; bh=AAAA; b=BBBB", "s= is not a selector" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; bh=AAAA; b=BBBB", "h= is missing" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; h=; bh=AAAA; b=BBBB", "h= is empty" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; h=to:fromm; bh=AAAA; b=BBBB", "From is not signed" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; h=from; b=BBBB", "bh= is missing" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; h=from; bh=A*AA; b=BBBB", "bh= is not base64" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; h=from; bh=AAAA", "b= is missing" },
		{ "v=1; a=rsa-sha256; d=a.b; s=s; h=from; bh=AAAA; b=", "b= is not base64" },
		{ LEAST "; c=nofws", "c= names an unknown canonicalisation" },
		{ LEAST "; c=simple/nofws", "c= names an unknown canonicalisation of the body" },
		{ LEAST "; c=simple/", "c= names an unknown canonicalisation of the body" },
		{ LEAST "; i=@example.com", "i= is neither of d= nor below it" },
		{ LEAST "; i=@badexample.org", "i= is neither of d= nor below it" },
		{ LEAST "; i=example.org", "i= has no domain" },
		{ LEAST "; i=@", "i= is neither of d= nor below it" },
		{ LEAST "; l=-1", "l= is not a length of a body" },
		{ LEAST "; l=", "l= is not a length of a body" },
		{ LEAST "; l=99999999999999999999999", "l= is not a length of a body" },
		{ LEAST "; q=http", "q= does not name dns/txt" },
		{ LEAST "; t=now", "t= is not a time" },
		{ LEAST "; x=1e9", "x= is not a time" },
		{ LEAST "; t=5; x=5", "x= is not later than t=" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(rows[i][0], SIGNATURE_DKIM, rows[i][1]);
}

/* What is told of a signature that cannot be verified. */
static void test_partly_read(void **state)
{
	struct dkim_signature s;
	const char *why;

	assert_false(dkim_signature_parse(&s, &arena, field_of("v=9; a=rsa-sha256; d=example.org; s=sel; b= AB CDEFGHIJ"),
		SIGNATURE_DKIM, &why));
	assert_slice(s.domain, "example.org");
	assert_slice(s.selector, "sel");
	assert_slice(s.identity, "@example.org");
	assert_slice(s.start, "ABCDEFGH");
	assert_string_equal(s.algorithm_name, "rsa-sha256");
}

static void test_arc(void **state)
{
	struct dkim_signature s = parse("i=2; a=rsa-sha256; d=example.org; s=s; c=relaxed/relaxed; h=to; bh=AAAA; b=BBBB",
		SIGNATURE_ARC_MESSAGE);

	assert_int_equal(s.instance, 2);
	assert_slice(s.names, "to");
	s = parse("i=50; a=rsa-sha256; d=example.org; s=s; cv=none; b=BBBB; t=1", SIGNATURE_ARC_SEAL);
	assert_int_equal(s.instance, 50);
	assert_slice(s.chain, "none");
	refused("a=rsa-sha256; d=example.org; s=s; cv=none; b=BBBB", SIGNATURE_ARC_SEAL, "i= is missing");
	refused("i=0; a=rsa-sha256; d=example.org; s=s; cv=none; b=BBBB", SIGNATURE_ARC_SEAL, "i= is not an instance");
	refused("i=51; a=rsa-sha256; d=example.org; s=s; cv=none; b=BBBB", SIGNATURE_ARC_SEAL, "i= is not an instance");
	refused("i=1; a=rsa-sha256; d=example.org; s=s; b=BBBB", SIGNATURE_ARC_SEAL, "cv= is missing");
}

static void check_mismatch(const char *record, const char *more, const char *expected)
{
	struct dkim_signature s = parse(arena_printf(&arena,
		"v=1; d=example.org; s=s; h=from; bh=AAAA; b=BBBB; %s", more), SIGNATURE_DKIM);
	struct dkim_key k;
	const char *got;

	dkim_key_parse(&k, slice_of(record));
	got = dkim_key_mismatch(&s, &k);
	if (!got || !expected)
		assert_null(got ? got : expected);
	else
		assert_string_equal(got, expected);
	dkim_key_drop(&k);
}

static void test_mismatch(void **state)
{
	check_mismatch(RFC8463_RSA_KEY, "a=rsa-sha256", NULL);
	check_mismatch(RFC8463_RSA_KEY, "a=rsa-sha1", NULL);
	check_mismatch(RFC8463_ED25519_KEY, "a=ed25519-sha256", NULL);
	check_mismatch(RFC8463_RSA_KEY, "a=ed25519-sha256", "the key is of another type than the signature");
	check_mismatch(RFC8463_ED25519_KEY, "a=rsa-sha256", "the key is of another type than the signature");
	check_mismatch(RFC8463_RSA_KEY "; h=sha1", "a=rsa-sha256", "the key is not for the digest of the signature");
	check_mismatch(RFC8463_RSA_KEY "; h=sha256", "a=rsa-sha1", "the key is not for the digest of the signature");
	check_mismatch(RFC8463_RSA_KEY "; t=s", "a=rsa-sha256; i=@sub.example.org",
		"the key is not for subdomains (t=s), and i= is of one");
	check_mismatch(RFC8463_RSA_KEY "; t=s", "a=rsa-sha256; i=x@example.org", NULL);
	check_mismatch("p=MDwwDQYJKoZIhvcNAQEBBQADKwAwKAIhAMFVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVAgMBAAE=", "a=rsa-sha256",
		"the RSA key has less than 1024 bits (RFC 8301 section 3.2)");
	check_mismatch("p=", "a=rsa-sha256", "the key has been revoked");
}

#define TT(f) cmocka_unit_test_teardown(f, teardown)

UNIT_MAIN(TT(test_all_tags), TT(test_defaults), TT(test_mistakes), TT(test_partly_read), TT(test_arc), TT(test_mismatch))
