/*
 * Notices at the end of the data: the row of the message stage that recognises automatic answers, on both sides.
 */
#ifndef SPURN_POLICY_STAGE_NOTICE_H
#define SPURN_POLICY_STAGE_NOTICE_H

#include "policy/stage_message.h"

void *stage_notice_begin(const struct message_view *view);
void stage_notice_header(void *state, const struct header *h);
void stage_notice_body(void *state, struct slice piece);
void stage_notice_finish(void *state, struct findings *found, deadline until);

#endif
