/*
 * What store.c, store_lmdb.c and store_writer.c share; nobody else includes it (but the tests and the bench).
 */
#ifndef SPURN_NET_STORE_LMDB_H
#define SPURN_NET_STORE_LMDB_H

#include "base/clock.h"
#include "net/store_pending.h"

#include <lmdb.h>
#include <pthread.h>
#include <signal.h>

struct writer;

/* ---- one kind of store behind the interface; store_redis.c is to be another ---- */

struct store_methods {
	void (*close)(struct store *s);
	bool (*flush)(struct store *s);
	enum store_status (*put)(struct store *s, enum store_table t, const struct store_key *key,
		const struct store_value *value);
	enum store_status (*delete)(struct store *s, enum store_table t, const struct store_key *key);
	enum store_status (*get)(struct store *s, enum store_table t, const struct store_key *key,
		struct store_value *out);
	enum store_status (*claim)(struct store *s, enum store_table t, const struct store_key *key,
		const struct store_value *value, bool *won, struct store_value *existing);
	void (*each)(struct store *s, enum store_table t,
		bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value), void *arg);
	void (*stats)(struct store *s, struct store_stats *out);
};

struct store {
	const struct store_methods *methods;
	uint8_t secret[16];
};

/* The directory is open and locked (but for a reader), the secret is read. */
struct store *store_lmdb_open(struct arena *a, const struct store_conf *conf, int directory, const char **why);
/* For tests and the bench. */
struct writer *store_writer(struct store *s);

/* ---- environments ---- */

#define STORE_SLOTS 256u
#define STORE_STAND_IN 128u	/* slots from here on: for who finds his own taken */
#define STORE_RETRIES 8

/* An entry as a row: stamp (its low bits say the kind), expires, hides where it is not zero, the value. */
#define ROW_MAX (8 + 4 + 4 + STORE_VALUE_MAX)
size_t row_write(uint8_t out[ROW_MAX], const struct store_entry *entry);
bool row_read(struct store_entry *out, const void *bytes, size_t n);

/* Set around every call into LMDB that reads pages, for store_crashed(): the slot + 1. */
extern _Thread_local volatile sig_atomic_t store_inside;

/* The thread that writes a worker's environment. See store_writer.c. */
struct sweep {
	uint8_t at[16];		/* the last key looked at */
	nanoseconds due, pause;
};

struct pick {
	uint32_t at;
	uint64_t word;
};

struct writer {
	struct pending *pending;
	MDB_env *env;
	MDB_dbi tables[STORE_TABLE_COUNT], main;
	unsigned slot;
	nanoseconds linger;
	size_t pages, chunk;		/* of the map; entries a transaction may write */

	pthread_t thread;
	bool running;
	pthread_mutex_t lock;		/* over stop, wanted, done, failed, error */
	pthread_cond_t wake, finished;
	bool stop;
	uint64_t wanted, done;		/* flushes asked for, carried out */
	bool failed;			/* the last one */
	char error[160];
	_Atomic bool idle;		/* it sleeps until something is pending */
	_Atomic bool urgent;		/* it has been told that the table fills up */

	/* The thread's own. */
	uint64_t *before;		/* the words at the last look */
	struct pick *picks;
	uint64_t newest;		/* stamp */
	struct sweep sweeps[STORE_TABLE_COUNT];
	nanoseconds readers_due, backoff_until;
	bool evicting;

	_Atomic uint32_t fake_now;	/* seconds; 0: real clock */
	_Atomic uint64_t commits, evicted, expired, failures;
};

bool writer_start(struct writer *w, struct arena *a, const char **why);
void writer_stop(struct writer *w);
/* The main thread has added something; urgent: or had no room for it. */
void writer_notice(struct writer *w, bool urgent);
/* All that is pending, now; waits. Without a thread: on the caller's. */
bool writer_flush(struct writer *w);
/* One round over a table: looks at up to `visits` rows, deletes those that are gone. Returns how many. */
size_t writer_sweep(struct writer *w, enum store_table t, size_t visits);
/* The error as it stands, copied. */
bool writer_error(struct writer *w, char out[160]);

/* Counts of an environment: pages in use (the free ones walked), or -1. */
ptrdiff_t environment_used(MDB_env *env, MDB_txn *txn);

#endif
