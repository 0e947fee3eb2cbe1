/* config_directory: directory blocks, the domains that name them, and every mistake with its place. */
#include "unit.h"

#include "policy/config.h"

static struct arena arena;
static struct str said;

static void say(void *arg, const char *message)
{
	(void)arg;
	str_puts(&said, message);
	str_puts(&said, "\n");
}

static struct config *parse(const char *text)
{
	said = STR_IN(&arena);
	return config_parse("conf", slice_of(text), say, NULL);
}

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

#define HEAD "hostname mx.example.org; listener inbound { address 127.0.0.1:25; }\n"
#define DOMAIN(sources) "domain example.org { backend smtp://127.0.0.1:26; " sources " }\n"
#define LDAP "directory corp { ldap ldap://127.0.0.1; base \"dc=x\"; template openldap; }\n"

static struct config *parse_good(const char *text)
{
	struct config *c = parse(text);

	if (!c)
		fail_msg("%s", str_cstr(&said));
	return c;
}

static void test_a_domain_names_its_directories(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN("recipients ldap corp; recipients sql crm; recipients socketmap other;")
		LDAP "directory crm { sql postgresql \"host=db dbname=m\"; query \"SELECT 1 FROM u WHERE a=$1\"; timeout 2s; }\n"
		"directory other { socketmap inet:127.0.0.1:999 users; connections 3; }\n");
	const struct recipient_conf *r = &config_domain(c, SLICE("example.org"))->recipients;

	assert_int_equal(c->directory_count, 3);
	assert_int_equal(r->source_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(r->sources[i].kind, SOURCE_DIRECTORY);
		assert_ptr_equal(r->sources[i].directory, &c->directories[i].source);
		assert_non_null(r->sources[i].directory->map);
		assert_null(r->sources[i].file);
	}
	assert_false(r->callforward);
	assert_int_equal(c->directories[0].timeout, 5 * NS_PER_SECOND);
	assert_int_equal(c->directories[1].timeout, 2 * NS_PER_SECOND);
	assert_slice(c->directories[1].asks.text, "SELECT 1 FROM u WHERE a=$1");
	assert_int_equal(c->directories[2].connections, 3);
	config_unref(c);
}

static void test_templates_fill_what_is_not_given(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN("recipients directory ad; recipients directory own;")
		"directory ad { ldap ldaps://dc1 ldaps://dc2; base \"dc=x\"; template active-directory; }\n"
		"directory own { ldap ldap://h; base \"\"; template active-directory; filter \"(uid=%u)\"; attributes mail; }\n");
	const struct directory_conf *ad = &c->directories[0], *own = &c->directories[1];

	assert_string_equal(ad->urls, "ldaps://dc1 ldaps://dc2");
	assert_non_null(strstr(ad->filter, "(proxyAddresses=smtp:%s)"));
	assert_non_null(strstr(ad->filter, "1.2.840.113556.1.4.803:=2"));
	assert_int_equal(ad->attribute_count, 2);
	assert_int_equal(ad->scope, 2);
	assert_string_equal(own->filter, "(uid=%u)");
	assert_int_equal(own->attribute_count, 1);
	assert_string_equal(own->base, "");
	config_unref(c);
}

static void test_a_copy_need_not_be_there_yet(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN("recipients directory corp;")
		"directory corp { ldap ldap://h; base \"dc=x\"; template openldap; copy /nonexistent/copy every 1h; }\n");
	const struct recipient_source *s = &config_domain(c, SLICE("example.org"))->recipients.sources[0];

	assert_int_equal(c->directories[0].copy_every, 3600 * NS_PER_SECOND);
	assert_non_null(s->file);
	assert_int_equal(list_file_count(s->file), 0);
	assert_non_null(list_file_trouble(s->file));
	assert_false(list_file_contains_address(s->file, SLICE("ann@example.org")));
	config_unref(c);
}

/* Text of a block, and what is said about it. */
static const struct { const char *text, *error; } mistakes[] = {
	{ "directory { ldap ldap://h; }", "directory NAME { ... }" },
	{ "directory a.b { socketmap unix:/x m; }", "a name is letters, digits, - and _" },
	{ "directory a { socketmap unix:/x m; } directory a { socketmap unix:/y m; }", "a second directory of this name" },
	{ "directory a { timeout 2s; }", "is none of ldap, sql and socketmap" },
	{ "directory a { socketmap unix:/x m; sql sqlite /x; }", "one of ldap, sql and socketmap, named once" },
	{ "directory a { ldap http://h; base x; template openldap; }", "conf:2:20: error: an LDAP server is ldap://HOST" },
	{ "directory a { ldap ldap://h; template openldap; }", "has no base" },
	{ "directory a { ldap ldap://h; base x; }", "neither filter nor template" },
	{ "directory a { ldap ldap://h; base x; filter \"(mail=ann)\"; }", "asks for nobody" },
	{ "directory a { ldap ldap://h; base x; filter \"mail=%s\"; }", "stands in parentheses" },
	{ "directory a { ldap ldap://h; base x; template openldap; bind-dn cn=x; }", "no password-file" },
	{ "directory a { ldap ldaps://h; base x; template openldap; starttls yes; }", "no starttls beside it" },
	{ "directory a { ldap ldap://h; base x; filter \"(mail=%s)\"; copy /x; }", "a list-filter and attributes" },
	{ "directory a { ldap ldap://h; base x; templat openldap; }", "did you mean 'template'" },
	{ "directory a { sql oracle x; query \"SELECT $1\"; }", "sql postgresql" },
	{ "directory a { sql sqlite relative; query \"SELECT $1\"; }", "absolute path" },
	{ "directory a { sql sqlite /x; }", "has no query" },
	{ "directory a { sql sqlite /x; query \"SELECT 1\"; }", "asks for nobody" },
	{ "directory a { sql sqlite /x; query \"SELECT $1;\"; }", "one statement" },
	{ "directory a { sql sqlite /x; query \"SELECT $1\"; copy /y; }", "a list-query is wanted" },
	{ "directory a { sql sqlite /x; query \"SELECT $1\"; list-query \"SELECT $1\"; }", "has no parameters" },
	{ "directory a { sql postgresql \"host=h password=x\"; query \"SELECT $1\"; }", "password-file FILE" },
	{ "directory a { sql mysql \"host=h\"; query \"SELECT $1\"; }", "names no dbname" },
	{ "directory a { socketmap /x m; }", "a socketmap is unix:/path or inet:ADDRESS:PORT" },
	{ "directory a { socketmap unix:/x m; copy /y; }", "cannot be listed" },
	{ "directory a { socketmap unix:/x m; canary ann; }", "canary takes one address" },
	{ "directory a { sql sqlite /x; query \"SELECT $1\"; list-query \"SELECT a\"; copy y; }", "absolute path" },
	{ "directory a { sql sqlite /x; query \"SELECT $1\"; list-query \"SELECT a\"; copy /y every 1s; }", "every 10s at most" },
	{ "directory a { socketmap unix:/x m; timeout 61s; }", "too large" },
	{ "directory-serve 127.0.0.1;", "port missing" },
	{ DOMAIN("recipients directory nowhere;"), "there is no directory nowhere" },
	{ LDAP DOMAIN("recipients sql corp;"), "directory corp is of kind ldap" },
	{ LDAP DOMAIN("recipients directory;"), "recipients file FILE, recipients directory NAME" },
};

static void test_mistakes(void **state)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct arena text = ARENA_INIT;
		bool has_domain = strstr(mistakes[i].text, "domain ") != NULL;

		assert_null(parse(arena_printf(&text, "%s%s\n%s", HEAD, mistakes[i].text,
			has_domain ? "" : DOMAIN("recipients callforward;"))));
		if (!strstr(str_cstr(&said), mistakes[i].error))
			fail_msg("%s\nshould say: %s\nsaid: %s", mistakes[i].text, mistakes[i].error, str_cstr(&said));
		arena_drop(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_a_domain_names_its_directories),
		cmocka_unit_test(test_templates_fill_what_is_not_given), cmocka_unit_test(test_a_copy_need_not_be_there_yet),
		cmocka_unit_test(test_mistakes) };

	return cmocka_run_group_tests(tests, NULL, teardown);
}
