/*
 * DMARC policy records (RFC 7489 section 6.3, RFC 9091, and the tags of the tree walk of its successor).
 */
#ifndef SPURN_WIRE_DMARC_RECORD_H
#define SPURN_WIRE_DMARC_RECORD_H

#include "base/str.h"

/* Policies, in the order of their strictness. */
enum dmarc_policy { DMARC_NONE = 'n', DMARC_QUARANTINE = 'q', DMARC_REJECT = 'r' };

struct dmarc_record {
	char policy;		/* p= */
	char sub_policy;	/* sp=, of subdomains; that of p= if not given */
	char absent_policy;	/* np=, of subdomains that do not exist; that of sp= if not given */
	bool strict_dkim, strict_spf;	/* adkim=s, aspf=s */
	bool testing;		/* t=y: each policy one step milder */
	char public_suffix;	/* psd=: 'y', 'n' or 'u' */
	unsigned percent;	/* pct=, 0 to 100 */
};

/* Whether a TXT record is meant as one: it begins with "v=DMARC1". All others are to be discarded (section 6.6.3). */
bool dmarc_record_is(struct slice text);
/* Reads one. false and *why (a static phrase): no policy can be told from it. */
bool dmarc_record_parse(struct dmarc_record *out, struct slice text, const char **why);
/* "none", "quarantine", "reject". */
const char *dmarc_policy_name(char policy);

#endif
