/*
 * The received ledger: keys and entries of the outbound guard, and when it may be trusted to be complete.
 */
#ifndef SPURN_CHECK_GUARD_LEDGER_H
#define SPURN_CHECK_GUARD_LEDGER_H

#include "check/guard.h"

enum guard_entry {
	GUARD_MESSAGE = 'm',
	GUARD_ANSWER = 'a',
	GUARD_PAIR = 'p',
	GUARD_DOMAIN = 'd',
	GUARD_REPLIED = 'o',
	GUARD_FLOOD = 'f',
	GUARD_SINCE = 's',
};

/* What an entry holds; which members count depends on its kind. */
struct guard_note {
	uint64_t message;	/* GUARD_REPLIED: which reply went out, by what a retry repeats of it; 0: nothing tells */
	uint32_t count;		/* GUARD_FLOOD */
	uint32_t began;		/* GUARD_FLOOD, GUARD_SINCE: wall clock, seconds */
	uint8_t automatic;	/* GUARD_MESSAGE */
};

struct store_key guard_key(const struct store *s, enum guard_entry kind, struct slice first, struct slice second);
enum store_status guard_get(struct store *s, const struct store_key *key, struct guard_note *out);
enum store_status guard_put(struct store *s, const struct store_key *key, const struct guard_note *note,
	nanoseconds keep);

#endif
