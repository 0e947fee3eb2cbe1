/*
 * DNS answers: a packet in, records out. (RFC 1035 section 4, RFC 2181, RFC 2308)
 *
 * Pure and bounded: a packet is hostile until shown otherwise, even after a resolver has
 * looked at it. What is malformed makes the whole packet malformed; nothing is guessed.
 */
#ifndef SPURN_WIRE_DNS_PACKET_H
#define SPURN_WIRE_DNS_PACKET_H

#include "base/ip.h"
#include "wire/dns_name.h"

/* Types we ask for, serve from files, or know well enough to pass over in them. X(name, number) */
#define DNS_TYPES(X) \
	X(A, 1) X(NS, 2) X(CNAME, 5) X(SOA, 6) X(PTR, 12) X(HINFO, 13) X(MX, 15) X(TXT, 16) X(RP, 17) \
	X(AFSDB, 18) X(SIG, 24) X(KEY, 25) X(AAAA, 28) X(LOC, 29) X(SRV, 33) X(NAPTR, 35) X(KX, 36) \
	X(CERT, 37) X(DNAME, 39) X(APL, 42) X(DS, 43) X(SSHFP, 44) X(IPSECKEY, 45) X(RRSIG, 46) \
	X(NSEC, 47) X(DNSKEY, 48) X(DHCID, 49) X(NSEC3, 50) X(NSEC3PARAM, 51) X(TLSA, 52) X(SMIMEA, 53) \
	X(HIP, 55) X(CDS, 59) X(CDNSKEY, 60) X(OPENPGPKEY, 61) X(CSYNC, 62) X(ZONEMD, 63) X(SVCB, 64) \
	X(HTTPS, 65) X(SPF, 99) X(EUI48, 108) X(EUI64, 109) X(URI, 256) X(CAA, 257)

enum dns_type {
#define X(name, number) DNS_##name = number,
	DNS_TYPES(X)
#undef X
};

/* "MX"; "TYPE" for one that has no name here. */
const char *dns_type_name(enum dns_type t);
/* "mx", "TYPE257" (RFC 3597 section 5). */
bool dns_type_parse(uint16_t *out, struct slice text);

struct dns_record {
	struct ip ip;		/* A, AAAA */
	uint16_t preference;	/* MX; SRV: priority */
	struct slice text;	/* MX, PTR, CNAME, NS, SOA (the primary server), SRV: name without final dot ("" is the
				 * root); TXT, SPF: all strings joined; other types: the octets */
};

/* Response codes (IANA), those that are spoken of. */
enum dns_rcode { DNS_NOERROR, DNS_FORMERR, DNS_SERVFAIL, DNS_NAMEERROR, DNS_NOTIMP, DNS_REFUSED };
const char *dns_rcode_name(unsigned rcode);

struct dns_reply {
	uint16_t id;
	uint8_t rcode;			/* enum dns_rcode; the upper bits of EDNS are not looked at */
	bool truncated;
	uint32_t ttl;			/* seconds: the least of all records used; of a "no": RFC 2308 section 5 */
	struct dns_record *records;	/* of the type asked for, in the order received, CNAMEs followed */
	size_t count;
};

/* Reads what a packet answers to a question. The packet must be a response and ask just this question
 * (or, from a careless server, none). False and *why if it is not that, or malformed; out untouched. */
bool dns_packet_parse(struct dns_reply *out, struct arena *a, struct slice packet,
	const struct dns_name *name, enum dns_type type, const char **why);

/* One record's data: n octets at `at` of a packet, names may be compressed. */
bool dns_rdata_parse(struct dns_record *out, struct arena *a, struct slice packet, size_t at, size_t n,
	enum dns_type type);

#endif
