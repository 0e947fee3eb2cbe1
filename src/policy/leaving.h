/*
 * The body of a message as it leaves: a scanner may have put another one in the place of that which came. For signatures.
 */
#ifndef SPURN_POLICY_LEAVING_H
#define SPURN_POLICY_LEAVING_H

#include "policy/stage_message.h"

struct leaving_body {
	const struct message_view *view;
	const struct body_hash *hash;
	struct body_hashes *again;	/* of the body that was put there */
	bool read_again;
};

/* The header section is complete: asks for the relaxed SHA-256 of the body. */
void leaving_body_want(struct leaving_body *b, const struct message_view *view);
/* That hash, when nothing changes the body any more. Empty: the content cannot be read. */
ASYNC struct slice leaving_body_hash(struct leaving_body *b);
void leaving_body_drop(struct leaving_body *b);

#endif
