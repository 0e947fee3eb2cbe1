/* Time: turns, the fake clock, deadlines, and the calendar against the C library's. */
#include "unit.h"

#include "base/clock.h"

#include <locale.h>
#include <stdio.h>

static void real_clock_stands_within_a_turn(void **state)
{
	nanoseconds now, wall, precise;
	struct timespec t;

	assert_false(clock_is_fake());
	now = clock_now();	/* before the first turn: reads by itself */
	assert_true(now > 0);
	clock_turn();
	now = clock_now();
	wall = clock_wall();
	usleep(2000);
	assert_true(clock_now() == now);
	assert_true(clock_wall() == wall);
	precise = clock_precise();
	assert_true(precise - now >= 2 * NS_PER_MS);
	clock_turn();
	assert_true(clock_now() >= precise);
	assert_true(clock_wall() - wall == clock_now() - now);
	clock_gettime(CLOCK_REALTIME, &t);
	assert_true(llabs((long long)(t.tv_sec - clock_wall_seconds())) <= 2);
}

static void fake_clock_stands_until_moved(void **state)
{
	clock_fake(1000, 5000 * NS_PER_SECOND);
	assert_true(clock_is_fake());
	clock_turn();
	assert_int_equal(clock_now(), 1000);
	assert_int_equal(clock_precise(), 1000);
	assert_int_equal(clock_wall_seconds(), 5000);
	clock_fake_advance(3 * NS_PER_SECOND);
	clock_turn();
	assert_int_equal(clock_now(), 1000 + 3 * NS_PER_SECOND);
	assert_int_equal(clock_wall(), 5003 * NS_PER_SECOND);
}

static void deadlines(void **state)
{
	deadline d;

	clock_fake(NS_PER_SECOND, 0);
	d = deadline_in(10 * NS_PER_MS);
	assert_int_equal(d, NS_PER_SECOND + 10 * NS_PER_MS);
	assert_false(deadline_passed(d));
	assert_int_equal(deadline_left(d), 10 * NS_PER_MS);
	clock_fake_advance(10 * NS_PER_MS - 1);
	assert_false(deadline_passed(d));
	assert_int_equal(deadline_left(d), 1);
	clock_fake_advance(1);
	assert_true(deadline_passed(d));
	assert_int_equal(deadline_left(d), 0);
	clock_fake_advance(NS_PER_SECOND);
	assert_int_equal(deadline_left(d), 0);
	assert_false(deadline_passed(DEADLINE_NONE));
	assert_true(deadline_left(DEADLINE_NONE) > 0);
	assert_int_equal(deadline_min(DEADLINE_NONE, d), d);
	assert_int_equal(deadline_min(d, d + 1), d);
}

static void rfc5322_dates(void **state)
{
	char out[32];

	clock_rfc5322(INT64_C(1795402199) * NS_PER_SECOND, out);
	assert_string_equal(out, "Mon, 23 Nov 2026 02:49:59 +0000");
	clock_rfc5322(0, out);
	assert_string_equal(out, "Thu, 1 Jan 1970 00:00:00 +0000");
	clock_rfc5322(INT64_C(951782400) * NS_PER_SECOND, out);
	assert_string_equal(out, "Tue, 29 Feb 2000 00:00:00 +0000");
	clock_rfc5322(-1, out);
	assert_string_equal(out, "Wed, 31 Dec 1969 23:59:59 +0000");
}

static void rfc3339_dates(void **state)
{
	char out[25];

	clock_rfc3339(INT64_C(1795402199123999999), out);
	assert_string_equal(out, "2026-11-23T02:49:59.123Z");
	clock_rfc3339(INT64_C(1795402199009000000), out);
	assert_string_equal(out, "2026-11-23T02:49:59.009Z");
	clock_rfc3339(-1, out);
	assert_string_equal(out, "1969-12-31T23:59:59.999Z");
	clock_rfc3339(-NS_PER_SECOND, out);
	assert_string_equal(out, "1969-12-31T23:59:59.000Z");
	clock_rfc3339(INT64_MAX, out);
	assert_string_equal(out, "2262-04-11T23:47:16.854Z");
	clock_rfc3339(INT64_MIN, out);
	assert_string_equal(out, "1677-09-21T00:12:43.145Z");
}

/* Every day from 1900 to 2262, at a second that wanders, against gmtime_r() and strftime(). */
static void calendar_agrees_with_libc(void **state)
{
	char out[32], expected[64], full[32];
	struct tm tm;

	setlocale(LC_ALL, "C");
	for (int64_t day = -25567; day < 106700; day++) {
		time_t t = day * 86400 + (day * 7919 % 86400 + 86400) % 86400;
		gmtime_r(&t, &tm);
		clock_rfc3339(t * NS_PER_SECOND, full);
		strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
		assert_string_equal(full, expected);
		clock_rfc5322(t * NS_PER_SECOND, out);
		strftime(expected, sizeof(expected), "%a, %-d %b %Y %H:%M:%S +0000", &tm);
		assert_string_equal(out, expected);
	}
}

UNIT_MAIN(T(real_clock_stands_within_a_turn), T(fake_clock_stands_until_moved), T(deadlines),
	T(rfc5322_dates), T(rfc3339_dates), T(calendar_agrees_with_libc))
