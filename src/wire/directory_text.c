/*
 * Filters, queries, connection strings, values.
 *
 * SQL is read only as far as needed to know where a $1 is a parameter: quotes of all three
 * engines, comments, PostgreSQL's dollar quotes. The text in between is the postmaster's own and passed on
 * as it is, and the address never enters it. Rejected: putting the address into the text and
 * quoting it, which every engine does by other rules and every such list of rules has had its hole.
 */
#include "wire/directory_text.h"

bool directory_key_split(struct slice address, struct directory_key *out)
{
	ptrdiff_t at = slice_rfind(address, '@');

	if (at <= 0 || (size_t)at + 1 == address.n)
		return false;
	out->address = address;
	out->local = slice_head(address, (size_t)at);
	out->domain = slice_from(address, (size_t)at + 1);
	return true;
}

/* ---- LDAP ---- */

/* RFC 4515 section 3: within a value, parentheses come as \28 and \29, so those that are there are the structure. */
static bool parentheses_match(struct slice filter)
{
	size_t depth = 0;

	if (filter.n < 3 || filter.p[0] != '(')
		return false;
	for (size_t i = 0; i < filter.n; i++) {
		depth += filter.p[i] == '(';
		if (filter.p[i] == ')' && (depth == 0 || (--depth == 0 && i + 1 < filter.n)))
			return false;
	}
	return depth == 0;
}

bool ldap_filter_check(struct slice filter, bool asks, const char **why)
{
	bool named = false, any = false;

	*why = "a filter stands in parentheses (RFC 4515)";
	if (!parentheses_match(filter) || slice_find(filter, '\0') >= 0)
		return false;
	for (size_t i = 0; i < filter.n; i++) {
		if (filter.p[i] != '%')
			continue;
		char what = i + 1 < filter.n ? filter.p[i + 1] : '\0';

		*why = "in a filter, % is followed by s (address), u (local part), d (domain) or %";
		if (what != 's' && what != 'u' && what != 'd' && what != '%')
			return false;
		named = named || what == 's' || what == 'u';
		any = any || what != '%';
		i++;
	}
	*why = asks ? "the filter asks for nobody: it has neither %s (address) nor %u (local part)" :
		"a filter that lists everybody has no %s, %u or %d";
	return asks ? named : !any;
}

/* RFC 4515 section 3: valueencoding. What is not plain goes as \XX, also where it need not. */
static void filter_value(struct str *out, struct slice value)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];

		if (c > ' ' && c < 0x7f && !strchr("()*\\&|!=<>~", c)) {
			str_addc(out, (char)c);
		} else {
			str_addc(out, '\\');
			str_addc(out, hex[c >> 4]);
			str_addc(out, hex[c & 15]);
		}
	}
}

void ldap_filter_write(struct str *out, struct slice filter, const struct directory_key *key)
{
	for (size_t i = 0; i < filter.n; i++) {
		if (filter.p[i] != '%' || i + 1 == filter.n) {
			str_addc(out, filter.p[i]);
			continue;
		}
		switch (filter.p[++i]) {
		case 's':
			filter_value(out, key->address);
			break;
		case 'u':
			filter_value(out, key->local);
			break;
		case 'd':
			filter_value(out, key->domain);
			break;
		default:
			str_addc(out, '%');
		}
	}
}

/* ---- SQL ---- */

static bool is_name(char c)
{
	return ascii_alpha(c) || ascii_digit(c) || c == '_' || (unsigned char)c >= 0x80;
}

#define NO_END SIZE_MAX

static size_t skip_quoted(struct slice q, size_t i, bool backslash)
{
	char quote = q.p[i++];

	for (; i < q.n; i++) {
		if (backslash && q.p[i] == '\\')
			i++;
		else if (q.p[i] == quote)
			return i + 1;
	}
	return NO_END;
}

/* PostgreSQL: $tag$ ... $tag$. i: none begins here. */
static size_t skip_dollar_quoted(struct slice q, size_t i)
{
	size_t end = i + 1;
	ptrdiff_t close;

	while (end < q.n && is_name(q.p[end]))
		end++;
	if (end >= q.n || q.p[end] != '$' || (end > i + 1 && ascii_digit(q.p[i + 1])))
		return i;
	close = slice_search(slice_from(q, end + 1), slice_make(q.p + i, end + 1 - i));
	return close < 0 ? NO_END : end + 1 + (size_t)close + (end + 1 - i);
}

/* What stands for itself: quoted text and comments. Returns its end; i: nothing of the kind begins at i; NO_END. */
static size_t skip_verbatim(struct slice q, size_t i, enum sql_engine engine)
{
	struct slice rest = slice_from(q, i);
	ptrdiff_t end;

	switch (q.p[i]) {
	case '\'':
		return skip_quoted(q, i, engine == SQL_MARIADB ||
			(engine == SQL_POSTGRESQL && i > 0 && (q.p[i - 1] == 'E' || q.p[i - 1] == 'e')));
	case '"':
		return skip_quoted(q, i, engine == SQL_MARIADB);
	case '`':
		return skip_quoted(q, i, false);
	case '$':
		return engine == SQL_POSTGRESQL ? skip_dollar_quoted(q, i) : i;
	default:
		break;
	}
	if (slice_starts(rest, SLICE("--")) || (engine == SQL_MARIADB && q.p[i] == '#')) {
		end = slice_find(rest, '\n');
		return end < 0 ? q.n : i + (size_t)end + 1;
	}
	if (slice_starts(rest, SLICE("/*"))) {
		end = slice_search(slice_from(rest, 2), SLICE("*/"));
		return end < 0 ? NO_END : i + 2 + (size_t)end + 2;
	}
	return i;
}

static void add_placeholder(struct str *out, enum sql_engine engine, size_t nth)
{
	if (engine == SQL_MARIADB)
		str_addc(out, '?');
	else
		str_printf(out, "%c%zu", engine == SQL_POSTGRESQL ? '$' : '?', nth);
}

/* $1, $2 or $3 at i. 0: no parameter; more: *why. */
static bool read_parameter(struct slice q, size_t i, unsigned *which, const char **why)
{
	*which = 0;
	if (q.p[i] != '$' || i + 1 >= q.n || !ascii_digit(q.p[i + 1]))
		return true;
	*why = "parameters are $1 (address), $2 (local part) and $3 (domain)";
	if (q.p[i + 1] < '1' || q.p[i + 1] > '3' || (i + 2 < q.n && is_name(q.p[i + 2])))
		return false;
	*which = (unsigned)(q.p[i + 1] - '0');
	return true;
}

static bool query_finish(const struct sql_query *q, bool asks, const char **why)
{
	bool named = false;

	for (size_t i = 0; i < q->count; i++)
		named = named || q->parameter[i] < 3;
	*why = asks ? "the query asks for nobody: it has neither $1 (address) nor $2 (local part)" :
		"a query that lists everybody has no parameters";
	return asks ? named : q->count == 0;
}

bool sql_query_parse(struct arena *a, struct slice query, enum sql_engine engine, bool asks, struct sql_query *out,
	const char **why)
{
	struct sql_query q = { .count = 0 };
	struct str text = STR_IN(a);
	size_t i = 0;
	unsigned which;

	query = slice_trim(query);
	*why = "a query is one statement, without NUL";
	if (query.n == 0 || slice_find(query, '\0') >= 0)
		return false;
	while (i < query.n) {
		size_t end = skip_verbatim(query, i, engine);

		*why = "a quote or comment in the query has no end";
		if (end > query.n)
			return false;
		if (end > i) {
			str_add(&text, slice_make(query.p + i, end - i));
			i = end;
			continue;
		}
		*why = "a query is one statement, without ; and without ? placeholders";
		if (query.p[i] == ';' || (query.p[i] == '?' && engine != SQL_POSTGRESQL))
			return false;
		if (!read_parameter(query, i, &which, why))
			return false;
		if (which == 0) {
			str_addc(&text, query.p[i++]);
			continue;
		}
		*why = "too many parameters in the query";
		if (q.count == SQL_PARAMETERS)
			return false;
		q.parameter[q.count++] = (uint8_t)which;
		add_placeholder(&text, engine, q.count);
		i += 2;
	}
	q.text = str_slice(&text);
	if (!query_finish(&q, asks, why))
		return false;
	*out = q;
	return true;
}

struct slice sql_parameter(const struct directory_key *key, unsigned which)
{
	return which == 1 ? key->address : which == 2 ? key->local : key->domain;
}

enum sql_value sql_value_of(struct slice value, bool null)
{
	static const char *const unclear[] = { "", "0", "f", "false" };

	if (null)
		return SQL_VALUE_NO;
	for (size_t i = 0; i < sizeof(unclear) / sizeof(unclear[0]); i++)
		if (slice_eq_nocase(value, slice_of(unclear[i])))
			return SQL_VALUE_UNCLEAR;
	return SQL_VALUE_YES;
}

/* ---- connection strings ---- */

bool sql_connection_parse(struct arena *a, struct slice text, struct sql_connection *out, const char **why)
{
	struct sql_connection c = { .host = NULL };
	const struct { const char *name; const char **value; } keys[] = { { "host", &c.host }, { "socket", &c.socket },
		{ "dbname", &c.dbname }, { "user", &c.user }, { "tls", &c.tls } };
	struct slice word;
	uint64_t port;

	while ((word = slice_word(&text)).n > 0) {
		struct slice value = word, name = slice_split(&value, '=');
		bool known = false;

		*why = "port is a number";
		if (slice_eq(name, SLICE("port"))) {
			if (!slice_number(value, 65535, &port))
				return false;
			c.port = (unsigned)port;
			continue;
		}
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !known; i++) {
			known = slice_eq(name, slice_of(keys[i].name));
			if (known)
				*keys[i].value = slice_cstr(a, value);
		}
		*why = "the connection is host=, port=, socket=, dbname=, user=, tls=, with blanks between";
		if (!known || value.n == 0)
			return false;
	}
	*why = "tls is none, require or verify";
	if (c.tls && strcmp(c.tls, "none") != 0 && strcmp(c.tls, "require") != 0 && strcmp(c.tls, "verify") != 0)
		return false;
	*why = "the connection names no dbname";
	if (!c.dbname)
		return false;
	*out = c;
	return true;
}

/* ---- values ---- */

bool directory_value_address(struct slice value, struct slice *address)
{
	struct slice text = slice_trim(value);
	size_t letters = 0;

	while (letters < text.n && (ascii_alpha(text.p[letters]) || ascii_digit(text.p[letters])))
		letters++;
	/* "smtp:" is a type, "ann:" of a quoted local part cannot be one: a colon needs quotes there. */
	if (letters > 0 && letters < text.n && text.p[letters] == ':') {
		if (!slice_eq_nocase(slice_head(text, letters), SLICE("smtp")))
			return false;
		text = slice_trim(slice_from(text, letters + 1));
	}
	if (slice_find(text, '@') <= 0)
		return false;
	*address = text;
	return true;
}
