/*
 * ARC speaks through DMARC alone: its finding argues for nothing. Authentication-Results is written whatever the verdict
 * will be; a refused message has no reader.
 */
#include "policy/stage_auth.h"

#include "wire/authres.h"

struct stage_arc {
	const struct message_view *view;
	struct arc_check *check;
};

void *stage_arc_begin(const struct message_view *view)
{
	struct stage_arc *s = arena_new(view->envelope->arena, struct stage_arc);

	s->view = view;
	s->check = arc_begin(view->envelope->arena, &view->config->arc);
	return s;
}

void stage_arc_header(void *state, const struct header *h)
{
	struct stage_arc *s = state;

	arc_header(s->check, h, s->view->hashes);
}

ASYNC void stage_arc_finish(void *state, struct findings *found, deadline until)
{
	struct stage_arc *s = state;
	const struct services *services = s->view->services;

	arc_finish(s->check, services->dns, services->dkim_keys, &s->view->envelope->auth, found, until);
}

struct stage_dmarc {
	const struct message_view *view;
	const struct header *header;
};

void *stage_dmarc_begin(const struct message_view *view)
{
	struct stage_dmarc *s = arena_new(view->envelope->arena, struct stage_dmarc);

	s->view = view;
	return s;
}

void stage_dmarc_header(void *state, const struct header *h)
{
	struct stage_dmarc *s = state;

	s->header = h;
}

ASYNC void stage_dmarc_finish(void *state, struct findings *found, deadline until)
{
	struct stage_dmarc *s = state;
	struct envelope *e = s->view->envelope;

	dmarc_evaluate(s->view->services->dns, e->arena, &s->view->config->dmarc, s->header,
		e->client->class == CLIENT_TRUSTED, &e->auth, found, until);
}

void *stage_authres_begin(const struct message_view *view)
{
	return (void *)view;
}

ASYNC void stage_authres_finish(void *state, struct findings *found, deadline until)
{
	const struct message_view *view = state;
	struct envelope *e = view->envelope;
	struct str field = STR_IN(e->arena);

	if (!e->auth.spf.asked && !e->auth.dkim_asked && !e->auth.dmarc.asked && !e->auth.arc.asked)
		return;
	authres_write(&field, view->config->hostname, &e->auth, e->client);
	header_change_add(&e->changes, e->arena, HEADER_PREPEND, 0, str_slice(&field));
}
