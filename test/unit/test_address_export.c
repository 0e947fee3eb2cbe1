/* address_export: tables of Microsoft and Google, plain lists, and what is neither. */
#include "unit.h"

#include "wire/address_export.h"

static struct arena arena;

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

/* All values, with blanks between; "!" and the reason if it is refused. */
static const char *values_of(const char *text, const char *column)
{
	struct address_export *e = arena_new(&arena, struct address_export);
	struct str out = STR_IN(&arena);
	struct slice value;
	const char *why = NULL;

	if (!address_export_open(e, &arena, slice_of(text), slice_of(column), &why))
		return arena_printf(&arena, "!%s", why);
	while (address_export_next(e, &arena, &value, &why))
		str_printf(&out, "%s%.*s", out.n ? " " : "", SLICE_ARG(value));
	return why ? arena_printf(&arena, "!%s", why) : str_cstr(&out);
}

static void test_tables(void **state)
{
	assert_string_equal(values_of("Name,Email\nAnn,ann@x.org\r\nBob,bob@x.org", NULL), "ann@x.org bob@x.org");
	assert_string_equal(values_of("\xEF\xBB\xBF" "Email Address [Required],Status [READ ONLY]\nann@x.org,Active\nsue@x.org,Suspended\n",
		NULL), "ann@x.org");
	assert_string_equal(values_of("User principal name;Proxy addresses\nlogin@x.org;SMTP:a@x.org+smtp:b+c@x.org\n", NULL),
		"SMTP:a@x.org smtp:b+c@x.org");
	assert_string_equal(values_of("UserPrincipalName\tName\nlogin@x.org\tA\n", NULL), "login@x.org");
	assert_string_equal(values_of("Mail,Note\n\"ann@x.org\",\"two\nlines, \"\"quoted\"\"\"\nbob@x.org,\n", NULL),
		"ann@x.org bob@x.org");
	assert_string_equal(values_of("EmailAddresses\n\"{SMTP:a@x.org, smtp:b@x.org}\"\n", NULL), "SMTP:a@x.org smtp:b@x.org");
	assert_string_equal(values_of("A,B\nx,ann@x.org\n", "b"), "ann@x.org");
}

static void test_lists(void **state)
{
	assert_string_equal(values_of("ann@x.org\n# no\n\nbob+tag@x.org\r\nsmtp:sue@x.org", NULL),
		"ann@x.org bob+tag@x.org smtp:sue@x.org");
	assert_string_equal(values_of("# first\nann@x.org", NULL), "ann@x.org");
	assert_string_equal(values_of("\"a b\"@x.org;c@x.org", NULL), "\"a b\"@x.org c@x.org");
}

static void test_what_is_neither(void **state)
{
	static const char *const bad[] = { "", "\n\n", "Name,Colour\nx,y\n", "\xFF\xFE" "a", "Email,\"x\nann@x.org\n" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(values_of(bad[i], NULL)[0], '!');
	assert_int_equal(values_of("Email\n\"ann@x.org\n", NULL)[0], '!');
	assert_int_equal(values_of("Email\n\"ann@x.org\"x\n", NULL)[0], '!');
	assert_int_equal(values_of("Email\nann@x.org\n", "Mail")[0], '!');
	assert_int_equal(values_of("ann@x.org\n", "Mail")[0], '!');
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tables), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_what_is_neither) };

	return cmocka_run_group_tests(tests, NULL, teardown);
}
