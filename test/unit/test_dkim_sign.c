/* dkim_sign: key files, records, whose message it is, and fields that verify and hold against what is added. */
#include "answers.h"

#include "../rfc8463.h"
#include "check/dkim.h"
#include "check/dkim_sign.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <sys/stat.h>

/* The private half of RFC8463_ED25519_KEY. */
#define ED25519_PEM "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n" \
	"-----END PRIVATE KEY-----\n"

static char path[64];

static void write_file(const char *text, mode_t mode)
{
	FILE *f;

	strcpy(path, "/tmp/spurn-test-key-XXXXXX");
	f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fchmod(fileno(f), mode), 0);
	fclose(f);
}

static void write_pkey(EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
	FILE *f;

	write_file("", 0600);
	f = fopen(path, "w");
	assert_int_equal(PEM_write_PrivateKey(f, pkey, cipher, cipher ? (const unsigned char *)"secret" : NULL,
		cipher ? 6 : 0, NULL, NULL), 1);
	fclose(f);
	EVP_PKEY_free(pkey);
}

static bool load(struct dkim_signer *s, const char **why)
{
	bool good = dkim_signer_load(s, &arena, path, why);

	unlink(path);
	return good;
}

static struct dkim_signer loaded(void)
{
	struct dkim_signer s = { .domain = SLICE("football.example.com"), .selector = SLICE("brisbane") };
	const char *why = "";

	if (!load(&s, &why))
		fail_msg("%s", why);
	return s;
}

static void not_loaded(const char *expected)
{
	struct dkim_signer s = { .pkey = NULL };
	const char *why = "";

	assert_false(load(&s, &why));
	assert_null(s.pkey);
	assert_string_equal(why, expected);
}

static void keys_are_loaded(void **state)
{
	struct dkim_signer s;
	struct dkim_key published;

	write_file(ED25519_PEM, 0640);
	s = loaded();
	assert_int_equal(s.algorithm, ALGORITHM_ED25519_SHA256);
	assert_slice(dkim_signer_record(&arena, &s), RFC8463_ED25519_KEY);
	dkim_key_parse(&published, SLICE(RFC8463_ED25519_KEY));
	assert_true(dkim_signer_matches(&s, &published));
	dkim_key_drop(&published);
	dkim_key_parse(&published, SLICE(RFC8463_RSA_KEY));
	assert_false(dkim_signer_matches(&s, &published));
	dkim_key_drop(&published);
	dkim_key_parse(&published, SLICE("p="));
	assert_false(dkim_signer_matches(&s, &published));
	dkim_signer_drop(&s);
	write_pkey(EVP_RSA_gen(1024), NULL);
	s = loaded();
	assert_int_equal(s.algorithm, ALGORITHM_RSA_SHA256);
	assert_int_equal(s.bits, 1024);
	dkim_key_parse(&published, dkim_signer_record(&arena, &s));
	assert_true(dkim_signer_matches(&s, &published));
	dkim_key_drop(&published);
	dkim_signer_drop(&s);
}

static void what_is_unsafe_is_refused(void **state)
{
	static const char unsafe[] =
		"others than its owner and its group may read it, or others than its owner may write it: chmod 0640";

	write_file(ED25519_PEM, 0644);
	not_loaded(unsafe);
	write_file(ED25519_PEM, 0660);
	not_loaded(unsafe);
	write_file(ED25519_PEM, 0602);
	not_loaded(unsafe);
	write_file("no key\n", 0600);
	not_loaded("no private key in PEM without a passphrase");
	write_file("", 0600);
	not_loaded("no private key in PEM without a passphrase");
	write_pkey(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_aes_128_cbc());
	not_loaded("no private key in PEM without a passphrase");
	write_pkey(EVP_EC_gen("P-256"), NULL);
	not_loaded("neither an RSA nor an Ed25519 key");
	write_pkey(EVP_RSA_gen(768), NULL);
	not_loaded("an RSA key of 768 bits; from 1024 to 8192 are possible");
	strcpy(path, "/nonexistent/key");
	not_loaded("No such file or directory");
	strcpy(path, "/tmp");
	struct dkim_signer s;
	const char *why;
	assert_false(dkim_signer_load(&s, &arena, "/tmp", &why));
	assert_string_equal(why, "not a regular file");
}

/* ---- whose message ---- */

static struct header *header_of(const char *text)
{
	struct header *h = arena_new(&arena, struct header);

	header_init(h, &arena, 1 << 20, 1000);
	header_push(h, slice_of(text));
	header_finish(h);
	return h;
}

static void authors(void **state)
{
	static const char *const rows[][2] = {
		{ "From: a@Example.ORG\r\n\r\n", "example.org" },
		{ "From: Joe <a@example.org>\r\n\r\n", "example.org" },
		{ "From: \"Joe, <x@bad.example>\" <a@example.org> (c <y@z>)\r\n\r\n", "example.org" },
		{ "From: (x@bad.example)\r\n a@example.org\r\n\r\n", "example.org" },
		{ "From: \"a@b\"@example.org\r\n\r\n", "example.org" },
		{ "From: =?utf-8?q?x=40y?= <a@b\xc3\xbc" "cher.example>\r\n\r\n", "xn--bcher-kva.example" },
		{ "To: a@example.org\r\n\r\n", "" },
		{ "From: a@example.org\r\nFrom: a@example.org\r\n\r\n", "" },
		{ "From: a@example.org, b@example.org\r\n\r\n", "" },
		{ "From: group: a@example.org;\r\n\r\n", "" },
		{ "From: x <a@example.org> <b@example.com>\r\n\r\n", "" },
		{ "From: <a@example.org> b@example.com\r\n\r\n", "" },
		{ "From: <@relay.example:a@example.org>\r\n\r\n", "example.org" },
		{ "From: a@example.org>\r\n\r\n", "" },
		{ "From: <a@example.org\r\n\r\n", "" },
		{ "From: \"a@example.org\r\n\r\n", "" },
		{ "From: (a@example.org\r\n\r\n", "" },
		{ "From: a@@example.org\r\n\r\n", "" },
		{ "From: @example.org\r\n\r\n", "" },
		{ "From: a@exam ple.org\r\n\r\n", "" },
		{ "From: Joe\r\n\r\n", "" },
		{ "From:\r\n\r\n", "" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct slice got = dkim_author_domain(&arena, header_of(rows[i][0]));

		if (!slice_eq(got, slice_of(rows[i][1])))
			print_error("%s", rows[i][0]);
		assert_slice(got, rows[i][1]);
	}
}

/* ---- signing ---- */

static struct auth_facts auth;
static struct dkim_check *check;
static struct dkim_keys *keys;
static const struct dkim_conf conf = { .max_signatures = 10 };

static void run(void *arg)
{
	dkim_finish(check, dns, keys, WALL / NS_PER_SECOND, &auth, &findings, deadline_in(30 * NS_PER_SECOND));
}

static enum result verify(const char *header, const char *body)
{
	struct body_hashes *hashes = body_hashes_new(&arena);

	auth = (struct auth_facts){ .dkim_asked = false };
	keys = dkim_keys_open(4);
	check = dkim_begin(&arena, &conf);
	dkim_header(check, header_of(header), hashes);
	body_hashes_push(hashes, slice_of(body));
	in_fiber(run, NULL);
	body_hashes_drop(hashes);
	dkim_keys_close(keys);
	return dkim_best(&auth);
}

/* The field over the header and the body; no line of it is longer than needed. */
static const char *sign(const struct dkim_signer *s, const char *header, const char *body)
{
	struct body_hashes *hashes = body_hashes_new(&arena);
	const struct body_hash *hash = body_hashes_want(hashes, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
	struct str out = STR_IN(&arena);
	size_t line = 0;

	body_hashes_push(hashes, slice_of(body));
	body_hashes_finish(hashes);
	assert_true(dkim_sign(&out, s, header_of(header), hash->value, 1500000000));
	body_hashes_drop(hashes);
	for (size_t i = 0; i < out.n; i++) {
		line = out.p[i] == '\n' ? 0 : line + 1;
		assert_true(line <= 79);
	}
	return str_cstr(&out);
}

#define MORE "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nX-Other: x\r\nReceived: from a\r\n\r\n"

static void check_signed(const struct dkim_signer *s)
{
	const char *field = sign(s, RFC8463_HEADER MORE, RFC8463_BODY);
	const char *mail = arena_printf(&arena, "%s" RFC8463_HEADER MORE, field);

	answer("brisbane._domainkey.football.example.com", DNS_TXT, slice_cstr(&arena, dkim_signer_record(&arena, s)));
	assert_int_equal(verify(mail, RFC8463_BODY), RESULT_PASS);
	assert_slice(auth.dkim->domain, "football.example.com");
	assert_int_equal(verify(mail, "other\r\n"), RESULT_FAIL);
	/* Nobody can put a second one on top, nor one that was not there. */
	assert_int_equal(verify(arena_printf(&arena, "From: x@y.example\r\n%s", mail), RFC8463_BODY), RESULT_FAIL);
	assert_int_equal(verify(arena_printf(&arena, "Subject: x\r\n%s", mail), RFC8463_BODY), RESULT_FAIL);
	assert_int_equal(verify(arena_printf(&arena, "Content-Type: x/y\r\n%s", mail), RFC8463_BODY), RESULT_FAIL);
	assert_int_equal(verify(arena_printf(&arena, "Reply-To: x@y.example\r\n%s", mail), RFC8463_BODY), RESULT_FAIL);
	/* A list's own fields, and trace fields, may come. */
	assert_int_equal(verify(arena_printf(&arena, "Received: by b\r\nList-Id: <x>\r\nSender: l@x.example\r\n%s", mail),
		RFC8463_BODY), RESULT_PASS);
	/* White space may change. */
	assert_int_equal(verify(arena_printf(&arena, "%sTO:Suzie Q  <suzie@shopping.example.net>\r\n" MORE, field),
		RFC8463_BODY), RESULT_FAIL);
}

static void what_is_signed_verifies(void **state)
{
	struct dkim_signer s;

	write_file(ED25519_PEM, 0600);
	s = loaded();
	check_signed(&s);
	dkim_signer_drop(&s);
	write_pkey(EVP_RSA_gen(2048), NULL);
	s = loaded();
	check_signed(&s);
	dkim_signer_drop(&s);
}

/* Ed25519 is deterministic: the whole field. */
static void the_field_as_it_is(void **state)
{
	struct dkim_signer s;
	const char *field;

	write_file(ED25519_PEM, 0600);
	s = loaded();
	field = sign(&s, RFC8463_HEADER "\r\n", RFC8463_BODY);
	assert_string_equal(field,
		"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
		"\td=football.example.com; s=brisbane; t=1500000000; h=From:From:Reply-To:\r\n"
		"\tSubject:Subject:To:To:Cc:Date:Date:Message-ID:Message-ID; bh=2jUSOH9NhtVGCQ\r\n"
		"\tWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=1HJFwjb1OnE0AbVol/K5KxJYvvg6oR/VZRg9Xr3bs\r\n"
		"\tqecgLNjGxrCA5CHF0/ir/3BF1iP3noKe25fHI5y6R2YBg==\r\n");
	assert_string_equal(field, sign(&s, RFC8463_HEADER "\r\n", RFC8463_BODY));
	/* Nothing to sign but From, and no body. */
	answer("brisbane._domainkey.football.example.com", DNS_TXT, RFC8463_ED25519_KEY);
	field = sign(&s, "From: a@football.example.com\r\n\r\n", "");
	assert_int_equal(verify(arena_printf(&arena, "%sFrom: a@football.example.com\r\n\r\n", field), ""), RESULT_PASS);
	dkim_signer_drop(&s);
}

/* Hundreds of the same field, names that end wherever a line may end. */
static void long_headers(void **state)
{
	struct str header = STR_IN(&arena);
	struct dkim_signer s;

	write_file(ED25519_PEM, 0600);
	s = loaded();
	answer("brisbane._domainkey.football.example.com", DNS_TXT, RFC8463_ED25519_KEY);
	str_puts(&header, "From: a@football.example.com\r\n");
	for (int i = 0; i < 300; i++)
		str_printf(&header, "%s: x%d\r\n", i % 3 ? "Cc" : "Resent-Message-ID", i);
	str_puts(&header, "\r\n");
	assert_int_equal(verify(arena_printf(&arena, "%s%s", sign(&s, str_cstr(&header), "x\r\n"), str_cstr(&header)), "x\r\n"),
		RESULT_PASS);
	dkim_signer_drop(&s);
}

UNIT_MAIN(answers_test(keys_are_loaded), answers_test(what_is_unsafe_is_refused), answers_test(authors),
	answers_test(what_is_signed_verifies), answers_test(the_field_as_it_is), answers_test(long_headers))
