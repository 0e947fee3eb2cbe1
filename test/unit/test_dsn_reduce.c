/* dsn_reduce: what a report returns becomes its header section, all else stays octet for octet, and in doubt nothing is done. */
#include "unit.h"

#include "wire/dsn_reduce.h"

#include <time.h>

static struct arena arena;

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

static void collect(void *arg, struct slice piece)
{
	assert_true(piece.n > 0);
	str_add(arg, piece);
}

/* The reduced body, or "!why"; *dropped as said. */
static struct slice reduced(const char *type, struct slice body, size_t step, uint64_t *dropped)
{
	struct str out = STR_IN(&arena);
	struct dsn_reducer *r;
	const char *why = NULL;
	struct header h;

	header_init(&h, &arena, 65536, 100);
	header_push(&h, slice_of(arena_printf(&arena, "Subject: x\r\nContent-Type: %s\r\n\r\n", type)));
	r = dsn_reduce_begin(&arena, &h, collect, &out, &why);
	if (!r)
		return slice_of(arena_printf(&arena, "!%s", why));
	for (; body.n > 0; body = slice_from(body, step))
		dsn_reduce_push(r, slice_head(body, step));
	if (!dsn_reduce_finish(r, dropped, &why))
		return slice_of(arena_printf(&arena, "!%s", why));
	return str_slice(&out);
}

#define REPORT "multipart/report; report-type=delivery-status; boundary=\"b/1\""

static void assert_reduced(const char *type, const char *body, const char *expected, uint64_t octets)
{
	static const size_t steps[] = { 1, 2, 7, 64, 100000 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t dropped = 0;

		assert_slice(reduced(type, slice_of(body), steps[i], &dropped), expected);
		assert_int_equal(dropped, octets);
	}
}

#define LEAD "preamble\r\n--b/1\r\nContent-Type: text/plain\r\n\r\n-- \r\nIt --b/1 failed.\r\n--b/1x\r\n\r\n" \
	"--b/1\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n" \
	"Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\n\r\n--b/1 \t\r\n"
#define END "\r\n--b/1--\r\nepilogue\r\n"

static void the_body_of_what_is_returned_is_left_out(void **state)
{
	assert_reduced(REPORT, LEAD "Content-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\n"
		"Received: by x;\r\n\tdate\r\nSubject: buy\r\nMessage-ID: <1@x.example>\r\n\r\nBuy\r\n--inner\r\nnow!\r\n" END,
		LEAD "Content-Description: Undelivered Message\r\nContent-Type: text/rfc822-headers\r\n\r\n"
		"Received: by x;\r\n\tdate\r\nSubject: buy\r\nMessage-ID: <1@x.example>\r\n" END, 22);
}

static void what_was_reduced_stays_as_it_is(void **state)
{
	const char *body = LEAD "Content-Type: text/rfc822-headers\r\n\r\nSubject: buy\r\n" END;

	assert_reduced(REPORT, body, body, 0);
	body = LEAD "Content-Type: application/pdf\r\n\r\nmessage/rfc822\r\n" END;
	assert_reduced(REPORT, body, body, 0);
}

static void a_message_without_a_body_counts_nothing(void **state)
{
	assert_reduced("multipart/mixed; boundary=b/1", LEAD "Content-Type: message/rfc822\r\n\r\nSubject: buy\r\n" END,
		LEAD "Content-Type: text/rfc822-headers\r\n\r\nSubject: buy\r\n" END, 0);
}

static void a_line_that_is_no_field_ends_the_header(void **state)
{
	assert_reduced(REPORT, LEAD "Content-Type: message/rfc822\r\n\r\nSubject: buy\r\nno field\r\nmore\r\n" END,
		LEAD "Content-Type: text/rfc822-headers\r\n\r\nSubject: buy\r\n" END, 18);
}

static void eight_bits_are_declared(void **state)
{
	assert_reduced(REPORT, LEAD "content-type: MESSAGE/Global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"Subject: b\xc3\xbc\r\n\r\nbody\r\n" END,
		LEAD "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: b\xc3\xbc\r\n" END, 8);
}

/* "Subject: buy LF From: a@b.example LF LF body", and with an u umlaut. */
static void encoded_messages_are_decoded(void **state)
{
	assert_reduced(REPORT, LEAD "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		"U3ViamVjdDogYnV5CkZyb206IGFAYi5leGFtcGxlCgpib2R5Cg==\r\n" END,
		LEAD "Content-Type: text/rfc822-headers\r\n\r\nSubject: buy\r\nFrom: a@b.example\r\n" END, 5);
	assert_reduced(REPORT, LEAD "Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		"Subject: b=C3=BC =\r\nx=3D\r\nTo:  \r\n =20\r\n\r\nbody\r\n" END,
		LEAD "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		"Subject: b=C3=BC x=3D\r\nTo: =20\r\n =20\r\n" END, 8);
}

static void long_lines_are_folded_when_encoded(void **state)
{
	struct str body = STR_IN(&arena);
	uint64_t dropped;
	struct slice out;

	str_puts(&body, LEAD "Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSubject: ");
	for (int i = 0; i < 500; i++)
		str_puts(&body, "=C3=BC");
	str_puts(&body, "\r\n\r\nbody\r\n" END);
	out = reduced(REPORT, str_slice(&body), 1000, &dropped);
	assert_true(slice_search(out, SLICE("=C3")) > 0);
	while (out.n > 0) {
		ptrdiff_t end = slice_search(out, SLICE("\r\n"));

		assert_in_range(end, 0, 78);
		out = slice_from(out, (size_t)end + 2);
	}
}

static void several_are_reduced(void **state)
{
	assert_reduced(REPORT, LEAD "Content-Type: message/rfc822\r\n\r\nA: 1\r\n\r\nx\r\n\r\n--b/1\r\n"
		"Content-Type: message/rfc822\r\n\r\nB: 1\r\n\r\ny\r\n" END,
		LEAD "Content-Type: text/rfc822-headers\r\n\r\nA: 1\r\n\r\n--b/1\r\n"
		"Content-Type: text/rfc822-headers\r\n\r\nB: 1\r\n" END, 10);
}

#define WRAPPED "multipart/mixed; boundary=outer"
#define INNER "--outer\r\nContent-Type: " REPORT "\r\n\r\n"
#define FOOTER "--outer\r\nContent-Type: text/plain\r\n\r\nThis mail was checked.\r\n--outer--\r\n"

static void a_wrapped_report(void **state)
{
	assert_reduced(WRAPPED, INNER LEAD "Content-Type: message/rfc822\r\n\r\nSubject: buy\r\n\r\nBuy\r\n--outer-\r\n" END
		FOOTER, INNER LEAD "Content-Type: text/rfc822-headers\r\n\r\nSubject: buy\r\n" END FOOTER, 17);
	/* Another one behind it, and parts of parts; a digest consists of messages. */
	assert_reduced(WRAPPED, "--outer\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\n"
		"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: one\r\n\r\n1\r\n--d\r\n"
		"Content-Type: text/plain\r\n\r\ntext\r\n--d--\r\n--r--\r\n--outer\r\nContent-Type: message/rfc822\r\n\r\n"
		"Subject: two\r\n\r\n22\r\n--outer--\r\n",
		"--outer\r\nContent-Type: multipart/related; boundary=r\r\n\r\n--r\r\n"
		"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\nContent-Type: text/rfc822-headers\r\n\r\n"
		"Subject: one\r\n\r\n--d\r\nContent-Type: text/plain\r\n\r\ntext\r\n--d--\r\n--r--\r\n--outer\r\n"
		"Content-Type: text/rfc822-headers\r\n\r\nSubject: two\r\n\r\n--outer--\r\n", 7);
}

static void a_wrapping_in_doubt(void **state)
{
	struct str deep = STR_IN(&arena);
	uint64_t dropped;

	assert_slice(reduced(WRAPPED, SLICE(INNER "--b/1\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx\r\n"
		"--outer--\r\n"), 1, &dropped), "!a multipart within it is not closed");
	assert_slice(reduced(WRAPPED, SLICE(INNER "--b/1--\r\n--b/1\r\n--b/1--\r\n--outer--\r\n"), 1, &dropped),
		"!it goes on behind its end");
	assert_slice(reduced(WRAPPED, SLICE("--outer\r\nContent-Type: multipart/signed; boundary=s\r\n\r\n--s--\r\n"
		"--outer--\r\n"), 1, &dropped), "!a part of it is signed");
	assert_slice(reduced(WRAPPED, SLICE("--outer\r\nContent-Type: multipart/mixed; boundary=s\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n--s--\r\n--outer--\r\n"), 1, &dropped),
		"!a multipart within it is encoded");
	assert_slice(reduced(WRAPPED, SLICE("--outer\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n--outer--\r\n"),
		1, &dropped), "!a multipart within it has the same boundary");
	assert_slice(reduced(WRAPPED, SLICE("--outer\r\nContent-Type: multipart/mixed\r\n\r\n--outer--\r\n"), 1, &dropped),
		"!its parts have no boundary");
	str_puts(&deep, "--outer\r\n");
	for (int i = 0; i < 9; i++)
		str_printf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
	assert_slice(reduced(WRAPPED, str_slice(&deep), 1, &dropped), "!its parts are nested too deeply");
}

static void in_doubt_nothing_is_done(void **state)
{
	uint64_t n;

	assert_slice(reduced("text/plain", SLICE("x"), 1, &n), "!it is no multipart/report");
	assert_slice(reduced("multipart/signed; boundary=b/1", SLICE("x"), 1, &n), "!it is no multipart/report");
	assert_slice(reduced("multipart/report; boundary=x\r\nContent-Type: text/plain", SLICE("x"), 1, &n),
		"!it is no multipart/report");
	assert_slice(reduced("multipart/report", SLICE("x"), 1, &n), "!its parts have no boundary");
	assert_slice(reduced("multipart/report; boundary=\"  \"", SLICE("x"), 1, &n), "!its parts have no boundary");
	assert_slice(reduced(REPORT, SLICE(LEAD "Content-Type: message/rfc822\r\n\r\nA: 1\r\n\r\nx\r\n"), 9, &n),
		"!its last part is not closed");
	assert_slice(reduced(REPORT, SLICE(LEAD "Content-Type: message/rfc822\r\n\r\n>From x\r\nA: 1\r\n" END), 9, &n),
		"!what it returns begins with no header field");
	assert_slice(reduced(REPORT, SLICE(LEAD END "--b/1\r\n"), 9, &n), "!it goes on behind its end");
	assert_slice(reduced(REPORT, SLICE(LEAD "Content-Type: message/rfc822\r\nno field\r\n\r\nA: 1\r\n" END), 9, &n),
		"!the header section of what it returns is broken");
	assert_slice(reduced(REPORT, SLICE(LEAD "Content-Type: message/rfc822\r\n\r\n" END), 9, &n),
		"!what it returns begins with no header field");
}

/* A hundred megabytes of what would be a delimiter, a header that does not end, parts without end. */
static void bombs_are_bounded(void **state)
{
	struct str bomb = STR_IN(&arena);
	clock_t began = clock();
	uint64_t n;

	str_puts(&bomb, LEAD "Content-Type: message/rfc822\r\n\r\nA: 1\r\n\r\n");
	while (bomb.n < (8u << 20))
		str_puts(&bomb, "--b/1 \t \t \t --------------\r\n--b/1-\r\n-\r\n--\r\n");
	str_puts(&bomb, END);
	assert_true(reduced(REPORT, str_slice(&bomb), 65536, &n).n < 1000);
	bomb.n = 0;
	str_puts(&bomb, LEAD "Content-Type: message/rfc822\r\n\r\nA: 1\r\n");
	while (bomb.n < (2u << 20))
		str_puts(&bomb, " folded and folded and folded and folded\r\n");
	assert_slice(reduced(REPORT, str_slice(&bomb), 65536, &n), "!the header section that it returns is too long");
	bomb.n = 0;
	while (bomb.n < (2u << 20))
		str_puts(&bomb, "--b/1\r\n\r\n");
	assert_slice(reduced(REPORT, str_slice(&bomb), 65536, &n), "!it has too many parts");
	assert_true(clock() - began < 20 * CLOCKS_PER_SEC);
}

#define S(f) cmocka_unit_test_teardown(f, teardown)

UNIT_MAIN(S(the_body_of_what_is_returned_is_left_out), S(what_was_reduced_stays_as_it_is),
	S(a_message_without_a_body_counts_nothing), S(a_line_that_is_no_field_ends_the_header), S(eight_bits_are_declared),
	S(encoded_messages_are_decoded), S(long_lines_are_folded_when_encoded), S(several_are_reduced),
	S(a_wrapped_report), S(a_wrapping_in_doubt),
	S(in_doubt_nothing_is_done), S(bombs_are_bounded))
