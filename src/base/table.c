/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012; the
 * 128-bit variant as in the authors' reference code), the hash table and the heap of deadlines.
 *
 * The table chains: links are in the elements, so adding never allocates except
 * to grow the bucket array, and an element can be taken out without a search by key.
 * It doubles when there are as many elements as buckets, and never shrinks: what
 * was needed once is needed again. Rejected: open addressing (elements that
 * wait in rings and heaps must not move, so it would hold pointers and miss
 * the cache all the same); a fast unkeyed hash (peers choose the keys).
 *
 * The heap is binary, and each node knows its position, so a timer is moved or removed
 * without a search.
 */
#include "base/table.h"

#include "base/log.h"

#include <errno.h>
#include <sys/random.h>

#define FIRST_BUCKETS 16
#define FIRST_NODES 64

/* ---- SipHash ---- */

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint8_t secret[16];

/* Before main(), so that neither threads nor forks draw one of their own. */
__attribute__((constructor)) static void draw_secret(void)
{
	random_bytes(secret, sizeof(secret));
}

void random_bytes(void *out, size_t n)
{
	char *p = out;

	while (n) {
		ssize_t got = getrandom(p, n, 0);
		BUG_ON(got < 0 && errno != EINTR);
		if (got > 0) {
			p += got;
			n -= (size_t)got;
		}
	}
}

static inline uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v2 = rotate(s->v2, 32);
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t x;

	memcpy(&x, p, 8);
	return le64toh(x);
}

/* Eight bytes at once: 0x20 is set in each byte from 'A' to 'Z'. */
static inline uint64_t fold64(uint64_t x)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t low = x & ones * 0x7f;
	uint64_t from_a = low + ones * (0x80 - 'A');
	uint64_t past_z = low + ones * (0x7f - 'Z');

	return x | (((from_a & ~past_z & ~x) & ones * 0x80) >> 2);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* All but the finalisation, which differs for 64 and 128 bits. */
static inline struct sip sip_absorb(const uint8_t key[16], const uint8_t *p, size_t n, bool wide,
	bool fold)
{
	uint64_t k0 = load64(key), k1 = load64(key + 8), last = (uint64_t)n << 56;
	struct sip s = {
		k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573),
	};
	size_t i = 0;

	if (wide)
		s.v1 ^= 0xee;
	for (; n - i >= 8; i += 8)
		sip_word(&s, fold ? fold64(load64(p + i)) : load64(p + i));
	for (int shift = 0; i < n; i++, shift += 8)
		last |= (uint64_t)(uint8_t)(fold ? ascii_lower((char)p[i]) : (char)p[i]) << shift;
	sip_word(&s, last);
	return s;
}

static inline uint64_t sip_finish(struct sip *s)
{
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t siphash64(const uint8_t key[16], const void *bytes, size_t n)
{
	struct sip s = sip_absorb(key, bytes, n, false, false);

	s.v2 ^= 0xff;
	return sip_finish(&s);
}

void siphash128(uint8_t out[16], const uint8_t key[16], const void *bytes, size_t n)
{
	struct sip s = sip_absorb(key, bytes, n, true, false);
	uint64_t half;

	s.v2 ^= 0xee;
	half = htole64(sip_finish(&s));
	memcpy(out, &half, 8);
	s.v1 ^= 0xdd;
	half = htole64(sip_finish(&s));
	memcpy(out + 8, &half, 8);
}

uint64_t hash_bytes(const void *bytes, size_t n)
{
	return siphash64(secret, bytes, n);
}

uint64_t hash_nocase(struct slice s)
{
	struct sip sip = sip_absorb(secret, (const uint8_t *)s.p, s.n, false, true);

	sip.v2 ^= 0xff;
	return sip_finish(&sip);
}

/* ---- hash table ---- */

static void table_grow(struct table *t)
{
	size_t old = t->buckets ? t->mask + 1 : 0;
	size_t wanted = old ? old * 2 : FIRST_BUCKETS;
	struct table_link **buckets = calloc(wanted, sizeof(struct table_link *));

	if (!buckets)
		arena_exhausted(wanted * sizeof(struct table_link *));
	for (size_t i = 0; i < old; i++) {
		struct table_link *link = t->buckets[i], *next;
		for (; link; link = next) {
			next = link->next;
			link->next = buckets[link->hash & (wanted - 1)];
			buckets[link->hash & (wanted - 1)] = link;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->mask = wanted - 1;
}

struct table_link *table_find(const struct table *t, uint64_t hash, table_match *match, const void *key)
{
	struct table_link *link = t->buckets ? t->buckets[hash & t->mask] : NULL;

	while (link && (link->hash != hash || !match(link, key)))
		link = link->next;
	return link;
}

void table_add(struct table *t, struct table_link *link, uint64_t hash)
{
	if (!t->buckets || t->count > t->mask)
		table_grow(t);
	link->hash = hash;
	link->next = t->buckets[hash & t->mask];
	t->buckets[hash & t->mask] = link;
	t->count++;
}

void table_remove(struct table *t, struct table_link *link)
{
	struct table_link **at;

	BUG_ON(!t->buckets);
	at = &t->buckets[link->hash & t->mask];
	while (*at != link) {
		BUG_ON(!*at);
		at = &(*at)->next;
	}
	/* link->next stays: table_each() goes on from there. */
	*at = link->next;
	t->count--;
}

void table_drop(struct table *t)
{
	free(t->buckets);
	*t = (struct table){ NULL, 0, 0 };
}

struct table_link *table_each(const struct table *t, size_t *at, struct table_link *link)
{
	if (link && link->next)
		return link->next;
	while (t->buckets && *at <= t->mask) {
		link = t->buckets[(*at)++];
		if (link)
			return link;
	}
	return NULL;
}

/* ---- heap ---- */

static void heap_place(struct heap *h, struct heap_node *node, size_t at)
{
	h->nodes[at] = node;
	node->at = (uint32_t)at + 1;
}

static void heap_up(struct heap *h, struct heap_node *node, size_t at)
{
	while (at > 0 && node->key < h->nodes[(at - 1) / 2]->key) {
		heap_place(h, h->nodes[(at - 1) / 2], at);
		at = (at - 1) / 2;
	}
	heap_place(h, node, at);
}

static void heap_down(struct heap *h, struct heap_node *node, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
			child++;
		if (node->key <= h->nodes[child]->key)
			break;
		heap_place(h, h->nodes[child], at);
		at = child;
	}
	heap_place(h, node, at);
}

static void heap_settle(struct heap *h, struct heap_node *node, size_t at)
{
	if (at > 0 && node->key < h->nodes[(at - 1) / 2]->key)
		heap_up(h, node, at);
	else
		heap_down(h, node, at);
}

void heap_set(struct heap *h, struct heap_node *node, int64_t key)
{
	node->key = key;
	if (node->at) {
		BUG_ON(node->at > h->count || h->nodes[node->at - 1] != node);
		heap_settle(h, node, node->at - 1);
		return;
	}
	if (h->count == h->cap) {
		size_t cap = h->cap ? h->cap * 2 : FIRST_NODES;
		struct heap_node **nodes = realloc(h->nodes, cap * sizeof(struct heap_node *));
		if (!nodes)
			arena_exhausted(cap * sizeof(struct heap_node *));
		h->nodes = nodes;
		h->cap = cap;
	}
	heap_up(h, node, h->count++);
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	struct heap_node *last;
	size_t at;

	if (!node->at)
		return;
	at = node->at - 1;
	BUG_ON(at >= h->count || h->nodes[at] != node);
	node->at = 0;
	last = h->nodes[--h->count];
	if (last != node)
		heap_settle(h, last, at);
}

void heap_drop(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){ NULL, 0, 0 };
}
