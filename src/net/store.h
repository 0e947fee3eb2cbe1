/*
 * Store: keyed hashes with an expiry, nothing else.
 *
 * The interface has two sides. Writers (mail code) put, compare-and-put and delete;
 * each is a memory operation that survives the kill of any process at once and
 * waits for nothing. Readers see their own and every other worker's entries.
 *
 * The LMDB implementation: one environment per worker slot in
 * STATE-DIR/store/N/, written by one writer thread of that worker with group
 * commit; before an entry is there, it stands in the slot's pending table, a file
 * mapped shared into all workers (page cache: it survives a kill, not a power
 * cut). An entry deleted before the writer came round never costs a
 * transaction: so the commit ledger, whose entries mostly live for
 * milliseconds, is nearly free.
 */
#ifndef SPURN_NET_STORE_H
#define SPURN_NET_STORE_H

#include "base/str.h"

/*
 * Tables in the order of eviction when the store is full: first goes first.
 *
 * What survives: the kill of any process, every put that returned, in every table. A power cut takes
 * what was put in the last two lingers (store_conf; one second) and what a failing disk
 * kept from being written (store_stats.failures). The text says what such a loss means.
 * X(id, name, what the loss of an entry means)
 */
#define STORE_TABLES(X) \
	X(CACHE, "cache", "the question is asked again") \
	X(RECIPIENT, "recipient", "the recipient is asked for again; until then unknown, never absent") \
	X(RECEIVED, "received", "a notice that answers it is not known to be wanted: the guard observes until it is warm again") \
	X(SENT, "sent", "a bounce of it is proven by tag, trace or signature, or is unproven") \
	X(HINT, "hint", "a recipient with another answer is told apart one retry later") \
	X(COMMIT, "commit", "a sender that lost our 250 and tries again doubles the message")

enum store_table {
#define X(id, name, loss) STORE_##id,
	STORE_TABLES(X)
#undef X
	STORE_TABLE_COUNT
};
const char *store_table_name(enum store_table t);
const char *store_table_loss(enum store_table t);

#define STORE_VALUE_MAX 88

struct store_key {
	uint8_t bytes[16];
};

struct store_value {
	uint8_t bytes[STORE_VALUE_MAX];
	uint8_t length;
	uint32_t expires;	/* wall clock, seconds since the epoch */
};

enum store_status {
	STORE_OK,
	STORE_NOT_FOUND,	/* an answer */
	STORE_TROUBLE,		/* a failed question: never read it as "not found" */
};

struct store;

struct store_conf {
	const char *directory;		/* STATE-DIR/store */
	/* Where the pending tables lie; NULL: in the directory. On a tmpfs (/run/spurn, kept over restarts)
	 * the kernel never makes a put wait for write-back. All processes of a store name the same. */
	const char *pending_directory;
	unsigned slot;			/* of this worker; readers (the tool) pass STORE_READ_ONLY */
	size_t map_size;		/* bytes per environment, default 4 GiB; sparse */
	unsigned linger_ms;		/* an entry stands this long before it is written; 0: 500 */
	bool synchronous;		/* tests: no writer thread, each put is committed before it returns */
};
#define STORE_READ_ONLY UINT32_MAX

/* NULL and *why when the store cannot be used. A store and *why: a warning (something was damaged, was moved
 * aside and is begun anew); *why is NULL when all is well. A slot that another living process holds (a
 * predecessor that drains its sessions) is not waited for: a slot of 128 and above takes its place.
 * In a process, one store of a directory at a time, opened after the fork. */
struct store *store_open(struct arena *a, const struct store_conf *conf, const char **why);
/* Writes out what is pending and closes. NULL: nothing was open. */
void store_close(struct store *s);
/* Waits until all that is pending is committed: for tests and the tool, not for mail. false: it cannot be. */
bool store_flush(struct store *s);
/* For the handler of SIGSEGV, SIGBUS and SIGABRT: a crash while reading an environment is noted, and after the
 * second one the environment is shut out and made anew, so that a damaged page does not kill each new worker. */
void store_crashed(void);

/* The key of a table entry: SipHash-2-4-128 under the site's store key (made at first start, mode 0600,
 * STATE-DIR/store/key) over the table and the parts, each with its length. */
struct store_key store_key(const struct store *s, enum store_table t, const struct slice *parts, size_t count);

/* Never waits. STORE_TROUBLE when the pending table has no room or the store is not usable. Blind: of two
 * workers that put the same key the later wins; who must be the only one uses store_claim. */
enum store_status store_put(struct store *s, enum store_table t, const struct store_key *key,
	const struct store_value *value);
enum store_status store_delete(struct store *s, enum store_table t, const struct store_key *key);
/* Looks at all workers' entries; the newest wins. An expired entry is not found. Reads memory or mapped pages only. */
enum store_status store_get(struct store *s, enum store_table t, const struct store_key *key,
	struct store_value *out);
/* put, but only if no live entry exists among all workers (a lock of the key, held across workers for the
 * look and the write): STORE_OK: ours now; STORE_NOT_FOUND never; *existing is filled and
 * STORE_OK with *won = false when somebody was first. */
enum store_status store_claim(struct store *s, enum store_table t, const struct store_key *key,
	const struct store_value *value, bool *won, struct store_value *existing);

/* Walks a table (the tool): fn returns false to stop. */
void store_each(struct store *s, enum store_table t,
	bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value), void *arg);

struct store_stats {
	/* Of all environments: rows committed, with expired ones that are not yet swept. */
	uint64_t entries[STORE_TABLE_COUNT];
	/* Of this process. saved: puts that a delete took back before they cost a transaction. */
	uint64_t puts, deletes, saved, commits, evicted, expired, failures;
	uint64_t evicted_of[STORE_TABLE_COUNT];	/* `evicted`, table by table */
	/* pending: of this slot (all slots for a reader); map: of the fullest environment. */
	size_t pending, map_used, map_size;
	unsigned slot;			/* in use; STORE_READ_ONLY */
	const char *last_error;		/* NULL: none */
};
void store_stats(struct store *s, struct store_stats *out);

#endif
