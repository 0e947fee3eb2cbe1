/*
 * Warm connections to backends: kept, healthy, within a budget.
 *
 * A pool belongs to a worker. Per host it keeps idle connections (ready to
 * take MAIL), knows when the host failed and backs off (0.5 s doubling to 60 s, one
 * probe at a time), resolves host names, remembers what EHLO offered and
 * refreshes that on every new connection. An idle connection that becomes
 * readable (421, end) is dropped at once. Hosts are tried in the order
 * configured; a host in back-off is passed over as long as another is not.
 */
#ifndef SPURN_NET_POOL_H
#define SPURN_NET_POOL_H

#include "net/dns.h"
#include "net/smtp_client.h"

struct pool;

struct pool *pool_open(struct dns *dns, const char *our_name);
/* dns may be replaced after a reload. */
void pool_set_dns(struct pool *p, struct dns *dns);
void pool_close(struct pool *p);

/* A connection ready for XFORWARD or MAIL. fresh: a new one, after a warm one turned out to be dead. Waits
 * for a place when max_connections are out. NULL: *why; *reply: what a host said (code 0: nothing); both live
 * in `a`. b must last for the call, not longer. */
ASYNC struct smtp_client *pool_take(struct pool *p, struct arena *a, const struct backend *b, bool fresh,
	struct reply *reply, const char **why, deadline d);
/* Gives it back, outside any transaction (after the reply to the dot or to RSET), with no reply unread: BUG_ON. Broken
 * ones are closed. */
void pool_give(struct pool *p, struct smtp_client *c);
/* In mid-transaction, with or without replies unread: RSET is sent and its answer awaited in the background, then it
 * is kept. From DATA on there is no way back: it is closed. */
void pool_reset_and_give(struct pool *p, struct smtp_client *c);
/* Closes it; failed: counts against the host (not for a warm one that was found dead: pool_take() a fresh one). Many
 * connections that die together count once. */
void pool_discard(struct pool *p, struct smtp_client *c, bool failed);

/* What the backend offers as far as known: the capabilities that all its answering hosts share and the smallest size
 * limit. false: not known yet (nobody has answered so far). */
bool pool_capabilities(struct pool *p, const struct backend *b, unsigned *capabilities, uint64_t *size_limit);
/* Learns them, if not known, by connecting. *why lives in `a`. */
ASYNC bool pool_learn(struct pool *p, struct arena *a, const struct backend *b, const char **why, deadline d);

/* For status: one call per host. */
struct pool_host_info {
	const char *url;
	unsigned capabilities;
	uint64_t size_limit, opened, failed, transactions;
	uint32_t idle, out;
	bool up, known;
	const char *last_error;
	nanoseconds retry_at;
};
void pool_each_host(struct pool *p, void (*fn)(const struct pool_host_info *, void *), void *arg);

#endif
