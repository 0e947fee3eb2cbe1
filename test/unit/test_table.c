/* SipHash against its authors' vectors and OpenSSL, the table, the ring, the heap against a sort. */
#include "unit.h"

#include "base/table.h"

#include <openssl/evp.h>

/* ---- SipHash ---- */

static uint8_t count_key[16], count_text[256];

static int count_setup(void **state)
{
	for (int i = 0; i < 256; i++)
		count_text[i] = (uint8_t)i;
	memcpy(count_key, count_text, 16);
	return 0;
}

/* From the authors' vectors.h: key 00..0f, text 00 01 02 ... */
static void reference_vectors(void **state)
{
	uint8_t out[16];

	assert_true(siphash64(count_key, count_text, 0) == UINT64_C(0x726fdb47dd0e0e31));
	assert_true(siphash64(count_key, count_text, 1) == UINT64_C(0x74f839c593dc67fd));
	assert_true(siphash64(count_key, count_text, 8) == UINT64_C(0x93f5f5799a932462));
	assert_true(siphash64(count_key, count_text, 15) == UINT64_C(0xa129ca6149be45e5));
	assert_true(siphash64(count_key, count_text, 63) == UINT64_C(0x958a324ceb064572));
	siphash128(out, count_key, count_text, 0);
	assert_memory_equal(out, "\xa3\x81\x7f\x04\xba\x25\xa8\xe6\x6d\xf6\x72\x14\xc7\x55\x02\x93", 16);
	siphash128(out, count_key, count_text, 15);
	assert_memory_equal(out, "\x54\x93\xe9\x99\x33\xb0\xa8\x11\x7e\x08\xec\x0f\x97\xcf\xc3\xd9", 16);
}

static void openssl_siphash(uint8_t *out, size_t size, const uint8_t key[16], const void *bytes,
	size_t n)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_SIPHASH, NULL, key, 16);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx = NULL;

	assert_int_equal(EVP_DigestSignInit(md, &pctx, NULL, NULL, pkey), 1);
	assert_true(EVP_PKEY_CTX_ctrl(pctx, EVP_PKEY_SIPHASH, EVP_PKEY_OP_SIGNCTX,
		EVP_PKEY_CTRL_SET_DIGEST_SIZE, (int)size, NULL) > 0);
	assert_int_equal(EVP_DigestSignUpdate(md, bytes, n), 1);
	assert_int_equal(EVP_DigestSignFinal(md, out, &size), 1);
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(pkey);
}

static void agrees_with_openssl(void **state)
{
	uint8_t key[16], bytes[200], expected[16], got[16];

	random_bytes(key, sizeof(key));
	random_bytes(bytes, sizeof(bytes));
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		uint64_t hash = htole64(siphash64(key, bytes, n));
		openssl_siphash(expected, 8, key, bytes, n);
		assert_memory_equal(&hash, expected, 8);
		siphash128(got, key, bytes, n);
		openssl_siphash(expected, 16, key, bytes, n);
		assert_memory_equal(got, expected, 16);
	}
}

static void nocase_folds_ascii_only(void **state)
{
	struct arena a = ARENA_INIT;
	char bytes[256];

	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	for (size_t n = 0; n <= 256; n++) {
		struct slice s = slice_make(bytes + 256 - n, n), lower = slice_lower(&a, s);
		assert_true(hash_nocase(s) == hash_bytes(lower.p, lower.n));
	}
	/* Each byte, at each place of a word: the eights are folded at once. */
	for (int c = 0; c < 256; c++) {
		for (int at = 0; at < 8; at++) {
			char word[8] = "\x7f\x80@[`{zA", low[8];
			word[at] = (char)c;
			for (int i = 0; i < 8; i++)
				low[i] = ascii_lower(word[i]);
			assert_true(hash_nocase(slice_make(word, 8)) == hash_bytes(low, 8));
		}
	}
	assert_true(hash_nocase(SLICE("Postmaster")) == hash_nocase(SLICE("POSTMASTER")));
	assert_true(hash_nocase(SLICE("a")) != hash_nocase(SLICE("b")));
	arena_drop(&a);
}

static void secret_is_drawn(void **state)
{
	static const uint8_t zero[16];

	assert_true(hash_bytes("x", 1) != siphash64(zero, "x", 1));
	assert_true(hash_bytes("x", 1) == hash_bytes("x", 1));
}

static void random_differs(void **state)
{
	uint8_t a[1000] = { 0 }, b[1000] = { 0 };
	int zeros = 0;

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	for (int i = 0; i < 1000; i++)
		zeros += a[i] == 0;
	assert_true(zeros < 50);
	random_bytes(a, 0);
}

/* ---- table ---- */

struct word {
	struct table_link link;
	int value;
	bool seen;
};

static bool word_match(const struct table_link *link, const void *key)
{
	return container_of(link, struct word, link)->value == *(const int *)key;
}

static struct word *word_find(const struct table *t, int value)
{
	struct table_link *link = table_find(t, hash_bytes(&value, sizeof(value)), word_match, &value);

	return link ? container_of(link, struct word, link) : NULL;
}

static void word_add(struct table *t, struct word *w, int value)
{
	w->value = value;
	w->seen = false;
	table_add(t, &w->link, hash_bytes(&value, sizeof(value)));
}

static void empty_table_is_valid(void **state)
{
	struct table t = { 0 };
	size_t at = 0;
	struct word w = { 0 };

	assert_null(word_find(&t, 1));
	assert_null(table_each(&t, &at, NULL));
	assert_aborts(table_remove(&t, &w.link));
	table_drop(&t);
}

static void table_many(void **state)
{
	static struct word words[10000];
	struct table t = { 0 };

	for (int i = 0; i < 10000; i++)
		word_add(&t, &words[i], i);
	assert_int_equal(t.count, 10000);
	assert_true(t.mask + 1 >= 10000);
	for (int i = 0; i < 10000; i++)
		assert_ptr_equal(word_find(&t, i), &words[i]);
	assert_null(word_find(&t, 10000));
	for (int i = 0; i < 10000; i += 2)
		table_remove(&t, &words[i].link);
	assert_int_equal(t.count, 5000);
	for (int i = 0; i < 10000; i++)
		assert_true((word_find(&t, i) != NULL) == (i % 2 == 1));
	assert_aborts(table_remove(&t, &words[0].link));
	table_drop(&t);
	assert_int_equal(t.count, 0);
	assert_null(word_find(&t, 1));
}

static void table_same_hash(void **state)
{
	struct word words[5];
	struct table t = { 0 };
	int two = 2, six = 6;

	for (int i = 0; i < 5; i++) {
		words[i].value = i;
		table_add(&t, &words[i].link, 42);
	}
	assert_ptr_equal(table_find(&t, 42, word_match, &two), &words[2].link);
	assert_null(table_find(&t, 42, word_match, &six));
	/* Same bucket, another hash: the match is not even asked. */
	assert_null(table_find(&t, 42 + 16, word_match, &two));
	table_remove(&t, &words[2].link);
	assert_null(table_find(&t, 42, word_match, &two));
	assert_int_equal(t.count, 4);
	table_drop(&t);
}

static void table_walk(void **state)
{
	static struct word words[1000];
	struct table t = { 0 };
	struct table_link *link = NULL;
	size_t at = 0;
	int seen = 0;

	for (int i = 0; i < 1000; i++)
		word_add(&t, &words[i], i);
	while ((link = table_each(&t, &at, link))) {
		struct word *w = container_of(link, struct word, link);
		assert_false(w->seen);
		w->seen = true;
		seen++;
		if (w->value % 3 == 0)
			table_remove(&t, link);
	}
	assert_int_equal(seen, 1000);
	assert_int_equal(t.count, 666);
	for (at = 0, seen = 0, link = NULL; (link = table_each(&t, &at, link)); seen++)
		table_remove(&t, link);
	assert_int_equal(seen, 666);
	assert_int_equal(t.count, 0);
	table_drop(&t);
}

/* ---- ring ---- */

struct bead {
	struct ring ring;
	int value;
};

static void rings(void **state)
{
	struct bead b[4] = { { .value = 0 }, { .value = 1 }, { .value = 2 }, { .value = 3 } };
	struct ring list;
	int expected = 0;

	ring_init(&list);
	assert_true(ring_empty(&list));
	for (int i = 1; i < 4; i++)
		ring_add_last(&list, &b[i].ring);
	ring_add_first(&list, &b[0].ring);
	for (struct ring *r = list.next; r != &list; r = r->next)
		assert_int_equal(container_of(r, struct bead, ring)->value, expected++);
	assert_int_equal(expected, 4);
	ring_remove(&b[2].ring);
	ring_remove(&b[2].ring);
	assert_true(ring_empty(&b[2].ring));
	assert_ptr_equal(b[1].ring.next, &b[3].ring);
	assert_ptr_equal(b[3].ring.prev, &b[1].ring);
	ring_remove(&b[0].ring);
	ring_remove(&b[3].ring);
	ring_remove(&b[1].ring);
	assert_true(ring_empty(&list));
}

/* ---- heap ---- */

static void heap_in_order(void **state)
{
	static struct heap_node nodes[1000];
	struct heap h = { 0 };
	int64_t last = INT64_MIN;

	assert_null(heap_min(&h));
	for (int i = 0; i < 1000; i++)
		heap_set(&h, &nodes[i], (int64_t)(hash_bytes(&i, sizeof(i)) >> 40) - 4000000);
	for (int i = 0; i < 1000; i++) {
		struct heap_node *least = heap_min(&h);
		assert_true(least->key >= last);
		last = least->key;
		heap_remove(&h, least);
		assert_int_equal(least->at, 0);
	}
	assert_null(heap_min(&h));
	heap_drop(&h);
}

/* A walk of additions, moves and removals; after each the least is what a look at all says. */
static void heap_against_search(void **state)
{
	static struct heap_node nodes[64];
	struct heap h = { 0 };

	for (int step = 0; step < 20000; step++) {
		uint64_t r = hash_bytes(&step, sizeof(step));
		struct heap_node *node = &nodes[r % 64], *least = NULL;
		size_t in = 0;
		if (r >> 6 & 1)
			heap_set(&h, node, (int64_t)(r >> 32) % 1000);
		else
			heap_remove(&h, node);
		for (int i = 0; i < 64; i++) {
			if (!nodes[i].at)
				continue;
			in++;
			assert_ptr_equal(h.nodes[nodes[i].at - 1], &nodes[i]);
			if (!least || nodes[i].key < least->key)
				least = &nodes[i];
		}
		assert_int_equal(h.count, in);
		if (least)
			assert_int_equal(heap_min(&h)->key, least->key);
		else
			assert_null(heap_min(&h));
	}
	heap_drop(&h);
	assert_int_equal(h.count, 0);
}

static void heap_foreign_node(void **state)
{
	struct heap_node mine = { 0 }, stray = { .at = 1 };
	struct heap h = { 0 };

	heap_set(&h, &mine, 5);
	assert_aborts(heap_set(&h, &stray, 1));
	assert_aborts(heap_remove(&h, &stray));
	stray.at = 9;
	assert_aborts(heap_remove(&h, &stray));
	heap_drop(&h);
}

UNIT_MAIN(cmocka_unit_test_setup(reference_vectors, count_setup), T(agrees_with_openssl),
	T(nocase_folds_ascii_only), T(secret_is_drawn), T(random_differs), T(empty_table_is_valid),
	T(table_many), T(table_same_hash), T(table_walk), T(rings), T(heap_in_order),
	T(heap_against_search), T(heap_foreign_node))
