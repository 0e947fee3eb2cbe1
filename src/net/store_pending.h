/*
 * The pending table of a slot: what was put and is not yet in its environment. See store_pending.c.
 */
#ifndef SPURN_NET_STORE_PENDING_H
#define SPURN_NET_STORE_PENDING_H

#include "net/store.h"

#include <stdatomic.h>
#include <sys/types.h>

#define PENDING_SLOTS 16384u
#define PENDING_GROUP 16u	/* slots; a key has two groups */

/* What an environment or a pending slot says of a key. */
struct store_entry {
	uint64_t stamp;		/* order of puts among all workers; the low two bits are zero */
	uint32_t expires;
	/* Kept until then, though expired or deleted, because an older entry elsewhere lives that long; 0: no need. */
	uint32_t hides;
	uint32_t checksum;	/* in the pending table only */
	uint8_t table;
	uint8_t tombstone;
	uint8_t length;
	uint8_t spare;
	uint8_t bytes[STORE_VALUE_MAX];
};

static inline bool entry_is_live(const struct store_entry *e, uint32_t now)
{
	return !e->tombstone && e->expires > now;
}
/* Nobody misses it. */
static inline bool entry_is_gone(const struct store_entry *e, uint32_t now)
{
	return (e->tombstone || e->expires <= now) && e->hides <= now;
}

/* A slot's word: tag of the key (upper half), sequence (28 bits), and: */
#define WORD_LIVE 1u
#define WORD_HALF 2u		/* which half of the slot is the current one */
#define WORD_WRITING 4u		/* the environment has it or may soon: a delete needs a tombstone */
#define WORD_ALONE 8u		/* nothing older lives anywhere: if not WRITING, a delete may free it */

struct pending_map;

struct pending {
	struct pending_map *map;	/* NULL: not open */
	int fd;				/* holds the lock of the slot, if ours */
	dev_t device;
	ino_t inode;
	_Atomic uint32_t used;		/* slots, if ours */
};

enum pending_open {
	PENDING_OPEN,
	PENDING_NEW,		/* opened, but a damaged one was moved aside */
	PENDING_BUSY,		/* another living process has the slot */
	PENDING_ABSENT,		/* nothing to read */
	PENDING_FAILED,
};

/* N/pending below the directory. Ours: made if need be, locked, adopted as it is (*newest: the highest
 * stamp in it). Others': mapped for reading. */
enum pending_open pending_open(struct pending *p, int directory, unsigned slot, bool ours, const char **why);
void pending_close(struct pending *p);
uint64_t pending_newest(const struct pending *p);
size_t pending_count(const struct pending *p);
/* The process that holds the slot, 0: none. */
pid_t pending_holder(const struct pending *p);

/* Any process. Where and under which word it was found, for those who change it. */
bool pending_find(const struct pending *p, enum store_table t, const struct store_key *key,
	struct store_entry *out, uint32_t *at, uint64_t *word);
/* Only a hint, but never wrongly false. */
bool pending_may_have(const struct pending *p, const struct store_key *key);

/* The owner's main thread. false: no room. *added: it took a slot of its own. */
bool pending_put(struct pending *p, const struct store_key *key, const struct store_entry *entry, bool alone,
	bool *added);

/* The owner, either thread: frees the slot if it still has this word. */
bool pending_free(struct pending *p, uint32_t at, uint64_t word);

/* The writer thread. */
uint64_t pending_word(const struct pending *p, uint32_t at);
/* Marks it WRITING and reads it; false if it changed meanwhile. */
bool pending_take(struct pending *p, uint32_t at, uint64_t *word, struct store_key *key, struct store_entry *out);
/* Reads a slot under its word, for walks. */
bool pending_at(const struct pending *p, uint32_t at, struct store_key *key, struct store_entry *out);

#endif
