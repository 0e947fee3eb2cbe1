/*
 * The writer: the one thread of a worker, between its pending table and its environment.
 *
 * It writes what has stood unchanged since its last look, one linger ago
 * (500 ms): so an entry is committed when it is 0.5 to 1 s old, and an entry
 * that is deleted sooner, as the commit ledger's mostly are, or that is being
 * updated, never costs a transaction. It compares the words of the table
 * with those of the last look; no timestamps, no queue. When the table is
 * half full it takes everything at once. With nothing pending it sleeps, and a
 * put wakes it at most once a linger.
 *
 * Each commit is synced (two fdatasync a second at most, off the mail path), so
 * LMDB's copy-on-write keeps the environment whole over a power cut. MDB_NOSYNC was
 * rejected: it saves little at this pace and risks the whole environment.
 *
 * Order of things: mark the slot (from then on a delete leaves a tombstone), write,
 * commit, free the slot if it is still the same. A kill between commit and
 * freeing writes it once more.
 *
 * Expiry is a sweep. Each table is walked round and round in small batches, the
 * faster the more garbage it finds (pause halved above a fifth, doubled below
 * a twentieth), so garbage settles at 5 to 20 percent. Expired entries are
 * never shown, so this is only about room. Rejected: an index ordered by
 * expiry; it costs half as much again per entry, and its deletions hit a random
 * page each, where a sweep rewrites each page once for all of its garbage.
 *
 * Eviction begins when seven eighths of the map are in use and ends at thirteen
 * sixteenths: batches of neighbouring keys, which are hashes, so it is a
 * random choice that frees whole pages. Transactions are small against the map
 * (chunk), so there is always room to delete in. If the map is full all the
 * same, the entries stay pending; mail never meets MDB_MAP_FULL.
 *
 * The thread blocks all signals and uses these system calls: futex, lseek,
 * writev, pwrite64, fdatasync, fcntl (F_GETLK, for dead readers), clock_gettime (vDSO),
 * and brk, mmap, mremap, munmap, mprotect, madvise of malloc inside LMDB; at its
 * beginning and end set_robust_list, rseq, rt_sigprocmask, exit.
 */
#include "net/store_lmdb.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#define STACK_SIZE (256u * 1024u)
#define CHUNK_MOST 4096u
#define SWEEP_VISITS 4000u
#define SWEEP_PAUSE_LEAST (100 * NS_PER_MS)
#define SWEEP_PAUSE_MOST (60 * NS_PER_SECOND)
#define READERS_EVERY (30 * NS_PER_SECOND)
#define FULL_TRIES 8
#define EVICT_BATCHES 8
#define BACKOFF (2 * NS_PER_SECOND)

/* Real time: it paces itself, whatever the fake clock says to the mail code. */
static nanoseconds now_real(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (nanoseconds)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

static uint32_t expiry_now(struct writer *w)
{
	uint32_t fake = atomic_load(&w->fake_now);
	struct timespec t;

	if (fake)
		return fake;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint32_t)t.tv_sec;
}

/* The only place where it fails aloud. */
static void writer_fail(struct writer *w, const char *what, int rc)
{
	atomic_fetch_add(&w->failures, 1);
	pthread_mutex_lock(&w->lock);
	snprintf(w->error, sizeof(w->error), "%s: %s", what, environment_error(rc));
	pthread_mutex_unlock(&w->lock);
}

bool writer_error(struct writer *w, char out[160])
{
	pthread_mutex_lock(&w->lock);
	memcpy(out, w->error, sizeof(w->error));
	pthread_mutex_unlock(&w->lock);
	return out[0] != '\0';
}

/* ---- committing ---- */

/* What is to be written: all, or what is the same as at the last look. */
static size_t pick_ripe(struct writer *w, bool all)
{
	size_t n = 0;

	for (uint32_t i = 0; i < PENDING_SLOTS; i++) {
		uint64_t word = pending_word(w->pending, i);
		if ((word & WORD_LIVE) && (all || (word | WORD_WRITING) == (w->before[i] | WORD_WRITING)))
			w->picks[n++] = (struct pick){ i, word };
		w->before[i] = word;
	}
	return n;
}

static int entry_commit(struct writer *w, MDB_txn *txn, const struct store_key *key, const struct store_entry *entry)
{
	uint8_t row[ROW_MAX];
	MDB_val k = { sizeof(key->bytes), (void *)key->bytes }, v = { 0, row };
	int rc;

	if (entry->table >= STORE_TABLE_COUNT)
		return 0;
	if (entry->tombstone && !entry->hides) {
		rc = mdb_del(txn, w->tables[entry->table], &k, NULL);
		return rc == MDB_NOTFOUND ? 0 : rc;
	}
	v.mv_size = row_write(row, entry);
	return mdb_put(txn, w->tables[entry->table], &k, &v, 0);
}

/* Writes the picks in one transaction. Picks that changed meanwhile get a word of 0. */
static int picks_commit(struct writer *w, struct pick *picks, size_t n)
{
	MDB_val name = { sizeof(ENVIRONMENT_NEWEST) - 1, (void *)ENVIRONMENT_NEWEST }, value = { sizeof(w->newest), &w->newest };
	MDB_txn *txn;
	int rc = mdb_txn_begin(w->env, NULL, 0, &txn);

	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < n; i++) {
		struct store_key key;
		struct store_entry entry;
		uint64_t word = picks[i].word;
		if (!pending_take(w->pending, picks[i].at, &word, &key, &entry)) {
			picks[i].word = 0;
			continue;
		}
		picks[i].word = word;
		w->before[picks[i].at] = word;
		if (entry.stamp > w->newest)
			w->newest = entry.stamp;
		rc = entry_commit(w, txn, &key, &entry);
	}
	if (!rc)
		rc = mdb_put(txn, w->main, &name, &value, 0);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

static bool evict_batch(struct writer *w);

/* false: they stay pending. */
static bool picks_write(struct writer *w, size_t n)
{
	for (size_t from = 0; from < n; from += w->chunk) {
		size_t count = n - from < w->chunk ? n - from : w->chunk;
		int rc;

		environment_inside_set(w->slot);
		rc = picks_commit(w, w->picks + from, count);
		for (int i = 0; rc == MDB_MAP_FULL && i < FULL_TRIES && evict_batch(w); i++) {
			/* The words may have been marked or moved on. */
			for (size_t k = from; k < from + count; k++)
				w->picks[k].word = pending_word(w->pending, w->picks[k].at);
			rc = picks_commit(w, w->picks + from, count);
		}
		environment_inside_clear();
		if (rc) {
			writer_fail(w, "commit", rc);
			return false;
		}
		atomic_fetch_add(&w->commits, 1);
		for (size_t i = from; i < from + count; i++)
			if (w->picks[i].word & WORD_LIVE)
				pending_free(w->pending, w->picks[i].at, w->picks[i].word);
	}
	return true;
}

/* ---- sweeping and evicting ---- */

static bool row_is_gone(const MDB_val *v, uint32_t now)
{
	struct store_entry entry;

	return !row_read(&entry, v->mv_data, v->mv_size) || entry_is_gone(&entry, now);
}

/* Looks at rows behind sw->at, deletes those that are gone, or all. Wraps to the beginning at the end of the
 * table. rc: 0 or an error; *deleted, *visited. */
static int rows_walk(struct writer *w, MDB_txn *txn, enum store_table t, bool all, size_t visits, size_t *deleted,
	size_t *visited)
{
	struct sweep *sw = &w->sweeps[t];
	uint32_t now = expiry_now(w);
	MDB_val k = { 16, sw->at }, v;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(txn, w->tables[t], &cursor);

	if (rc)
		return rc;
	*deleted = *visited = 0;
	for (rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE); !rc && *visited < visits;
	     rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
		(*visited)++;
		if (k.mv_size == 16)
			memcpy(sw->at, k.mv_data, 16);
		if (!all && !row_is_gone(&v, now))
			continue;
		if ((rc = mdb_cursor_del(cursor, 0)) != 0)
			break;
		(*deleted)++;
	}
	mdb_cursor_close(cursor);
	if (rc == MDB_NOTFOUND) {
		memset(sw->at, 0, sizeof(sw->at));
		rc = 0;
	}
	return rc;
}

/* Nothing deleted, nothing committed. false: an error or nothing. */
static bool rows_delete(struct writer *w, enum store_table t, bool all, size_t visits, size_t *deleted, size_t *visited)
{
	MDB_txn *txn;
	int rc;

	*deleted = *visited = 0;
	environment_inside_set(w->slot);
	rc = mdb_txn_begin(w->env, NULL, 0, &txn);
	if (!rc) {
		rc = rows_walk(w, txn, t, all, visits, deleted, visited);
		if (!rc && *deleted)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	environment_inside_clear();
	if (rc && rc != MDB_MAP_FULL)
		writer_fail(w, all ? "evict" : "sweep", rc);
	return rc == 0 && *deleted > 0;
}

size_t writer_sweep(struct writer *w, enum store_table t, size_t visits)
{
	size_t deleted, visited;

	if (visits > w->chunk)
		visits = w->chunk;
	if (!rows_delete(w, t, false, visits, &deleted, &visited))
		return 0;
	atomic_fetch_add(&w->expired, deleted);
	return deleted;
}

static void sweep_due(struct writer *w, nanoseconds now)
{
	for (int t = 0; t < STORE_TABLE_COUNT; t++) {
		struct sweep *sw = &w->sweeps[t];
		size_t deleted, visited, visits = SWEEP_VISITS < w->chunk ? SWEEP_VISITS : w->chunk;

		if (sw->due > now)
			continue;
		if (rows_delete(w, (enum store_table)t, false, visits, &deleted, &visited))
			atomic_fetch_add(&w->expired, deleted);
		if (deleted * 5 > visited)
			sw->pause /= 2;
		else if (deleted * 20 <= visited)
			sw->pause *= 2;
		if (sw->pause < SWEEP_PAUSE_LEAST)
			sw->pause = SWEEP_PAUSE_LEAST;
		if (sw->pause > SWEEP_PAUSE_MOST)
			sw->pause = SWEEP_PAUSE_MOST;
		sw->due = now + sw->pause;
	}
}

/* One batch of the first table that has anything. */
static bool evict_batch(struct writer *w)
{
	for (int t = 0; t < STORE_TABLE_COUNT; t++) {
		size_t deleted, visited;
		/* Twice: the first may only have reached the end of the table. */
		if (rows_delete(w, (enum store_table)t, true, w->chunk, &deleted, &visited) ||
		    rows_delete(w, (enum store_table)t, true, w->chunk, &deleted, &visited)) {
			atomic_fetch_add(&w->evicted[t], deleted);
			return true;
		}
	}
	return false;
}

/* Pages in use, of the whole map. The list of free pages is walked only when the file has grown that far. */
static size_t pages_used(struct writer *w)
{
	MDB_envinfo about;
	MDB_txn *txn;
	ptrdiff_t used;

	if (mdb_env_info(w->env, &about) || about.me_last_pgno + 1 <= w->pages / 16 * 13)
		return 0;
	if (mdb_txn_begin(w->env, NULL, MDB_RDONLY, &txn))
		return 0;
	used = environment_used(w->env, txn);
	mdb_txn_abort(txn);
	return used > 0 ? (size_t)used : 0;
}

/* A few batches a turn, so that what is pending is not kept waiting. true: not done yet. */
static bool evict_some(struct writer *w)
{
	for (int i = 0; i < EVICT_BATCHES; i++) {
		size_t used = pages_used(w);
		if (used >= w->pages / 8 * 7)
			w->evicting = true;
		if (used <= w->pages / 16 * 13)
			w->evicting = false;
		if (!w->evicting)
			return false;
		if (!evict_batch(w)) {
			w->evicting = false;
			return false;
		}
	}
	return true;
}

/* ---- the thread ---- */

struct turn {
	bool all, stop, wanted;
	uint64_t asked;
};

/* After a failure only what waits for us is urgent: the table may well stay full. */
static bool something_is_wanted(const struct writer *w)
{
	return w->stop || w->wanted != w->done || (atomic_load(&w->urgent) && !w->backoff_until);
}

/* Sleeps until the moment, a put after nothing was pending, or somebody's wish. */
static struct turn writer_sleep(struct writer *w, nanoseconds until)
{
	struct timespec t = { until / NS_PER_SECOND, until % NS_PER_SECOND };
	struct turn turn;
	bool idle = atomic_load(&w->pending->used) == 0;

	pthread_mutex_lock(&w->lock);
	atomic_store(&w->idle, idle);
	while (!something_is_wanted(w) && !(idle && atomic_load(&w->pending->used) > 0) &&
	       pthread_cond_timedwait(&w->wake, &w->lock, &t) != ETIMEDOUT)
		;
	atomic_store(&w->idle, false);
	turn = (struct turn){ .stop = w->stop, .wanted = w->wanted != w->done, .asked = w->wanted };
	turn.all = turn.stop || turn.wanted || atomic_exchange(&w->urgent, false);
	pthread_mutex_unlock(&w->lock);
	return turn;
}

static void writer_report(struct writer *w, const struct turn *turn, bool done)
{
	pthread_mutex_lock(&w->lock);
	if (turn->wanted) {
		w->done = turn->asked;
		w->failed = !done;
		pthread_cond_broadcast(&w->finished);
	}
	pthread_mutex_unlock(&w->lock);
}

static nanoseconds next_look(const struct writer *w, nanoseconds now)
{
	nanoseconds next = w->readers_due;

	for (int t = 0; t < STORE_TABLE_COUNT; t++)
		if (w->sweeps[t].due < next)
			next = w->sweeps[t].due;
	/* Something pending, or eviction under way. */
	if (atomic_load(&w->pending->used) > 0 && now + w->linger < next)
		next = now + w->linger;
	if (w->evicting)
		next = now;
	return next > w->backoff_until ? next : w->backoff_until;
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	nanoseconds last = now_real();
	struct turn turn;
	int dead;

	do {
		turn = writer_sleep(w, next_look(w, now_real()));
		nanoseconds now = now_real();
		bool done = true;
		/* A look sooner than a linger after the last would take entries for older than they are. */
		if (turn.all || now - last >= w->linger) {
			done = picks_write(w, pick_ripe(w, turn.all));
			last = now;
		}
		w->backoff_until = done ? 0 : now + BACKOFF;
		evict_some(w);
		if (!turn.stop)
			sweep_due(w, now);
		if (now >= w->readers_due) {
			mdb_reader_check(w->env, &dead);
			w->readers_due = now + READERS_EVERY;
		}
		writer_report(w, &turn, done);
	} while (!turn.stop);
	return NULL;
}

/* ---- the main thread's side ---- */

void writer_notice(struct writer *w, bool urgent)
{
	if (!w->running)
		return;
	if (atomic_load(&w->pending->used) > PENDING_SLOTS / 2)
		urgent = true;
	/* Once each: the first put after a sleep, the first one that finds it full. */
	if (!(urgent && !atomic_exchange(&w->urgent, true)) &&
	    !(atomic_load(&w->idle) && atomic_exchange(&w->idle, false)))
		return;
	pthread_mutex_lock(&w->lock);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

bool writer_flush(struct writer *w)
{
	bool failed;

	if (!w->running) {
		bool done = picks_write(w, pick_ripe(w, true));
		evict_some(w);
		return done;
	}
	pthread_mutex_lock(&w->lock);
	uint64_t mine = ++w->wanted;
	pthread_cond_signal(&w->wake);
	while (w->done < mine)
		pthread_cond_wait(&w->finished, &w->lock);
	failed = w->failed;
	pthread_mutex_unlock(&w->lock);
	return !failed;
}

/* A transaction may use about an eighth of the map: an entry dirties one to two pages. */
static void writer_measure(struct writer *w)
{
	MDB_envinfo about;
	MDB_stat stat;

	mdb_env_info(w->env, &about);
	mdb_env_stat(w->env, &stat);
	w->pages = about.me_mapsize / stat.ms_psize;
	w->chunk = w->pages / 16;
	if (w->chunk > CHUNK_MOST)
		w->chunk = CHUNK_MOST;
	if (w->chunk < 4)
		w->chunk = 4;
}

bool writer_start(struct writer *w, struct arena *a, const char **why)
{
	pthread_condattr_t monotonic;
	pthread_attr_t attributes;
	sigset_t all, old;
	int rc;

	writer_measure(w);
	w->before = arena_array(a, uint64_t, PENDING_SLOTS);
	w->picks = arena_array(a, struct pick, PENDING_SLOTS);
	for (int t = 0; t < STORE_TABLE_COUNT; t++) {
		w->sweeps[t].pause = NS_PER_SECOND;
		w->sweeps[t].due = now_real() + NS_PER_SECOND;
	}
	w->readers_due = now_real() + READERS_EVERY;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&w->finished, NULL);
	if (!w->running)
		return true;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, &attributes, writer_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	w->running = rc == 0;
	if (rc)
		*why = strerrordesc_np(rc);
	return rc == 0;
}

void writer_stop(struct writer *w)
{
	if (w->running) {
		pthread_mutex_lock(&w->lock);
		w->stop = true;
		pthread_cond_signal(&w->wake);
		pthread_mutex_unlock(&w->lock);
		pthread_join(w->thread, NULL);
		w->running = false;
	} else {
		writer_flush(w);
	}
	pthread_cond_destroy(&w->wake);
	pthread_cond_destroy(&w->finished);
	pthread_mutex_destroy(&w->lock);
}
