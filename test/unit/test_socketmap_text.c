/* socketmap_text: netstrings, questions and replies, and what is no such thing. */
#include "unit.h"

#include "wire/socketmap_text.h"

static enum netstring_parse read_text(const char *in, struct slice *text, size_t *used)
{
	const char *why = NULL;
	enum netstring_parse state = netstring_read(slice_of(in), 100, text, used, &why);

	assert_int_equal(state == NETSTRING_BAD, why != NULL);
	return state;
}

static void test_netstrings(void **state)
{
	static const char *const bad[] = { ":", "x", "-1:,", "03:abc,", "00:,", " 3:abc,", "3;abc,", "3:abcd", "3:abc;",
		"101:", "99999999999999999999" };
	static const char *const more[] = { "", "3", "3:", "3:ab", "3:abc", "10", "0:", "100:" };
	struct slice text;
	size_t used;

	assert_int_equal(read_text("3:abc,rest", &text, &used), NETSTRING_DONE);
	assert_slice(text, "abc");
	assert_int_equal(used, 6);
	assert_int_equal(read_text("0:,", &text, &used), NETSTRING_DONE);
	assert_int_equal(text.n, 0);
	assert_int_equal(read_text("5:a:,b,,", &text, &used), NETSTRING_DONE);
	assert_slice(text, "a:,b,");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(read_text(bad[i], &text, &used), NETSTRING_BAD);
	for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
		assert_int_equal(read_text(more[i], &text, &used), NETSTRING_MORE);
}

static void test_replies(void **state)
{
	static const struct { const char *text; enum socketmap_status status; const char *said; } good[] = {
		{ "OK ann@example.org", SOCKETMAP_FOUND, "ann@example.org" }, { "OK ", SOCKETMAP_FOUND, "" },
		{ "OK", SOCKETMAP_FOUND, "" }, { "NOTFOUND ", SOCKETMAP_NOTFOUND, "" }, { "NOTFOUND", SOCKETMAP_NOTFOUND, "" },
		{ "TEMP no server", SOCKETMAP_TEMP, "no server" }, { "TIMEOUT  slow", SOCKETMAP_TIMEOUT, " slow" },
		{ "PERM no such map", SOCKETMAP_PERM, "no such map" },
	};
	static const char *const bad[] = { "", " ", "ok x", "OKAY", "NOTFOUND\n", "notfound ", "NOTFOUNDER", " OK x",
		"500 unknown", "PERMANENT x" };
	enum socketmap_status status = SOCKETMAP_TEMP;
	struct slice said;
	const char *why;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(socketmap_reply_parse(slice_of(good[i].text), &status, &said, &why));
		assert_int_equal(status, good[i].status);
		assert_slice(said, good[i].said);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(socketmap_reply_parse(slice_of(bad[i]), &status, &said, &why));
		assert_non_null(why);
	}
}

static void test_questions(void **state)
{
	static const char *const bad[] = { "", " ", "map", "map ", " key", " key x" };
	struct slice map, key;
	const char *why;

	assert_true(socketmap_question_parse(SLICE("users \"a b\"@example.org"), &map, &key, &why));
	assert_slice(map, "users");
	assert_slice(key, "\"a b\"@example.org");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(socketmap_question_parse(slice_of(bad[i]), &map, &key, &why));
}

static void test_what_is_written_reads_back(void **state)
{
	struct arena a = ARENA_INIT;
	struct str out = STR_IN(&a);
	char long_text[SOCKETMAP_REPLY_MAX * 2];
	struct slice text;
	size_t used;
	const char *why;

	socketmap_question_write(&out, SLICE("users"), SLICE("ann@example.org"));
	assert_slice(str_slice(&out), "21:users ann@example.org,");
	out.n = 0;
	socketmap_reply_write(&out, SOCKETMAP_NOTFOUND, SLICE_NULL);
	assert_slice(str_slice(&out), "9:NOTFOUND ,");
	out.n = 0;
	memset(long_text, 'x', sizeof(long_text));
	socketmap_reply_write(&out, SOCKETMAP_FOUND, slice_make(long_text, sizeof(long_text)));
	assert_int_equal(netstring_read(str_slice(&out), SOCKETMAP_REPLY_MAX, &text, &used, &why), NETSTRING_DONE);
	assert_int_equal(used, out.n);
	arena_drop(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_netstrings), cmocka_unit_test(test_replies),
		cmocka_unit_test(test_questions), cmocka_unit_test(test_what_is_written_reads_back) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
