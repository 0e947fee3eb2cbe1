/*
 * The guard's rows in the stage MESSAGE: what came in is written down, what goes out is judged.
 */
#ifndef SPURN_POLICY_STAGE_GUARD_H
#define SPURN_POLICY_STAGE_GUARD_H

#include "policy/stage_message.h"

/* Inbound: the received ledger, and the mark for inner servers. Outbound: may this notice leave? */
void *stage_guard_begin(const struct message_view *view);
void stage_guard_header(void *state, const struct header *h);
ASYNC void stage_guard_finish(void *state, struct findings *found, deadline until);
void stage_guard_relay(void *state, struct findings *found);

/* Whether this configuration has something for the guard to watch: an outbound listener, and the check not off for the site or one of
 * its domains. */
bool stage_guard_wanted(const struct config *c);

#endif
