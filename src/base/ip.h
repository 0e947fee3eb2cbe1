/*
 * IP addresses, prefixes, reverse names.
 *
 * An address is 16 bytes; IPv4 is held as ::ffff:a.b.c.d (RFC 4291 section
 * 2.5.5.2), so an IPv4-mapped peer and its IPv4 self are the same client.
 */
#ifndef SPURN_BASE_IP_H
#define SPURN_BASE_IP_H

#include "base/str.h"

#include <sys/socket.h>

struct ip {
	uint8_t bytes[16];
};

struct ip_prefix {
	struct ip address;	/* host bits zero */
	uint8_t bits;		/* 0..128; for IPv4 96 + its length */
};

#define IP_TEXT 46	/* room for the longest text form and NUL */

bool ip_is_v4(const struct ip *ip);
static inline bool ip_eq(const struct ip *a, const struct ip *b)
{
	return memcmp(a->bytes, b->bytes, 16) == 0;
}
/* "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"; nothing else around it. */
bool ip_parse(struct ip *out, struct slice text);
/* False if it is neither IPv4 nor IPv6. port may be NULL. */
bool ip_from_sockaddr(struct ip *out, uint16_t *port, const struct sockaddr *sa);
/* Returns the length of the sockaddr. */
socklen_t ip_to_sockaddr(const struct ip *ip, uint16_t port, struct sockaddr_storage *sa);
/* IPv4 dotted, IPv6 as RFC 5952 says. Returns out. */
const char *ip_text(const struct ip *ip, char out[IP_TEXT]);
/* "[192.0.2.1]" or "[IPv6:2001:db8::1]": RFC 5321 section 4.1.3 address literal; 56 bytes. */
const char *ip_literal(const struct ip *ip, char out[56]);

/* "192.0.2.0/24", "2001:db8::/32", or a bare address. *why on failure (good until the next
 * call); host bits that are set are an error ("did you mean 192.0.2.0/24?"). */
bool ip_prefix_parse(struct ip_prefix *out, struct slice text, const char **why);
/* A prefix of fewer than 96 bits is IPv6 and contains no IPv4 address. */
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip *ip);
/* The /32 of an IPv4 or the /64 of an IPv6 address: what counts as one client. */
struct ip ip_client_net(const struct ip *ip);

/* Loopback, private (RFC 1918, RFC 4193), link-local, unspecified, multicast,
 * documentation, 0/8, 100.64/10, class E: no target for Internet mail
 * (IANA special-purpose registries). */
bool ip_is_special(const struct ip *ip);
bool ip_is_loopback(const struct ip *ip);
bool ip_is_private(const struct ip *ip);

/* "2.2.0.192." or 32 nibbles, then zone: RFC 5782 sections 2.1, 2.4, RFC 1035 3.5. */
void ip_reverse_name(struct str *out, const struct ip *ip, struct slice zone);
/* The zone for PTR questions: in-addr.arpa or ip6.arpa. */
void ip_ptr_name(struct str *out, const struct ip *ip);

/* A sorted set of prefixes for lookup in O(log n). */
struct ip_set;
struct ip_set *ip_set_new(struct arena *a);
void ip_set_add(struct ip_set *set, const struct ip_prefix *prefix);
/* Call once after the last add. */
void ip_set_finish(struct ip_set *set);
bool ip_set_contains(const struct ip_set *set, const struct ip *ip);
/* How many prefixes were added. */
size_t ip_set_count(const struct ip_set *set);

#endif
