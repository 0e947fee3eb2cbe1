/* Character sets: what each of the list becomes, what is no character of it, and that nobody else is asked. */
#include "unit.h"

#include "wire/charset.h"
#include "wire/mime.h"

static struct arena arena;

static const char *converted(const char *charset, const char *text, size_t n)
{
	struct slice out;

	return charset_convert(&arena, slice_of(charset), slice_make(text, n), &out) ? slice_cstr(&arena, out) : NULL;
}
#define CONVERTED(charset, text) converted(charset, text, sizeof(text) - 1)

#define HAISHIN "\xe9\x85\x8d\xe4\xbf\xa1"	/* haishin: delivery */
#define TUIXIN "\xe9\x80\x80\xe4\xbf\xa1"	/* tuixin: returned letter */
#define NE "\xd0\xbd\xd0\xb5"			/* ne: not */

static void each_becomes_utf_8(void **state)
{
	(void)state;
	assert_string_equal(CONVERTED("ISO-2022-JP", "x \x1b$BG[?.\x1b(B y"), "x " HAISHIN " y");
	assert_string_equal(CONVERTED("euc-jp", "\xc7\xdb\xbf\xae"), HAISHIN);
	assert_string_equal(CONVERTED("Shift_JIS", "\x94\x7a\x90\x4d"), HAISHIN);
	assert_string_equal(CONVERTED("gb2312", "\xcd\xcb\xd0\xc5"), TUIXIN);
	assert_string_equal(CONVERTED("BIG5", "\xb0\x68\xab\x48"), TUIXIN);
	assert_string_equal(CONVERTED("ks_c_5601-1987", "\xc7\xd1"), "\xed\x95\x9c");
	assert_string_equal(CONVERTED("koi8-r", "\xce\xc5"), NE);
	assert_string_equal(CONVERTED("KOI8-U", "\xce\xc5"), NE);
	assert_string_equal(CONVERTED("windows-1251", "\xed\xe5"), NE);
	assert_string_equal(CONVERTED("iso-8859-5", "\xdd\xd5"), NE);
	assert_string_equal(CONVERTED("iso-8859-2", "nedoru\xe8"), "nedoru\xc4\x8d");
	assert_string_equal(CONVERTED("windows-1250", "nedoru\xe8"), "nedoru\xc4\x8d");
	assert_string_equal(CONVERTED("iso-8859-9", "\xfe"), "\xc5\x9f");
	assert_string_equal(CONVERTED("iso-8859-7", "\xe1"), "\xce\xb1");
	assert_string_equal(CONVERTED("windows-1253", "\xe1"), "\xce\xb1");
	assert_string_equal(CONVERTED("iso-8859-13", "\xe0"), "\xc4\x85");
	assert_string_equal(CONVERTED("windows-1257", "\xe0"), "\xc4\x85");
	assert_string_equal(CONVERTED("koi8-r", ""), "");
}

static void what_is_no_character(void **state)
{
	(void)state;
	assert_string_equal(CONVERTED("euc-jp", "a\xff\xffz"), "a??z");
	/* In the middle of one. */
	assert_string_equal(CONVERTED("gb2312", "\xcd\xcb\xd0"), "\xe9\x80\x80");
	/* A shift that is not undone does not reach into the next text. */
	assert_string_equal(CONVERTED("iso-2022-jp", "\x1b$BG["), "\xe9\x85\x8d");
	assert_string_equal(CONVERTED("iso-2022-jp", "G["), "G[");
}

static void others_are_not_asked_for(void **state)
{
	static const char *const names[] = { "utf-8", "us-ascii", "iso-2022-cn-ext", "utf-7", "", "koi8-r//translit", "x" };

	(void)state;
	charset_load();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_false(charset_is_known(slice_of(names[i])));
		assert_null(converted(names[i], "x", 1));
	}
	assert_true(charset_is_known(SLICE("KOI8-R")));
}

/* Whatever comes, it is bounded. */
static void noise(void **state)
{
	static const char *const names[] = { "iso-2022-jp", "euc-jp", "shift_jis", "gb2312", "big5", "euc-kr", "koi8-r", "iso-8859-7" };
	char text[512];
	uint32_t x = 1;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct slice out;

		for (size_t i = 0; i < sizeof(text); i++) {
			x = x * 1664525 + 1013904223;
			text[i] = x >> 24 < 40 ? "\x1b$(B"[x >> 16 & 3] : (char)(x >> 24);
		}
		assert_true(charset_convert(&arena, slice_of(names[round % 8]), slice_make(text, sizeof(text)), &out));
		assert_in_range(out.n, 1, 3 * sizeof(text) + 16);
		arena_drop(&arena);
	}
}

static void encoded_words(void **state)
{
	(void)state;
	assert_slice(mime_words(&arena, SLICE("=?ISO-2022-JP?B?GyRCR1s/LhsoQg==?= x")), HAISHIN " x");
	assert_slice(mime_words(&arena, SLICE("=?koi8-r?Q?=CE=C5?=")), NE);
}

static int drop(void **state)
{
	(void)state;
	arena_drop(&arena);
	return 0;
}

#define test(f) cmocka_unit_test_teardown(f, drop)
UNIT_MAIN(test(each_becomes_utf_8), test(what_is_no_character), test(others_are_not_asked_for), test(noise), test(encoded_words))
