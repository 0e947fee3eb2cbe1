/* message: the header section whole, octet by octet and in two pieces, good and broken. */
#include "unit.h"

#include "wire/message.h"

#define LIMIT 4096
#define FIELDS 50

struct parsed {
	struct header h;
	struct str body;	/* body_lead and what was not taken */
};

/* Pushes s in pieces of `first` octets and then `each`. */
static struct parsed parse_pieces(struct arena *a, struct slice s, size_t first, size_t each, uint32_t limit,
	uint32_t fields)
{
	struct parsed p = { .body = STR_IN(a) };
	bool was_done = false;

	header_init(&p.h, a, limit, fields);
	for (size_t at = 0; at < s.n;) {
		struct slice piece = slice_head(slice_from(s, at), at == 0 ? first : each);
		char *copy = malloc(piece.n);
		size_t taken;
		memcpy(copy, piece.p, piece.n);
		taken = header_push(&p.h, slice_make(copy, piece.n));
		assert_true(taken <= piece.n);
		assert_true(taken == piece.n || p.h.done);
		assert_true(!was_done || taken == 0);
		if (p.h.done && !was_done)
			str_add(&p.body, p.h.body_lead);
		was_done = p.h.done;
		str_add(&p.body, slice_from(piece, taken));
		free(copy);
		at += piece.n;
	}
	header_finish(&p.h);
	assert_true(p.h.done);
	if (!was_done)
		str_add(&p.body, p.h.body_lead);
	return p;
}

static void assert_same(const struct parsed *a, const struct parsed *b)
{
	assert_slices(str_slice(&b->h.bytes), str_slice(&a->h.bytes));
	assert_slices(str_slice(&b->body), str_slice(&a->body));
	assert_int_equal(b->h.count, a->h.count);
	assert_int_equal(b->h.blank_line, a->h.blank_line);
	assert_int_equal(b->h.malformed, a->h.malformed);
	assert_int_equal(b->h.too_large, a->h.too_large);
	for (uint32_t i = 0; i < a->h.count; i++) {
		assert_slices(b->h.fields[i].name, a->h.fields[i].name);
		assert_slices(b->h.fields[i].value, a->h.fields[i].value);
		assert_slices(b->h.fields[i].raw, a->h.fields[i].raw);
	}
}

/* Parses s in every cut and returns the result of one push. */
static struct parsed parse(struct arena *a, struct slice s)
{
	struct parsed whole = parse_pieces(a, s, s.n, 1, LIMIT, FIELDS);

	for (size_t first = 1; first < s.n; first++) {
		struct parsed cut = parse_pieces(a, s, first, s.n, LIMIT, FIELDS);
		assert_same(&whole, &cut);
		cut = parse_pieces(a, s, first, 1, LIMIT, FIELDS);
		assert_same(&whole, &cut);
	}
	return whole;
}

/* ---- good ones ---- */

static void test_fields_are_kept_as_they_came(void **state)
{
	struct arena a = ARENA_INIT;
	struct parsed p = parse(&a, SLICE("Received: from a\r\n\tby b;\r\n  now\r\nsubject:  x \r\nFROM\t : <a@b>\r\n"
		"Received:c\r\nEmpty:\r\nHigh: \303\244\377\r\n\r\nBody: no\r\n"));

	assert_true(p.h.blank_line && !p.h.malformed && !p.h.too_large);
	assert_int_equal(p.h.count, 6);
	assert_slice(p.h.fields[0].name, "Received");
	assert_slice(p.h.fields[0].value, " from a\r\n\tby b;\r\n  now");
	assert_slice(p.h.fields[0].raw, "Received: from a\r\n\tby b;\r\n  now\r\n");
	assert_slice(p.h.fields[2].name, "FROM");
	assert_slice(p.h.fields[2].value, " <a@b>");
	assert_slice(p.h.fields[2].raw, "FROM\t : <a@b>\r\n");
	assert_slice(p.h.fields[4].value, "");
	assert_slice(p.h.fields[5].value, " \303\244\377");
	assert_slice(str_slice(&p.body), "Body: no\r\n");
	assert_int_equal(header_count(&p.h, SLICE("received")), 2);
	assert_slice(header_field(&p.h, SLICE("RECEIVED"), 1)->value, "c");
	assert_null(header_field(&p.h, SLICE("Received"), 2));
	assert_null(header_field(&p.h, SLICE("Receive"), 0));
	assert_slice(field_unfolded(&a, &p.h.fields[0]), "from a\tby b;  now");
	assert_slice(field_unfolded(&a, &p.h.fields[1]), "x");
	assert_slice(field_unfolded(&a, &p.h.fields[4]), "");
	arena_drop(&a);
}

static void test_ends(void **state)
{
	struct arena a = ARENA_INIT;
	struct parsed p = parse(&a, SLICE("\r\nbody"));

	assert_true(p.h.blank_line && !p.h.malformed);
	assert_int_equal(p.h.count, 0);
	assert_slice(str_slice(&p.body), "body");

	p = parse(&a, SLICE(""));
	assert_false(p.h.blank_line || p.h.malformed);

	p = parse(&a, SLICE("A: b\r\n"));
	assert_false(p.h.blank_line || p.h.malformed);
	assert_int_equal(p.h.count, 1);

	p = parse(&a, SLICE("A: b\r\n c"));
	assert_false(p.h.malformed);
	assert_slice(p.h.fields[0].value, " b\r\n c");

	p = parse(&a, SLICE("A: b\r\n \r\n\r\n"));
	assert_true(p.h.blank_line);
	assert_slice(p.h.fields[0].raw, "A: b\r\n \r\n");
	assert_slice(field_unfolded(&a, &p.h.fields[0]), "b");
	arena_drop(&a);
}

/* ---- broken ones ---- */

static void malformed(const char *text, uint32_t count, const char *body)
{
	struct arena a = ARENA_INIT;
	struct parsed p = parse(&a, slice_of(text));

	assert_true(p.h.malformed);
	assert_false(p.h.blank_line);
	assert_int_equal(p.h.count, count);
	assert_slice(str_slice(&p.body), body);
	arena_drop(&a);
}

static void test_a_line_that_is_no_field_is_the_body(void **state)
{
	malformed("Hello world\r\nA: b\r\n", 0, "Hello world\r\nA: b\r\n");
	malformed("A: b\r\nHello, you\r\n\r\n", 1, "Hello, you\r\n\r\n");
	malformed("A: b\r\nHello\r\n\r\n", 1, "Hello\r\n\r\n");
	malformed(" folded nothing\r\nA: b\r\n", 0, " folded nothing\r\nA: b\r\n");
	malformed(": no name\r\n", 0, ": no name\r\n");
	malformed("From joe@example.org Mon Nov 23\r\nA: b\r\n", 0, "From joe@example.org Mon Nov 23\r\nA: b\r\n");
	malformed("N\303\244me: x\r\n", 0, "N\303\244me: x\r\n");
	malformed("A: b\r\n\rx\r\n", 1, "\rx\r\n");
	malformed("A: b\r\n\n\r\n", 1, "\n\r\n");
	malformed("A: b\r\nName", 1, "Name");
	malformed("A: b\r\nName ", 1, "Name ");
	malformed("A: b\r\n\r", 1, "\r");
}

static void test_bare_cr_and_lf_are_text(void **state)
{
	struct arena a = ARENA_INIT;
	struct parsed p = parse(&a, SLICE("A: b\nB: c\rC: d\r\r\nD: e\r\n\r\n"));

	assert_int_equal(p.h.count, 2);
	assert_slice(p.h.fields[0].value, " b\nB: c\rC: d\r");
	arena_drop(&a);
}

static void test_limits(void **state)
{
	struct arena a = ARENA_INIT;
	struct slice s = SLICE("A: 1\r\nB: 2\r\nC: 3\r\n\r\nbody");

	for (size_t each = 1; each <= s.n; each++) {
		struct parsed p = parse_pieces(&a, s, each, each, 20, 3);
		assert_true(p.h.blank_line && !p.h.too_large);
		assert_int_equal(p.h.count, 3);
		p = parse_pieces(&a, s, each, each, 17, 3);
		assert_true(p.h.too_large && !p.h.blank_line);
		assert_true(p.h.bytes.n <= 17);
		p = parse_pieces(&a, s, each, each, 4096, 2);
		assert_true(p.h.too_large);
		assert_int_equal(p.h.count, 2);
		assert_slice(p.h.fields[1].name, "B");
		p = parse_pieces(&a, s, each, each, 0, 0);
		assert_true(p.h.too_large);
		assert_int_equal(p.h.count, 0);
	}
	arena_drop(&a);
}

static void test_many_fields(void **state)
{
	struct arena a = ARENA_INIT;
	struct str s = STR_IN(&a);
	struct parsed p;

	for (unsigned i = 0; i < 1000; i++)
		str_printf(&s, "X-%u: %u\r\n", i, i);
	str_puts(&s, "\r\n");
	p = parse_pieces(&a, str_slice(&s), 7, 1460, 1 << 20, 1000);
	assert_true(p.h.blank_line);
	assert_int_equal(p.h.count, 1000);
	assert_slice(p.h.fields[999].name, "X-999");
	assert_slice(p.h.fields[500].value, " 500");
	arena_drop(&a);
}

/* ---- against a reader that looks at one octet after the other ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Length of the field line at s up to and with its colon; 0: it is none. *name: of the name. */
static size_t plain_name(struct slice s, size_t *name)
{
	size_t n = 0;

	while (n < s.n && s.p[n] > ' ' && s.p[n] <= '~' && s.p[n] != ':')
		n++;
	*name = n;
	while (n > 0 && n < s.n && is_blank(s.p[n]))
		n++;
	return n > 0 && n < s.n && s.p[n] == ':' ? n + 1 : 0;
}

/* Behind the next CRLF, or the end. */
static size_t plain_line(struct slice s, size_t at)
{
	while (at + 1 < s.n && (s.p[at] != '\r' || s.p[at + 1] != '\n'))
		at++;
	return at + 1 < s.n ? at + 2 : s.n;
}

static void assert_unfolded(struct arena *a, const struct field *f)
{
	struct slice v = slice_trim(f->value);
	struct str expected = STR_IN(a);

	for (size_t i = 0; i < v.n; i++) {
		if (i + 2 < v.n && v.p[i] == '\r' && v.p[i + 1] == '\n' && is_blank(v.p[i + 2]))
			i++;
		else
			str_addc(&expected, v.p[i]);
	}
	assert_slices(field_unfolded(a, f), str_slice(&expected));
}

static void assert_read(struct arena *a, struct slice s)
{
	struct parsed p = parse(a, s);
	size_t at = 0, name;

	for (uint32_t i = 0; i < p.h.count; i++) {
		size_t colon = plain_name(slice_from(s, at), &name);
		size_t end = plain_line(s, at + colon);
		assert_true(colon > 0);
		while (end < s.n && is_blank(s.p[end]))
			end = plain_line(s, end);
		assert_slices(p.h.fields[i].name, slice_head(slice_from(s, at), name));
		assert_slices(p.h.fields[i].raw, slice_head(slice_from(s, at), end - at));
		assert_true(slice_starts(slice_from(s, at + colon), p.h.fields[i].value));
		assert_unfolded(a, &p.h.fields[i]);
		at = end;
	}
	assert_int_equal(p.h.bytes.n, at);
	assert_int_equal(p.h.blank_line, slice_starts(slice_from(s, at), SLICE("\r\n")));
	assert_int_equal(p.h.malformed, at < s.n && !p.h.blank_line);
	assert_int_equal(plain_name(slice_from(s, at), &name), 0);
}

static void test_as_a_plain_reader_does(void **state)
{
	static const char *const words[] = { "A", "b-c", ":", ": d", "e:f", " ", "\t", "\r", "\n", "\r\n", "\r\n", "\r\n ",
		"X: y\r\n", "Long-Name-Of-A-Field: v\r\n", "\x7f", "\xc3\xbc" };
	uint64_t seed = 1;

	for (unsigned round = 0; round < 3000; round++) {
		struct arena a = ARENA_INIT;
		struct str s = STR_IN(&a);
		for (unsigned i = 0; i < 1 + round % 8; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			str_puts(&s, words[seed >> 60]);
		}
		assert_read(&a, str_slice(&s));
		arena_drop(&a);
	}
}

static void test_limit_within_a_name(void **state)
{
	struct arena a = ARENA_INIT;
	struct slice s = SLICE("A: 1\r\nLong-Name-Of-A-Field: 2\r\n\r\n");

	for (size_t each = 1; each <= s.n; each++) {
		struct parsed p = parse_pieces(&a, s, each, each, 12, 9);
		assert_true(p.h.too_large);
		assert_int_equal(p.h.bytes.n, 12);
		assert_int_equal(p.h.count, 1);
	}
	arena_drop(&a);
}

/* ---- Message-ID ---- */

static void message_id(const char *value, const char *expected)
{
	struct arena a = ARENA_INIT;
	struct str s = STR_IN(&a);
	struct parsed p;

	str_printf(&s, "message-id:%s\r\nMessage-ID: <second@x>\r\n\r\n", value);
	p = parse_pieces(&a, str_slice(&s), s.n, 1, LIMIT, FIELDS);
	assert_slice(header_message_id(&a, &p.h), expected);
	arena_drop(&a);
}

static void test_message_id(void **state)
{
	struct arena a = ARENA_INIT;
	struct parsed p = parse(&a, SLICE("A: b\r\n\r\n"));

	assert_int_equal(header_message_id(&a, &p.h).n, 0);
	arena_drop(&a);
	message_id(" <a.b@c.d>", "<a.b@c.d>");
	message_id("<a@b>", "<a@b>");
	message_id("\r\n <a@b>\r\n ", "<a@b>");
	message_id(" (one (two) \\) three) <a@b> (added by x)", "<a@b>");
	message_id(" <a\r\n @b>", "<a@b>");
	message_id(" <no-at-sign>", "<no-at-sign>");
	message_id(" <\"a>\\\"b\"@c>", "<\"a>\\\"b\"@c>");
	message_id(" <\303\244@b>", "<\303\244@b>");
	message_id(" a@b", "");
	message_id(" <>", "");
	message_id(" <a@b", "");
	message_id(" <a<b@c>", "");
	message_id(" (never ends <a@b>", "");
	message_id(" (\\", "");
	message_id(" <a\001@b>", "");
	message_id("", "");
}

static void test_message_id_is_bounded(void **state)
{
	char value[1100];

	memset(value, 'x', sizeof(value));
	value[0] = '<';
	value[997] = '>';
	value[998] = '\0';
	message_id(value, value);
	value[997] = 'x';
	value[998] = '>';
	value[999] = '\0';
	message_id(value, "");
}

UNIT_MAIN(T(test_fields_are_kept_as_they_came), T(test_ends), T(test_a_line_that_is_no_field_is_the_body),
	T(test_bare_cr_and_lf_are_text), T(test_limits), T(test_limit_within_a_name), T(test_many_fields),
	T(test_as_a_plain_reader_does), T(test_message_id), T(test_message_id_is_bounded))
