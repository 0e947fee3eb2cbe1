/*
 * Greylisting as a check of the message: after DKIM has spoken.
 */
#ifndef SPURN_POLICY_STAGE_GREYLIST_H
#define SPURN_POLICY_STAGE_GREYLIST_H

#include "policy/stage_message.h"

void *stage_greylist_begin(const struct message_view *view);
void stage_greylist_finish(void *state, struct findings *found, deadline until);

#endif
