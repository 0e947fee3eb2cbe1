/* Slices, UTF-8, the builder and its encoders; inputs stand at the very end of their memory. */
#include "unit.h"

#include <openssl/evp.h>

static struct arena a;

static int setup(void **state)
{
	a = ARENA_INIT;
	return 0;
}

static int teardown(void **state)
{
	arena_drop(&a);
	return 0;
}

/* A copy whose end is the end of a heap block, so that ASan and valgrind see a byte too far. */
static struct slice tight(struct slice s)
{
	static char *last;

	free(last);
	last = malloc(s.n ? s.n : 1);
	if (s.n)
		memcpy(last, s.p, s.n);
	return slice_make(last, s.n);
}

/* ---- slices ---- */

static void comparing(void **state)
{
	assert_true(slice_eq(SLICE(""), SLICE_NULL));
	assert_true(slice_eq(SLICE("ab"), SLICE("ab")));
	assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
	assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
	assert_true(slice_eq_nocase(SLICE("PostMaster"), SLICE("pOSTmASTER")));
	assert_false(slice_eq_nocase(SLICE("a"), SLICE("")));
	assert_true(slice_eq_nocase(SLICE_NULL, SLICE("")));
	/* Neither the neighbours of the letters nor Latin-1 fold. */
	assert_false(slice_eq_nocase(SLICE("@"), SLICE("`")));
	assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
	assert_false(slice_eq_nocase(SLICE("\xc4"), SLICE("\xe4")));
	assert_true(slice_eq_nocase(SLICE("AZ\xc4"), SLICE("az\xc4")));
	assert_true(slice_eq(SLICE("a\0b"), slice_make("a\0b", 3)));
	assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
	assert_int_equal(slice_cmp(SLICE("a"), SLICE("a")), 0);
	assert_true(slice_cmp(SLICE("a"), SLICE("b")) < 0);
	assert_true(slice_cmp(SLICE("ab"), SLICE("a")) > 0);
	assert_true(slice_cmp(SLICE("a"), SLICE("ab")) < 0);
	assert_true(slice_cmp(SLICE("\xff"), SLICE("a")) > 0);
	assert_true(slice_cmp(SLICE_NULL, SLICE("a")) < 0);
	assert_int_equal(slice_cmp(SLICE_NULL, SLICE("")), 0);
	assert_true(slice_empty(slice_of(NULL)));
}

static void starts_and_ends(void **state)
{
	assert_true(slice_starts(SLICE("abc"), SLICE("")));
	assert_true(slice_starts(SLICE_NULL, SLICE_NULL));
	assert_true(slice_starts(SLICE("abc"), SLICE("abc")));
	assert_false(slice_starts(SLICE("abc"), SLICE("abcd")));
	assert_false(slice_starts(SLICE("abc"), SLICE("aB")));
	assert_true(slice_starts_nocase(SLICE("abc"), SLICE("aB")));
	assert_false(slice_starts_nocase(SLICE("a"), SLICE("ab")));
	assert_true(slice_ends_nocase(SLICE("user@EXAMPLE.org"), SLICE("@example.ORG")));
	assert_false(slice_ends_nocase(SLICE("org"), SLICE(".org")));
	assert_true(slice_ends_nocase(SLICE("org"), SLICE("")));
	assert_true(slice_ends_nocase(SLICE_NULL, SLICE_NULL));
}

static void cutting(void **state)
{
	struct slice s = SLICE("abcdef");

	assert_slice(slice_from(s, 2), "cdef");
	assert_slice(slice_from(s, 0), "abcdef");
	assert_slice(slice_from(s, 6), "");
	assert_slice(slice_from(s, 99), "");
	assert_int_equal(slice_from(s, 99).p - s.p, 6);
	assert_slice(slice_head(s, 2), "ab");
	assert_slice(slice_head(s, 0), "");
	assert_slice(slice_head(s, 99), "abcdef");
	assert_slice(slice_from(SLICE_NULL, 3), "");
	assert_slice(slice_head(SLICE_NULL, 3), "");
	assert_slice(slice_trim(SLICE(" \t\r\n a b \r\n\t ")), "a b");
	assert_slice(slice_trim(SLICE(" \t ")), "");
	assert_slice(slice_trim(SLICE_NULL), "");
	assert_slice(slice_trim(SLICE("\va\f")), "\va\f");
	assert_slice(slice_trim(SLICE("\xa0")), "\xa0");
}

static void finding(void **state)
{
	struct slice s = SLICE("a@b@c\0d");

	assert_int_equal(slice_find(s, '@'), 1);
	assert_int_equal(slice_rfind(s, '@'), 3);
	assert_int_equal(slice_find(s, 'x'), -1);
	assert_int_equal(slice_rfind(s, 'x'), -1);
	assert_int_equal(slice_find(s, '\0'), 5);
	assert_int_equal(slice_find(s, 'd'), 6);
	assert_int_equal(slice_find(SLICE_NULL, 'a'), -1);
	assert_int_equal(slice_rfind(SLICE_NULL, 'a'), -1);
	assert_int_equal(slice_find(SLICE("\xff"), '\xff'), 0);
	assert_int_equal(slice_find(tight(SLICE("abc")), '\0'), -1);
}

static void searching(void **state)
{
	assert_int_equal(slice_search(SLICE("abcabd"), SLICE("abd")), 3);
	assert_int_equal(slice_search(SLICE("abcabd"), SLICE("ABD")), -1);
	assert_int_equal(slice_search_nocase(SLICE("abcabd"), SLICE("ABD")), 3);
	assert_int_equal(slice_search_nocase(SLICE("aaab"), SLICE("AAB")), 1);
	assert_int_equal(slice_search(tight(SLICE("ab")), SLICE("abc")), -1);
	assert_int_equal(slice_search_nocase(tight(SLICE("xab")), SLICE("abc")), -1);
	assert_int_equal(slice_search(SLICE("a\0b"), SLICE("\0b")), 1);
	assert_int_equal(slice_search(SLICE("a"), SLICE("")), 0);
	assert_int_equal(slice_search_nocase(SLICE_NULL, SLICE("")), 0);
	assert_int_equal(slice_search(SLICE_NULL, SLICE("a")), -1);
	assert_int_equal(slice_search_nocase(SLICE_NULL, SLICE("a")), -1);
}

static void splitting(void **state)
{
	struct slice rest = SLICE("a,,bc,");

	assert_slice(slice_split(&rest, ','), "a");
	assert_slice(slice_split(&rest, ','), "");
	assert_slice(slice_split(&rest, ','), "bc");
	assert_slice(rest, "");
	assert_slice(slice_split(&rest, ','), "");
	rest = SLICE("whole");
	assert_slice(slice_split(&rest, ','), "whole");
	assert_true(slice_empty(rest));
	rest = SLICE_NULL;
	assert_slice(slice_split(&rest, ','), "");
}

static void words(void **state)
{
	struct slice rest = SLICE(" \tone  two\tthree \t");

	assert_slice(slice_word(&rest), "one");
	assert_slice(slice_word(&rest), "two");
	assert_slice(slice_word(&rest), "three");
	assert_slice(slice_word(&rest), "");
	assert_slice(slice_word(&rest), "");
	rest = SLICE("a\rb");
	assert_slice(slice_word(&rest), "a\rb");
	rest = SLICE_NULL;
	assert_slice(slice_word(&rest), "");
}

static void numbers(void **state)
{
	uint64_t n = 77;

	assert_true(slice_number(SLICE("0"), 0, &n));
	assert_int_equal(n, 0);
	assert_true(slice_number(SLICE("0042"), 100, &n));
	assert_int_equal(n, 42);
	assert_true(slice_number(SLICE("18446744073709551615"), UINT64_MAX, &n));
	assert_true(n == UINT64_MAX);
	n = 77;
	assert_false(slice_number(SLICE("18446744073709551616"), UINT64_MAX, &n));
	assert_false(slice_number(SLICE("99999999999999999999999"), UINT64_MAX, &n));
	assert_false(slice_number(SLICE("101"), 100, &n));
	assert_false(slice_number(SLICE("1"), 0, &n));
	assert_false(slice_number(SLICE("9"), 8, &n));
	assert_false(slice_number(SLICE(""), 100, &n));
	assert_false(slice_number(SLICE_NULL, 100, &n));
	assert_false(slice_number(SLICE("-1"), 100, &n));
	assert_false(slice_number(SLICE("+1"), 100, &n));
	assert_false(slice_number(SLICE(" 1"), 100, &n));
	assert_false(slice_number(SLICE("1 "), 100, &n));
	assert_false(slice_number(SLICE("0x1"), 100, &n));
	assert_false(slice_number(SLICE("1\0"), 100, &n));
	assert_int_equal(n, 77);
	for (uint64_t max = 0; max < 300; max++) {
		for (uint64_t value = 0; value < 300; value++) {
			char text[8];
			snprintf(text, sizeof(text), "%d", (int)value);
			assert_true(slice_number(slice_of(text), max, &n) == (value <= max));
		}
	}
}

static void copies(void **state)
{
	char source[] = "MiXed\xc4";
	struct slice copy = slice_copy(&a, slice_of(source)), lower = slice_lower(&a, slice_of(source));

	memset(source, 0, sizeof(source));
	assert_slice(copy, "MiXed\xc4");
	assert_slice(lower, "mixed\xc4");
	assert_int_equal(copy.p[copy.n], '\0');
	assert_int_equal(lower.p[lower.n], '\0');
	assert_string_equal(slice_cstr(&a, slice_head(copy, 3)), "MiX");
	assert_string_equal(slice_cstr(&a, SLICE_NULL), "");
}

static void hex_digits(void **state)
{
	const char *digits = "0123456789abcdef";

	for (int c = 0; c < 256; c++) {
		const char *at = c ? strchr(digits, ascii_lower((char)c)) : NULL;
		assert_int_equal(ascii_hex((char)c), at ? at - digits : -1);
	}
}

/* ---- UTF-8 ---- */

static void ascii(void **state)
{
	char text[40];

	assert_true(ascii_only(SLICE_NULL));
	for (size_t n = 0; n < sizeof(text); n++) {
		memset(text, 0x7f, sizeof(text));
		assert_true(ascii_only(tight(slice_make(text, n))));
		for (size_t at = 0; at < n; at++) {
			text[at] = '\x80';
			assert_false(ascii_only(slice_make(text, n)));
			assert_false(utf8_valid(slice_make(text, n)));
			text[at] = 0x7f;
		}
	}
}

/* Each code point, encoded by hand, is well-formed unless it is a surrogate or too large. */
static void utf8_all_code_points(void **state)
{
	char p[4];
	size_t n;

	for (uint32_t c = 0x80; c < 0x200000; c++) {
		if (c < 0x800) {
			p[0] = (char)(0xc0 | c >> 6);
			n = 2;
		} else if (c < 0x10000) {
			p[0] = (char)(0xe0 | c >> 12);
			p[1] = (char)(0x80 | (c >> 6 & 63));
			n = 3;
		} else {
			p[0] = (char)(0xf0 | c >> 18);
			p[1] = (char)(0x80 | (c >> 12 & 63));
			p[2] = (char)(0x80 | (c >> 6 & 63));
			n = 4;
		}
		p[n - 1] = (char)(0x80 | (c & 63));
		bool good = c < 0x110000 && !(c >= 0xd800 && c < 0xe000);
		if (utf8_valid(slice_make(p, n)) != good || utf8_length(slice_make(p, n)) != (good ? n : 0))
			fail_msg("U+%04X", c);
	}
}

static void utf8_broken(void **state)
{
	static const char *const bad[] = {
		"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf",
		"\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xfe", "\xc3", "\xe2\x82",
		"\xf0\x9f\x98", "\xc3(", "\xe2(\xa1", "\xe2\x82(", "\xf0(\x8c\xbc", "\xf0\x90(\xbc",
		"\xf0\x90\x8c(", "\xc3\xa4\xa4", "abcdefgh\xc3", "abcdefgh\xc3\xa4z\x80",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (utf8_valid(tight(slice_of(bad[i]))))
			fail_msg("number %zu is taken for UTF-8", i);
	}
	assert_true(utf8_valid(tight(SLICE("abcdefgh\xc3\xa4ijklmnopq\xf0\x9f\x98\x80"))));
	assert_true(utf8_valid(SLICE("\0")));
	assert_true(utf8_valid(SLICE_NULL));
	assert_int_equal(utf8_length(SLICE_NULL), 0);
	assert_int_equal(utf8_length(SLICE("a\xff")), 1);
}

/* ---- builder ---- */

static void building(void **state)
{
	struct str b = STR_IN(&a);

	assert_slice(str_slice(&b), "");
	str_add(&b, SLICE_NULL);
	str_puts(&b, "");
	assert_null(b.p);
	assert_string_equal(str_cstr(&b), "");
	str_puts(&b, "one");
	str_addc(&b, ' ');
	str_number(&b, 0);
	str_addc(&b, ' ');
	str_number(&b, UINT64_MAX);
	str_printf(&b, " %s=%d", "x", -5);
	assert_slice(str_slice(&b), "one 0 18446744073709551615 x=-5");
	assert_string_equal(str_cstr(&b), "one 0 18446744073709551615 x=-5");
	str_addc(&b, '\0');
	str_add(&b, SLICE("z"));
	assert_int_equal(b.n, 33);
	assert_memory_equal(b.p + 31, "\0z", 2);
}

static void building_large(void **state)
{
	struct str b = STR_IN(&a);

	for (int i = 0; i < 100000; i++)
		str_addc(&b, (char)('a' + i % 26));
	assert_int_equal(b.n, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(b.p[i], 'a' + i % 26);
	memcpy(str_room(&b, 5000), b.p, 5000);
	b.n += 5000;
	assert_memory_equal(b.p + 100000, b.p, 5000);
	/* Quadratic growth would need gigabytes. */
	assert_true(arena_bytes(&a) < 1000000);
}

/* All lengths around the room that is left, where vsnprintf() must be asked twice. */
static void printing(void **state)
{
	for (int before = 0; before < 140; before++) {
		for (int n = 0; n < 140; n++) {
			struct str b = STR_IN(&a);
			for (int i = 0; i < before; i++)
				str_addc(&b, '-');
			str_printf(&b, "%.*s|", n, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				"xxxxxxxxxxxxxxxxx");
			assert_int_equal(b.n, before + n + 1);
			assert_int_equal(b.p[b.n - 1], '|');
			if (n)
				assert_int_equal(b.p[before], 'x');
		}
		arena_drop(&a);
	}
}

#define BUILT(call, expected) \
	do { \
		struct str b = STR_IN(&a); \
		call; \
		assert_slice(str_slice(&b), expected); \
	} while (0)

static void escaping(void **state)
{
	struct str all = STR_IN(&a);

	BUILT(str_escaped(&b, SLICE("plain text ~"), 100), "plain text ~");
	BUILT(str_escaped(&b, SLICE("a\\b"), 100), "a\\\\b");
	BUILT(str_escaped(&b, SLICE("\r\n\0\x7f\xff\x1b["), 100), "\\x0D\\x0A\\x00\\x7F\\xFF\\x1B[");
	BUILT(str_escaped(&b, SLICE("abcdef"), 6), "abcdef");
	BUILT(str_escaped(&b, SLICE("abcdef"), 5), "abcde...");
	BUILT(str_escaped(&b, SLICE("\xff\xff"), 1), "\\xFF...");
	BUILT(str_escaped(&b, SLICE("abc"), 0), "...");
	BUILT(str_escaped(&b, SLICE_NULL, 0), "");
	for (int c = 0; c < 256; c++)
		str_escaped(&all, slice_make((char[]){ (char)c }, 1), 10);
	for (size_t i = 0; i < all.n; i++)
		assert_in_range(all.p[i], ' ', '~');
	assert_int_equal(all.n, 94 + 2 + 161 * 4);
}

static void json(void **state)
{
	BUILT(str_json(&b, SLICE_NULL), "\"\"");
	BUILT(str_json(&b, SLICE("a\"b\\c/d")), "\"a\\\"b\\\\c/d\"");
	BUILT(str_json(&b, SLICE("\r\n\t\b\0\x1f\x7f")), "\"\\r\\n\\t\\u0008\\u0000\\u001f\\u007f\"");
	BUILT(str_json(&b, SLICE("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80")),
		"\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"");
	BUILT(str_json(&b, tight(SLICE("x\xc3"))), "\"x\xef\xbf\xbd\"");
	BUILT(str_json(&b, SLICE("\xff\xc3\xbc\xed\xa0\x80")),
		"\"\xef\xbf\xbd\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

/* Runs are looked at by eights: each byte, at each place of a text of three, among the others. */
static void runs_end_where_they_should(void **state)
{
	char text[24];

	for (int c = 0; c < 256; c++) {
		for (int at = 0; at < 24; at++) {
			struct str got = STR_IN(&a), expected = STR_IN(&a), one = STR_IN(&a);
			memset(text, at % 2 ? '~' : ' ', sizeof(text));
			text[at] = (char)c;
			for (int i = 0; i < 24; i++)
				str_escaped(&expected, slice_make(text + i, 1), 1);
			str_escaped(&got, tight(slice_make(text, 24)), 24);
			assert_slices(str_slice(&got), str_slice(&expected));
			got.n = 0;
			str_json(&one, slice_make(text + at, 1));
			expected.n = 0;
			str_addc(&expected, '"');
			str_add(&expected, slice_make(text, (size_t)at));
			str_add(&expected, slice_make(one.p + 1, one.n - 2));
			str_add(&expected, slice_make(text + at + 1, (size_t)(23 - at)));
			str_addc(&expected, '"');
			str_json(&got, tight(slice_make(text, 24)));
			assert_slices(str_slice(&got), str_slice(&expected));
		}
		arena_drop(&a);
	}
}

static void xtext(void **state)
{
	struct str coded = STR_IN(&a), back = STR_IN(&a);
	char all[256];

	BUILT(str_xtext(&b, SLICE("rfc822;a+b=c@example.org")), "rfc822;a+2Bb+3Dc@example.org");
	BUILT(str_xtext(&b, SLICE(" \x7f\xe4~!")), "+20+7F+E4~!");
	BUILT(assert_true(str_xtext_decode(&b, SLICE("a+2Bb+3dc"))), "a+b=c");
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	str_xtext(&coded, slice_make(all, 256));
	for (size_t i = 0; i < coded.n; i++)
		assert_in_range(coded.p[i], '!', '~');
	assert_true(str_xtext_decode(&back, tight(str_slice(&coded))));
	assert_slices(str_slice(&back), slice_make(all, 256));
}

static void xtext_malformed(void **state)
{
	static const char *const bad[] = {
		"+", "a+", "+2", "a+2", "+2G", "+G2", "++2B", "+2+B", "a=b", "a b", "\t", "\x7f",
		"\xe4", "abc\r\n",
	};
	struct str b = STR_IN(&a);

	str_puts(&b, "kept");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (str_xtext_decode(&b, tight(slice_of(bad[i]))))
			fail_msg("\"%s\" is taken for xtext", bad[i]);
		assert_slice(str_slice(&b), "kept");
	}
	assert_true(str_xtext_decode(&b, SLICE_NULL));
	assert_slice(str_slice(&b), "kept");
}

static void base64_vectors(void **state)
{
	/* RFC 4648 section 10 */
	static const char *const pairs[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		BUILT(str_base64(&b, slice_of(pairs[i][0])), pairs[i][1]);
		BUILT(assert_true(str_base64_decode(&b, slice_of(pairs[i][1]))), pairs[i][0]);
	}
	BUILT(str_base64(&b, SLICE("\xfb\xff\xfe")), "+//+");
}

static void base64_agrees_with_openssl(void **state)
{
	unsigned char bytes[300], expected[500];

	for (int i = 0; i < 300; i++)
		bytes[i] = (unsigned char)(i * 37 + i / 7);
	for (int n = 0; n < 300; n++) {
		struct str b = STR_IN(&a), back = STR_IN(&a);
		int length = EVP_EncodeBlock(expected, bytes, n);
		str_base64(&b, tight(slice_make((char *)bytes, (size_t)n)));
		assert_slices(str_slice(&b), slice_make((char *)expected, (size_t)length));
		assert_true(str_base64_decode(&back, tight(str_slice(&b))));
		assert_slices(str_slice(&back), slice_make((char *)bytes, (size_t)n));
	}
}

static void base64_malformed(void **state)
{
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "Zg===", "=", "==", "===", "====", "Z===", "Zg==Zg==", "Zg=v",
		"Zm9v\n", "Zm 9v", "Zm-_", "Zm9vZ", "\xc3\xa4\xc3\xa4", "Zm9v====",
	};
	struct str b = STR_IN(&a);

	str_puts(&b, "kept");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (str_base64_decode(&b, tight(slice_of(bad[i]))))
			fail_msg("\"%s\" is taken for base64", bad[i]);
		assert_slice(str_slice(&b), "kept");
	}
	assert_false(str_base64_decode(&b, SLICE("Zm\0v")));
}

/* The first octet is looked for by sixteens, in memory of just the size. */
static void searching_at_every_place(void **state)
{
	static const char *const needles[] = { "a", "ab", "-x", "@", "abcdefghijklmnopqrst", "`q" };

	for (size_t i = 0; i < sizeof(needles) / sizeof(*needles); i++) {
		size_t m = strlen(needles[i]);
		for (size_t n = m; n < 70; n++) {
			for (size_t at = 0; at + m <= n; at++) {
				char *text = malloc(n);
				memset(text, i == 0 ? 'A' + 1 : 'A', n);
				for (size_t k = 0; k < m; k++)
					text[at + k] = (char)(needles[i][k] >= 'a' && needles[i][k] <= 'z' && k % 2 == 0 ?
						needles[i][k] - 32 : needles[i][k]);
				assert_int_equal(slice_search_nocase(slice_make(text, n), slice_of(needles[i])), at);
				assert_int_equal(slice_search(slice_make(text, n), slice_make(text + at, m)), at);
				assert_int_equal(slice_search_nocase(slice_make(text, at + m - 1), slice_of(needles[i])), -1);
				free(text);
			}
		}
	}
}

/* Octets are compared by eights, and those at the end with octets that were looked at before. */
static void folding_at_every_place(void **state)
{
	char left[40], right[40];

	for (size_t n = 1; n <= sizeof(left); n++) {
		for (size_t at = 0; at < n; at++) {
			memset(left, 'q', n);
			memset(right, 'Q', n);
			for (unsigned c = 0; c < 256; c++) {
				left[at] = (char)c;
				for (unsigned d = 0; d < 256; d += n > 9 ? 32 : 1) {
					unsigned other = n > 9 ? c ^ d : d;
					right[at] = (char)other;
					assert_int_equal(slice_eq_nocase(slice_make(left, n), slice_make(right, n)),
						ascii_lower((char)c) == ascii_lower((char)other));
				}
			}
		}
	}
}

static void hex_and_base32(void **state)
{
	BUILT(str_hex(&b, SLICE("\0\x01\xab\xff")), "0001abff");
	BUILT(str_hex(&b, SLICE_NULL), "");
	BUILT(str_base32(&b, 0, 10), "0000000000");
	BUILT(str_base32(&b, 31, 2), "0Z");
	BUILT(str_base32(&b, 32, 2), "10");
	BUILT(str_base32(&b, 1024 + 18, 2), "0J");
	BUILT(str_base32(&b, UINT64_MAX, 13), "FZZZZZZZZZZZZ");
	BUILT(str_base32(&b, 5, 0), "");
	for (uint64_t i = 0; i < 32; i++)
		BUILT(str_base32(&b, i, 1), ((char[]){ "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[i], 0 }));
}

#define TA(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

UNIT_MAIN(TA(comparing), TA(starts_and_ends), TA(cutting), TA(finding), TA(searching), TA(splitting),
	TA(words), TA(numbers), TA(copies), TA(hex_digits), TA(ascii), TA(utf8_all_code_points),
	TA(utf8_broken), TA(building), TA(building_large), TA(printing), TA(escaping), TA(json), TA(runs_end_where_they_should),
	TA(xtext), TA(xtext_malformed), TA(base64_vectors), TA(base64_agrees_with_openssl),
	TA(base64_malformed), TA(hex_and_base32), TA(folding_at_every_place),
	TA(searching_at_every_place))
