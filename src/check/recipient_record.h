/*
 * What is remembered of a recipient, and how known addresses that turn unknown are counted: shared by the files of
 * check/recipient.
 */
#ifndef SPURN_CHECK_RECIPIENT_RECORD_H
#define SPURN_CHECK_RECIPIENT_RECORD_H

#include "check/recipient.h"

#include "base/table.h"

enum state { STATE_KNOWN = 1, STATE_DOUBTFUL, STATE_GONE };

struct recipient_record {
	enum state state;
	uint32_t first, last;	/* wall clock: first and newest answer of this state (doubtful: first: known since) */
	uint32_t turned;	/* doubtful: when the "no" first came; else 0 */
	char reply[64];		/* what the backend said, cut */
};

static inline uint32_t wall_now(void)
{
	return (uint32_t)clock_wall_seconds();
}

static inline uint32_t in_seconds(nanoseconds span)
{
	nanoseconds most = 20 * 365 * 86400 * NS_PER_SECOND;	/* a moment of the wall clock has 32 bits */

	return span > 0 ? (uint32_t)((span < most ? span : most) / NS_PER_SECOND) : 0;
}

static inline uint32_t age(uint32_t now, uint32_t then)
{
	return now > then ? now - then : 0;
}

/* ---- recipient_record.c ---- */

struct store_key recipient_record_key(struct store *store, struct slice canonical);
/* STORE_NOT_FOUND for garbage, too: it was never there. store NULL: STORE_TROUBLE. */
enum store_status recipient_record_get(struct store *store, struct slice canonical, struct recipient_record *r,
	uint32_t *expires);
/* A cache: what cannot be written is not remembered, and nobody is told. */
void recipient_record_put(struct store *store, struct slice canonical, const struct recipient_record *r,
	uint32_t expires);

/* ---- recipient.c ---- */

/* What a source said of r, remembered under r->canonical. */
void recipient_learn_exists(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	const struct reply *backend);
/* A "no" and what it is worth: no-such-user, or unconfirmed. store NULL: the former. */
enum result recipient_learn_no(const struct recipient_conf *conf, struct store *store, const struct recipient *r,
	const struct reply *backend, const char **reason);

/* ---- recipient_directory.c ---- */

/* The name under which its answers about an address are kept beside those of the backend; it is no address. */
struct slice recipient_directory_record(struct arena *a, const struct recipient_directory *directory, struct slice canonical);
/* One directory of the chain. *unconfirmed: it says no of somebody whom it knew. */
ASYNC enum recipient_answer recipient_directory_look_up(const struct recipient_conf *conf, struct store *store,
	const struct recipient_source *s, const struct recipient *r, bool harvester, bool *unconfirmed,
	const char **reason, struct arena *a, deadline d);

/* ---- recipient_flip.c ---- */

/* The last minutes of a domain. */
struct flip_window;
struct flip_window *flip_window_of(struct slice canonical);
/* A known address was asked for: flipped, or confirmed. */
void flip_count(struct flip_window *w, bool flipped);
/* Whether the domain's alarm is on, as of now. */
bool flip_alarm(struct flip_window *w);

#endif
