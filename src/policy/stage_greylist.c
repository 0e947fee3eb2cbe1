/*
 * Greylisting as a check of the message. Only strangers are put off: who is on a list of ours has been known before.
 */
#include "policy/stage_greylist.h"

#include "check/greylist.h"

struct stage_greylist {
	const struct message_view *view;
};

void *stage_greylist_begin(const struct message_view *view)
{
	struct stage_greylist *g;

	if (view->envelope->client->class != CLIENT_STRANGER)
		return NULL;
	g = arena_new(view->envelope->arena, struct stage_greylist);
	g->view = view;
	return g;
}

void stage_greylist_finish(void *state, struct findings *found, deadline until)
{
	const struct message_view *view = ((struct stage_greylist *)state)->view;

	(void)until;
	greylist_check(&view->config->greylist, view->services->store, view->envelope, found, view->envelope->arena);
}
