/*
 * Containers: a keyed hash table, a ring list, a binary heap with positions,
 * and the keyed hash (SipHash-2-4) under them.
 *
 * Tables are keyed with a random secret, so a peer that chooses names or
 * addresses cannot choose collisions. All are intrusive: the element carries
 * the link, the container allocates at most its own array.
 */
#ifndef SPURN_BASE_TABLE_H
#define SPURN_BASE_TABLE_H

#include "base/str.h"

/* ---- keyed hashes ---- */

/* SipHash-2-4 under a random secret (drawn at start, shared by forked processes). */
uint64_t hash_bytes(const void *bytes, size_t n);
/* The same with the case of ASCII letters folded. */
uint64_t hash_nocase(struct slice s);
/* SipHash-2-4 with 128-bit output under a given 16-byte key. */
void siphash128(uint8_t out[16], const uint8_t key[16], const void *bytes, size_t n);
uint64_t siphash64(const uint8_t key[16], const void *bytes, size_t n);
/* Random bytes from the kernel. */
void random_bytes(void *out, size_t n);

/* ---- hash table (chained, intrusive) ---- */

struct table_link {
	struct table_link *next;
	uint64_t hash;
};

struct table {
	struct table_link **buckets;
	size_t mask, count;
};

typedef bool table_match(const struct table_link *link, const void *key);

/* A zeroed table is empty and valid. */
struct table_link *table_find(const struct table *t, uint64_t hash, table_match *match, const void *key);
void table_add(struct table *t, struct table_link *link, uint64_t hash);
void table_remove(struct table *t, struct table_link *link);
/* Frees the bucket array, not the elements. */
void table_drop(struct table *t);
/* Walks all elements; start with *at = 0 and link NULL, then pass the last one. That one may
 * have been removed, but its memory must still be there; none may be added meanwhile. */
struct table_link *table_each(const struct table *t, size_t *at, struct table_link *link);

/* ---- ring (doubly linked, intrusive) ---- */

struct ring {
	struct ring *next, *prev;
};

static inline void ring_init(struct ring *r) { r->next = r->prev = r; }
static inline bool ring_empty(const struct ring *r) { return r->next == r; }
static inline void ring_add_last(struct ring *list, struct ring *e)
{
	e->prev = list->prev;
	e->next = list;
	list->prev->next = e;
	list->prev = e;
}
static inline void ring_add_first(struct ring *list, struct ring *e) { ring_add_last(list->next, e); }
/* Safe on an element that is in no ring, if it was initialised. */
static inline void ring_remove(struct ring *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	ring_init(e);
}

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* ---- heap of deadlines ---- */

struct heap_node {
	int64_t key;
	uint32_t at;	/* position + 1 in the heap, 0: in none */
};

struct heap {
	struct heap_node **nodes;
	size_t count, cap;
};

/* Adds, or moves a node that is in it. */
void heap_set(struct heap *h, struct heap_node *node, int64_t key);
/* Does nothing for a node that is in no heap. */
void heap_remove(struct heap *h, struct heap_node *node);
static inline struct heap_node *heap_min(const struct heap *h)
{
	return h->count ? h->nodes[0] : NULL;
}
/* Frees the array and touches no node: they may be gone already. */
void heap_drop(struct heap *h);

#endif
