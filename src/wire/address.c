/*
 * Paths, mailboxes, and what an address means apart from how it is written.
 *
 * The parsers cut slices out of a command line and allocate nothing. They hold to the grammar of RFC 5321,
 * since an address that two programs read differently is how mail gets past a check; they give way where
 * real mail needs it, and each place says so. address_form() then takes off
 * what others have wrapped around a local part, so that all look-ups know one name for one mailbox.
 *
 * Who wrapped an address is told by its shape alone. For canonical purposes a shape that only
 * looks like a tag does no harm (no mailbox is named "prvs=0123abcdef=joe"); what a tag proves is
 * decided elsewhere, by its key.
 *
 * Rejected: RFC 5322 syntax (comments, folding, obsolete forms: not in SMTP, and each a way to
 * hide); tags as regular expressions (six fixed shapes); Unicode normalisation of local parts (RFC 6531
 * section 3.3 leaves them to the receiving system, and we compare what it gets).
 */
#include "wire/address.h"

#include <idn2.h>

/* RFC 5321 section 4.5.3.1.1 says 64 octets. Return addresses of mailing lists and forwarders (VERP, SRS) pass that
 * every day and no mail server minds: the length of the whole path is the limit that holds. */
#define LOCAL_MAX 250u
#define DOMAIN_MAX 255u	/* section 4.5.3.1.2 */
#define PATH_MAX_TEXT 254u	/* section 4.5.3.1.3: 256 with the angle brackets */
#define LABEL_MAX 63u	/* RFC 1035 section 2.3.4 */
#define ROUTE_MAX 512u

static bool refuse(const char **why, const char *reason)
{
	*why = reason;
	return false;
}

/* ---- characters ---- */

/* RFC 5322 section 3.2.3: atext = ALPHA / DIGIT / "!#$%&'*+-/=?^_`{|}~" */
static bool is_atext(char c)
{
	return ascii_alpha(c) || ascii_digit(c) || (c > ' ' && memchr("!#$%&'*+-/=?^_`{|}~", c, 19));
}

/* The length of the character at the start of s if it is UTF8-non-ascii (RFC 6531 section 3.3), else 0. Deviation:
 * C1 controls (U+0080 to U+009F) are none; no name has them, and terminals obey them. */
static size_t non_ascii_length(struct slice s)
{
	size_t n;

	if (s.n == 0 || !(s.p[0] & 0x80))
		return 0;
	n = utf8_length(s);
	return n == 2 && (unsigned char)s.p[0] == 0xc2 && (unsigned char)s.p[1] < 0xa0 ? 0 : n;
}

/* ---- domains ---- */

/* RFC 5321 section 4.1.2, RFC 6531 section 3.3:
 *   sub-domain = Let-dig [Ldh-str] / U-label
 *   Let-dig = ALPHA / DIGIT, Ldh-str = *( ALPHA / DIGIT / "-" ) Let-dig
 * Deviation: underscores, which real hosts have in their names. Returns the length, 0 if there is none. */
static size_t label_length(struct slice s, bool utf8)
{
	size_t n = 0;
	bool ascii = true;

	while (n < s.n) {
		char c = s.p[n];
		size_t wide = utf8 ? non_ascii_length(slice_from(s, n)) : 0;
		if (!wide && !ascii_alpha(c) && !ascii_digit(c) && c != '-' && c != '_')
			break;
		ascii = ascii && !wide;
		n += wide ? wide : 1;
	}
	if (n == 0 || (ascii && n > LABEL_MAX) || s.p[0] == '-' || s.p[n - 1] == '-')
		return 0;
	return n;
}

/* Domain = sub-domain *("." sub-domain). Returns the length of the longest one at the start, 0 if none. */
static size_t domain_length(struct slice s, bool utf8)
{
	size_t n = label_length(s, utf8), next;

	while (n > 0 && n < s.n && s.p[n] == '.') {
		next = label_length(slice_from(s, n + 1), utf8);
		if (next == 0)
			return 0;
		n += 1 + next;
	}
	return n <= DOMAIN_MAX ? n : 0;
}

bool domain_valid(struct slice domain, bool utf8)
{
	return domain.n > 0 && domain_length(domain, utf8) == domain.n;
}

/* RFC 5321 section 4.1.3:
 *   address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
 *   IPv6-address-literal = "IPv6:" IPv6-addr
 * General-address-literal needs a tag registered with IANA, and there is none. Returns the length with
 * brackets, 0 if it is malformed. */
static size_t literal_parse(struct slice s, struct ip *ip)
{
	ptrdiff_t end = slice_find(s, ']');
	struct slice inner;
	bool v6;

	if (end < 0 || s.p[0] != '[')
		return 0;
	inner = slice_make(s.p + 1, (size_t)end - 1);
	v6 = slice_starts_nocase(inner, SLICE("IPv6:"));
	if (v6)
		inner = slice_from(inner, 5);
	if ((slice_find(inner, ':') >= 0) != v6 || !ip_parse(ip, inner))
		return 0;
	return (size_t)end + 1;
}

static struct slice literal_canonical(struct arena *a, struct slice literal)
{
	struct ip ip;
	char text[56];

	if (literal_parse(literal, &ip) != literal.n)
		return SLICE_NULL;
	return slice_lower(a, slice_of(ip_literal(&ip, text)));
}

/* RFC 5890 section 2.3.2.1: the A-label form of each U-label. */
static struct slice domain_to_ascii(struct arena *a, struct slice domain)
{
	char *ascii = NULL;
	struct slice out = SLICE_NULL;

	if (idn2_lookup_u8((const uint8_t *)slice_cstr(a, domain), (uint8_t **)&ascii,
		IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK)
		out = slice_lower(a, slice_of(ascii));
	idn2_free(ascii);
	return out;
}

struct slice domain_canonical(struct arena *a, struct slice domain)
{
	struct slice out;

	if (domain.n > 0 && domain.p[0] == '[')
		return literal_canonical(a, domain);
	if (domain.n > 0 && domain.p[domain.n - 1] == '.')
		domain.n--;
	if (!domain_valid(domain, true))
		return SLICE_NULL;
	if (ascii_only(domain))
		return slice_lower(a, domain);
	/* Unicode knows more than one dot, and mappings that yield ASCII: what comes out is looked at as well. */
	out = domain_to_ascii(a, domain);
	return domain_valid(out, false) ? out : SLICE_NULL;
}

/* ---- mailboxes ---- */

/* RFC 5321 section 4.1.2, RFC 6531 section 3.3:
 *   Dot-string = Atom *("." Atom), Atom = 1*atext, atext =/ UTF8-non-ascii
 * Returns the length of the longest one at the start, 0 if there is none. */
static size_t dot_string_length(struct slice s, bool *utf8)
{
	size_t n = 0;
	bool dot = true;	/* an atom has to begin here */

	while (n < s.n) {
		size_t wide = non_ascii_length(slice_from(s, n));
		if (s.p[n] == '.' && dot)
			return 0;
		if (s.p[n] != '.' && !wide && !is_atext(s.p[n]))
			break;
		dot = s.p[n] == '.';
		*utf8 |= wide > 0;
		n += wide ? wide : 1;
	}
	return dot ? 0 : n;
}

/* RFC 5321 section 4.1.2, RFC 6531 section 3.3:
 *   Quoted-string = DQUOTE *QcontentSMTP DQUOTE
 *   QcontentSMTP = qtextSMTP / quoted-pairSMTP
 *   quoted-pairSMTP = %d92 %d32-126
 *   qtextSMTP = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
 * Returns the length with both quotes, 0 if it is malformed. */
static size_t quoted_string_length(struct slice s, bool *utf8)
{
	size_t n = 1;

	while (n < s.n && s.p[n] != '"') {
		size_t wide = non_ascii_length(slice_from(s, n));
		*utf8 |= wide > 0;
		if (!wide && s.p[n] == '\\' && ++n == s.n)
			return 0;
		if (!wide && (s.p[n] < ' ' || s.p[n] > '~'))
			return 0;
		n += wide ? wide : 1;
	}
	return n < s.n ? n + 1 : 0;
}

/* Local-part = Dot-string / Quoted-string */
static bool local_parse(struct path *out, struct slice *rest, const char **why)
{
	size_t n;

	out->quoted = rest->n > 0 && rest->p[0] == '"';
	n = out->quoted ? quoted_string_length(*rest, &out->utf8) : dot_string_length(*rest, &out->utf8);
	if (n == 0)
		return refuse(why, "malformed local part");
	if (n > LOCAL_MAX)
		return refuse(why, "local part too long");
	out->local = slice_head(*rest, n);
	*rest = slice_from(*rest, n);
	return true;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool mailbox_parse(struct path *out, struct slice *rest, bool utf8, const char **why)
{
	struct path p = { .null = false };
	struct slice at = *rest;
	struct ip ip;
	size_t n;

	if (!local_parse(&p, &at, why))
		return false;
	if (at.n == 0 || at.p[0] != '@')
		return refuse(why, at.n == 0 || at.p[0] == '>' ? "no domain" : "malformed local part");
	at = slice_from(at, 1);
	p.literal = at.n > 0 && at.p[0] == '[';
	n = p.literal ? literal_parse(at, &ip) : domain_length(at, true);
	if (n == 0)
		return refuse(why, p.literal ? "malformed address literal" : "malformed domain");
	p.domain = slice_head(at, n);
	p.utf8 = p.utf8 || !ascii_only(p.domain);
	p.text = slice_head(*rest, p.local.n + 1 + n);
	if (p.text.n > PATH_MAX_TEXT)
		return refuse(why, "address too long");
	if (p.utf8 && !utf8)
		return refuse(why, "non-ASCII address without SMTPUTF8");
	*rest = slice_from(at, n);
	*out = p;
	return true;
}

/* ---- paths ---- */

/* A-d-l = At-domain *( "," At-domain ), At-domain = "@" Domain, and the colon behind it. Read and left out:
 * RFC 5321 appendix C, "SHOULD ignore the source route". */
static bool skip_route(struct slice *rest, bool utf8)
{
	struct slice at = *rest;

	while (at.n > 0 && at.p[0] == '@') {
		size_t n = domain_length(slice_from(at, 1), utf8);
		at = slice_from(at, 1 + n);
		if (n == 0 || at.n == 0 || (at.p[0] != ',' && at.p[0] != ':'))
			return false;
		n = at.p[0] == ':';
		at = slice_from(at, 1);
		if (n) {
			n = rest->n - at.n;
			*rest = at;
			return n <= ROUTE_MAX;
		}
	}
	return false;
}

/* RFC 5321 section 4.1.2:
 *   Reverse-path = Path / "<>"
 *   Path = "<" [ A-d-l ":" ] Mailbox ">" */
bool path_parse(struct path *out, struct slice *rest, bool utf8, const char **why)
{
	struct slice at = *rest;
	struct path p = { .null = true };

	if (at.n == 0 || at.p[0] != '<')
		return refuse(why, "no angle bracket");
	at = slice_from(at, 1);
	if (at.n > 0 && at.p[0] == '>') {
		p.text = p.local = p.domain = slice_head(at, 0);
	} else {
		if (at.n > 0 && at.p[0] == '@' && !skip_route(&at, utf8))
			return refuse(why, "malformed source route");
		if (!mailbox_parse(&p, &at, utf8, why))
			return false;
		if (at.n == 0 || at.p[0] != '>')
			return refuse(why, at.n == 0 ? "no closing angle bracket" : "malformed domain");
	}
	*rest = slice_from(at, 1);
	*out = p;
	return true;
}

/* RFC 5321 section 4.1.1.3: "<Postmaster>" is a Forward-path, in any case of letters; "<>" is none. */
bool path_parse_forward(struct path *out, struct slice *rest, bool utf8, const char **why)
{
	struct slice at = *rest;
	struct path p = { .null = false };

	if (slice_starts_nocase(at, SLICE("<postmaster>"))) {
		p.text = p.local = slice_make(at.p + 1, 10);
		p.domain = slice_make(at.p + 11, 0);
		*out = p;
		*rest = slice_from(at, 12);
		return true;
	}
	if (!path_parse(&p, &at, utf8, why))
		return false;
	if (p.null)
		return refuse(why, "null recipient");
	*out = p;
	*rest = at;
	return true;
}

struct path path_copy(struct arena *a, const struct path *p)
{
	struct path copy = *p;

	copy.text = slice_copy(a, p->text);
	copy.local = slice_head(copy.text, p->local.n);
	copy.domain = p->domain.n > 0 ? slice_from(copy.text, copy.text.n - p->domain.n) :
		slice_make(copy.text.p + copy.text.n, 0);
	return copy;
}

bool path_is_postmaster(const struct path *p)
{
	return !p->null && p->domain.n == 0 && slice_eq_nocase(p->local, SLICE("postmaster"));
}

/* ---- local parts: without quotes, with as few as possible ---- */

static struct slice local_unquoted(struct arena *a, const struct path *p)
{
	struct slice inner;
	struct str out = STR_IN(a);

	if (!p->quoted)
		return p->local;
	inner = slice_make(p->local.p + 1, p->local.n - 2);
	for (size_t i = 0; i < inner.n; i++) {
		if (inner.p[i] == '\\')
			i++;
		str_addc(&out, inner.p[i]);
	}
	return out.n > 0 ? str_slice(&out) : slice_head(inner, 0);
}

static void add_local(struct str *out, struct slice local)
{
	bool utf8 = false;

	if (dot_string_length(local, &utf8) == local.n && local.n > 0) {
		str_add(out, local);
		return;
	}
	str_addc(out, '"');
	for (size_t i = 0; i < local.n; i++) {
		if (local.p[i] == '"' || local.p[i] == '\\')
			str_addc(out, '\\');
		str_addc(out, local.p[i]);
	}
	str_addc(out, '"');
}

static struct slice join(struct arena *a, struct slice local, struct slice domain)
{
	struct str out = STR_IN(a);

	add_local(&out, local);
	str_addc(&out, '@');
	str_add(&out, domain);
	return str_slice(&out);
}

/* ---- tags ---- */

struct unwrapped {
	enum address_tag tag;
	struct slice text;	/* the tag */
	struct slice local;	/* without it */
	struct slice srs_local, srs_domain;
};

/* draft-levine-smtp-batv-01 section 4:
 *   tag-val = K DDD SSSSSS, K = 1DIGIT, DDD = 3DIGIT, SSSSSS = 6HEXDIG */
static bool is_batv_tag(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (i < 4 ? !ascii_digit(s.p[i]) : ascii_hex(s.p[i]) < 0)
			return false;
	}
	return s.n == 10;
}

/* What other products write for it: hexadecimal digits, about as many. */
static bool is_like_batv_tag(struct slice s)
{
	bool digit = false;

	for (size_t i = 0; i < s.n; i++) {
		if (ascii_hex(s.p[i]) < 0)
			return false;
		digit |= ascii_digit(s.p[i]);
	}
	return s.n >= 8 && s.n <= 12 && digit;
}

/* Section 4: local-part = "prvs=" tag-val "=" loc-core; and the earlier order, loc-core before tag-val, with
 * "/" or "=" between, as others write it. A true tag on either side decides, then what looks
 * like one. */
static bool unwrap_prvs(struct slice local, struct unwrapped *u)
{
	struct slice rest = slice_from(local, 5), after = rest, before = slice_split(&after, '=');
	ptrdiff_t slash = slice_rfind(rest, '/'), equals = slice_rfind(rest, '=');
	ptrdiff_t last = slash > equals ? slash : equals;
	struct slice core = slice_head(rest, last > 0 ? (size_t)last : 0);
	struct slice swapped = slice_from(rest, core.n + 1);
	bool front = is_batv_tag(before) && after.n > 0;
	bool back = !front && is_batv_tag(swapped) && core.n > 0;

	if (!front && !back) {
		front = is_like_batv_tag(before) && after.n > 0;
		back = !front && is_like_batv_tag(swapped) && core.n > 0;
	}
	if (!front && !back)
		return false;
	u->tag = front ? ADDRESS_TAG_PRVS : ADDRESS_TAG_PRVS_SWAPPED;
	u->text = front ? before : swapped;
	u->local = front ? after : core;
	return true;
}

/* "btv1==TAG==local" (Barracuda), "msprvs1=TAG=local" (SparkPost): a word of letters and digits, then the separator. */
static bool unwrap_word(struct slice rest, struct slice separator, enum address_tag tag, struct unwrapped *u)
{
	ptrdiff_t at = slice_search(rest, separator);

	if (at < 1 || (size_t)at + separator.n >= rest.n)
		return false;
	for (ptrdiff_t i = 0; i < at; i++) {
		if (!is_atext(rest.p[i]) || rest.p[i] == '=')
			return false;
	}
	u->tag = tag;
	u->text = slice_head(rest, (size_t)at);
	u->local = slice_from(rest, (size_t)at + separator.n);
	return true;
}

/* "hash=tt=domain=local" of SRS0; the local part may hold anything. */
static bool srs_fields(struct slice rest, struct unwrapped *u)
{
	struct slice hash = slice_split(&rest, '='), stamp = slice_split(&rest, '=');

	u->srs_domain = slice_split(&rest, '=');
	u->srs_local = rest;
	return hash.n > 0 && stamp.n > 0 && rest.n > 0 && domain_valid(u->srs_domain, true);
}

/* Sender Rewriting Scheme (libsrs2, Mail::SRS):
 *   SRS0 SEP hash "=" tt "=" domain "=" local
 *   SRS1 SEP hash "=" first-forwarder "=" SEP hash "=" tt "=" domain "=" local
 *   SEP = "=" / "+" / "-"
 * The address keeps its own form; what it was rewritten for is told beside it. */
static bool unwrap_srs(struct slice local, struct unwrapped *u)
{
	bool again = local.p[3] == '1';
	struct slice rest = slice_from(local, 5), hash, forwarder;

	u->text = rest;
	if (again) {
		hash = slice_split(&rest, '=');
		forwarder = slice_split(&rest, '=');
		if (hash.n == 0 || !domain_valid(forwarder, true) || rest.n == 0)
			return false;
		/* Some write the separator of the inner SRS0, some do not. */
		if (memchr("=+-", rest.p[0], 3))
			rest = slice_from(rest, 1);
	}
	if (!srs_fields(rest, u)) {
		u->srs_local = u->srs_domain = SLICE_NULL;
		if (!again)
			return false;
	}
	u->tag = again ? ADDRESS_TAG_SRS1 : ADDRESS_TAG_SRS0;
	u->local = local;
	return true;
}

static bool unwrap(struct slice local, struct unwrapped *u)
{
	*u = (struct unwrapped){ .tag = ADDRESS_TAG_NONE, .local = local };
	if (slice_starts_nocase(local, SLICE("prvs=")))
		return unwrap_prvs(local, u);
	if (slice_starts_nocase(local, SLICE("btv1==")))
		return unwrap_word(slice_from(local, 6), SLICE("=="), ADDRESS_TAG_BTV1, u);
	if (slice_starts_nocase(local, SLICE("msprvs1=")))
		return unwrap_word(slice_from(local, 8), SLICE("="), ADDRESS_TAG_MSPRVS1, u);
	if (local.n > 5 && slice_starts_nocase(local, SLICE("SRS")) && (local.p[3] == '0' || local.p[3] == '1') &&
	    memchr("=+-", local.p[4], 3))
		return unwrap_srs(local, u);
	return false;
}

static bool is_srs(enum address_tag tag)
{
	return tag == ADDRESS_TAG_SRS0 || tag == ADDRESS_TAG_SRS1;
}

/* ---- the canonical form ---- */

static bool cut_detail(struct slice *local, struct slice separators, struct slice *detail)
{
	for (size_t i = 1; i < local->n; i++) {
		if (slice_find(separators, local->p[i]) >= 0) {
			*detail = slice_from(*local, i + 1);
			*local = slice_head(*local, i);
			return true;
		}
	}
	return false;
}

/* Takes off all that is wrapped around a local part, until nothing is left to take off: the canonical form
 * of a canonical form is itself. `out` tells of the outermost tag. */
static struct slice local_core(struct arena *a, struct address_form *out, const struct path *p,
	struct slice local, struct slice separators)
{
	struct unwrapped u;

	do {
		while (unwrap(local, &u)) {
			bool first = out->tag == ADDRESS_TAG_NONE;
			if (first) {
				out->tag = u.tag;
				out->tag_text = u.text;
			}
			if (is_srs(u.tag)) {
				if (u.srs_domain.n > 0)
					out->srs_for = join(a, u.srs_local, u.srs_domain);
				return local;
			}
			if (first)
				out->plain = join(a, u.local, p->domain);
			local = u.local;
		}
	} while (cut_detail(&local, separators, &out->detail));
	return local;
}

bool address_form(struct arena *a, const struct path *p, struct slice separators,
	struct address_form *out)
{
	struct address_form form = { .plain = p->text };
	struct slice domain, local;

	if (p->null || p->domain.n == 0)
		return false;
	domain = domain_canonical(a, p->domain);
	if (domain.n == 0)
		return false;
	local = local_core(a, &form, p, local_unquoted(a, p), separators);
	form.canonical = join(a, slice_lower(a, local), domain);
	*out = form;
	return true;
}

bool address_canonical(struct arena *a, struct slice text, struct slice separators, struct slice *out)
{
	struct address_form form;
	struct path p;
	const char *why;

	if (!mailbox_parse(&p, &text, true, &why) || text.n > 0 || !address_form(a, &p, separators, &form))
		return false;
	*out = form.canonical;
	return true;
}

struct slice address_domain(struct slice address)
{
	ptrdiff_t at = slice_rfind(address, '@');

	return at < 0 ? SLICE_NULL : slice_from(address, (size_t)at + 1);
}
