/*
 * Does a backend tell the truth at RCPT?
 *
 * Two lies are looked for, per backend and domain. A backend that takes any address (accept-all) makes the bounces that Spurn is
 * there to avoid, and a callforward to it proves nothing: it is asked now and then for an address of 64 random bits, which
 * nobody has. A backend that takes an address at RCPT and refuses it as unknown after the message is learnt from real
 * deliveries. Neither changes what senders hear; both are said aloud. While a backend accepts all, its "yes" is not remembered:
 * on the day it begins to tell the truth, everybody it had taken would seem to vanish.
 *
 * What is known stands in the store, so that workers share it and a restart keeps it.
 */
#ifndef SPURN_CHECK_BACKEND_TRUTH_H
#define SPURN_CHECK_BACKEND_TRUTH_H

#include "check/recipient.h"
#include "net/pool.h"

struct truth {
	enum { TRUTH_UNTESTED, TRUTH_TELLS, TRUTH_ACCEPTS_ALL } state;
	time_t tested;			/* wall clock; 0: never */
	uint32_t late;			/* unknown recipients that it took at RCPT and refused after the message */
	time_t last_late;
};

/* What is known; false: nothing, or the store is in trouble. */
bool truth_get(struct store *store, const char *backend, const char *domain, struct truth *out);
/* The backend took a recipient of the domain at RCPT. True: it takes everybody. Asks it, in the background, when it was not
 * tested within retest (0: never asks); the first time after a minute, or after retest if that is shorter. b and domain need
 * not outlive the call. */
bool truth_accepted(struct store *store, struct pool *pool, const struct backend *b, const char *domain,
	nanoseconds retest);
/* It refused, after the message, a recipient that it had taken at RCPT. True: as unknown, which RCPT is for. */
bool truth_refused_late(struct store *store, const struct backend *b, const char *domain, const struct reply *said);

/* For status: every backend and domain that this worker has heard of. */
void truth_each(struct store *store, void (*fn)(const char *backend, const char *domain, const struct truth *t, void *arg),
	void *arg);
#endif
