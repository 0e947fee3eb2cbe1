/*
 * Domain names. The wire form is the only one kept (a name as text needs escapes, and two
 * texts may then be one name); text is made when a person or a caller wants to read it.
 *
 * Names in packets come from strangers. A compression pointer must point before the place where
 * the part that holds it began, so reading always ends; and no name takes more than
 * HOPS of them, so a packet that is all pointers costs no more than an honest one.
 *
 * Rejected: names as text with escapes throughout (every comparison would have to know
 * \046 and \. are one octet), libidn2 here (a name is octets; turning
 * U-labels into A-labels is the business of wire/address).
 */
#include "wire/dns_name.h"

#define HOPS 127	/* as many as a name can have labels */

/* ---- text to wire ---- */

bool dns_name_parse(struct dns_name *out, struct slice text)
{
	struct dns_name name = { 0, { 0 } };

	if (text.n > 0 && text.p[text.n - 1] == '.')
		text.n--;
	while (text.n > 0) {
		ptrdiff_t dot = slice_find(text, '.');
		size_t n = dot < 0 ? text.n : (size_t)dot;

		if (n == 0 || n > DNS_LABEL_MAX || (size_t)name.n + 1 + n >= DNS_NAME_MAX)
			return false;
		if (dot >= 0 && (size_t)dot + 1 == text.n)	/* two dots at the end */
			return false;
		name.wire[name.n++] = (uint8_t)n;
		memcpy(name.wire + name.n, text.p, n);
		name.n = (uint8_t)(name.n + n);
		text = slice_from(text, n + 1);
	}
	name.wire[name.n++] = 0;
	*out = name;
	return true;
}

/* One octet of a master file, its escape undone. False: a bad escape. */
static bool octet_take(struct slice *text, uint8_t *out)
{
	unsigned value = 0;

	if (text->p[0] != '\\') {
		*out = (uint8_t)text->p[0];
		*text = slice_from(*text, 1);
		return true;
	}
	if (text->n < 2)
		return false;
	if (!ascii_digit(text->p[1])) {
		*out = (uint8_t)text->p[1];
		*text = slice_from(*text, 2);
		return true;
	}
	if (text->n < 4)
		return false;
	for (int i = 1; i < 4; i++) {
		if (!ascii_digit(text->p[i]))
			return false;
		value = value * 10 + (unsigned)(text->p[i] - '0');
	}
	*out = (uint8_t)value;
	*text = slice_from(*text, 4);
	return value <= 255;
}

static bool origin_append(struct dns_name *name, const struct dns_name *origin, const char **why)
{
	static const struct dns_name root = { 1, { 0 } };

	if (!origin)
		origin = &root;
	if ((size_t)name->n + origin->n > DNS_NAME_MAX) {
		*why = "name too long";
		return false;
	}
	memcpy(name->wire + name->n, origin->wire, origin->n);
	name->n = (uint8_t)(name->n + origin->n);
	return true;
}

/* One label into name, up to its dot or the end. False and *why if there is none. */
static bool label_parse(struct dns_name *name, struct slice *text, const char **why)
{
	uint8_t *length = &name->wire[name->n];
	size_t n = 0;

	while (text->n > 0 && text->p[0] != '.') {
		if (n == DNS_LABEL_MAX || name->n + 1 + n + 1 >= DNS_NAME_MAX) {
			*why = n == DNS_LABEL_MAX ? "label of more than 63 octets" : "name too long";
			return false;
		}
		if (!octet_take(text, length + 1 + n)) {
			*why = "bad escape in a name";
			return false;
		}
		n++;
	}
	if (n == 0) {
		*why = "empty label in a name";
		return false;
	}
	*length = (uint8_t)n;
	name->n = (uint8_t)(name->n + 1 + n);
	return true;
}

bool dns_name_parse_escaped(struct dns_name *out, struct slice text, const struct dns_name *origin,
	const char **why)
{
	struct dns_name name = { 0, { 0 } };

	if (slice_eq(text, SLICE("@")))
		text = SLICE_NULL;
	else if (slice_empty(text)) {
		*why = "empty name";
		return false;
	} else if (slice_eq(text, SLICE("."))) {
		origin = NULL;
		text = SLICE_NULL;
	}
	while (text.n > 0) {
		if (!label_parse(&name, &text, why))
			return false;
		if (text.n == 1)		/* the final dot */
			origin = NULL;
		text = slice_from(text, 1);
	}
	if (!origin_append(&name, origin, why))
		return false;
	*out = name;
	return true;
}

/* ---- packets ---- */

bool dns_name_unpack(struct dns_name *out, struct slice packet, size_t *at)
{
	const uint8_t *p = (const uint8_t *)packet.p;
	struct dns_name name = { 0, { 0 } };
	size_t here = *at, start = *at, behind = 0;
	int hops = 0;

	for (;;) {
		size_t n;

		if (here >= packet.n)
			return false;
		n = p[here];
		if ((n & 0xc0) == 0xc0) {
			if (here + 1 >= packet.n || ++hops > HOPS)
				return false;
			if (!behind)
				behind = here + 2;
			here = (n & 0x3f) << 8 | p[here + 1];
			if (here >= start)	/* forward, or in a ring */
				return false;
			start = here;
			continue;
		}
		if (n > DNS_LABEL_MAX || here + 1 + n > packet.n || name.n + 1 + n > DNS_NAME_MAX)
			return false;
		memcpy(name.wire + name.n, p + here, n + 1);
		name.n = (uint8_t)(name.n + n + 1);
		here += n + 1;
		if (n == 0)
			break;
		if (name.n == DNS_NAME_MAX)	/* no room left for the root */
			return false;
	}
	*at = behind ? behind : here;
	*out = name;
	return true;
}

/* ---- wire to text ---- */

static char *octet_write(char *p, uint8_t c)
{
	if (c == '.' || c == '\\') {
		*p++ = '\\';
		*p++ = (char)c;
	} else if (c > ' ' && c < 0x7f) {
		*p++ = (char)c;
	} else {
		*p++ = '\\';
		*p++ = (char)('0' + c / 100);
		*p++ = (char)('0' + c / 10 % 10);
		*p++ = (char)('0' + c % 10);
	}
	return p;
}

size_t dns_name_text(const struct dns_name *name, char out[DNS_TEXT_MAX])
{
	char *p = out;

	for (size_t at = 0; at + 1 < name->n; at += 1 + (size_t)name->wire[at]) {
		if (at > 0)
			*p++ = '.';
		for (size_t i = 1; i <= name->wire[at]; i++)
			p = octet_write(p, name->wire[at + i]);
	}
	*p = '\0';
	return (size_t)(p - out);
}

struct slice dns_name_copy(struct arena *a, const struct dns_name *name)
{
	char text[DNS_TEXT_MAX];
	size_t n = dns_name_text(name, text);

	return slice_copy(a, slice_make(text, n));
}

/* ---- comparing ---- */

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
	/* Length octets are at most 63, below the letters: folding does not touch them. */
	return slice_eq_nocase(dns_name_slice(a), dns_name_slice(b));
}

void dns_name_lower(struct dns_name *name)
{
	for (size_t i = 0; i < name->n; i++)
		name->wire[i] = (uint8_t)ascii_lower((char)name->wire[i]);
}
