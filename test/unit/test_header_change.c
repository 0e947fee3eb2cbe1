/* header_change: the section with each kind of change, and with all of them. */
#include "unit.h"

#include "wire/envelope.h"
#include "wire/message.h"

static struct arena arena;
static struct header header;
static struct header_changes changes;

static int setup(void **state)
{
	changes = (struct header_changes){ .first = NULL };
	header_init(&header, &arena, 10000, 100);
	header_push(&header, SLICE("A: 1\r\nB: 2\r\n more\r\nC: 3\r\n\r\n"));
	return 0;
}

static int teardown(void **state)
{
	arena_drop(&arena);
	return 0;
}

static void add(enum header_change_kind kind, uint32_t field, const char *text)
{
	header_change_add(&changes, &arena, kind, field, slice_of(text));
}

static void assert_header(const char *expected, uint32_t count)
{
	const struct header *h = header_changed(&arena, &header, &changes);

	assert_slice(str_slice(&h->bytes), expected);
	assert_int_equal(h->count, count);
	assert_true(h->done);
}

static void test_none(void **state)
{
	assert_ptr_equal(header_changed(&arena, &header, &changes), &header);
}

static void test_each(void **state)
{
	add(HEADER_REMOVE, 1, "");
	assert_header("A: 1\r\nC: 3\r\n", 2);
	changes = (struct header_changes){ .first = NULL };
	add(HEADER_REPLACE, 1, "B: new\r\n");
	assert_header("A: 1\r\nB: new\r\nC: 3\r\n", 3);
	changes = (struct header_changes){ .first = NULL };
	add(HEADER_INSERT, 2, "N: 0\r\n");
	assert_header("A: 1\r\nB: 2\r\n more\r\nN: 0\r\nC: 3\r\n", 4);
	changes = (struct header_changes){ .first = NULL };
	add(HEADER_PREPEND, 0, "X: 1\r\n");
	add(HEADER_PREPEND, 0, "Y: 1\r\n");
	assert_header("X: 1\r\nY: 1\r\nA: 1\r\nB: 2\r\n more\r\nC: 3\r\n", 5);
}

static void test_all(void **state)
{
	add(HEADER_APPEND, 0, "Z: 1\r\n");
	add(HEADER_REMOVE, 0, "");
	add(HEADER_INSERT, 0, "I: 1\r\n");
	add(HEADER_REPLACE, 2, "C: 4\r\nD: 5\r\n");
	add(HEADER_PREPEND, 7, "P: 1\r\n");
	assert_header("P: 1\r\nI: 1\r\nB: 2\r\n more\r\nC: 4\r\nD: 5\r\nZ: 1\r\n", 6);
}

#define TS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(TS(test_none), TS(test_each), TS(test_all))
