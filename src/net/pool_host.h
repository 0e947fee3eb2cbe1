/*
 * What the files of the pool share: hosts, connections, those who wait, and the moves between them.
 *
 * pool.c takes and gives back and keeps the line; pool_host.c knows hosts, their warm connections and their health;
 * pool_open.c makes a new connection; pool_offer.c says what backends offer.
 */
#ifndef SPURN_NET_POOL_HOST_H
#define SPURN_NET_POOL_HOST_H

#include "base/table.h"
#include "net/pool.h"

#define FORGET_SPAN (3600 * NS_PER_SECOND)	/* hosts that nobody has asked for */
#define CONTEXT_SPAN (3600 * NS_PER_SECOND)	/* then CA files are read anew */

/* A connection and what the pool needs beside it. */
struct pooled {
	struct smtp_client client;	/* first: a client of the pool's is its pooled */
	struct pool_host *host;
	struct fiber_job reset;
	uint32_t counted;		/* of its transactions, in the host's number */
};

struct pool_host {
	struct table_link link;
	struct ring all;		/* among the pool's hosts */
	struct pool *pool;
	struct arena arena;
	struct backend_host at;
	enum backend_tls tls;
	const char *ca_file;
	uint32_t max_connections;	/* as asked for last */
	nanoseconds keep_idle;

	uint32_t count, idle_count;	/* connections: all, opening ones included; idle ones */
	struct ring idle;		/* the last one used first */
	struct ring out;		/* taken, or being reset */
	struct timer idle_timer;
	struct ring line;		/* struct place of those who wait */

	unsigned capabilities;
	uint64_t size_limit;
	bool known;

	uint32_t failures;		/* since the last good transaction */
	nanoseconds failed_at;
	deadline retry_at;		/* 0: up */
	bool probing;
	struct reply last_reply;
	char last_text[512], last_error[256];
	deadline plain_until;

	struct event learnt;
	bool learning;
	nanoseconds asked_at;
	uint64_t opened, failed, transactions;
};

/* A TLS client context, shared by hosts that ask for the same. */
struct pool_context {
	struct ring link;
	struct tls_context *tls;
	bool verify;
	char *ca_file;			/* NULL: the system's */
	nanoseconds made;
};

struct pool {
	struct dns *dns;
	char *our_name;
	struct table by_key;
	struct ring hosts, contexts;
	struct timer sweep;
	uint32_t users;			/* connections and calls under way; the last one frees a closed pool */
	bool closed;
};

/* One who waits, in the line of each host it could use. */
struct waiter {
	struct event granted;
	struct place *places;
	size_t count, left;		/* places: all; those still in a line */
	struct pool_host *host;		/* where there is a place for it */
	struct pooled *pooled;		/* or a warm connection at once */
	bool fresh;
};

struct place {
	struct ring link;
	struct waiter *waiter;
};

/* One call of pool_take(). */
struct take {
	struct pool *pool;
	struct arena *arena;
	const struct backend *backend;
	bool fresh;
	struct reply *reply;
	const char **why;
	deadline until;
};

static inline struct pooled *pooled_of(struct smtp_client *c) { return container_of(c, struct pooled, client); }
static inline struct pooled *pooled_of_link(struct ring *link)
{
	return pooled_of(container_of(link, struct smtp_client, link));
}
static inline struct pool_host *host_of_ring(struct ring *link) { return container_of(link, struct pool_host, all); }

static inline bool text_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* ---- pool.c ---- */

/* A call or a connection is over (users); the last one frees a closed pool. */
void pool_release(struct pool *p);
/* A place of h goes to the first in line, with a warm connection in it or without. False: nobody waits. */
bool line_grant(struct pool_host *h, struct pooled *warm);
/* h cannot serve them now. Who has no other host to wait for goes and says so. */
void line_dismiss(struct pool_host *h);

/* ---- pool_host.c ---- */

/* The host of this backend, NULL if not known yet. */
struct pool_host *host_find(struct pool *p, const struct backend *b, size_t i);
/* The same, made if it is not known. */
struct pool_host *host_get(struct pool *p, const struct backend *b, size_t i);
void host_free(struct pool_host *h);
/* Hosts and TLS contexts that nobody has asked for lately (a reload has dropped them) are forgotten. */
void sweep_fire(struct timer *t);
/* A place is no longer used. */
void place_free(struct pool_host *h);
struct pooled *pooled_new(struct pool_host *h);
/* Closes it; its place is not freed. */
void pooled_close(struct pooled *x, bool politely);
/* Closes it and frees its place. */
void pooled_drop(struct pooled *x, bool politely);
void idle_drop(struct pooled *x, bool politely);
void idle_drop_all(struct pool_host *h, bool politely);
void idle_add(struct pooled *x);
/* The warmest that is still alive, or NULL. */
struct pooled *idle_take(struct pool_host *h);
bool host_is_down(const struct pool_host *h);
/* Whether what socket() or connect() lacked was lacking here, whatever the host is like. */
bool error_is_our_want(int error, int family);
/* began: when that was begun which has now failed. dead: not a refusal, so warm connections are gone, too. */
void host_failed(struct pool_host *h, nanoseconds began, bool dead, const struct reply *reply, const char *why);
void host_answered(struct pool_host *h, const struct smtp_client *c);
/* What t's caller is told: the host's last trouble. */
void host_tell(const struct pool_host *h, struct take *t);

/* ---- pool_open.c ---- */

/* A new connection in a place that is already counted. NULL: the place is free again, t's caller told why. */
ASYNC struct pooled *host_open(struct pool_host *h, struct take *t);
void context_free(struct pool_context *x);

#endif
