/*
 * Waits on watches, moments and events.
 *
 * A waiting fiber stands in exactly one place: as the waiter of a watch, in the
 * ring of an event, or nowhere (a mere moment). Whoever wakes it takes it out of that place at
 * once, before it runs; so the object it waited for may be freed in between, and a
 * fiber that comes back from a wait touches nothing but its own stack. Every step is
 * O(1), however many wait.
 *
 * Rejected: condition variables with a predicate callback (the caller's
 * loop says it better), waiting for one of several watches (a group of
 * fibers does that, with linear code in each).
 */
#include "run/wait.h"

#include "base/log.h"

enum wait_result wait_watch(struct watch *w, unsigned events, const char *label, deadline d)
{
	BUG_ON(!fiber_self());
	if (fiber_cancelled())
		return WAIT_CANCELLED;
	if (w->fd < 0 || (w->ready & events))	/* level-triggered ones keep no `ready` */
		return WAIT_READY;
	if (deadline_passed(d))
		return WAIT_TIMEOUT;
	BUG_ON(w->waiter);
	w->waiter = fiber_self();
	w->waits = (uint8_t)events;
	return fiber_park(w, label, d);
}

enum wait_result wait_until(const char *label, deadline d)
{
	BUG_ON(!fiber_self());
	if (fiber_cancelled())
		return WAIT_CANCELLED;
	if (deadline_passed(d))
		return WAIT_TIMEOUT;
	return fiber_park(NULL, label, d);
}

void event_init(struct event *e)
{
	ring_init(&e->waiters);
	e->set = false;
}

bool event_wake_one(struct event *e)
{
	if (ring_empty(&e->waiters))
		return false;
	fiber_wake(fiber_of_link(e->waiters.next), WAIT_READY);
	return true;
}

void event_set(struct event *e)
{
	e->set = true;
	while (event_wake_one(e))
		;
}

void event_clear(struct event *e) { e->set = false; }

enum wait_result wait_event(struct event *e, const char *label, deadline d)
{
	BUG_ON(!fiber_self());
	if (fiber_cancelled())
		return WAIT_CANCELLED;
	if (e->set)
		return WAIT_READY;
	if (deadline_passed(d))
		return WAIT_TIMEOUT;
	ring_add_last(&e->waiters, fiber_link(fiber_self()));
	return fiber_park(NULL, label, d);
}

void wait_yield(void)
{
	if (!fiber_cancelled())
		fiber_yield();
}
