/*
 * DKIM verification as a check of the message. Its findings argue for nothing: a signature that does not verify
 * leaves a message as good as an unsigned one (RFC 6376 section 6.1), and what an unsigned one is worth DMARC says.
 */
#include "policy/stage_dkim.h"

struct stage_dkim {
	const struct message_view *view;
	struct dkim_check *check;
};

void *stage_dkim_begin(const struct message_view *view)
{
	struct stage_dkim *d = arena_new(view->envelope->arena, struct stage_dkim);

	d->view = view;
	d->check = dkim_begin(view->envelope->arena, &view->config->dkim);
	return d;
}

void stage_dkim_header(void *state, const struct header *h)
{
	struct stage_dkim *d = state;

	dkim_header(d->check, h, d->view->hashes);
}

ASYNC void stage_dkim_finish(void *state, struct findings *found, deadline until)
{
	struct stage_dkim *d = state;
	const struct services *s = d->view->services;

	dkim_finish(d->check, s->dns, s->dkim_keys, clock_wall_seconds(), &d->view->envelope->auth, found, until);
}
