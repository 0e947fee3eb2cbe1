/* mime: structure as text, whole and cut anywhere; bombs within their bounds of time and memory. */
#include "unit.h"

#include "wire/mime.h"

#include <time.h>

/* What the events say: one line an entity, with its body. */
struct show {
	struct arena *arena;
	struct str out;
	enum mime_want want;
	bool bodies;
	size_t octets;
};

static enum mime_want show_begin(void *arg, struct mime_part *p)
{
	struct show *s = arg;

	str_printf(&s->out, "%u<%u d%u m%u %s/%s%s fields %u{", p->number, p->parent, p->depth, p->messages, p->type,
		p->subtype, p->is_message ? " message" : "", p->field_count);
	p->arg = arena_new(s->arena, struct str);
	*(struct str *)p->arg = STR_IN(s->arena);
	return s->want;
}

static void show_body(void *arg, struct mime_part *p, struct slice piece)
{
	struct show *s = arg;

	assert_true(piece.n > 0);
	s->octets += piece.n;
	if (s->bodies)
		str_add(p->arg, piece);
}

static void show_end(void *arg, struct mime_part *p)
{
	struct show *s = arg;

	str_printf(&s->out, "%u[", p->number);
	str_escaped(&s->out, str_slice(p->arg), 100000);
	str_printf(&s->out, "]%s%s%s}", p->cut ? " cut" : "", p->no_body ? " empty" : "", p->header_cut ? " long" : "");
}

static const struct mime_events show_events = { show_begin, show_body, show_end };

static struct slice show(struct arena *a, struct slice message, enum mime_want want, size_t step)
{
	struct show s = { .arena = a, .out = STR_IN(a), .want = want, .bodies = true };
	struct mime *m = mime_begin(a, &show_events, &s);

	while (message.n > 0) {
		mime_push(m, slice_head(message, step));
		message = slice_from(message, step);
	}
	mime_finish(m);
	return str_slice(&s.out);
}

/* The same whole and in pieces of 1, 2, 3 and 7 octets. */
static void shows(const char *message, enum mime_want want, const char *expected)
{
	static const size_t steps[] = { 100000, 1, 2, 3, 7 };
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < 5; i++)
		assert_slice(show(&a, slice_of(message), want, steps[i]), expected);
	arena_drop(&a);
}

static void leaf(void **state)
{
	shows("Subject: a\r\n\r\nbody\r\n--x\r\n", MIME_DECODED,
		"1<0 d0 m0 text/plain message fields 1{1[body\\x0D\\x0A--x\\x0D\\x0A]}");
	shows("", MIME_DECODED, "1<0 d0 m0 text/plain message fields 0{1[] empty}");
	shows("A: 1", MIME_DECODED, "1<0 d0 m0 text/plain message fields 1{1[] empty}");
	shows("no field\r\nbody", MIME_DECODED, "1<0 d0 m0 text/plain message fields 0{1[no field\\x0D\\x0Abody]}");
	shows("Content-Type: TEXT/Html; charset=x\n\nb", MIME_DECODED,
		"1<0 d0 m0 text/html message fields 1{1[b]}");
	shows("Content-Type: junk\r\n\r\nb", MIME_SKIP, "1<0 d0 m0 text/plain message fields 1{1[]}");
}

#define TWO "Content-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\npre\r\n--a b\r\n\r\none\r\n\r\n--a b \r\nX: y\r\n\r\n" \
	"two\r\n--a b-- \r\nepi\r\n"

static void multipart(void **state)
{
	shows(TWO, MIME_DECODED, "1<0 d0 m0 multipart/mixed message fields 1{2<1 d1 m0 text/plain fields 0{"
		"2[one\\x0D\\x0A]}3<1 d1 m0 text/plain fields 1{3[two]}1[preepi\\x0D\\x0A]}");
	/* Not delimiters: longer, shorter, indented, without the dashes. */
	shows("Content-Type: multipart/x; boundary=ab\r\n\r\n--ab\r\n\r\n--abc\r\n--a\r\n --ab\r\nab\r\n--ab-\r\n--ab--x\r\n--ab--",
		MIME_DECODED, "1<0 d0 m0 multipart/x message fields 1{2<1 d1 m0 text/plain fields 0{2[--abc\\x0D\\x0A--a"
		"\\x0D\\x0A --ab\\x0D\\x0Aab\\x0D\\x0A--ab-\\x0D\\x0A--ab--x]}1[]}");
	/* Not closed; a part whose header section is not ended. */
	shows("Content-Type: multipart/x; boundary=ab\r\n\r\n--ab\r\nA: b\r\n--ab\r\nC: d", MIME_DECODED,
		"1<0 d0 m0 multipart/x message fields 1{2<1 d1 m0 text/plain fields 1{2[] empty}"
		"3<1 d1 m0 text/plain fields 1{3[] cut empty}1[] cut}");
	/* No boundary: a leaf. */
	shows("Content-Type: multipart/x\r\n\r\n--ab\r\n", MIME_DECODED,
		"1<0 d0 m0 multipart/x message fields 1{1[--ab\\x0D\\x0A]}");
	/* Only LF. */
	shows("Content-Type: multipart/x; boundary=a\n\n--a\n\none\n\n--a--\n", MIME_DECODED,
		"1<0 d0 m0 multipart/x message fields 1{2<1 d1 m0 text/plain fields 0{2[one\\x0A]}1[]}");
}

static void nested(void **state)
{
	/* An inner multipart that is not closed ends with the outer delimiter. */
	shows("Content-Type: multipart/a; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/b; boundary=i\r\n\r\n--i\r\n\r\nx\r\n"
		"--o\r\n\r\ny\r\n--o--", MIME_DECODED,
		"1<0 d0 m0 multipart/a message fields 1{2<1 d1 m0 multipart/b fields 1{3<2 d2 m0 text/plain fields 0{"
		"3[x] cut}2[] cut}4<1 d1 m0 text/plain fields 0{4[y]}1[]}");
	/* Both have the same boundary: the inner one first. */
	shows("Content-Type: multipart/a; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/b; boundary=o\r\n\r\n--o\r\n\r\nx\r\n"
		"--o--\r\n--o--", MIME_DECODED,
		"1<0 d0 m0 multipart/a message fields 1{2<1 d1 m0 multipart/b fields 1{3<2 d2 m0 text/plain fields 0{"
		"3[x]}2[]}1[]}");
}

#define REPORT "Content-Type: multipart/report; boundary=o\r\n\r\n--o\r\n\r\ntext\r\n--o\r\n"

static void enclosed(void **state)
{
	/* The message part has the enclosed message as its body, header section and all. */
	shows(REPORT "Content-Type: message/rfc822\r\n\r\nSubject: s\r\nContent-Type: multipart/x; boundary=i\r\n\r\n--i\r\n"
		"\r\nb\r\n--i--\r\n--o--\r\n", MIME_DECODED,
		"1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[text]}"
		"3<1 d1 m0 message/rfc822 fields 1{4<3 d2 m1 multipart/x message fields 2{5<4 d3 m1 text/plain fields 0{5[b]}"
		"4[]}3[Subject: s\\x0D\\x0AContent-Type: multipart/x; boundary=i\\x0D\\x0A\\x0D\\x0A--i\\x0D\\x0A\\x0D\\x0Ab"
		"\\x0D\\x0A--i--]}1[]}");
	/* Cut off within its header section. */
	shows(REPORT "Content-Type: message/rfc822\r\n\r\nSubject: s\r\nTo: t\r\n--o--\r\n", MIME_DECODED,
		"1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[text]}"
		"3<1 d1 m0 message/rfc822 fields 1{4<3 d2 m1 text/plain message fields 2{4[] empty}"
		"3[Subject: s\\x0D\\x0ATo: t]}1[]}");
	/* A line that is no field ends its header section; the whole message is told as it stands. */
	shows(REPORT "Content-Type: message/rfc822\r\n\r\nSubject: s\r\nno field\r\nmore\r\n--o--\r\n", MIME_DECODED,
		"1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[text]}"
		"3<1 d1 m0 message/rfc822 fields 1{4<3 d2 m1 text/plain message fields 1{4[no field\\x0D\\x0Amore]}"
		"3[Subject: s\\x0D\\x0Ano field\\x0D\\x0Amore]}1[]}");
	/* The same line begins a message within it that is wanted as a whole, too. */
	shows(REPORT "Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\nno field\r\nmore\r\n--o--\r\n", MIME_DECODED,
		"1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[text]}"
		"3<1 d1 m0 message/rfc822 fields 1{4<3 d2 m1 message/rfc822 message fields 1{5<4 d3 m2 text/plain message fields 0{"
		"5[no field\\x0D\\x0Amore]}4[no field\\x0D\\x0Amore]}"
		"3[Content-Type: message/rfc822\\x0D\\x0Ano field\\x0D\\x0Amore]}1[]}");
	/* A blank line and a line of a mailbox before it. */
	shows(REPORT "Content-Type: message/rfc822\r\n\r\n\r\n>From x\r\nTo: t\r\n\r\nb\r\n--o--\r\n", MIME_SKIP,
		"1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[]}"
		"3<1 d1 m0 message/rfc822 fields 1{4<3 d2 m1 text/plain message fields 1{4[]}3[]}1[]}");
}

static void encoded(void **state)
{
	/* Subject: s, no field, more; in base64. */
	shows(REPORT "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogcw0Kbm8gZmllbGQNCm1vcmU=\r\n--o--\r\n",
		MIME_DECODED, "1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[text]}"
		"3<1 d1 m0 message/rfc822 fields 2{4<3 d2 m1 text/plain message fields 1{4[no field\\x0D\\x0Amore]}"
		"3[Subject: s\\x0D\\x0Ano field\\x0D\\x0Amore]}1[]}");
	shows("Content-Transfer-Encoding: BASE64\r\n\r\naGVs\r\nbG8=\r\n", MIME_DECODED,
		"1<0 d0 m0 text/plain message fields 1{1[hello]}");
	shows("Content-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8", MIME_RAW,
		"1<0 d0 m0 text/plain message fields 1{1[aGVs\\x0D\\x0AbG8]}");
	shows("Content-Transfer-Encoding: base64\r\n\r\na*G!Vs\r\nbG8", MIME_DECODED,
		"1<0 d0 m0 text/plain message fields 1{1[hello]}");
	shows("Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc =  \r\nd=zz=4", MIME_DECODED,
		"1<0 d0 m0 text/plain message fields 1{1[a=bc d=zz=4]}");
	/* A message in base64: "Subject: s\r\nContent-Type: multipart/x; boundary=i\r\n\r\n--i\r\n\r\nb\r\n--i--\r\n". */
	shows(REPORT "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		"U3ViamVjdDogcw0KQ29udGVudC1UeXBlOiBtdWx0aXBhcnQveDsgYm91bmRhcnk9aQ0KDQotLWkN\r\nCg0KYg0KLS1pLS0NCg==\r\n"
		"--o--\r\n", MIME_DECODED,
		"1<0 d0 m0 multipart/report message fields 1{2<1 d1 m0 text/plain fields 0{2[text]}"
		"3<1 d1 m0 message/rfc822 fields 2{4<3 d2 m1 multipart/x message fields 2{5<4 d3 m1 text/plain fields 0{5[b]}"
		"4[]}3[Subject: s\\x0D\\x0AContent-Type: multipart/x; boundary=i\\x0D\\x0A\\x0D\\x0A--i\\x0D\\x0A\\x0D\\x0Ab"
		"\\x0D\\x0A--i--\\x0D\\x0A]}1[]}");
}

static void digest(void **state)
{
	shows("Content-Type: multipart/digest; boundary=o\r\n\r\n--o\r\n\r\nSubject: s\r\n\r\nb\r\n--o--", MIME_SKIP,
		"1<0 d0 m0 multipart/digest message fields 1{2<1 d1 m0 message/rfc822 fields 0{"
		"3<2 d2 m1 text/plain message fields 1{3[]}2[]}1[]}");
}

/* ---- fields ---- */

static const char *parameter(struct arena *a, const char *value, const char *name)
{
	struct slice out;

	return mime_parameter(a, slice_of(value), slice_of(name), &out) ? slice_cstr(a, out) : NULL;
}

static void parameters(void **state)
{
	struct arena a = ARENA_INIT;

	assert_string_equal(parameter(&a, "text/plain; a=b", "a"), "b");
	assert_string_equal(parameter(&a, "text/plain;A=\"b \\\"c;d=e\";d=f", "a"), "b \"c;d=e");
	assert_string_equal(parameter(&a, "text/plain;A=\"b;d=e\" ;d=f", "D"), "f");
	assert_string_equal(parameter(&a, "x/y; (comment) n (c) = (d) v (e)", "n"), "v");
	assert_string_equal(parameter(&a, "x/y; n=\"no end", "n"), "no end");
	assert_string_equal(parameter(&a, "x/y; n=", "n"), "");
	assert_null(parameter(&a, "x/y; nn=1", "n"));
	assert_null(parameter(&a, "x/y", "n"));
	/* RFC 2231 sections 3 and 4.1. */
	assert_string_equal(parameter(&a, "x/y; URL*1=\"b\"; URL*0=\"a\"; url*2=c; url*4=e", "url"), "abc");
	assert_string_equal(parameter(&a, "x/y; title*0*=us-ascii'en'This%20is%20even%20more%20;"
		" title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"", "title"), "This is even more ***fun*** isn't it!");
	assert_string_equal(parameter(&a, "x/y; t*=iso-8859-1''%FC%80; t=plain", "t"), "\xc3\xbc\xe2\x82\xac");
	arena_drop(&a);
}

static void words(void **state)
{
	struct arena a = ARENA_INIT;
	struct str far = STR_IN(&a);

	assert_slice(mime_words(&a, SLICE("=?iso-8859-1?q?a=FC_b?= =?utf-8?B?w7w=?= c")), "a\xc3\xbc b\xc3\xbc c");
	assert_slice(mime_words(&a, SLICE("x =?a?b?c")), "x =?a?b?c");
	assert_slice(mime_words(&a, SLICE("=?utf-8?x?c?=")), "=?utf-8?x?c?=");
	/* What is none, or has its end too far away, before one that is. */
	assert_slice(mime_words(&a, SLICE("=?a?x?b =?utf-8?q?A?=")), "=?a?x?b A");
	assert_slice(mime_words(&a, SLICE("=?a?q?b=?c?q?d?=")), "b=?c?q?d");
	str_puts(&far, "=?a?q?");
	while (far.n < 2100)
		str_puts(&far, "x");
	str_puts(&far, " =?utf-8?q?A?=");
	assert_slice(slice_from(mime_words(&a, str_slice(&far)), 2099), "x A");
	assert_slice(mime_words(&a, SLICE("plain")), "plain");
	arena_drop(&a);
}

static enum mime_want name_begin(void *arg, struct mime_part *p)
{
	struct show *s = arg;

	str_add(&s->out, mime_file_name(s->arena, p));
	str_addc(&s->out, '|');
	return MIME_SKIP;
}

static void file_names(void **state)
{
	static const struct mime_events events = { .part_begin = name_begin };
	struct arena a = ARENA_INIT;
	struct show s = { .arena = &a, .out = STR_IN(&a) };
	struct mime *m = mime_begin(&a, &events, &s);

	mime_push(m, SLICE("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment;\r\n"
		" filename=\"a.exe\"\r\n\r\n--b\r\nContent-Type: x/y; name=\"=?utf-8?q?=C3=BC.exe?=\"\r\n\r\n--b\r\n"
		"Content-Disposition: attachment\r\n\r\n"));
	mime_finish(m);
	assert_slice(str_slice(&s.out), "|a.exe|\xc3\xbc.exe||");
	arena_drop(&a);
}

/* ---- bombs: 20 MB each ---- */

#define BOMB (20u << 20)

/* Feeds `head`, then `unit` until BOMB octets are through, then `tail`. Returns ms of CPU. */
static double bomb_once(const char *head, struct slice block, const char *tail, size_t *memory, uint32_t *count)
{
	struct arena a = ARENA_INIT, b = ARENA_INIT;
	struct show s = { .arena = &b, .out = STR_IN(&b), .want = MIME_DECODED };
	struct mime *m = mime_begin(&a, &show_events, &s);
	struct timespec t0, t1;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
	mime_push(m, slice_of(head));
	for (size_t n = 0; n < BOMB; n += block.n)
		mime_push(m, block);
	mime_push(m, slice_of(tail));
	mime_finish(m);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
	*memory = arena_bytes(&a);
	*count = mime_count(m);
	arena_drop(&a);
	arena_drop(&b);
	return (double)(t1.tv_sec - t0.tv_sec) * 1e3 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e6;
}

/* The best of five, since others use the machine too. */
static void bomb(const char *head, const char *unit, const char *tail)
{
	struct arena a = ARENA_INIT;
	struct str block = STR_IN(&a);
	double best = 1e9;
	size_t memory = 0;
	uint32_t count;

	while (block.n < 65536)
		str_puts(&block, unit);
	for (int i = 0; i < 5 && best >= 50; i++) {
		double ms = bomb_once(head, str_slice(&block), tail, &memory, &count);
		best = ms < best ? ms : best;
	}
	print_message("%7.1f ms, %4zu KiB, %u entities: %.20s\n", best, memory / 1024, count, unit);
	assert_true(memory < 600 * 1024);
	assert_true(count <= MIME_PARTS_MAX + 1);
#ifndef __SANITIZE_ADDRESS__
	assert_true(best < 200);	/* 80 at most where nothing else runs; neighbours take cache and clock away */
#endif
	arena_drop(&a);
}

static void bombs(void **state)
{
	bomb("", "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n", "");
	bomb("", "Content-Type: message/rfc822\r\n\r\n", "");
	bomb("Content-Type: multipart/mixed; boundary=a\r\n\r\n", "--a\r\n\r\n", "--a--\r\n");
	bomb("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n", "a:\r\n", "\r\n--a--\r\n");
	bomb("", "a: b\r\n", "\r\n");
	bomb("Subject: ", "long ", "\r\n\r\n");
	bomb("Content-Type: text/plain; x", "*0=a;x", "\r\n\r\n");
	bomb("Content-Type: multipart/mixed; boundary=aaaa\r\n\r\n--aaaa\r\n\r\n", "--aaa\r\n", "");
	bomb("Content-Type: multipart/mixed; boundary=aaaa\r\n\r\n--aaaa\r\n\r\n", "-", "");
	bomb("Content-Type: multipart/mixed; boundary=aaaa\r\n\r\n--aaaa\r\n\r\n", "\r", "");
	bomb("Content-Transfer-Encoding: base64\r\n\r\n", "aGVsbG8gd29ybGQhaGVsbG8gd29ybGQhaGVsbG8gd29ybGQh\r\n", "");
	bomb("Content-Transfer-Encoding: base64\r\n\r\n", "a=", "");
	bomb("Content-Transfer-Encoding: quoted-printable\r\n\r\n", "=41", "");
	bomb("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
		"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", "");
}

/* Twenty open multiparts, and lines that are nearly the boundary of all of them. */
static void bomb_of_boundaries(void **state)
{
	struct arena a = ARENA_INIT;
	struct str head = STR_IN(&a);

	for (int i = 0; i < 19; i++)
		str_printf(&head, "Content-Type: multipart/mixed; boundary=bbbbbbbbbbbb%d\r\n\r\n--bbbbbbbbbbbb%d\r\n", i, i);
	bomb(str_cstr(&head), "--bbbbbbbbbbbb\r\n", "");
	arena_drop(&a);
}

/* ---- what the consumer is spared ---- */

struct counted {
	unsigned pieces, parts, plain;
	struct str types;
};

static enum mime_want counted_begin(void *arg, struct mime_part *p)
{
	struct counted *c = arg;

	c->parts++;
	c->plain += p->header_plain;
	assert_ptr_equal(p->content_type, mime_field(p, SLICE("content-type"), 0));
	assert_ptr_equal(p->content_disposition, mime_field(p, SLICE("content-disposition"), 0));
	str_addc(&c->types, p->content_type ? 't' : '-');
	str_addc(&c->types, p->content_disposition ? 'd' : '-');
	return MIME_DECODED;
}

static void counted_body(void *arg, struct mime_part *p, struct slice piece)
{
	struct counted *c = arg;

	assert_false(p->enough);
	c->pieces++;
	p->enough = true;
}

static struct counted count_pieces(struct arena *a, struct slice message, size_t step)
{
	static const struct mime_events events = { counted_begin, counted_body, NULL };
	struct counted c = { .types = STR_IN(a) };
	struct mime *m = mime_begin(a, &events, &c);

	for (; message.n > 0; message = slice_from(message, step))
		mime_push(m, slice_head(message, step));
	mime_finish(m);
	return c;
}

/* Who has enough of a body hears no more of it, and of the others as before; also of the message in an encoded one. */
static void enough(void **state)
{
	struct slice message = SLICE("content-type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Disposition: inline\r\n\r\none\r\n"
		"two\r\n\r\n--a\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition:\r\n b\r\n\r\n"
		"b25lb25l\r\nb25l\r\nb25l\r\n--a\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		"QTogYg0KDQpvbmUNCnR3bw0KdGhyZWUNCg==\r\n--a--\r\n");
	static const size_t steps[] = { 100000, 1, 5 };
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < 3; i++) {
		struct counted c = count_pieces(&a, message, steps[i]);
		assert_int_equal(c.parts, 5);
		assert_int_equal(c.pieces, 4);
		assert_slice(str_slice(&c.types), "t--dtdt---");
		assert_int_equal(c.plain, i == 0 ? 5 : 0);
	}
	arena_drop(&a);
}

/* What is no plain header section is known as such, whatever the fault. */
static void plain_sections(void **state)
{
	static const char *const odd[] = { "A: b\n\r\nx", "A: b\r\n\nx", "A: b\r\nc\r\n\r\nx", " A: b\r\n\r\nx", "A: b\r\nboundary=c\r\n\r\nx",
		"A: b\r\nfoo=c: d\r\n\r\nx", "A: b\r\n-c: d\r\n\r\nx", "A: b\r\n\r", "A: b\r\nC\r\n: d\r\n\r\nx", "From a\r\nA: b\r\n\r\n" };
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_int_equal(count_pieces(&a, slice_of(odd[i]), 1000).plain, 0);
	assert_int_equal(count_pieces(&a, SLICE("A : b\r\n c\r\n\td\r\nE:\r\n\r\nx"), 1000).plain, 1);
	arena_drop(&a);
}

UNIT_MAIN(T(leaf), T(multipart), T(nested), T(enclosed), T(encoded), T(digest), T(parameters), T(words), T(file_names),
	T(bombs), T(bomb_of_boundaries), T(enough), T(plain_sections))
