/*
 * What backends offer, as far as their hosts have said it in EHLO.
 */
#include "net/pool_host.h"

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
