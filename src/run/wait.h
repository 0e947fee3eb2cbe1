/*
 * Waits: every one has a label for the operator and an absolute deadline.
 *
 * A wait ends for one of three reasons and says which. Being cancelled is for
 * good: every later wait of the fiber returns WAIT_CANCELLED at once, so a
 * cancelled fiber runs straight to its end.
 */
#ifndef SPURN_RUN_WAIT_H
#define SPURN_RUN_WAIT_H

#include "run/fiber.h"
#include "run/loop.h"

enum wait_result { WAIT_READY, WAIT_TIMEOUT, WAIT_CANCELLED };

/* Until the descriptor is ready for one of `events` (WATCH_READ, WATCH_WRITE). Returns at once
 * if w->ready says so already. */
ASYNC enum wait_result wait_watch(struct watch *w, unsigned events, const char *label, deadline d);
/* Until the moment, or cancellation: WAIT_TIMEOUT is the normal result. */
ASYNC enum wait_result wait_until(const char *label, deadline d);

/* An event that fibers wait for: a question under way, a place that becomes free. */
struct event {
	struct ring waiters;
	bool set;
};
void event_init(struct event *e);
/* Wakes all who wait; later waits return at once until event_clear(). */
void event_set(struct event *e);
void event_clear(struct event *e);
/* Wakes the first who waits, without setting it. false: nobody waited. */
bool event_wake_one(struct event *e);
ASYNC enum wait_result wait_event(struct event *e, const char *label, deadline d);

/* Lets everyone else have a turn; for long computations. */
ASYNC void wait_yield(void);

#endif
