/* The message that a bounce returns, taken out of the content while that is read again. */
#include "unit.h"

#include "check/content_scan.h"

static const char *content;
static size_t step;	/* octets that the source gives at once */
static bool broken;	/* in the middle */

static ptrdiff_t read_some(void *arg, struct content_cursor *at, char *to, size_t room)
{
	size_t left = strlen(content) - (size_t)at->wire, n = step < room ? step : room;

	(void)arg;
	if (broken && at->wire > strlen(content) / 2)
		return -1;
	n = n < left ? n : left;
	memcpy(to, content + at->wire, n);
	at->wire += n;
	return (ptrdiff_t)n;
}

/* All pieces, joined; NULL: the source could not be read. */
static const char *returned(struct arena *a)
{
	struct pieces *p = content_returned(a, (struct content_source){ .read = read_some });
	struct str out = STR_IN(a);
	struct slice piece;

	while (p->next(p, &piece)) {
		if (piece.n == 0)
			return str_cstr(&out);
		str_add(&out, piece);
	}
	return NULL;
}

static void assert_returns(const char *message, const char *expected)
{
	static const size_t steps[] = { 1, 2, 7, 64, 100000 };

	content = message;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct arena a = ARENA_INIT;

		step = steps[i];
		assert_string_equal(returned(&a), expected);
		arena_drop(&a);
	}
}

#define HEAD "From: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; boundary=r\r\n\r\n"
#define TEXT "preamble\r\n--r\r\n\r\nSorry.\r\n"
#define INNER "From: us\r\nSubject: returned\r\n\r\nIts body.\r\n--not a delimiter\r\n"

static void as_it_stands(void **state)
{
	(void)state;
	assert_returns(HEAD TEXT "--r\r\nContent-Type: message/rfc822\r\n\r\n" INNER "\r\n--r--\r\nepilogue\r\n", INNER);
	assert_returns("Content-Type: message/rfc822\r\n\r\n" INNER, INNER);
}

static void its_encoding_is_undone(void **state)
{
	(void)state;
	assert_returns(HEAD TEXT "--r\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		"RnJvbTogdXMNCg0K\r\nSGVsbG8NCg==\r\n\r\n--r--\r\n", "From: us\r\n\r\nHello\r\n");
	assert_returns(HEAD "--r\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
		"From: us=0D=0A=0D=0AHe=\r\nllo\r\n--r--\r\n", "From: us\r\n\r\nHello");
}

/* With what it encloses itself, whole. */
static void the_first_alone(void **state)
{
	const char *nested = "From: us\r\nContent-Type: message/rfc822\r\n\r\nFrom: inner\r\n\r\nbody\r\n";
	struct arena a = ARENA_INIT;

	(void)state;
	assert_returns(arena_printf(&a, HEAD "--r\r\nContent-Type: message/rfc822\r\n\r\n%s\r\n--r\r\n"
		"Content-Type: message/rfc822\r\n\r\nFrom: second\r\n\r\n--r--\r\n", nested), nested);
	arena_drop(&a);
}

static void none_there(void **state)
{
	(void)state;
	assert_returns("", "");
	assert_returns(HEAD TEXT "--r--\r\n", "");
	assert_returns(HEAD "--r\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: us\r\n\r\n--r--\r\n", "");
	assert_returns(HEAD "--r\r\nContent-Type: message/rfc822\r\n\r\n--r--\r\n", "");
}

static void cut_off(void **state)
{
	(void)state;
	assert_returns(HEAD "--r\r\nContent-Type: message/rfc822\r\n\r\nFrom: us\r\n\r\nits bo", "From: us\r\n\r\nits bo");
}

static void what_cannot_be_read_is_no_message(void **state)
{
	struct arena a = ARENA_INIT;

	(void)state;
	content = HEAD "--r\r\nContent-Type: message/rfc822\r\n\r\n" INNER "--r--\r\n";
	step = 10;
	broken = true;
	assert_null(returned(&a));
	broken = false;
	arena_drop(&a);
}

UNIT_MAIN(cmocka_unit_test(as_it_stands), cmocka_unit_test(its_encoding_is_undone), cmocka_unit_test(the_first_alone),
	cmocka_unit_test(none_there), cmocka_unit_test(cut_off), cmocka_unit_test(what_cannot_be_read_is_no_message))
