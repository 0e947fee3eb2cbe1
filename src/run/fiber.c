/*
 * Fibers: the pool of stacks, the switch, the line, cancellation, groups.
 *
 * There is one scheduler, the loop, and every switch is between it and a fiber; fibers never
 * switch to each other. So the scheduler's stack is a place where any fiber may
 * have a function called (fiber_hoist), and the order in which things run is the
 * order in which they became ready.
 *
 * A stack is taken from the top of a pile and put back there: the same few
 * stacks are used again and again and stay in the cache. What lies at the bottom unused for ten
 * seconds is given back to the kernel, contents only; the mapping stays. The structs
 * stand apart from the stacks, since a struct on its stack would keep a page of it alive.
 *
 * Helpers started by fibers (a question to each DNS list, say) come before new
 * work and may use the last quarter of the stacks; deeper ones the last eighth,
 * and so on. Else a hundred sessions that each wait for their helpers could hold
 * all stacks while the helpers stand in line.
 *
 * Rejected: growing stacks by copying (pointers into them), segmented stacks
 * (no library is compiled for them), a scheduler that is itself a fiber (one more
 * stack, and hoisting would need a third).
 */
#include "run/fiber.h"

#include "base/log.h"
#include "run/fiber_switch.h"
#include "run/loop.h"
#include "run/wait.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(start, end) 0
#define VALGRIND_STACK_DEREGISTER(id) (void)(id)
#endif

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)0)
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)0)
#endif

#define GUARD 65536			/* what GCC takes for granted on aarch64 (stack-clash-protection-guard-size) */
#define DEPTHS 4			/* lines: started by the loop, by a fiber, by a helper, deeper */
#define TURN_LIMIT 10000		/* resumes in one turn before the kernel is asked again */
#define TRIM_AFTER (10 * NS_PER_SECOND)
#define TIRED_AFTER 16

struct fiber {
	fiber_place place;
	char *stack;			/* above its guard */
	struct fiber_job *job;
	struct ring link;		/* ready, or among an event's waiters */
	struct watch *watch;		/* what it waits for, if a watch */
	struct timer timer;
	const char *label;
	nanoseconds since;
	deadline until;
	void (*hoisted)(void *);	/* to be called on the scheduler's stack */
	void *hoisted_arg;
	void *asan_fake;
	unsigned valgrind_id;
	uint8_t result;			/* enum wait_result of the wait that ended */
	uint8_t depth;
	uint8_t spins;			/* see fiber_tired() */
	bool waiting, cancelled, ended, dirty;
};

static struct {
	size_t cap, made, size;
	struct fiber *fibers;		/* cap of them */
	struct fiber **pile;		/* free ones, the last used on top */
	size_t free, in_line, most_used, least_free;
	struct ring line[DEPTHS], ready, yielded;
	struct fiber *current;
	bool hoisting;
	fiber_place scheduler;
	const void *asan_bottom;
	size_t asan_size;
	struct timer trim;
} pool;

/* ---- stacks ---- */

/* False: the kernel has no more mappings for us; the cap is then what we have. */
static bool stack_map(struct fiber *f)
{
	char *p = mmap(NULL, pool.size + GUARD, PROT_NONE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (p == MAP_FAILED)
		return false;
	if (mprotect(p + GUARD, pool.size, PROT_READ | PROT_WRITE) < 0) {
		munmap(p, pool.size + GUARD);
		return false;
	}
	f->stack = p + GUARD;
	f->valgrind_id = VALGRIND_STACK_REGISTER(f->stack, f->stack + pool.size);
	return true;
}

static void stack_unmap(struct fiber *f)
{
	VALGRIND_STACK_DEREGISTER(f->valgrind_id);
#ifdef FIBER_ASAN
	ASAN_UNPOISON_MEMORY_REGION(f->stack, pool.size);
#endif
	munmap(f->stack - GUARD, pool.size + GUARD);
	f->stack = NULL;
}

/* Gives back the memory of stacks that nobody took since the last time. */
static void stacks_trim(struct timer *t)
{
	size_t dirty = 0;

	for (size_t i = 0; i < pool.free; i++) {
		struct fiber *f = pool.pile[i];

		if (f->dirty && i < pool.least_free) {
			madvise(f->stack, pool.size, MADV_DONTNEED);
			f->dirty = false;
		}
		dirty += f->dirty;
	}
	pool.least_free = pool.free;
	if (dirty)
		timer_set(t, deadline_in(TRIM_AFTER));
}

static void wait_expired(struct timer *t)
{
	struct fiber *f = container_of(t, struct fiber, timer);

	fiber_wake(f, WAIT_TIMEOUT);
}

/* Stacks kept free for jobs deeper than this. */
static size_t kept_from(unsigned depth)
{
	return depth < DEPTHS - 1 ? pool.cap >> (2 + depth) : 0;
}

/* A free fiber for a job of this depth, or NULL. */
static struct fiber *fiber_take(unsigned depth)
{
	struct fiber *f;

	if (pool.free + (pool.cap - pool.made) <= kept_from(depth))
		return NULL;
	if (pool.free == 0) {
		f = &pool.fibers[pool.made];
		if (!stack_map(f)) {
			BUG_ON(pool.made == 0);
			pool.cap = pool.made;
			return NULL;
		}
		pool.made++;
		f->timer.fn = wait_expired;
		ring_init(&f->link);
	} else {
		f = pool.pile[--pool.free];
	}
	if (pool.free < pool.least_free)
		pool.least_free = pool.free;
	if (pool.made - pool.free > pool.most_used)
		pool.most_used = pool.made - pool.free;
	return f;
}

static void fiber_release(struct fiber *f)
{
	pool.pile[pool.free++] = f;
	f->dirty = true;
	if (!timer_is_set(&pool.trim))
		timer_set(&pool.trim, deadline_in(TRIM_AFTER));
}

void fiber_init(size_t stacks, size_t stack_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	BUG_ON(pool.fibers || stacks == 0);
	memset(&pool, 0, sizeof(pool));
	pool.cap = stacks;
	pool.size = (stack_size + page - 1) / page * page;
	pool.fibers = calloc(stacks, sizeof(*pool.fibers));
	pool.pile = calloc(stacks, sizeof(struct fiber *));
	BUG_ON(!pool.fibers || !pool.pile);
	for (int i = 0; i < DEPTHS; i++)
		ring_init(&pool.line[i]);
	ring_init(&pool.ready);
	ring_init(&pool.yielded);
	pool.trim.fn = stacks_trim;
}

void fiber_drop(void)
{
	BUG_ON(pool.current);
	if (!pool.fibers)
		return;
	timer_clear(&pool.trim);
	for (size_t i = 0; i < pool.made; i++) {
		timer_clear(&pool.fibers[i].timer);
		stack_unmap(&pool.fibers[i]);
	}
	free(pool.fibers);
	free(pool.pile);
	memset(&pool, 0, sizeof(pool));
}

/* ---- the switch ---- */

static void to_scheduler(struct fiber *f)
{
	__sanitizer_start_switch_fiber(f->ended ? NULL : &f->asan_fake, pool.asan_bottom, pool.asan_size);
	fiber_switch(&f->place, &pool.scheduler);
	__sanitizer_finish_switch_fiber(f->asan_fake, &pool.asan_bottom, &pool.asan_size);
}

static void to_fiber(struct fiber *f)
{
#ifdef FIBER_ASAN
	void *fake;
#endif
	__sanitizer_start_switch_fiber(&fake, f->stack, pool.size);
	fiber_switch(&pool.scheduler, &f->place);
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

static void fiber_main(void *arg)
{
	struct fiber *f = arg;

	__sanitizer_finish_switch_fiber(NULL, &pool.asan_bottom, &pool.asan_size);
	f->job->fn(f->job->arg);
	f->ended = true;
	to_scheduler(f);
}

static void fiber_end(struct fiber *f)
{
	struct fiber_job *job = f->job;

	f->job = NULL;
	timer_set(&f->timer, DEADLINE_NONE);
	job->fiber = NULL;
	job->queued = false;
	if (job->detached)
		free(job);
	fiber_release(f);
}

/* Runs f until it waits or ends, and what it wants called here. */
static void fiber_resume(struct fiber *f)
{
	BUG_ON(pool.current);
	pool.current = f;
	for (;;) {
		void (*fn)(void *);

		to_fiber(f);
		if (!f->hoisted)
			break;
		fn = f->hoisted;
		f->hoisted = NULL;
		pool.hoisting = true;
		fn(f->hoisted_arg);
		pool.hoisting = false;
	}
	pool.current = NULL;
	if (f->ended)
		fiber_end(f);
}

void fiber_hoist(void (*fn)(void *), void *arg)
{
	struct fiber *f = pool.current;

	if (!f || pool.hoisting) {
		fn(arg);
		return;
	}
	f->hoisted_arg = arg;
	f->hoisted = fn;
	to_scheduler(f);
}

struct fiber *fiber_self(void) { return pool.current; }
bool fiber_cancelled(void) { return pool.current && pool.current->cancelled; }
const char *fiber_name(const struct fiber *f) { return f->job ? f->job->name : "(ended)"; }

/* ---- starting ---- */

static void fiber_launch(struct fiber *f, struct fiber_job *job)
{
	f->job = job;
	f->depth = job->depth;
	f->cancelled = f->ended = f->waiting = false;
	f->spins = 0;
	job->fiber = f;
	fiber_prepare(&f->place, f->stack, pool.size, fiber_main, f);
	fiber_resume(f);
}

static void line_add(struct fiber_job *job)
{
	if (pool.current)
		job->depth = (uint8_t)(pool.current->depth < DEPTHS - 1 ? pool.current->depth + 1 : DEPTHS - 1);
	ring_add_last(&pool.line[job->depth], &job->line);
	pool.in_line++;
}

void fiber_start(struct fiber_job *job, const char *name, void (*fn)(void *), void *arg)
{
	struct fiber *f;

	BUG_ON(job->queued || !pool.fibers);
	*job = (struct fiber_job){ .fn = fn, .arg = arg, .name = name, .queued = true };
	ring_init(&job->line);
	f = pool.current || pool.in_line > 0 ? NULL : fiber_take(0);
	if (f)
		fiber_launch(f, job);
	else
		line_add(job);
}

void fiber_detach(const char *name, void (*fn)(void *), void *arg)
{
	struct fiber_job *job = calloc(1, sizeof(*job));

	BUG_ON(!job);
	*job = (struct fiber_job){ .fn = fn, .arg = arg, .name = name, .queued = true, .detached = true };
	line_add(job);
}

void fiber_job_cancel(struct fiber_job *job)
{
	struct fiber *f = job->fiber;

	if (!job->queued)
		return;
	if (f) {
		f->cancelled = true;
		fiber_wake(f, WAIT_CANCELLED);
		return;
	}
	ring_remove(&job->line);
	pool.in_line--;
	job->queued = false;
}

/* The first in line for whom there is a stack, the deepest line first. */
static struct fiber *line_next(struct fiber_job **job)
{
	for (int depth = DEPTHS - 1; depth >= 0 && pool.in_line > 0; depth--) {
		struct fiber *f;

		if (ring_empty(&pool.line[depth]))
			continue;
		f = fiber_take((unsigned)depth);
		if (f) {
			*job = container_of(pool.line[depth].next, struct fiber_job, line);
			return f;
		}
	}
	return NULL;
}

static bool line_moves(void)
{
	size_t left = pool.free + (pool.cap - pool.made);

	if (pool.in_line == 0)
		return false;
	for (unsigned depth = 0; depth < DEPTHS; depth++)
		if (!ring_empty(&pool.line[depth]) && left > kept_from(depth))
			return true;
	return false;
}

bool fiber_pending(void)
{
	return pool.fibers && (!ring_empty(&pool.ready) || !ring_empty(&pool.yielded) || line_moves());
}

static void ready_take_yielded(void)
{
	while (!ring_empty(&pool.yielded)) {
		struct ring *link = pool.yielded.next;

		ring_remove(link);
		ring_add_last(&pool.ready, link);
	}
}

bool fiber_turn(void)
{
	int resumed = 0;

	if (!pool.fibers)
		return false;
	ready_take_yielded();
	for (; resumed < TURN_LIMIT; resumed++) {
		struct fiber_job *job;
		struct fiber *f;

		if (!ring_empty(&pool.ready)) {
			f = container_of(pool.ready.next, struct fiber, link);
			ring_remove(&f->link);
			fiber_resume(f);
		} else if ((f = line_next(&job))) {
			ring_remove(&job->line);
			pool.in_line--;
			fiber_launch(f, job);
		} else {
			break;
		}
	}
	return resumed > 0;
}

/* ---- waiting ---- */

struct ring *fiber_link(struct fiber *f) { return &f->link; }
struct fiber *fiber_of_link(struct ring *link) { return container_of(link, struct fiber, link); }

int fiber_park(struct watch *w, const char *label, deadline d)
{
	struct fiber *f = pool.current;

	BUG_ON(!f || pool.hoisting);	/* ASYNC code on the scheduler's stack */
	f->watch = w;
	f->label = label;
	f->since = clock_now();
	f->until = d;
	f->spins = 0;
	f->waiting = true;
	if (d != DEADLINE_NONE)
		timer_set(&f->timer, d);
	to_scheduler(f);
	return f->result;
}

void fiber_wake(struct fiber *f, int result)
{
	if (!f->waiting)
		return;
	f->waiting = false;
	f->result = (uint8_t)result;
	f->label = NULL;
	if (f->watch)
		f->watch->waiter = NULL;
	f->watch = NULL;
	timer_set(&f->timer, DEADLINE_NONE);
	ring_remove(&f->link);
	ring_add_last(&pool.ready, &f->link);
}

void fiber_yield(void)
{
	struct fiber *f = pool.current;

	BUG_ON(!f || pool.hoisting);
	f->spins = 0;
	ring_add_last(&pool.yielded, &f->link);
	to_scheduler(f);
}

bool fiber_tired(void)
{
	struct fiber *f = pool.current;

	if (!f || ++f->spins < TIRED_AFTER)
		return false;
	f->spins = 0;
	return true;
}

/* ---- groups ---- */

void group_init(struct group *g)
{
	memset(g, 0, sizeof(*g));
	ring_init(&g->members);
}

static void member_ended(struct group_member *member)
{
	struct group *g = member->group;

	ring_remove(&member->link);
	g->running--;
	if (g->running == 0 && g->waiter)
		fiber_wake(g->waiter, WAIT_READY);
}

static void member_run(void *arg)
{
	struct group_member *member = arg;

	member->fn(member->arg);
	member_ended(member);
}

void group_start(struct group *g, struct group_member *member, const char *name,
	void (*fn)(void *arg), void *arg)
{
	memset(member, 0, sizeof(*member));
	member->group = g;
	member->fn = fn;
	member->arg = arg;
	ring_add_last(&g->members, &member->link);
	g->running++;
	fiber_start(&member->job, name, member_run, member);
}

void group_cancel(struct group *g)
{
	struct ring *at = g->members.next;

	g->cancelled = true;
	while (at != &g->members) {
		struct group_member *member = container_of(at, struct group_member, link);

		at = at->next;
		fiber_job_cancel(&member->job);
		if (!fiber_job_active(&member->job))	/* it stood in line and will not run */
			member_ended(member);
	}
}

bool group_wait(struct group *g, const char *label, deadline d)
{
	BUG_ON(!pool.current || g->waiter);
	g->waiter = pool.current;
	while (g->running > 0) {
		bool over = g->cancelled || fiber_cancelled() || deadline_passed(d);

		if (over && !g->cancelled)
			group_cancel(g);	/* may leave nobody to wait for */
		else
			fiber_park(NULL, label, g->cancelled ? DEADLINE_NONE : d);
	}
	g->waiter = NULL;
	return !g->cancelled;
}

/* ---- for operators ---- */

void fiber_each_wait(void (*fn)(const struct fiber_wait_info *info, void *arg), void *arg)
{
	for (size_t i = 0; i < pool.made; i++) {
		struct fiber *f = &pool.fibers[i];

		if (f->waiting)
			fn(&(struct fiber_wait_info){ f->job->name, f->label, f->since, f->until }, arg);
	}
}

struct fiber_stats fiber_stats(void)
{
	return (struct fiber_stats){ pool.cap, pool.made - pool.free, pool.in_line, pool.most_used };
}
