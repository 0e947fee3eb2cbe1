/*
 * What the files of the embedded store share (store_lmdb, store_slots, store_walk, store_writer) and store.c;
 * nobody else includes it, but tests and the bench.
 */
#ifndef SPURN_NET_STORE_LMDB_H
#define SPURN_NET_STORE_LMDB_H

#include "base/clock.h"
#include "net/store_environment.h"
#include "net/store_methods.h"

#include <pthread.h>

struct writer;

/* The directory is open and locked (but for a reader), the secret is read. */
struct store *store_lmdb_open(struct arena *a, const struct store_conf *conf, int directory, const char **why);
/* For tests and the bench. */
struct writer *store_writer(struct store *s);

/* ---- shared memory, slots, the store ---- */

#define STORE_SLOTS 256u
#define STORE_STAND_IN 128u	/* slots from here on: for who finds his own taken */
#define STORE_SUSPECT 2		/* crashes that shut an environment out */
#define STORE_LOCKS 2048u	/* of keys */

/* STATE-DIR/store/shared, mapped by all. Nothing in it is lost by making it anew. */
struct shared {
	char format[16];
	_Atomic uint64_t stamp;
	_Atomic uint32_t generation;	/* changes when a slot appears or is made anew */
	_Atomic uint32_t high;		/* slots from here on were never used */
	_Atomic uint32_t longest[STORE_TABLE_COUNT];	/* life of an entry, seconds */
	_Atomic uint32_t suspect[STORE_SLOTS];		/* crashes while reading it */
	_Atomic uint64_t lock[STORE_LOCKS];
};

struct slot {
	unsigned number;
	struct pending pending;
	struct environment environment;
	const char *trouble;		/* why part of it cannot be read */
};

/* ---- the writer ---- */

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
	_Atomic uint64_t commits, evicted[STORE_TABLE_COUNT], expired, failures;
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

/* ---- the store ---- */

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
	uint64_t word;			/* as holder of a lock: slot and process */
	struct writer writer;
	uint64_t puts, deletes, saved, failures;
	const char *trouble;		/* the last one of the main thread */
	char error[160];		/* the last one of the writer, for stats */
};

/* store_slots.c */
bool slots_open(struct lmdb_store *s, struct arena *a, const char **warning, const char **why);
void slots_close(struct lmdb_store *s);
/* Opens what has appeared, closes what has gone. */
void slots_refresh(struct lmdb_store *s);
static inline void slots_current(struct lmdb_store *s)
{
	if (__builtin_expect(atomic_load_explicit(&s->shared->generation, memory_order_acquire) != s->generation, 0))
		slots_refresh(s);
}
/* The holder of a lock: does it still live? */
bool slot_word_lives(struct lmdb_store *s, uint64_t word);

/* store_lmdb.c */
uint32_t store_seconds(struct lmdb_store *s);
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
void look_around(struct lmdb_store *s, enum store_table t, const struct store_key *key, uint32_t now,
	struct look *l);
struct store_value entry_value(const struct store_entry *entry);

/* store_walk.c */
void lmdb_each(struct store *store, enum store_table t,
	bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value), void *arg);
void lmdb_stats(struct store *store, struct store_stats *out);

#endif
