/*
 * Reading Authentication-Results.
 *
 *   authres-payload = [CFWS] authserv-id [ CFWS authres-version ] ( no-result / 1*resinfo ) [CFWS] [CRLF]
 *   no-result       = [CFWS] ";" [CFWS] "none"
 *   resinfo         = [CFWS] ";" methodspec [ CFWS reasonspec ] [ CFWS 1*propspec ]
 *   methodspec      = [CFWS] method [CFWS] "=" [CFWS] result
 *   method          = Keyword [ [CFWS] "/" [CFWS] method-version ]
 *   reasonspec      = "reason" [CFWS] "=" [CFWS] value
 *   propspec        = ptype [CFWS] "." [CFWS] property [CFWS] "=" pvalue
 *   pvalue          = [CFWS] ( ( value / [ [ local-part ] "@" ] domain-name ) ) [CFWS]
 *
 * One pass, without going back. Beyond the grammar: a semicolon at the end, which many write; octets over 127 (RFC 6532);
 * any octet but white space, ";", "(" and quotes in a value, since addresses and URLs stand there bare.
 */
#include "wire/authres.h"

#define COMMENT_DEPTH_MAX 32u

struct reader {
	struct arena *arena;
	struct slice rest;
	const char *why;
	unsigned properties;
};

static bool fail(struct reader *r, const char *why)
{
	if (!r->why)
		r->why = why;
	return false;
}

static char peek(const struct reader *r)
{
	return r->rest.n > 0 ? r->rest.p[0] : '\0';
}

static void skip(struct reader *r, size_t n)
{
	r->rest = slice_from(r->rest, n);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* [CFWS] */
static bool skip_space(struct reader *r)
{
	unsigned depth = 0;

	while (r->rest.n > 0 && (depth > 0 || is_space(peek(r)) || peek(r) == '(')) {
		char c = peek(r);

		if (c == '(' && ++depth > COMMENT_DEPTH_MAX)
			return fail(r, "comments are nested too deeply");
		if (c == ')')
			depth--;
		skip(r, depth > 0 && c == '\\' ? 2 : 1);
	}
	return depth == 0 || fail(r, "a comment is not closed");
}

/* Keyword = ALPHA / DIGIT / "-" / "_" ...; of methods, results, property types and names. */
static struct slice take_keyword(struct reader *r)
{
	size_t n = 0;

	while (n < r->rest.n && (ascii_alpha(r->rest.p[n]) || ascii_digit(r->rest.p[n]) || r->rest.p[n] == '-' ||
			r->rest.p[n] == '_'))
		n++;
	struct slice word = slice_head(r->rest, n);

	skip(r, n);
	return word;
}

/* A quoted string, its content added without quotes and backslashes. */
static bool take_quoted(struct reader *r, struct str *out)
{
	skip(r, 1);
	while (r->rest.n > 0) {
		char c = peek(r);

		skip(r, 1);
		if (c == '"')
			return true;
		if (c == '\\' && r->rest.n > 0) {
			c = peek(r);
			skip(r, 1);
		}
		if (c != '\r' && c != '\n')
			str_addc(out, c);
	}
	return fail(r, "a quoted string is not closed");
}

/* value = token / quoted-string, and what addresses are made of. */
static bool take_value(struct reader *r, struct slice *value)
{
	struct str text = STR_IN(r->arena);
	struct slice start = r->rest;
	bool quoted = false;

	while (r->rest.n > 0 && !is_space(peek(r)) && !strchr(";()", peek(r))) {
		if (peek(r) == '"') {
			quoted = true;
			if (!take_quoted(r, &text))
				return false;
		} else {
			if ((unsigned char)peek(r) < ' ' || peek(r) == 127)
				return fail(r, "a control character in a value");
			str_addc(&text, peek(r));
			skip(r, 1);
		}
	}
	*value = quoted ? str_slice(&text) : slice_head(start, start.n - r->rest.n);
	return quoted || value->n > 0 || fail(r, "a value is missing");
}

/* [CFWS] c [CFWS] */
static bool take_mark(struct reader *r, char c, const char *why)
{
	if (!skip_space(r))
		return false;
	if (peek(r) != c)
		return fail(r, why);
	skip(r, 1);
	return skip_space(r);
}

static bool take_version(struct reader *r, uint32_t *version)
{
	struct slice digits = take_keyword(r);
	uint64_t n;

	if (!slice_number(digits, 99999, &n))
		return fail(r, "a version is no number");
	*version = (uint32_t)n;
	return true;
}

/* Section 2.7: which results a registered method may have. */
static bool result_is_known(struct slice method, struct slice result)
{
	static const struct { const char *method, *results; } registered[] = {
		{ "auth", " none pass fail temperror permerror " },
		{ "spf", " none pass fail softfail policy neutral temperror permerror " },
		{ "sender-id", " none pass fail softfail policy neutral temperror permerror " },
		{ "dkim", " none pass fail policy neutral temperror permerror " },
		{ "domainkeys", " none pass fail policy neutral temperror permerror " },
		{ "iprev", " pass fail temperror permerror " },
		{ "dmarc", " none pass fail temperror permerror " },
		{ "arc", " none pass fail " },
	};
	char padded[32] = " ";

	for (size_t i = 0; i < sizeof(registered) / sizeof(registered[0]); i++) {
		if (!slice_eq_nocase(method, slice_of(registered[i].method)))
			continue;
		if (result.n + 3 > sizeof(padded))
			return false;
		memcpy(padded + 1, result.p, result.n);
		padded[result.n + 1] = ' ';
		padded[result.n + 2] = '\0';
		return strstr(registered[i].results, padded) != NULL;
	}
	return true;
}

/* What stands behind the type: "." property "=" pvalue. */
static bool take_property(struct reader *r, struct slice type, struct authres_property *p)
{
	if (type.n == 0)
		return fail(r, "a property has no type");
	if (++r->properties > AUTHRES_MAX_PROPERTIES)
		return fail(r, "there are too many properties");
	p->type = type;
	if (!take_mark(r, '.', "a property has no dot"))
		return false;
	p->name = take_keyword(r);
	if (p->name.n == 0)
		return fail(r, "a property has no name");
	return take_mark(r, '=', "a property has no value") && take_value(r, &p->value);
}

/* [ CFWS reasonspec ] [ CFWS 1*propspec ], up to ";" or the end. */
static bool take_details(struct reader *r, struct authres_result *result)
{
	struct authres_property **last = &result->properties;

	if (!skip_space(r))
		return false;
	while (r->rest.n > 0 && peek(r) != ';') {
		struct slice word = take_keyword(r);

		if (!skip_space(r))
			return false;
		if (peek(r) == '=' && slice_eq_nocase(word, SLICE("reason")) && !result->reason.p && !result->properties) {
			skip(r, 1);
			if (!skip_space(r) || !take_value(r, &result->reason))
				return false;
		} else {
			*last = arena_new(r->arena, struct authres_property);
			if (!take_property(r, word, *last))
				return false;
			last = &(*last)->next;
		}
		if (!skip_space(r))
			return false;
	}
	return true;
}

/* One resinfo behind its semicolon. */
static bool take_result(struct reader *r, struct authres_result *result)
{
	result->version = 1;
	result->method = take_keyword(r);
	if (result->method.n == 0)
		return fail(r, "a method is missing");
	if (!skip_space(r))
		return false;
	if (peek(r) == '/' && (!take_mark(r, '/', "") || !take_version(r, &result->version)))
		return false;
	if (!take_mark(r, '=', "a method has no result"))
		return false;
	result->result = take_keyword(r);
	if (result->result.n == 0)
		return fail(r, "a result is missing");
	result->known = result_is_known(result->method, result->result);
	return take_details(r, result);
}

static bool take_server(struct reader *r, struct slice *server, uint32_t *version)
{
	*version = 1;
	if (!skip_space(r) || !take_value(r, server))
		return false;
	if (!skip_space(r))
		return false;
	return peek(r) == ';' || r->rest.n == 0 || (take_version(r, version) && skip_space(r));
}

/* "; none" and nothing behind it. */
static bool is_no_result(struct reader *r)
{
	struct reader ahead = *r;

	return slice_eq_nocase(take_keyword(&ahead), SLICE("none")) && skip_space(&ahead) &&
		(ahead.rest.n == 0 || (peek(&ahead) == ';' && slice_trim(slice_from(ahead.rest, 1)).n == 0));
}

static bool take_results(struct reader *r, struct authres *out)
{
	struct authres_result **last = &out->results;

	while (r->rest.n > 0) {
		if (!take_mark(r, ';', "something stands where a semicolon should"))
			return false;
		if (r->rest.n == 0 && out->count > 0)
			return true;
		if (out->count == 0 && is_no_result(r))
			return true;
		if (++out->count > AUTHRES_MAX_RESULTS)
			return fail(r, "there are too many results");
		*last = arena_new(r->arena, struct authres_result);
		if (!take_result(r, *last))
			return false;
		last = &(*last)->next;
	}
	return out->count > 0 || fail(r, "there is no result");
}

bool authres_parse(struct authres *out, struct arena *a, struct slice value, const char **why)
{
	struct reader r = { .arena = a, .rest = value };
	struct authres read = { .results = NULL };

	if (!take_server(&r, &read.server, &read.version) || !take_results(&r, &read)) {
		*why = r.why;
		return false;
	}
	*out = read;
	return true;
}

bool authres_names(struct slice value, struct slice server)
{
	struct arena scratch = ARENA_INIT;
	struct reader r = { .arena = &scratch, .rest = value };
	struct slice said, name;
	bool ours;

	if (!skip_space(&r) || !take_value(&r, &said)) {
		ours = slice_search_nocase(value, server) >= 0;
	} else {
		/* What follows a name behind a slash is some servers' own affair. */
		name = domain_canonical(&scratch, slice_split(&said, '/'));
		ours = name.n > 0 && slice_eq(name, domain_canonical(&scratch, server));
	}
	arena_drop(&scratch);
	return ours;
}

bool authres_is_forged(const struct field *f, struct slice server)
{
	if (slice_starts_nocase(f->name, SLICE("Spurn-")))
		return true;
	return slice_eq_nocase(f->name, SLICE("Authentication-Results")) && authres_names(f->value, server);
}
