/*
 * DMARC: does the author's domain stand behind this message, and what does it ask of us if not? RFC 7489 with RFC 9091
 * (np=), and, where wanted, the tree walk of its successor (RFC 9989) instead of the public suffix list.
 *
 * Nothing is ever reported to anybody: neither failures nor aggregates.
 */
#ifndef SPURN_CHECK_DMARC_H
#define SPURN_CHECK_DMARC_H

#include "net/dns.h"
#include "wire/envelope.h"
#include "wire/message.h"

struct dmarc_conf {
	uint8_t organization;			/* enum dmarc_organization */
	uint8_t reject, quarantine, bad_from;	/* what they lead to: accept, mark, reject */
	uint8_t temperror;			/* accept, mark, defer */
};

enum dmarc_organization { ORGANIZATION_SUFFIX_LIST, ORGANIZATION_TREE_WALK };

/* The DMARC of a message whose SPF, DKIM and ARC are known: facts into auth->dmarc, and a finding; one more for a From that
 * defeats DMARC, or that is not there. trusted: the client is a forwarder of ours. Strings live in `a`. */
ASYNC void dmarc_evaluate(struct dns *dns, struct arena *a, const struct dmarc_conf *conf, const struct header *h,
	bool trusted, struct auth_facts *auth, struct findings *found, deadline until);

/* Whether two domains (canonical) are aligned, by the public suffix list (section 3.1). */
bool dmarc_aligned(struct slice one, struct slice other, bool strict);

#endif
