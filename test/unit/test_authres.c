/* authres: fields as the standard shows them, as forgers would like them, and ours. */
#include "unit.h"

#include "wire/authres.h"

/* "server/version: method=result[reason] type.name=value ...;", or "!" and the reason. */
static const char *summary(struct arena *a, struct slice value)
{
	struct str out = STR_IN(a);
	struct authres said;
	const char *why = NULL;

	if (!authres_parse(&said, a, value, &why))
		return arena_printf(a, "!%s", why);
	str_printf(&out, "%.*s/%u:", SLICE_ARG(said.server), said.version);
	for (const struct authres_result *r = said.results; r; r = r->next) {
		str_printf(&out, " %.*s/%u=%.*s%s", SLICE_ARG(r->method), r->version, SLICE_ARG(r->result), r->known ? "" : "?");
		if (r->reason.p)
			str_printf(&out, "[%.*s]", SLICE_ARG(r->reason));
		for (const struct authres_property *p = r->properties; p; p = p->next)
			str_printf(&out, " %.*s.%.*s=%.*s", SLICE_ARG(p->type), SLICE_ARG(p->name), SLICE_ARG(p->value));
		str_puts(&out, ";");
	}
	return str_cstr(&out);
}

static void values(void **state)
{
	static const struct { const char *value, *wanted; } cases[] = {
		{ " example.org 1; none", "example.org/1:" },
		{ "example.org; none;", "example.org/1:" },
		{ "example.com; spf=pass smtp.mailfrom=example.net", "example.com/1: spf/1=pass smtp.mailfrom=example.net;" },
		{ "example.com;\r\n\tauth=pass (cram-md5) smtp.auth=a@b.example;\r\n spf=fail smtp.mailfrom=c;",
			"example.com/1: auth/1=pass smtp.auth=a@b.example; spf/1=fail smtp.mailfrom=c;" },
		{ "foo.example.net (foobar) 1 (baz); dkim (Because I like it) / 1 (One yay) = (wait for it) fail policy (A dot) . "
		  "(like that) expired (this) = (as I) 1362471462", "foo.example.net/1: dkim/1=fail policy.expired=1362471462;" },
		{ "\"a b\"; dkim=fail reason=\"bad \\\"x\\\"\" header.i=\"x y\"@example.com",
			"a b/1: dkim/1=fail[bad \"x\"] header.i=x y@example.com;" },
		{ "a; x=y policy.uri=https://x.example/a?b=c", "a/1: x/1=y policy.uri=https://x.example/a?b=c;" },
		{ "a; dkim=hardfail", "a/1: dkim/1=hardfail?;" },
		{ "a; dkim=Pass", "a/1: dkim/1=Pass?;" },
		/* none */
		{ "", "!a value is missing" },
		{ "a", "!there is no result" },
		{ "a;", "!a method is missing" },
		{ "a; dkim", "!a method has no result" },
		{ "a; dkim=", "!a result is missing" },
		{ "a; dkim=pass header", "!a property has no dot" },
		{ "a; dkim=pass header.", "!a property has no name" },
		{ "a; dkim=pass header.d", "!a property has no value" },
		{ "a; dkim=pass header.d=;", "!a value is missing" },
		{ "a; dkim=pass (x", "!a comment is not closed" },
		{ "a; dkim=pass (x)) header.d=y", "!a property has no type" },
		{ "a b; none", "!a version is no number" },
		{ "a; none; dkim=pass", "!a method has no result" },
		{ "a; dkim=pass reason=\"x", "!a quoted string is not closed" },
	};
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *got = summary(&a, slice_of(cases[i].value));

		if (strcmp(got, cases[i].wanted) != 0)
			fail_msg("%s: %s instead of %s", cases[i].value, got, cases[i].wanted);
	}
	arena_drop(&a);
}

static void there_are_limits(void **state)
{
	struct arena a = ARENA_INIT;
	struct str many = STR_IN(&a), deep = STR_IN(&a);

	str_puts(&many, "a");
	for (int i = 0; i < 101; i++)
		str_puts(&many, "; x=y");
	assert_string_equal(summary(&a, str_slice(&many)), "!there are too many results");
	for (int i = 0; i < 100000; i++)
		str_addc(&deep, '(');
	assert_string_equal(summary(&a, str_slice(&deep)), "!comments are nested too deeply");
	arena_drop(&a);
}

static void whose_it_is(void **state)
{
	struct slice us = SLICE("mx.example.org");

	assert_true(authres_names(SLICE(" mx.example.org; none"), us));
	assert_true(authres_names(SLICE("\r\n\t(x) MX.Example.ORG. 1; dkim=pass"), us));
	assert_true(authres_names(SLICE("\"mx.example.org\"; dkim=pass"), us));
	assert_true(authres_names(SLICE("mx.example.org/7; dkim=pass"), us));
	assert_true(authres_names(SLICE("mx.example.org"), us));
	assert_true(authres_names(SLICE("(mx.example.org; dkim=pass"), us));
	assert_true(authres_names(SLICE("m\xc3\xbcnchen.example; none"), SLICE("xn--mnchen-3ya.example")));
	assert_false(authres_names(SLICE("other.example; dkim=pass (mx.example.org)"), us));
	assert_false(authres_names(SLICE("mx.example.org.other.example; dkim=pass"), us));
	assert_false(authres_names(SLICE("amx.example.org; dkim=pass"), us));
	assert_false(authres_names(SLICE("(not closed"), us));
}

static void ours(void **state)
{
	struct arena a = ARENA_INIT;
	struct str field = STR_IN(&a);
	struct dkim_facts bad = { .result = RESULT_FAIL, .domain = SLICE("x.example"), .selector = SLICE("s"),
		.identity = SLICE("a\" b; dkim=pass@x.example"), .signature_start = SLICE("ab/c+d=="), .reason = "the \"body\"" };
	struct auth_facts auth = {
		.spf = { .asked = true, .result = RESULT_PASS, .domain = SLICE("example.net") },
		.dkim_asked = true, .dkim = &bad,
		.dmarc = { .asked = true, .result = RESULT_FAIL, .policy = 'r', .from_domain = SLICE("example.com"),
			.overridden_by = "arc" },
		.arc = { .asked = true, .result = RESULT_PASS, .sets = 2, .sealer = SLICE("list.example") },
	};
	struct client_facts client = { .name = "a.example", .reverse_name = "a.example" };

	ip_parse(&client.ip, SLICE("192.0.2.1"));
	authres_write(&field, "mx.example.org", &auth, &client);
	assert_slice(str_slice(&field), "Authentication-Results: mx.example.org;\r\n\tiprev=pass policy.iprev=192.0.2.1;\r\n"
		"\tspf=pass smtp.mailfrom=example.net;\r\n\tdkim=fail\r\n\treason=\"the \\\"body\\\"\" header.d=x.example "
		"header.i=\"a\\\" b; dkim=pass@x.example\" header.s=s header.b=\"ab/c+d==\";\r\n"
		"\tdmarc=fail (p=reject) header.from=example.com policy.override=trusted-sealer;\r\n"
		"\tarc=pass (i=2) header.d=list.example\r\n");
	assert_string_equal(summary(&a, slice_from(slice_head(str_slice(&field), field.n - 2), 23)),
		"mx.example.org/1: iprev/1=pass policy.iprev=192.0.2.1; spf/1=pass smtp.mailfrom=example.net; "
		"dkim/1=fail[the \"body\"] header.d=x.example header.i=a\" b; dkim=pass@x.example header.s=s header.b=ab/c+d==; "
		"dmarc/1=fail header.from=example.com policy.override=trusted-sealer; arc/1=pass header.d=list.example;");
	field = STR_IN(&a);
	authres_write(&field, "mx", &(struct auth_facts){ .dkim_asked = false }, NULL);
	assert_slice(str_slice(&field), "Authentication-Results: mx; none\r\n");
	arena_drop(&a);
}

/* With its odd octets left out a name would be another one, which passed nothing. */
static void no_name_becomes_another(void **state)
{
	static const char *const odd[] = { "pay\xc3\xa9pal.example", "pay\xe9pal.example", "pay\x7fpal.example", "pay\001pal.example",
		"pay\r\npal.example" };
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct str value = STR_IN(&a);
		struct dkim_facts good = { .result = RESULT_PASS, .domain = SLICE("x.example"), .identity = slice_of(odd[i]),
			.selector = slice_of(odd[i]) };
		struct auth_facts auth = { .dkim_asked = true, .dkim = &good,
			.spf = { .asked = true, .result = RESULT_PASS, .domain = slice_of(odd[i]) } };

		authres_write_value(&value, "mx", &auth, NULL);
		assert_slice(str_slice(&value), "mx;\r\n\tspf=pass;\r\n\tdkim=pass header.d=x.example");
	}
	arena_drop(&a);
}

static size_t longest_line(struct slice text)
{
	size_t most = 0;

	while (text.n > 0) {
		struct slice line = slice_split(&text, '\n');

		most = line.n > most ? line.n : most;
	}
	return most;
}

/* d= and s= may have 253 octets each, i= as many as a header section has: no line of ours passes what RFC 5322 allows. */
static void lines_are_short(void **state)
{
	struct arena a = ARENA_INIT;
	char quotes[5000], labels[253];
	struct str value = STR_IN(&a);
	struct dkim_facts good = { .result = RESULT_PASS, .domain = slice_make(labels, sizeof(labels)),
		.selector = slice_make(labels, sizeof(labels)), .identity = slice_make(quotes, 320) };
	struct auth_facts auth = { .dkim_asked = true, .dkim = &good };

	memset(quotes, '"', sizeof(quotes));
	memset(labels, 'd', sizeof(labels));
	authres_write_value(&value, "mx", &auth, NULL);
	assert_true(slice_search(str_slice(&value), SLICE("header.i=")) > 0);
	assert_true(longest_line(str_slice(&value)) < 998);
	value = STR_IN(&a);
	good.identity.n = sizeof(quotes);
	authres_write_value(&value, "mx", &auth, NULL);
	assert_true(slice_search(str_slice(&value), SLICE("header.i=")) < 0);
	assert_true(longest_line(str_slice(&value)) < 998);
	arena_drop(&a);
}

static void what_only_we_may_write(void **state)
{
	static const struct { struct field field; bool forged; } cases[] = {
		{ { SLICE("Spurn-Mark"), SLICE(" none"), SLICE("") }, true },
		{ { SLICE("SPURN-Anything"), SLICE(""), SLICE("") }, true },
		{ { SLICE("authentication-results"), SLICE(" mx.example.org; dkim=pass"), SLICE("") }, true },
		{ { SLICE("Authentication-Results"), SLICE(" other.example; dkim=pass"), SLICE("") }, false },
		{ { SLICE("X-Authentication-Results"), SLICE(" mx.example.org; dkim=pass"), SLICE("") }, false },
		{ { SLICE("Spurn"), SLICE(" mx.example.org"), SLICE("") }, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(authres_is_forged(&cases[i].field, SLICE("mx.example.org")), cases[i].forged);
}

UNIT_MAIN(cmocka_unit_test(values), cmocka_unit_test(there_are_limits), cmocka_unit_test(whose_it_is), cmocka_unit_test(ours),
	cmocka_unit_test(no_name_becomes_another), cmocka_unit_test(lines_are_short),
	cmocka_unit_test(what_only_we_may_write))
