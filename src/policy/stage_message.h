/*
 * The stage MESSAGE: checks that look at a message while it arrives, and speak at its end.
 *
 * A check of the message is a row of functions in stage_message.c. It is fed on the scheduler's stack,
 * where nothing may wait: the header section once, when it is complete, then the body as it comes. At the end its finish()
 * runs on a fiber and may ask the network. Checks of one wave run in parallel; a later wave sees the facts
 * that an earlier one has put into the envelope. Like all stages it adds findings and decides nothing.
 */
#ifndef SPURN_POLICY_STAGE_MESSAGE_H
#define SPURN_POLICY_STAGE_MESSAGE_H

#include "check/body_hash.h"
#include "check/returned.h"
#include "policy/stage.h"
#include "wire/message.h"

struct message_stage;

/* What the checks of one message share; all of it outlives them. */
struct message_view {
	const struct services *services;
	const struct config *config;
	const struct domain_conf *domain;	/* of the recipients; NULL on the outbound side */
	const struct listener_conf *listener;
	struct envelope *envelope;
	struct content_source source;		/* the content as far as it has arrived */
	struct content_sink sink;		/* for another body in its place; begin NULL: there is none */
	struct slice received;			/* our Received field, if anybody is to see it */
	struct body_hashes *hashes;		/* of the body, shared: a check asks for its kinds in header() */
	struct returned *returned;		/* shown the message that a notice returns; NULL: nobody asks */
};

#define STAGE_SIGN_WAVE 9

enum message_side { SIDE_INBOUND = 1, SIDE_OUTBOUND = 2, SIDE_BOTH = 3 };

struct message_check {
	enum check check;
	uint8_t sides;			/* enum message_side bits */
	uint8_t wave;			/* 0 first; STAGE_SIGN_WAVE: behind the verdict */
	bool always;			/* begun in any mode: it is no judgement, or looks at the mode itself */
	/* Its own state, in the envelope's arena; NULL: nothing to do for this message. */
	void *(*begin)(const struct message_view *view);
	/* h stays where it is until the transaction ends. NULL: not interested. */
	void (*header)(void *state, const struct header *h);
	void (*body)(void *state, struct slice piece);
	/* Both ended. Facts go into the envelope, findings into the list given. ASYNC. NULL: not interested. */
	void (*finish)(void *state, struct findings *found, deadline until);
	/* The verdict lets it go, and the backend is about to hear the dot: what is remembered of a message is remembered here, so
	 * that what was refused or destroyed leaves nothing behind. May not wait. NULL: not interested. */
	void (*relay)(void *state, struct findings *found);
	/* Whether finish() was run or not: what is not in the arena is given back, what still runs is stopped. */
	void (*drop)(void *state);
	/* While finish() runs: nobody waits for it any more, so it is to return soon. NULL: it does so anyway. */
	void (*abandon)(void *state);
};

/* The message begins: recipients are known. */
struct message_stage *stage_message_begin(const struct message_view *view);
void stage_message_header(struct message_stage *m, const struct header *h);
void stage_message_body(struct message_stage *m, struct slice piece);
/* The message has ended; message facts are in the envelope. */
ASYNC void stage_message_finish(struct message_stage *m, deadline until);
/* The verdict lets it go: signatures and seals, over the message as it leaves and over what was found. What is refused costs none. */
ASYNC void stage_message_sign(struct message_stage *m, deadline until);
/* The message is about to be relayed. Once, behind the verdict; findings go to the envelope and argue for nothing any more. */
void stage_message_relay(struct message_stage *m);
/* The client is gone: stage_message_finish(), under way on its fiber, asks nothing more. */
void stage_message_abandon(struct message_stage *m);
/* Must be called once, at whatever end. NULL is allowed. */
void stage_message_drop(struct message_stage *m);

#endif
