/*
 * Master files.
 *
 *     file     = *( [entry] [comment] EOL )
 *     entry    = "$ORIGIN" name | "$TTL" ttl | record
 *     record   = ( name | blank ) [ttl] [class] type rdata      ; ttl and class in either order
 *     comment  = ";" up to the end of the line
 *     ttl      = 1*DIGIT | 1*( 1*DIGIT ( "s" | "m" | "h" | "d" | "w" ) )
 *
 * Parentheses let an entry go on over line ends; "@" is the origin; \X and \DDD are octets;
 * a quoted string may hold blanks, semicolons and parentheses (RFC 1035 section 5.1).
 * "\# n hex" gives the octets of any type (RFC 3597 section 5).
 *
 * Two stages: a scanner that hands out words, and one reader per kind of data that asks it for
 * them. Nothing is collected, so a file costs no more memory than its longest record.
 *
 * More lenient than BIND in two points, since files come from many hands: a string over 255 octets is
 * cut into several (readers join them anyway), and a file without any TTL gets an hour. Stricter in one: DNAME
 * is refused, because passing it over would turn every name below it into a "no".
 *
 * Rejected: ub_ctx_zonefile-like loading by libunbound (it has none for local data; and its local zones know no
 * wildcards), sldns (not exported), a yacc grammar (the meaning of a word depends on its column).
 */
#include "wire/dns_zonefile.h"

#define TTL_NONE UINT32_MAX
#define TTL_FALLBACK 3600

struct zonefile {
	struct slice rest;
	unsigned line, entry_line;	/* where we are, where the entry began */
	int depth;			/* of parentheses */
	struct arena *arena;
	const char *why;		/* what went wrong, or NULL */
	unsigned why_line;		/* and where */
	struct dns_name origin;
	uint32_t default_ttl;		/* $TTL (RFC 2308) */
	uint32_t last_ttl;		/* the last one written (RFC 1035) */
	struct str rdata;		/* of the record being read */
	struct str string;		/* being read, escapes undone */
	struct zonefile_record record;
};

struct word {
	struct slice text;	/* escapes still in it, quotes not */
	bool quoted;
};

static bool fail(struct zonefile *z, const char *why)
{
	z->why = why;
	z->why_line = z->line;
	return false;
}

/* What was opened is not closed: where it began is more use than where the file ends. */
static bool fail_open(struct zonefile *z)
{
	fail(z, "parenthesis not closed");
	z->why_line = z->entry_line;
	return false;
}

static bool fail_word(struct zonefile *z, const char *why, struct slice word)
{
	struct str s = STR_IN(z->arena);

	str_puts(&s, why);
	str_puts(&s, " \"");
	str_escaped(&s, word, 64);
	str_addc(&s, '"');
	return fail(z, str_cstr(&s));
}

/* ---- scanner ---- */

static void step(struct zonefile *z)
{
	z->line += z->rest.p[0] == '\n';
	z->rest = slice_from(z->rest, 1);
}

static void comment_skip(struct zonefile *z)
{
	while (z->rest.n > 0 && z->rest.p[0] != '\n')
		z->rest = slice_from(z->rest, 1);
}

/* Blanks, comments, parentheses and the line ends in them. Stops before a word, a line end or the end. */
static bool blanks_skip(struct zonefile *z)
{
	for (; z->rest.n > 0; step(z)) {
		switch (z->rest.p[0]) {
		case ' ':
		case '\t':
		case '\r':
			break;
		case '\n':
			if (z->depth == 0)
				return true;
			break;
		case ';':
			comment_skip(z);
			if (z->rest.n == 0 || z->depth == 0)
				return z->depth == 0 || fail_open(z);
			break;
		case '(':
			z->depth++;
			break;
		case ')':
			if (z->depth-- == 0)
				return fail(z, "parenthesis not opened");
			break;
		default:
			return true;
		}
	}
	return z->depth == 0 || fail_open(z);
}

/* Octets of the character here: two with an escape, which never reaches over the line end. */
static size_t octet_width(struct slice s, size_t n)
{
	return s.p[n] == '\\' && n + 1 < s.n && s.p[n + 1] != '\n' ? 2 : 1;
}

static bool quoted_scan(struct zonefile *z, struct word *w)
{
	size_t n = 1;

	while (n < z->rest.n && z->rest.p[n] != '"' && z->rest.p[n] != '\n')
		n += octet_width(z->rest, n);
	if (n >= z->rest.n || z->rest.p[n] == '\n')
		return fail(z, "string not closed");
	w->text = slice_make(z->rest.p + 1, n - 1);
	w->quoted = true;
	z->rest = slice_from(z->rest, n + 1);
	return true;
}

/* The next word of the entry. False at its end too: then z->why is NULL. */
static bool word_scan(struct zonefile *z, struct word *w)
{
	size_t n = 0;

	if (!blanks_skip(z) || z->rest.n == 0 || z->rest.p[0] == '\n')
		return false;
	if (z->rest.p[0] == '"')
		return quoted_scan(z, w);
	while (n < z->rest.n && !memchr(" \t\r\n;()\"", z->rest.p[n], 8))
		n += octet_width(z->rest, n);
	w->text = slice_head(z->rest, n);
	w->quoted = false;
	z->rest = slice_from(z->rest, n);
	return true;
}

static bool word_need(struct zonefile *z, struct word *w, const char *what)
{
	if (word_scan(z, w))
		return true;
	return z->why ? false : fail(z, arena_printf(z->arena, "%s missing", what));
}

/* ---- words ---- */

/* ttl of the grammar above; at most 2^31 - 1 (RFC 2181 section 8). */
static bool ttl_parse(struct slice s, uint32_t *out)
{
	static const struct { char unit; uint32_t seconds; } units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
	uint64_t total = 0, value = 0;
	bool digits = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (ascii_digit(c)) {
			value = value * 10 + (uint64_t)(c - '0');
			digits = true;
		} else {
			size_t u = 0;

			while (u < 5 && units[u].unit != c)
				u++;
			if (u == 5 || !digits)
				return false;
			total += value * units[u].seconds;
			value = 0;
			digits = false;
		}
		if (value > INT32_MAX || total > INT32_MAX)
			return false;
	}
	if (s.n == 0 || total + value > INT32_MAX || (total > 0 && digits))
		return false;
	*out = (uint32_t)(total + value);
	return true;
}

static bool name_read(struct zonefile *z, struct dns_name *out, const char *what)
{
	const char *why;
	struct word w;

	if (!word_need(z, &w, what))
		return false;
	return dns_name_parse_escaped(out, w.text, &z->origin, &why) || fail_word(z, why, w.text);
}

/* ---- data ---- */

static void add16(struct zonefile *z, uint64_t v)
{
	str_addc(&z->rdata, (char)(v >> 8));
	str_addc(&z->rdata, (char)v);
}

static void add32(struct zonefile *z, uint64_t v)
{
	add16(z, v >> 16);
	add16(z, v);
}

static bool name_add(struct zonefile *z)
{
	struct dns_name name;

	if (!name_read(z, &name, "name"))
		return false;
	str_add(&z->rdata, dns_name_slice(&name));
	return true;
}

static bool number_add(struct zonefile *z, const char *what)
{
	uint64_t value;
	struct word w;

	if (!word_need(z, &w, what))
		return false;
	if (!slice_number(w.text, 65535, &value))
		return fail_word(z, "not a number up to 65535:", w.text);
	add16(z, value);
	return true;
}

static bool address_add(struct zonefile *z, bool v4)
{
	struct word w;
	struct ip ip;

	if (!word_need(z, &w, "address"))
		return false;
	/* ::ffff:192.0.2.1 is a fine AAAA though it reads as the IPv4 address it stands for. */
	if (!ip_parse(&ip, w.text) || v4 != (slice_find(w.text, ':') < 0))
		return fail_word(z, v4 ? "not an IPv4 address:" : "not an IPv6 address:", w.text);
	str_add(&z->rdata, slice_make((const char *)ip.bytes + (v4 ? 12 : 0), v4 ? 4 : 16));
	return true;
}

/* Undoes \X and \DDD. */
static bool unescape(struct zonefile *z, struct str *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned value = 0;

		if (s.p[i] != '\\') {
			str_addc(out, s.p[i]);
			continue;
		}
		if (i + 1 < s.n && !ascii_digit(s.p[i + 1])) {
			str_addc(out, s.p[++i]);
			continue;
		}
		for (int digit = 1; digit < 4; digit++) {
			if (i + 1 >= s.n || !ascii_digit(s.p[i + 1]))
				return fail_word(z, "bad escape in", s);
			value = value * 10 + (unsigned)(s.p[++i] - '0');
		}
		if (value > 255)
			return fail_word(z, "bad escape in", s);
		str_addc(out, (char)value);
	}
	return true;
}

/* One or more strings, to the end of the entry. */
static bool strings_add(struct zonefile *z)
{
	struct word w;

	if (!word_need(z, &w, "string"))
		return false;
	do {
		struct slice s;

		z->string.n = 0;
		if (!unescape(z, &z->string, w.text))
			return false;
		s = str_slice(&z->string);
		do {
			struct slice part = slice_head(s, 255);

			str_addc(&z->rdata, (char)part.n);
			str_add(&z->rdata, part);
			s = slice_from(s, part.n);
		} while (s.n > 0);
	} while (word_scan(z, &w));
	return !z->why;
}

/* MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM (RFC 1035 section 3.3.13) */
static bool soa_add(struct zonefile *z)
{
	static const char *const what[] = { "refresh", "retry", "expire", "minimum" };
	struct word w;
	uint64_t serial;

	if (!name_add(z) || !name_add(z) || !word_need(z, &w, "serial"))
		return false;
	if (!slice_number(w.text, UINT32_MAX, &serial))
		return fail_word(z, "not a serial number:", w.text);
	add32(z, serial);
	for (int i = 0; i < 4; i++) {
		uint32_t span;

		if (!word_need(z, &w, what[i]))
			return false;
		if (!ttl_parse(w.text, &span))
			return fail_word(z, "not a time:", w.text);
		add32(z, span);
	}
	return true;
}

/* flags tag value (RFC 8659 section 4.1) */
static bool caa_add(struct zonefile *z)
{
	struct word flags, tag, value;
	uint64_t n;

	if (!word_need(z, &flags, "flags") || !word_need(z, &tag, "tag") || !word_need(z, &value, "value"))
		return false;
	if (!slice_number(flags.text, 255, &n))
		return fail_word(z, "not a number up to 255:", flags.text);
	if (tag.text.n == 0 || tag.text.n > 255)
		return fail_word(z, "not a tag:", tag.text);
	str_addc(&z->rdata, (char)n);
	str_addc(&z->rdata, (char)tag.text.n);
	str_add(&z->rdata, tag.text);
	return unescape(z, &z->rdata, value.text);
}

/* \# length hex... (RFC 3597 section 5), behind the \# */
static bool generic_add(struct zonefile *z)
{
	struct dns_record parsed;
	struct word w;
	uint64_t n;
	int high = -1;

	if (!word_need(z, &w, "length"))
		return false;
	if (!slice_number(w.text, 65535, &n))
		return fail_word(z, "not a length:", w.text);
	while (word_scan(z, &w))
		for (size_t i = 0; i < w.text.n; i++) {
			int digit = ascii_hex(w.text.p[i]);

			if (digit < 0)
				return fail_word(z, "not hexadecimal:", w.text);
			if (high >= 0)
				str_addc(&z->rdata, (char)(high << 4 | digit));
			high = high >= 0 ? -1 : digit;
		}
	if (z->why)
		return false;
	if (high >= 0 || z->rdata.n != n)
		return fail(z, "data of another length than given");
	return dns_rdata_parse(&parsed, z->arena, str_slice(&z->rdata), 0, z->rdata.n, z->record.type) ||
		fail(z, "malformed data");
}

static bool ignored_skip(struct zonefile *z)
{
	struct word w;

	z->record.ignored = true;
	while (word_scan(z, &w))
		;
	return !z->why;
}

static bool rdata_read(struct zonefile *z)
{
	if (z->record.type == DNS_DNAME)
		return fail(z, "DNAME is not supported");
	if (!blanks_skip(z))
		return false;
	if (slice_starts(z->rest, SLICE("\\#"))) {
		z->rest = slice_from(z->rest, 2);
		return generic_add(z);
	}
	switch (z->record.type) {
	case DNS_A:
	case DNS_AAAA:
		return address_add(z, z->record.type == DNS_A);
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		return name_add(z);
	case DNS_MX:
		return number_add(z, "preference") && name_add(z);
	case DNS_SRV:
		return number_add(z, "priority") && number_add(z, "weight") && number_add(z, "port") && name_add(z);
	case DNS_SOA:
		return soa_add(z);
	case DNS_TXT:
	case DNS_SPF:
		return strings_add(z);
	case DNS_CAA:
		return caa_add(z);
	default:
		return ignored_skip(z);
	}
}

/* ---- entries ---- */

static bool entry_end(struct zonefile *z)
{
	struct word w;

	if (word_scan(z, &w))
		return fail_word(z, "unexpected", w.text);
	return !z->why;
}

/* [ttl] [class] type, the first two in either order */
static bool head_read(struct zonefile *z)
{
	bool class_seen = false, ttl_seen = false;
	struct word w;

	z->record.ttl = z->default_ttl != TTL_NONE ? z->default_ttl : z->last_ttl;
	for (;;) {
		if (!word_need(z, &w, "type"))
			return false;
		if (w.quoted)
			return fail_word(z, "not a type:", w.text);
		if (!ttl_seen && w.text.n > 0 && ascii_digit(w.text.p[0])) {
			if (!ttl_parse(w.text, &z->last_ttl))
				return fail_word(z, "not a TTL:", w.text);
			z->record.ttl = z->last_ttl;
			ttl_seen = true;
		} else if (!class_seen && slice_eq_nocase(w.text, SLICE("IN"))) {
			class_seen = true;
		} else {
			break;
		}
	}
	if (slice_eq_nocase(w.text, SLICE("CH")) || slice_eq_nocase(w.text, SLICE("HS")))
		return fail_word(z, "only class IN is served, not", w.text);
	return dns_type_parse(&z->record.type, w.text) || fail_word(z, "unknown type", w.text);
}

static bool record_read(struct zonefile *z, zonefile_take *take, void *arg)
{
	if (z->record.owner.n == 0)
		return fail(z, "no owner to repeat");
	z->record.ignored = false;
	z->rdata.n = 0;
	if (!head_read(z) || !rdata_read(z) || !entry_end(z))
		return false;
	if (z->rdata.n > 65535)
		return fail(z, "more than 65535 octets of data");
	z->record.rdata = str_slice(&z->rdata);
	z->why_line = z->entry_line;
	return take(arg, &z->record, &z->why);
}

static bool directive_read(struct zonefile *z, struct slice name)
{
	struct word w;

	if (slice_eq_nocase(name, SLICE("$ORIGIN"))) {
		struct dns_name origin;

		if (!name_read(z, &origin, "name"))
			return false;
		z->origin = origin;
		return entry_end(z);
	}
	if (!slice_eq_nocase(name, SLICE("$TTL")))
		return fail_word(z, "not supported:", name);
	if (!word_need(z, &w, "TTL"))
		return false;
	return ttl_parse(w.text, &z->default_ttl) ? entry_end(z) : fail_word(z, "not a TTL:", w.text);
}

/* One line, or more where parentheses say so. */
static bool entry_read(struct zonefile *z, zonefile_take *take, void *arg)
{
	bool same_owner = z->rest.p[0] == ' ' || z->rest.p[0] == '\t';
	const char *why;
	struct word w;

	z->entry_line = z->line;
	if (!blanks_skip(z))
		return false;
	if (z->rest.n == 0 || z->rest.p[0] == '\n')	/* nothing but a comment */
		return true;
	if (same_owner)
		return record_read(z, take, arg);
	if (!word_scan(z, &w))
		return false;
	if (!w.quoted && w.text.p[0] == '$')
		return directive_read(z, w.text);
	if (!dns_name_parse_escaped(&z->record.owner, w.text, &z->origin, &why))
		return fail_word(z, why, w.text);
	return record_read(z, take, arg);
}

bool dns_zonefile_parse(struct slice text, struct arena *a, zonefile_take *take, void *arg,
	unsigned *line, const char **why)
{
	struct zonefile z = { .rest = text, .line = 1, .arena = a, .origin = { 1, { 0 } },
		.default_ttl = TTL_NONE, .last_ttl = TTL_FALLBACK, .rdata = STR_IN(a), .string = STR_IN(a) };

	str_room(&z.rdata, 512);
	if (slice_starts(z.rest, SLICE("\xef\xbb\xbf")))
		z.rest = slice_from(z.rest, 3);
	while (z.rest.n > 0) {
		if (!entry_read(&z, take, arg)) {
			*line = z.why_line;
			*why = z.why;
			return false;
		}
		if (z.rest.n > 0)
			step(&z);	/* the line end */
	}
	return true;
}
