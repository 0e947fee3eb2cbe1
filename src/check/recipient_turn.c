/*
 * Turns: per backend a count of questions under way and a line of those who wait; per address the one question that is
 * under way.
 */
#include "check/recipient_turn.h"

#include "base/log.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

#define WAITING_MOST 256	/* in line at one backend; who comes then is told to come later */
#define BACKENDS_MOST 4096	/* what is over shares one line */

struct turn_backend {
	struct table_link link;
	struct recipient_turn_info info;
	struct event free;		/* a place is: wakes one */
};

struct recipient_turn {
	struct table_link link;
	struct turn_backend *backend;
	struct event over;
	char *canonical;
	uint32_t joined;		/* who wait for it */
	bool ended;
};

static struct arena names;
static struct table backends, turns;

static bool backend_match(const struct table_link *link, const void *key)
{
	return slice_eq(slice_of(container_of(link, const struct turn_backend, link)->info.backend),
		*(const struct slice *)key);
}

static struct turn_backend *backend_of(struct slice name)
{
	uint64_t hash = hash_bytes(name.p, name.n);
	struct table_link *link = table_find(&backends, hash, backend_match, &name);
	struct turn_backend *b;

	if (link)
		return container_of(link, struct turn_backend, link);
	if (backends.count >= BACKENDS_MOST && !slice_eq(name, SLICE("others")))
		return backend_of(SLICE("others"));
	b = arena_new(&names, struct turn_backend);
	b->info.backend = slice_cstr(&names, name);
	event_init(&b->free);
	table_add(&backends, &b->link, hash);
	return b;
}

struct turn_key {
	const struct turn_backend *backend;
	struct slice canonical;
};

static bool turn_match(const struct table_link *link, const void *key)
{
	const struct recipient_turn *t = container_of(link, const struct recipient_turn, link);
	const struct turn_key *k = key;

	return t->backend == k->backend && slice_eq(slice_of(t->canonical), k->canonical);
}

static void turn_free(struct recipient_turn *t)
{
	if (!t->ended || t->joined > 0)
		return;
	free(t->canonical);
	free(t);
}

static struct recipient_turn *turn_new(struct turn_backend *b, struct slice canonical, uint64_t hash)
{
	struct recipient_turn *t = calloc(1, sizeof(*t));

	BUG_ON(!t);
	t->canonical = strndup(canonical.p, canonical.n);
	BUG_ON(!t->canonical);
	t->backend = b;
	event_init(&t->over);
	table_add(&turns, &t->link, hash);
	return t;
}

/* Somebody asks already: his answer will do. */
static ASYNC enum turn_answer join(struct recipient_turn *t, deadline d)
{
	enum wait_result result;

	t->joined++;
	t->backend->info.joined++;
	result = wait_event(&t->over, "the same question of another session", d);
	t->joined--;
	turn_free(t);
	return result == WAIT_READY ? TURN_ASKED : TURN_NONE;
}

/* A place at the backend. The turn stands in the table while it waits, so that others join it. */
static ASYNC bool wait_for_place(struct turn_backend *b, uint32_t places, deadline d)
{
	enum wait_result result = WAIT_READY;

	if (b->info.waiting >= WAITING_MOST)
		return false;
	b->info.waiting++;
	while (b->info.asking >= places && result == WAIT_READY)
		result = wait_event(&b->free, "a place for a question to the backend", d);
	b->info.waiting--;
	/* Woken and then out of time: the place is for the next one. */
	if (result != WAIT_READY && b->info.asking < places)
		event_wake_one(&b->free);
	return result == WAIT_READY;
}

enum turn_answer recipient_turn_take(struct slice backend, struct slice canonical, uint32_t places,
	struct recipient_turn **out, deadline d)
{
	struct turn_backend *b = backend_of(backend);
	struct turn_key key = { b, canonical };
	uint64_t hash = hash_bytes(canonical.p, canonical.n);
	struct table_link *link = table_find(&turns, hash, turn_match, &key);
	struct recipient_turn *t;

	if (link)
		return join(container_of(link, struct recipient_turn, link), d);
	t = turn_new(b, canonical, hash);
	if (!wait_for_place(b, places, d)) {
		b->info.refused++;
		b->info.asking++;	/* as if it had been: the end takes it back */
		recipient_turn_end(t);
		return TURN_NONE;
	}
	b->info.asking++;
	b->info.asked++;
	if (b->info.asking > b->info.most_asking)
		b->info.most_asking = b->info.asking;
	*out = t;
	return TURN_OURS;
}

void recipient_turn_end(struct recipient_turn *t)
{
	BUG_ON(t->ended || t->backend->info.asking == 0);
	t->backend->info.asking--;
	event_wake_one(&t->backend->free);
	table_remove(&turns, &t->link);
	t->ended = true;
	event_set(&t->over);
	turn_free(t);
}

void recipient_turn_each(void (*fn)(const struct recipient_turn_info *info, void *arg), void *arg)
{
	struct table_link *link = NULL;

	for (size_t at = 0; (link = table_each(&backends, &at, link));)
		fn(&container_of(link, struct turn_backend, link)->info, arg);
}
