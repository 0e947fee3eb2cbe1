/* The spool: memory, budget, file, full disk. */
#include "turns.h"

#include "edge/spool.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>

static struct spool_pool pool;
static char chunk[SPOOL_CHUNK];

static int setup(void **state)
{
	turns_setup(state);
	for (size_t i = 0; i < sizeof(chunk); i++)
		chunk[i] = (char)('a' + i % 26);
	spool_pool_init(&pool, "/tmp", 4 * SPOOL_CHUNK, 6 * SPOOL_CHUNK);
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(pool.used, 0);
	spool_pool_drop(&pool);
	return turns_teardown(state);
}

static void fill(struct spool *s, size_t octets)
{
	while (octets > 0) {
		size_t n = octets < 1000 ? octets : 1000;

		assert_true(spool_add(s, slice_make(chunk + s->size % 26, n)));
		octets -= n;
	}
}

/* ---- sending ---- */

static struct sending {
	struct spool *spool;
	uint64_t from;
	struct stream to;
	int fd;
	enum wait_result result;
} sending;

static void nothing(struct stream *s)
{
	(void)s;
}

static void send_it(void *arg)
{
	(void)arg;
	sending.result = spool_send(sending.spool, sending.from, SLICE("lead."), SLICE(".tail"), &sending.to,
		"test", deadline_in(60 * NS_PER_SECOND));
	if (sending.result == WAIT_READY)
		sending.result = stream_drain(&sending.to, "test", deadline_in(60 * NS_PER_SECOND));
}

/* Sends the spool and compares with what was filled in. */
static void assert_sends(struct spool *s, uint64_t from)
{
	struct fiber_job job = { 0 };
	uint64_t wanted = s->size - from + 10, got = 0;
	char in[65536];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	sending = (struct sending){ .spool = s, .from = from };
	assert_true(stream_open(&sending.to, pair[0], nothing, NULL));
	fiber_start(&job, "send", send_it, NULL);
	while (got < wanted) {
		ssize_t n = recv(pair[1], in, sizeof(in), MSG_DONTWAIT);

		for (ssize_t i = 0; i < n; i++) {
			uint64_t at = got + (uint64_t)i;
			char octet = at < 5 ? "lead."[at] : at >= wanted - 5 ? ".tail"[at - (wanted - 5)] :
				(char)('a' + (at - 5 + from) % 26);

			if (in[i] != octet)
				fail_msg("octet %llu is %c, not %c", (unsigned long long)at, in[i], octet);
		}
		if (n > 0)
			got += (uint64_t)n;
		loop_turn(clock_now());
	}
	loop_turn(clock_now());
	assert_false(fiber_job_active(&job));
	assert_int_equal(sending.result, WAIT_READY);
	stream_close(&sending.to);
	close(pair[1]);
}

static void small_messages_stay_in_memory(void **state)
{
	struct spool s;

	spool_init(&s, &pool);
	fill(&s, 5000);
	assert_int_equal(s.fd, -1);
	assert_int_equal(pool.used, SPOOL_CHUNK);
	assert_sends(&s, 0);
	assert_sends(&s, 4999);
	assert_sends(&s, 5000);
	spool_drop(&s);
	assert_int_equal(s.size, 0);
}

static void chunks_are_joined(void **state)
{
	struct spool s;

	spool_init(&s, &pool);
	fill(&s, 3 * SPOOL_CHUNK + 17);
	assert_int_equal(s.fd, -1);
	assert_sends(&s, 0);
	assert_sends(&s, SPOOL_CHUNK);
	assert_sends(&s, 2 * SPOOL_CHUNK + 5);
	spool_drop(&s);
}

static void over_its_share_it_moves_to_a_file(void **state)
{
	struct spool s;

	spool_init(&s, &pool);
	fill(&s, 4 * SPOOL_CHUNK + 123);
	assert_true(s.fd >= 0);
	assert_int_equal(pool.used, 0);
	assert_int_equal(s.size, 4 * SPOOL_CHUNK + 123);
	fill(&s, 777);
	assert_sends(&s, 0);
	assert_sends(&s, 100000);
	spool_drop(&s);
	assert_int_equal(s.fd, -1);
}

static void an_exhausted_budget_moves_it_too(void **state)
{
	struct spool one, two, three;

	spool_init(&one, &pool);
	spool_init(&two, &pool);
	spool_init(&three, &pool);
	fill(&one, 4 * SPOOL_CHUNK);
	fill(&two, 2 * SPOOL_CHUNK);
	fill(&three, 10);
	assert_int_equal(one.fd, -1);
	assert_true(three.fd >= 0);
	assert_sends(&three, 3);
	spool_drop(&one);
	spool_drop(&two);
	spool_drop(&three);
}

static void one_add_may_span_memory_and_file(void **state)
{
	struct spool s;
	char *large = malloc(9 * SPOOL_CHUNK);

	for (size_t i = 0; i < 9 * SPOOL_CHUNK; i++)
		large[i] = (char)('a' + i % 26);
	spool_init(&s, &pool);
	assert_true(spool_add(&s, slice_make(large, 9 * SPOOL_CHUNK)));
	assert_int_equal(s.size, 9 * SPOOL_CHUNK);
	assert_sends(&s, 0);
	spool_drop(&s);
	free(large);
}

static void a_directory_that_is_not_there(void **state)
{
	struct spool s;

	pool.directory = "/nonexistent";
	spool_init(&s, &pool);
	while (s.size < 4 * SPOOL_CHUNK)
		assert_true(spool_add(&s, slice_make(chunk, SPOOL_CHUNK)));
	assert_false(spool_add(&s, SLICE("x")));
	assert_int_equal(s.error, ENOENT);
	assert_false(spool_add(&s, SLICE("x")));
	spool_drop(&s);
}

/* A file that may not grow stands for a disk that is full. */
static void a_full_disk_is_an_error_that_stays(void **state)
{
	struct rlimit before, small = { 5 * SPOOL_CHUNK, RLIM_INFINITY };
	struct spool s;

	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	spool_init(&s, &pool);
	while (s.size < 5 * SPOOL_CHUNK)
		assert_true(spool_add(&s, slice_make(chunk, SPOOL_CHUNK)));
	assert_false(spool_add(&s, slice_make(chunk, SPOOL_CHUNK)));
	assert_int_equal(s.error, EFBIG);
	assert_false(spool_add(&s, SLICE("x")));
	spool_drop(&s);
	setrlimit(RLIMIT_FSIZE, &before);
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(S(small_messages_stay_in_memory), S(chunks_are_joined), S(over_its_share_it_moves_to_a_file),
	S(an_exhausted_budget_moves_it_too), S(one_add_may_span_memory_and_file), S(a_directory_that_is_not_there),
	S(a_full_disk_is_an_error_that_stays))
