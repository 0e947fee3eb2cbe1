/*
 * The pool: hosts, their health, their warm connections, and who waits for one.
 *
 * A host is known by value (protocol, name and port or path, how TLS is done), so
 * backends that share a host share its connections, capabilities and back-off, and a reload, which
 * makes new backend objects, finds the connections of the old ones warm. Nothing of a
 * `struct backend` is kept beyond the call.
 *
 * Idle connections are a stack: the last one given back is the next one taken, so
 * the surplus of a busy hour grows cold at the bottom and is closed there, before the
 * backend would do it. One that becomes readable while idle has ended or has spoken unasked, and is
 * closed at once. None is kept beyond 100 transactions (OpenSMTPD refuses the 101st MAIL, Exim the 1001st), eight
 * refusals without a message between (Postfix answers more slowly from the tenth on and hangs up at the
 * twentieth), or five minutes (load balancers and certificates change).
 *
 * Health. A failure puts the host in back-off, 0.5 s at first, doubled by each that follows without a good
 * transaction in between; so a dead backend is answered for at once and not hammered. When the time
 * has passed, one caller is the probe, for the others the host stays down. Twenty connections that die together
 * are one failure: what began before the last failure tells nothing new. A host that refuses new connections
 * at its greeting goes on serving over its warm ones.
 *
 * The line. When all places of a backend's hosts are taken, callers wait first come, first
 * served, each in the lines of all hosts it could use. What becomes free is handed over, connection or
 * place, not left lying for whoever runs next.
 *
 * Rejected: checking a warm connection with NOOP or RSET before use (a round trip for each message; the relay
 * takes a fresh one when a warm one turns out dead), spreading over all hosts (the order is
 * the postmaster's word), a pool for all workers (a lock and a descriptor hand-over a message).
 */
#include "net/pool_host.h"

#include "base/log.h"

#include <stdlib.h>

#define RESET_BUDGET (10 * NS_PER_SECOND)
#define LIFE_TRANSACTIONS 100
#define LIFE_ERRORS 8
#define LIFE_SPAN (300 * NS_PER_SECOND)

/* ---- the life of the pool ---- */

struct pool *pool_open(struct dns *dns, const char *our_name)
{
	struct pool *p = calloc(1, sizeof(*p));

	BUG_ON(!p);
	p->dns = dns;
	p->our_name = strdup(our_name);
	BUG_ON(!p->our_name);
	ring_init(&p->hosts);
	ring_init(&p->contexts);
	p->sweep.fn = sweep_fire;
	return p;
}

void pool_set_dns(struct pool *p, struct dns *dns) { p->dns = dns; }

static void pool_bury(void *object)
{
	struct pool *p = object;
	struct ring *at, *next;

	for (at = p->hosts.next; at != &p->hosts; at = next) {
		next = at->next;
		host_free(host_of_ring(at));
	}
	for (at = p->contexts.next; at != &p->contexts; at = next) {
		next = at->next;
		context_free(container_of(at, struct pool_context, link));
	}
	timer_clear(&p->sweep);
	table_drop(&p->by_key);
	free(p->our_name);
	free(p);
}

void pool_release(struct pool *p)
{
	BUG_ON(p->users == 0);
	if (--p->users == 0 && p->closed)
		loop_bury(pool_bury, p);
}

/* ---- the line ---- */

static void waiter_leave(struct waiter *w)
{
	for (size_t i = 0; i < w->count; i++)
		ring_remove(&w->places[i].link);
	w->left = 0;
}

static struct place *line_first(struct pool_host *h)
{
	return ring_empty(&h->line) ? NULL : container_of(h->line.next, struct place, link);
}

/* A place of h goes to the first in line, with a warm connection in it or without. False: nobody waits. */
bool line_grant(struct pool_host *h, struct pooled *warm)
{
	struct place *first = line_first(h);
	struct waiter *w;

	if (!first)
		return false;
	w = first->waiter;
	waiter_leave(w);
	w->host = h;
	w->pooled = warm;
	event_set(&w->granted);
	return true;
}

/* h cannot serve them now. Who has no other host to wait for goes and says so. */
void line_dismiss(struct pool_host *h)
{
	struct place *first;

	while ((first = line_first(h))) {
		ring_remove(&first->link);
		if (--first->waiter->left == 0)
			event_set(&first->waiter->granted);
	}
}

/* ---- taking ---- */

/* Waits in the lines of the backend's hosts. False: no grant, *w is over (a host has room after all, none is up
 * any more, the deadline). */
ASYNC static bool wait_in_line(struct take *t, struct waiter *w)
{
	const struct backend *b = t->backend;
	bool room = false;

	*w = (struct waiter){ .fresh = t->fresh, .count = b->host_count };
	event_init(&w->granted);
	w->places = arena_array(t->arena, struct place, b->host_count);
	for (size_t i = 0; i < b->host_count; i++) {
		struct pool_host *h = host_get(t->pool, b, i);

		w->places[i].waiter = w;
		ring_init(&w->places[i].link);
		if (host_is_down(h))
			continue;
		room |= !h->probing && (h->count < h->max_connections || !ring_empty(&h->idle));
		ring_add_last(&h->line, &w->places[i].link);
		w->left++;
	}
	if (w->left > 0 && !room)
		wait_event(&w->granted, "a free connection to the backend", t->until);
	waiter_leave(w);
	return w->host != NULL;
}

/* A connection of this host, if it has one for us now. *full: it will have one. */
ASYNC static struct pooled *take_from(struct pool_host *h, struct take *t, bool *full)
{
	struct pooled *x = t->fresh ? NULL : idle_take(h);

	if (x)
		return x;
	if (host_is_down(h)) {
		host_tell(h, t);
		return NULL;
	}
	/* One tries whether it is back; the others wait for what that brings. */
	if (h->probing) {
		*full = true;
		return NULL;
	}
	if (h->count >= h->max_connections && !ring_empty(&h->idle))
		idle_drop(pooled_of_link(h->idle.prev), true);
	if (h->count >= h->max_connections || !ring_empty(&h->line)) {
		*full = true;
		return NULL;
	}
	h->count++;
	return host_open(h, t);
}

/* What was granted to one who waited. */
ASYNC static struct pooled *take_granted(struct waiter *w, struct take *t)
{
	if (!w->pooled)
		return host_open(w->host, t);
	if (!w->fresh)
		return w->pooled;
	pooled_close(w->pooled, true);
	return host_open(w->host, t);
}

static bool take_over(struct take *t)
{
	if (!t->pool->closed && !fiber_cancelled() && !deadline_passed(t->until))
		return false;
	if (!*t->why)
		*t->why = t->pool->closed ? "shutting down" : fiber_cancelled() ? "cancelled" :
			"all connections to the backend are in use";
	return true;
}

ASYNC static struct pooled *take(struct take *t)
{
	const struct backend *b = t->backend;

	for (;;) {
		struct pooled *x = NULL;
		struct waiter w;
		bool full = false;

		for (size_t i = 0; i < b->host_count && !x && !t->pool->closed; i++)
			x = take_from(host_get(t->pool, b, i), t, &full);
		if (x)
			return x;
		if (take_over(t) || !full)
			return NULL;
		*t->why = NULL;
		if (wait_in_line(t, &w) && (x = take_granted(&w, t)))
			return x;
		if (take_over(t))
			return NULL;
	}
}

struct smtp_client *pool_take(struct pool *p, struct arena *a, const struct backend *b, bool fresh,
	struct reply *reply, const char **why, deadline d)
{
	const char *reason = NULL;
	struct take t = { p, a, b, fresh, reply, &reason, d };
	struct pooled *x;

	BUG_ON(p->closed || b->host_count == 0);
	*reply = (struct reply){ .name = REPLY_NONE };
	p->users++;
	x = take(&t);
	if (x) {
		ring_add_last(&x->host->out, &x->client.link);
		return &x->client;
	}
	*why = reason ? reason : "no connection";
	pool_release(p);
	return NULL;
}

/* ---- giving back ---- */

static bool is_worn(const struct smtp_client *c)
{
	return c->transactions >= LIFE_TRANSACTIONS || c->errors >= LIFE_ERRORS ||
		clock_now() - c->opened >= LIFE_SPAN;
}

void pool_give(struct pool *p, struct smtp_client *c)
{
	struct pooled *x = pooled_of(c);
	struct pool_host *h = x->host;

	if (!c->broken && c->unread > 0 && c->unread == c->skip) {	/* presented, then not needed */
		pool_reset_and_give(p, c);
		return;
	}
	BUG_ON(!c->broken && (c->unread > 0 || c->data != DATA_NONE));	/* the next message would get our answer */
	ring_remove(&c->link);
	h->transactions += c->transactions - x->counted;
	if (c->transactions > x->counted) {
		c->fresh = false;
		if (!c->broken)
			h->failures = 0;
	}
	x->counted = c->transactions;
	if (c->broken || !smtp_client_is_quiet(c))
		pooled_drop(x, false);
	else if (p->closed || is_worn(c))
		pooled_drop(x, true);
	else if (line_grant(h, x))
		;
	else if (h->keep_idle > 0)
		idle_add(x);
	else
		pooled_drop(x, true);
	pool_release(p);
}

void pool_discard(struct pool *p, struct smtp_client *c, bool failed)
{
	struct pooled *x = pooled_of(c);
	struct pool_host *h = x->host;
	struct reply none = { .name = REPLY_NONE };

	h->transactions += c->transactions - x->counted;
	if (failed)
		host_failed(h, c->opened, true, &none, c->reason ? c->reason : "failed in mid-dialogue");
	pooled_drop(x, false);
	pool_release(p);
}

/* Brings it back into step: reads what is owed, and the answer to RSET. */
ASYNC static void reset_run(void *arg)
{
	struct pooled *x = arg;
	struct smtp_client *c = &x->client;
	struct arena scratch = ARENA_INIT;
	struct reply reply = { .name = REPLY_NONE };
	deadline d = deadline_in(RESET_BUDGET);
	const char *why;

	smtp_client_queue(c, "RSET");
	while (c->unread > 0 && smtp_client_reply(c, &scratch, &reply, &why, "reply to RSET", d))
		;
	arena_drop(&scratch);
	if (c->unread == 0 && reply_is_positive(&reply))
		pool_give(x->host->pool, c);
	else
		pool_discard(x->host->pool, c, false);
}

void pool_reset_and_give(struct pool *p, struct smtp_client *c)
{
	struct pooled *x = pooled_of(c);

	if (c->broken || c->data != DATA_NONE || p->closed)
		pool_discard(p, c, false);
	else if (c->unread == 0 && c->transactions == x->counted)
		pool_give(p, c);
	else
		fiber_start(&x->reset, "backend reset", reset_run, x);
}

void pool_close(struct pool *p)
{
	struct ring *at, *next;

	p->closed = true;
	p->users++;	/* so that it lasts to the end of this */
	timer_clear(&p->sweep);
	for (struct ring *host = p->hosts.next; host != &p->hosts; host = host->next) {
		struct pool_host *h = host_of_ring(host);

		line_dismiss(h);
		event_set(&h->learnt);
		idle_drop_all(h, true);
		for (at = h->out.next; at != &h->out; at = next) {
			struct pooled *x = pooled_of_link(at);
			bool resetting = fiber_job_active(&x->reset);

			next = at->next;
			fiber_job_cancel(&x->reset);
			if (resetting && !fiber_job_active(&x->reset))	/* it stood in line and will not run */
				pool_discard(p, &x->client, false);
		}
	}
	pool_release(p);
}

/* ---- for operators ---- */

void pool_each_host(struct pool *p, void (*fn)(const struct pool_host_info *, void *), void *arg)
{
	for (struct ring *at = p->hosts.next; at != &p->hosts; at = at->next) {
		const struct pool_host *h = host_of_ring(at);
		struct pool_host_info i = {
			.url = h->at.url, .capabilities = h->capabilities, .size_limit = h->size_limit,
			.opened = h->opened, .failed = h->failed, .transactions = h->transactions,
			.idle = h->idle_count, .out = h->count - h->idle_count,
			.up = h->retry_at == 0, .known = h->known,
			.last_error = h->last_error[0] ? h->last_error : NULL, .retry_at = h->retry_at,
		};

		fn(&i, arg);
	}
}
