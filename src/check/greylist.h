/*
 * Greylisting: a stranger's first message is put off once, and a sender that comes back is known from then on.
 *
 * A sender is known by the domain that it proves (SPF pass of the reverse-path, else a DKIM signature that verifies), so that the
 * many hosts of a big provider are one; who proves nothing by its network, /24 or /64, and the domain of the reverse-path.
 * Looked at after the end of the data, where both proofs are there and all recipients exist: who guesses addresses learns
 * nothing, and only what would be taken is put off. Never for the null reverse-path: other sites' notices and probes are not tried
 * again in the same way. What the store does not know for trouble is let in: a failed question is no first contact.
 */
#ifndef SPURN_CHECK_GREYLIST_H
#define SPURN_CHECK_GREYLIST_H

#include "net/store.h"
#include "wire/envelope.h"

struct greylist_conf {
	nanoseconds delay;	/* a retry sooner than this is put off, too */
	nanoseconds window;	/* a retry later than this is a first contact again */
	nanoseconds keep;	/* who has come back is known for so long after its last message */
};

/* Adds the GREYLIST finding: first-contact (detail: seconds to wait) or pass; nothing for the null reverse-path. */
void greylist_check(const struct greylist_conf *conf, struct store *store, const struct envelope *e,
	struct findings *found, struct arena *a);

#endif
