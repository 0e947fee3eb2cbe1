/*
 * Content scanners as a check of the message: which of them these recipients want, and what they are told of us.
 */
#ifndef SPURN_POLICY_STAGE_CONTENT_H
#define SPURN_POLICY_STAGE_CONTENT_H

#include "policy/stage_message.h"

void *stage_content_begin(const struct message_view *view);
void stage_content_header(void *state, const struct header *h);
void stage_content_body(void *state, struct slice piece);
ASYNC void stage_content_finish(void *state, struct findings *found, deadline until);
void stage_content_drop(void *state);
void stage_content_abandon(void *state);

/* The site's own rules (check/content_rules.h). */
void *stage_rules_begin(const struct message_view *view);
void stage_rules_header(void *state, const struct header *h);
void stage_rules_body(void *state, struct slice piece);
void stage_rules_finish(void *state, struct findings *found, deadline until);
void stage_rules_drop(void *state);

#endif
