/*
 * Hours, their average, and when a wave begins and ends. Two workers that count at the same moment may lose one
 * notice: a wave has many. Two that note the same name at the same moment may take two places; the second is not shown. A worker
 * killed in the few instructions between taking a place and filling it leaves it taken until the master ends: it is one of many.
 */
#include "check/wave.h"

#include <stdatomic.h>

#define HOUR 3600u
#define DAY 86400u
#define TIMES 5u		/* the average */
#define FORGETS 50u		/* of the average, one part of so many an hour */
#define HOURS_MAX (14u * 24u)
#define ONE 256u		/* fixed point of the average */

struct wave_row {
	uint32_t hour;		/* of the epoch */
	uint32_t count;		/* in it */
	uint32_t average;	/* of the hours before, times ONE */
	uint32_t since;		/* of the wave; 0: none */
};

static uint32_t threshold(const struct wave_row *row, uint32_t least)
{
	uint64_t wanted = (uint64_t)row->average * TIMES / ONE;

	return wanted > least ? (uint32_t)(wanted < UINT32_MAX ? wanted : UINT32_MAX) : least;
}

/* Hours that have passed become history. true: a wave is over. */
static bool roll(struct wave_row *row, uint32_t least, uint32_t hour)
{
	uint32_t passed = hour > row->hour ? hour - row->hour : 0;
	bool over = false;

	if (passed > HOURS_MAX)
		passed = HOURS_MAX;
	for (uint32_t i = 0; i < passed; i++) {
		uint32_t count = i == 0 ? row->count : 0;

		if (row->since && count < threshold(row, least) / 2) {
			row->since = 0;
			over = true;
		}
		if (!row->since && !over)
			row->average += (uint32_t)((int64_t)((int64_t)count * ONE - row->average) / (int64_t)FORGETS);
	}
	if (passed > 0) {
		row->hour = hour;
		row->count = 0;
	}
	return over;
}

enum store_status wave_look(struct store *s, struct slice name, uint32_t least, bool add, time_t now, struct wave *out)
{
	struct slice parts[] = { SLICE("wave"), name };
	struct store_key key = store_key(s, STORE_SENT, parts, 2);
	struct store_value value;
	struct wave_row row = { .hour = (uint32_t)now / HOUR };
	enum store_status status = store_get(s, STORE_SENT, &key, &value);

	*out = (struct wave){ .news = WAVE_NOTHING };
	if (status == STORE_TROUBLE)
		return status;
	if (status == STORE_OK && value.length == sizeof(row))
		memcpy(&row, value.bytes, sizeof(row));
	if (roll(&row, least, (uint32_t)now / HOUR))
		out->news = WAVE_ENDS;
	row.count += add;
	if (row.since) {
		out->news = WAVE_GOES_ON;
	} else if (add && row.count >= threshold(&row, least)) {
		row.since = (uint32_t)now;
		out->news = WAVE_BEGINS;
	}
	out->this_hour = row.count;
	out->usual = (row.average + ONE / 2) / ONE;
	out->since = (time_t)row.since;
	if (!add)
		return STORE_OK;
	value = (struct store_value){ .length = sizeof(row), .expires = (uint32_t)now + 30 * DAY };
	memcpy(value.bytes, &row, sizeof(row));
	return store_put(s, STORE_SENT, &key, &value);
}

/* ---- the waves that go on ---- */

static struct slice name_of(const struct wave_place *p)
{
	return slice_make(p->name, p->length);
}

static struct wave_place *place_of(struct waves *w, struct slice name)
{
	for (struct wave_place *p = w->places; p < w->places + WAVES_SHOWN; p++)
		if (p->state == 2 && slice_eq(name_of(p), name))
			return p;
	return NULL;
}

static void take_place(struct waves *w, struct slice name, uint32_t least)
{
	for (struct wave_place *p = w->places; p < w->places + WAVES_SHOWN; p++) {
		uint32_t free = 0;

		if (!atomic_compare_exchange_strong(&p->state, &free, 1))
			continue;
		p->least = least;
		p->length = (uint32_t)name.n;
		memcpy(p->name, name.p, name.n);
		atomic_store(&p->state, 2);
		return;
	}
}

bool waves_note(struct waves *w, struct slice name, uint32_t least, const struct wave *seen)
{
	struct wave_place *p;
	uint32_t taken = 2;

	if (!w || name.n > WAVE_NAME_MAX)
		return true;
	p = place_of(w, name);
	if (!p && seen->since)
		take_place(w, name, least);
	if (p && !seen->since)
		return atomic_compare_exchange_strong(&p->state, &taken, 0);
	return p || seen->since;
}

/* A copy that does not change while it is used. false: the place is not taken. */
static bool copy_place(const struct wave_place *p, struct wave_place *out)
{
	if (p->state != 2 || p->length > WAVE_NAME_MAX)
		return false;
	out->least = p->least;
	out->length = p->length;
	memcpy(out->name, p->name, out->length <= WAVE_NAME_MAX ? out->length : 0);
	return p->state == 2 && out->length <= WAVE_NAME_MAX;
}

void waves_each(struct waves *w, struct store *s, time_t now, void (*fn)(void *arg, struct slice name, const struct wave *wave),
	void *arg)
{
	for (struct wave_place *p = w->places; p < w->places + WAVES_SHOWN; p++) {
		struct wave_place copy;
		struct wave wave;

		if (copy_place(p, &copy) && place_of(w, name_of(&copy)) == p &&
		    wave_look(s, name_of(&copy), copy.least, false, now, &wave) == STORE_OK && wave.since)
			fn(arg, name_of(&copy), &wave);
	}
}

void waves_end(struct waves *w, struct store *s, time_t now, void (*fn)(void *arg, struct slice name, const struct wave *wave),
	void *arg)
{
	for (struct wave_place *p = w->places; p < w->places + WAVES_SHOWN; p++) {
		uint32_t minute = (uint32_t)(now / 60), looked = p->looked;
		struct wave_place copy;
		struct wave wave;

		if (looked == minute || !copy_place(p, &copy) ||
		    !atomic_compare_exchange_strong(&p->looked, &looked, minute))
			continue;
		if (wave_look(s, name_of(&copy), copy.least, false, now, &wave) == STORE_OK && !wave.since &&
		    waves_note(w, name_of(&copy), copy.least, &wave))
			fn(arg, name_of(&copy), &wave);
	}
}
