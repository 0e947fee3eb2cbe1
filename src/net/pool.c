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
#include "net/pool.h"

#include "base/log.h"
#include "base/table.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#define BACKOFF_FIRST (NS_PER_SECOND / 2)
#define BACKOFF_LAST (60 * NS_PER_SECOND)
#define OPEN_BUDGET (30 * NS_PER_SECOND)	/* of one address: connect, greeting, EHLO, TLS */
#define FAIR_TRIAL (2 * NS_PER_SECOND)		/* a host that had less time is not to blame */
#define RESET_BUDGET (10 * NS_PER_SECOND)
#define LIFE_TRANSACTIONS 100
#define LIFE_ERRORS 8
#define LIFE_SPAN (300 * NS_PER_SECOND)
#define PLAIN_SPAN (600 * NS_PER_SECOND)	/* no new try of TLS after a failed handshake */
#define CONTEXT_SPAN (3600 * NS_PER_SECOND)	/* then CA files are read anew */
#define FORGET_SPAN (3600 * NS_PER_SECOND)	/* hosts that nobody has asked for */
#define ADDRESSES_MOST 16

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

static struct pooled *pooled_of(struct smtp_client *c) { return container_of(c, struct pooled, client); }
static struct pooled *pooled_of_link(struct ring *link)
{
	return pooled_of(container_of(link, struct smtp_client, link));
}
static struct pool_host *host_of_ring(struct ring *link) { return container_of(link, struct pool_host, all); }

/* ---- the life of the pool ---- */

static void sweep_fire(struct timer *t);
static void idle_expire(struct timer *t);

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

static void host_free(struct pool_host *h)
{
	BUG_ON(h->count > 0 || !ring_empty(&h->line));
	timer_clear(&h->idle_timer);
	table_remove(&h->pool->by_key, &h->link);
	ring_remove(&h->all);
	arena_drop(&h->arena);
	free(h);
}

static void context_free(struct pool_context *x)
{
	ring_remove(&x->link);
	tls_context_unref(x->tls);
	free(x->ca_file);
	free(x);
}

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

static void pool_release(struct pool *p)
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
static bool line_grant(struct pool_host *h, struct pooled *warm)
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
static void line_dismiss(struct pool_host *h)
{
	struct place *first;

	while ((first = line_first(h))) {
		ring_remove(&first->link);
		if (--first->waiter->left == 0)
			event_set(&first->waiter->granted);
	}
}

/* ---- hosts ---- */

struct host_key {
	const struct backend *backend;
	const struct backend_host *at;
};

static bool text_same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool host_match(const struct table_link *link, const void *key)
{
	const struct pool_host *h = container_of(link, const struct pool_host, link);
	const struct host_key *k = key;

	return h->at.protocol == k->at->protocol && h->at.port == k->at->port && h->tls == k->backend->tls &&
		text_same(h->at.path, k->at->path) && text_same(h->at.name, k->at->name) &&
		text_same(h->ca_file, k->backend->ca_file);
}

static uint64_t host_hash(const struct backend_host *at)
{
	struct slice where = slice_of(at->path ? at->path : at->name);

	return hash_bytes(where.p, where.n) + at->port;
}

/* The host of this backend, NULL if not known yet. */
static struct pool_host *host_find(struct pool *p, const struct backend *b, size_t i)
{
	struct host_key key = { b, &b->hosts[i] };
	struct table_link *link = table_find(&p->by_key, host_hash(key.at), host_match, &key);

	return link ? container_of(link, struct pool_host, link) : NULL;
}

static const char *copy_of(struct arena *a, const char *text)
{
	return text ? arena_copy(a, text, strlen(text)) : NULL;
}

static struct pool_host *host_new(struct pool *p, const struct backend *b, const struct backend_host *at)
{
	struct pool_host *h = calloc(1, sizeof(*h));

	BUG_ON(!h);
	h->pool = p;
	h->at = (struct backend_host){ .protocol = at->protocol, .url = copy_of(&h->arena, at->url),
		.name = copy_of(&h->arena, at->name), .path = copy_of(&h->arena, at->path), .port = at->port };
	h->tls = b->tls;
	h->ca_file = copy_of(&h->arena, b->ca_file);
	h->idle_timer.fn = idle_expire;
	h->failed_at = INT64_MIN;
	ring_init(&h->idle);
	ring_init(&h->out);
	ring_init(&h->line);
	event_init(&h->learnt);
	ring_add_last(&p->hosts, &h->all);
	table_add(&p->by_key, &h->link, host_hash(at));
	if (!timer_is_set(&p->sweep))
		timer_set(&p->sweep, deadline_in(FORGET_SPAN));
	return h;
}

static struct pool_host *host_get(struct pool *p, const struct backend *b, size_t i)
{
	struct pool_host *h = host_find(p, b, i);

	if (!h)
		h = host_new(p, b, &b->hosts[i]);
	h->max_connections = b->max_connections > 0 ? b->max_connections : 1;
	h->keep_idle = b->keep_idle;
	h->asked_at = clock_now();
	while (!h->probing && h->count < h->max_connections && line_grant(h, NULL))	/* a reload has raised it */
		h->count++;
	return h;
}

/* Hosts and TLS contexts that nobody has asked for lately (a reload has dropped them) are forgotten. */
static void sweep_fire(struct timer *t)
{
	struct pool *p = container_of(t, struct pool, sweep);
	struct ring *at, *next;

	for (at = p->hosts.next; at != &p->hosts; at = next) {
		struct pool_host *h = host_of_ring(at);

		next = at->next;
		if (h->count == 0 && ring_empty(&h->line) && !h->learning && ring_empty(&h->learnt.waiters) &&
		    deadline_passed(h->asked_at + FORGET_SPAN))
			host_free(h);
	}
	for (at = p->contexts.next; at != &p->contexts; at = next) {
		struct pool_context *x = container_of(at, struct pool_context, link);

		next = at->next;
		if (deadline_passed(x->made + 2 * CONTEXT_SPAN))
			context_free(x);
	}
	if (!ring_empty(&p->hosts) || !ring_empty(&p->contexts))
		timer_set(t, deadline_in(FORGET_SPAN));
}

/* ---- connections ---- */

/* A place is no longer used. */
static void place_free(struct pool_host *h)
{
	if (!line_grant(h, NULL))
		h->count--;
}

static struct pooled *pooled_new(struct pool_host *h)
{
	struct pooled *x = calloc(1, sizeof(*x));

	BUG_ON(!x);
	x->host = h;
	return x;
}

/* Closes it; its place is not freed. */
static void pooled_close(struct pooled *x, bool politely)
{
	ring_remove(&x->client.link);
	if (politely)
		smtp_client_quit(&x->client);
	else
		smtp_client_close(&x->client);
	loop_bury(free, x);
}

static void pooled_drop(struct pooled *x, bool politely)
{
	struct pool_host *h = x->host;

	pooled_close(x, politely);
	place_free(h);
}

static void idle_remove(struct pooled *x)
{
	ring_remove(&x->client.link);
	x->host->idle_count--;
	x->client.stream.on_ready = NULL;
}

static void idle_drop(struct pooled *x, bool politely)
{
	idle_remove(x);
	pooled_drop(x, politely);
}

static void idle_drop_all(struct pool_host *h, bool politely)
{
	while (!ring_empty(&h->idle))
		idle_drop(pooled_of_link(h->idle.prev), politely);
}

/* It ended, or said something that nobody asked for (421 on a shutdown). TLS may merely have had a word with itself. */
static void idle_ready(struct stream *s)
{
	struct smtp_client *c = container_of(s, struct smtp_client, stream);

	if (smtp_client_is_quiet(c))
		stream_park(s);
	else
		idle_drop(pooled_of(c), false);
}

/* The oldest lie at the end. */
static void idle_expire(struct timer *t)
{
	struct pool_host *h = container_of(t, struct pool_host, idle_timer);

	while (!ring_empty(&h->idle)) {
		struct pooled *x = pooled_of_link(h->idle.prev);

		if (!deadline_passed(x->client.idle_since + h->keep_idle)) {
			timer_set(t, x->client.idle_since + h->keep_idle);
			break;
		}
		idle_drop(x, true);
	}
}

static void idle_add(struct pooled *x)
{
	struct pool_host *h = x->host;

	x->client.idle_since = clock_now();
	x->client.stream.on_ready = idle_ready;
	stream_park(&x->client.stream);
	ring_add_first(&h->idle, &x->client.link);
	h->idle_count++;
	if (!timer_is_set(&h->idle_timer))
		timer_set(&h->idle_timer, deadline_in(h->keep_idle));
}

/* The warmest that is still alive. */
static struct pooled *idle_take(struct pool_host *h)
{
	while (!ring_empty(&h->idle)) {
		struct pooled *x = pooled_of_link(h->idle.next);

		if (smtp_client_is_quiet(&x->client)) {
			idle_remove(x);
			return x;
		}
		idle_drop(x, false);
	}
	return NULL;
}

/* ---- health ---- */

static bool host_is_down(const struct pool_host *h)
{
	return h->retry_at != 0 && !deadline_passed(h->retry_at);
}

static nanoseconds backoff(uint32_t failures)
{
	uint32_t doublings = failures < 8 ? failures - 1 : 7;
	nanoseconds span = BACKOFF_FIRST << doublings;
	uint16_t dice;

	if (span > BACKOFF_LAST)
		span = BACKOFF_LAST;
	random_bytes(&dice, sizeof(dice));
	return span - span / 5 + span * 2 / 5 * dice / UINT16_MAX;	/* 20 % to either side */
}

/* began: when that was begun which has now failed. dead: not a refusal, so warm connections are gone, too. */
static void host_failed(struct pool_host *h, nanoseconds began, bool dead, const struct reply *reply, const char *why)
{
	h->failed++;
	snprintf(h->last_error, sizeof(h->last_error), "%s", why);
	h->last_reply = *reply;
	h->last_reply.text = slice_make(h->last_text, reply->text.n < sizeof(h->last_text) ? reply->text.n :
		sizeof(h->last_text));
	if (h->last_reply.text.n > 0)
		memcpy(h->last_text, reply->text.p, h->last_reply.text.n);
	if (began <= h->failed_at)	/* together with one that was counted */
		return;
	h->failed_at = clock_now();
	if (h->failures < UINT32_MAX)
		h->failures++;
	h->retry_at = deadline_in(backoff(h->failures));
	line_dismiss(h);
	if (dead)
		idle_drop_all(h, false);
}

static void host_answered(struct pool_host *h, const struct smtp_client *c)
{
	h->opened++;
	h->retry_at = 0;
	h->capabilities = c->capabilities;
	h->size_limit = c->size_limit;
	h->known = true;
	/* Those who waited for the outcome of the probe. */
	while (h->count < h->max_connections && line_grant(h, NULL))
		h->count++;
}

/* What t's caller is told: the host's last trouble. */
static void host_tell(const struct pool_host *h, struct take *t)
{
	*t->why = arena_printf(t->arena, "%s: %s", h->at.url, h->last_error);
	if (h->last_reply.code == 0)
		return;
	*t->reply = h->last_reply;
	t->reply->text = slice_copy(t->arena, h->last_reply.text);
}

/* ---- opening ---- */

static struct pool_context *context_find(struct pool *p, bool verify, const char *ca_file)
{
	for (struct ring *at = p->contexts.next; at != &p->contexts; at = at->next) {
		struct pool_context *x = container_of(at, struct pool_context, link);

		if (x->verify == verify && text_same(x->ca_file, ca_file))
			return x;
	}
	return NULL;
}

/* One that is too old is made anew; if that fails the old one goes on. */
static struct tls_context *context_get(struct pool_host *h, struct arena *a, const char **why)
{
	bool verify = h->tls == BACKEND_TLS_VERIFY;
	struct pool_context *x = context_find(h->pool, verify, h->ca_file);
	struct tls_context *tls;

	if (x && !deadline_passed(x->made + CONTEXT_SPAN))
		return x->tls;
	tls = tls_client_context(a, verify, h->ca_file, why);
	if (!tls)
		return x ? x->tls : NULL;
	if (!x) {
		x = calloc(1, sizeof(*x));
		BUG_ON(!x);
		x->verify = verify;
		x->ca_file = h->ca_file ? strdup(h->ca_file) : NULL;
		ring_add_last(&h->pool->contexts, &x->link);
	} else {
		tls_context_unref(x->tls);
	}
	x->tls = tls;
	x->made = clock_now();
	return tls;
}

static void endpoint_of(struct endpoint *out, const struct ip *ip, uint16_t port)
{
	out->length = ip_to_sockaddr(ip, port, &out->address);
}

static bool endpoint_unix(struct endpoint *out, const char *path, const char **why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(un.sun_path)) {
		*why = "path of the socket is too long";
		return false;
	}
	memcpy(un.sun_path, path, strlen(path) + 1);
	memcpy(&out->address, &un, sizeof(un));
	out->length = sizeof(un);
	return true;
}

static bool is_localhost(struct slice name)
{
	return slice_eq_nocase(name, SLICE("localhost")) || slice_eq_nocase(name, SLICE("localhost."));
}

/* Where the host can be reached: 0 and *why if nowhere. RFC 6761 section 6.3: localhost is not asked for in DNS. */
ASYNC static size_t host_addresses(struct pool_host *h, struct arena *a, struct endpoint *out,
	const char **why, deadline d)
{
	struct slice name = slice_of(h->at.name);
	struct dns_answer answer = { .status = DNS_TROUBLE };
	struct ip ip;
	size_t n = 0;

	if (h->at.path)
		return endpoint_unix(out, h->at.path, why) ? 1 : 0;
	if (ip_parse(&ip, name)) {
		endpoint_of(out, &ip, h->at.port);
		return 1;
	}
	if (is_localhost(name)) {
		ip_parse(&ip, SLICE("127.0.0.1"));
		endpoint_of(&out[0], &ip, h->at.port);
		ip_parse(&ip, SLICE("::1"));
		endpoint_of(&out[1], &ip, h->at.port);
		return 2;
	}
	if (h->pool->dns)
		dns_addresses(h->pool->dns, a, name, &answer, d);
	for (; answer.status == DNS_FOUND && n < answer.count && n < ADDRESSES_MOST; n++)
		endpoint_of(&out[n], &answer.records[n].ip, h->at.port);
	if (n == 0)
		*why = arena_printf(a, "address of the host: %s", answer.status == DNS_TROUBLE && answer.why ?
			answer.why : dns_status_name(answer.status));
	return n;
}

/* One address, with TLS as asked. A backend whose handshake fails is spoken to in plaintext if TLS was
 * only opportunistic (RFC 7435), on a new connection, and for a while without another try. */
ASYNC static bool open_address(struct pooled *x, struct take *t, const struct endpoint *to, struct arena *a,
	struct reply *reply, const char **why)
{
	struct pool_host *h = x->host;
	deadline d = deadline_min(t->until, deadline_in(OPEN_BUDGET));
	struct tls_context *tls = NULL;
	bool plain = h->at.path || h->tls == BACKEND_TLS_NONE ||
		(h->tls == BACKEND_TLS_OPPORTUNISTIC && !deadline_passed(h->plain_until));

	if (!plain && !(tls = context_get(h, a, why)) && h->tls == BACKEND_TLS_VERIFY)
		return false;
	if (tls)
		tls_context_ref(tls);	/* it may be made anew while we wait */
	bool opened = smtp_client_open(&x->client, t->backend, &h->at, to, tls, h->pool->our_name, reply, why, d);
	if (tls)
		tls_context_unref(tls);
	if (opened)
		return true;
	if (x->client.tls_failed && h->tls == BACKEND_TLS_OPPORTUNISTIC && !fiber_cancelled()) {
		h->plain_until = deadline_in(PLAIN_SPAN);
		smtp_client_close(&x->client);
		return smtp_client_open(&x->client, t->backend, &h->at, to, NULL, h->pool->our_name, reply, why, d);
	}
	return false;
}

/* All addresses in turn. False: *why, *reply in `a`; *spoke: somebody answered, if only to refuse. */
ASYNC static bool open_any(struct pooled *x, struct take *t, struct arena *a, struct reply *reply,
	const char **why, bool *reached)
{
	struct endpoint to[ADDRESSES_MOST];
	size_t n = host_addresses(x->host, a, to, why, t->until);

	for (size_t i = 0; i < n; i++) {
		struct reply said = { .name = REPLY_NONE };
		const char *reason = "";

		x->client.stream.watch.fd = -1;
		if (open_address(x, t, &to[i], a, &said, &reason))
			return true;
		*reached = true;
		*why = arena_printf(a, "%s", reason);
		*reply = said;
		reply->text = slice_copy(a, said.text);
		smtp_client_close(&x->client);
		if (fiber_cancelled() || deadline_passed(t->until))
			break;
	}
	return false;
}

/* A new connection in a place that is already counted. NULL: the place is free again, t's caller told why. */
ASYNC static struct pooled *host_open(struct pool_host *h, struct take *t)
{
	struct pooled *x = pooled_new(h);
	struct arena scratch = ARENA_INIT;
	struct reply reply = { .name = REPLY_NONE };
	const char *why = "";
	nanoseconds began = clock_now();
	bool probe = h->retry_at != 0, reached = false, ok;

	h->probing |= probe;
	ring_init(&x->client.link);
	ok = open_any(x, t, &scratch, &reply, &why, &reached);
	if (probe)
		h->probing = false;
	if (ok) {
		host_answered(h, &x->client);
		arena_drop(&scratch);
		return x;
	}
	if (fiber_cancelled() || (deadline_passed(t->until) && clock_now() - began < FAIR_TRIAL)) {
		*t->why = arena_printf(t->arena, "%s: %s", h->at.url, why);
	} else {
		host_failed(h, began, reached && reply.code == 0, &reply, why);
		host_tell(h, t);
	}
	arena_drop(&scratch);
	free(x);
	place_free(h);
	return NULL;
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

/* ---- what backends offer ---- */

bool pool_capabilities(struct pool *p, const struct backend *b, unsigned *capabilities, uint64_t *size_limit)
{
	unsigned shared = ~0u;
	uint64_t least = 0;
	bool known = false;

	for (size_t i = 0; i < b->host_count; i++) {
		struct pool_host *h = host_find(p, b, i);

		if (!h)
			continue;
		h->asked_at = clock_now();
		if (!h->known)
			continue;
		known = true;
		shared &= h->capabilities;
		if (h->size_limit > 0 && (least == 0 || h->size_limit < least))
			least = h->size_limit;
	}
	if (known) {
		*capabilities = shared;
		*size_limit = least;
	}
	return known;
}

/* One asks, the others wait for what it learns. */
ASYNC static bool learn(struct pool *p, struct arena *a, const struct backend *b, const char **why, deadline d)
{
	struct pool_host *first = host_get(p, b, 0);
	struct smtp_client *c;
	struct reply reply;
	unsigned capabilities;
	uint64_t size_limit;

	while (first->learning) {
		if (wait_event(&first->learnt, "what the backend offers", d) != WAIT_READY || p->closed) {
			*why = p->closed ? "shutting down" : "the backend has not answered yet";
			return false;
		}
		if (pool_capabilities(p, b, &capabilities, &size_limit))
			return true;
	}
	first->learning = true;
	event_clear(&first->learnt);
	c = pool_take(p, a, b, false, &reply, why, d);
	first->learning = false;
	event_set(&first->learnt);
	if (c)
		pool_give(p, c);
	return c != NULL;
}

bool pool_learn(struct pool *p, struct arena *a, const struct backend *b, const char **why, deadline d)
{
	unsigned capabilities;
	uint64_t size_limit;
	bool ok = pool_capabilities(p, b, &capabilities, &size_limit);

	if (ok)
		return true;
	p->users++;
	ok = learn(p, a, b, why, d);
	pool_release(p);
	return ok;
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
