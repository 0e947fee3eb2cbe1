/*
 * Master files: the text form of DNS data. (RFC 1035 section 5, $TTL of RFC 2308 section 4, RFC 3597)
 *
 * Text in, records out, one after another; no files are opened here ($INCLUDE is refused). The first
 * mistake ends the reading: a zone that is half there would answer "no" for the other half.
 */
#ifndef SPURN_WIRE_DNS_ZONEFILE_H
#define SPURN_WIRE_DNS_ZONEFILE_H

#include "wire/dns_packet.h"

struct zonefile_record {
	struct dns_name owner;	/* as written, not folded */
	uint16_t type;
	uint32_t ttl;
	struct slice rdata;	/* as on the wire, names not compressed; lasts during the call only */
	bool ignored;		/* of a type whose text form we do not read: only its existence counts */
};

/* False and *why: the record has no place; the reading ends with that. */
typedef bool zonefile_take(void *arg, const struct zonefile_record *r, const char **why);

/* Calls take for each record in its order. False: *line (from 1) and *why (in `a`, or static) say where and
 * what. Names without final dot are below the root until $ORIGIN says otherwise. */
bool dns_zonefile_parse(struct slice text, struct arena *a, zonefile_take *take, void *arg,
	unsigned *line, const char **why);

#endif
