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
#include "base/str.h"

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

/* What mail is counted by, besides the connections of a client; each a limit of its own, none by default. */
enum rate_kind { RATE_OF_CLIENT = 1, RATE_OF_SENDER_DOMAIN, RATE_OF_RECIPIENT, RATE_OF_NULL_SENDER };
struct rate_conf {
	struct rate_limit client;		/* recipients named by one /32 or /64 */
	struct rate_limit sender_domain;	/* recipients named for one domain of the reverse-path */
	struct rate_limit recipient;		/* messages to one recipient */
	struct rate_limit null_sender;		/* messages with the null reverse-path to one recipient */
};
/* One more under this key, over all workers; a burst of `count`, then count per period. false: one too many, and not
 * counted. No limit, or a table without room: true. */
bool rate_mail(struct rates *r, enum rate_kind kind, struct slice key, struct rate_limit limit);

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
