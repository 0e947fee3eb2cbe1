/*
 * Marking of what leaves.
 *
 * Who is tagged is told by the reverse-path alone, since the next hop hears it before the header section
 * arrives; a list that is only known by its header fields has its tag taken back then, and the backend's transaction
 * is begun again. Lists are recognised by what their senders look like (owner-, -bounces, VERP with "="), because a tag that changes daily
 * would make a new sender of them each day for everybody who knows the list by it.
 *
 * The ledger is written before the next hop takes the message, since a bounce may be back before its 250 is, and behind the
 * verdict: a vacation reply that the guard destroys would else stand for its user having written to the forged address.
 * What the next hop refuses stays in it: somebody could return a message that was never delivered, to its own sender.
 */
#include "policy/stage_sent.h"

#include "base/log.h"
#include "base/table.h"
#include "policy/stage_bounce.h"
#include "wire/taglist.h"

#define MARKED_RECIPIENTS 10000u

/* ---- who is marked ---- */

/* The domain of this site that the sender is in, and its canonical form there: under the domain's own name, without its sub-addresses,
 * which is how its bounce will be looked for. NULL: none, or its mail
 * is not marked. */
static const struct domain_conf *sender_domain(const struct config *c, const struct envelope *e, struct slice *canonical)
{
	ptrdiff_t at = slice_rfind(e->reverse_canonical, '@');
	const struct domain_conf *d = at < 0 ? NULL : config_domain(c, slice_from(e->reverse_canonical, (size_t)at + 1));
	struct address_form form;

	if (!d || !address_form(e->arena, &e->reverse_path, d->separators, &form))
		return NULL;
	*canonical = config_own_name(d, e->arena, form.canonical);
	return config_mode(c, d, CHECK_BOUNCE, false) == MODE_OFF ? NULL : d;
}

/* The sender of a mailing list or of a program that keeps account of its bounces itself. */
static bool is_list_sender(struct slice local)
{
	return slice_find(local, '=') >= 0 || slice_search_nocase(local, SLICE("bounce")) >= 0 ||
		slice_starts_nocase(local, SLICE("owner-")) || slice_ends_nocase(local, SLICE("-owner")) ||
		slice_ends_nocase(local, SLICE("-request")) || slice_search_nocase(local, SLICE("-return-")) >= 0;
}

struct slice sent_reverse_path(const struct config *c, const struct listener_conf *l, const struct envelope *e,
	const struct recipient *r)
{
	struct slice plain = e->reverse_path.text, canonical, tagged;
	const struct domain_conf *d = path_is_null(&e->reverse_path) ? NULL : sender_domain(c, e, &canonical);
	const char *where;

	if (!d || !d->bounces.tag || !l->tag || is_list_sender(e->reverse_path.local) ||
	    address_list_contains(&l->no_tag, r->canonical, &where))
		return plain;
	tagged = proof_tag_make(e->arena, &c->bounces.keys, &e->reverse_path, canonical, c->bounces.life,
		clock_wall_seconds());
	return tagged.n > 0 ? tagged : plain;
}

/* ---- the message ---- */

struct sent {
	struct message_view view;
	const struct domain_conf *domain;	/* of the sender */
	struct slice sender;			/* canonical */
	struct slice message_id;
	const char *made_id;			/* the Message-ID that was added; NULL: it has one, or may get none */
	bool traced;
};

void *sent_begin(const struct message_view *view)
{
	struct slice sender;
	const struct domain_conf *d = sender_domain(view->config, view->envelope, &sender);
	struct sent *s;

	if (!d)
		return NULL;
	s = arena_new(view->envelope->arena, struct sent);
	s->view = *view;
	s->domain = d;
	s->sender = sender;
	return s;
}

static bool is_list_post(const struct header *h)
{
	const struct field *precedence = header_field(h, SLICE("Precedence"), 0);

	return header_field(h, SLICE("List-Id"), 0) || header_field(h, SLICE("List-Post"), 0) ||
		(precedence && slice_eq_nocase(slice_trim(precedence->value), SLICE("list")));
}

static uint32_t times_named(struct slice names, const char *name)
{
	uint32_t n = 0;

	while (names.p)
		n += slice_eq_nocase(taglist_item(&names), slice_of(name));
	return n;
}

/* RFC 6376 section 5.4: "Signers MAY claim to have signed header fields that do not exist [...] This allows the Signer to explicitly
 * assert the absence of a header field". One more would break such a signature; one that is on top of those
 * signed breaks none. */
static bool signature_forbids(struct arena *a, const struct header *h, const char *name)
{
	static const char *const signatures[] = { "DKIM-Signature", "ARC-Message-Signature" };
	uint32_t there = header_count(h, slice_of(name));
	const struct field *f;
	struct taglist list;
	const char *why;

	for (size_t k = 0; k < sizeof(signatures) / sizeof(signatures[0]); k++)
		for (uint32_t i = 0; (f = header_field(h, slice_of(signatures[k]), i)); i++)
			if (taglist_parse(&list, a, f->value, &why) &&
			    times_named(taglist_value(&list, SLICE("h")), name) > there)
				return true;
	return false;
}

static void prepend(struct sent *s, const char *name, struct slice value)
{
	struct envelope *e = s->view.envelope;

	header_change_add(&e->changes, e->arena, HEADER_PREPEND, 0, slice_of(arena_printf(e->arena, "%s: %.*s\r\n", name,
		SLICE_ARG(value))));
}

/* RFC 5322 section 3.6.4: every message SHOULD have one; RFC 6409 section 8.3: whom it is submitted to may add it. */
static void make_id(struct sent *s)
{
	struct arena *a = s->view.envelope->arena;
	uint64_t random;

	random_bytes(&random, sizeof(random));
	s->made_id = arena_printf(a, "<%s.%016llx@%s>", s->view.envelope->ref, (unsigned long long)random,
		s->view.config->hostname);
	s->message_id = slice_of(s->made_id);
	prepend(s, "Message-ID", s->message_id);
}

void sent_header(void *state, const struct header *h)
{
	struct sent *s = state;
	struct envelope *e = s->view.envelope;
	struct slice trace;

	if (is_list_post(h))
		e->reverse_for_backend = e->reverse_path.text;
	s->message_id = header_message_id(e->arena, h);
	if (!header_field(h, SLICE("Message-ID"), 0) && !h->too_large && !signature_forbids(e->arena, h, "Message-ID"))
		make_id(s);
	if (signature_forbids(e->arena, h, PROOF_TRACE_NAME))
		return;
	trace = proof_trace_make(e->arena, &s->view.config->bounces.keys, s->sender, s->message_id, clock_wall_seconds());
	if (trace.n == 0)
		return;
	prepend(s, PROOF_TRACE_NAME, trace);
	s->traced = true;
}

/* ---- the ledger ---- */

static enum store_status record(const struct sent *s, struct store *store)
{
	const struct envelope *e = s->view.envelope;
	uint32_t life = s->view.config->bounces.life * 86400u, n = 0;
	struct slice *to = arena_array(e->arena, struct slice, e->recipient_count + 1);
	time_t now = clock_wall_seconds();

	for (const struct recipient *r = e->recipients; r && n < MARKED_RECIPIENTS; r = r->next)
		to[n++] = r->canonical;
	if (sent_exit_here(store, slice_of(s->domain->name), now) == STORE_TROUBLE)
		return STORE_TROUBLE;
	return sent_put(store, s->message_id, s->sender, to, n, now, life);
}

void sent_finish(void *state, struct findings *found, deadline until)
{
	struct sent *s = state;
	struct envelope *e = s->view.envelope;
	bool tagged = !slice_eq(e->reverse_for_backend, e->reverse_path.text);
	struct finding *f;

	(void)until;
	f = finding_add(found, e->arena, CHECK_BOUNCE, RESULT_PASS, !s->traced && !tagged ? "leaves, with no key to mark it" :
		tagged ? "leaves with our mark and a tagged sender" : "leaves with our mark");
	if (s->made_id)
		f->evidence = arena_printf(e->arena, "Message-ID added: %s", s->made_id);
}

/* Another host of this site, with keys of its own, may have tagged the sender already, under the digit of a key that is ours, too. */
static enum store_status remember_tag(const struct sent *s, struct store *store)
{
	const struct config *c = s->view.config;
	const struct envelope *e = s->view.envelope;
	time_t now = clock_wall_seconds();
	struct address_form form;

	if (!address_form(e->arena, &e->reverse_path, s->domain->separators, &form) || !bounce_tag_is_false(c, &form, s->sender))
		return STORE_OK;
	return sent_tag_put(store, form.tag_text, s->sender, now, 2 * c->bounces.life * 86400u);
}

/* Nobody has said "no" to it, and it is no notice that the guard destroys: what does not leave cannot be returned. */
void sent_relay(void *state, struct findings *found)
{
	const struct sent *s = state;
	struct store *store = s->view.services->store;

	if (!store || record(s, store) != STORE_OK || remember_tag(s, store) != STORE_OK)
		finding_add(found, s->view.envelope->arena, CHECK_BOUNCE, RESULT_TEMPERROR,
			"sent ledger not usable: a bounce of this is proved by tag and mark alone");
}
