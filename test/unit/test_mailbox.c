/* mailbox: lists as they should be, as they are, and as forgers write them. */
#include "unit.h"

#include "wire/mailbox.h"

/* "address|address ..." of what was kept, then "!" and the reason if it is no list. */
static const char *read_list(struct arena *a, const char *value, size_t max)
{
	struct mailbox_list list;
	const char *why = NULL;
	struct str out = STR_IN(a);
	bool good = mailbox_list_parse(a, slice_of(value), max, &list, &why);

	for (const struct mailbox *m = list.first; m; m = m->next) {
		if (m != list.first)
			str_addc(&out, '|');
		str_add(&out, m->address);
	}
	if (!good)
		str_printf(&out, "!%s", why);
	return str_cstr(&out);
}

static void values(void **state)
{
	static const struct { const char *value, *wanted; } cases[] = {
		{ "a@example.com", "a@example.com" },
		{ "Ann Other <a@example.com>", "a@example.com" },
		{ "<a@example.com>", "a@example.com" },
		{ "\"Other, Ann\" <a@example.com>, b@example.net (Bob)", "a@example.com|b@example.net" },
		{ "A. N. Other <a@example.com>", "a@example.com" },
		{ " (c(d\\)) \\(e) a@example.com (f)", "a@example.com" },
		{ "\"a@b\"@example.com", "\"a@b\"@example.com" },
		{ "\"a \\\" b\" <\"x y\"@example.com>", "\"x y\"@example.com" },
		{ "a . b @ example . com", "a.b@example.com" },
		{ "Ann\r\n\t<a@example.com>", "a@example.com" },
		{ "Team: a@example.com, Bob <b@example.com>; , c@example.com", "a@example.com|b@example.com|c@example.com" },
		{ "undisclosed recipients:;", "" },
		{ "<@relay.example,@other.example:a@example.com>", "a@example.com" },
		{ "a@[192.0.2.1]", "a@[192.0.2.1]" },
		{ "J\xc3\xbcrgen <j\xc3\xbcrgen@example.com>", "j\xc3\xbcrgen@example.com" },
		{ ",, a@example.com,,", "a@example.com" },
		{ "bank@bank.example <a@example.com>", "a@example.com" },
		{ "Doe, John <a@example.com>", "a@example.com" },
		{ "[Team] Ann \\ <a@example.com>", "a@example.com" },
		{ "", "" },
		/* no lists */
		{ "Doe, John", "!a name without an address" },
		{ "a[b]@example.com", "!a local part is malformed" },
		{ "Ann", "!a name without an address" },
		{ "Ann <a@example.com", "!< is not closed" },
		{ "Ann <>", "!there is no address between < and >" },
		{ "Ann <a>", "!there is no address between < and >" },
		{ "a@example.com b@example.net", "a@example.com!something stands behind an address" },
		{ "<a@example.com> <b@example.net>", "a@example.com!something stands behind an address" },
		{ "a b@example.com", "!a local part is malformed" },
		{ "a..b@example.com", "!a local part is malformed" },
		{ ".a@example.com", "!a local part is malformed" },
		{ "a@example..com", "!a domain is malformed" },
		{ "a@", "!a domain is malformed" },
		{ "a@b@example.com", "a@b!something stands behind an address" },
		{ "(a@example.com", "!a comment is not closed" },
		{ "\"a@example.com", "!a quoted string is not closed" },
		{ "a@[192.0.2.1", "!a domain literal is malformed" },
		{ "g: a@example.com", "a@example.com!a group is not closed" },
		{ "g: h: a@example.com;;", "!a group is malformed" },
		{ ": a@example.com;", "!a group is malformed" },
		{ "<@relay.example a@example.com>", "!a route is malformed" },
	};
	struct arena a = ARENA_INIT;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *got = read_list(&a, cases[i].value, 10);

		if (strcmp(got, cases[i].wanted) != 0)
			fail_msg("%s: %s instead of %s", cases[i].value, got, cases[i].wanted);
	}
	arena_drop(&a);
}

static void facts_of_a_list(void **state)
{
	struct arena a = ARENA_INIT;
	struct mailbox_list list;
	const char *why;

	assert_true(mailbox_list_parse(&a, SLICE("x@y.example <a@b.example>, G: \"C\" <c@d.example>;"), 5, &list, &why));
	assert_int_equal(list.count, 2);
	assert_int_equal(list.groups, 1);
	assert_true(list.address_in_phrase);
	assert_false(list.first->in_group);
	assert_true(slice_eq(list.first->phrase, SLICE("x@y.example")));
	assert_true(slice_eq(list.first->local, SLICE("a")));
	assert_true(slice_eq(list.first->domain, SLICE("b.example")));
	assert_true(list.first->next->in_group);
	assert_true(slice_eq(list.first->next->phrase, SLICE("\"C\"")));
	arena_drop(&a);
}

static void no_more_are_kept_than_wanted(void **state)
{
	struct arena a = ARENA_INIT;
	struct mailbox_list list;
	const char *why;

	assert_true(mailbox_list_parse(&a, SLICE("a@x, b@x, c@x"), 2, &list, &why));
	assert_int_equal(list.count, 3);
	assert_null(list.first->next->next);
	arena_drop(&a);
}

static void comments_have_a_depth(void **state)
{
	struct arena a = ARENA_INIT;
	struct str deep = STR_IN(&a);

	for (int i = 0; i < 100000; i++)
		str_addc(&deep, '(');
	assert_string_equal(read_list(&a, str_cstr(&deep), 1), "!comments are nested too deeply");
	arena_drop(&a);
}

static const char *authors(struct arena *a, const char *text, const char **why)
{
	struct header h;
	struct str out = STR_IN(a);

	header_init(&h, a, 65536, 100);
	header_push(&h, slice_of(text));
	header_finish(&h);
	for (const struct mailbox *m = header_authors(a, &h, 3, why); m; m = m->next) {
		str_add(&out, m->address);
		str_addc(&out, ' ');
	}
	return str_cstr(&out);
}

static void who_wrote_it(void **state)
{
	struct arena a = ARENA_INIT;
	const char *why;

	assert_string_equal(authors(&a, "From: A <a@x.example>\r\n", &why), "a@x.example ");
	assert_null(why);
	assert_string_equal(authors(&a, "From: a@x.example\r\nfrom: b@y.example\r\n", &why), "a@x.example b@y.example ");
	assert_string_equal(why, "there are several From fields");
	assert_string_equal(authors(&a, "From: a@x, b@x, c@x\r\nFrom: d@x\r\n", &why), "a@x b@x c@x ");
	assert_string_equal(authors(&a, "From: nobody:;\r\n", &why), "");
	assert_string_equal(why, "From names nobody");
	assert_string_equal(authors(&a, "From: a@x y\r\n", &why), "a@x ");
	assert_string_equal(why, "something stands behind an address");
	assert_string_equal(authors(&a, "To: a@x\r\n", &why), "");
	assert_string_equal(why, "there is no From field");
	arena_drop(&a);
}

UNIT_MAIN(cmocka_unit_test(values), cmocka_unit_test(facts_of_a_list), cmocka_unit_test(no_more_are_kept_than_wanted),
	cmocka_unit_test(comments_have_a_depth), cmocka_unit_test(who_wrote_it))
