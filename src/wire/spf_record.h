/*
 * SPF records: text in, terms out. (RFC 7208 sections 4.5, 4.6, 5, 6, 12)
 *
 * The whole record is read before any of it is evaluated: "if there are any syntax errors anywhere in the record,
 * check_host() returns immediately with the result "permerror", without further interpretation or evaluation" (section
 * 4.6).
 */
#ifndef SPURN_WIRE_SPF_RECORD_H
#define SPURN_WIRE_SPF_RECORD_H

#include "base/ip.h"

enum spf_mechanism { SPF_ALL, SPF_INCLUDE, SPF_A, SPF_MX, SPF_PTR, SPF_IP4, SPF_IP6, SPF_EXISTS };

/* A directive: a qualifier and a mechanism. */
struct spf_term {
	uint8_t mechanism;		/* enum spf_mechanism */
	char qualifier;			/* + - ? ~ */
	uint8_t bits4, bits6;		/* dual-cidr-length: 0 to 32, 0 to 128 */
	struct slice domain;		/* domain-spec as written; empty: none */
	struct ip ip;			/* ip4, ip6: the network, with the length in bits4, bits6 */
	struct slice text;		/* the whole term as written */
};

struct spf_record {
	struct spf_term *terms;
	size_t count;
	struct slice redirect, explanation;	/* domain-spec of these modifiers; empty: none */
};

#define SPF_RECORD_MAX 16384	/* octets; section 3.4 asks publishers to stay below 512 in the whole answer */

/* True if a TXT record is one of SPF: "a version section of exactly "v=spf1"", ended by a space or the end of
 * the record (section 4.5). */
bool spf_record_is(struct slice txt);
/* Reads a text for which spf_record_is() holds. Slices point into it, terms live in `a`. False and *why, a phrase in `a`
 * that shows the bad term escaped. */
bool spf_record_parse(struct spf_record *out, struct arena *a, struct slice text, const char **why);

/* "include" and so on. */
const char *spf_mechanism_name(enum spf_mechanism m);

#endif
