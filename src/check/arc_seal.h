/*
 * Sealing (RFC 8617 section 5.1): the set of three fields by which a handler of a message tells the next ones what it found, and
 * what the message was like when it left.
 */
#ifndef SPURN_CHECK_ARC_SEAL_H
#define SPURN_CHECK_ARC_SEAL_H

#include "check/arc_set.h"
#include "check/dkim_sign.h"
#include "check/finding.h"

struct arc_sealing {
	const struct dkim_signer *signer;
	const struct header *header;	/* as it leaves, and stays */
	const struct arc_sets *sets;	/* of this header; looked at if the chain passes */
	enum result chain;		/* of validating it: RESULT_NONE, RESULT_PASS or RESULT_FAIL */
	uint32_t instance;		/* arc_next_instance() */
	struct slice results;		/* the value of Authentication-Results */
	struct slice names;		/* of h= in ARC-Message-Signature; empty: chosen as for DKIM-Signature */
	struct slice body_hash;		/* SHA-256 of the relaxed body as it leaves */
	int64_t now;			/* seconds since the epoch */
};

/* One more than the highest instance of any ARC field (section 5.1 step 3). 0: no set may be added, there are fifty. */
uint32_t arc_next_instance(struct arena *a, const struct header *h);

/* Adds the three fields with their CRLFs, to stand on top of the header. false: the library failed, *out as before. Not for
 * fibers (fiber_hoist). */
bool arc_seal(struct str *out, const struct arc_sealing *g);

#endif
