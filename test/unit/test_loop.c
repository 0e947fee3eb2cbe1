/* The turn: its order, timers, graveyard, signals, and what the fake clock does to it. */
#include "turns.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

static char order[64];

static void note(char c)
{
	size_t n = strlen(order);

	assert_true(n + 1 < sizeof(order));
	order[n] = c;
	order[n + 1] = '\0';
}

/* ---- order ---- */

static struct event wakes;

static void watch_notes(struct watch *w, unsigned events)
{
	assert_true(events & WATCH_READ);
	note('w');
	event_set(&wakes);
}

static void timer_notes(struct timer *t) { note('t'); }
static void job_notes(struct job *j) { note('j'); }
static void bury_notes(void *object) { note('b'); }

static void fiber_notes(void *arg)
{
	wait_event(&wakes, "the watch", DEADLINE_NONE);
	note('f');
}

static void test_order_of_a_turn(void **state)
{
	struct timer t = { .fn = timer_notes };
	struct job j = { .fn = job_notes };
	struct fiber_job fiber = { 0 };
	struct watch w;
	int fd = eventfd(1, EFD_NONBLOCK);

	order[0] = '\0';
	event_init(&wakes);
	loop_bury(bury_notes, NULL);
	loop_later(&j);
	loop_later(&j);		/* once is once */
	fiber_start(&fiber, "notes", fiber_notes, NULL);
	timer_set(&t, clock_now());
	assert_true(watch_add(&w, fd, WATCH_READ, watch_notes));
	assert_true(loop_turn(DEADLINE_NONE));
	assert_string_equal(order, "wtfjb");
	watch_close(&w);
	assert_int_equal(w.fd, -1);
	watch_close(&w);
	watch_remove(&w);
}

static struct job again_job;

static void again(struct job *j)
{
	note('j');
	if (strlen(order) < 3)
		loop_later(j);
}

static void test_job_queued_by_a_job_runs_next_turn(void **state)
{
	order[0] = '\0';
	again_job = (struct job){ .fn = again };
	loop_later(&again_job);
	for (size_t i = 1; i <= 3; i++) {
		assert_true(loop_turn(DEADLINE_NONE));
		assert_int_equal(strlen(order), i);
	}
	assert_false(loop_turn(DEADLINE_NONE));
}

static void bury_another(void *object)
{
	note('b');
	if (object)
		loop_bury(bury_another, NULL);
}

static void test_graveyard_takes_late_burials(void **state)
{
	order[0] = '\0';
	for (int i = 0; i < 20; i++)
		loop_bury(bury_another, order);
	assert_true(loop_turn(DEADLINE_NONE));
	assert_int_equal(strlen(order), 40);
	assert_false(loop_turn(DEADLINE_NONE));
}

/* ---- timers ---- */

static struct {
	int count;
	nanoseconds at;
} fired;

static void timer_fires(struct timer *t)
{
	fired.count++;
	fired.at = clock_now();
}

static void test_timer_moves_later_lazily(void **state)
{
	struct timer t = { .fn = timer_fires };

	fired.count = 0;
	timer_set(&t, EPOCH + 10 * NS_PER_SECOND);
	timer_set(&t, EPOCH + 300 * NS_PER_SECOND);
	assert_int_equal(t.node.key, EPOCH + 10 * NS_PER_SECOND);	/* the heap was not touched */
	turns();
	assert_int_equal(fired.count, 1);
	assert_int_equal(fired.at, EPOCH + 300 * NS_PER_SECOND);
	assert_int_equal(loop_stats()->timers, 1);
	assert_int_equal(loop_stats()->turns, 2);	/* the old moment woke nobody */
}

static void test_timer_moves_earlier(void **state)
{
	struct timer t = { .fn = timer_fires };

	fired.count = 0;
	timer_set(&t, EPOCH + 300 * NS_PER_SECOND);
	timer_set(&t, EPOCH + 10 * NS_PER_SECOND);
	turns();
	assert_int_equal(fired.count, 1);
	assert_int_equal(fired.at, EPOCH + 10 * NS_PER_SECOND);
	assert_false(timer_is_set(&t));
}

static void test_timer_cleared(void **state)
{
	struct timer t = { .fn = timer_fires }, never = { .fn = timer_fires };

	fired.count = 0;
	timer_clear(&t);
	timer_set(&t, EPOCH + NS_PER_SECOND);
	assert_true(timer_is_set(&t));
	timer_clear(&t);
	timer_clear(&t);
	assert_false(timer_is_set(&t));
	timer_set(&never, EPOCH + NS_PER_SECOND);
	timer_set(&never, DEADLINE_NONE);
	assert_false(timer_is_set(&never));
	turns();
	assert_int_equal(fired.count, 0);
	assert_int_equal(clock_now(), EPOCH);
	assert_int_equal(never.node.at, 0);
}

static void timer_restarts(struct timer *t)
{
	fired.count++;
	timer_set(t, clock_now());
}

static void test_timer_that_sets_itself_to_now(void **state)
{
	struct timer t = { .fn = timer_restarts };

	fired.count = 0;
	timer_set(&t, clock_now());
	for (int i = 1; i <= 5; i++) {
		assert_true(loop_turn(DEADLINE_NONE));
		assert_int_equal(fired.count, i);
	}
	timer_clear(&t);
}

static void timer_in_order(struct timer *t)
{
	assert_true(clock_now() >= fired.at);
	assert_true(clock_now() == t->when || t->when == DEADLINE_NONE);
	fired.at = clock_now();
	fired.count++;
}

static void test_timers_at_random(void **state)
{
	enum { COUNT = 2000 };
	static struct timer timers[COUNT];
	unsigned seed = 1;
	int set = 0;

	memset(timers, 0, sizeof(timers));
	fired.count = 0;
	fired.at = 0;
	for (int i = 0; i < 10 * COUNT; i++) {
		struct timer *t = &timers[rand_r(&seed) % COUNT];

		t->fn = timer_in_order;
		if (rand_r(&seed) % 8 == 0)
			timer_clear(t);
		else
			timer_set(t, EPOCH + rand_r(&seed) % 100000 * NS_PER_US);
	}
	for (int i = 0; i < COUNT; i++)
		set += timer_is_set(&timers[i]);
	turns();
	assert_int_equal(fired.count, set);
}

static void test_fake_clock_stops_at_until(void **state)
{
	struct timer t = { .fn = timer_fires };

	fired.count = 0;
	timer_set(&t, EPOCH + 300 * NS_PER_SECOND);
	assert_false(loop_turn(EPOCH + 100 * NS_PER_SECOND));
	assert_int_equal(clock_now(), EPOCH + 100 * NS_PER_SECOND);
	assert_int_equal(clock_wall(), WALL + 100 * NS_PER_SECOND);
	assert_int_equal(fired.count, 0);
	assert_true(loop_turn(DEADLINE_NONE));
	assert_int_equal(fired.count, 1);
	assert_false(loop_turn(DEADLINE_NONE));
	assert_int_equal(clock_now(), EPOCH + 300 * NS_PER_SECOND);
}

static void outside_reports(struct watch *w, unsigned events)
{
	eventfd_t count;

	eventfd_read(w->fd, &count);
	loop_outside(-1);
	note('o');
}

/* A process of ours works for 30 ms: time does not jump over its answer. */
static void test_fake_clock_waits_for_the_outside(void **state)
{
	struct timer t = { .fn = timer_notes };
	struct watch w;
	int fd = eventfd(0, EFD_NONBLOCK);
	pid_t child;

	order[0] = '\0';
	watch_add(&w, fd, WATCH_READ, outside_reports);
	timer_set(&t, EPOCH + NS_PER_SECOND);
	loop_outside(1);
	child = fork();
	if (child == 0) {
		usleep(30000);
		eventfd_write(fd, 1);
		_exit(0);
	}
	turns();
	assert_string_equal(order, "ot");
	waitpid(child, NULL, 0);
	watch_close(&w);
}

/* ---- watches ---- */

static struct watch *victim;

static void watch_kills(struct watch *w, unsigned events)
{
	note('k');
	if (victim && victim != w) {
		watch_remove(victim);
		memset(victim, 0x5a, sizeof(*victim));
		free(victim);
		victim = NULL;
	}
}

/* Both are ready in one batch; the first to be told frees the other. */
static void test_watch_freed_in_its_batch(void **state)
{
	struct watch *w[2];
	int fd[2];

	order[0] = '\0';
	for (int i = 0; i < 2; i++) {
		w[i] = malloc(sizeof(**w));
		fd[i] = eventfd(1, EFD_NONBLOCK);
		watch_add(w[i], fd[i], WATCH_READ, watch_kills);
	}
	victim = w[1];
	loop_turn(clock_now());
	assert_string_equal(order, "k");
	assert_null(victim);
	watch_close(w[0]);
	free(w[0]);
	close(fd[1]);
}

static void test_edge_is_told_once_and_level_always(void **state)
{
	struct watch edge, level;
	int fd = eventfd(1, EFD_NONBLOCK);

	order[0] = '\0';
	watch_add(&edge, fd, WATCH_READ, watch_kills);
	victim = NULL;
	for (int i = 0; i < 3; i++)
		loop_turn(clock_now());
	assert_string_equal(order, "k");
	assert_int_equal(edge.ready, WATCH_READ);
	watch_remove(&edge);

	order[0] = '\0';
	watch_add(&level, fd, WATCH_READ | WATCH_LEVEL, watch_kills);
	for (int i = 0; i < 3; i++)
		loop_turn(clock_now());
	assert_string_equal(order, "kkk");
	assert_int_equal(level.ready, 0);
	watch_change(&level, 0);
	loop_turn(clock_now());
	assert_string_equal(order, "kkk");
	watch_change(&level, WATCH_READ);
	loop_turn(clock_now());
	assert_string_equal(order, "kkkk");
	watch_close(&level);
}

static void test_level_watch_that_wants_nothing_is_silent_on_hangup(void **state)
{
	struct watch w;
	int fd[2];

	order[0] = '\0';
	victim = NULL;
	socket_pair(fd);
	watch_add(&w, fd[0], WATCH_LEVEL, watch_kills);
	close(fd[1]);
	for (int i = 0; i < 3; i++)
		assert_false(loop_turn(clock_now()));
	watch_change(&w, WATCH_READ);
	assert_true(loop_turn(clock_now()));
	assert_string_equal(order, "k");
	watch_close(&w);
}

static unsigned told;
static struct watch *told_to;

static void watch_tells(struct watch *w, unsigned events)
{
	told = events;
	told_to = w;
}

static void test_hangup(void **state)
{
	struct watch w;
	int fd[2];

	socket_pair(fd);
	watch_add(&w, fd[0], WATCH_READ | WATCH_WRITE, watch_tells);
	loop_turn(clock_now());
	assert_int_equal(told, WATCH_WRITE);
	shutdown(fd[1], SHUT_WR);
	loop_turn(clock_now());
	assert_int_equal(told, WATCH_READ | WATCH_WRITE | WATCH_HANGUP);
	watch_close(&w);
	close(fd[1]);
}

static void test_watch_moves(void **state)
{
	struct watch a, b;
	int fd[2];

	socket_pair(fd);
	watch_add(&a, fd[0], WATCH_READ, watch_kills);
	watch_move(&b, &a, watch_tells);
	memset(&a, 0x5a, sizeof(a));
	told_to = NULL;
	assert_int_equal(write(fd[1], "x", 1), 1);
	loop_turn(clock_now());
	assert_ptr_equal(told_to, &b);
	watch_close(&b);
	close(fd[1]);
}

/* The child's copy keeps the socket alive, and epoll would go on reporting it. */
static void test_close_is_enough_even_with_a_forked_copy(void **state)
{
	struct watch w;
	uint64_t events;
	int fd[2];
	pid_t child;

	socket_pair(fd);
	watch_add(&w, fd[0], WATCH_READ, watch_kills);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	watch_close(&w);
	memset(&w, 0x5a, sizeof(w));
	events = loop_stats()->events;
	assert_int_equal(write(fd[1], "x", 1), 1);
	loop_turn(clock_now());
	assert_int_equal(loop_stats()->events, events);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(fd[1]);
}

/* ---- signals ---- */

static int got_signal;

static void signal_comes(int signo)
{
	got_signal = signo;
	loop_stop();
}

static void test_signal(void **state)
{
	got_signal = 0;
	loop_signal(SIGUSR1, signal_comes);
	raise(SIGUSR1);
	assert_int_equal(got_signal, 0);
	loop_run();
	assert_int_equal(got_signal, SIGUSR1);
	loop_signal(SIGUSR1, NULL);
}

/* ---- the real clock: before any test makes it a fake ---- */

static int real_setup(void **state)
{
	loop_init();
	return 0;
}

static void test_real_timer_is_never_early_and_wakes_once(void **state)
{
	struct timer t = { .fn = timer_fires };
	deadline due = clock_now() + 25 * NS_PER_MS;

	fired.count = 0;
	timer_set(&t, clock_now() + 5 * NS_PER_MS);
	timer_set(&t, due);
	for (int i = 0; i < 3 && fired.count == 0; i++)
		loop_turn(DEADLINE_NONE);
	assert_int_equal(fired.count, 1);
	assert_true(fired.at >= due);
	assert_int_equal(loop_stats()->turns, 1);
}

static void test_real_turn_ends_at_until(void **state)
{
	deadline until = clock_now() + 5 * NS_PER_MS;

	assert_false(loop_turn(until));
	assert_true(clock_now() >= until);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_real_timer_is_never_early_and_wakes_once, real_setup, turns_teardown),
		cmocka_unit_test_setup_teardown(test_real_turn_ends_at_until, real_setup, turns_teardown),
		turns_test(test_order_of_a_turn),
		turns_test(test_job_queued_by_a_job_runs_next_turn),
		turns_test(test_graveyard_takes_late_burials),
		turns_test(test_timer_moves_later_lazily),
		turns_test(test_timer_moves_earlier),
		turns_test(test_timer_cleared),
		turns_test(test_timer_that_sets_itself_to_now),
		turns_test(test_timers_at_random),
		turns_test(test_fake_clock_stops_at_until),
		turns_test(test_fake_clock_waits_for_the_outside),
		turns_test(test_watch_freed_in_its_batch),
		turns_test(test_edge_is_told_once_and_level_always),
		turns_test(test_level_watch_that_wants_nothing_is_silent_on_hangup),
		turns_test(test_hangup),
		turns_test(test_watch_moves),
		turns_test(test_close_is_enough_even_with_a_forked_copy),
		turns_test(test_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
