/*
 * Macros of SPF.
 *
 * The syntax is checked as a whole before anything is expanded (RFC 7208 section 4.6), so that the expander can trust
 * what it reads and has no errors of its own except one: too long. A domain's record decides how
 * often our values are repeated, hence the bound. Rejected: a parsed form of macro strings; most texts
 * have no macro at all, and the others are read twice in less time than a list would take to build.
 */
#include "wire/spf_macro.h"

#include "base/log.h"
#include "wire/dns_name.h"

#define PARTS_MAX 128	/* section 7.3: at least that many must be supported; values here have no more */
#define NAME_MAX_TEXT 253

/* ---- syntax ---- */

static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool is_delimiter(char c)
{
	return c != '\0' && strchr(".-+,/_=", c) != NULL;
}

/* One "%{" macro-letter transformers *delimiter "}" */
struct macro {
	char letter;			/* lower case */
	bool escape;			/* it was upper case: URL-escaped */
	bool reverse;
	unsigned keep;			/* parts from the right; 0: all */
	struct slice delimiters;
};

/* RFC 7208 section 7.1:
 *   macro-expand = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
 *   transformers = *DIGIT [ "r" ]
 *   delimiter = "." / "-" / "+" / "," / "/" / "_" / "="
 * Reads what stands behind "%{". Returns its length with the brace, 0 and *why if it is none. */
static size_t macro_read(struct macro *out, struct slice text, const char **why)
{
	struct macro m = { .letter = text.n > 0 ? lower(text.p[0]) : '\0' };
	size_t at = 1, digits;

	if (m.letter == '\0' || !strchr("slodiphcrtv", m.letter)) {
		*why = "unknown macro letter";
		return 0;
	}
	m.escape = text.p[0] != m.letter;
	digits = at;
	while (at < text.n && is_digit(text.p[at])) {
		m.keep = m.keep < 1000 ? m.keep * 10 + (unsigned)(text.p[at] - '0') : m.keep;
		at++;
	}
	if (at > digits && m.keep == 0) {	/* section 7.3: "the value MUST be nonzero" */
		*why = "a macro keeps zero parts";
		return 0;
	}
	if (at < text.n && lower(text.p[at]) == 'r') {
		m.reverse = true;
		at++;
	}
	m.delimiters = slice_from(text, at);
	while (at < text.n && is_delimiter(text.p[at]))
		at++;
	m.delimiters = slice_head(m.delimiters, at - (text.n - m.delimiters.n));
	if (at == text.n || text.p[at] != '}') {
		*why = "a macro is not closed";
		return 0;
	}
	*out = m;
	return at + 1;
}

/* Section 7.1:
 *   toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum ) */
static bool toplabel_valid(struct slice label)
{
	bool named = false;

	if (label.n == 0 || !is_alnum(label.p[0]) || !is_alnum(label.p[label.n - 1]))
		return false;
	for (size_t i = 0; i < label.n; i++) {
		if (!is_alnum(label.p[i]) && label.p[i] != '-')
			return false;
		named |= !is_digit(label.p[i]);
	}
	return named;
}

/* domain-end = ( "." toplabel [ "." ] ) / macro-expand; `tail` is what follows the last macro. */
static bool domain_end_valid(struct slice text, struct slice tail)
{
	ptrdiff_t dot;

	if (tail.n == 0)
		return text.n > 0;
	if (tail.p[tail.n - 1] == '.')
		tail.n--;
	dot = slice_rfind(tail, '.');
	return dot >= 0 && toplabel_valid(slice_from(tail, (size_t)dot + 1));
}

/* The length of what "%" begins, 0 and *why if it is no macro. */
static size_t percent_length(struct slice text, enum spf_macro_kind kind, const char **why)
{
	struct macro m;
	size_t n;

	if (text.n >= 2 && (text.p[1] == '%' || text.p[1] == '_' || text.p[1] == '-'))
		return 2;
	if (text.n < 2 || text.p[1] != '{') {
		*why = "a percent sign that begins no macro";
		return 0;
	}
	n = macro_read(&m, slice_from(text, 2), why);
	/* Section 7.2: "The following macro letters are allowed only in "exp" text" */
	if (n > 0 && kind == SPF_MACRO_DOMAIN && strchr("crt", m.letter)) {
		*why = "a macro letter that is for explanations alone";
		return 0;
	}
	return n > 0 ? n + 2 : 0;
}

bool spf_macro_valid(struct slice text, enum spf_macro_kind kind, const char **why)
{
	size_t at = 0, tail = 0;

	while (at < text.n) {
		char c = text.p[at];

		if (c == '%') {
			size_t n = percent_length(slice_from(text, at), kind, why);

			if (n == 0)
				return false;
			tail = at += n;
			continue;
		}
		/* macro-literal = %x21-24 / %x26-7E */
		if ((c < 0x21 || c > 0x7e) && !(c == ' ' && kind == SPF_MACRO_EXPLANATION)) {
			*why = "a character that is no printable ASCII";
			return false;
		}
		at++;
	}
	if (kind == SPF_MACRO_DOMAIN && !domain_end_valid(text, slice_from(text, tail))) {
		*why = text.n == 0 ? "a domain name is missing" : "a domain name without a valid top label";
		return false;
	}
	return true;
}

/* ---- reading a valid text ---- */

/* Calls for the next piece: a literal run in *literal, or a macro (*literal is empty then). false: the end. */
static bool piece_next(struct slice *rest, struct slice *literal, struct macro *m)
{
	const char *why = NULL;
	ptrdiff_t at;
	size_t n;

	*literal = SLICE_NULL;
	if (rest->n == 0)
		return false;
	at = slice_find(*rest, '%');
	if (at != 0) {
		*literal = at > 0 ? slice_head(*rest, (size_t)at) : *rest;
		*rest = slice_from(*rest, literal->n);
		return true;
	}
	BUG_ON(rest->n < 2);	/* valid texts have no lone percent sign */
	if (rest->p[1] != '{') {
		*literal = rest->p[1] == '%' ? SLICE("%") : rest->p[1] == '_' ? SLICE(" ") : SLICE("%20");
		*rest = slice_from(*rest, 2);
		return true;
	}
	n = macro_read(m, slice_from(*rest, 2), &why);
	BUG_ON(n == 0);
	*rest = slice_from(*rest, n + 2);
	return true;
}

bool spf_macro_uses(struct slice text, char letter)
{
	struct slice literal;
	struct macro m;

	while (piece_next(&text, &literal, &m))
		if (slice_empty(literal) && m.letter == letter)
			return true;
	return false;
}

/* ---- expansion ---- */

/* Section 7.3: "%{i}" of IPv6 is dot-separated nibbles. Returns the length. */
static size_t nibbles_write(char *out, const struct ip *ip)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (int i = 0; i < 16; i++) {
		out[n++] = hex[ip->bytes[i] >> 4];
		out[n++] = '.';
		out[n++] = hex[ip->bytes[i] & 15];
		out[n++] = '.';
	}
	return n - 1;
}

static struct slice or_unknown(struct slice s)
{
	return s.n > 0 ? s : SLICE("unknown");
}

/* The value of a letter, in `room` if it has to be made. */
static struct slice macro_value(const struct macro *m, const struct spf_macro_values *v, struct str *room)
{
	char text[IP_TEXT], nibbles[64];

	switch (m->letter) {
	case 's':
		str_add(room, v->local);
		str_addc(room, '@');
		str_add(room, v->sender_domain);
		break;
	case 'l': return v->local;
	case 'o': return v->sender_domain;
	case 'd': return v->domain;
	case 'p': return or_unknown(v->validated);
	case 'h': return v->helo;
	case 'r': return or_unknown(v->receiver);
	case 'v': return ip_is_v4(v->ip) ? SLICE("in-addr") : SLICE("ip6");
	case 't': str_number(room, v->now > 0 ? (uint64_t)v->now : 0); break;
	case 'i':
		if (!ip_is_v4(v->ip)) {
			str_add(room, slice_make(nibbles, nibbles_write(nibbles, v->ip)));
			break;
		}
		/* fall through */
	default:	/* %{c}, too */
		str_puts(room, ip_text(v->ip, text));
	}
	return str_slice(room);
}

/* Section 7.3: "all characters not in the "unreserved" set, which is defined in [RFC3986]" */
static void part_write(struct str *out, struct slice part, bool escape)
{
	for (size_t i = 0; i < part.n; i++) {
		char c = part.p[i];

		if (!escape || is_alnum(c) || (c != '\0' && strchr("-._~", c)))
			str_addc(out, c);
		else
			str_printf(out, "%%%02X", (uint8_t)c);
	}
}

/* Section 7.3: split at the delimiters, reversed if so wished, the rightmost parts kept, joined with dots. */
static void value_write(struct str *out, struct slice value, const struct macro *m)
{
	struct slice delimiters = m->delimiters.n > 0 ? m->delimiters : SLICE("."), parts[PARTS_MAX + 1];
	size_t count = 0, begin = 0, first;

	if (m->delimiters.n == 0 && m->keep == 0 && !m->reverse) {
		part_write(out, value, m->escape);
		return;
	}
	for (size_t i = 0; i < value.n && count < PARTS_MAX; i++) {
		if (slice_find(delimiters, value.p[i]) < 0)
			continue;
		parts[count++] = slice_make(value.p + begin, i - begin);
		begin = i + 1;
	}
	parts[count++] = slice_from(value, begin);
	first = m->keep > 0 && m->keep < count ? count - m->keep : 0;
	for (size_t i = first; i < count; i++) {
		if (i > first)
			str_addc(out, '.');
		part_write(out, parts[m->reverse ? count - 1 - i : i], m->escape);
	}
}

bool spf_macro_expand(struct str *out, struct slice text, const struct spf_macro_values *values)
{
	size_t end = out->n + SPF_EXPANSION_MAX;
	struct slice literal;
	struct macro m;

	while (piece_next(&text, &literal, &m)) {
		struct str room = STR_IN(out->arena);

		if (literal.n > 0)
			str_add(out, literal);
		else
			value_write(out, macro_value(&m, values, &room), &m);
		if (out->n > end) {
			out->n = end;
			return false;
		}
	}
	return true;
}

/* ---- names ---- */

/* Section 7.3: "the left side is truncated to fit, by removing successive domain labels (and their following dots) until
 * the total length does not exceed 253 characters." */
static struct slice name_fit(struct slice name)
{
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	while (name.n > NAME_MAX_TEXT) {
		ptrdiff_t dot = slice_find(name, '.');

		if (dot < 0)
			return SLICE_NULL;
		name = slice_from(name, (size_t)dot + 1);
	}
	return name;
}

struct slice spf_macro_domain(struct arena *a, struct slice text, const struct spf_macro_values *values)
{
	struct str out = STR_IN(a);
	struct dns_name name;

	if (slice_find(text, '%') >= 0) {
		if (!spf_macro_expand(&out, text, values))
			return SLICE_NULL;
		text = str_slice(&out);
	}
	text = name_fit(text);
	return text.n > 0 && dns_name_parse(&name, text) ? text : SLICE_NULL;
}
