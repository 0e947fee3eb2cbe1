/*
 * Signing behind the verdict, as the last thing that is done to an outgoing message: by then it is known what others add, change and remove, and
 * the signature covers the message as it leaves.
 *
 * It is no judgement, so no mode switches it off. A message that cannot be signed, because its author is of no domain
 * that has a key here, or OpenSSL fails, leaves unsigned, and the record says so: the next hop may sign, too.
 */
#include "policy/stage_sign.h"

#include "check/finding.h"
#include "policy/leaving.h"

struct stage_sign {
	const struct message_view *view;
	const struct header *header;
	struct leaving_body body;
};

void *stage_sign_begin(const struct message_view *view)
{
	struct stage_sign *s;

	if (view->config->signer_count == 0)
		return NULL;
	s = arena_new(view->envelope->arena, struct stage_sign);
	s->view = view;
	return s;
}

void stage_sign_header(void *state, const struct header *h)
{
	struct stage_sign *s = state;

	s->header = h;
	leaving_body_want(&s->body, s->view);
}

struct signing {
	const struct dkim_signer *signer;
	const struct header *header;
	struct slice body_hash;
	struct str field;
	bool good;
};

static void sign_on_stack(void *arg)
{
	struct signing *g = arg;

	g->good = g->body_hash.n > 0 &&
		dkim_sign(&g->field, g->signer, g->header, g->body_hash, clock_wall_seconds());
}

static ASYNC void sign(struct stage_sign *s, const struct dkim_signer *signer, const struct header *h, struct findings *found)
{
	struct envelope *e = s->view->envelope;
	struct signing g = { signer, h, leaving_body_hash(&s->body), STR_IN(e->arena), false };
	nanoseconds began = clock_precise();
	struct finding *f;

	fiber_hoist(sign_on_stack, &g);
	if (g.good)
		header_change_add(&e->changes, e->arena, HEADER_PREPEND, 0, str_slice(&g.field));
	f = finding_timed(found, e->arena, CHECK_DKIM, g.good ? RESULT_SIGNED : RESULT_TEMPERROR, began,
		g.good ? "signed with the key of the author's domain" : "the message could not be signed");
	f->evidence = arena_printf(e->arena, "d=%.*s s=%.*s a=%s", SLICE_ARG(signer->domain),
		SLICE_ARG(signer->selector), signature_algorithm_name(signer->algorithm));
}

ASYNC void stage_sign_finish(void *state, struct findings *found, deadline until)
{
	struct stage_sign *s = state;
	const struct config *c = s->view->config;
	struct envelope *e = s->view->envelope;
	const struct header *h = header_changed(e->arena, s->header, &e->changes);
	struct slice domain = dkim_author_domain(e->arena, h);
	bool any = false;

	for (size_t i = 0; i < c->signer_count && domain.n > 0; i++) {
		if (!slice_eq(c->signers[i].domain, domain))
			continue;
		any = true;
		sign(s, &c->signers[i], h, found);
	}
	if (!any)
		finding_timed(found, e->arena, CHECK_DKIM, RESULT_NONE, clock_precise(), domain.n > 0 ?
			"not signed: there is no key of the author's domain" : "not signed: From does not name one author");
}

void stage_sign_drop(void *state)
{
	struct stage_sign *s = state;

	leaving_body_drop(&s->body);
}
