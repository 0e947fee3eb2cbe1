/* The content of a spooled message, read again. */
#include "turns.h"

#include "edge/transaction.h"

static struct spool_pool pool;
static struct transaction tx;

static int setup(void **state)
{
	turns_setup(state);
	memset(&tx, 0, sizeof(tx));
	spool_pool_init(&pool, "/tmp", 2 * SPOOL_CHUNK, 4 * SPOOL_CHUNK);
	spool_init(&tx.spool, &pool);
	return 0;
}

static int teardown(void **state)
{
	spool_drop(&tx.spool);
	spool_pool_drop(&pool);
	return turns_teardown(state);
}

/* Reads from the cursor on with a buffer of `room` octets. */
static struct slice read_on(struct arena *a, struct content_cursor *at, size_t room)
{
	struct content_source source = content_of(&tx);
	struct str out = STR_IN(a);

	for (;;) {
		ptrdiff_t n = source.read(source.arg, at, str_room(&out, room), room);

		assert_true(n >= 0);
		if (n == 0)
			return str_slice(&out);
		out.n += (size_t)n;
	}
}

static void assert_reads(const char *wire, const char *content)
{
	struct arena a = ARENA_INIT;

	spool_add(&tx.spool, slice_of(wire));
	for (size_t room = 1; room < 12; room++) {
		struct content_cursor at = { 0 };
		struct slice got = read_on(&a, &at, room);

		if (!slice_eq(got, slice_of(content)))
			fail_msg("with %zu octets at once: %.*s", room, SLICE_ARG(got));
	}
	arena_drop(&a);
}

static void doubled_dots_are_taken_out(void **state)
{
	assert_reads("..first\r\na.b\r\n..\r\n...c\r\n.. \n..d\r..e\r\n", ".first\r\na.b\r\n.\r\n..c\r\n. \n..d\r..e\r\n");
}

static void what_arrives_later_is_read_later(void **state)
{
	struct arena a = ARENA_INIT;
	struct content_cursor at = { 0 };

	assert_int_equal(read_on(&a, &at, 10).n, 0);
	spool_add(&tx.spool, SLICE("one\r\n"));
	assert_true(slice_eq(read_on(&a, &at, 3), SLICE("one\r\n")));
	spool_add(&tx.spool, SLICE("..two"));
	assert_true(slice_eq(read_on(&a, &at, 3), SLICE(".two")));
	arena_drop(&a);
}

static void a_spool_that_moved_to_a_file_reads_on(void **state)
{
	static char text[SPOOL_CHUNK - 7];
	struct arena a = ARENA_INIT;
	struct content_cursor at = { 0 };
	size_t seen = 0;

	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 4; i++) {
		assert_true(spool_add(&tx.spool, slice_make(text, sizeof(text))));
		seen += read_on(&a, &at, 1000).n;
	}
	assert_true(tx.spool.fd >= 0);
	assert_int_equal(seen, 4 * sizeof(text));
	arena_drop(&a);
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(S(doubled_dots_are_taken_out), S(what_arrives_later_is_read_later),
	S(a_spool_that_moved_to_a_file_reads_on))
