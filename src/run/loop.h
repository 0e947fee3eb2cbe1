/*
 * The event loop: one per worker process, one turn after another.
 *
 * The life of a turn: ask epoll, and sleep there until something happens or the
 * next timer is due; read the clock; tell the watches; fire the timers that are
 * due (after the watches, so that a peer whose answer has come is not timed out
 * because we were slow); run the fibers that became ready until none is; run
 * the jobs put off to the end of the turn (journal before sockets); empty the
 * graveyard. Objects are freed only there, so a handler may drop the object
 * it was called for, and no later event of the same turn meets freed memory.
 *
 * Watches are edge-triggered by default: one epoll_ctl() in the life of a
 * connection. `ready` keeps what the kernel said until a read or a write
 * meets EAGAIN. Libraries that expect level-triggered events (libunbound) say
 * so with WATCH_LEVEL.
 *
 * With the fake clock (clock_fake) a turn in which nothing is ready moves time
 * to the next timer instead of sleeping: tests of five-minute timeouts take
 * microseconds and always give the same result.
 */
#ifndef SPURN_RUN_LOOP_H
#define SPURN_RUN_LOOP_H

#include "base/clock.h"
#include "base/table.h"

#include <stdbool.h>

enum {
	WATCH_READ = 1,
	WATCH_WRITE = 2,
	WATCH_HANGUP = 4,	/* reported only: the peer closed or an error is pending */
	WATCH_LEVEL = 8,	/* asked only: level-triggered, for foreign libraries */
	WATCH_WOKE = 16,	/* told only: the fiber that waited for this has been woken */
};

struct watch;
typedef void watch_fn(struct watch *w, unsigned events);

struct watch {
	watch_fn *fn;		/* called on the scheduler's stack; may be NULL while a fiber waits */
	struct fiber *waiter;	/* the fiber that waits for this descriptor, if any (wait.h) */
	int fd;			/* -1: not watched */
	uint8_t wants;		/* WATCH_READ | WATCH_WRITE | WATCH_LEVEL */
	uint8_t ready;		/* edge-triggered: what may be possible without EAGAIN */
	uint8_t waits;		/* what the waiter waits for */
};

struct timer {
	struct heap_node node;		/* key: never later than when */
	deadline when;
	void (*fn)(struct timer *t);
};

/* Work for the end of this turn, intrusive; at most once queued. */
struct job {
	struct job *next;
	void (*fn)(struct job *j);
	bool queued;
};

/* Sets up the loop of this process. Exits with a message if the kernel refuses. */
void loop_init(void);
void loop_run(void);		/* until loop_stop() */
void loop_stop(void);
/* One turn; sleeps at most until `until`. Returns false when nothing happened: with the fake
 * clock that is when nothing is ready and no timer is due by `until` (time then stands at
 * `until`, if that is a moment). So while (loop_turn(DEADLINE_NONE)) runs a test to its end. */
bool loop_turn(deadline until);
void loop_drop(void);		/* closes the epoll descriptor; for tests and after fork */

/* The fake clock must not jump while a thread or process of ours is at work that will report on
 * a descriptor: +1 before handing it the work, -1 when it has reported. No effect on a real clock. */
void loop_outside(int change);
/* The fake clock: wait so many real milliseconds for the kernel or a peer process before each jump (default 0). */
void loop_patience(int milliseconds);

/* Watches fd with fn. The descriptor must be non-blocking. false: the kernel refused (errno). */
bool watch_add(struct watch *w, int fd, unsigned wants, watch_fn *fn);
/* WATCH_LEVEL watches only: change what is wanted. */
void watch_change(struct watch *w, unsigned wants);
/* Stops watching; does not close. Idempotent. A fiber that waits for it wakes, WAIT_READY. */
void watch_remove(struct watch *w);
/* Stops watching and closes: one system call less. */
void watch_close(struct watch *w);
/* The watch at `from` goes on at `to` (which is overwritten); its fn becomes fn. */
void watch_move(struct watch *to, struct watch *from, watch_fn *fn);

/* Sets or moves a timer. A zeroed struct timer with fn is valid. Moving a timer to a later moment is lazy:
 * the heap is corrected when the old moment comes near. DEADLINE_NONE: never (lazy too). */
void timer_set(struct timer *t, deadline when);
/* Before the timer's memory goes away. Idempotent. */
void timer_clear(struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
	return t->node.at != 0 && t->when != DEADLINE_NONE;
}

/* Runs j->fn at the end of this turn, in the order queued. Queued by a job: at the end of the next. */
void loop_later(struct job *j);
/* The last thing a turn does before the graveyard, after all jobs. */
void loop_bury(void (*bury)(void *), void *object);

/* Calls fn in the loop, outside signal context, whenever the signal arrives (NULL: back to the default).
 * loop_init() ignores SIGPIPE. */
void loop_signal(int signo, void (*fn)(int signo));

/* Counters for status: turns, longest turn. */
struct loop_stats {
	uint64_t turns, events, timers;
	nanoseconds longest_turn;
};
const struct loop_stats *loop_stats(void);

#endif
