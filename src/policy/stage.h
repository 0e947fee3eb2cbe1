/*
 * Stages: which checks run at which moment, in what order, with what budget.
 *
 *   CONNECT  lists, reverse name, DNSBL by client    (during the greet wait)
 *   HELO     plausibility
 *   MAIL     sender lists, sender domain, DNSBL by sender domain and HELO, SPF
 *   RCPT     recipient sources
 *   MESSAGE  what looks at the message itself: policy/stage_message.h
 *
 * A stage is an ordered table of checks; those of one stage that ask the network
 * run in parallel under the stage's deadline. Stages add findings and decide nothing.
 */
#ifndef SPURN_POLICY_STAGE_H
#define SPURN_POLICY_STAGE_H

#include "policy/config.h"

struct guard;	/* check/guard.h */

/* What checks need to ask their questions; one per worker. */
struct services {
	struct dns *dns;
	struct dnsbl *dnsbl;
	struct store *store;
	struct pool *pool;
	struct scanners *scanners;	/* NULL: nobody is asked about content */
	struct rates *rates;
	struct dkim_keys *dkim_keys;
	struct guard *guard;	/* NULL: there is no store, or nothing may be written */
	struct waves *waves;	/* those that go on; NULL: they are not shown */
	bool *observe_all;	/* shared by all workers: `spurn observe on` */
};

/* Findings go to the list given; a check whose mode is off for the whole site is not asked. `a` is the arena of
 * the list: the connection's for connect and HELO, the transaction's for MAIL. */
ASYNC void stage_connect(const struct services *s, const struct config *c, struct client_facts *client,
	struct findings *findings, struct arena *a, deadline until);
/* our_ip: the address the client connected to; NULL: not known. */
void stage_helo(const struct config *c, const struct client_facts *client, const struct ip *our_ip,
	struct findings *findings, struct arena *a);
ASYNC void stage_mail(const struct services *s, const struct config *c, struct envelope *e, deadline until);
/* True if the connect stage would ask the network (else it need not be run). */
bool stage_connect_waits(const struct config *c, const struct client_facts *client);

#endif
