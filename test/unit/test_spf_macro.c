/* Macros of SPF: the examples of RFC 7208 section 7.4, every transformer, and what is no macro. */
#include "unit.h"

#include "wire/spf_macro.h"

static struct arena arena;
static struct ip four, six;

static int setup(void **state)
{
	assert_true(ip_parse(&four, SLICE("192.0.2.3")));
	assert_true(ip_parse(&six, SLICE("2001:db8::cb01")));
	return 0;
}

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

static struct spf_macro_values values(const struct ip *ip)
{
	return (struct spf_macro_values){ .local = SLICE("strong-bad"), .sender_domain = SLICE("email.example.com"),
		.domain = SLICE("email.example.com"), .ip = ip, .helo = SLICE("mx.example.org"), .now = 1600000000 };
}

static void check_expansion(const char *text, const struct ip *ip, const char *expected)
{
	struct spf_macro_values v = values(ip);
	struct str out = STR_IN(&arena);
	const char *why = NULL;

	if (!spf_macro_valid(slice_of(text), SPF_MACRO_EXPLANATION, &why))
		fail_msg("%s: %s", text, why);
	assert_true(spf_macro_expand(&out, slice_of(text), &v));
	assert_slice(str_slice(&out), expected);
}

static void examples_of_the_standard(void **state)
{
	static const char *const rows[][2] = {
		{ "%{s}", "strong-bad@email.example.com" },
		{ "%{o}", "email.example.com" },
		{ "%{d}", "email.example.com" },
		{ "%{d4}", "email.example.com" },
		{ "%{d3}", "email.example.com" },
		{ "%{d2}", "example.com" },
		{ "%{d1}", "com" },
		{ "%{dr}", "com.example.email" },
		{ "%{d2r}", "example.email" },
		{ "%{l}", "strong-bad" },
		{ "%{l-}", "strong.bad" },
		{ "%{lr}", "strong-bad" },
		{ "%{lr-}", "bad.strong" },
		{ "%{l1r-}", "strong" },
		{ "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com" },
		{ "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com" },
		{ "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com" },
		{ "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com" },
		{ "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		check_expansion(rows[i][0], &four, rows[i][1]);
	check_expansion("%{ir}.%{v}._spf.%{d2}", &six,
		"1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com");
}

static void other_letters(void **state)
{
	check_expansion("%{c} %{C}", &four, "192.0.2.3 192.0.2.3");
	check_expansion("%{c}", &six, "2001:db8::cb01");
	check_expansion("%{C}", &six, "2001%3Adb8%3A%3Acb01");
	check_expansion("%{h} %{p} %{r} %{t}", &four, "mx.example.org unknown unknown 1600000000");
	check_expansion("100%% of%_it%-so", &four, "100% of it%20so");
	check_expansion("%{S}", &four, "strong-bad%40email.example.com");
	check_expansion("%{D99999999999}", &four, "email.example.com");
	check_expansion("%{d1R}", &four, "email");
}

static void what_is_no_macro(void **state)
{
	static const char *const bad[] = { "%", "%{", "%{d", "%{d}%", "%d", "%{x}", "%{d0}", "%{d00r}", "%{dr2}", "%{d;}", "%{}",
		"%(d)", "a\tb", "\x80", "%{d-" };
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		why = NULL;
		if (spf_macro_valid(slice_of(bad[i]), SPF_MACRO_EXPLANATION, &why))
			fail_msg("%s", bad[i]);
		assert_non_null(why);
	}
	assert_false(spf_macro_valid(SLICE("a b"), SPF_MACRO_STRING, &why));
	assert_false(spf_macro_valid(SLICE("a\0b"), SPF_MACRO_STRING, &why));
}

static void domains(void **state)
{
	static const char *const good[] = { "example.com", "example.com.", ".com", "a.b-c", "a.1-1", "%{d}", "x%{d}", "_spf.%{d2}.net",
		"foo:bar/baz.example.com", "a..example.com", "%{d}.x1", "%%", "%{o}%{d}", "x.1a" };
	static const char *const bad[] = { "", "museum", "museum.", "example.123", "example.-com", "example.com-", "%{d}com", "%{d}.",
		"a.%{d}.1", "example.com:8080", "example.com/24", "a b.com", "%{c}.com", "%{T}.com", "%{r}", "example.com..", "." };
	const char *why;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (!spf_macro_valid(slice_of(good[i]), SPF_MACRO_DOMAIN, &why))
			fail_msg("%s: %s", good[i], why);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (spf_macro_valid(slice_of(bad[i]), SPF_MACRO_DOMAIN, &why))
			fail_msg("%s", bad[i]);
}

static void uses(void **state)
{
	assert_true(spf_macro_uses(SLICE("a.%{p2r}.b"), 'p'));
	assert_true(spf_macro_uses(SLICE("%%%{P}"), 'p'));
	assert_false(spf_macro_uses(SLICE("%%{p}.%{d}.p"), 'p'));
}

/* Section 7.3: over 253 characters labels are removed from the left. */
static void names_are_cut_from_the_left(void **state)
{
	struct spf_macro_values v = values(&four);
	struct str helo = STR_IN(&arena), text = STR_IN(&arena);
	struct slice name;

	for (int i = 0; i < 30; i++)
		str_puts(&helo, i ? ".abcdefg" : "abcdefg");
	v.helo = str_slice(&helo);		/* 239 octets */
	name = spf_macro_domain(&arena, SLICE("first.%{h}.example.org"), &v);
	assert_int_equal(name.n, 239 + 12);
	assert_true(slice_starts(name, SLICE("abcdefg.")));
	name = spf_macro_domain(&arena, SLICE("%{h}.example.org."), &v);
	assert_int_equal(name.n, 239 + 12);
	assert_null(spf_macro_domain(&arena, SLICE("%{h-}..org"), &v).p);
	assert_null(spf_macro_domain(&arena, SLICE("a..example.org"), &v).p);
	v.helo = SLICE("a123456789012345678901234567890123456789012345678901234567890123");
	assert_null(spf_macro_domain(&arena, SLICE("%{h}.example.org"), &v).p);
	v.helo = SLICE("");
	assert_null(spf_macro_domain(&arena, SLICE("%{h}"), &v).p);
	for (int i = 0; i < 3000; i++)
		str_puts(&text, "%{d}");
	assert_null(spf_macro_domain(&arena, str_slice(&text), &v).p);
	str_puts(&text, "%{d}");
	helo.n = 0;
	assert_false(spf_macro_expand(&helo, str_slice(&text), &v));
	assert_int_equal(helo.n, SPF_EXPANSION_MAX);
}

static void many_parts(void **state)
{
	struct spf_macro_values v = values(&four);
	struct str out = STR_IN(&arena), dots = STR_IN(&arena);

	for (int i = 0; i < 200; i++)
		str_puts(&dots, i ? ".a" : "a");
	v.helo = str_slice(&dots);
	assert_true(spf_macro_expand(&out, SLICE("%{h2}"), &v));
	assert_true(slice_ends_nocase(str_slice(&out), SLICE("a.a")));
	out.n = 0;
	v.helo = SLICE("a..b");
	assert_true(spf_macro_expand(&out, SLICE("%{hr}"), &v));
	assert_slice(str_slice(&out), "b..a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_the_standard),
		cmocka_unit_test(other_letters),
		cmocka_unit_test(what_is_no_macro),
		cmocka_unit_test(domains),
		cmocka_unit_test(uses),
		cmocka_unit_test(names_are_cut_from_the_left),
		cmocka_unit_test(many_parts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
