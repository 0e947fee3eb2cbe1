/* body_hash: kinds that are shared, limits by l=, and what lies behind them. */
#include "unit.h"

#include "check/body_hash.h"

static struct arena arena;

static void assert_hash(const struct body_hash *h, const char *octets)
{
	uint8_t expected[32];
	unsigned n = 0;

	assert_int_equal(EVP_Digest(octets, strlen(octets), expected, &n, digest_md(h->digest), NULL), 1);
	assert_slices(h->value, slice_make((const char *)expected, n));
}

static void test_kinds(void **state)
{
	struct body_hashes *h = body_hashes_new(&arena);
	const struct body_hash *relaxed = body_hashes_want(h, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
	const struct body_hash *simple = body_hashes_want(h, CANON_SIMPLE, DIGEST_SHA256, BODY_LENGTH_ALL);
	const struct body_hash *old = body_hashes_want(h, CANON_RELAXED, DIGEST_SHA1, BODY_LENGTH_ALL);
	const struct body_hash *head = body_hashes_want(h, CANON_RELAXED, DIGEST_SHA256, 4);
	const struct body_hash *none = body_hashes_want(h, CANON_SIMPLE, DIGEST_SHA256, 0);
	const struct body_hash *longer = body_hashes_want(h, CANON_SIMPLE, DIGEST_SHA256, 100);

	assert_ptr_equal(body_hashes_want(h, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL), relaxed);
	assert_ptr_equal(body_hashes_want(h, CANON_RELAXED, DIGEST_SHA256, 4), head);
	body_hashes_push(h, SLICE("a  b\r"));
	body_hashes_push(h, SLICE("\nc\t\r\n\r\n"));
	body_hashes_finish(h);
	body_hashes_finish(h);
	assert_hash(relaxed, "a b\r\nc\r\n");
	assert_hash(simple, "a  b\r\nc\t\r\n");
	assert_hash(old, "a b\r\nc\r\n");
	assert_int_equal(old->value.n, 20);
	assert_int_equal(relaxed->beyond, 0);
	assert_hash(head, "a b\r");
	assert_int_equal(head->hashed, 4);
	assert_int_equal(head->beyond, 4);
	assert_hash(none, "");
	assert_int_equal(none->beyond, 10);
	assert_hash(longer, "a  b\r\nc\t\r\n");
	assert_int_equal(longer->hashed, 10);
	body_hashes_drop(h);
	arena_drop(&arena);
}

static void test_too_many(void **state)
{
	struct body_hashes *h = body_hashes_new(&arena);

	for (unsigned i = 0; i < BODY_HASH_MAX_KINDS; i++)
		assert_non_null(body_hashes_want(h, CANON_SIMPLE, DIGEST_SHA256, i));
	assert_null(body_hashes_want(h, CANON_SIMPLE, DIGEST_SHA256, BODY_LENGTH_ALL));
	assert_non_null(body_hashes_want(h, CANON_SIMPLE, DIGEST_SHA256, 3));
	/* Dropped in the middle of a message. */
	body_hashes_push(h, SLICE("a"));
	body_hashes_drop(h);
	body_hashes_drop(h);
	body_hashes_drop(NULL);
	arena_drop(&arena);
}

UNIT_MAIN(T(test_kinds), T(test_too_many))
