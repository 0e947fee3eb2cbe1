/* Arenas: alignment, growth, large pieces, the pool, and what a drop leaves. */
#include "unit.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/* Under ASan each allocation is a block of its own: sizes of blocks are another matter there. */
#if defined(__SANITIZE_ADDRESS__)
#define POOLED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOLED 0
#endif
#endif
#ifndef POOLED
#define POOLED 1
#endif

static void empty_owns_nothing(void **state)
{
	struct arena a = ARENA_INIT;

	assert_null(a.head);
	assert_int_equal(arena_bytes(&a), 0);
	arena_drop(&a);
	arena_drop(&a);
	assert_null(a.head);
}

static void aligned_and_disjoint(void **state)
{
	struct arena a = ARENA_INIT;
	unsigned char *p[500];

	for (int i = 0; i < 500; i++) {
		p[i] = arena_alloc(&a, (size_t)i);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], i & 255, (size_t)i);
	}
	for (int i = 0; i < 500; i++) {
		for (int j = 0; j < i; j++)
			assert_int_equal(p[i][j], i & 255);
	}
	arena_drop(&a);
}

static void first_block_is_small(void **state)
{
	struct arena a = ARENA_INIT;

	if (!POOLED)
		skip();
	arena_alloc(&a, 1);
	assert_int_equal(arena_bytes(&a), 1024);
	arena_alloc(&a, 900);
	assert_int_equal(arena_bytes(&a), 1024);
	arena_alloc(&a, 900);
	assert_int_equal(arena_bytes(&a), 1024 + 2048);
	arena_drop(&a);
}

/* The last byte of a block may be used, and one more opens the next. */
static void block_filled_to_the_brim(void **state)
{
	struct arena a = ARENA_INIT;

	if (!POOLED)
		skip();
	arena_alloc(&a, 1024 - 16);
	assert_int_equal(arena_bytes(&a), 1024);
	assert_int_equal(a.left, 0);
	memset(arena_alloc(&a, 1), 1, 1);
	assert_int_equal(arena_bytes(&a), 1024 + 2048);
	arena_drop(&a);
	arena_alloc(&a, 1024 - 15);
	assert_int_equal(arena_bytes(&a), 2048);
	arena_drop(&a);
}

static void blocks_stop_growing(void **state)
{
	struct arena a = ARENA_INIT;
	size_t before;

	if (!POOLED)
		skip();
	for (int i = 0; i < 4000; i++)
		arena_alloc(&a, 100);
	do {
		before = arena_bytes(&a);
		arena_alloc(&a, 100);
	} while (arena_bytes(&a) == before);
	assert_int_equal(arena_bytes(&a) - before, 65536);
	arena_drop(&a);
}

static void large_piece_keeps_the_room(void **state)
{
	struct arena a = ARENA_INIT;
	char *small, *large, *next;

	small = arena_alloc(&a, 16);
	large = arena_alloc(&a, 1000000);
	memset(large, 'x', 1000000);
	next = arena_alloc(&a, 16);
	if (POOLED) {
		assert_ptr_equal(next, small + 16);
		assert_int_equal(arena_bytes(&a), 1024 + 1000000 + 16);
	}
	memset(small, 'a', 16);
	memset(next, 'b', 16);
	assert_int_equal(large[0], 'x');
	assert_int_equal(large[999999], 'x');
	arena_drop(&a);
	assert_int_equal(arena_bytes(&a), 0);
}

static void large_piece_first(void **state)
{
	struct arena a = ARENA_INIT;
	char *large = arena_alloc(&a, 70000);

	memset(large, 'x', 70000);
	memset(arena_alloc(&a, 100), 'y', 100);
	assert_int_equal(large[69999], 'x');
	if (POOLED)
		assert_int_equal(arena_bytes(&a), 70016 + 1024);
	arena_drop(&a);
}

static void zeroed_after_reuse(void **state)
{
	struct arena a = ARENA_INIT;

	for (int round = 0; round < 3; round++) {
		unsigned char *p = arena_zero(&a, 600);
		for (int i = 0; i < 600; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, 600);
		arena_drop(&a);
	}
}

static void pool_is_used(void **state)
{
	struct arena a = ARENA_INIT;
	void *first, *second;

	if (!POOLED || RUNNING_ON_VALGRIND)
		skip();
	first = arena_alloc(&a, 10);
	arena_drop(&a);
	second = arena_alloc(&a, 10);
	assert_ptr_equal(first, second);
	arena_drop(&a);
}

/* More than the pool holds: the rest goes back, nothing breaks (valgrind watches). */
static void pool_is_bounded(void **state)
{
	static struct arena many[600];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 600; i++)
			memset(arena_alloc(&many[i], 1000), i & 255, 1000);
		for (int i = 0; i < 600; i++)
			arena_drop(&many[i]);
	}
}

static void copies_end_in_nul(void **state)
{
	struct arena a = ARENA_INIT;

	assert_string_equal(arena_copy(&a, "abcdef", 3), "abc");
	assert_string_equal(arena_copy(&a, NULL, 0), "");
	assert_memory_equal(arena_copy(&a, "a\0b", 3), "a\0b", 4);
	arena_drop(&a);
}

static void printf_short_and_long(void **state)
{
	struct arena a = ARENA_INIT;
	char *text;

	assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
	for (int n = 250; n < 260; n++) {
		text = arena_printf(&a, "%0*d", n, 7);
		assert_int_equal(strlen(text), n);
		assert_int_equal(text[n - 1], '7');
	}
	arena_drop(&a);
}

static void arrays_and_products(void **state)
{
	struct arena a = ARENA_INIT;
	int *numbers = arena_array(&a, int, 10);

	assert_int_equal(numbers[9], 0);
	assert_true(arena_times(SIZE_MAX / 2, 3) == SIZE_MAX);
	assert_int_equal(arena_times(6, 7), 42);
	arena_drop(&a);
}

static void insane_sizes_abort(void **state)
{
	struct arena a = ARENA_INIT;
	volatile size_t huge = SIZE_MAX, over = ((size_t)1 << 30) + 1;

	assert_aborts(arena_alloc(&a, huge));
	assert_aborts(arena_alloc(&a, huge - 14));
	assert_aborts(arena_alloc(&a, over));
	arena_alloc(&a, 1);
	assert_aborts(arena_alloc(&a, huge));
	arena_drop(&a);
}

static void zero_size(void **state)
{
	struct arena a = ARENA_INIT;

	assert_non_null(arena_alloc(&a, 0));
	assert_non_null(arena_alloc(&a, 0));
	arena_drop(&a);
}

UNIT_MAIN(T(empty_owns_nothing), T(aligned_and_disjoint), T(first_block_is_small),
	T(block_filled_to_the_brim), T(blocks_stop_growing), T(large_piece_keeps_the_room),
	T(large_piece_first), T(zeroed_after_reuse), T(pool_is_used), T(pool_is_bounded),
	T(copies_end_in_nul), T(printf_short_and_long), T(arrays_and_products),
	T(insane_sizes_abort), T(zero_size))
