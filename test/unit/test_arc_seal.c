/* arc_seal and arc: chains that are made here are whole here, whatever the key; what is altered breaks them; who is trusted. */
#include "answers.h"

#include "check/arc.h"
#include "check/arc_seal.h"

#include <openssl/rsa.h>

#define MESSAGE "From: a@author.example\r\nTo: b@example.org\r\nSubject: hello\r\nDKIM-Signature: v=1; d=author.example\r\n"
#define BODY "Text.\r\n"

static struct dkim_signer rsa, ed25519;
static struct slice trusted[] = { { "one.example", 11 }, { "two.example", 11 } };
static struct arc_conf conf = { .trusted = trusted, .trusted_count = 2 };
static struct auth_facts auth;
static const char *text;	/* the header section at hand */

static struct header *header_of(const char *section)
{
	struct header *h = arena_new(&arena, struct header);

	header_init(h, &arena, 1 << 20, 1000);
	header_push(h, slice_of(section));
	header_finish(h);
	return h;
}

static struct dkim_signer signer_of(EVP_PKEY *pkey, enum signature_algorithm algorithm)
{
	struct dkim_signer s = { .selector = SLICE("s"), .pkey = pkey, .algorithm = algorithm };

	assert_non_null(pkey);
	return s;
}

/* Publishes the key of a signer under a domain, which signs with it from now on. */
static const struct dkim_signer *as(struct dkim_signer *s, const char *domain)
{
	s->domain = slice_of(domain);
	answer(arena_printf(&arena, "s._domainkey.%s", domain), DNS_TXT,
		slice_cstr(&arena, dkim_signer_record(&arena, s)));
	return s;
}

struct validation {
	struct arc_check *check;
	struct dkim_keys *keys;
};

static void finish(void *arg)
{
	struct validation *v = arg;

	arc_finish(v->check, dns, v->keys, &auth, &findings, deadline_in(30 * NS_PER_SECOND));
}

static enum result validate(const char *section, const char *body)
{
	struct body_hashes *hashes = body_hashes_new(&arena);
	struct validation v = { arc_begin(&arena, &conf), dkim_keys_open(8) };

	auth = (struct auth_facts){ .dkim_asked = false };
	arc_header(v.check, header_of(section), hashes);
	body_hashes_push(hashes, slice_of(body));
	in_fiber(finish, &v);
	body_hashes_drop(hashes);
	dkim_keys_close(v.keys);
	return auth.arc.result;
}

static struct slice body_hash(void)
{
	struct body_hashes *hashes = body_hashes_new(&arena);
	const struct body_hash *wanted = body_hashes_want(hashes, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
	struct slice value;

	body_hashes_push(hashes, slice_of(BODY));
	body_hashes_finish(hashes);
	value = slice_copy(&arena, wanted->value);
	body_hashes_drop(hashes);
	return value;
}

/* One more set on top of `text`, by what validating says of it. */
static void seal(const struct dkim_signer *s, const char *results)
{
	enum result chain = validate(text, BODY);
	struct header *h = header_of(text);
	struct str out = STR_IN(&arena);
	struct arc_sets sets;
	const char *why;
	struct arc_sealing g = { .signer = s, .header = h, .sets = &sets, .chain = chain,
		.instance = arc_next_instance(&arena, h), .results = slice_of(results), .body_hash = body_hash(), .now = 1600000000 };

	assert_true(arc_sets_read(&sets, &arena, h, &why) || chain == RESULT_FAIL);
	assert_true(arc_seal(&out, &g));
	assert_true(str_slice(&out).n > 0);
	str_puts(&out, text);
	text = str_cstr(&out);
}

static void begin(void)
{
	text = MESSAGE "\r\n";
}

/* text with the first `from` in the place of `to`. */
static const char *altered(const char *from, const char *to)
{
	const char *at = strstr(text, from);

	assert_non_null(at);
	return arena_printf(&arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void chains_grow(void **state)
{
	begin();
	for (unsigned i = 1; i <= 6; i++) {
		seal(as(i % 2 ? &rsa : &ed25519, arena_printf(&arena, "hop%u.example", i)), "mx.hop.example;\r\n\tarc=pass;\r\n\tdmarc=pass");
		assert_int_equal(validate(text, BODY), RESULT_PASS);
		assert_int_equal(auth.arc.sets, i);
		assert_slice(auth.arc.sealer, arena_printf(&arena, "hop%u.example", i));
		assert_non_null(strstr(text, i == 1 ? "cv=none;" : "cv=pass;"));
	}
	/* Each line is one that may be sent (RFC 5322 section 2.1.1). */
	for (struct slice rest = slice_of(text); rest.n > 0;)
		assert_true(slice_split(&rest, '\n').n < 998);
}

static void what_is_altered_breaks_it(void **state)
{
	begin();
	seal(as(&rsa, "one.example"), "mx.one.example; dmarc=pass");
	seal(as(&ed25519, "two.example"), "mx.two.example; dmarc=pass");
	assert_int_equal(validate(text, "Texts.\r\n"), RESULT_FAIL);
	assert_int_equal(validate(altered("Subject: hello", "Subject: hallo"), BODY), RESULT_FAIL);
	assert_int_equal(validate(altered("d=author.example", "d=other.example"), BODY), RESULT_FAIL);	/* DKIM-Signature is covered */
	assert_int_equal(validate(altered("mx.one.example; dmarc=pass", "mx.one.example; dmarc=fail"), BODY), RESULT_FAIL);
	assert_int_equal(validate(altered("mx.two.example; dmarc=pass", "mx.two.example; dmarc=none"), BODY), RESULT_FAIL);
	assert_int_equal(validate(altered("t=1600000000", "t=1600000001"), BODY), RESULT_FAIL);
	/* A second Subject on top, and a field that nobody covers. */
	assert_int_equal(validate(arena_printf(&arena, "Subject: other\r\n%s", text), BODY), RESULT_FAIL);
	assert_int_equal(validate(arena_printf(&arena, "Received: from x\r\n%s", text), BODY), RESULT_PASS);
	answer("s._domainkey.one.example", DNS_TXT, "TROUBLE");
	assert_int_equal(validate(text, BODY), RESULT_TEMPERROR);
	answer("s._domainkey.one.example", DNS_TXT, "NXDOMAIN");
	assert_int_equal(validate(text, BODY), RESULT_FAIL);
}

/* Section 5.1.2: the last set covers itself alone, so that it can be verified whatever is wrong with the others. */
static void broken_chains_are_ended(void **state)
{
	begin();
	seal(as(&rsa, "one.example"), "mx.one.example; dmarc=pass");
	text = altered("Subject: hello", "Subject: [list] hello");
	seal(as(&ed25519, "two.example"), "mx.two.example; arc=fail");
	assert_non_null(strstr(text, "cv=fail; d=two.example; i=2;"));
	assert_int_equal(validate(text, BODY), RESULT_FAIL);
	assert_true(auth.arc.ended);
	/* Of a set only one field is left: the next one stands above it all the same. */
	text = "ARC-Seal: i=7; a=rsa-sha256\r\n" MESSAGE "\r\n";
	assert_int_equal(validate(text, BODY), RESULT_FAIL);
	assert_false(auth.arc.ended);
	seal(&ed25519, "mx.two.example; arc=fail");
	assert_non_null(strstr(text, "cv=fail; d=two.example; i=8;"));
}

static void instances(void **state)
{
	static const struct { const char *fields; uint32_t next; } rows[] = {
		{ "Subject: x\r\n\r\n", 1 },
		{ "ARC-Authentication-Results: i=3; x\r\n\r\n", 4 },
		{ "ARC-Authentication-Results: i=3; x\r\nARC-Message-Signature: b=; i=12; a=y\r\nARC-Seal: i=5\r\n\r\n", 13 },
		{ "ARC-Seal: i=49\r\n\r\n", 50 },
		{ "ARC-Seal: i=50\r\n\r\n", 0 },
		{ "ARC-Seal: i=51\r\n\r\n", 1 },
		{ "ARC-Seal: i=x\r\nARC-Other: i=9\r\n\r\n", 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(arc_next_instance(&arena, header_of(rows[i].fields)), rows[i].next);
}

static void who_is_trusted(void **state)
{
	static const struct { const char *first, *one, *second, *two; bool trusted; } rows[] = {
		{ "one.example", "x; dmarc=pass", NULL, NULL, true },
		{ "one.example", "x; spf=pass", NULL, NULL, true },
		{ "other.example", "x; dmarc=pass", NULL, NULL, false },
		{ "one.example", "x; dmarc=fail", NULL, NULL, false },
		{ "one.example", "x; dmarc=pass", "two.example", "x; arc=pass; dmarc=fail", true },
		{ "one.example", "x; dmarc=pass", "two.example", "x; arc=fail; dmarc=fail", false },
		{ "other.example", "x; dmarc=pass", "two.example", "x; arc=pass; dmarc=fail", false },
		{ "one.example", "x; dmarc=pass", "other.example", "x; arc=pass; dmarc=pass", false },
		{ "other.example", "x; dmarc=fail", "two.example", "x; dmarc=pass", true },
		{ "one.example", "; ((", NULL, NULL, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin();
		seal(as(&rsa, rows[i].first), rows[i].one);
		if (rows[i].second)
			seal(as(&ed25519, rows[i].second), rows[i].two);
		assert_int_equal(validate(text, BODY), RESULT_PASS);
		if (auth.arc.trusted != rows[i].trusted)
			fail_msg("row %zu: %s", i, auth.arc.reason);
	}
}

static int setup(void **state)
{
	answers_setup(state);
	rsa = signer_of(EVP_RSA_gen(2048), ALGORITHM_RSA_SHA256);
	ed25519 = signer_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), ALGORITHM_ED25519_SHA256);
	return 0;
}

static int teardown(void **state)
{
	dkim_signer_drop(&rsa);
	dkim_signer_drop(&ed25519);
	return answers_teardown(state);
}

#define TS(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

UNIT_MAIN(TS(chains_grow), TS(what_is_altered_breaks_it), TS(broken_chains_are_ended), TS(instances), TS(who_is_trusted))
