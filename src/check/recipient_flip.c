/*
 * Known addresses that turn unknown, counted: many at once are a broken backend, not a purge.
 *
 * Flips from known to unknown are counted per domain, because backends fail one by one and the others would
 * dilute the share. While a domain's alarm is on, its backend's "no" proves nothing: it is 450, it is not
 * remembered, and what was remembered just before is asked again. The alarm ends when the share has fallen and a
 * known address was confirmed, or an hour after the last flip, since a real purge may be all the traffic there
 * is. All of this lives in the worker; the records in the store are shared.
 */
#include "check/recipient_record.h"

#include "base/log.h"

#define FLIP_MINUTES 10
#define FLIPS_MIN 5		/* more than so many ... */
#define FLIPS_PERCENT 20	/* ... and more than this share of the known addresses asked for */
#define FLIP_HOLD (3600 * NS_PER_SECOND)
#define FLIP_DOMAINS 4096	/* configured ones; what is over shares one window */

struct flip_window {
	struct table_link link;
	struct slice domain;
	int64_t minute;				/* of the newest bucket */
	uint32_t confirmed[FLIP_MINUTES], flipped[FLIP_MINUTES];
	nanoseconds last_flip;
	bool alarm, confirmed_since;		/* a known address was confirmed since the last flip */
};

static struct arena window_arena;
static struct table windows;
static struct flip_window window_of_others;

static bool window_match(const struct table_link *link, const void *key)
{
	return slice_eq(container_of(link, const struct flip_window, link)->domain, *(const struct slice *)key);
}

/* Drops the minutes that are over. */
static void window_turn(struct flip_window *w)
{
	int64_t now = clock_now() / (60 * NS_PER_SECOND);
	int64_t passed = now - w->minute;

	if (passed < 0 || passed > FLIP_MINUTES)
		passed = FLIP_MINUTES;
	for (int64_t i = 0; i < passed; i++) {
		size_t at = (size_t)((now - i) % FLIP_MINUTES);

		w->confirmed[at] = w->flipped[at] = 0;
	}
	w->minute = now;
}

static void window_sums(const struct flip_window *w, uint32_t *confirmed, uint32_t *flipped)
{
	*confirmed = *flipped = 0;
	for (size_t i = 0; i < FLIP_MINUTES; i++) {
		*confirmed += w->confirmed[i];
		*flipped += w->flipped[i];
	}
}

static void window_judge(struct flip_window *w)
{
	uint32_t confirmed, flipped;

	window_turn(w);
	window_sums(w, &confirmed, &flipped);

	bool many = flipped > FLIPS_MIN && (uint64_t)flipped * 100 > (uint64_t)FLIPS_PERCENT * (flipped + confirmed);

	if (many && !w->alarm) {
		w->alarm = true;
		log_alert("recipients of %.*s: %u of %u known addresses turned unknown within %d minutes: a broken "
			"backend? Its \"no\" is answered 450 and not remembered", SLICE_ARG(w->domain), flipped,
			flipped + confirmed, FLIP_MINUTES);
	} else if (w->alarm && !many && (w->confirmed_since || clock_now() - w->last_flip > FLIP_HOLD)) {
		w->alarm = false;
		log_alert("recipients of %.*s: the backend knows its addresses again, or has purged them",
			SLICE_ARG(w->domain));
	}
}

struct flip_window *flip_window_of(struct slice canonical)
{
	struct slice domain = address_domain(canonical);
	uint64_t hash = hash_bytes(domain.p, domain.n);
	struct table_link *link = table_find(&windows, hash, window_match, &domain);
	struct flip_window *w;

	if (link)
		return container_of(link, struct flip_window, link);
	if (windows.count >= FLIP_DOMAINS) {
		window_of_others.domain = SLICE("other domains");
		return &window_of_others;
	}
	w = arena_new(&window_arena, struct flip_window);
	w->domain = slice_copy(&window_arena, domain);
	table_add(&windows, &w->link, hash);
	return w;
}

void flip_count(struct flip_window *w, bool flipped)
{
	window_turn(w);
	if (flipped) {
		w->flipped[w->minute % FLIP_MINUTES]++;
		w->last_flip = clock_now();
		w->confirmed_since = false;
	} else {
		w->confirmed[w->minute % FLIP_MINUTES]++;
		w->confirmed_since = true;
	}
	window_judge(w);
}

bool flip_alarm(struct flip_window *w)
{
	window_judge(w);
	return w->alarm;
}

bool recipient_flip_alarm(void)
{
	struct table_link *link = NULL;
	bool on = false;

	for (size_t at = 0; (link = table_each(&windows, &at, link));) {
		struct flip_window *w = container_of(link, struct flip_window, link);

		if (w->alarm)
			window_judge(w);
		on = on || w->alarm;
	}
	if (window_of_others.alarm)
		window_judge(&window_of_others);
	return on || window_of_others.alarm;
}
