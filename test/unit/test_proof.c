/* Tags, traces and SRS hashes: made on one node and checked on another with nothing but the key; what was changed, is too old or
 * belongs to somebody else. */
#include "unit.h"

#include "check/proof.h"

#include <stdio.h>

#define DAY 86400
#define NOW (20780 * (time_t)DAY + 3600)
#define ID SLICE("<1@example.org>")

static struct arena arena;
static struct proof_keys a_keys, b_keys;

/* Two nodes: the second reads the file of the first. */
static int set_up(void **state)
{
	struct str text = STR_IN(&arena);
	struct proof_key_error error;

	(void)state;
	a_keys = b_keys = (struct proof_keys){ .count = 1 };
	proof_key_make(&a_keys.keys[0], '4', NOW - DAY, NOW - DAY);
	proof_key_write(&text, &a_keys.keys[0]);
	return proof_key_parse(&b_keys.keys[0], str_slice(&text), &error) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	arena_drop(&arena);
	return 0;
}

static struct path path_of(const char *text)
{
	struct slice rest = slice_of(text);
	struct path p;
	const char *why;

	assert_true(path_parse(&p, &rest, true, &why));
	return p;
}

static struct address_form form_of(const char *text)
{
	struct path p = path_of(text);
	struct address_form form;

	assert_true(address_form(&arena, &p, SLICE("+"), &form));
	return form;
}

static struct slice tag(const char *text, time_t now)
{
	struct path p = path_of(text);

	return proof_tag_make(&arena, &a_keys, &p, form_of(text).canonical, 14, now);
}

/* What the other node says of a tagged address. */
static enum proof_answer check_tag(struct slice address, time_t now)
{
	struct address_form form = form_of(arena_printf(&arena, "<%.*s>", SLICE_ARG(address)));

	return proof_tag_check(&b_keys, form.tag_text, form.canonical, 14, now);
}

static void a_tag_proves_on_another_node(void **state)
{
	struct slice t = tag("<Bob+x@Example.ORG>", NOW);
	char *upper = slice_cstr(&arena, t);

	(void)state;
	assert_true(slice_starts(t, SLICE("prvs=4794")));	/* 20780 + 14, modulo 1000 */
	assert_true(slice_ends_nocase(t, SLICE("=Bob+x@Example.ORG")));
	assert_int_equal(check_tag(t, NOW), PROOF_VALID);
	/* The same all day, another on the next. */
	assert_slices(tag("<Bob+x@Example.ORG>", NOW + 20 * 3600), t);
	assert_false(slice_eq(tag("<Bob+x@Example.ORG>", NOW + DAY), t));
	/* Hosts change case. */
	for (char *c = upper; *c; c++)
		*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
	assert_int_equal(check_tag(slice_of(upper), NOW), PROOF_VALID);
}

static void a_tag_that_is_not_ours(void **state)
{
	struct slice t = tag("<bob@example.org>", NOW);
	char *other = slice_cstr(&arena, t);

	(void)state;
	other[14] = other[14] == '0' ? '1' : '0';
	assert_int_equal(check_tag(slice_of(other), NOW), PROOF_FALSE);
	/* Somebody else's, put before this address. */
	other = arena_printf(&arena, "%.*s=ann@example.org", 15, t.p);
	assert_int_equal(check_tag(slice_of(other), NOW), PROOF_FALSE);
	/* Under a key that is not ours there is nothing to fail. */
	assert_int_equal(check_tag(SLICE("prvs=5794012345=bob@example.org"), NOW), PROOF_ABSENT);
	assert_int_equal(check_tag(SLICE("btv1==012345==bob@example.org"), NOW), PROOF_ABSENT);
	assert_int_equal(check_tag(SLICE("bob@example.org"), NOW), PROOF_ABSENT);
}

static void a_tag_grows_old(void **state)
{
	struct slice t = tag("<bob@example.org>", NOW);

	(void)state;
	assert_int_equal(check_tag(t, NOW + 14 * DAY), PROOF_VALID);
	assert_int_equal(check_tag(t, NOW + 15 * DAY), PROOF_EXPIRED);
	assert_int_equal(check_tag(t, NOW + 28 * DAY), PROOF_EXPIRED);
	assert_int_equal(check_tag(t, NOW + 29 * DAY), PROOF_OLD);
	assert_int_equal(check_tag(t, NOW - 2 * DAY), PROOF_OLD);
	/* The number of the day comes round. */
	t = tag("<bob@example.org>", 20990 * (time_t)DAY);
	assert_true(slice_starts(t, SLICE("prvs=4004")));
	assert_int_equal(check_tag(t, 20995 * (time_t)DAY), PROOF_VALID);
	assert_int_equal(check_tag(t, 21004 * (time_t)DAY), PROOF_VALID);
	assert_int_equal(check_tag(t, 21005 * (time_t)DAY), PROOF_EXPIRED);
	b_keys.keys[0].retired = NOW;
	b_keys.keys[0].until = NOW + DAY;
	t = tag("<bob@example.org>", NOW);
	assert_int_equal(check_tag(t, NOW), PROOF_VALID);
	assert_int_equal(check_tag(t, NOW + DAY), PROOF_RETIRED);
}

static void who_gets_no_tag(void **state)
{
	static const char *const none[] = { "<>", "<\"a b\"@example.org>", "<prvs=4794012345=bob@example.org>",
		"<SRS0=abcd=xy=example.net=bob@example.org>", "<b\xc3\xb6@example.org>", "<bob@[192.0.2.1]>",
		"<btv1==012345==bob@example.org>",
		"<a23456789a123456789a123456789a123456789a123456789@example.org>" };
	struct path p = path_of("<a23456789a123456789a123456789a123456789a12345678@example.org>");

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		struct path sender = path_of(none[i]);

		assert_slices(proof_tag_make(&arena, &a_keys, &sender, SLICE("x@example.org"), 14, NOW), SLICE_NULL);
	}
	/* 48 octets and 16 of the tag are not more than 64. */
	assert_true(proof_tag_make(&arena, &a_keys, &p, SLICE("x@example.org"), 14, NOW).n > 0);
	a_keys.count = 0;
	p = path_of("<bob@example.org>");
	assert_slices(proof_tag_make(&arena, &a_keys, &p, SLICE("bob@example.org"), 14, NOW), SLICE_NULL);
}

static enum proof_answer check_trace(struct slice value, const char *canonical, struct slice id, time_t now)
{
	time_t sent = 0;

	return proof_trace_check(&b_keys, value, slice_of(canonical), id, 14, now, &sent);
}

static void a_trace_proves_on_another_node(void **state)
{
	struct slice t = proof_trace_make(&arena, &a_keys, SLICE("bob@example.org"), ID, NOW);
	struct slice folded = slice_of(arena_printf(&arena, " %.*s\r\n\t%.*s", 10, t.p, (int)t.n - 10, t.p + 10));
	time_t sent = 0;

	(void)state;
	assert_int_equal(proof_trace_check(&b_keys, t, SLICE("bob@example.org"), ID, 14, NOW + DAY, &sent), PROOF_VALID);
	assert_int_equal(sent, NOW);
	assert_int_equal(check_trace(folded, "bob@example.org", ID, NOW), PROOF_VALID);
	assert_int_equal(check_trace(t, "ann@example.org", ID, NOW), PROOF_OTHER_SENDER);
	assert_int_equal(check_trace(t, "bob@example.org", SLICE("<2@example.org>"), NOW), PROOF_FALSE);
	assert_int_equal(check_trace(t, "bob@example.org", SLICE_NULL, NOW), PROOF_FALSE);
	assert_int_equal(check_trace(t, "bob@example.org", ID, NOW + 14 * DAY), PROOF_VALID);
	assert_int_equal(check_trace(t, "bob@example.org", ID, NOW + 15 * DAY), PROOF_EXPIRED);
	assert_int_equal(check_trace(t, "bob@example.org", ID, NOW + 29 * DAY), PROOF_OLD);
	assert_int_equal(check_trace(t, "bob@example.org", ID, NOW - DAY), PROOF_OLD);
	b_keys.keys[0].until = NOW + DAY;
	assert_int_equal(check_trace(t, "bob@example.org", ID, NOW + DAY), PROOF_RETIRED);
}

static void each_octet_of_a_trace_counts(void **state)
{
	struct slice t = proof_trace_make(&arena, &a_keys, SLICE("bob@example.org"), ID, NOW);

	(void)state;
	for (size_t i = 0; i < t.n; i++) {
		char *other = slice_cstr(&arena, t);

		other[i] = other[i] == '0' ? '1' : '0';
		assert_int_not_equal(check_trace(slice_of(other), "bob@example.org", ID, NOW), PROOF_VALID);
	}
	assert_int_equal(check_trace(SLICE("v=2; k=4; t=1; s=1; h=1"), "bob@example.org", ID, NOW), PROOF_ABSENT);
	assert_int_equal(check_trace(SLICE("v=1; k=9; t=1; s=1; h=1"), "bob@example.org", ID, NOW), PROOF_ABSENT);
	assert_int_equal(check_trace(SLICE("v=1; k=4"), "bob@example.org", ID, NOW), PROOF_FALSE);
	assert_int_equal(check_trace(SLICE("rubbish"), "bob@example.org", ID, NOW), PROOF_ABSENT);
}

static void the_day_of_a_tag(void **state)
{
	(void)state;
	/* NOW is day 20780: tags of it end on 794. */
	assert_int_equal(proof_tag_day(SLICE("4794000000"), 14, NOW), NOW / DAY);
	assert_int_equal(proof_tag_day(SLICE("4780000000"), 14, NOW), NOW / DAY - 14);
	assert_int_equal(proof_tag_day(SLICE("4795000000"), 14, NOW), NOW / DAY + 1);
	assert_int_equal(proof_tag_day(SLICE("4796000000"), 14, NOW), 0);
	assert_int_equal(proof_tag_day(SLICE("4779000000"), 14, NOW), 0);
	assert_int_equal(proof_tag_day(SLICE("47"), 14, NOW), 0);
	assert_int_equal(proof_tag_day(SLICE("4x94000000"), 14, NOW), 0);
}

/* HMAC-SHA-1 computed by other means: openssl dgst -sha1 -hmac tops3cret -binary | base64, over "j4example.netbob". */
static void an_srs_address_of_ours(void **state)
{
	struct srs_secrets s;
	struct address_form form;
	time_t day = (9 * 32 + 28) + 1024 * 20;		/* "j4" */

	(void)state;
	srs_secrets_parse(&s, SLICE("tops3cret\nolder\n"));
	assert_int_equal(s.count, 2);
	form = form_of("<SRS0=484V=j4=example.net=bob@example.org>");
	assert_int_equal(srs_check(&s, &form, day * DAY), PROOF_VALID);
	assert_int_equal(srs_check(&s, &form, (day + 21) * DAY), PROOF_VALID);
	assert_int_equal(srs_check(&s, &form, (day + 22) * DAY), PROOF_EXPIRED);
	assert_int_equal(srs_check(&s, &form, (day + 60) * DAY), PROOF_OLD);
	form = form_of("<srs0=484V=J4=Example.net=bob@example.org>");
	assert_int_equal(srs_check(&s, &form, day * DAY), PROOF_VALID);
	form = form_of("<SRS0=484V=j4=example.net=ann@example.org>");
	assert_int_equal(srs_check(&s, &form, day * DAY), PROOF_FALSE);
	form = form_of("<SRS1=KRmm=example.com==abcd=j4=example.net=bob@example.org>");
	assert_int_equal(srs_check(&s, &form, day * DAY), PROOF_VALID);
	form = form_of("<bob@example.org>");
	assert_int_equal(srs_check(&s, &form, day * DAY), PROOF_ABSENT);
	s.count = 0;
	form = form_of("<SRS0=484V=j4=example.net=bob@example.org>");
	assert_int_equal(srs_check(&s, &form, day * DAY), PROOF_ABSENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_tag_proves_on_another_node, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_tag_that_is_not_ours, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_tag_grows_old, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_gets_no_tag, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_trace_proves_on_another_node, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_octet_of_a_trace_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_day_of_a_tag, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_srs_address_of_ours, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
