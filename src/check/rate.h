/*
 * Rates and concurrency per client network, in memory shared by the workers.
 *
 * The key is the /32 or /64 of the client. The table has a fixed size and is keyed with a random
 * secret; when a set of slots is full, the entry with the least recent activity and no open session gives
 * way, so that an attacker rich in addresses cannot flush the counters of those who hold sessions. Concurrency is
 * counted per worker slot, so that the counts of a crashed worker are dropped with it (rate_worker_gone).
 */
#ifndef SPURN_CHECK_RATE_H
#define SPURN_CHECK_RATE_H

#include "base/clock.h"
#include "base/ip.h"

#include <stdbool.h>
#include <stddef.h>

struct rates;

#define RATE_WORKERS 64	/* worker slots at most */

/* Bytes of shared memory that a table of so many clients needs. */
size_t rate_memory(size_t clients);
/* Once, by the master, on zeroed shared memory. */
void rate_init(void *memory, size_t clients);
struct rates *rate_attach(void *memory, unsigned worker_slot);
/* Drops the counts of a worker that died. */
void rate_worker_gone(void *memory, unsigned worker_slot);

struct rate_limit {
	uint32_t count;		/* so many ... */
	nanoseconds period;	/* ... in so long; 0: no limit */
};

enum rate_answer { RATE_OK, RATE_TOO_MANY_SESSIONS, RATE_TOO_FAST };
/* A session begins: counts it if it may. max_sessions 0: no limit. The rate is a leaky bucket: a burst of `count`, then
 * count per period. */
enum rate_answer rate_session_begin(struct rates *r, const struct ip *client, uint32_t max_sessions,
	struct rate_limit connections);
void rate_session_end(struct rates *r, const struct ip *client);

/* What speaks against a client: counted over sessions, forgotten with a half-life of 10 minutes. */
enum rate_score {
	RATE_UNKNOWN_RECIPIENT,		/* recipients that did not exist */
	RATE_FALSE_TAG,			/* tags under a key of ours that are false: 24 bits can be guessed at */
	RATE_UNPROVEN_NOTICE,		/* notices about mail that we did not send */
	RATE_SCORES
};
/* Returns the score after this one. */
uint32_t rate_count(struct rates *r, const struct ip *client, enum rate_score which);
uint32_t rate_score(struct rates *r, const struct ip *client, enum rate_score which);
static inline uint32_t rate_unknown_recipient(struct rates *r, const struct ip *client)
{
	return rate_count(r, client, RATE_UNKNOWN_RECIPIENT);
}
static inline uint32_t rate_unknown_score(struct rates *r, const struct ip *client)
{
	return rate_score(r, client, RATE_UNKNOWN_RECIPIENT);
}

#endif
