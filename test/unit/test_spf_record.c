/* SPF records: what is one, what its terms are, and every kind of mistake. */
#include "unit.h"

#include "wire/spf_record.h"

static struct arena arena;
static struct spf_record record;
static const char *why;

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

static void parse(const char *text)
{
	why = "";
	assert_true(spf_record_is(slice_of(text)));
	if (!spf_record_parse(&record, &arena, slice_of(text), &why))
		fail_msg("%s: %s", text, why);
}

static void check_term(size_t i, enum spf_mechanism mechanism, char qualifier, const char *domain, int bits4, int bits6)
{
	assert_true(i < record.count);
	assert_int_equal(record.terms[i].mechanism, mechanism);
	assert_int_equal(record.terms[i].qualifier, qualifier);
	assert_slice(record.terms[i].domain, domain);
	assert_int_equal(record.terms[i].bits4, bits4);
	assert_int_equal(record.terms[i].bits6, bits6);
}

static void which_texts_are_records(void **state)
{
	assert_true(spf_record_is(SLICE("v=spf1")));
	assert_true(spf_record_is(SLICE("V=SPF1 -all")));
	assert_true(spf_record_is(SLICE("v=spf1 ")));
	assert_false(spf_record_is(SLICE("v=spf10")));
	assert_false(spf_record_is(SLICE("v=spf1\t-all")));
	assert_false(spf_record_is(SLICE(" v=spf1 -all")));
	assert_false(spf_record_is(SLICE("v=spf")));
	assert_false(spf_record_is(SLICE("")));
	assert_false(spf_record_is(SLICE("spf2.0/mfrom -all")));
}

static void all_mechanisms(void **state)
{
	parse("v=spf1 +a/24//64 MX:mail.example.com/8  -include:%{d}._spf.example.com ?exists:%{i}.x.org ~ptr ptr:example.com "
		"ip4:192.0.2.0/24 ip6:2001:db8::/32 ip4:192.0.2.7 a//0 a:b.com//7 -all   ");
	assert_int_equal(record.count, 12);
	check_term(0, SPF_A, '+', "", 24, 64);
	check_term(1, SPF_MX, '+', "mail.example.com", 8, 128);
	check_term(2, SPF_INCLUDE, '-', "%{d}._spf.example.com", 32, 128);
	check_term(3, SPF_EXISTS, '?', "%{i}.x.org", 32, 128);
	check_term(4, SPF_PTR, '~', "", 32, 128);
	check_term(5, SPF_PTR, '+', "example.com", 32, 128);
	check_term(6, SPF_IP4, '+', "", 24, 128);
	check_term(7, SPF_IP6, '+', "", 32, 32);
	check_term(8, SPF_IP4, '+', "", 32, 128);
	check_term(9, SPF_A, '+', "", 32, 0);
	check_term(10, SPF_A, '+', "b.com", 32, 7);
	check_term(11, SPF_ALL, '-', "", 32, 128);
	assert_slice(record.terms[1].text, "MX:mail.example.com/8");
	assert_true(ip_is_v4(&record.terms[6].ip));
	assert_false(ip_is_v4(&record.terms[7].ip));
	assert_int_equal(record.redirect.n + record.explanation.n, 0);
	assert_string_equal(spf_mechanism_name(SPF_EXISTS), "exists");
}

static void nothing_but_the_version(void **state)
{
	parse("v=spf1");
	assert_int_equal(record.count, 0);
	parse("v=spf1    ");
	assert_int_equal(record.count, 0);
}

static void modifiers(void **state)
{
	parse("v=spf1 Redirect=_spf.example.com moo.cow-far_out=man:dog/cat a ip4=anything exp=%{d2} op= x=%{r}");
	assert_slice(record.redirect, "_spf.example.com");
	assert_slice(record.explanation, "%{d2}");
	assert_int_equal(record.count, 1);
}

static void domains_with_colons_and_slashes(void **state)
{
	parse("v=spf1 a:foo:bar/baz.example.com/30 a:x/24.example.com");
	check_term(0, SPF_A, '+', "foo:bar/baz.example.com", 30, 128);
	check_term(1, SPF_A, '+', "x/24.example.com", 32, 128);
}

/* The mistake, and a word of what is said of it. */
static void mistakes(void **state)
{
	static const char *const bad[][2] = {
		{ "ip:192.0.2.1", "unknown mechanism" },
		{ "-", "unknown mechanism" },
		{ "all:x.com", "argument" },
		{ "all/8", "argument" },
		{ "all.", "unknown mechanism" },
		{ "a/", "argument" },
		{ "a/33", "length" },
		{ "a/024", "length" },
		{ "a//129", "length" },
		{ "a/8/8", "argument" },
		{ "a:", "missing" },
		{ "a:museum", "top label" },
		{ "mx:example.com:8080", "top label" },
		{ "include", "missing" },
		{ "include:", "missing" },
		{ "include:example.com/24", "top label" },
		{ "include:a.com//8", "top label" },
		{ "exists", "missing" },
		{ "ptr/0", "argument" },
		{ "ptr:", "missing" },
		{ "ip4", "missing" },
		{ "ip4:", "IPv4" },
		{ "ip4:192.0.2", "IPv4" },
		{ "ip4:192.0.2.01", "IPv4" },
		{ "ip4:192.0.2.1/33", "length" },
		{ "ip4:192.0.2.1//32", "length" },
		{ "ip4:192.0.2.1/", "length" },
		{ "ip4:2001:db8::1", "IPv4" },
		{ "ip6:192.0.2.1", "IPv6" },
		{ "ip6:2001:db8::1/129", "length" },
		{ "ip6:2001:db8::1::2", "IPv6" },
		{ "ip6", "missing" },
		{ "redirect=a.com redirect=b.com", "only once" },
		{ "exp=a.com exp=a.com", "only once" },
		{ "redirect=", "missing" },
		{ "exp=", "missing" },
		{ "-redirect=a.com", "unknown mechanism" },
		{ "1x=y", "proper name" },
		{ "=y", "proper name" },
		{ "x=%{y}", "macro letter" },
		{ "a:\xef\xbb\xbfx.com", "printable" },
		{ "a\r", "argument" },
		{ "\xc3\xa9", "unknown mechanism" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *text = arena_printf(&arena, "v=spf1 a %s -all", bad[i][0]);

		record.count = 77;
		why = NULL;
		if (spf_record_parse(&record, &arena, slice_of(text), &why))
			fail_msg("%s", text);
		if (!strstr(why, bad[i][1]))
			fail_msg("%s: %s", text, why);
		assert_true(ascii_only(slice_of(why)));
		assert_int_equal(record.count, 77);
	}
}

static void the_bad_term_is_shown(void **state)
{
	assert_false(spf_record_parse(&record, &arena, SLICE("v=spf1 a:b\x01.com"), &why));
	assert_string_equal(why, "a character that is no printable ASCII in \"a:b\\x01.com\"");
}

static void too_long(void **state)
{
	struct str s = STR_IN(&arena);

	str_puts(&s, "v=spf1");
	while (s.n < SPF_RECORD_MAX - 2)
		str_puts(&s, " a");
	assert_true(spf_record_parse(&record, &arena, str_slice(&s), &why));
	assert_int_equal(record.count, (s.n - 6) / 2);
	str_puts(&s, " mx");
	assert_false(spf_record_parse(&record, &arena, str_slice(&s), &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_texts_are_records),
		cmocka_unit_test(all_mechanisms),
		cmocka_unit_test(nothing_but_the_version),
		cmocka_unit_test(modifiers),
		cmocka_unit_test(domains_with_colons_and_slashes),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(the_bad_term_is_shown),
		cmocka_unit_test(too_long),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
