/*
 * Whose turn it is to ask a backend about somebody it is not known to know.
 *
 * A dictionary attack must not take the backend's connections away from mail to those who exist. So questions about
 * addresses that nothing is known of wait for a place: a backend answers so many of them at one time, and not more; and an
 * address is asked for once at a time, the others wait for that answer. Who is known needs no turn.
 *
 * Turns belong to a worker, as the connections do. Rejected: a limit per client (a botnet has a client for each guess), and a
 * rate (a backend that is slow would be asked faster than it answers).
 */
#ifndef SPURN_CHECK_RECIPIENT_TURN_H
#define SPURN_CHECK_RECIPIENT_TURN_H

#include "base/str.h"
#include "run/wait.h"

enum turn_answer {
	TURN_OURS,		/* ask, then recipient_turn_end() */
	TURN_ASKED,		/* somebody else has asked about the same address meanwhile: look into the cache again */
	TURN_NONE,		/* too many wait, or no time is left */
};

struct recipient_turn;

/* backend: its name. places: how many questions it gets at one time, from 1. */
ASYNC enum turn_answer recipient_turn_take(struct slice backend, struct slice canonical, uint32_t places,
	struct recipient_turn **out, deadline d);
void recipient_turn_end(struct recipient_turn *t);

/* For status. */
struct recipient_turn_info {
	const char *backend;
	uint32_t asking, waiting, most_asking;
	uint64_t asked, joined, refused;
};
void recipient_turn_each(void (*fn)(const struct recipient_turn_info *info, void *arg), void *arg);

#endif
