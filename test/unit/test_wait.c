/* Waits: descriptors, moments, events; what each returns and what it leaves behind. */
#include "turns.h"

#include <sys/eventfd.h>

static char order[4096];
static struct event event;
static struct watch watch;

static void note(char c)
{
	size_t n = strlen(order);

	assert_true(n + 1 < sizeof(order));
	order[n] = c;
	order[n + 1] = '\0';
}

static int wait_setup(void **state)
{
	order[0] = '\0';
	event_init(&event);
	return turns_setup(state);
}

#define wait_test(f) cmocka_unit_test_setup_teardown(f, wait_setup, turns_teardown)

static void note_result(enum wait_result r)
{
	note(r == WAIT_READY ? 'r' : r == WAIT_TIMEOUT ? 't' : 'c');
}

/* ---- descriptors ---- */

static void reads(void *arg)
{
	note_result(wait_watch(&watch, WATCH_READ, "reading", deadline_in(5 * NS_PER_SECOND)));
}

static int watch_one(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	assert_true(watch_add(&watch, fd, WATCH_READ, NULL));
	return fd;
}

static void test_watch_becomes_ready(void **state)
{
	struct fiber_job job = { 0 };
	int fd = watch_one();

	fiber_start(&job, "a", reads, NULL);
	turns_now();
	assert_string_equal(order, "");
	eventfd_write(fd, 1);
	turns_now();
	assert_string_equal(order, "r");
	fiber_start(&job, "b", reads, NULL);	/* the flag is still up: at once */
	assert_string_equal(order, "rr");
	watch_close(&watch);
}

static void test_watch_times_out(void **state)
{
	struct fiber_job job = { 0 };

	watch_one();
	fiber_start(&job, "a", reads, NULL);
	turns();
	assert_string_equal(order, "t");
	assert_null(watch.waiter);
	assert_true(clock_now() >= EPOCH + 5 * NS_PER_SECOND);
	watch_close(&watch);
}

/* What comes while we were too slow to look is not a timeout. */
static void test_ready_wins_over_a_deadline_passed_in_the_same_turn(void **state)
{
	struct fiber_job job = { 0 };
	int fd = watch_one();

	fiber_start(&job, "a", reads, NULL);
	eventfd_write(fd, 1);
	clock_fake_advance(60 * NS_PER_SECOND);
	turns_now();
	assert_string_equal(order, "r");
	watch_close(&watch);
}

static void test_watch_closed_wakes(void **state)
{
	struct fiber_job job = { 0 };

	watch_one();
	fiber_start(&job, "a", reads, NULL);
	watch_close(&watch);
	memset(&watch, 0x5a, sizeof(watch));	/* nobody looks at it any more */
	turns_now();
	assert_string_equal(order, "r");
}

static void test_watch_cancelled_and_gone(void **state)
{
	struct fiber_job job = { 0 };

	watch_one();
	fiber_start(&job, "a", reads, NULL);
	fiber_job_cancel(&job);
	assert_null(watch.waiter);
	watch_close(&watch);
	memset(&watch, 0x5a, sizeof(watch));
	turns_now();
	assert_string_equal(order, "c");
}

/* ---- moments ---- */

static void sleeps(void *arg)
{
	note_result(wait_until("sleeping", *(deadline *)arg));
}

static void test_until(void **state)
{
	struct fiber_job a = { 0 }, b = { 0 };
	deadline past = EPOCH - 1, soon = EPOCH + NS_PER_SECOND;

	fiber_start(&a, "a", sleeps, &past);
	assert_string_equal(order, "t");
	fiber_start(&b, "b", sleeps, &soon);
	turns_now();
	assert_string_equal(order, "t");
	turns();
	assert_string_equal(order, "tt");
}

/* ---- events ---- */

static void waits(void *arg)
{
	enum wait_result r = wait_event(&event, "event", arg ? *(deadline *)arg : DEADLINE_NONE);

	note_result(r);
}

static void test_event_wakes_all_and_stays_set(void **state)
{
	struct fiber_job jobs[4] = { { .fn = NULL } };

	for (int i = 0; i < 3; i++)
		fiber_start(&jobs[i], "a", waits, NULL);
	event_set(&event);
	turns_now();
	assert_string_equal(order, "rrr");
	fiber_start(&jobs[3], "b", waits, NULL);
	assert_string_equal(order, "rrrr");
	event_clear(&event);
	fiber_start(&jobs[3], "c", waits, NULL);
	turns_now();
	assert_string_equal(order, "rrrr");
	assert_true(event_wake_one(&event));
	assert_false(event_wake_one(&event));
	turns_now();
	assert_string_equal(order, "rrrrr");
	assert_false(event.set);
}

static void waits_by_name(void *arg)
{
	wait_event(&event, "event", DEADLINE_NONE);
	note(*(char *)arg);
}

static void test_event_wakes_one_at_a_time_in_order(void **state)
{
	struct fiber_job jobs[3] = { { .fn = NULL } };
	char names[] = "abc";

	for (int i = 0; i < 3; i++)
		fiber_start(&jobs[i], "a", waits_by_name, &names[i]);
	fiber_job_cancel(&jobs[1]);
	assert_true(event_wake_one(&event));
	turns_now();
	assert_string_equal(order, "ba");
	assert_true(event_wake_one(&event));
	turns_now();
	assert_string_equal(order, "bac");
	assert_false(event_wake_one(&event));
}

static void test_event_times_out_and_is_left(void **state)
{
	struct fiber_job job = { 0 };
	deadline d = EPOCH + NS_PER_SECOND;

	fiber_start(&job, "a", waits, &d);
	turns();
	assert_string_equal(order, "t");
	assert_true(ring_empty(&event.waiters));
}

static void test_event_freed_while_its_waiter_is_on_the_way(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "a", waits, NULL);
	event_set(&event);
	memset(&event, 0x5a, sizeof(event));
	turns_now();
	assert_string_equal(order, "r");
}

/* Every wait list is a ring: waking is O(1) each, whoever stands where. */
static void test_many_waiters(void **state)
{
	enum { COUNT = 2000 };
	static struct fiber_job jobs[COUNT];

	fiber_drop();
	fiber_init(COUNT * 2, 16 * 1024);
	memset(jobs, 0, sizeof(jobs));
	for (int i = 0; i < COUNT; i++)
		fiber_start(&jobs[i], "a", waits, NULL);
	for (int i = COUNT - 1; i >= 0; i -= 2)
		fiber_job_cancel(&jobs[i]);
	event_set(&event);
	turns_now();
	assert_int_equal(strlen(order), COUNT);
	assert_int_equal(fiber_stats().in_use, 0);
}

/* ---- yielding ---- */

static void yields(void *arg)
{
	for (int i = 0; i < 3; i++) {
		note(*(char *)arg);
		wait_yield();
	}
}

static void test_yield_gives_the_others_their_turn(void **state)
{
	struct fiber_job a = { 0 }, b = { 0 };

	fiber_start(&a, "a", yields, "a");
	fiber_start(&b, "b", yields, "b");
	assert_string_equal(order, "ab");
	assert_true(loop_turn(DEADLINE_NONE));
	assert_string_equal(order, "abab");
	turns_now();
	assert_string_equal(order, "ababab");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		wait_test(test_watch_becomes_ready),
		wait_test(test_watch_times_out),
		wait_test(test_ready_wins_over_a_deadline_passed_in_the_same_turn),
		wait_test(test_watch_closed_wakes),
		wait_test(test_watch_cancelled_and_gone),
		wait_test(test_until),
		wait_test(test_event_wakes_all_and_stays_set),
		wait_test(test_event_wakes_one_at_a_time_in_order),
		wait_test(test_event_times_out_and_is_left),
		wait_test(test_event_freed_while_its_waiter_is_on_the_way),
		wait_test(test_many_waiters),
		wait_test(test_yield_gives_the_others_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
