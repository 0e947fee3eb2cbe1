/* Who may ask a scanner now: places, the circuit breaker, and what status says of it. */
#include "turns.h"

#include "check/scanner.h"

static struct scanners *all;
static struct scanner_conf conf;
static const char *why;

static int setup(void **state)
{
	turns_setup(state);
	all = scanners_open();
	conf = (struct scanner_conf){ .name = "test", .address = "unix:/nonexistent", .kind = SCANNER_CLAMD, .connections = 4 };
	return 0;
}

static int teardown(void **state)
{
	scanners_close(all);
	return turns_teardown(state);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

struct asker {
	struct fiber_job job;
	struct scanner *scanner;
	bool done, entered;
	const char *why;
	deadline until;
};

static void ask(void *arg)
{
	struct asker *a = arg;

	a->entered = scanner_enter(a->scanner, &a->why, a->until);
	a->done = true;
}

static void start(struct asker *a, nanoseconds span)
{
	*a = (struct asker){ .scanner = scanner_of(all, &conf), .until = deadline_in(span) };
	fiber_start(&a->job, "asker", ask, a);
	turns_now();
}

static void take(const struct scanner_info *info, void *arg)
{
	*(struct scanner_info *)arg = *info;
}

static struct scanner_info status(void)
{
	struct scanner_info info = { 0 };

	scanners_each(all, take, &info);
	return info;
}

static void one_state_for_one_scanner(void **state)
{
	struct scanner_conf other = conf;

	(void)state;
	assert_ptr_equal(scanner_of(all, &conf), scanner_of(all, &other));
	other.address = "inet:127.0.0.1:3310";
	assert_ptr_not_equal(scanner_of(all, &conf), scanner_of(all, &other));
}

static void places_are_handed_on_in_line(void **state)
{
	struct asker a[6];

	(void)state;
	for (int i = 0; i < 6; i++)
		start(&a[i], 10 * NS_PER_SECOND);
	assert_true(a[3].entered);
	assert_false(a[4].done || a[5].done);
	scanner_leave(a[0].scanner, NULL);
	turns_now();
	assert_true(a[4].entered);
	assert_false(a[5].done);
	turns();
	assert_true(a[5].done);
	assert_false(a[5].entered);
	assert_non_null(strstr(a[5].why, "busy"));
	for (int i = 0; i < 4; i++)
		scanner_leave(a[1].scanner, NULL);
	assert_int_equal(status().out, 0);
}

static void streams_leave_half_of_the_places(void **state)
{
	struct scanner *s = scanner_of(all, &conf);

	(void)state;
	assert_true(scanner_try_enter(s));
	assert_true(scanner_try_enter(s));
	assert_false(scanner_try_enter(s));
	scanner_withdraw(s);
	assert_true(scanner_try_enter(s));
	scanner_withdraw(s);
	scanner_withdraw(s);
	assert_int_equal(status().failures, 0);
}

static bool enters(void)
{
	struct asker a;

	start(&a, NS_PER_SECOND);
	assert_true(a.done);
	why = a.why;
	return a.entered;
}

static void fail_once(void)
{
	assert_true(enters());
	scanner_leave(scanner_of(all, &conf), "it is broken");
}

static void three_failures_open_the_breaker(void **state)
{
	struct scanner *s = scanner_of(all, &conf);

	(void)state;
	fail_once();
	fail_once();
	assert_true(enters());		/* an answer in between closes the count */
	scanner_leave(s, NULL);
	fail_once();
	fail_once();
	assert_false(status().open);
	fail_once();
	assert_true(status().open);
	assert_false(enters());
	assert_string_equal(why, "it is broken");
	assert_false(scanner_try_enter(s));
	/* One probe at a time, and a failed one doubles the pause. */
	clock_fake_advance(NS_PER_SECOND);
	assert_true(enters());
	assert_false(enters());
	scanner_leave(s, "still broken");
	clock_fake_advance(NS_PER_SECOND);
	assert_false(enters());
	clock_fake_advance(NS_PER_SECOND);
	assert_true(enters());
	scanner_leave(s, NULL);
	assert_false(status().open);
	assert_true(enters());
	scanner_leave(s, NULL);
}

static void the_pause_ends_growing(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		fail_once();
		clock_fake_advance(60 * NS_PER_SECOND);
	}
	assert_true(enters());
	scanner_withdraw(scanner_of(all, &conf));	/* dropped by us: it is asked again at once */
	assert_true(enters());
	scanner_leave(scanner_of(all, &conf), NULL);
}

UNIT_MAIN(test(one_state_for_one_scanner), test(places_are_handed_on_in_line), test(streams_leave_half_of_the_places),
	test(three_failures_open_the_breaker), test(the_pause_ends_growing))
