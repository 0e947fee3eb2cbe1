/*
 * Did we send that? The inbound side: what a notice proves, at the end of the data.
 *
 * It runs behind the recogniser (the kind of notice is a fact of the envelope by then) and behind the
 * authentication of the message; its finding is judged by the map of the recipient's domain. What is let through gets a field
 * "Spurn-Notice: <kind>; proof=<result>".
 */
#ifndef SPURN_POLICY_STAGE_BOUNCE_H
#define SPURN_POLICY_STAGE_BOUNCE_H

#include "policy/stage_message.h"

/* A tag in the form of ours that claims a key of this site and fails it. canonical: of the address, under its domain's own name. */
bool bounce_tag_is_false(const struct config *c, const struct address_form *form, struct slice canonical);
/* A tag in the form of ours, under a key of this site, good or not: it comes off before the backend sees the address, unless it is known
 * for that of a host behind us. */
bool bounce_tag_comes_off(const struct config *c, struct store *store, const struct address_form *form, struct slice canonical);
/* At RCPT: an address that never sends gets no notice. */
void bounce_stage_recipient(const struct config *c, const struct domain_conf *d, struct envelope *e, const struct recipient *r);

/* The functions of the row of stage_message.c. */
/* At MAIL: is the client one that returns what was not sent from here? */
void bounce_stage_client(const struct services *s, const struct config *c, struct envelope *e);
/* Now and then: says which waves are over. */
void bounce_stage_tick(const struct services *s);
/* For the recogniser to show the returned message to, in an arena; NULL: nobody asks. */
struct returned *bounce_stage_returned(const struct message_view *view);
void *bounce_stage_begin(const struct message_view *view);
ASYNC void bounce_stage_finish(void *state, struct findings *found, deadline until);

#endif
