/*
 * ARC on the way in, its other half: the row of the message stage that seals what we found and what we relay.
 */
#ifndef SPURN_POLICY_STAGE_SEAL_H
#define SPURN_POLICY_STAGE_SEAL_H

#include "policy/stage_message.h"

void *stage_seal_begin(const struct message_view *view);
void stage_seal_header(void *state, const struct header *h);
ASYNC void stage_seal_finish(void *state, struct findings *found, deadline until);
void stage_seal_drop(void *state);

#endif
