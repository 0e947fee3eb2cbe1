/*
 * Environments: LMDB as the store uses it.
 *
 * An environment has a table (a database, in LMDB's words) for each store table, keys of 16
 * bytes, and in the main one a line with the format and the highest stamp. A row
 * is a 12-byte head and the value, nothing else: 60 to 96 bytes an entry
 * with all of B-tree, half-full pages included.
 *
 * A reader keeps one transaction, made with MDB_NOTLS, and renews and resets it
 * around each look: half a microsecond, no lock, and no page of the writer
 * is held back while nobody looks.
 *
 * LMDB trusts its pages: a damaged one is an abort or a SIGSEGV, not an error. The
 * cheap signs are looked for at the opening (meta pages, format, a file shorter than its
 * last page). For the rest each process says which environment it is in, and the
 * handler of fatal signals takes note (store_crashed). Rejected: walking
 * all pages at the start, seconds for a large environment, after each restart.
 */
#include "net/store_environment.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define READERS 1022
#define RESIZE_TRIES 8

static const char row_format[] = "spurn rows 1";

_Thread_local volatile sig_atomic_t environment_inside;

static void environment_assert(MDB_env *env, const char *text)
{
	store_crashed();	/* LMDB prints the text and aborts */
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

/* ---- environments ---- */

bool environment_error_is_damage(int rc)
{
	return rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND ||
		rc == MDB_PANIC || rc == MDB_INCOMPATIBLE || rc == MDB_BAD_DBI;
}

/* Constant texts only: they outlive the store. */
const char *environment_error(int rc)
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
static int environment_tables(struct environment *e, bool ours)
{
	MDB_val name = { 6, (void *)"format" }, found, wanted = { sizeof(row_format), (void *)row_format };
	MDB_txn *txn;
	int rc = mdb_txn_begin(e->env, NULL, ours ? 0 : MDB_RDONLY, &txn);

	if (rc)
		return rc;
	rc = mdb_dbi_open(txn, NULL, 0, &e->main);
	if (!rc)
		rc = mdb_get(txn, e->main, &name, &found);
	if (rc == MDB_NOTFOUND && ours)
		rc = mdb_put(txn, e->main, &name, &wanted, 0);
	else if (!rc && (found.mv_size != wanted.mv_size || memcmp(found.mv_data, row_format, wanted.mv_size) != 0))
		rc = MDB_VERSION_MISMATCH;
	for (int t = 0; !rc && t < STORE_TABLE_COUNT; t++)
		rc = mdb_dbi_open(txn, store_table_name(t), ours ? MDB_CREATE : 0, &e->tables[t]);
	if (!rc)
		return mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return rc;
}

void environment_close(struct environment *e)
{
	if (e->reader)
		mdb_txn_abort(e->reader);
	if (e->env)
		mdb_env_close(e->env);
	e->reader = NULL;
	e->env = NULL;
}

int environment_open(struct environment *e, const char *directory, size_t map, bool unsynced)
{
	bool ours = map != 0;
	unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (ours ? 0 : MDB_RDONLY) | (unsynced ? MDB_NOSYNC : 0);
	char path[512];
	int rc = mdb_env_create(&e->env);

	if (rc)
		return rc;
	snprintf(path, sizeof(path), "%s/%u", directory, e->slot);
	mdb_env_set_assert(e->env, environment_assert);
	mdb_env_set_maxdbs(e->env, STORE_TABLE_COUNT);
	mdb_env_set_maxreaders(e->env, READERS);
	mdb_env_set_mapsize(e->env, map);	/* 0: as its owner has it */
	environment_inside_set(e->slot);
	rc = mdb_env_open(e->env, path, flags, 0600);
	if (!rc && !environment_is_whole(e->env))
		rc = MDB_CORRUPTED;
	if (!rc)
		rc = environment_tables(e, ours);
	environment_inside_clear();
	if (rc)
		environment_close(e);
	return rc;
}

int environment_enter(struct environment *e)
{
	int rc;

	environment_inside_set(e->slot);
	for (int i = 0; i < RESIZE_TRIES; i++) {
		rc = e->reader ? mdb_txn_renew(e->reader) : mdb_txn_begin(e->env, NULL, MDB_RDONLY, &e->reader);
		if (rc != MDB_MAP_RESIZED)
			break;
		mdb_env_set_mapsize(e->env, 0);	/* its owner has a larger one now */
	}
	if (rc)
		environment_inside_clear();
	return rc;
}

void environment_leave(struct environment *e)
{
	mdb_txn_reset(e->reader);
	environment_inside_clear();
}

int environment_find(struct environment *e, enum store_table t, const struct store_key *key, struct store_entry *out)
{
	MDB_val k = { sizeof(key->bytes), (void *)key->bytes }, v;
	int rc = environment_enter(e);

	if (rc)
		return rc;
	rc = mdb_get(e->reader, e->tables[t], &k, &v);
	if (!rc && !row_read(out, v.mv_data, v.mv_size))
		rc = MDB_CORRUPTED;
	environment_leave(e);
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


uint64_t environment_newest(struct environment *e)
{
	MDB_val name = { sizeof(ENVIRONMENT_NEWEST) - 1, (void *)ENVIRONMENT_NEWEST }, found;
	uint64_t newest = 0;

	if (environment_enter(e) == 0) {
		if (mdb_get(e->reader, e->main, &name, &found) == 0 && found.mv_size == sizeof(newest))
			memcpy(&newest, found.mv_data, sizeof(newest));
		environment_leave(e);
	}
	return newest;
}
