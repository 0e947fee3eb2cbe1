/* Local rules: what hits, how weights add up, and what is looked into. */
#include "unit.h"

#include "check/content_rules.h"

static struct arena arena;
static struct envelope e;
static struct content_rule rules[8];
static struct rules_conf conf;
static struct findings found;

static int setup(void **state)
{
	(void)state;
	memset(&conf, 0, sizeof(conf));
	memset(rules, 0, sizeof(rules));
	memset(&found, 0, sizeof(found));
	memset(&e, 0, sizeof(e));
	e.arena = &arena;
	conf.rules = rules;
	conf.reject_weight = 10;
	conf.mark_weight = 5;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_drop(&arena);
	return 0;
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static struct content_rule *rule(enum rule_kind kind, int weight, const char *pattern)
{
	struct content_rule *r = &rules[conf.count++];

	r->kind = kind;
	r->weight = weight;
	if (pattern) {
		r->patterns = arena_new(&arena, struct slice);
		r->patterns[0] = slice_of(pattern);
		r->count = 1;
	}
	return r;
}

/* The last finding: what the sum leads to. */
static const struct finding *judge(const char *message, size_t piece)
{
	struct rules *r = rules_begin(&conf, &e);
	struct slice rest = slice_of(message);
	struct header h;
	const struct finding *f;

	found = (struct findings){ 0 };
	header_init(&h, &arena, 65536, 100);
	rest = slice_from(rest, header_push(&h, rest));
	rules_header(r, &h);
	for (; rest.n > 0; rest = slice_from(rest, piece))
		rules_body(r, slice_head(rest, piece));
	rules_finish(r, &found);
	rules_drop(r);
	for (f = found.first; f && f->next; f = f->next)
		;
	return f;
}

#define HEAD "From: a@example.net\r\nDate: x\r\nMIME-Version: 1.0\r\n"
#define MULTI HEAD "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"

static void patterns(void **state)
{
	(void)state;
	assert_true(rules_match(SLICE("*.exe"), SLICE("INVOICE.EXE")));
	assert_true(rules_match(SLICE("a?c*"), SLICE("aBc")));
	assert_true(rules_match(SLICE("*a*a*a*b"), SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaab")));
	assert_false(rules_match(SLICE("*a*a*a*b"), SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaa")));
	assert_false(rules_match(SLICE("*.exe"), SLICE("exe")));
	assert_true(rules_match(SLICE("*"), SLICE("")));
	assert_false(rules_match(SLICE(""), SLICE("x")));
}

static void names_of_attachments(void **state)
{
	(void)state;
	rule(RULE_ATTACHMENT, 10, "*.exe");
	assert_int_equal(judge(MULTI "Content-Disposition: attachment; filename=\"a.EXE\"\r\n\r\nx\r\n--b--\r\n", 3)->result,
		RESULT_REFUSED);
	assert_string_equal(found.first->evidence, "a.EXE");
	assert_int_equal(judge(MULTI "Content-Type: x/y; name*0*=utf-8''b%2Ee; name*1=xe\r\n\r\nx\r\n--b--\r\n", 9)->result,
		RESULT_REFUSED);
	assert_int_equal(judge(MULTI "Content-Disposition: attachment; filename=a.txt\r\n\r\nx.exe\r\n--b--\r\n", 3)->result,
		RESULT_PASS);
}

/* A local header of "a.exe", in base64. */
#define ZIPPED "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n" \
	"UEsDBBQAAQAAAAAAAAAAAAAABQAAAAUAAAAFAAAAYS5leGV4eHh4eA==\r\n"

static void names_in_archives_and_locks(void **state)
{
	(void)state;
	rule(RULE_ATTACHMENT, 4, "*.exe");
	rule(RULE_LOCKED, 3, NULL);
	for (size_t piece = 1; piece < 60; piece += 7) {
		const struct finding *f = judge(MULTI ZIPPED "--b--\r\n", piece);

		assert_int_equal(f->weight, 7);
		assert_int_equal(f->result, RESULT_SUSPECT);
	}
}

static void what_a_bounce_returns(void **state)
{
	(void)state;
	rule(RULE_ATTACHMENT, 10, "*.exe");
	assert_int_equal(judge(HEAD "Content-Type: multipart/report; boundary=r\r\n\r\n--r\r\n\r\nSorry.\r\n--r\r\n"
		"Content-Type: message/rfc822\r\n\r\n" MULTI ZIPPED "--b--\r\n--r--\r\n", 50)->result, RESULT_REFUSED);
}

/* The returned message in a transfer encoding, which RFC 2046 forbids and servers use all the same: seen as what it is, whatever its
 * own parts are encoded in. */
static void what_a_bounce_returns_encoded(void **state)
{
	static const char *const encodings[][2] = {
		{ "message/rfc822", "base64" }, { "message/global", "base64" }, { "message/rfc822", "quoted-printable" },
	};
	struct content_rule *host;
	const char *why;

	(void)state;
	rule(RULE_ATTACHMENT, 10, "*.exe");
	host = rule(RULE_HOST, 3, NULL);
	host->list.entries = address_set_new(&arena);
	assert_true(address_set_add_host(host->list.entries, SLICE("spam.example"), &why));
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++)
		for (size_t piece = 1; piece < 200; piece += 33) {
			static const char returned[] = MULTI ZIPPED "--b\r\n\r\nhttp://spam.example/\r\n--b--\r\n";
			struct str text = STR_IN(&arena);

			str_printf(&text, HEAD "Content-Type: multipart/report; boundary=r\r\n\r\n--r\r\n\r\nSorry.\r\n--r\r\n"
				"Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", encodings[i][0], encodings[i][1]);
			if (encodings[i][1][0] == 'b')
				str_base64(&text, slice_of(returned));
			else
				for (const char *c = returned; *c; c++)
					str_printf(&text, *c == '=' ? "=3D" : "%c", *c);
			str_puts(&text, "\r\n--r--\r\n");
			assert_int_equal(judge(str_cstr(&text), piece)->weight, 13);
		}
}

static void hosts_in_links(void **state)
{
	static const struct { const char *text; bool hit; } cases[] = {
		{ "see http://spam.example/x", true }, { "HTTPS://WWW.Spam.Example", true },
		{ "<a href=\"https://user:pw@spam.example:8080/\">", true }, { "http://spam.example.net/", false },
		{ "http://notspam.example/", false }, { "spam.example", false }, { "hhttp://spam.example ", true },
		{ "http:/spam.example http://fine.example", false }, { "httphttps://spam.example.", true },
		{ "http://\r\nspam.example", false },
	};
	struct content_rule *r = rule(RULE_HOST, 10, NULL);
	const char *why;

	(void)state;
	r->list.entries = address_set_new(&arena);
	assert_true(address_set_add_host(r->list.entries, SLICE("Spam.Example"), &why));
	assert_false(address_set_add_host(r->list.entries, SLICE("not a host"), &why));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *message = arena_printf(&arena, HEAD "\r\n%s\r\n", cases[i].text);

		if ((judge(message, 4)->result == RESULT_REFUSED) != cases[i].hit)
			fail_msg("%s", cases[i].text);
	}
}

static void digests_of_parts(void **state)
{
	struct content_rule *r = rule(RULE_HASH, 10, NULL);
	const char *why;

	(void)state;
	r->list.entries = address_set_new(&arena);
	/* of "hello" */
	assert_true(address_set_add_hash(r->list.entries,
		SLICE("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824"), &why));
	assert_false(address_set_add_hash(r->list.entries, SLICE("2cf24"), &why));
	assert_int_equal(judge(MULTI "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n", 2)->result, RESULT_REFUSED);
	assert_int_equal(judge(MULTI "Content-Transfer-Encoding: base64\r\n\r\naGVsbG9v\r\n--b--\r\n", 2)->result, RESULT_PASS);
}

static void headers_and_types(void **state)
{
	(void)state;
	rule(RULE_HEADER, 6, NULL);
	rule(RULE_TYPE, 4, "text/ht*");
	assert_int_equal(judge("From: a\r\nFrom: b\r\nDate: x\r\n\r\nx\r\n", 9)->weight, 6);
	assert_int_equal(judge("From: a\r\n\r\nx\r\n", 9)->weight, 6);
	assert_int_equal(judge("From: a\r\nDate: x\r\nSubject: y\r\nSubject: z\r\n\r\nx\r\n", 9)->weight, 6);
	assert_int_equal(judge("From: a\r\nDate: x\r\nContent-Type: Text/HTML\r\n\r\nx\r\n", 9)->weight, 4);
	assert_int_equal(judge("From: a\r\nFrom: b\r\nContent-Type: Text/HTML\r\n\r\nx\r\n", 9)->result, RESULT_REFUSED);
}

UNIT_MAIN(test(patterns), test(names_of_attachments), test(names_in_archives_and_locks), test(what_a_bounce_returns),
	test(what_a_bounce_returns_encoded),
	test(hosts_in_links), test(digests_of_parts), test(headers_and_types))
