/* canon_body: both canonical forms of the body, whole and in every kind of cut, against a plain reference. */
#include "unit.h"

#include "canon_reference.h"

#include "base/table.h"

static void collect(void *arg, struct slice piece)
{
	str_add(arg, piece);
}

/* Pushes body in pieces of `each` octets (0: random ones); each piece is a copy of its own. */
static struct slice canonical(struct arena *a, enum canon kind, struct slice body, size_t each)
{
	struct canon_body *b = arena_alloc(a, sizeof(*b));
	struct str out = STR_IN(a);

	canon_body_init(b, kind, collect, &out);
	canon_body_push(b, SLICE_NULL);
	while (body.n > 0) {
		struct slice piece = slice_head(body, each ? each : 1 + (size_t)rand() % 70);
		char *copy = malloc(piece.n);
		memcpy(copy, piece.p, piece.n);
		canon_body_push(b, slice_make(copy, piece.n));
		free(copy);
		body = slice_from(body, piece.n);
	}
	canon_body_finish(b);
	assert_int_equal(b->length, out.n);
	return str_slice(&out);
}

static void check(struct slice body, struct slice simple, struct slice relaxed)
{
	static const size_t cuts[] = { SIZE_MAX, 1, 2, 3, 7, 33, 0 };
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
		assert_slices(canonical(&a, CANON_SIMPLE, body, cuts[i]), simple);
		assert_slices(canonical(&a, CANON_RELAXED, body, cuts[i]), relaxed);
	}
	arena_drop(&a);
}

#define CHECK(body, simple, relaxed) check(SLICE(body), SLICE(simple), SLICE(relaxed))

static void test_bodies(void **state)
{
	/* RFC 6376 section 3.4.5, example 1 to 3. */
	CHECK(" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n");
	/* No body, and empty lines alone. */
	CHECK("", "\r\n", "");
	CHECK("\r\n", "\r\n", "");
	CHECK("\r\n\r\n\r\n", "\r\n", "");
	CHECK(" \r\n\t\r\n  \t\r\n", " \r\n\t\r\n  \t\r\n", "");
	/* The last line lacks its end. */
	CHECK("a", "a\r\n", "a\r\n");
	CHECK("a \t", "a \t\r\n", "a \r\n");
	CHECK("a\r\n\r\n ", "a\r\n\r\n \r\n", "a\r\n\r\n \r\n");
	CHECK("\t ", "\t \r\n", " \r\n");
	/* Empty lines within stay, at the end they go. */
	CHECK("a\r\n\r\n\r\nb\r\n\r\n", "a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n");
	CHECK("a\r\n \r\n\t\r\nb \r\n", "a\r\n \r\n\t\r\nb \r\n", "a\r\n\r\n\r\nb\r\n");
	CHECK("\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n");
	/* White space in front, single tabs. */
	CHECK("  a\r\n\tb\tc\r\n", "  a\r\n\tb\tc\r\n", " a\r\n b c\r\n");
	/* A bare CR or LF ends no line. */
	CHECK("a \rb \nc\r\n", "a \rb \nc\r\n", "a \rb \nc\r\n");
	CHECK("a \r", "a \r\r\n", "a \r\r\n");
	CHECK("a\r\r\n\n\r\n", "a\r\r\n\n\r\n", "a\r\r\n\n\r\n");
	CHECK(" \r \n", " \r \n\r\n", " \r \n\r\n");
	check(SLICE("a\0 \0\r\n"), SLICE("a\0 \0\r\n"), SLICE("a\0 \0\r\n"));
}

/* More empty lines than any buffer holds. */
static void test_many_lines(void **state)
{
	struct arena a = ARENA_INIT;
	struct str body = STR_IN(&a);

	for (int i = 0; i < 100000; i++)
		str_puts(&body, "\r\n");
	check(str_slice(&body), SLICE("\r\n"), SLICE(""));
	str_puts(&body, ".\r\n");
	check(str_slice(&body), str_slice(&body), str_slice(&body));
	arena_drop(&a);
}

/* Any text of the octets that matter, runs of each length up to where the stage and direct pieces meet. */
static void test_random(void **state)
{
	static const char octets[] = "  \t\t\r\r\n\n\r\nabcdefghijklmnop\x01\x7f\xff\0";
	struct arena a = ARENA_INIT;

	for (int round = 0; round < 20000; round++) {
		struct str body = STR_IN(&a);
		size_t n = (size_t)rand() % (round % 10 ? 100 : 3000);
		bool text = rand() % 2;
		while (body.n < n) {
			unsigned pick = (unsigned)rand();
			if (pick % 4 == 0)
				str_puts(&body, "\r\n");
			else if (text && pick % 4 < 3)
				for (size_t run = pick / 4 % 600; run > 0; run--)
					str_addc(&body, (char)('!' + run % 90));
			else
				str_addc(&body, octets[pick / 4 % (sizeof(octets) - 1)]);
		}
		for (enum canon kind = CANON_SIMPLE; kind <= CANON_RELAXED; kind++) {
			struct slice expected = reference_body(&a, kind, str_slice(&body));
			assert_slices(canonical(&a, kind, str_slice(&body), SIZE_MAX), expected);
			assert_slices(canonical(&a, kind, str_slice(&body), 0), expected);
		}
		arena_drop(&a);
	}
}

static void test_names(void **state)
{
	enum canon kind;

	assert_true(canon_parse(SLICE("Relaxed"), &kind) && kind == CANON_RELAXED);
	assert_true(canon_parse(SLICE("simple"), &kind) && kind == CANON_SIMPLE);
	assert_false(canon_parse(SLICE("nofws"), &kind) || canon_parse(SLICE_NULL, &kind));
	assert_string_equal(canon_name(CANON_RELAXED), "relaxed");
	assert_string_equal(canon_name(CANON_SIMPLE), "simple");
}

UNIT_MAIN(T(test_bodies), T(test_many_lines), T(test_random), T(test_names))
