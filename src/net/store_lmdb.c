/*
 * The embedded store: an LMDB environment and a pending table per worker slot, read by everybody.
 *
 *   STATE-DIR/store/key          the secret (store.c)
 *                  /shared       stamp, generation, locks of keys: memory of all workers (store_slots.c)
 *                  /N/data.mdb   what slot N has committed; only its owner writes (store_environment.c, store_writer.c)
 *                  /N/lock.mdb   LMDB's readers
 *                  /N/pending    what slot N has put and not yet committed (store_pending.c)
 *
 * A put goes into the worker's own pending table and is done. A look-up asks of
 * every slot first the pending table, then the environment (an entry moves
 * from there to here, so this order never misses it), and the highest stamp
 * wins. Stamps come from one counter shared by all workers, never behind the wall
 * clock: "newer" means the same to everybody, whatever NTP does.
 *
 * What one worker put, another may replace or delete, though only the owner
 * writes his environment: the later entry hides the older. A tombstone, or
 * an entry that expires sooner than what it hides, is kept as long as that lives
 * (`hides`). To know this costs a look around, and only a put with a shorter
 * life than its table has seen before needs it: ledgers with one retention never do.
 *
 * A claim holds a lock of its key across all workers for the look and the put.
 * The lock is a word in the shared memory with the slot and process of its
 * holder. Whoever waits asks the kernel whether that process still holds its slot
 * (a lock on the file that ends with the process) and takes the word
 * over if not: nothing to recover after a kill or a power cut.
 *
 * Nothing here syncs or waits for the disk, but for a page that is not in
 * memory. A slot of another that cannot be read makes a fruitless look-up
 * STORE_TROUBLE, not STORE_NOT_FOUND.
 *
 * Rejected: one environment for all (one writer lock: workers wait for each
 * other's commits); keys dealt out to slots by hash (same); robust pthread
 * mutexes in the file (a power cut leaves them locked by nobody, and damage in
 * them is undefined behaviour); fcntl locks per key (two system calls a claim).
 */
#include "net/store_lmdb.h"

#include "base/log.h"

#define MAP_DEFAULT (UINT64_C(4) << 30)
#define MAP_LEAST (UINT64_C(1) << 20)
#define PATH_MOST 480
#define LOCK_SPINS 100
#define LOCK_NAPS 400		/* of 50 us */

/* ---- time ---- */

static uint64_t wall_now(void)
{
	struct timespec t;

	if (clock_is_fake())
		return (uint64_t)clock_wall();
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

/* Of now; tells the writer thread the time too, if it is a fake one. */
uint32_t store_seconds(struct lmdb_store *s)
{
	uint32_t now = (uint32_t)(wall_now() / NS_PER_SECOND);

	if (clock_is_fake())
		atomic_store(&s->writer.fake_now, now);
	return now;
}

/* Higher than any before, in any worker. */
static uint64_t stamp_next(struct lmdb_store *s)
{
	uint64_t wall = wall_now() & ~UINT64_C(3), last = atomic_load(&s->shared->stamp), next;

	do {
		next = wall > last ? wall : last + 4;
	} while (!atomic_compare_exchange_weak(&s->shared->stamp, &last, next));
	return next;
}

/* ---- looking ---- */

struct store_value entry_value(const struct store_entry *entry)
{
	struct store_value v = { .length = entry->length, .expires = entry->expires };

	memcpy(v.bytes, entry->bytes, entry->length);
	return v;
}

static void look_add(struct look *l, const struct store_entry *entry, bool ours, uint32_t now)
{
	if (!l->found || entry->stamp > l->newest.stamp)
		l->newest = *entry;
	l->found = true;
	if (!ours && entry_is_live(entry, now) && entry->expires > l->elsewhere)
		l->elsewhere = entry->expires;
}

void look_around(struct lmdb_store *s, enum store_table t, const struct store_key *key, uint32_t now,
	struct look *l)
{
	slots_current(s);
	l->found = l->failed = l->pending = l->committed = false;
	l->elsewhere = 0;
	for (size_t i = 0; i < s->count; i++) {
		struct slot *slot = &s->slots[s->present[i]];
		bool ours = slot == s->own;
		struct store_entry entry;
		uint32_t at;
		uint64_t word;

		/* The pending table first: what leaves it meanwhile is committed. */
		if (slot->pending.map && pending_find(&slot->pending, t, key, &entry, &at, &word)) {
			look_add(l, &entry, ours, now);
			if (ours) {
				l->pending = true;
				l->at = at;
				l->word = word;
				l->committed = word & WORD_WRITING;
			}
		}
		int rc = slot->environment.env ? environment_find(&slot->environment, t, key, &entry) : MDB_NOTFOUND;
		if (rc == 0) {
			look_add(l, &entry, ours, now);
			l->committed |= ours;
		} else if (rc != MDB_NOTFOUND) {
			s->trouble = environment_error(rc);
		}
		if ((rc && rc != MDB_NOTFOUND) || slot->trouble)
			l->failed = true;
	}
	if (l->failed)
		s->failures++;
}

static enum store_status lmdb_get(struct store *store, enum store_table t, const struct store_key *key,
	struct store_value *out)
{
	struct lmdb_store *s = (struct lmdb_store *)store;
	uint32_t now = store_seconds(s);
	struct look l;

	look_around(s, t, key, now, &l);
	if (l.found && entry_is_live(&l.newest, now)) {
		*out = entry_value(&l.newest);
		return STORE_OK;
	}
	return l.failed ? STORE_TROUBLE : STORE_NOT_FOUND;
}

/* ---- changing ---- */

static void work_begun(struct lmdb_store *s, bool added)
{
	if (s->conf.synchronous)
		writer_flush(&s->writer);
	else if (added)
		writer_notice(&s->writer, false);
}

static enum store_status entry_put(struct lmdb_store *s, const struct store_key *key, struct store_entry *entry,
	bool alone)
{
	bool added;

	entry->stamp = stamp_next(s);
	if (!pending_put(&s->own->pending, key, entry, alone, &added)) {
		s->failures++;
		s->trouble = "pending table is full";
		writer_notice(&s->writer, true);
		return STORE_TROUBLE;
	}
	work_begun(s, added);
	return STORE_OK;
}

static struct store_entry entry_of(enum store_table t, const struct store_value *value)
{
	struct store_entry e = { .expires = value->expires, .table = (uint8_t)t, .length = value->length };

	memcpy(e.bytes, value->bytes, value->length);
	return e;
}

/* True if an older entry elsewhere could outlive one that lives until `expires`. */
static bool may_hide(struct lmdb_store *s, enum store_table t, uint32_t expires, uint32_t now)
{
	uint32_t life = expires > now ? expires - now : 0;
	uint32_t longest = atomic_load_explicit(&s->shared->longest[t], memory_order_relaxed);

	while (life > longest)
		if (atomic_compare_exchange_weak(&s->shared->longest[t], &longest, life))
			return false;
	return life < longest;
}

static enum store_status lmdb_put(struct store *store, enum store_table t, const struct store_key *key,
	const struct store_value *value)
{
	struct lmdb_store *s = (struct lmdb_store *)store;
	struct store_entry entry = entry_of(t, value);
	uint32_t now = store_seconds(s);

	if (!s->own)
		return STORE_TROUBLE;
	if (may_hide(s, t, value->expires, now)) {
		struct look l;
		look_around(s, t, key, now, &l);
		entry.hides = l.elsewhere > value->expires ? l.elsewhere : 0;
	}
	s->puts++;
	return entry_put(s, key, &entry, false);
}

static bool others_may_have(struct lmdb_store *s, const struct store_key *key)
{
	slots_current(s);
	for (size_t i = 0; i < s->count; i++) {
		const struct slot *slot = &s->slots[s->present[i]];
		if (slot != s->own && slot->pending.map && pending_may_have(&slot->pending, key))
			return true;
	}
	return false;
}

/* Takes a pending entry back that nobody but us knows of. */
static bool put_take_back(struct lmdb_store *s, uint32_t at, uint64_t word)
{
	if ((word & WORD_WRITING) || !pending_free(&s->own->pending, at, word))
		return false;
	s->saved++;
	return true;
}

/* The usual end of a commit entry: claimed by us a moment ago, so nothing older lives anywhere. (Another
 * worker that put the key blindly since, and has already committed that, keeps it: see store_put().) */
static bool delete_quickly(struct lmdb_store *s, enum store_table t, const struct store_key *key)
{
	struct store_entry entry;
	uint32_t at;
	uint64_t word;

	return pending_find(&s->own->pending, t, key, &entry, &at, &word) && (word & WORD_ALONE) &&
		!others_may_have(s, key) && put_take_back(s, at, word);
}

static enum store_status lmdb_delete(struct store *store, enum store_table t, const struct store_key *key)
{
	struct lmdb_store *s = (struct lmdb_store *)store;
	struct store_entry grave = { .table = (uint8_t)t, .tombstone = 1 };
	enum store_status status = STORE_OK;
	struct look l;

	if (!s->own)
		return STORE_TROUBLE;
	s->deletes++;
	if (delete_quickly(s, t, key))
		return STORE_OK;
	do {
		look_around(s, t, key, store_seconds(s), &l);
		if (!l.committed && !l.elsewhere && !l.pending)
			return l.failed ? STORE_TROUBLE : STORE_OK;
		if (l.committed || l.elsewhere) {
			grave.hides = l.elsewhere;
			status = entry_put(s, key, &grave, false);
			break;
		}
	} while (!put_take_back(s, l.at, l.word));	/* the writer has just begun with it: look again */
	return l.failed ? STORE_TROUBLE : status;
}

/* ---- claiming ---- */

static bool lock_take(struct lmdb_store *s, _Atomic uint64_t *lock)
{
	const struct timespec nap = { 0, 50000 };

	for (int i = 0; i < LOCK_SPINS + LOCK_NAPS; i++) {
		uint64_t seen = 0;
		if (atomic_compare_exchange_strong(lock, &seen, s->word))
			return true;
		if (i < LOCK_SPINS)
			continue;
		if (!slot_word_lives(s, seen) && atomic_compare_exchange_strong(lock, &seen, s->word))
			return true;
		nanosleep(&nap, NULL);
	}
	s->trouble = "lock of a key is held for too long";
	s->failures++;
	return false;
}

static enum store_status claim_locked(struct lmdb_store *s, enum store_table t, const struct store_key *key,
	const struct store_value *value, bool *won, struct store_value *existing)
{
	struct store_entry entry = entry_of(t, value);
	uint32_t now = store_seconds(s);
	struct look l;
	enum store_status status;

	look_around(s, t, key, now, &l);
	if (l.found && entry_is_live(&l.newest, now)) {
		*existing = entry_value(&l.newest);
		*won = false;
		return STORE_OK;
	}
	if (l.failed)
		return STORE_TROUBLE;
	may_hide(s, t, value->expires, now);
	entry.hides = l.elsewhere > value->expires ? l.elsewhere : 0;
	s->puts++;
	status = entry_put(s, key, &entry, !l.committed && !l.elsewhere);
	if (status == STORE_OK)
		*won = true;
	return status;
}

static enum store_status lmdb_claim(struct store *store, enum store_table t, const struct store_key *key,
	const struct store_value *value, bool *won, struct store_value *existing)
{
	struct lmdb_store *s = (struct lmdb_store *)store;
	enum store_status status;
	uint32_t hash;

	if (!s->own)
		return STORE_TROUBLE;
	memcpy(&hash, key->bytes + 12, sizeof(hash));
	_Atomic uint64_t *lock = &s->shared->lock[hash % STORE_LOCKS];
	if (!lock_take(s, lock))
		return STORE_TROUBLE;
	status = claim_locked(s, t, key, value, won, existing);
	atomic_store(lock, 0);
	return status;
}

/* ---- opening and closing ---- */

static void lmdb_close(struct store *store)
{
	struct lmdb_store *s = (struct lmdb_store *)store;

	if (s->own)
		writer_stop(&s->writer);
	slots_close(s);
	close(s->directory);
}

static bool lmdb_flush(struct store *store)
{
	struct lmdb_store *s = (struct lmdb_store *)store;

	return s->own && writer_flush(&s->writer);
}

static const struct store_methods lmdb_methods = {
	.close = lmdb_close,
	.flush = lmdb_flush,
	.put = lmdb_put,
	.delete = lmdb_delete,
	.get = lmdb_get,
	.claim = lmdb_claim,
	.each = lmdb_each,
	.stats = lmdb_stats,
};

struct writer *store_writer(struct store *store)
{
	return &((struct lmdb_store *)store)->writer;
}

struct store *store_lmdb_open(struct arena *a, const struct store_conf *conf, int directory, const char **why)
{
	struct lmdb_store *s = arena_new(a, struct lmdb_store);
	const char *warning = NULL;

	s->store.methods = &lmdb_methods;
	s->conf = *conf;
	s->conf.directory = arena_copy(a, conf->directory, strlen(conf->directory));
	if (!conf->map_size)
		s->conf.map_size = MAP_DEFAULT;
	if (s->conf.map_size < MAP_LEAST)
		s->conf.map_size = MAP_LEAST;
	s->conf.map_size &= ~(size_t)0xffff;	/* whole pages, whatever their size */
	s->directory = directory;
	if (conf->slot >= STORE_STAND_IN && conf->slot != STORE_READ_ONLY) {
		*why = "slot number too high";
		return NULL;
	}
	if (strlen(conf->directory) > PATH_MOST) {
		*why = "path too long";
		return NULL;
	}
	if (!slots_open(s, a, &warning, why)) {
		slots_close(s);
		return NULL;
	}
	*why = warning;
	return &s->store;
}
