/*
 * DKIM at the end of the data: the row of the message stage that verifies what comes in.
 */
#ifndef SPURN_POLICY_STAGE_DKIM_H
#define SPURN_POLICY_STAGE_DKIM_H

#include "policy/stage_message.h"

void *stage_dkim_begin(const struct message_view *view);
void stage_dkim_header(void *state, const struct header *h);
ASYNC void stage_dkim_finish(void *state, struct findings *found, deadline until);

#endif
