/*
 * Zone files: answers of our own, in front of the network.
 *
 * At or below an SOA in a file the files alone answer, and what they lack does not exist. Without an SOA
 * above it a name merely has the records given; all else about it is asked of the network.
 */
#ifndef SPURN_NET_DNS_ZONE_H
#define SPURN_NET_DNS_ZONE_H

#include "net/dns.h"

struct dns_zones;

/* Reads the files. NULL and *why ("FILE:LINE: what", in `a`) at the first mistake. No files: an empty set. */
struct dns_zones *dns_zone_open(struct arena *a, const char *const *files, size_t count, const char **why);
void dns_zone_close(struct dns_zones *z);

enum dns_zone_result {
	ZONE_ELSEWHERE,	/* not ours: ask the network */
	ZONE_ANSWERED,	/* *out is the answer, its records in `a` */
	ZONE_ALIAS,	/* the name is an alias of *alias: ask for that; out->ttl is how long */
};
/* name in lower case. */
enum dns_zone_result dns_zone_ask(const struct dns_zones *z, struct arena *a, const struct dns_name *name,
	enum dns_type type, struct dns_answer *out, struct dns_name *alias);

#endif
