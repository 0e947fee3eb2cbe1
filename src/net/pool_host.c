/*
 * The pool's hosts: found by value, their warm connections, their health.
 *
 * The stack of idle connections and the back-off stand together, since a failure takes the idle ones with it. The argument
 * for both stands in pool.c.
 */
#include "net/pool_host.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define BACKOFF_FIRST (NS_PER_SECOND / 2)
#define BACKOFF_LAST (60 * NS_PER_SECOND)

/* ---- hosts ---- */

static void idle_expire(struct timer *t);

void host_free(struct pool_host *h)
{
	BUG_ON(h->count > 0 || !ring_empty(&h->line));
	timer_clear(&h->idle_timer);
	table_remove(&h->pool->by_key, &h->link);
	ring_remove(&h->all);
	arena_drop(&h->arena);
	free(h);
}


struct host_key {
	const struct backend *backend;
	const struct backend_host *at;
};

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
struct pool_host *host_find(struct pool *p, const struct backend *b, size_t i)
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

struct pool_host *host_get(struct pool *p, const struct backend *b, size_t i)
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
void sweep_fire(struct timer *t)
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
void place_free(struct pool_host *h)
{
	if (!line_grant(h, NULL))
		h->count--;
}

struct pooled *pooled_new(struct pool_host *h)
{
	struct pooled *x = calloc(1, sizeof(*x));

	BUG_ON(!x);
	x->host = h;
	return x;
}

/* Closes it; its place is not freed. */
void pooled_close(struct pooled *x, bool politely)
{
	ring_remove(&x->client.link);
	if (politely)
		smtp_client_quit(&x->client);
	else
		smtp_client_close(&x->client);
	loop_bury(free, x);
}

void pooled_drop(struct pooled *x, bool politely)
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

void idle_drop(struct pooled *x, bool politely)
{
	idle_remove(x);
	pooled_drop(x, politely);
}

void idle_drop_all(struct pool_host *h, bool politely)
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

void idle_add(struct pooled *x)
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
struct pooled *idle_take(struct pool_host *h)
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

bool host_is_down(const struct pool_host *h)
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
void host_failed(struct pool_host *h, nanoseconds began, bool dead, const struct reply *reply, const char *why)
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

void host_answered(struct pool_host *h, const struct smtp_client *c)
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
void host_tell(const struct pool_host *h, struct take *t)
{
	*t->why = arena_printf(t->arena, "%s: %s", h->at.url, h->last_error);
	if (h->last_reply.code == 0)
		return;
	*t->reply = h->last_reply;
	t->reply->text = slice_copy(t->arena, h->last_reply.text);
}
