/*
 * DKIM on the outbound side: the row of the message stage that signs what leaves.
 */
#ifndef SPURN_POLICY_STAGE_SIGN_H
#define SPURN_POLICY_STAGE_SIGN_H

#include "policy/stage_message.h"

void *stage_sign_begin(const struct message_view *view);
void stage_sign_header(void *state, const struct header *h);
ASYNC void stage_sign_finish(void *state, struct findings *found, deadline until);
void stage_sign_drop(void *state);

#endif
