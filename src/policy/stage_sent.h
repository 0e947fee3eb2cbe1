/*
 * What leaves is marked: the outbound side of "did we send that?".
 *
 * The sender of a transaction is tagged before the next hop hears of it; at the header section the field Spurn-Sent is added, and a
 * Message-ID if there is none; at the end the message goes into the sent ledger. All of that for senders in a domain
 * of this site alone: bounces of others do not come here.
 */
#ifndef SPURN_POLICY_STAGE_SENT_H
#define SPURN_POLICY_STAGE_SENT_H

#include "policy/stage_message.h"

/* The reverse-path that the next hop gets in a transaction for this recipient, without angle brackets: tagged, or as it was
 * written. Recipients that differ in it cannot share a transaction. */
struct slice sent_reverse_path(const struct config *c, const struct listener_conf *l, const struct envelope *e,
	const struct recipient *r);

/* The functions of the row of stage_message.c. */
void *sent_begin(const struct message_view *view);
void sent_header(void *state, const struct header *h);
void sent_finish(void *state, struct findings *found, deadline until);
void sent_relay(void *state, struct findings *found);

#endif
