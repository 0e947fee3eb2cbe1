/*
 * Waves of backscatter: notices about mail that we did not send, for one address or one domain, at a rate far above its own
 * history.
 *
 * Each name has one entry in the store (table `sent`): the count of this hour, and the average of the hours before, which forgets with
 * a half-life of about a day and a half. A wave begins when an hour has several times the average, and more than a floor; it ends with an
 * hour of less than half of that. While it lasts the average stands still: a wave does not become ordinary.
 */
#ifndef SPURN_CHECK_WAVE_H
#define SPURN_CHECK_WAVE_H

#include "net/store.h"

#include <time.h>

#define WAVE_FLOOR_ADDRESS 20u	/* notices in an hour, at least */
#define WAVE_FLOOR_DOMAIN 100u

enum wave_news { WAVE_NOTHING, WAVE_BEGINS, WAVE_GOES_ON, WAVE_ENDS };

struct wave {
	enum wave_news news;
	uint32_t this_hour;
	uint32_t usual;		/* per hour, rounded */
	time_t since;		/* of the wave; 0: none */
};

/* add: one more notice. Else it is a look that changes nothing. STORE_TROUBLE: nothing is known, *out says so by its zeros. */
enum store_status wave_look(struct store *s, struct slice name, uint32_t least, bool add, time_t now, struct wave *out);

/* ---- the waves that go on ---- */

/* The store holds hashes of names, and a wave ends by nothing happening. So the names of those that go on stand in a table in memory
 * that the workers share (zeros: empty), for the status and for whoever looks whether they are over. It is no
 * record: with more waves than places, or after a restart, a wave stands here again with its next notice. */
#define WAVES_SHOWN 32u
#define WAVE_NAME_MAX 320u

struct wave_place {
	_Atomic uint32_t state;		/* 0 free, 1 being written, 2 taken */
	_Atomic uint32_t looked;	/* the minute of the last look */
	uint32_t least;
	uint32_t length;
	char name[WAVE_NAME_MAX];
};

struct waves {
	struct wave_place places[WAVES_SHOWN];
};

/* What was just seen of a name: a wave that goes on has a place here, and one that is over has none. false: it is over,
 * and somebody else has seen that before. */
bool waves_note(struct waves *w, struct slice name, uint32_t least, const struct wave *seen);
/* Calls fn for each wave that goes on. */
void waves_each(struct waves *w, struct store *s, time_t now, void (*fn)(void *arg, struct slice name, const struct wave *wave),
	void *arg);
/* Once a minute, whoever of the workers comes first: calls fn for each wave that is over, and gives up its place. */
void waves_end(struct waves *w, struct store *s, time_t now, void (*fn)(void *arg, struct slice name, const struct wave *wave),
	void *arg);

#endif
