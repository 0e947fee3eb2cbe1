/*
 * A bounce that leaves returns the header section of the message, and not its body.
 */
#ifndef SPURN_CHECK_NOTICE_REDUCE_H
#define SPURN_CHECK_NOTICE_REDUCE_H

#include "run/fiber.h"
#include "wire/envelope.h"
#include "wire/message.h"

/* Puts the reduced report into the place of the message, which is in e->notice a notice that leaves. apply: false: it is only
 * said what would be done. hold: why it must stay as it is; NULL: it need not. Findings of check `notice`: reduced, or none with the
 * reason why it leaves whole; nothing if it returns no body. */
ASYNC void notice_reduce(const struct envelope *e, const struct header *h, const struct content_source *source,
	const struct content_sink *sink, bool apply, const char *hold, struct findings *found, deadline until);

#endif
