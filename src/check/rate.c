/*
 * Rates and concurrency, in memory that all workers share, without locks.
 *
 * A table of sets of eight entries, like a processor's cache: a client's set is given by its keyed hash, so
 * nobody can aim at another's, and a full set costs its least recent entry without open
 * sessions, nothing else. When every entry of a set has open sessions, the newcomer is let in uncounted: a limit that
 * refuses strangers because of other strangers is no limit per client.
 *
 * Open sessions stand in one counter per worker slot, written by that worker alone; the
 * sum is what counts. A worker that is killed takes its counts with it when the master calls rate_worker_gone(). The
 * rejected design is one total per client: exact while all live, and wrong for ever after one kill between
 * two instructions. The limit holds by counting first and looking at the sum afterwards: of several
 * workers that do so at once the last sees all others, so never too many are let in; one that
 * finds too many steps back and looks again.
 *
 * An entry is taken over in three moves: its tag is swapped for a mark of the taker, the counters
 * and the rest of the set are looked at, then the new tag is written. Whoever counts a session looks at the tag
 * again afterwards, so that nobody counts for the wrong client. Takers of one set see each other's marks:
 * the one further behind gives way, so a client gets one entry. No step waits for another process without bound: a
 * taker that is away for too long is taken for dead, and then a client can have two entries
 * for a while. Both are summed up, and ending a session finds the one it was counted in.
 *
 * The connection rate is a leaky bucket as one number: the moment at which it will be empty (GCRA).
 */
#include "check/rate.h"

#include "base/log.h"
#include "base/table.h"

#include <sched.h>
#include <stdatomic.h>

#define WAYS 8
#define FILL 6				/* entries planned for a set of eight */
#define TAG_FREE UINT64_C(0)		/* 1 .. RATE_WORKERS: being taken by that worker slot + 1 */
#define PATIENCE 1000			/* looks at another's mark before it is taken for a dead man's */
#define TRIES 1000
#define HALF_LIFE 600			/* seconds, of a score */
#define SCORE_ONE 256			/* fixed point */
#define SCORE_MAX (UINT32_MAX / 2)

struct rate_entry {
	_Atomic uint64_t tag;
	_Atomic int64_t seen;		/* monotonic ns of the last activity */
	_Atomic int64_t empty;		/* when the bucket will be empty */
	_Atomic uint64_t scores[RATE_SCORES];	/* score << 32 | monotonic second */
	_Atomic uint16_t open[RATE_WORKERS];
};

struct rates {
	uint32_t slot;
};

struct rate_table {
	uint8_t secret[16];
	uint64_t set_mask;
	struct rates handles[RATE_WORKERS];	/* find their way back to the table without a pointer: the mapping moves */
	_Alignas(64) struct rate_entry entries[];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_SHORT_LOCK_FREE == 2, "shared between processes: no hidden locks");

static struct rate_table *table_of(struct rates *r)
{
	return container_of(r - r->slot, struct rate_table, handles);
}

static size_t sets_for(size_t clients)
{
	size_t sets = 1;

	while (sets * FILL < clients)
		sets *= 2;
	return sets;
}

size_t rate_memory(size_t clients)
{
	return sizeof(struct rate_table) + sets_for(clients) * WAYS * sizeof(struct rate_entry);
}

void rate_init(void *memory, size_t clients)
{
	struct rate_table *t = memory;

	random_bytes(t->secret, sizeof(t->secret));
	t->set_mask = sets_for(clients) - 1;
	for (uint32_t i = 0; i < RATE_WORKERS; i++)
		t->handles[i].slot = i;
}

struct rates *rate_attach(void *memory, unsigned worker_slot)
{
	struct rate_table *t = memory;

	BUG_ON(worker_slot >= RATE_WORKERS);
	return &t->handles[worker_slot];
}

/* ---- entries ---- */

static uint64_t tag_of(const struct rate_table *t, const struct ip *client)
{
	struct ip net = ip_client_net(client);
	uint64_t tag = siphash64(t->secret, net.bytes, sizeof(net.bytes));

	return tag > RATE_WORKERS ? tag : tag + RATE_WORKERS + 1;
}

static bool tag_is_mark(uint64_t tag)
{
	return tag != TAG_FREE && tag <= RATE_WORKERS;
}

static struct rate_entry *set_of(struct rate_table *t, uint64_t tag)
{
	return &t->entries[(tag >> 16 & t->set_mask) * WAYS];
}

static struct rate_entry *set_find(struct rate_entry *set, uint64_t tag)
{
	for (size_t i = 0; i < WAYS; i++)
		if (atomic_load(&set[i].tag) == tag)
			return &set[i];
	return NULL;
}

static uint32_t open_sum(struct rate_entry *e)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < RATE_WORKERS; i++)
		sum += atomic_load(&e->open[i]);
	return sum;
}

/* The open sessions of a client. Its entry is e, whatever mark a taker may just have set there. It has a second one
 * after a taker was away for so long that others took it for dead; a limit must hold then, too. */
static uint32_t client_sum(const struct rate_entry *e, struct rate_entry *set, uint64_t tag)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < WAYS; i++)
		if (&set[i] == e || atomic_load(&set[i].tag) == tag)
			sum += open_sum(&set[i]);
	return sum;
}

/* Takes an entry that may go: sets its tag to our mark. *was: the tag before. NULL: none may go. */
static struct rate_entry *set_take(struct rate_entry *set, uint64_t mark, uint64_t *was)
{
	for (size_t attempt = 0; attempt < WAYS; attempt++) {
		struct rate_entry *victim = NULL;
		int64_t oldest = INT64_MAX;

		for (size_t i = 0; i < WAYS; i++) {
			uint64_t tag = atomic_load(&set[i].tag);
			int64_t seen = tag == TAG_FREE ? INT64_MIN : atomic_load(&set[i].seen);

			if (tag_is_mark(tag) || seen >= oldest || open_sum(&set[i]) > 0)
				continue;
			victim = &set[i];
			oldest = seen;
			*was = tag;
		}
		if (!victim)
			return NULL;
		if (!atomic_compare_exchange_strong(&victim->tag, was, mark))
			continue;
		if (open_sum(victim) == 0)
			return victim;
		atomic_store(&victim->tag, *was);	/* somebody began a session in it just now */
	}
	return NULL;
}

/* Having set our mark: may we write our tag? Waits for takers behind us in the set, gives way to those before us.
 * *found: the client has an entry meanwhile. */
static bool set_settled(struct rate_entry *set, const struct rate_entry *mine, uint64_t tag,
	struct rate_entry **found)
{
	for (size_t i = 0; i < WAYS; i++) {
		uint64_t other;
		unsigned looks = 0;

		if (&set[i] == mine)
			continue;
		while (tag_is_mark(other = atomic_load(&set[i].tag))) {
			if (&set[i] < mine)
				return false;
			if (++looks == PATIENCE)
				break;
			sched_yield();
		}
		if (other == tag) {
			*found = &set[i];
			return false;
		}
	}
	return true;
}

/* The entry of a client, made if there is none. NULL: no room. */
static struct rate_entry *entry_of(struct rates *r, uint64_t tag)
{
	struct rate_entry *set = set_of(table_of(r), tag), *e;
	uint64_t was;

	for (size_t i = 0; i < TRIES; i++) {
		struct rate_entry *found = NULL;

		if ((e = set_find(set, tag)))
			return e;
		e = set_take(set, r->slot + 1, &was);
		if (!e) {
			sched_yield();
			if (i >= WAYS)
				return NULL;
			continue;
		}
		if (set_settled(set, e, tag, &found)) {
			atomic_store(&e->empty, 0);
			for (int score = 0; score < RATE_SCORES; score++)
				atomic_store(&e->scores[score], 0);
			atomic_store(&e->seen, clock_now());
			atomic_store(&e->tag, tag);
			return e;
		}
		atomic_store(&e->tag, was);	/* as it was: its counters are untouched */
		if (found)
			return found;
		sched_yield();
	}
	return NULL;
}

/* ---- sessions ---- */

/* Counts one session of ours in the entry. false: the entry has changed hands meanwhile. */
static bool entry_count(struct rate_entry *e, uint64_t tag, unsigned slot)
{
	uint64_t now;
	unsigned looks = 0;

	atomic_fetch_add(&e->open[slot], 1);
	/* A taker who came after us sees our count and puts the tag back; one who came before us has it for good. */
	while (tag_is_mark(now = atomic_load(&e->tag)) && ++looks < PATIENCE)
		sched_yield();
	if (now == tag)
		return true;
	atomic_fetch_sub(&e->open[slot], 1);
	return false;
}

enum room { ROOM, ROOM_NONE, ROOM_LOOK_AGAIN };

/* Our session is counted: is that one too many? If so it is taken back. */
static enum room entry_room(struct rate_entry *e, struct rate_entry *set, uint64_t tag, unsigned slot,
	uint32_t max_sessions)
{
	if (max_sessions == 0 || client_sum(e, set, tag) <= max_sessions)
		return ROOM;
	atomic_fetch_sub(&e->open[slot], 1);
	/* Full without us, or did two of us step on each other's toes? */
	return client_sum(e, set, tag) >= max_sessions ? ROOM_NONE : ROOM_LOOK_AGAIN;
}

/* GCRA: each connection moves the moment of emptiness by period/count; more than a period ahead is too fast. */
static bool entry_drip(struct rate_entry *e, struct rate_limit limit)
{
	int64_t now = clock_now();
	int64_t step = limit.count > 0 ? limit.period / limit.count : 0;
	int64_t was = atomic_load(&e->empty), empty;

	if (limit.count == 0 || limit.period <= 0)
		return true;
	do {
		/* Further ahead than this limit can have moved it: a longer period was configured before. */
		empty = was > now + limit.period ? now + limit.period : was;
		empty = (empty > now ? empty : now) + (step > 0 ? step : 1);
		if (empty - now > limit.period)
			return false;
	} while (!atomic_compare_exchange_weak(&e->empty, &was, empty));
	return true;
}

enum rate_answer rate_session_begin(struct rates *r, const struct ip *client, uint32_t max_sessions,
	struct rate_limit connections)
{
	uint64_t tag = tag_of(table_of(r), client);
	enum room room = ROOM_LOOK_AGAIN;
	struct rate_entry *e = NULL;

	for (size_t tries = 0; room == ROOM_LOOK_AGAIN; tries++) {
		e = entry_of(r, tag);
		/* A counter at its end is as good as a table without room. */
		if (!e || atomic_load(&e->open[r->slot]) == UINT16_MAX || tries == TRIES)
			return RATE_OK;
		if (entry_count(e, tag, r->slot))
			room = entry_room(e, set_of(table_of(r), tag), tag, r->slot, max_sessions);
	}
	atomic_store(&e->seen, clock_now());
	if (room == ROOM_NONE)
		return RATE_TOO_MANY_SESSIONS;
	if (!entry_drip(e, connections)) {
		atomic_fetch_sub(&e->open[r->slot], 1);
		return RATE_TOO_FAST;
	}
	return RATE_OK;
}

void rate_session_end(struct rates *r, const struct ip *client)
{
	uint64_t tag = tag_of(table_of(r), client);
	struct rate_entry *set = set_of(table_of(r), tag);

	for (size_t i = 0; i < WAYS; i++) {
		struct rate_entry *e = &set[i];

		/* Nobody takes an entry in which we hold a session: while its tag is a mark it will come back. */
		for (unsigned looks = 0; tag_is_mark(atomic_load(&e->tag)) && looks < PATIENCE; looks++)
			sched_yield();
		if (atomic_load(&e->tag) != tag || atomic_load(&e->open[r->slot]) == 0)
			continue;
		atomic_store(&e->seen, clock_now());
		atomic_fetch_sub(&e->open[r->slot], 1);
		return;
	}
	/* It was let in uncounted. */
}

void rate_worker_gone(void *memory, unsigned worker_slot)
{
	struct rate_table *t = memory;
	uint64_t mark = worker_slot + 1;

	BUG_ON(worker_slot >= RATE_WORKERS);
	for (size_t i = 0; i < (t->set_mask + 1) * WAYS; i++) {
		struct rate_entry *e = &t->entries[i];

		if (atomic_load(&e->open[worker_slot]) != 0)
			atomic_store(&e->open[worker_slot], 0);
		uint64_t was = mark;

		atomic_compare_exchange_strong(&e->tag, &was, TAG_FREE);
	}
}

/* ---- mail ---- */

bool rate_mail(struct rates *r, enum rate_kind kind, struct slice key, struct rate_limit limit)
{
	const struct rate_table *t = table_of(r);
	uint8_t secret[16];
	struct rate_entry *e;
	uint64_t tag;

	if (limit.count == 0 || limit.period <= 0)
		return true;
	memcpy(secret, t->secret, sizeof(secret));
	secret[0] ^= (uint8_t)kind;	/* the same key is another entry for each kind */
	tag = siphash64(secret, key.p, key.n);
	e = entry_of(r, tag > RATE_WORKERS ? tag : tag + RATE_WORKERS + 1);
	if (!e)
		return true;
	atomic_store(&e->seen, clock_now());
	return entry_drip(e, limit);
}

/* ---- scores ---- */

/* Halved for each half-life that passed; within one, a straight line from 1 to 1/2 (6 % above the curve at most). */
static uint32_t score_decayed(uint64_t packed, uint32_t now)
{
	uint32_t score = (uint32_t)(packed >> 32), then = (uint32_t)packed;
	uint32_t passed = now > then ? now - then : 0;
	uint32_t halves = passed / HALF_LIFE, rest = passed % HALF_LIFE;

	if (halves > 31)
		return 0;
	score >>= halves;
	return score - (uint32_t)((uint64_t)score * rest / (2 * HALF_LIFE));
}

static uint32_t score_rounded(uint32_t score)
{
	return (score + SCORE_ONE / 2) / SCORE_ONE;
}

static uint32_t now_seconds(void)
{
	return (uint32_t)(clock_now() / NS_PER_SECOND);
}

uint32_t rate_count(struct rates *r, const struct ip *client, enum rate_score which)
{
	/* Mostly counted within a session, so that the entry stays; else a late count may meet another client's. */
	struct rate_entry *e = entry_of(r, tag_of(table_of(r), client));
	uint32_t now = now_seconds(), score;

	if (!e)
		return 0;

	uint64_t was = atomic_load(&e->scores[which]);

	do {
		score = score_decayed(was, now);
		if (score < SCORE_MAX)
			score += SCORE_ONE;
	} while (!atomic_compare_exchange_weak(&e->scores[which], &was, (uint64_t)score << 32 | now));
	atomic_store(&e->seen, clock_now());
	return score_rounded(score);
}

uint32_t rate_score(struct rates *r, const struct ip *client, enum rate_score which)
{
	uint64_t tag = tag_of(table_of(r), client);
	struct rate_entry *e = set_find(set_of(table_of(r), tag), tag);

	return e ? score_rounded(score_decayed(atomic_load(&e->scores[which]), now_seconds())) : 0;
}
