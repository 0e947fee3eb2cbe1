/*
 * What is asked of directories. The first octet says of what: filters (the input is an address that is put into one), queries of each
 * engine, connection strings, exports.
 *
 * An address in a filter stays inside its parentheses: nothing of it is structure. A query that is taken has as many placeholders as
 * parameters.
 */
#include "wire/address_export.h"
#include "wire/directory_text.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static size_t count(struct slice s, char c)
{
	size_t found = 0;

	for (size_t i = 0; i < s.n; i++)
		found += s.p[i] == c;
	return found;
}

static void check_filter(struct arena *a, struct slice input)
{
	static const char filter[] = "(&(|(mail=%s)(uid=%u))(o=%d))";
	struct str out = STR_IN(a);
	struct directory_key key;
	const char *why;

	if (!directory_key_split(input, &key))
		return;
	ldap_filter_write(&out, slice_of(filter), &key);
	BUG_ON(count(str_slice(&out), '(') != 5 || count(str_slice(&out), ')') != 5 || count(str_slice(&out), '*') != 0);
	for (size_t i = 0; i < out.n; i++)
		BUG_ON(out.p[i] <= ' ' || out.p[i] > '~');
	ldap_filter_check(input, true, &why);
}

static void check_query(struct arena *a, struct slice input, enum sql_engine engine)
{
	struct sql_query q;
	const char *why = NULL;

	if (!sql_query_parse(a, input, engine, true, &q, &why)) {
		BUG_ON(!why);
		return;
	}
	BUG_ON(q.count == 0 || q.count > SQL_PARAMETERS);
	for (size_t i = 0; i < q.count; i++)
		BUG_ON(q.parameter[i] < 1 || q.parameter[i] > 3);
	BUG_ON(engine == SQL_MARIADB && count(q.text, '?') < q.count);
}

static void check_export(struct arena *a, struct slice input)
{
	struct address_export *e = arena_new(a, struct address_export);
	struct slice value, address;
	const char *why = NULL;

	if (!address_export_open(e, a, input, SLICE_NULL, &why)) {
		BUG_ON(!why);
		return;
	}
	while (address_export_next(e, a, &value, &why)) {
		BUG_ON(value.n == 0 || value.n > input.n);
		directory_value_address(value, &address);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct sql_connection c;
	struct slice input;
	const char *why;

	if (n < 1)
		return 0;
	input = slice_make((const char *)bytes + 1, n - 1);
	switch (bytes[0] % 6) {
	case 0:
		check_filter(&a, input);
		break;
	case 4:
		check_export(&a, input);
		break;
	case 5:
		sql_connection_parse(&a, input, &c, &why);
		break;
	default:
		check_query(&a, input, (enum sql_engine)(bytes[0] % 6 - 1));
	}
	arena_drop(&a);
	return 0;
}
