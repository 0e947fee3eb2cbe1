/* Packets of the milter protocol: what is written, what is read, and what is no packet. */
#include "unit.h"

#include "wire/milter_packet.h"

static struct arena arena;
static const char *why;

static int teardown(void **state)
{
	(void)state;
	arena_drop(&arena);
	return 0;
}

#define test(f) cmocka_unit_test_teardown(f, teardown)
#define BYTES(literal) slice_make(literal, sizeof(literal) - 1)

static void a_packet_counts_what_follows(void **state)
{
	struct str out = STR_IN(&arena);
	size_t at = milter_packet_begin(&out, MILTER_CONNECT);

	(void)state;
	milter_put_string(&out, SLICE("mx"));
	str_addc(&out, '4');
	milter_put_u16(&out, 0x1234);
	milter_put_string(&out, BYTES("1.2\0003.4"));
	milter_packet_end(&out, at);
	assert_slices(str_slice(&out), BYTES("\0\0\0\x0f" "Cmx\0" "4\x12\x34" "1.2?3.4\0"));
}

static void a_head_is_bounded(void **state)
{
	size_t n = 7;
	char word = 0;

	(void)state;
	assert_true(milter_head_parse(BYTES("\0\0\0\1c"), &word, &n, &why));
	assert_int_equal(word, 'c');
	assert_int_equal(n, 0);
	assert_true(milter_head_parse(BYTES("\0\x10\0\1b"), &word, &n, &why));
	assert_int_equal(n, MILTER_PACKET_MOST);
	assert_false(milter_head_parse(BYTES("\0\0\0\0c"), &word, &n, &why));
	assert_false(milter_head_parse(BYTES("\x7f\xff\xff\xff" "b"), &word, &n, &why));
	assert_false(milter_head_parse(BYTES("\xff\xff\xff\xff" "b"), &word, &n, &why));
}

static bool options(struct slice data, struct milter_options *o)
{
	static const struct milter_options offered = { .version = 6, .actions = 0x131, .steps = 0x1ff7ff };

	why = NULL;
	return milter_options_parse(o, data, &offered, &why);
}

static void options_are_cut_to_what_was_offered(void **state)
{
	struct milter_options o;

	(void)state;
	assert_true(options(BYTES("\0\0\0\6" "\0\0\1\xff" "\0\0\0\x42"), &o));
	assert_int_equal(o.version, 6);
	assert_int_equal(o.actions, 0x131);
	assert_int_equal(o.steps, 0x42);
	assert_null(o.macros[MILTER_AT_MAIL].p);
	assert_true(options(BYTES("\0\0\0\2" "\0\0\0\0" "\0\0\0\0" "\0\0\0\2{mail_addr} i\0\0\0\0\5\0"), &o));
	assert_slice(o.macros[MILTER_AT_MAIL], "{mail_addr} i");
	assert_int_equal(o.macros[MILTER_AT_EOM].n, 0);
	assert_non_null(o.macros[MILTER_AT_EOM].p);
}

static void options_that_cannot_be(void **state)
{
	struct milter_options o = { .version = 99 };

	(void)state;
	assert_false(options(BYTES("\0\0\0\6" "\0\0\0\0" "\0\0\0"), &o));
	assert_false(options(BYTES("\0\0\0\1" "\0\0\0\0" "\0\0\0\0"), &o));
	assert_false(options(BYTES("\0\0\0\7" "\0\0\0\0" "\0\0\0\0"), &o));
	assert_false(options(BYTES("\0\0\0\6" "\0\0\0\0" "\0\0\x08\0"), &o));		/* rejected recipients */
	assert_false(options(BYTES("\0\0\0\6" "\0\0\0\0" "\0\x20\0\0"), &o));		/* not known */
	assert_false(options(BYTES("\0\0\0\6" "\0\0\0\0" "\0\0\0\0" "\0\0\0\7x\0"), &o));	/* no such stage */
	assert_false(options(BYTES("\0\0\0\6" "\0\0\0\0" "\0\0\0\0" "\0\0\0\2x"), &o));	/* half a list */
	assert_int_equal(o.version, 99);
}

static bool parse(struct milter_response *r, char word, struct slice data)
{
	why = NULL;
	return milter_response_parse(r, word, data, &arena, &why);
}

static void changes_of_fields(void **state)
{
	struct milter_response r;

	(void)state;
	assert_true(parse(&r, 'h', BYTES("X-Spam\0yes\n\tvery\0")));
	assert_slice(r.name, "X-Spam");
	assert_slice(r.value, "yes\n\tvery");
	assert_true(parse(&r, 'i', BYTES("\0\0\0\1X\0\0")));
	assert_int_equal(r.index, 1);
	assert_true(parse(&r, 'm', BYTES("\0\0\0\2Subject\0\0")));
	assert_int_equal(r.value.n, 0);
	assert_false(parse(&r, 'h', BYTES("X-Spam\0yes")));
	assert_false(parse(&r, 'h', BYTES("X-Spam\0yes\0more\0")));
	assert_false(parse(&r, 'h', BYTES("X Spam\0yes\0")));
	assert_false(parse(&r, 'h', BYTES("X:Spam\0yes\0")));
	assert_false(parse(&r, 'h', BYTES("X\nSpam\0yes\0")));
	assert_false(parse(&r, 'h', BYTES("\0yes\0")));
	assert_false(parse(&r, 'i', BYTES("\0\0\1")));
	assert_false(parse(&r, 'm', BYTES("\xff\0\0\0X\0y\0")));
}

static void reply_codes(void **state)
{
	struct milter_response r;

	(void)state;
	assert_true(parse(&r, 'y', BYTES("550 5.7.1 No\0")));
	assert_int_equal(r.reply.code, 550);
	assert_true(enhanced_code_is(r.reply.enhanced, 5, 7, 1));
	assert_slice(r.reply.text, "No");
	assert_true(parse(&r, 'y', BYTES("451-4.7.1 Later,\r\n451 4.7.1 please\0")));
	assert_slice(r.reply.text, "Later,\nplease");
	assert_false(parse(&r, 'y', BYTES("250 2.0.0 fine\0")));
	assert_false(parse(&r, 'y', BYTES("354 go on\0")));
	assert_false(parse(&r, 'y', BYTES("550-5.7.1 half\0")));
	assert_false(parse(&r, 'y', BYTES("550 one\r\n550 two\0")));
	assert_false(parse(&r, 'y', BYTES("550 5.7.1 No")));
	assert_false(parse(&r, 'y', BYTES("no\0")));
	assert_false(parse(&r, 'y', BYTES("\0")));
}

static void plain_words(void **state)
{
	struct milter_response r;

	(void)state;
	for (const char *w = "acdfprst4"; *w; w++) {
		assert_true(parse(&r, *w, SLICE_NULL));
		assert_int_equal(r.word, *w);
		assert_false(parse(&r, *w, SLICE("x")));
	}
	assert_true(parse(&r, 'b', SLICE("text")));
	assert_slice(r.text, "text");
	assert_true(parse(&r, 'q', BYTES("held\0")));
	assert_slice(r.text, "held");
	assert_false(parse(&r, 'q', SLICE("held")));
}

static void the_envelope_is_not_theirs(void **state)
{
	struct milter_response r;

	(void)state;
	for (const char *w = "+-2e"; *w; w++)
		assert_false(parse(&r, *w, BYTES("<a@example.org>\0")));
	assert_false(parse(&r, 'O', SLICE_NULL));
	assert_false(parse(&r, 'l', SLICE_NULL));
	assert_false(parse(&r, '\0', SLICE_NULL));
	assert_non_null(why);
}

UNIT_MAIN(test(a_packet_counts_what_follows), test(a_head_is_bounded), test(options_are_cut_to_what_was_offered),
	test(options_that_cannot_be), test(changes_of_fields), test(reply_codes), test(plain_words),
	test(the_envelope_is_not_theirs))
