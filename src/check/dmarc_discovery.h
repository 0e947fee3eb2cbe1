/*
 * Which DMARC record speaks for a domain, and what its organizational domain is. For check/dmarc.c alone.
 */
#ifndef SPURN_CHECK_DMARC_DISCOVERY_H
#define SPURN_CHECK_DMARC_DISCOVERY_H

#include "check/dmarc.h"
#include "wire/dmarc_record.h"

enum dmarc_record_state { DMARC_RECORD_ABSENT, DMARC_RECORD_FOUND, DMARC_RECORD_BROKEN, DMARC_RECORD_TROUBLE };

struct dmarc_discovery {
	enum dmarc_record_state state;
	struct dmarc_record record;	/* of DMARC_RECORD_FOUND */
	struct slice at;		/* the domain whose it is; of trouble: which was asked */
	const char *why;		/* broken, or in trouble */
	struct slice organization;	/* empty: not known, for trouble */
};

/* domain: canonical. */
ASYNC void dmarc_discover(struct dns *dns, struct arena *a, enum dmarc_organization by, struct slice domain,
	struct dmarc_discovery *out, deadline until);

/* The same name, or one below it. */
bool dmarc_is_below(struct slice name, struct slice domain);
/* The last n labels of a name. */
struct slice dmarc_last_labels(struct slice name, unsigned n);

#endif
