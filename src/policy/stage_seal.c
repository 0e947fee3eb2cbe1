/*
 * The server behind, and whoever it forwards to, sees SPF and perhaps DKIM fail, since it was us who spoke with the sender. A seal
 * tells it what we saw, with our name under it.
 *
 * It comes last, when Authentication-Results and all other changes are known. RFC 8617 section 5.1: a chain that its newest sealer
 * called broken gets no further set; one that we find broken gets a last one that says so. Where a key could not be
 * asked for, nothing can be said of the chain, and nothing is.
 *
 * A message without a seal of ours is no worse than before: every failure here is a finding and no more.
 */
#include "policy/stage_seal.h"

#include "check/arc_seal.h"
#include "policy/leaving.h"
#include "wire/authres.h"

struct stage_seal {
	const struct message_view *view;
	const struct header *header;
	struct leaving_body body;
};

void *stage_seal_begin(const struct message_view *view)
{
	struct stage_seal *s;

	if (!view->config->arc.sealer)
		return NULL;
	s = arena_new(view->envelope->arena, struct stage_seal);
	s->view = view;
	return s;
}

void stage_seal_header(void *state, const struct header *h)
{
	struct stage_seal *s = state;

	s->header = h;
	leaving_body_want(&s->body, s->view);
}

/* Why no set is added; NULL: one is. */
static const char *not_sealed(const struct arc_facts *f, uint32_t instance)
{
	if (!f->asked || f->result == RESULT_TEMPERROR)
		return "not sealed: it is not known whether its chain is whole";
	if (f->ended)
		return "not sealed: an earlier sealer has ended the chain (cv=fail)";
	return instance == 0 ? "not sealed: the chain has all fifty sets that it may have" : NULL;
}

struct sealing {
	struct arc_sealing how;
	struct str fields;
	bool good;
};

static void seal_on_stack(void *arg)
{
	struct sealing *g = arg;

	g->good = g->how.body_hash.n > 0 && arc_seal(&g->fields, &g->how);
}

/* Whether the sets of the header as it leaves are those that were found whole: a milter may have been at them. */
static bool sets_are_there(struct stage_seal *s, const struct header *h, struct arc_sets *sets)
{
	const struct arc_facts *f = &s->view->envelope->auth.arc;
	const char *why;

	return f->result != RESULT_PASS ||
		(arc_sets_read(sets, s->view->envelope->arena, h, &why) && sets->count == f->sets);
}

static ASYNC const char *seal(struct stage_seal *s, struct sealing *g, struct arc_sets *sets)
{
	struct envelope *e = s->view->envelope;
	const struct header *h = header_changed(e->arena, s->header, &e->changes);
	struct str results = STR_IN(e->arena);
	uint32_t instance = arc_next_instance(e->arena, h);
	const char *why = not_sealed(&e->auth.arc, instance);

	if (why)
		return why;
	if (!sets_are_there(s, h, sets))
		return "not sealed: a scanner has changed the fields of the chain";
	authres_write_value(&results, s->view->config->hostname, &e->auth, e->client);
	g->how = (struct arc_sealing){ .signer = s->view->config->arc.sealer, .header = h, .sets = sets,
		.chain = e->auth.arc.result, .instance = instance, .results = str_slice(&results),
		.body_hash = leaving_body_hash(&s->body), .now = clock_wall_seconds() };
	fiber_hoist(seal_on_stack, g);
	return g->good ? NULL : "the message could not be sealed";
}

ASYNC void stage_seal_finish(void *state, struct findings *found, deadline until)
{
	struct stage_seal *s = state;
	struct envelope *e = s->view->envelope;
	struct sealing g = { .fields = STR_IN(e->arena) };
	struct arc_sets sets = { .set = NULL };
	nanoseconds began = clock_precise();
	const char *why = seal(s, &g, &sets);
	struct finding *f;

	f = finding_timed(found, e->arena, CHECK_ARC, why ? RESULT_NONE : RESULT_SIGNED, began, why ? why : "sealed");
	if (why)
		return;
	header_change_add(&e->changes, e->arena, HEADER_PREPEND, 0, str_slice(&g.fields));
	f->evidence = arena_printf(e->arena, "i=%u cv=%s d=%.*s s=%.*s", g.how.instance, result_name(g.how.chain),
		SLICE_ARG(g.how.signer->domain), SLICE_ARG(g.how.signer->selector));
}

void stage_seal_drop(void *state)
{
	struct stage_seal *s = state;

	leaving_body_drop(&s->body);
}
