/*
 * The event loop: epoll, timers, signals, jobs, graveyard.
 *
 * Watches are edge-triggered, so a connection costs one epoll_ctl() in its
 * life and a reader that met EAGAIN (or a short read) makes no further system call
 * until the kernel speaks again. A batch of 256 events is taken at once; a
 * watch that is removed while the batch is being told is struck out of it, so
 * its memory may be reused at once even without the graveyard.
 *
 * Timers live in one heap. A session that moves its timer five minutes ahead at
 * every command touches no heap at all: the key stays, `when` moves, and the key is
 * corrected once it is the smallest, before we would sleep for it. So nothing
 * wakes in vain either.
 *
 * Closing a descriptor takes it out of epoll, unless a forked child still holds a
 * copy: then the kernel would go on reporting a watch that no longer exists.
 * watch_close() saves the system call only in a process that has never forked.
 *
 * Rejected: libev or libuv (their timers and fiber switches would meet
 * in callbacks, and neither knows our fake clock); io_uring (forbidden by many
 * seccomp profiles, and its gain is small at two dozen calls a message);
 * signalfd (needs blocked signals, which children inherit); a timer wheel (the
 * lazy heap is hardly touched).
 */
#include "run/loop.h"

#include "base/log.h"
#include "run/fiber.h"
#include "run/wait.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH 256
#define SIGNALS 65

struct grave {
	void (*bury)(void *);
	void *object;
};

static struct {
	int epoll;		/* + 1; 0: no loop */
	bool stopping, forked;
	int outside, patience;
	int count, next;	/* of events: how many, which comes next */
	struct heap timers;
	struct job *first, *last;
	struct grave *graves;
	size_t buried, plots;
	struct loop_stats stats;
	struct epoll_event events[BATCH];
} loop;

static struct {
	struct watch watch;
	uint64_t arrived;	/* bit n: signal n */
	int fd;			/* eventfd + 1 */
	void (*fn[SIGNALS])(int);
} signals;

/* ---- watches ---- */

static uint32_t epoll_mask(unsigned wants)
{
	uint32_t mask = 0;

	if (wants & WATCH_READ)
		mask |= EPOLLIN | EPOLLRDHUP;
	if (wants & WATCH_WRITE)
		mask |= EPOLLOUT;
	if (!(wants & WATCH_LEVEL))
		mask |= EPOLLET;
	return mask;
}

static bool control(int op, struct watch *w, unsigned wants)
{
	struct epoll_event e = { .events = epoll_mask(wants), .data.ptr = w };

	return epoll_ctl(loop.epoll - 1, op, w->fd, &e) == 0;
}

bool watch_add(struct watch *w, int fd, unsigned wants, watch_fn *fn)
{
	BUG_ON(loop.epoll == 0);
	memset(w, 0, sizeof(*w));
	w->fn = fn;
	w->fd = fd;
	w->wants = (uint8_t)wants;
	/* Level-triggered and nothing wanted: stay out, epoll would report hang-ups for ever. */
	if (!(wants & (WATCH_READ | WATCH_WRITE)) || control(EPOLL_CTL_ADD, w, wants))
		return true;
	w->fd = -1;
	return false;
}

void watch_change(struct watch *w, unsigned wants)
{
	bool was = w->wants & (WATCH_READ | WATCH_WRITE), is = wants & (WATCH_READ | WATCH_WRITE);

	BUG_ON(!(w->wants & WATCH_LEVEL) || w->fd < 0);
	wants |= WATCH_LEVEL;
	if (wants == w->wants)
		return;
	w->wants = (uint8_t)wants;
	if (was || is)
		control(!is ? EPOLL_CTL_DEL : was ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w, wants);
}

/* Events of this batch that are still to be told to w will not be. */
static void strike_out(struct watch *w)
{
	for (int i = loop.next; i < loop.count; i++)
		if (loop.events[i].data.ptr == w)
			loop.events[i].data.ptr = NULL;
}

static void forget(struct watch *w)
{
	w->fd = -1;
	strike_out(w);
	if (w->waiter)
		fiber_wake(w->waiter, WAIT_READY);
}

void watch_remove(struct watch *w)
{
	if (w->fd < 0)
		return;
	if (w->wants & (WATCH_READ | WATCH_WRITE))
		epoll_ctl(loop.epoll - 1, EPOLL_CTL_DEL, w->fd, NULL);
	forget(w);
}

void watch_close(struct watch *w)
{
	int fd = w->fd;

	if (fd < 0)
		return;
	if (loop.forked)
		watch_remove(w);
	else
		forget(w);
	close(fd);
}

void watch_move(struct watch *to, struct watch *from, watch_fn *fn)
{
	BUG_ON(from->fd < 0 || from->waiter);
	*to = *from;
	to->fn = fn;
	control(EPOLL_CTL_MOD, to, to->wants);
	forget(from);
}

static void tell(struct watch *w, uint32_t mask)
{
	unsigned events = 0;

	if (mask & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		events |= WATCH_READ;
	if (mask & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		events |= WATCH_WRITE;
	if (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		events |= WATCH_HANGUP;
	if (!(w->wants & WATCH_LEVEL))
		w->ready |= (uint8_t)events;
	if (w->waiter && (w->waits & events)) {
		fiber_wake(w->waiter, WAIT_READY);
		events |= WATCH_WOKE;
	}
	if (w->fn)
		w->fn(w, events);
}

static void tell_all(void)
{
	loop.stats.events += (uint64_t)loop.count;
	while (loop.next < loop.count) {
		struct epoll_event *e = &loop.events[loop.next++];

		if (e->data.ptr)
			tell(e->data.ptr, e->events);
	}
	loop.count = loop.next = 0;
}

/* ---- timers ---- */

static struct timer *timer_of(struct heap_node *node)
{
	return container_of(node, struct timer, node);
}

void timer_set(struct timer *t, deadline when)
{
	t->when = when;
	if (t->node.at ? when < t->node.key : when != DEADLINE_NONE)
		heap_set(&loop.timers, &t->node, when);
}

void timer_clear(struct timer *t)
{
	if (t->node.at)
		heap_remove(&loop.timers, &t->node);
	t->when = DEADLINE_NONE;
}

/* The next timer, with keys corrected that timer_set() left behind. */
static struct timer *timer_next(void)
{
	struct heap_node *node;

	while ((node = heap_min(&loop.timers))) {
		struct timer *t = timer_of(node);

		if (t->when == node->key)
			return t;
		if (t->when == DEADLINE_NONE)
			heap_remove(&loop.timers, node);
		else
			heap_set(&loop.timers, node, t->when);
	}
	return NULL;
}

/* One that sets itself to now again fires in the next turn: the bound is the count before. */
static bool fire_timers(void)
{
	nanoseconds now = clock_now();
	size_t bound = loop.timers.count, fired = 0;
	struct timer *t;

	while (fired < bound && heap_min(&loop.timers) && heap_min(&loop.timers)->key <= now &&
	    (t = timer_next()) && t->when <= now) {
		timer_clear(t);
		fired++;
		t->fn(t);
	}
	loop.stats.timers += fired;
	return fired > 0;
}

/* ---- jobs and graves ---- */

void loop_later(struct job *j)
{
	if (j->queued)
		return;
	j->queued = true;
	j->next = NULL;
	if (loop.last)
		loop.last->next = j;
	else
		loop.first = j;
	loop.last = j;
}

static bool run_jobs(void)
{
	struct job *j = loop.first;
	bool any = j != NULL;

	loop.first = loop.last = NULL;
	while (j) {
		struct job *next = j->next;

		j->queued = false;
		j->fn(j);
		j = next;
	}
	return any;
}

void loop_bury(void (*bury)(void *), void *object)
{
	if (loop.buried == loop.plots) {
		loop.plots = loop.plots ? loop.plots * 2 : 64;
		loop.graves = realloc(loop.graves, loop.plots * sizeof(*loop.graves));
		BUG_ON(!loop.graves);
	}
	loop.graves[loop.buried++] = (struct grave){ bury, object };
}

static bool bury_all(void)
{
	bool any = loop.buried > 0;

	for (size_t i = 0; i < loop.buried; i++) {	/* a burial may add another */
		struct grave g = loop.graves[i];

		g.bury(g.object);
	}
	loop.buried = 0;
	return any;
}

/* ---- the turn ---- */

static bool work_waits(void)
{
	return loop.first || loop.buried || fiber_pending();
}

/* How long to sleep, in milliseconds, rounded up: a timer is never early, and we do not spin for it. */
static int patience(deadline until, nanoseconds now)
{
	struct timer *t = timer_next();
	nanoseconds left;

	if (t)
		until = deadline_min(until, t->when);
	if (until == DEADLINE_NONE)
		return -1;
	left = until > now ? until - now : 0;
	left = (left + NS_PER_MS - 1) / NS_PER_MS;
	return left > 3600000 ? 3600000 : (int)left;
}

static void ask(int milliseconds)
{
	int n = epoll_wait(loop.epoll - 1, loop.events, BATCH, milliseconds);

	if (n < 0 && errno != EINTR) {
		perror("epoll_wait");
		abort();
	}
	loop.count = n > 0 ? n : 0;
	loop.next = 0;
}

/* Nothing was ready: time moves to the next timer, at most to until. */
static void jump(deadline until)
{
	struct timer *t = timer_next();

	if (t)
		until = deadline_min(until, t->when);
	if (until != DEADLINE_NONE && until > clock_now())
		clock_fake_advance(until - clock_now());
}

static void await(deadline until)
{
	bool busy = work_waits();
	nanoseconds now = clock_precise();

	if (loop.stats.turns++ && !clock_is_fake() && now - clock_now() > loop.stats.longest_turn)
		loop.stats.longest_turn = now - clock_now();
	if (!clock_is_fake()) {
		ask(busy ? 0 : patience(until, now));
		clock_turn();
		return;
	}
	ask(busy ? 0 : loop.outside > 0 ? 10000 : loop.patience);
	if (!busy && loop.count == 0)
		jump(until);
}

bool loop_turn(deadline until)
{
	bool any;

	BUG_ON(loop.epoll == 0);
	await(until);
	any = loop.count > 0;
	tell_all();
	any |= fire_timers();
	any |= fiber_turn();
	any |= run_jobs();
	any |= bury_all();
	return any;
}

void loop_run(void)
{
	loop.stopping = false;
	while (!loop.stopping) {
		struct pollfd p = { .fd = loop.epoll - 1, .events = POLLIN };

		/* With the fake clock and nothing to do, only the outside can help. */
		if (!loop_turn(DEADLINE_NONE) && clock_is_fake() && !loop.stopping)
			poll(&p, 1, -1);
	}
}

void loop_stop(void) { loop.stopping = true; }
const struct loop_stats *loop_stats(void) { return &loop.stats; }
void loop_outside(int change) { loop.outside += change; }
void loop_patience(int milliseconds) { loop.patience = milliseconds; }

/* ---- signals ---- */

static void signal_handler(int signo)
{
	int saved = errno;

	__atomic_fetch_or(&signals.arrived, UINT64_C(1) << (signo - 1), __ATOMIC_SEQ_CST);
	if (signals.fd)
		eventfd_write(signals.fd - 1, 1);	/* full: it is readable already */
	errno = saved;
}

static void signals_ready(struct watch *w, unsigned events)
{
	uint64_t arrived;
	eventfd_t count;

	(void)events;
	eventfd_read(w->fd, &count);
	arrived = __atomic_exchange_n(&signals.arrived, 0, __ATOMIC_SEQ_CST);
	for (int signo = 1; signo < SIGNALS; signo++)
		if (arrived >> (signo - 1) & 1 && signals.fn[signo])
			signals.fn[signo](signo);
}

static void signals_open(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0 || !watch_add(&signals.watch, fd, WATCH_READ, signals_ready)) {
		perror("eventfd");
		exit(1);
	}
	signals.fd = fd + 1;
	if (signals.arrived)		/* between fork and here */
		eventfd_write(fd, 1);
}

void loop_signal(int signo, void (*fn)(int signo))
{
	struct sigaction action = { .sa_handler = fn ? signal_handler : SIG_DFL, .sa_flags = SA_RESTART };

	BUG_ON(signo < 1 || signo >= SIGNALS);
	if (!signals.fd)
		signals_open();
	signals.fn[signo] = fn;
	sigemptyset(&action.sa_mask);
	sigaction(signo, &action, NULL);
}

/* ---- begin and end ---- */

static void forked_parent(void) { loop.forked = true; }

void loop_init(void)
{
	static bool hooked;
	int fd = epoll_create1(EPOLL_CLOEXEC);

	BUG_ON(loop.epoll != 0);
	if (fd < 0) {
		perror("epoll_create1");
		exit(1);
	}
	if (!hooked)
		pthread_atfork(NULL, forked_parent, NULL);
	hooked = true;
	memset(&loop, 0, sizeof(loop));
	loop.epoll = fd + 1;
	signal(SIGPIPE, SIG_IGN);
	clock_turn();
}

void loop_drop(void)
{
	if (loop.epoll == 0)
		return;
	if (signals.fd)
		close(signals.fd - 1);
	memset(&signals, 0, sizeof(signals));
	close(loop.epoll - 1);
	for (size_t i = 0; i < loop.timers.count; i++)
		loop.timers.nodes[i]->at = 0;
	heap_drop(&loop.timers);
	free(loop.graves);
	memset(&loop, 0, sizeof(loop));
}
