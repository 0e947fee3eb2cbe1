/*
 * LMDB environments as the store uses them. See store_environment.c.
 */
#ifndef SPURN_NET_STORE_ENVIRONMENT_H
#define SPURN_NET_STORE_ENVIRONMENT_H

#include "net/store_pending.h"

#include <lmdb.h>
#include <signal.h>

struct environment {
	unsigned slot;
	MDB_env *env;			/* NULL: not open */
	MDB_txn *reader;		/* reset between looks; NULL before the first */
	MDB_dbi tables[STORE_TABLE_COUNT], main;
	dev_t device;			/* of the file, kept by whoever opens it */
	ino_t inode;
};

/* An entry as a row: stamp (its low bits say the kind), expires, hides where it is not zero, the value. */
#define ROW_MAX (8 + 4 + 4 + STORE_VALUE_MAX)
size_t row_write(uint8_t out[ROW_MAX], const struct store_entry *entry);
bool row_read(struct store_entry *out, const void *bytes, size_t n);

/* Results are 0, an errno, or LMDB's own. */
const char *environment_error(int rc);
/* What can only be moved aside. */
bool environment_error_is_damage(int rc);

/* DIRECTORY/SLOT. map: bytes for our own, 0 for one that another writes. unsynced: MDB_NOSYNC. */
int environment_open(struct environment *e, const char *directory, size_t map, bool unsynced);
void environment_close(struct environment *e);

/* Begins to read e->reader, a snapshot of now; ends it. Nothing may wait in between. */
int environment_enter(struct environment *e);
void environment_leave(struct environment *e);
/* 0, MDB_NOTFOUND, or an error. */
int environment_find(struct environment *e, enum store_table t, const struct store_key *key, struct store_entry *out);
/* The highest stamp that it has seen. */
uint64_t environment_newest(struct environment *e);

#define ENVIRONMENT_NEWEST "stamp"	/* the row of the main table that holds it */

/* Pages in use: all but those in the list of free ones. -1: unknown. */
ptrdiff_t environment_used(MDB_env *env, MDB_txn *txn);

/* Around every call that reads pages: whose, in case it crashes (store_crashed). */
extern _Thread_local volatile sig_atomic_t environment_inside;
static inline void environment_inside_set(unsigned slot)
{
	environment_inside = (int)slot + 1;
}
static inline void environment_inside_clear(void)
{
	environment_inside = 0;
}

#endif
