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

/* add: one more notice (else: what has become of it). STORE_TROUBLE: nothing is known, *out says so by its zeros. */
enum store_status wave_look(struct store *s, struct slice name, uint32_t least, bool add, time_t now, struct wave *out);

#endif
