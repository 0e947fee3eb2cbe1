/*
 * From the view of a message to the question of check/content.c.
 */
#include "policy/stage_content.h"

#include "check/content.h"

void *stage_content_begin(const struct message_view *view)
{
	const struct config *c = view->config;
	struct content_question q = {
		.conf = &c->content,
		.wanted = view->domain ? view->domain->content : view->listener->content,
		.scanners = view->services->scanners,
		.envelope = view->envelope,
		.source = view->source,
		.sink = view->sink,
		.received = view->received,
		.self = { .hostname = c->hostname, .listener = view->listener->name },
		.apply = config_mode(c, view->domain, CHECK_CONTENT,
			view->services->observe_all && *view->services->observe_all) == MODE_ENFORCE,
	};

	if (view->listener->address_count > 0)
		q.self.address = view->listener->addresses[0].text;
	return content_begin(&q);
}

void stage_content_header(void *state, const struct header *h)
{
	content_header(state, h);
}

void stage_content_body(void *state, struct slice piece)
{
	content_body(state, piece);
}

ASYNC void stage_content_finish(void *state, struct findings *found, deadline until)
{
	content_finish(state, found, until);
}

void stage_content_drop(void *state)
{
	content_drop(state);
}

void stage_content_abandon(void *state)
{
	content_abandon(state);
}

/* ---- rules ---- */

void *stage_rules_begin(const struct message_view *view)
{
	return rules_begin(&view->config->rules, view->envelope);
}

void stage_rules_header(void *state, const struct header *h)
{
	rules_header(state, h);
}

void stage_rules_body(void *state, struct slice piece)
{
	rules_body(state, piece);
}

void stage_rules_finish(void *state, struct findings *found, deadline until)
{
	(void)until;
	rules_finish(state, found);
}

void stage_rules_drop(void *state)
{
	rules_drop(state);
}
