/*
 * The outbound guard: may this notice leave?
 *
 * Our own servers and users answer mail by machine: bounces, vacation replies, virus notices, complaints. Whoever forges a
 * sender turns these against an innocent person. So a notice may go only to somebody who proved that he wrote: the received ledger,
 * kept on the inbound side, knows which messages came in, and for which addresses they carried proof (SPF for the
 * reverse-path, an aligned DKIM signature or DMARC for the author; or that a trusted ARC sealer found one of these, which forwarding
 * has broken since).
 *
 * Keyed hashes, no addresses, in the table `received` of the store:
 *
 *   message    Message-ID                     it came in here; whether it was itself automatic
 *   answer     Message-ID, address            ... and this address is proven for it
 *   pair       local user, address            the address has written to this user
 *   domain     domain                         the domain has written here
 *   replied    local user, correspondent      an automatic reply has gone out
 *   flood      local user, remote domain      how many have
 *   since      -                              from when on the ledger is complete
 *
 * What keeps the guard from doing harm itself: until the ledger has been complete for `warm_after`, it only observes; what was
 * lost or not recorded makes it begin anew; trouble of the store is a temporary failure; and mail that came in here
 * and goes out again under its own Message-ID is a forward, no notice.
 *
 * Rejected: judging by the headers of the notice alone (they say what a vacation program was told), and a list of
 * known correspondents (grows for ever, and a forger needs only one).
 */
#ifndef SPURN_CHECK_GUARD_H
#define SPURN_CHECK_GUARD_H

#include "check/notice.h"
#include "check/rate.h"
#include "net/store.h"
#include "wire/envelope.h"

struct guard_conf {
	nanoseconds keep;		/* what came in is remembered for so long */
	nanoseconds warm_after;		/* the ledger must have been complete for so long before anything is destroyed; 0: at once */
	nanoseconds reply_once;		/* one automatic reply per local user and correspondent in this time */
	struct rate_limit reply_rate;	/* of one local user to one remote domain */
	uint8_t action;			/* enum guard_action */
	uint8_t suppress;		/* bool: mark inbound mail without proof for inner servers */
	uint8_t reduce;			/* bool: what a delivery report returns leaves as its header section */
};

/* What happens to a notice that may not leave; the places in the choices of option.c. */
enum guard_action { GUARD_DESTROY, GUARD_REFUSE };

/* One per worker. */
struct guard;

/* store: NULL if it could not be opened; then nothing is recorded, and no notice can be judged. */
struct guard *guard_open(struct arena *a, struct store *store);
struct store *guard_store(const struct guard *g);
/* recording: the inbound side writes the ledger from now on; false: it does not, and what there is will not be complete. */
void guard_configure(struct guard *g, bool recording);

/* A message has come in and is about to be relayed: what a notice may answer. A finding only if the store is in trouble. */
void guard_record(struct guard *g, const struct guard_conf *conf, const struct envelope *e, const struct header *h,
	struct findings *found);
/* Whether the ledger would let an automatic answer to this message out: somebody is proven to have written it. */
bool guard_sender_proven(const struct envelope *e);

/* Who belongs to the site. own(): whether an address does, and its canonical form as guard_record() was told it (under its domain's own
 * name, without sub-address); else its canonical form, empty if it has none. */
struct guard_site {
	bool (*own)(void *arg, struct arena *a, struct slice address, struct slice *canonical);
	void *arg;
};

/* A message is about to leave. Those of the site are no third parties.
 * Findings of check `notice`: solicited, unsolicited, repeated, temperror. None if it is no notice.
 * true: it is a notice of ours that leaves, to strangers, as far as the guard can tell. */
bool guard_judge(struct guard *g, const struct guard_conf *conf, const struct envelope *e, const struct header *h,
	const struct guard_site *site, struct findings *found);

/* For `spurn status`: the moment from which on the ledger is complete (wall clock, seconds); 0: not known. */
time_t guard_complete_since(struct store *store);

#endif
