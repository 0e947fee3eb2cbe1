/*
 * The inbound side of the guard: what came in, and whether all of it was written down.
 *
 * The ledger is complete from a moment on that stands in it. Whoever cannot write an entry, or finds that the store has
 * thrown entries away for want of room, moves that moment to now; a store that was lost has lost it, too. So the
 * guard cannot take its own forgetting for a proof.
 */
#include "check/guard_ledger.h"

#include "check/dmarc.h"
#include "check/finding.h"
#include "wire/authres.h"
#include "wire/mailbox.h"

#define FOR_EVER (3650 * 86400 * NS_PER_SECOND)
#define EVICTION_LOOK (60 * NS_PER_SECOND)

struct guard {
	struct store *store;
	bool recording;
	bool incomplete;		/* something is missing, and the ledger does not say so yet */
	uint64_t evicted;		/* entries of the ledger that the store had thrown away when we looked */
	deadline look_again;
};

/* ---- is it complete? ---- */

static struct store_key since_key(struct store *s)
{
	return guard_key(s, GUARD_SINCE, SLICE_NULL, SLICE_NULL);
}

static void claim_since(struct guard *g)
{
	struct guard_note note = { .began = (uint32_t)clock_wall_seconds() };
	struct store_value value = { .length = sizeof(note),
		.expires = (uint32_t)(clock_wall_seconds() + (time_t)(FOR_EVER / NS_PER_SECOND)) };
	struct store_key key = since_key(g->store);
	struct store_value first;
	bool won;

	memcpy(value.bytes, &note, sizeof(note));
	store_claim(g->store, STORE_RECEIVED, &key, &value, &won, &first);
}

/* From now on, not from before. */
static void begin_anew(struct guard *g)
{
	struct guard_note note = { .began = (uint32_t)clock_wall_seconds() };
	struct store_key key = since_key(g->store);

	g->incomplete = guard_put(g->store, &key, &note, FOR_EVER) != STORE_OK;
}

static void look_for_loss(struct guard *g)
{
	struct store_stats stats;

	if (!deadline_passed(g->look_again))
		return;
	g->look_again = deadline_in(EVICTION_LOOK);
	store_stats(g->store, &stats);
	if (stats.evicted_of[STORE_RECEIVED] != g->evicted)
		g->incomplete = true;
	g->evicted = stats.evicted_of[STORE_RECEIVED];
}

struct guard *guard_open(struct arena *a, struct store *store)
{
	struct guard *g = arena_new(a, struct guard);

	g->store = store;
	return g;
}

struct store *guard_store(const struct guard *g)
{
	return g->store;
}

void guard_configure(struct guard *g, bool recording)
{
	struct store_key key;

	g->recording = recording && g->store;
	if (!g->store)
		return;
	key = since_key(g->store);
	if (recording)
		claim_since(g);
	else
		store_delete(g->store, STORE_RECEIVED, &key);
}

time_t guard_complete_since(struct store *store)
{
	struct guard_note note;
	struct store_key key = since_key(store);

	return guard_get(store, &key, &note) == STORE_OK ? (time_t)note.began : 0;
}

/* ---- who is proven to have written ---- */

#define AUTHORS_MAX 4

struct proven {
	struct slice address[AUTHORS_MAX + 1];	/* canonical */
	size_t count;
};

/* A trusted sealer has found that a method passes for this (RFC 8617 section 7.2.1: its results may take the place of ours, which
 * forwarding has broken). */
static bool sealer_found(const struct envelope *e, struct slice method, struct slice property,
	bool (*fits)(struct arena *a, struct slice value, struct slice wanted), struct slice wanted)
{
	const struct arc_facts *arc = &e->auth.arc;

	if (!arc->asked || arc->result != RESULT_PASS || !arc->trusted)
		return false;
	for (const struct authres_result *r = arc->vouched; r; r = r->next) {
		if (!slice_eq_nocase(r->method, method) || !slice_eq_nocase(r->result, SLICE("pass")))
			continue;
		for (const struct authres_property *p = r->properties; p; p = p->next)
			if (slice_eq_nocase(p->name, property) && fits(e->arena, p->value, wanted))
				return true;
	}
	return false;
}

/* smtp.mailfrom is the address, or its domain alone (RFC 8601 section 2.7.2). */
static bool fits_path(struct arena *a, struct slice value, struct slice wanted)
{
	struct slice canonical;

	if (slice_find(value, '@') < 0)
		return slice_eq(domain_canonical(a, value), address_domain(wanted));
	return address_canonical(a, value, SLICE_NULL, &canonical) && slice_eq(canonical, wanted);
}

static bool fits_domain(struct arena *a, struct slice value, struct slice wanted)
{
	return slice_eq(domain_canonical(a, value), wanted);
}

static bool fits_aligned(struct arena *a, struct slice value, struct slice wanted)
{
	struct slice name = domain_canonical(a, value);

	return name.n > 0 && dmarc_aligned(name, wanted, false);
}

/* Relaxed alignment (RFC 7489 section 3.1.1). */
static bool is_signed(const struct envelope *e, struct slice domain)
{
	for (const struct dkim_facts *s = e->auth.dkim; s; s = s->next)
		if (s->result == RESULT_PASS && dmarc_aligned(s->domain, domain, false))
			return true;
	return sealer_found(e, SLICE("dkim"), SLICE("d"), fits_aligned, domain);
}

static bool reverse_path_proven(const struct envelope *e)
{
	struct slice domain = address_domain(e->reverse_canonical);

	if (domain.n == 0)
		return false;
	if (e->auth.spf.asked && !e->auth.spf.helo && e->auth.spf.result == RESULT_PASS)
		return true;
	return is_signed(e, domain) || sealer_found(e, SLICE("spf"), SLICE("mailfrom"), fits_path, e->reverse_canonical);
}

static bool author_proven(const struct envelope *e, struct slice domain)
{
	if (e->auth.dmarc.asked && e->auth.dmarc.result == RESULT_PASS &&
	    slice_eq_nocase(e->auth.dmarc.from_domain, domain))
		return true;
	return is_signed(e, domain) || sealer_found(e, SLICE("dmarc"), SLICE("from"), fits_domain, domain);
}

bool guard_sender_proven(const struct envelope *e)
{
	return reverse_path_proven(e) || (e->auth.dmarc.asked && (e->auth.dmarc.result == RESULT_PASS ||
		(e->auth.dmarc.from_domain.n > 0 && author_proven(e, e->auth.dmarc.from_domain))));
}

static void add_proven(struct proven *p, struct slice address)
{
	for (size_t i = 0; i < p->count; i++)
		if (slice_eq(p->address[i], address))
			return;
	if (p->count < sizeof(p->address) / sizeof(p->address[0]))
		p->address[p->count++] = address;
}

static void find_proven(struct proven *p, const struct envelope *e, const struct header *h)
{
	struct mailbox *authors = header_authors(e->arena, h, AUTHORS_MAX, NULL);

	if (reverse_path_proven(e))
		add_proven(p, e->reverse_canonical);
	for (const struct mailbox *m = authors; m; m = m->next) {
		struct slice canonical;

		if (address_canonical(e->arena, m->address, SLICE_NULL, &canonical) &&
		    author_proven(e, address_domain(canonical)))
			add_proven(p, canonical);
	}
}

/* ---- writing it down ---- */

struct writing {
	struct guard *guard;
	const struct guard_conf *conf;
	bool failed;
};

static void write_down(struct writing *w, enum guard_entry kind, struct slice first, struct slice second, bool automatic)
{
	struct guard_note note = { .automatic = automatic };
	struct store_key key = guard_key(w->guard->store, kind, first, second);

	if (guard_put(w->guard->store, &key, &note, w->conf->keep) != STORE_OK)
		w->failed = true;
}

/* Mail that a machine wrote asks for no answer: it opens no door. */
static void write_proven(struct writing *w, const struct envelope *e, const struct header *h)
{
	struct proven proven = { .count = 0 };

	find_proven(&proven, e, h);
	for (size_t i = 0; i < proven.count; i++) {
		if (e->message.id.n > 0)
			write_down(w, GUARD_ANSWER, e->message.id, proven.address[i], false);
		for (const struct recipient *r = e->recipients; r; r = r->next)
			write_down(w, GUARD_PAIR, r->canonical, proven.address[i], false);
		write_down(w, GUARD_DOMAIN, address_domain(proven.address[i]), SLICE_NULL, false);
	}
}

void guard_record(struct guard *g, const struct guard_conf *conf, const struct envelope *e, const struct header *h,
	struct findings *found)
{
	struct writing w = { .guard = g, .conf = conf };
	bool automatic = e->notice && e->notice->kind != NOTICE_MESSAGE && !e->notice->guess;

	if (!g->recording)
		return;
	if (e->message.id.n > 0)
		write_down(&w, GUARD_MESSAGE, e->message.id, SLICE_NULL, automatic);
	if (!automatic && !path_is_null(&e->reverse_path))
		write_proven(&w, e, h);
	look_for_loss(g);
	if (w.failed) {
		g->incomplete = true;
		finding_add(found, e->arena, CHECK_NOTICE, RESULT_TEMPERROR,
			"received ledger not usable: a notice that answers this message will not be known");
	}
	if (g->incomplete)
		begin_anew(g);
}
