/* canon_header: both canonical forms of a field, the emptied b=, and the choice of fields by h=. */
#include "unit.h"

#include "wire/canon.h"

static struct header parse(struct arena *a, struct slice text)
{
	struct header h;

	header_init(&h, a, 1 << 20, 100000);
	header_push(&h, text);
	header_finish(&h);
	return h;
}

static void check_field(struct slice text, struct slice relaxed)
{
	struct arena a = ARENA_INIT;
	struct header h = parse(&a, text);
	struct str out = STR_IN(&a);

	assert_int_equal(h.count, 1);
	canon_field(&out, CANON_SIMPLE, &h.fields[0]);
	assert_slices(str_slice(&out), text);
	out = STR_IN(&a);
	canon_field(&out, CANON_RELAXED, &h.fields[0]);
	assert_slices(str_slice(&out), relaxed);
	arena_drop(&a);
}

#define FIELD(text, relaxed) check_field(SLICE(text), SLICE(relaxed))

static void test_fields(void **state)
{
	/* RFC 6376 section 3.4.5. */
	FIELD("A: X\r\n", "a:X\r\n");
	FIELD("B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n");
	FIELD("Subject:\r\n", "subject:\r\n");
	FIELD("Subject: \t \r\n", "subject:\r\n");
	FIELD("Subject:\r\n \r\n\t a\r\n", "subject:a\r\n");
	FIELD("Subject:a\r\n b\r\n  \r\n", "subject:a b\r\n");
	FIELD("SUBJECT\t:  Two   Words\t\tmore  \r\n", "subject:Two Words more\r\n");
	FIELD("X: a\rb\nc \xff\r\n", "x:a\rb\nc \xff\r\n");
	FIELD("X: a \r b\r\n", "x:a \r b\r\n");
}

static void check_unsigned(struct slice text, struct slice emptied, struct slice simple, struct slice relaxed)
{
	struct arena a = ARENA_INIT;
	struct header h = parse(&a, text);
	struct str out = STR_IN(&a);
	ptrdiff_t at = slice_search(h.fields[0].value, emptied);
	struct slice extent = slice_make(h.fields[0].value.p + at, emptied.n);

	assert_true(at >= 0);
	canon_field_unsigned(&out, CANON_SIMPLE, &h.fields[0], extent);
	assert_slices(str_slice(&out), simple);
	out = STR_IN(&a);
	canon_field_unsigned(&out, CANON_RELAXED, &h.fields[0], extent);
	assert_slices(str_slice(&out), relaxed);
	arena_drop(&a);
}

#define UNSIGNED(text, emptied, simple, relaxed) \
	check_unsigned(SLICE(text), SLICE(emptied), SLICE(simple), SLICE(relaxed))

static void test_unsigned(void **state)
{
	UNSIGNED("DKIM-Signature: a=1; b= AB\r\n CD ; c=2\r\n", " AB\r\n CD ",
		"DKIM-Signature: a=1; b=; c=2", "dkim-signature:a=1; b=; c=2");
	UNSIGNED("S: a=1;\r\n\tb=ABC=\r\n", "ABC=", "S: a=1;\r\n\tb=", "s:a=1; b=");
	UNSIGNED("S:b=A;  c = 2 \r\n", "A", "S:b=;  c = 2 ", "s:b=; c = 2");
	UNSIGNED("S:b=;  c = 2 \r\n", "", "S:b=;  c = 2 ", "s:b=; c = 2");
}

static struct slice chosen(struct arena *a, const struct header *h, struct slice names, uint32_t count)
{
	struct str out = STR_IN(a);
	struct canon_index index;

	canon_index_build(&index, a, h);
	assert_int_equal(canon_signed_fields(&out, CANON_RELAXED, &index, names, a), count);
	return str_slice(&out);
}

static void test_choice(void **state)
{
	struct arena a = ARENA_INIT;
	struct header h = parse(&a, SLICE("Received: 1\r\nFrom: f\r\nTo: t\r\nreceived: 2\r\nRECEIVED : 3\r\nX: x\r\n"));
	struct header none = parse(&a, SLICE("\r\n"));

	/* Section 5.4.2, its example: from the bottom upwards; what is not there is the null string. */
	assert_slice(chosen(&a, &h, SLICE("Received:From:Subject:Received"), 3),
		"received:3\r\nfrom:f\r\nreceived:2\r\n");
	assert_slice(chosen(&a, &h, SLICE("received : \r\n RECEIVED:received:received:received"), 3),
		"received:3\r\nreceived:2\r\nreceived:1\r\n");
	assert_slice(chosen(&a, &h, SLICE("from:from:x:to"), 3), "from:f\r\nx:x\r\nto:t\r\n");
	assert_slice(chosen(&a, &h, SLICE("aaa:zzz:froma:fro:"), 0), "");
	assert_slice(chosen(&a, &h, SLICE("a"), 0), "");
	assert_slice(chosen(&a, &h, SLICE_NULL, 0), "");
	assert_slice(chosen(&a, &none, SLICE("from:to"), 0), "");
	arena_drop(&a);
}

/* Each of many fields is found once, in the order from the bottom. */
static void test_many(void **state)
{
	struct arena a = ARENA_INIT;
	struct str text = STR_IN(&a), names = STR_IN(&a), expected = STR_IN(&a);
	struct header h;

	for (int i = 0; i < 3000; i++)
		str_printf(&text, "X-%c%d: %d\r\n", i % 2 ? 'a' : 'A', i % 7, i);
	for (int i = 2999; i >= 0; i--) {
		str_printf(&names, "%sx-a%d", i == 2999 ? "" : ":", i % 7);
		str_printf(&expected, "x-a%d:%d\r\n", i % 7, i);
	}
	h = parse(&a, str_slice(&text));
	assert_slices(chosen(&a, &h, str_slice(&names), 3000), str_slice(&expected));
	arena_drop(&a);
}

UNIT_MAIN(T(test_fields), T(test_unsigned), T(test_choice), T(test_many))
