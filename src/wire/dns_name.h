/*
 * Domain names: as text, on the wire, out of a packet.
 *
 * A name is held as it travels: labels with a length octet before each, the
 * root's zero at the end, never compressed. So any octet may stand in a label, a dot
 * or a NUL too, and the ancestors of a name are the tails of its octets.
 */
#ifndef SPURN_WIRE_DNS_NAME_H
#define SPURN_WIRE_DNS_NAME_H

#include "base/str.h"

#define DNS_LABEL_MAX 63	/* RFC 1035 section 2.3.4 */
#define DNS_NAME_MAX 255	/* on the wire, the root's octet included */
#define DNS_TEXT_MAX (4 * DNS_NAME_MAX)	/* every octet escaped, with NUL */

struct dns_name {
	uint8_t n;			/* octets, 1 for the root; 0 is no name */
	uint8_t wire[DNS_NAME_MAX];
};

/* Plain text, without escapes: a dot always parts labels, everything else is an octet of a label. The final
 * dot may be left out; "" and "." are the root. False, out untouched, for what cannot exist: an empty label,
 * one over 63 octets, a name over 255 on the wire (253 as text). */
bool dns_name_parse(struct dns_name *out, struct slice text);
/* Text of a master file: \X is the octet X, \DDD the octet of that number, "@" the origin; without a final dot the
 * origin is appended. origin may be NULL: then it is the root. (RFC 1035 section 5.1) */
bool dns_name_parse_escaped(struct dns_name *out, struct slice text, const struct dns_name *origin,
	const char **why);
/* Reads a name, compressed or not, at *at of a packet, and moves *at behind it. (RFC 1035 section 4.1.4) */
bool dns_name_unpack(struct dns_name *out, struct slice packet, size_t *at);

/* Text without final dot, "" for the root. Dots and backslashes within labels get a backslash,
 * octets that are not printable ASCII become \DDD. Returns the length; out ends in NUL. */
size_t dns_name_text(const struct dns_name *name, char out[DNS_TEXT_MAX]);
/* The same in an arena. */
struct slice dns_name_copy(struct arena *a, const struct dns_name *name);

/* Without regard to the case of ASCII letters (RFC 4343). */
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
void dns_name_lower(struct dns_name *name);
/* The octets as a slice: a key once in lower case. */
static inline struct slice dns_name_slice(const struct dns_name *name)
{
	return slice_make((const char *)name->wire, name->n);
}
/* The parent's octets. Not for the root. */
static inline struct slice dns_name_parent(struct slice wire)
{
	return slice_from(wire, 1 + (uint8_t)wire.p[0]);
}

#endif
