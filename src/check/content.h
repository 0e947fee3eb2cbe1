/*
 * Content: what scanners say of a message before it is accepted.
 *
 * Each scanner that is wanted for these recipients is asked, all in parallel and each under its own budget; clamd is fed
 * while the message still arrives. What they say becomes one finding each:
 *
 *   pass       nothing found, or a change of header or body, which is applied
 *   virus      found by name                          spam, refused   refused for its content
 *   try-later  the scanner wants it to come again     suspect         to be marked (score, quarantine)
 *   disagreed  a filter refused some recipients only: they come alone, then each hears its answer
 *   temperror  trouble, on-error defer                unchecked       trouble, on-error mark
 *   skipped    not asked, by its size, client or recipients
 *
 * What they see is what is relayed: the message as it came, without fields forged in our name; for spamd below our trace
 * field. What a bounce returns is offered to clamd and spamd as a message of its own, too.
 * If a filter replaces the body, the others are asked again about the new one.
 */
#ifndef SPURN_CHECK_CONTENT_H
#define SPURN_CHECK_CONTENT_H

#include "check/scanner.h"

/* All of it outlives the check. */
struct content_question {
	const struct content_conf *conf;
	uint32_t wanted;		/* bits: which of its scanners */
	struct scanners *scanners;
	struct envelope *envelope;
	struct content_source source;
	struct content_sink sink;
	struct slice received;		/* our trace field, which spamd needs to tell who the client was */
	struct milter_self self;
	bool apply;			/* changes are applied: the check is enforced */
};

struct content;

/* NULL: nobody is to be asked. */
struct content *content_begin(const struct content_question *q);
void content_header(struct content *c, const struct header *h);
void content_body(struct content *c, struct slice piece);
ASYNC void content_finish(struct content *c, struct findings *found, deadline until);
/* Nobody waits for the verdict any more: what is being asked is dropped at once, and content_finish() returns soon. */
void content_abandon(struct content *c);
/* At whatever end; what is still being asked is dropped at once. */
void content_drop(struct content *c);

#endif
