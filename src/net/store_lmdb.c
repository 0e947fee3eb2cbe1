/*
 * The embedded store: an LMDB environment and a pending table per worker slot, read by everybody.
 *
 *   STATE-DIR/store/key          the secret (store.c)
 *                  /shared       stamp, generation, locks of keys: memory of all workers
 *                  /N/data.mdb   what slot N has committed; only its owner writes
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
 * LMDB: read-only transactions are renewed and reset around each look, so they
 * hold no pages back while parked; own environment opened once, for writing, the
 * others read-only. Nothing here syncs or waits for the disk, but for a page
 * that is not in memory.
 *
 * Damage. What cannot be opened is moved aside (*.bad, one generation) and begun
 * anew, with a warning; a slot of another that cannot be read makes a
 * fruitless look-up STORE_TROUBLE, not STORE_NOT_FOUND.
 *
 * Rejected: one environment for all (one writer lock: workers wait for each
 * other's commits); keys dealt out to slots by hash (same); robust pthread
 * mutexes in the file (a power cut leaves them locked by nobody, and damage in
 * them is undefined behaviour); fcntl locks per key (two system calls a claim).
 */
#include "net/store_lmdb.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_DEFAULT (UINT64_C(4) << 30)
#define MAP_LEAST (UINT64_C(1) << 20)
#define READERS 1022
#define KEY_LOCKS 2048u
#define LOCK_SPINS 100
#define LOCK_NAPS 400		/* of 50 us */
#define SUSPECT 2		/* crashes that shut an environment out */
#define EACH_BATCH 256

static const char shared_format[16] = "spurn store 1";
static const char row_format[] = "spurn rows 1";

struct shared {
	char format[16];
	_Atomic uint64_t stamp;
	_Atomic uint32_t generation;	/* changes when a slot appears or is made anew */
	_Atomic uint32_t high;		/* slots from here on were never used */
	_Atomic uint32_t longest[STORE_TABLE_COUNT];	/* life of an entry, seconds */
	_Atomic uint32_t suspect[STORE_SLOTS];		/* crashes while reading it */
	_Atomic uint64_t lock[KEY_LOCKS];
};

struct slot {
	unsigned number;
	struct pending pending;
	MDB_env *env;			/* NULL: not open */
	MDB_txn *reader;		/* reset between looks; NULL before the first */
	MDB_dbi tables[STORE_TABLE_COUNT], main;
	dev_t device;
	ino_t inode;
	const char *trouble;		/* why part of it cannot be read */
};

struct lmdb_store {
	struct store store;
	struct store_conf conf;
	int directory, pending_directory;
	struct shared *shared;		/* mapped; for a reader that found none a private one */
	bool shared_mapped;
	uint32_t generation;		/* as of the last refresh */
	struct slot slots[STORE_SLOTS];
	uint8_t present[STORE_SLOTS];
	size_t count;			/* of present */
	struct slot *own;		/* NULL: reader */
	struct writer writer;
	uint64_t puts, deletes, saved, failures;
	const char *trouble;
	char error[160];
};

_Thread_local volatile sig_atomic_t store_inside;
static struct shared *crash_notes;

void store_crashed(void)
{
	int slot = store_inside - 1;

	store_inside = 0;
	if (crash_notes && slot >= 0 && slot < (int)STORE_SLOTS)
		atomic_fetch_add(&crash_notes->suspect[slot], 1);
}

struct writer *store_writer(struct store *store)
{
	return &((struct lmdb_store *)store)->writer;
}

static void environment_assert(MDB_env *env, const char *text)
{
	store_crashed();	/* LMDB prints the text and aborts */
}

/* ---- time ---- */

static uint64_t wall_now(void)
{
	struct timespec t;

	if (clock_is_fake())
		return (uint64_t)clock_wall();
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

/* Tells the writer thread the time too, if it is a fake one. */
static uint32_t seconds_now(struct lmdb_store *s)
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

static void stamp_raise(struct lmdb_store *s, uint64_t least)
{
	uint64_t last = atomic_load(&s->shared->stamp);

	while (last < least && !atomic_compare_exchange_weak(&s->shared->stamp, &last, least))
		;
}

/* ---- rows ---- */

enum { ROW_VALUE, ROW_TOMBSTONE, ROW_HIDING };

size_t row_write(uint8_t out[ROW_MAX], const struct store_entry *entry)
{
	unsigned kind = entry->tombstone ? ROW_TOMBSTONE : entry->hides ? ROW_HIDING : ROW_VALUE;
	uint64_t stamp = (entry->stamp & ~UINT64_C(3)) | kind;
	size_t n = 12;

	memcpy(out, &stamp, 8);
	memcpy(out + 8, entry->tombstone ? &entry->hides : &entry->expires, 4);
	if (kind == ROW_HIDING) {
		memcpy(out + n, &entry->hides, 4);
		n += 4;
	}
	if (kind != ROW_TOMBSTONE) {
		memcpy(out + n, entry->bytes, entry->length);
		n += entry->length;
	}
	return n;
}

bool row_read(struct store_entry *out, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	struct store_entry e = { .stamp = 0 };

	if (n < 12 || n > ROW_MAX)
		return false;
	memcpy(&e.stamp, p, 8);
	memcpy(&e.expires, p + 8, 4);
	unsigned kind = e.stamp & 3;
	e.stamp &= ~UINT64_C(3);
	p += 12;
	n -= 12;
	if (kind == ROW_TOMBSTONE) {
		e.tombstone = 1;
		e.hides = e.expires;
	}
	if (kind == ROW_HIDING) {
		if (n < 4)
			return false;
		memcpy(&e.hides, p, 4);
		p += 4;
		n -= 4;
	}
	if (kind > ROW_HIDING || n > STORE_VALUE_MAX || (kind == ROW_TOMBSTONE && n > 0))
		return false;
	memcpy(e.bytes, p, n);
	e.length = (uint8_t)n;
	*out = e;
	return true;
}

static struct store_value value_of(const struct store_entry *entry)
{
	struct store_value v = { .length = entry->length, .expires = entry->expires };

	memcpy(v.bytes, entry->bytes, entry->length);
	return v;
}

/* ---- environments ---- */

static bool error_is_damage(int rc)
{
	return rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND ||
		rc == MDB_PANIC || rc == MDB_INCOMPATIBLE || rc == MDB_BAD_DBI;
}

/* Constant texts only: they outlive the store. */
static const char *error_text(int rc)
{
	return rc > 0 ? strerrordesc_np(rc) : mdb_strerror(rc);
}

/* A file shorter than its last page would be a SIGBUS later. */
static bool environment_is_whole(MDB_env *env)
{
	MDB_envinfo about;
	MDB_stat stat;
	struct stat st;
	mdb_filehandle_t fd;

	return mdb_env_info(env, &about) == 0 && mdb_env_stat(env, &stat) == 0 && mdb_env_get_fd(env, &fd) == 0 &&
		fstat(fd, &st) == 0 && (uint64_t)st.st_size >= ((uint64_t)about.me_last_pgno + 1) * stat.ms_psize;
}

/* Our format and tables, in a transaction of their own. */
static int environment_tables(struct slot *slot, bool ours)
{
	MDB_val name = { 6, (void *)"format" }, found, wanted = { sizeof(row_format), (void *)row_format };
	MDB_txn *txn;
	int rc = mdb_txn_begin(slot->env, NULL, ours ? 0 : MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &slot->main);
	if (!rc)
		rc = mdb_get(txn, slot->main, &name, &found);
	if (rc == MDB_NOTFOUND && ours)
		rc = mdb_put(txn, slot->main, &name, &wanted, 0);
	else if (!rc && (found.mv_size != wanted.mv_size || memcmp(found.mv_data, row_format, wanted.mv_size) != 0))
		rc = MDB_VERSION_MISMATCH;
	for (int t = 0; !rc && t < STORE_TABLE_COUNT; t++)
		rc = mdb_dbi_open(txn, store_table_name(t), ours ? MDB_CREATE : 0, &slot->tables[t]);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static void environment_close(struct slot *slot)
{
	if (slot->reader)
		mdb_txn_abort(slot->reader);
	if (slot->env)
		mdb_env_close(slot->env);
	slot->reader = NULL;
	slot->env = NULL;
}

/* map: 0 for one that another writes. */
static int environment_open(const struct lmdb_store *s, struct slot *slot, size_t map)
{
	bool ours = map != 0;
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (ours ? 0 : MDB_RDONLY) |
		(s->conf.synchronous ? MDB_NOSYNC : 0);
	char path[512];
	int rc = mdb_env_create(&slot->env);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/%u", s->conf.directory, slot->number);
	mdb_env_set_assert(slot->env, environment_assert);
	mdb_env_set_maxdbs(slot->env, STORE_TABLE_COUNT);
	mdb_env_set_maxreaders(slot->env, READERS);
	mdb_env_set_mapsize(slot->env, map);	/* 0: as its owner has it */
	store_inside = (int)slot->number + 1;
	rc = mdb_env_open(slot->env, path, flags, 0600);
	if (!rc && !environment_is_whole(slot->env))
		rc = MDB_CORRUPTED;
	if (!rc)
		rc = environment_tables(slot, ours);
	store_inside = 0;
	if (rc)
		environment_close(slot);
	return rc;
}

/* Begins to read: a snapshot of now. */
static int environment_enter(struct slot *slot)
{
	for (int i = 0;; i++) {
		int rc = slot->reader ? mdb_txn_renew(slot->reader) :
			mdb_txn_begin(slot->env, NULL, MDB_RDONLY, &slot->reader);
		if (rc != MDB_MAP_RESIZED || i == STORE_RETRIES)
			return rc;
		mdb_env_set_mapsize(slot->env, 0);	/* its owner has a larger one now */
	}
}

/* 0, MDB_NOTFOUND, or an error. */
static int environment_find(struct slot *slot, enum store_table t, const struct store_key *key, struct store_entry *out)
{
	MDB_val k = { sizeof(key->bytes), (void *)key->bytes }, v;
	int rc;

	store_inside = (int)slot->number + 1;
	rc = environment_enter(slot);
	if (!rc) {
		rc = mdb_get(slot->reader, slot->tables[t], &k, &v);
		if (!rc && !row_read(out, v.mv_data, v.mv_size))
			rc = MDB_CORRUPTED;
		mdb_txn_reset(slot->reader);
	}
	store_inside = 0;
	if (!rc)
		out->table = (uint8_t)t;
	return rc;
}

ptrdiff_t environment_used(MDB_env *env, MDB_txn *txn)
{
	MDB_envinfo about;
	MDB_cursor *cursor;
	MDB_val k, v;
	size_t free_pages = 0, count;
	int rc;

	if (mdb_env_info(env, &about) || mdb_cursor_open(txn, 0, &cursor))	/* 0: the list of free pages */
		return -1;
	while ((rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
		memcpy(&count, v.mv_data, sizeof(count));
		free_pages += count;
	}
	mdb_cursor_close(cursor);
	if (rc != MDB_NOTFOUND || free_pages > about.me_last_pgno)
		return -1;
	return (ptrdiff_t)(about.me_last_pgno + 1 - free_pages);
}

/* ---- the slots of others ---- */

static bool file_is(int directory, const char *name, bool open, dev_t device, ino_t inode)
{
	struct stat st;

	return open && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == device &&
		st.st_ino == inode;
}

static void slot_refresh_environment(struct lmdb_store *s, struct slot *slot)
{
	char name[32];
	struct stat st;
	int rc;

	snprintf(name, sizeof(name), "%u/data.mdb", slot->number);
	if (file_is(s->directory, name, slot->env != NULL, slot->device, slot->inode) &&
	    atomic_load(&s->shared->suspect[slot->number]) < SUSPECT)
		return;
	environment_close(slot);
	if (fstatat(s->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			slot->trouble = strerrordesc_np(errno);
		return;
	}
	if (atomic_load(&s->shared->suspect[slot->number]) >= SUSPECT) {
		slot->trouble = "shut out after crashes while it was read";
		return;
	}
	slot->device = st.st_dev;
	slot->inode = st.st_ino;
	rc = environment_open(s, slot, 0);
	/* Without tables it is being made at this moment; there is nothing in it. */
	if (rc && rc != MDB_NOTFOUND && rc != ENOENT)
		slot->trouble = error_text(rc);
}

static void slot_refresh(struct lmdb_store *s, struct slot *slot)
{
	char name[32];
	const char *why = NULL;

	slot->trouble = NULL;
	snprintf(name, sizeof(name), "%u/pending", slot->number);
	if (!file_is(s->pending_directory, name, slot->pending.map != NULL, slot->pending.device, slot->pending.inode)) {
		pending_close(&slot->pending);
		if (pending_open(&slot->pending, s->pending_directory, slot->number, false, &why) == PENDING_FAILED)
			slot->trouble = why;
	}
	slot_refresh_environment(s, slot);
}

/* Opens what has appeared, closes what has gone. */
static void slots_refresh(struct lmdb_store *s)
{
	uint32_t generation = atomic_load(&s->shared->generation), high = atomic_load(&s->shared->high);

	s->count = 0;
	s->trouble = NULL;
	for (unsigned i = 0; i < STORE_SLOTS && i < high; i++) {
		struct slot *slot = &s->slots[i];
		if (slot != s->own)
			slot_refresh(s, slot);
		if (slot->pending.map || slot->env || slot->trouble)
			s->present[s->count++] = (uint8_t)i;
		if (slot->trouble)
			s->trouble = slot->trouble;
	}
	s->generation = generation;
}

static inline void slots_current(struct lmdb_store *s)
{
	if (__builtin_expect(atomic_load_explicit(&s->shared->generation, memory_order_acquire) != s->generation, 0))
		slots_refresh(s);
}

/* ---- looking ---- */

/* What all slots say of a key. */
struct look {
	bool found, failed;
	struct store_entry newest;
	bool pending;			/* our pending table has it, there: */
	uint32_t at;
	uint64_t word;
	bool committed;			/* our environment has a row, or may soon */
	uint32_t elsewhere;		/* until when what others have lives; 0: they have nothing */
};

static void look_add(struct look *l, const struct store_entry *entry, bool ours, uint32_t now)
{
	if (!l->found || entry->stamp > l->newest.stamp)
		l->newest = *entry;
	l->found = true;
	if (!ours && entry_is_live(entry, now) && entry->expires > l->elsewhere)
		l->elsewhere = entry->expires;
}

static void look_around(struct lmdb_store *s, enum store_table t, const struct store_key *key, uint32_t now,
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
		int rc = slot->env ? environment_find(slot, t, key, &entry) : MDB_NOTFOUND;
		if (rc == 0) {
			look_add(l, &entry, ours, now);
			l->committed |= ours;
		} else if (rc != MDB_NOTFOUND) {
			s->trouble = error_text(rc);
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
	uint32_t now = seconds_now(s);
	struct look l;

	look_around(s, t, key, now, &l);
	if (l.found && entry_is_live(&l.newest, now)) {
		*out = value_of(&l.newest);
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
	uint32_t now = seconds_now(s);

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
		look_around(s, t, key, seconds_now(s), &l);
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

/* Does the process named in a lock's word still live? */
static bool holder_lives(struct lmdb_store *s, uint64_t word)
{
	uint64_t number = (word >> 32) - 1;
	struct slot *slot;
	pid_t holder;

	if (number >= STORE_SLOTS)
		return false;
	slot = &s->slots[number];
	if (slot == s->own)	/* we hold that slot, and we are not inside */
		return false;
	if (!slot->pending.map)
		slots_refresh(s);
	holder = pending_holder(&slot->pending);
	/* A process of another name space has no number here. */
	return holder != 0 && (holder < 0 || (uint32_t)holder == (uint32_t)word);
}

static bool lock_take(struct lmdb_store *s, _Atomic uint64_t *lock)
{
	uint64_t mine = ((uint64_t)(s->own->number + 1) << 32) | (uint32_t)getpid();
	const struct timespec nap = { 0, 50000 };

	for (int i = 0; i < LOCK_SPINS + LOCK_NAPS; i++) {
		uint64_t seen = 0;
		if (atomic_compare_exchange_strong(lock, &seen, mine))
			return true;
		if (i < LOCK_SPINS)
			continue;
		if (!holder_lives(s, seen) && atomic_compare_exchange_strong(lock, &seen, mine))
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
	uint32_t now = seconds_now(s);
	struct look l;
	enum store_status status;

	look_around(s, t, key, now, &l);
	if (l.found && entry_is_live(&l.newest, now)) {
		*existing = value_of(&l.newest);
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
	_Atomic uint64_t *lock = &s->shared->lock[hash % KEY_LOCKS];
	if (!lock_take(s, lock))
		return STORE_TROUBLE;
	status = claim_locked(s, t, key, value, won, existing);
	atomic_store(lock, 0);
	return status;
}

/* ---- walking and counting ---- */

struct walk {
	struct lmdb_store *s;
	enum store_table table;
	bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value);
	void *arg;
	uint64_t began;			/* stamp: later entries are not of this walk */
	bool stopped;
};

/* Shows the entry if it is the newest of its key. */
static void walk_offer(struct walk *w, const struct store_key *key, const struct store_entry *entry)
{
	uint32_t now = seconds_now(w->s);
	struct store_value value;
	struct look l;

	if (w->stopped || !entry_is_live(entry, now))
		return;
	look_around(w->s, w->table, key, now, &l);
	if (!l.found || l.newest.stamp != entry->stamp)
		return;
	value = value_of(entry);
	w->stopped = !w->fn(w->arg, key, &value);
}

/* The rows behind *last, a batch in one transaction: fn may take its time between batches. Returns how many. */
static size_t walk_batch(struct walk *w, struct slot *slot, uint8_t last[16], bool first, struct store_key *keys,
	struct store_entry *entries)
{
	MDB_val k = { 16, last }, v;
	MDB_cursor *cursor;
	size_t n = 0;

	store_inside = (int)slot->number + 1;
	if (environment_enter(slot) == 0) {
		if (mdb_cursor_open(slot->reader, slot->tables[w->table], &cursor) == 0) {
			int rc = mdb_cursor_get(cursor, &k, &v, first ? MDB_FIRST : MDB_SET_RANGE);
			if (!first && !rc && k.mv_size == 16 && memcmp(k.mv_data, last, 16) == 0)
				rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
			for (; !rc && n < EACH_BATCH; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
				if (k.mv_size != 16 || !row_read(&entries[n], v.mv_data, v.mv_size))
					continue;
				memcpy(keys[n++].bytes, k.mv_data, 16);
			}
			mdb_cursor_close(cursor);
		}
		mdb_txn_reset(slot->reader);
	}
	store_inside = 0;
	if (n)
		memcpy(last, keys[n - 1].bytes, 16);
	return n;
}

static int key_order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct store_key));
}

static void walk_slot(struct walk *w, struct slot *slot, struct arena *a)
{
	struct store_key *shown = arena_array(a, struct store_key, PENDING_SLOTS);
	struct store_key *keys = arena_array(a, struct store_key, EACH_BATCH);
	struct store_entry *entries = arena_array(a, struct store_entry, EACH_BATCH), entry;
	uint8_t last[16];
	size_t n = 0, found;
	bool first = true;

	for (uint32_t i = 0; slot->pending.map && i < PENDING_SLOTS && !w->stopped; i++) {
		if (!pending_at(&slot->pending, i, &shown[n], &entry) || entry.table != w->table)
			continue;
		walk_offer(w, &shown[n], &entry);
		n++;
	}
	/* What has been committed since is not shown twice. */
	qsort(shown, n, sizeof(*shown), key_order);
	while (slot->env && !w->stopped && (found = walk_batch(w, slot, last, first, keys, entries)) > 0) {
		first = false;
		for (size_t i = 0; i < found; i++)
			if (!bsearch(&keys[i], shown, n, sizeof(*shown), key_order))
				walk_offer(w, &keys[i], &entries[i]);
	}
}

static void lmdb_each(struct store *store, enum store_table t,
	bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value), void *arg)
{
	struct walk w = { .s = (struct lmdb_store *)store, .table = t, .fn = fn, .arg = arg };
	uint8_t present[STORE_SLOTS];
	size_t count;

	slots_current(w.s);
	count = w.s->count;
	memcpy(present, w.s->present, count);
	for (size_t i = 0; i < count && !w.stopped; i++) {
		struct arena a = ARENA_INIT;
		walk_slot(&w, &w.s->slots[present[i]], &a);
		arena_drop(&a);
	}
}

static void slot_stats(struct slot *slot, struct store_stats *out)
{
	MDB_envinfo about;
	MDB_stat stat;

	if (!slot->env)
		return;
	store_inside = (int)slot->number + 1;
	if (environment_enter(slot) == 0) {
		ptrdiff_t used = environment_used(slot->env, slot->reader);
		for (int t = 0; t < STORE_TABLE_COUNT; t++)
			if (mdb_stat(slot->reader, slot->tables[t], &stat) == 0)
				out->entries[t] += stat.ms_entries;
		if (used >= 0 && mdb_env_info(slot->env, &about) == 0 && mdb_env_stat(slot->env, &stat) == 0 &&
		    (size_t)used * stat.ms_psize >= out->map_used) {
			out->map_used = (size_t)used * stat.ms_psize;
			out->map_size = about.me_mapsize;
		}
		mdb_txn_reset(slot->reader);
	}
	store_inside = 0;
}

static void lmdb_stats(struct store *store, struct store_stats *out)
{
	struct lmdb_store *s = (struct lmdb_store *)store;
	struct writer *w = &s->writer;

	slots_current(s);
	for (size_t i = 0; i < s->count; i++) {
		struct slot *slot = &s->slots[s->present[i]];
		slot_stats(slot, out);
		if (slot->pending.map && (!s->own || slot == s->own))
			out->pending += pending_count(&slot->pending);
	}
	out->puts = s->puts;
	out->deletes = s->deletes;
	out->saved = s->saved;
	out->failures = s->failures;
	if (s->own) {
		out->slot = s->own->number;
		out->commits = atomic_load(&w->commits);
		out->evicted = atomic_load(&w->evicted);
		out->expired = atomic_load(&w->expired);
		out->failures += atomic_load(&w->failures);
		if (writer_error(w, s->error))
			out->last_error = s->error;
	}
	if (s->trouble)
		out->last_error = s->trouble;
}

/* ---- opening and closing ---- */

static struct shared *shared_map(int directory, bool reader)
{
	int fd = openat(directory, "shared", (reader ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
	void *map = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size == sizeof(struct shared))
		map = mmap(NULL, sizeof(struct shared), reader ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return NULL;
	if (memcmp(((struct shared *)map)->format, shared_format, sizeof(shared_format)) == 0)
		return map;
	munmap(map, sizeof(struct shared));
	return NULL;
}

/* Nothing in it is lost by making it anew: stamps are raised from what is found, locks are free. */
static bool shared_open(struct lmdb_store *s, struct arena *a, bool reader, const char **why)
{
	int directory = s->pending_directory, fd;
	struct shared *fresh;

	s->shared = shared_map(directory, reader);
	s->shared_mapped = s->shared != NULL;
	if (s->shared)
		return true;
	fresh = arena_new(a, struct shared);
	memcpy(fresh->format, shared_format, sizeof(shared_format));
	fresh->high = STORE_SLOTS;
	if (reader) {
		s->shared = fresh;
		return true;
	}
	fd = openat(directory, "shared.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, fresh, sizeof(*fresh)) == (ssize_t)sizeof(*fresh) &&
	    renameat(directory, "shared.new", directory, "shared") == 0)
		s->shared = shared_map(directory, false);
	s->shared_mapped = s->shared != NULL;
	if (!s->shared)
		*why = strerrordesc_np(errno);
	if (fd >= 0)
		close(fd);
	return s->shared_mapped;
}

/* Our environment, moved aside and made anew if it is damaged. */
static bool own_environment(struct lmdb_store *s, const char **warning, const char **why)
{
	static const char *const parts[] = { "data.mdb", "lock.mdb" };
	struct slot *slot = s->own;
	_Atomic uint32_t *suspect = &s->shared->suspect[slot->number];
	int rc = MDB_CORRUPTED;

	if (atomic_load(suspect) < SUSPECT)
		rc = environment_open(s, slot, s->conf.map_size);
	if (error_is_damage(rc)) {
		*warning = rc == MDB_CORRUPTED ? "environment was damaged, moved aside to data.mdb.bad" :
			"environment was damaged or of another version, moved aside to data.mdb.bad";
		for (size_t i = 0; i < 2; i++) {
			char from[40], to[40];
			snprintf(from, sizeof(from), "%u/%s", slot->number, parts[i]);
			snprintf(to, sizeof(to), "%u/%s.bad", slot->number, parts[i]);
			renameat(s->directory, from, s->directory, to);
		}
		atomic_store(suspect, 0);
		rc = environment_open(s, slot, s->conf.map_size);
	}
	if (rc)
		*why = error_text(rc);
	return rc == 0;
}

/* The slot of this worker, or one that stands in for it. */
static bool own_pending(struct lmdb_store *s, const char **warning, const char **why)
{
	unsigned number = s->conf.slot;

	for (;;) {
		struct slot *slot = &s->slots[number];
		char name[16];
		snprintf(name, sizeof(name), "%u", number);
		if ((mkdirat(s->directory, name, 0700) < 0 && errno != EEXIST) ||
		    (mkdirat(s->pending_directory, name, 0700) < 0 && errno != EEXIST)) {
			*why = strerrordesc_np(errno);
			return false;
		}
		switch (pending_open(&slot->pending, s->pending_directory, number, true, why)) {
		case PENDING_NEW:
			*warning = "pending table was damaged or of another version, moved aside to pending.bad";
			/* fall through */
		case PENDING_OPEN:
			s->own = slot;
			return true;
		case PENDING_BUSY:
			number = number < STORE_STAND_IN ? STORE_STAND_IN : number + 1;
			if (number < STORE_SLOTS)
				continue;
			*why = "no free slot";
			return false;
		default:
			return false;
		}
	}
}

/* The highest stamp that the environment has seen. */
static uint64_t environment_newest(struct slot *slot)
{
	MDB_val name = { 5, (void *)"stamp" }, found;
	uint64_t newest = 0;

	store_inside = (int)slot->number + 1;
	if (environment_enter(slot) == 0) {
		if (mdb_get(slot->reader, slot->main, &name, &found) == 0 && found.mv_size == sizeof(newest))
			memcpy(&newest, found.mv_data, sizeof(newest));
		mdb_txn_reset(slot->reader);
	}
	store_inside = 0;
	return newest;
}

static bool own_open(struct lmdb_store *s, struct arena *a, const char **warning, const char **why)
{
	struct writer *w = &s->writer;
	const char *damage = NULL;
	uint32_t high;
	int dead;

	if (!own_pending(s, warning, why) || !own_environment(s, &damage, why))
		return false;
	if (damage)
		*warning = *warning ? "pending table and environment were damaged, moved aside to *.bad" : damage;
	mdb_reader_check(s->own->env, &dead);
	stamp_raise(s, pending_newest(&s->own->pending));
	stamp_raise(s, environment_newest(s->own));

	w->pending = &s->own->pending;
	w->env = s->own->env;
	w->main = s->own->main;
	memcpy(w->tables, s->own->tables, sizeof(w->tables));
	w->slot = s->own->number;
	w->linger = (s->conf.linger_ms ? s->conf.linger_ms : 500) * NS_PER_MS;
	w->running = !s->conf.synchronous;
	seconds_now(s);
	if (!writer_start(w, a, why))
		return false;

	high = atomic_load(&s->shared->high);
	while (high < w->slot + 1 && !atomic_compare_exchange_weak(&s->shared->high, &high, w->slot + 1))
		;
	atomic_fetch_add(&s->shared->generation, 1);
	return true;
}

static void lmdb_drop(struct lmdb_store *s)
{
	for (size_t i = 0; i < STORE_SLOTS; i++) {
		environment_close(&s->slots[i]);
		pending_close(&s->slots[i].pending);
	}
	if (crash_notes == s->shared)
		crash_notes = NULL;
	if (s->shared_mapped)
		munmap(s->shared, sizeof(*s->shared));
	if (s->pending_directory >= 0 && s->pending_directory != s->directory)
		close(s->pending_directory);
}

static void lmdb_close(struct store *store)
{
	struct lmdb_store *s = (struct lmdb_store *)store;

	if (s->own)
		writer_stop(&s->writer);
	lmdb_drop(s);
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

static bool pending_enter(struct lmdb_store *s, const char **why)
{
	const char *path = s->conf.pending_directory;

	s->pending_directory = s->directory;
	if (!path)
		return true;
	if (s->conf.slot != STORE_READ_ONLY && mkdir(path, 0700) < 0 && errno != EEXIST) {
		*why = strerrordesc_np(errno);
		return false;
	}
	s->pending_directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->pending_directory < 0)
		*why = strerrordesc_np(errno);
	return s->pending_directory >= 0;
}

struct store *store_lmdb_open(struct arena *a, const struct store_conf *conf, int directory, const char **why)
{
	struct lmdb_store *s = arena_new(a, struct lmdb_store);
	bool reader = conf->slot == STORE_READ_ONLY;
	const char *warning = NULL;

	s->store.methods = &lmdb_methods;
	s->conf = *conf;
	s->conf.directory = arena_copy(a, conf->directory, strlen(conf->directory));
	if (!conf->map_size)
		s->conf.map_size = MAP_DEFAULT;
	if (s->conf.map_size < MAP_LEAST)
		s->conf.map_size = MAP_LEAST;
	s->conf.map_size &= ~(size_t)0xffff;	/* whole pages, whatever their size */
	s->directory = s->pending_directory = directory;
	for (unsigned i = 0; i < STORE_SLOTS; i++) {
		s->slots[i].number = i;
		s->slots[i].pending.fd = -1;
	}
	if (!reader && conf->slot >= STORE_STAND_IN) {
		*why = "slot number too high";
		return NULL;
	}
	if (!pending_enter(s, why) || !shared_open(s, a, reader, why)) {
		lmdb_drop(s);
		return NULL;
	}
	crash_notes = reader ? NULL : s->shared;
	if (!reader && !own_open(s, a, &warning, why)) {
		lmdb_drop(s);
		return NULL;
	}
	slots_refresh(s);
	*why = warning;
	return &s->store;
}
