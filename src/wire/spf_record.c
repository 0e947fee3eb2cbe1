/*
 * SPF records.
 *
 * A term is cut at its first ":", "/" or "=": what stands before the "=" is a modifier's name, anything
 * else is a mechanism (section 4.6.1). So "ip4=192.0.2.1" is a modifier that nobody knows, as the grammar
 * says, however it was meant. The prefix lengths of "a" and "mx" are taken from the end of the term, since a domain-spec
 * may hold colons and slashes itself. Rejected: mending what publishers often get wrong ("ip:", "ipv4:", missing spaces);
 * who guesses what a record means accepts mail its publisher wanted refused, or the reverse.
 */
#include "wire/spf_record.h"

#include "wire/spf_macro.h"

#define SLICE_ROW(literal) { literal, sizeof(literal) - 1 }

static const struct mechanism {
	struct slice name;
	enum spf_mechanism mechanism;
	bool takes_domain, needs_domain, takes_lengths;
} mechanisms[] = {
	{ SLICE_ROW("all"), SPF_ALL, false, false, false },
	{ SLICE_ROW("include"), SPF_INCLUDE, true, true, false },
	{ SLICE_ROW("a"), SPF_A, true, false, true },
	{ SLICE_ROW("mx"), SPF_MX, true, false, true },
	{ SLICE_ROW("ptr"), SPF_PTR, true, false, false },
	{ SLICE_ROW("ip4"), SPF_IP4, false, false, false },
	{ SLICE_ROW("ip6"), SPF_IP6, false, false, false },
	{ SLICE_ROW("exists"), SPF_EXISTS, true, true, false },
};

const char *spf_mechanism_name(enum spf_mechanism m)
{
	return mechanisms[m].name.p;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool spf_record_is(struct slice txt)
{
	return slice_starts_nocase(txt, SLICE("v=spf1")) && (txt.n == 6 || txt.p[6] == ' ');
}

/* ---- prefix lengths ---- */

/* "0" / %x31-39 0*DIGIT, at most max. */
static bool length_parse(struct slice text, unsigned max, uint8_t *out)
{
	uint64_t n;

	if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0') || !slice_number(text, max, &n))
		return false;
	*out = (uint8_t)n;
	return true;
}

/* The digits at the end of *text, if `slashes` stand before them, are cut off and returned. */
static struct slice length_cut(struct slice *text, struct slice slashes)
{
	size_t n = text->n;
	struct slice digits;

	while (n > 0 && is_digit(text->p[n - 1]))
		n--;
	digits = slice_from(*text, n);
	if (digits.n == 0 || n < slashes.n || memcmp(text->p + n - slashes.n, slashes.p, slashes.n) != 0)
		return SLICE_NULL;
	text->n = n - slashes.n;
	return digits;
}

/* Section 5.6, 5.3:
 *   ip4-cidr-length = "/" ("0" / %x31-39 0*1DIGIT) ; value range 0-32
 *   ip6-cidr-length = "/" ("0" / %x31-39 0*2DIGIT) ; value range 0-128
 *   dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ] */
static bool lengths_cut(struct slice *text, struct spf_term *term)
{
	struct slice six = length_cut(text, SLICE("//"));
	struct slice four = length_cut(text, SLICE("/"));

	return (!six.p || length_parse(six, 128, &term->bits6)) && (!four.p || length_parse(four, 32, &term->bits4));
}

/* ---- mechanisms ---- */

/* Section 5.6: ip4 = "ip4" ":" ip4-network [ ip4-cidr-length ]; the same for ip6. */
static bool network_parse(struct spf_term *term, struct slice text, const char **why)
{
	bool four = term->mechanism == SPF_IP4;
	ptrdiff_t slash = slice_find(text, '/');
	struct slice length = slash >= 0 ? slice_from(text, (size_t)slash + 1) : SLICE_NULL;

	if (slash >= 0 && !length_parse(length, four ? 32 : 128, four ? &term->bits4 : &term->bits6)) {
		*why = "a bad prefix length";
		return false;
	}
	if (slash >= 0)
		text = slice_head(text, (size_t)slash);
	/* inet_pton() takes no leading zeros and no fewer than four numbers, as the grammar wants it. */
	if (!ip_parse(&term->ip, text) || (slice_find(text, ':') < 0) != four) {
		*why = four ? "a bad IPv4 address" : "a bad IPv6 address";
		return false;
	}
	return true;
}

/* What follows the name of a mechanism: nothing, ":" and more, or "/" and a length. */
static bool argument_parse(struct spf_term *term, const struct mechanism *m, struct slice text, const char **why)
{
	if (m->mechanism == SPF_IP4 || m->mechanism == SPF_IP6) {
		if (text.n == 0 || text.p[0] != ':') {
			*why = "an address is missing";
			return false;
		}
		return network_parse(term, slice_from(text, 1), why);
	}
	if (m->takes_lengths && !lengths_cut(&text, term)) {
		*why = "a bad prefix length";
		return false;
	}
	if (text.n == 0 && !m->needs_domain)
		return true;
	if (text.n == 0 || text.p[0] != ':' || !m->takes_domain) {
		*why = text.n == 0 ? "a domain name is missing" : "an argument that the mechanism does not take";
		return false;
	}
	term->domain = slice_from(text, 1);
	return spf_macro_valid(term->domain, SPF_MACRO_DOMAIN, why);
}

static bool directive_parse(struct spf_term *term, struct slice name, struct slice argument, const char **why)
{
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(*mechanisms); i++) {
		if (!slice_eq_nocase(name, mechanisms[i].name))
			continue;
		term->mechanism = (uint8_t)mechanisms[i].mechanism;
		return argument_parse(term, &mechanisms[i], argument, why);
	}
	*why = "an unknown mechanism";
	return false;
}

/* ---- modifiers ---- */

/* Section 6: "redirect" and "exp" "MUST NOT appear in a record more than once each"; others are ignored, and have
 * to follow the grammar: unknown-modifier = name "=" macro-string. */
static bool modifier_parse(struct spf_record *r, struct slice name, struct slice value, const char **why)
{
	struct slice *known = slice_eq_nocase(name, SLICE("redirect")) ? &r->redirect :
		slice_eq_nocase(name, SLICE("exp")) ? &r->explanation : NULL;

	if (name.n == 0 || !is_alpha(name.p[0])) {
		*why = "a modifier without a proper name";
		return false;
	}
	if (!known)
		return spf_macro_valid(value, SPF_MACRO_STRING, why);
	if (known->n > 0) {
		*why = "a modifier that may stand only once";
		return false;
	}
	if (!spf_macro_valid(value, SPF_MACRO_DOMAIN, why))
		return false;
	*known = value;
	return true;
}

/* ---- the record ---- */

/* name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ) */
static size_t name_length(struct slice text)
{
	size_t n = 0;

	while (n < text.n && (is_alpha(text.p[n]) || is_digit(text.p[n]) || text.p[n] == '-' || text.p[n] == '_' ||
	       text.p[n] == '.'))
		n++;
	return n;
}

static bool term_parse(struct spf_record *r, struct slice text, const char **why)
{
	struct spf_term term = { .qualifier = '+', .bits4 = 32, .bits6 = 128, .text = text };
	struct slice name, rest = text;
	bool qualified = text.p[0] != '\0' && strchr("+-?~", text.p[0]);

	if (qualified) {
		term.qualifier = text.p[0];
		rest = slice_from(text, 1);
	}
	name = slice_head(rest, name_length(rest));
	rest = slice_from(rest, name.n);
	if (rest.n > 0 && rest.p[0] == '=' && !qualified)
		return modifier_parse(r, name, slice_from(rest, 1), why);
	if (!directive_parse(&term, name, rest, why))
		return false;
	r->terms[r->count++] = term;
	return true;
}

/* Words, as an upper bound of terms. */
static size_t words(struct slice text)
{
	size_t n = 0;

	for (; text.n > 0; n++)
		slice_split(&text, ' ');
	return n;
}

/* Section 4.6.1, 12:
 *   record = version terms *SP
 *   terms = *( 1*SP ( directive / modifier ) ) */
bool spf_record_parse(struct spf_record *out, struct arena *a, struct slice text, const char **why)
{
	struct spf_record r = { .count = 0 };
	const char *phrase = NULL;
	struct slice rest;

	if (text.n > SPF_RECORD_MAX) {
		*why = "it is too long";
		return false;
	}
	r.terms = arena_array(a, struct spf_term, words(text) + 1);
	rest = slice_from(text, 6);
	while (rest.n > 0) {
		struct slice term = slice_split(&rest, ' ');
		struct str shown = STR_IN(a);

		if (term.n == 0 || term_parse(&r, term, &phrase))
			continue;
		str_puts(&shown, phrase);
		str_puts(&shown, " in \"");
		str_escaped(&shown, term, 100);
		str_addc(&shown, '"');
		*why = str_cstr(&shown);
		return false;
	}
	*out = r;
	return true;
}
