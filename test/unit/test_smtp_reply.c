/* smtp_reply: the table, what we write, what we take from a backend. */
#include "unit.h"

#include "wire/smtp_reply.h"

/* ---- the table ---- */

static void test_numbers_are_unique_and_of_their_hundred(void **state)
{
	for (unsigned i = REPLY_NONE + 1; i < REPLY_COUNT; i++) {
		const struct reply_definition *def = reply_definition(i);
		assert_in_range(def->number, 101, 999);
		for (unsigned j = REPLY_NONE + 1; j < i; j++) {
			assert_int_not_equal(def->number, reply_definition(j)->number);
			assert_string_not_equal(def->name, reply_definition(j)->name);
		}
		/* 1xx is the dialogue, all else is trouble. */
		assert_int_equal(def->number < 200, def->code < 400);
	}
}

static void test_enhanced_codes_agree_with_codes(void **state)
{
	for (unsigned i = REPLY_NONE + 1; i < REPLY_COUNT; i++) {
		const struct reply_definition *def = reply_definition(i);
		struct slice text = slice_of(def->enhanced);
		struct enhanced_code enhanced;
		assert_in_range(def->code, 200, 599);
		/* RFC 2034 section 4: none on the greeting, and there is no class 3. */
		if (i == REPLY_GREETING || def->code / 100 == 3) {
			assert_int_equal(text.n, 0);
			continue;
		}
		assert_true(enhanced_code_parse(&enhanced, &text));
		assert_int_equal(text.n, 0);
		assert_int_equal(enhanced.class, def->code / 100);
	}
}

static void test_texts_are_plain(void **state)
{
	for (unsigned i = REPLY_NONE + 1; i < REPLY_COUNT; i++) {
		const struct reply_definition *def = reply_definition(i);
		struct slice text = slice_of(def->text);
		ptrdiff_t gap = slice_find(text, '%');
		assert_true(text.n > 0 && text.n < 120);
		for (size_t j = 0; j < text.n; j++)
			assert_true(text.p[j] >= ' ' && text.p[j] <= '~');
		if (gap >= 0) {
			assert_true(slice_starts(slice_from(text, (size_t)gap), SLICE("%s")));
			assert_true(slice_find(slice_from(text, (size_t)gap + 1), '%') < 0);
		}
		assert_true(def->operator_text[0] != '\0');
		assert_true(def->operator_text[strlen(def->operator_text) - 1] == '.');
	}
	assert_aborts(reply_definition(REPLY_COUNT));
}

/* ---- ours ---- */

static struct slice written(struct arena *a, const struct reply *r)
{
	struct str out = STR_IN(a);

	reply_write(&out, r);
	return str_slice(&out);
}

static void test_make_and_write(void **state)
{
	struct arena a = ARENA_INIT;
	struct reply r = reply_make(&a, REPLY_OK, SLICE_NULL, "0123456789", "https://why.example/");

	assert_slice(written(&a, &r), "250 2.0.0 Ok\r\n");
	assert_true(reply_is_positive(&r));
	r = reply_make(&a, REPLY_GREETING, SLICE("mx.example.org"), NULL, NULL);
	assert_slice(written(&a, &r), "220 mx.example.org ESMTP Spurn\r\n");
	r = reply_make(&a, REPLY_START_DATA, SLICE_NULL, NULL, NULL);
	assert_slice(written(&a, &r), "354 End data with <CR><LF>.<CR><LF>\r\n");
	r = reply_make(&a, REPLY_READY_TLS, SLICE_NULL, NULL, NULL);
	assert_slice(written(&a, &r), "220 2.0.0 Ready to start TLS\r\n");
	r = reply_make(&a, REPLY_ACCEPTED, SLICE("0123456789"), "0123456789", NULL);
	assert_slice(written(&a, &r), "250 2.0.0 Accepted ref=0123456789\r\n");
	arena_drop(&a);
}

static void test_refusals_carry_reference_and_url(void **state)
{
	struct arena a = ARENA_INIT;
	struct reply r = reply_make(&a, REPLY_NO_SUCH_USER, SLICE_NULL, "0123456789", NULL);

	assert_slice(written(&a, &r), "550 5.1.1 No such recipient here ref=0123456789\r\n");
	assert_true(reply_is_permanent(&r));
	r = reply_make(&a, REPLY_NO_SUCH_USER, SLICE_NULL, "0123456789", "https://why.example/");
	assert_slice(written(&a, &r),
		"550 5.1.1 No such recipient here ref=0123456789 see https://why.example/0123456789\r\n");
	r = reply_make(&a, REPLY_BUSY, SLICE_NULL, NULL, "https://why.example/");
	assert_slice(written(&a, &r), "421 4.3.2 Too busy, try again later see https://why.example/\r\n");
	assert_true(reply_is_transient(&r));
	arena_drop(&a);
}

static void test_detail_cannot_inject(void **state)
{
	struct arena a = ARENA_INIT;
	struct reply r = reply_make(&a, REPLY_BAD_ARGUMENT, SLICE("x\r\n250 ok\0\t\200%s\\"), NULL, NULL);

	assert_slice(written(&a, &r), "501 5.5.4 Syntax: x\\x0D\\x0A250 ok\\x00\\x09\\x80%s\\\\\r\n");
	r = (struct reply){ .code = 250, .text = SLICE("a\rb\0c\177d\303\244\te") };
	assert_slice(written(&a, &r), "250 a?b?c?d??\te\r\n");
	arena_drop(&a);
}

static void test_detail_is_bounded(void **state)
{
	struct arena a = ARENA_INIT;
	char long_detail[1000];
	struct reply r;

	memset(long_detail, 7, sizeof(long_detail));
	r = reply_make(&a, REPLY_BAD_SENDER, slice_make(long_detail, sizeof(long_detail)), NULL, NULL);
	assert_int_equal(r.text.n, strlen("Bad sender address: ") + 256);
	arena_drop(&a);
}

static void test_lines(void **state)
{
	struct arena a = ARENA_INIT;
	struct reply r = { .code = 250, .text = SLICE("mx.example.org\nPIPELINING\n\nSIZE 1000") };

	assert_slice(written(&a, &r), "250-mx.example.org\r\n250-PIPELINING\r\n250-\r\n250 SIZE 1000\r\n");
	r = (struct reply){ .code = 550, .enhanced = { 5, 7, 1 }, .text = SLICE("one\ntwo\n") };
	assert_slice(written(&a, &r), "550-5.7.1 one\r\n550 5.7.1 two\r\n");
	/* A class that is not the code's is none. */
	r.enhanced.class = 4;
	assert_slice(written(&a, &r), "550-one\r\n550 two\r\n");
	r = (struct reply){ .code = 250 };
	assert_slice(written(&a, &r), "250 \r\n");
	r.code = 0;
	assert_aborts(written(&a, &r));
	arena_drop(&a);
}

static void test_long_lines_are_cut(void **state)
{
	struct arena a = ARENA_INIT;
	char text[1500];
	struct reply r = { .code = 550, .enhanced = { 5, 7, 1 }, .text = { text, sizeof(text) } };
	struct slice out, line;

	for (int spaces = 0; spaces < 2; spaces++) {
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = spaces && i % 10 == 9 ? ' ' : (char)('a' + i % 26);
		size_t count = 0;
		out = written(&a, &r);
		while (out.n > 0) {
			ptrdiff_t lf = slice_find(out, '\n');
			assert_true(lf > 10 && lf < 512);
			line = slice_head(out, (size_t)lf + 1);
			out = slice_from(out, line.n);
			assert_true(slice_starts(line, out.n ? SLICE("550-5.7.1 ") : SLICE("550 5.7.1 ")));
			count += line.n - 12 + (spaces && out.n ? 1 : 0);
		}
		/* The space of a cut is left out. */
		assert_int_equal(count, sizeof(text));
	}
	arena_drop(&a);
}

/* ---- enhanced codes ---- */

static bool enhanced(const char *text, int class, int subject, int detail, const char *rest)
{
	struct slice s = slice_of(text);
	struct enhanced_code code = { 9, 9, 9 };

	if (!enhanced_code_parse(&code, &s)) {
		assert_int_equal(code.class, 9);	/* outputs untouched */
		assert_slice(s, text);
		return false;
	}
	assert_true(enhanced_code_is(code, class, subject, detail));
	assert_slice(s, rest);
	return true;
}

static void test_enhanced_code_parse(void **state)
{
	assert_true(enhanced("5.1.1 no", 5, 1, 1, "no"));
	assert_true(enhanced("2.0.0", 2, 0, 0, ""));
	assert_true(enhanced("4.999.999\t x", 4, 999, 999, "x"));
	assert_false(enhanced("5.1.1x", 0, 0, 0, ""));
	assert_false(enhanced("3.1.1 x", 0, 0, 0, ""));
	assert_false(enhanced("5.1", 0, 0, 0, ""));
	assert_false(enhanced("5.1.", 0, 0, 0, ""));
	assert_false(enhanced("5..1 x", 0, 0, 0, ""));
	assert_false(enhanced("5.1.1000", 0, 0, 0, ""));
	assert_false(enhanced("5.01.1", 0, 0, 0, ""));
	assert_false(enhanced("55.1.1", 0, 0, 0, ""));
	assert_false(enhanced("5.1.1.1 x", 0, 0, 0, ""));
	assert_false(enhanced("", 0, 0, 0, ""));
	assert_false(enhanced("5.1.-1 x", 0, 0, 0, ""));
}

/* ---- theirs ---- */

/* Feeds lines separated by LF; the last state. */
static enum reply_parse parse(struct arena *a, struct reply *out, struct slice lines, const char **why)
{
	struct reply_parser p;
	enum reply_parse state = REPLY_PARSE_MORE;

	*why = NULL;
	reply_parser_init(&p, a);
	while (lines.n > 0) {
		assert_int_equal(state, REPLY_PARSE_MORE);
		state = reply_parser_line(&p, slice_split(&lines, '\n'), why);
	}
	*out = p.reply;
	return state;
}

static void test_parse_good_replies(void **state)
{
	struct arena a = ARENA_INIT;
	struct reply r;
	const char *why;

	assert_int_equal(parse(&a, &r, SLICE("250 2.1.5 Ok"), &why), REPLY_PARSE_DONE);
	assert_int_equal(r.code, 250);
	assert_int_equal(r.name, REPLY_NONE);
	assert_true(enhanced_code_is(r.enhanced, 2, 1, 5));
	assert_slice(r.text, "Ok");
	assert_int_equal(parse(&a, &r, SLICE("250"), &why), REPLY_PARSE_DONE);
	assert_slice(r.text, "");
	assert_int_equal(parse(&a, &r, SLICE("571 5.7.1 x"), &why), REPLY_PARSE_DONE);
	assert_int_equal(parse(&a, &r, SLICE("550-5.1.1 a\n550-5.1.1\n550 5.1.1 b"), &why), REPLY_PARSE_DONE);
	assert_slice(r.text, "a\n\nb");
	assert_true(enhanced_code_is(r.enhanced, 5, 1, 1));
	/* The class contradicts the code: text. */
	assert_int_equal(parse(&a, &r, SLICE("550 4.1.1 a"), &why), REPLY_PARSE_DONE);
	assert_int_equal(r.enhanced.class, 0);
	assert_slice(r.text, "4.1.1 a");
	arena_drop(&a);
}

static void test_parse_bad_replies(void **state)
{
	static const struct slice bad[] = {
		SLICE(" "), SLICE("25"), SLICE("25x ok"), SLICE("150 hm"), SLICE("600 hm"), SLICE("099 hm"),
		SLICE("250_ok"), SLICE("250\tok"), SLICE("2500"), SLICE("250-a\n251 b"), SLICE("250-a\n250_b"),
		SLICE("250-a\nb"), SLICE("250 a\rb"), SLICE("250 a\0b"), SLICE("-250 a"), SLICE("+50 a"),
	};
	struct arena a = ARENA_INIT;
	struct reply r;
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&a, &r, bad[i], &why), REPLY_PARSE_BAD);
		assert_non_null(why);
	}
	arena_drop(&a);
}

static struct {
	unsigned lines, octets, firsts;
} seen;

static void see_line(void *arg, struct slice text, bool first)
{
	seen.lines++;
	seen.octets += (unsigned)text.n;
	seen.firsts += first;
}

static void test_parser_limits(void **state)
{
	struct arena a = ARENA_INIT;
	struct reply_parser p;
	char line[5000];
	const char *why;
	int n;

	memset(line, 'x', sizeof(line));
	memcpy(line, "250-", 4);
	reply_parser_init(&p, &a);
	assert_int_equal(reply_parser_line(&p, slice_make(line, 4097), &why), REPLY_PARSE_BAD);

	/* 64 KiB in all; the text keeps 2 KiB of it, on_line sees everything. */
	memset(&seen, 0, sizeof(seen));
	reply_parser_init(&p, &a);
	p.on_line = see_line;
	for (n = 0; reply_parser_line(&p, slice_make(line, 4000), &why) == REPLY_PARSE_MORE; n++)
		;
	assert_int_equal(n, 65536 / 4002);
	assert_int_equal(p.text.n, 2048);
	assert_int_equal(seen.octets, n * 3996);
	assert_int_equal(seen.firsts, 1);

	reply_parser_init(&p, &a);
	for (n = 0; reply_parser_line(&p, slice_make(line, 5), &why) == REPLY_PARSE_MORE; n++)
		;
	assert_int_equal(n, 512);
	arena_drop(&a);
}

UNIT_MAIN(T(test_numbers_are_unique_and_of_their_hundred), T(test_enhanced_codes_agree_with_codes),
	T(test_texts_are_plain), T(test_make_and_write), T(test_refusals_carry_reference_and_url),
	T(test_detail_cannot_inject), T(test_detail_is_bounded), T(test_lines), T(test_long_lines_are_cut),
	T(test_enhanced_code_parse), T(test_parse_good_replies), T(test_parse_bad_replies), T(test_parser_limits))
