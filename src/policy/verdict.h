/*
 * The verdict: findings to one disposition and one reply. Nothing else in
 * Spurn decides, and no check names a reply.
 *
 * The rules are a table: check, result, disposition, reply. The worst disposition wins
 * (reject over defer, unless a temporary failure could have turned the rejection into an acceptance; the first of
 * equals speaks). A finding of a check in observe mode records what it would have led to and leads to nothing.
 * postmaster@ and abuse@ recipients are exempt from refusals by reputation and content.
 */
#ifndef SPURN_POLICY_VERDICT_H
#define SPURN_POLICY_VERDICT_H

#include "policy/config.h"

struct verdict {
	enum disposition disposition;
	enum reply_name reply;		/* REPLY_NONE when accepted */
	struct slice detail;		/* for the reply's %s; empty: none */
	const struct finding *because;	/* NULL when accepted */
	bool split;	/* recipients that are `alone` are refused, the others not: said to each under PRDR */
};

/* For one recipient at RCPT: all that is known of the client, the sender and this recipient. Marks the findings'
 * mode and would. */
struct verdict verdict_of_recipient(const struct config *c, const struct domain_conf *d,
	struct envelope *e, const struct recipient *r, bool observe_all);
/* For the message at its end (framing, hops, content). */
struct verdict verdict_of_message(const struct config *c, const struct domain_conf *d,
	struct envelope *e, bool observe_all);

#endif
