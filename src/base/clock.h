/*
 * Time. Intervals are measured on the monotonic clock, which no administrator
 * sets; the wall clock is for records and for expiry stamps that outlive us.
 *
 * The loop reads the clock once a turn (clock_turn), code reads the stored
 * value: cheap, and every decision of a turn sees the same time. Tests replace
 * both clocks (clock_fake) and move them by hand.
 *
 * A deadline is an absolute monotonic moment in nanoseconds:
 * deadlines add up right where timeouts do not.
 */
#ifndef SPURN_BASE_CLOCK_H
#define SPURN_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef int64_t nanoseconds;
typedef int64_t deadline;	/* absolute, monotonic, nanoseconds */

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)
#define DEADLINE_NONE INT64_MAX

/* Reads both clocks anew. Called by the loop at the start of each turn. */
void clock_turn(void);
/* Monotonic now, as of this turn. */
nanoseconds clock_now(void);
/* Wall clock now, nanoseconds since the epoch, as of this turn. */
nanoseconds clock_wall(void);
static inline time_t clock_wall_seconds(void) { return (time_t)(clock_wall() / NS_PER_SECOND); }
/* Reads the monotonic clock itself, for measuring costs within a turn. */
nanoseconds clock_precise(void);

static inline deadline deadline_in(nanoseconds span) { return clock_now() + span; }
static inline bool deadline_passed(deadline d) { return clock_now() >= d; }
static inline deadline deadline_min(deadline a, deadline b) { return a < b ? a : b; }
/* Nanoseconds left, never below zero. */
static inline nanoseconds deadline_left(deadline d)
{
	nanoseconds left = d - clock_now();
	return left > 0 ? left : 0;
}

/* Tests: from now on time stands still at these values until moved. */
void clock_fake(nanoseconds monotonic, nanoseconds wall);
void clock_fake_advance(nanoseconds span);
bool clock_is_fake(void);

/* RFC 5322 section 3.3 date-time in UTC, "Mon, 23 Nov 2026 02:49:59 +0000"; 32 bytes with NUL. */
void clock_rfc5322(nanoseconds wall, char out[32]);
/* RFC 3339 with milliseconds in UTC, "2026-11-23T02:49:59.123Z"; 25 bytes with NUL. */
void clock_rfc3339(nanoseconds wall, char out[25]);

#endif
