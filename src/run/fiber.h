/*
 * Fibers: linear code that may wait, on a borrowed stack.
 *
 * A fiber is started when there is something to do and gives its stack back
 * when the function returns; idle sessions are structs in the loop and own
 * none. Stacks come from a capped pool of guarded mappings (two mappings a
 * stack: the cap keeps us far below vm.max_map_count). When the pool is empty,
 * further jobs wait in line, first come, first served; nothing fails.
 *
 * Rejected: a fiber per connection (dies at connection 32,753 on a default
 * kernel), callbacks only (a command handler becomes five), ucontext alone
 * (a system call for the signal mask at every switch: 229 ns against 16).
 *
 * Code that may switch carries ASYNC in its prototype and takes an absolute
 * deadline last. What it held across a wait it re-checks.
 */
#ifndef SPURN_RUN_FIBER_H
#define SPURN_RUN_FIBER_H

#include "base/clock.h"
#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>

#define ASYNC	/* this function may wait: other code runs in between */

struct fiber;

/* A fiber to be: lives inside its owner, must stay until fn has returned or
 * fiber_job_cancel() has taken it out of the line. */
struct fiber_job {
	struct ring line;		/* place in the line while no stack is free */
	void (*fn)(void *arg);
	void *arg;
	const char *name;		/* for the list of waits, static or longer-lived */
	struct fiber *fiber;		/* once it runs; NULL again when fn has returned */
	bool queued;			/* in line or running */
	bool detached;			/* the pool frees it */
	uint8_t depth;			/* 0: started by the loop; n + 1: by a fiber of depth n */
};

/* stacks: cap of the pool; stack_size: usable bytes of each (64 KiB is our default). */
void fiber_init(size_t stacks, size_t stack_size);
void fiber_drop(void);

/* Runs fn(arg) on a stack of its own: at once if called from the scheduler and a stack
 * is free, else as soon as possible. What fibers start goes before what the loop starts, and a
 * quarter of the stacks is kept for it: fibers that wait for their helpers cannot starve them. */
void fiber_start(struct fiber_job *job, const char *name, void (*fn)(void *), void *arg);
/* For work that nobody owns (detached): the job struct is kept by the pool. */
void fiber_detach(const char *name, void (*fn)(void *), void *arg);
/* All waits of this fiber, present and future, return WAIT_CANCELLED. A job still in line is
 * taken out and will not run. Safe if it has ended. */
void fiber_job_cancel(struct fiber_job *job);
static inline bool fiber_job_active(const struct fiber_job *job) { return job->queued; }

/* The running fiber, NULL on the scheduler's stack. */
struct fiber *fiber_self(void);
bool fiber_cancelled(void);
const char *fiber_name(const struct fiber *f);

/* Calls fn(arg) on the scheduler's stack and returns: for libraries with large frames
 * (OpenSSL, PCRE2, JSON), so that fiber stacks stay small. fn must not wait. On
 * the scheduler's stack it simply calls. */
void fiber_hoist(void (*fn)(void *), void *arg);

/* ---- groups: several fibers under one wait ---- */

struct group {
	struct ring members;
	struct fiber *waiter;
	size_t running;
	bool cancelled;
};

struct group_member {
	struct fiber_job job;
	struct ring link;
	struct group *group;
	void (*fn)(void *arg);
	void *arg;
};

void group_init(struct group *g);
/* member lives at least until group_wait() has returned. */
void group_start(struct group *g, struct group_member *member, const char *name,
	void (*fn)(void *), void *arg);
/* Waits until all members have ended. When the deadline passes or the caller is
 * cancelled, the members are cancelled and then waited for (they end at their
 * next wait), so no member outlives the call. true: all ended by themselves. */
ASYNC bool group_wait(struct group *g, const char *label, deadline d);
/* Cancels the members that still run; whoever waits for the group goes on when they have ended. From anywhere. */
void group_cancel(struct group *g);

/* ---- for operators ---- */

struct fiber_wait_info {
	const char *name, *label;
	nanoseconds since;	/* monotonic */
	deadline until;
};
/* Calls fn for each waiting fiber. */
void fiber_each_wait(void (*fn)(const struct fiber_wait_info *info, void *arg), void *arg);

struct fiber_stats {
	size_t stacks, in_use, in_line, most_used;
};
struct fiber_stats fiber_stats(void);

/* ---- used by loop.c, wait.c and stream.c alone ---- */

struct ring *fiber_link(struct fiber *f);	/* to stand in a list of waiters */
struct fiber *fiber_of_link(struct ring *link);
/* Gives the turn away until fiber_wake(), the deadline or cancellation; returns enum wait_result. The caller
 * has put fiber_link() in some ring, or set w->waiter to the fiber (then w is given). */
struct watch;
ASYNC int fiber_park(struct watch *w, const char *label, deadline d);
/* The wait of this fiber ends with this result. Nothing if it does not wait. Takes it out of its ring or watch. */
void fiber_wake(struct fiber *f, int result);
ASYNC void fiber_yield(void);
/* Fairness: true once in 16 calls without a wait in between. */
bool fiber_tired(void);
bool fiber_pending(void);	/* some fiber can run */
bool fiber_turn(void);		/* runs them; false: none ran */

#endif
