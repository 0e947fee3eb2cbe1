/*
 * ARC, DMARC and Authentication-Results at the end of the data: rows of the message stage.
 */
#ifndef SPURN_POLICY_STAGE_AUTH_H
#define SPURN_POLICY_STAGE_AUTH_H

#include "policy/stage_message.h"

void *stage_arc_begin(const struct message_view *view);
void stage_arc_header(void *state, const struct header *h);
ASYNC void stage_arc_finish(void *state, struct findings *found, deadline until);

/* Behind SPF, DKIM and ARC. */
void *stage_dmarc_begin(const struct message_view *view);
void stage_dmarc_header(void *state, const struct header *h);
ASYNC void stage_dmarc_finish(void *state, struct findings *found, deadline until);

/* Behind all of them: what they found, as a field for those behind us. */
void *stage_authres_begin(const struct message_view *view);
ASYNC void stage_authres_finish(void *state, struct findings *found, deadline until);

#endif
