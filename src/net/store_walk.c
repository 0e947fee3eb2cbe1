/*
 * Walks and counts of the embedded store: for the tool and the status page.
 *
 * A walk shows each live key once, with its newest value. It reads a batch of
 * rows in one transaction and shows them outside, so that however long the caller
 * takes, no page of a writer is held back. Pending entries come first and
 * are remembered, because they may be committed meanwhile.
 */
#include "net/store_lmdb.h"

#include <stdlib.h>

#define EACH_BATCH 256

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
	uint32_t now = store_seconds(w->s);
	struct store_value value;
	struct look l;

	if (w->stopped || !entry_is_live(entry, now))
		return;
	look_around(w->s, w->table, key, now, &l);
	if (!l.found || l.newest.stamp != entry->stamp)
		return;
	value = entry_value(entry);
	w->stopped = !w->fn(w->arg, key, &value);
}

/* The rows behind *last, a batch in one transaction: fn may take its time between batches. Returns how many. */
static size_t walk_batch(struct walk *w, struct environment *e, uint8_t last[16], bool first, struct store_key *keys,
	struct store_entry *entries)
{
	MDB_val k = { 16, last }, v;
	MDB_cursor *cursor;
	size_t n = 0;

	if (environment_enter(e) != 0)
		return 0;
	if (mdb_cursor_open(e->reader, e->tables[w->table], &cursor) == 0) {
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
	environment_leave(e);
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
	while (slot->environment.env && !w->stopped &&
	       (found = walk_batch(w, &slot->environment, last, first, keys, entries)) > 0) {
		first = false;
		for (size_t i = 0; i < found; i++)
			if (!bsearch(&keys[i], shown, n, sizeof(*shown), key_order))
				walk_offer(w, &keys[i], &entries[i]);
	}
}

void lmdb_each(struct store *store, enum store_table t,
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

static void environment_stats(struct environment *e, struct store_stats *out)
{
	MDB_envinfo about;
	MDB_stat stat;

	if (!e->env || environment_enter(e) != 0)
		return;
	ptrdiff_t used = environment_used(e->env, e->reader);
	for (int t = 0; t < STORE_TABLE_COUNT; t++)
		if (mdb_stat(e->reader, e->tables[t], &stat) == 0)
			out->entries[t] += stat.ms_entries;
	if (used >= 0 && mdb_env_info(e->env, &about) == 0 && mdb_env_stat(e->env, &stat) == 0 &&
	    (size_t)used * stat.ms_psize >= out->map_used) {
		out->map_used = (size_t)used * stat.ms_psize;
		out->map_size = about.me_mapsize;
	}
	environment_leave(e);
}

void lmdb_stats(struct store *store, struct store_stats *out)
{
	struct lmdb_store *s = (struct lmdb_store *)store;
	struct writer *w = &s->writer;

	slots_current(s);
	for (size_t i = 0; i < s->count; i++) {
		struct slot *slot = &s->slots[s->present[i]];
		environment_stats(&slot->environment, out);
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
		for (int t = 0; t < STORE_TABLE_COUNT; t++)
			out->evicted += out->evicted_of[t] = atomic_load(&w->evicted[t]);
		out->expired = atomic_load(&w->expired);
		out->failures += atomic_load(&w->failures);
		if (writer_error(w, s->error))
			out->last_error = s->error;
	}
	if (s->trouble)
		out->last_error = s->trouble;
}
