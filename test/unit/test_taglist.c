/* taglist: the grammar of RFC 6376 section 3.2, duplicates, limits, and the values that are lists or base64. */
#include "unit.h"

#include "wire/taglist.h"

static struct taglist parse(struct arena *a, struct slice text)
{
	struct taglist list;
	const char *why = NULL;

	if (!taglist_parse(&list, a, text, &why))
		fail_msg("%s", why);
	return list;
}

static void test_good(void **state)
{
	struct arena a = ARENA_INIT;
	struct taglist list = parse(&a, SLICE(" v=1; a = rsa-sha256 ;b=AB\r\n\t CD\r\n ; n_2=;c=a=b; B=x;\r\n"));

	assert_int_equal(list.count, 6);
	assert_slice(list.tags[0].name, "v");
	assert_slice(taglist_value(&list, SLICE("v")), "1");
	assert_slice(taglist_value(&list, SLICE("a")), "rsa-sha256");
	assert_slice(taglist_find(&list, SLICE("a"))->raw, " rsa-sha256 ");
	assert_slice(taglist_value(&list, SLICE("b")), "AB\r\n\t CD");
	assert_slice(taglist_find(&list, SLICE("b"))->raw, "AB\r\n\t CD\r\n ");
	assert_slice(taglist_value(&list, SLICE("B")), "x");
	assert_slice(taglist_value(&list, SLICE("c")), "a=b");
	assert_slice(taglist_value(&list, SLICE("n_2")), "");
	assert_non_null(taglist_value(&list, SLICE("n_2")).p);
	assert_null(taglist_find(&list, SLICE("V")));
	assert_null(taglist_value(&list, SLICE("x")).p);
	/* RFC 8616: UTF-8 in values. */
	list = parse(&a, SLICE("d=b\xc3\xbc" "cher.example"));
	assert_slice(taglist_value(&list, SLICE("d")), "b\xc3\xbc" "cher.example");
	arena_drop(&a);
}

static void refused(const char *text, const char *expected)
{
	struct arena a = ARENA_INIT;
	struct taglist list = { NULL, 77 };
	const char *why = NULL;

	assert_false(taglist_parse(&list, &a, slice_of(text), &why));
	assert_string_equal(why, expected);
	assert_int_equal(list.count, 77);
	arena_drop(&a);
}

static void test_bad(void **state)
{
	refused("", "a tag without \"=\"");
	refused("v", "a tag without \"=\"");
	refused("v=1;;a=b", "a tag without \"=\"");
	refused("v=1; ;", "a tag without \"=\"");
	refused("=1", "a tag name that is none");
	refused("1v=1", "a tag name that is none");
	refused("_v=1", "a tag name that is none");
	refused("v-x=1", "a tag name that is none");
	refused("v w=1", "a tag name that is none");
	refused("v=\x01", "octets that no tag value may have");
	refused("v=\x7f", "octets that no tag value may have");
	refused("v=a\nb", "octets that no tag value may have");
	refused("v=a\r\nb", "octets that no tag value may have");
	refused("v=a\rb", "octets that no tag value may have");
	refused("v=\xc3(", "octets that no tag value may have");
	refused("v=1; a=2; v=1", "a tag given twice");
}

static void test_count(void **state)
{
	struct arena a = ARENA_INIT;
	struct str text = STR_IN(&a);
	struct taglist list;
	const char *why;

	for (unsigned i = 0; i < TAGLIST_MAX_TAGS; i++)
		str_printf(&text, "t%u=%u;", i, i);
	assert_true(taglist_parse(&list, &a, str_slice(&text), &why));
	assert_int_equal(list.count, TAGLIST_MAX_TAGS);
	assert_slice(taglist_value(&list, SLICE("t63")), "63");
	str_puts(&text, "u=1");
	assert_false(taglist_parse(&list, &a, str_slice(&text), &why));
	assert_string_equal(why, "too many tags");
	arena_drop(&a);
}

static void test_items(void **state)
{
	struct slice rest = SLICE("from : to:\r\n\tsubject::x");

	assert_slice(taglist_item(&rest), "from");
	assert_slice(taglist_item(&rest), "to");
	assert_slice(taglist_item(&rest), "subject");
	assert_slice(taglist_item(&rest), "");
	assert_non_null(rest.p);
	assert_slice(taglist_item(&rest), "x");
	assert_null(rest.p);
	assert_true(taglist_has_item(SLICE("y : S"), SLICE("s")));
	assert_false(taglist_has_item(SLICE("ys"), SLICE("s")));
	assert_false(taglist_has_item(SLICE_NULL, SLICE("")));
	assert_true(taglist_has_item(SLICE("a:"), SLICE("")));
}

static void test_base64(void **state)
{
	struct arena a = ARENA_INIT;
	struct slice out = SLICE("before");

	assert_true(taglist_base64(&a, SLICE("Zm 9v\r\n\tYg = ="), &out));
	assert_slice(out, "foob");
	assert_true(taglist_base64(&a, SLICE("Zm9vYg"), &out));
	assert_slice(out, "foob");
	assert_true(taglist_base64(&a, SLICE("Zm9vYmE="), &out));
	assert_slice(out, "fooba");
	out = SLICE("before");
	assert_false(taglist_base64(&a, SLICE(""), &out));
	assert_false(taglist_base64(&a, SLICE("===="), &out));
	assert_false(taglist_base64(&a, SLICE("Zm9vY"), &out));
	assert_false(taglist_base64(&a, SLICE("Zm9v===="), &out));
	assert_false(taglist_base64(&a, SLICE("Zm9v!A=="), &out));
	assert_false(taglist_base64(&a, SLICE("Zg==Zg=="), &out));
	assert_slice(out, "before");
	arena_drop(&a);
}

UNIT_MAIN(T(test_good), T(test_bad), T(test_count), T(test_items), T(test_base64))
