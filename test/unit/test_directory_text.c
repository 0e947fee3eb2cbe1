/* directory_text: what is asked of user databases, and that no octet of an address becomes part of the question. */
#include "unit.h"

#include "wire/directory_text.h"

static struct arena arena;

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

static struct directory_key key_of(struct slice address)
{
	struct directory_key key;

	assert_true(directory_key_split(address, &key));
	return key;
}

static const char *filter_of(const char *filter, struct slice address)
{
	struct str out = STR_IN(&arena);
	struct directory_key key = key_of(address);

	ldap_filter_write(&out, slice_of(filter), &key);
	return str_cstr(&out);
}

static void test_key(void **state)
{
	struct directory_key key = key_of(SLICE("\"a@b\"@example.org"));

	assert_slice(key.local, "\"a@b\"");
	assert_slice(key.domain, "example.org");
	assert_false(directory_key_split(SLICE("ann"), &key));
	assert_false(directory_key_split(SLICE("@example.org"), &key));
	assert_false(directory_key_split(SLICE("ann@"), &key));
	assert_false(directory_key_split(SLICE_NULL, &key));
}

static void test_filters(void **state)
{
	assert_string_equal(filter_of("(mail=%s)", SLICE("ann@example.org")), "(mail=ann@example.org)");
	assert_string_equal(filter_of("(&(uid=%u)(o=%d)(x=100%%))", SLICE("ann@example.org")),
		"(&(uid=ann)(o=example.org)(x=100%))");
	/* RFC 4515 section 3: *, (, ), \ and NUL are escaped; here whatever else is not plain, too. */
	assert_string_equal(filter_of("(mail=%s)", SLICE("*)(mail=*@x")), "(mail=\\2a\\29\\28mail\\3d\\2a@x)");
	assert_string_equal(filter_of("(mail=%s)", SLICE("a\\2a@x")), "(mail=a\\5c2a@x)");
	assert_string_equal(filter_of("(mail=%s)", SLICE("a\0b@x")), "(mail=a\\00b@x)");
	assert_string_equal(filter_of("(mail=%s)", SLICE("j\xc3\xb6rg@x")), "(mail=j\\c3\\b6rg@x)");
	assert_string_equal(filter_of("(mail=%s)", SLICE("%u%s@x")), "(mail=%u%s@x)");
}

static void test_filters_that_are_none(void **state)
{
	static const char *const bad[] = { "", "mail=%s", "(mail=%s", "(mail=%s))", "(mail=%s)(a=b)", "(mail=%x)", "(mail=%s)%",
		"(mail=ann)", "(o=%d)", "()(%s)", "(mail=%" };
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why = NULL;
		assert_false(ldap_filter_check(slice_of(bad[i]), true, &why));
		assert_non_null(why);
	}
	assert_true(ldap_filter_check(SLICE("(|(mail=%s)(uid=%u))"), true, &why));
	assert_true(ldap_filter_check(SLICE("(mail=*)"), false, &why));
	assert_false(ldap_filter_check(SLICE("(mail=%s)"), false, &why));
}

static void assert_query(enum sql_engine engine, const char *query, const char *text, const char *parameters)
{
	struct sql_query q;
	const char *why = "";

	if (!sql_query_parse(&arena, slice_of(query), engine, true, &q, &why))
		fail_msg("%s: %s", query, why);
	assert_slice(q.text, text);
	assert_int_equal(q.count, strlen(parameters));
	for (size_t i = 0; i < q.count; i++)
		assert_int_equal(q.parameter[i], parameters[i] - '0');
}

static void test_queries(void **state)
{
	assert_query(SQL_POSTGRESQL, "SELECT 1 FROM u WHERE a = $1", "SELECT 1 FROM u WHERE a = $1", "1");
	assert_query(SQL_POSTGRESQL, "SELECT 1 WHERE $3=d AND $1=a OR $1=b", "SELECT 1 WHERE $1=d AND $2=a OR $3=b", "311");
	assert_query(SQL_MARIADB, "SELECT 1 WHERE $2=l AND $3=d", "SELECT 1 WHERE ?=l AND ?=d", "23");
	assert_query(SQL_SQLITE, "SELECT 1 WHERE $1=a", "SELECT 1 WHERE ?1=a", "1");
	/* Quotes and comments stay what they are. */
	assert_query(SQL_POSTGRESQL, "SELECT '$1', \"$2\", 'it''s $1' WHERE a=$1", "SELECT '$1', \"$2\", 'it''s $1' WHERE a=$1",
		"1");
	assert_query(SQL_POSTGRESQL, "SELECT $$ $1 ; $$, $x$ '$x$ WHERE a=$1 -- $2 ;", "SELECT $$ $1 ; $$, $x$ '$x$ WHERE a=$1 -- $2 ;",
		"1");
	assert_query(SQL_POSTGRESQL, "SELECT E'\\'$1;' /* $1; */ WHERE a=$1", "SELECT E'\\'$1;' /* $1; */ WHERE a=$1", "1");
	assert_query(SQL_MARIADB, "SELECT '\\'$1', `$1` WHERE a=$1 # $2;", "SELECT '\\'$1', `$1` WHERE a=? # $2;", "1");
	assert_query(SQL_SQLITE, "SELECT '\\' WHERE a=$1", "SELECT '\\' WHERE a=?1", "1");
}

static void test_queries_that_are_none(void **state)
{
	static const char *const bad[] = { "", "  ", "SELECT 1", "SELECT 1 WHERE d=$3", "SELECT 1 WHERE a=$1;", "SELECT $4",
		"SELECT $0, $1", "SELECT $10", "SELECT $1x", "SELECT '$1", "SELECT \"$1", "SELECT /* $1", "SELECT $1; DROP TABLE u",
		"SELECT $1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1$1" };
	struct sql_query q;
	const char *why;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (int engine = SQL_POSTGRESQL; engine <= SQL_SQLITE; engine++) {
			why = NULL;
			if (sql_query_parse(&arena, slice_of(bad[i]), (enum sql_engine)engine, true, &q, &why))
				fail_msg("taken: %s", bad[i]);
			assert_non_null(why);
		}
	assert_false(sql_query_parse(&arena, SLICE("SELECT ?, $1"), SQL_MARIADB, true, &q, &why));
	assert_true(sql_query_parse(&arena, SLICE("SELECT a FROM u"), SQL_MARIADB, false, &q, &why));
	assert_false(sql_query_parse(&arena, SLICE("SELECT a FROM u WHERE a=$1"), SQL_MARIADB, false, &q, &why));
}

static void test_rows(void **state)
{
	static const char *const unclear[] = { "", "0", "f", "F", "false", "FALSE" };
	static const char *const yes[] = { "1", "t", "00", "ann", " ", "no" };

	assert_int_equal(sql_value_of(SLICE_NULL, true), SQL_VALUE_NO);
	for (size_t i = 0; i < sizeof(unclear) / sizeof(unclear[0]); i++)
		assert_int_equal(sql_value_of(slice_of(unclear[i]), false), SQL_VALUE_UNCLEAR);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		assert_int_equal(sql_value_of(slice_of(yes[i]), false), SQL_VALUE_YES);
}

static void test_connections(void **state)
{
	static const char *const bad[] = { "", "host=x", "dbname=", "dbname=m port=x", "dbname=m port=65536", "dbname=m tls=maybe",
		"dbname=m password=x", "dbname", "dbname=m host" };
	struct sql_connection c;
	const char *why;

	assert_true(sql_connection_parse(&arena, SLICE("host=db port=3307  dbname=mail user=u tls=verify"), &c, &why));
	assert_string_equal(c.host, "db");
	assert_int_equal(c.port, 3307);
	assert_string_equal(c.tls, "verify");
	assert_null(c.socket);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(sql_connection_parse(&arena, slice_of(bad[i]), &c, &why));
}

static void test_values(void **state)
{
	static const struct { const char *value, *address; } good[] = { { "ann@example.org", "ann@example.org" },
		{ "smtp:ann@example.org", "ann@example.org" }, { "SMTP:Ann@Example.org", "Ann@Example.org" },
		{ " smtp: ann@example.org ", "ann@example.org" }, { "\"a:b\"@example.org", "\"a:b\"@example.org" } };
	static const char *const bad[] = { "", "SIP:ann@example.org", "X500:/o=x@y", "x400:c=us", "ann", "@example.org",
		"EUM:ann@example.org", "smtp:", "smtp:ann" };
	struct slice address;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(directory_value_address(slice_of(good[i].value), &address));
		assert_slice(address, good[i].address);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(directory_value_address(slice_of(bad[i]), &address));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_key), cmocka_unit_test(test_filters),
		cmocka_unit_test(test_filters_that_are_none), cmocka_unit_test(test_queries),
		cmocka_unit_test(test_queries_that_are_none), cmocka_unit_test(test_rows), cmocka_unit_test(test_connections),
		cmocka_unit_test(test_values) };

	return cmocka_run_group_tests(tests, NULL, teardown);
}
