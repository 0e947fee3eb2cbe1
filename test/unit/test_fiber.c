/* The pool of stacks: starting, the line, cancellation, hoisting, groups, guards. */
#include "turns.h"

#include <execinfo.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef __x86_64__
#include <xmmintrin.h>
#endif

static char order[256];

static void note(const char *text)
{
	assert_true(strlen(order) + strlen(text) < sizeof(order));
	strcat(order, text);
}

static int fiber_setup(void **state)
{
	order[0] = '\0';
	return turns_setup(state);
}

#define fiber_test(f) cmocka_unit_test_setup_teardown(f, fiber_setup, turns_teardown)

/* ---- starting ---- */

static void notes_arg(void *arg) { note(arg); }

static void test_starts_at_once_on_a_stack_of_its_own(void **state)
{
	struct fiber_job job = { 0 };

	assert_null(fiber_self());
	fiber_start(&job, "a", notes_arg, "a");
	assert_string_equal(order, "a");
	assert_false(fiber_job_active(&job));
	assert_null(job.fiber);
	assert_null(fiber_self());
	assert_int_equal(fiber_stats().in_use, 0);
	assert_int_equal(fiber_stats().most_used, 1);
}

static void starts_another(void *arg)
{
	struct fiber_job *inner = arg;

	fiber_start(inner, "inner", notes_arg, "i");
	note("o");
	assert_string_equal(fiber_name(fiber_self()), "outer");
}

static void test_started_by_a_fiber_runs_after_it(void **state)
{
	struct fiber_job outer = { 0 }, inner = { 0 };

	fiber_start(&outer, "outer", starts_another, &inner);
	assert_string_equal(order, "o");
	assert_true(fiber_job_active(&inner));
	assert_int_equal(fiber_stats().in_line, 1);
	turns_now();
	assert_string_equal(order, "oi");
	assert_false(fiber_job_active(&inner));
}

static void test_detached(void **state)
{
	fiber_detach("a", notes_arg, "a");
	fiber_detach("b", notes_arg, "b");
	assert_string_equal(order, "");
	turns_now();
	assert_string_equal(order, "ab");
}

/* ---- the line ---- */

static struct event gate;

static void waits_at_gate(void *arg)
{
	note(wait_event(&gate, "gate", DEADLINE_NONE) == WAIT_CANCELLED ? "x" : arg);
}

static int gate_setup(void **state)
{
	event_init(&gate);
	return fiber_setup(state);
}

#define gate_test(f) cmocka_unit_test_setup_teardown(f, gate_setup, turns_teardown)

/* A quarter of 16 stacks is kept for what fibers start: the line begins after 12. */
static void test_line_is_first_come_first_served(void **state)
{
	struct fiber_job jobs[26] = { { .fn = NULL } };
	static char names[26][2];

	for (int i = 0; i < 26; i++) {
		names[i][0] = (char)('a' + i);
		fiber_start(&jobs[i], names[i], waits_at_gate, names[i]);
	}
	assert_int_equal(fiber_stats().in_use, STACKS - STACKS / 4);
	assert_int_equal(fiber_stats().in_line, 26 - 12);
	turns_now();
	assert_string_equal(order, "");
	event_set(&gate);
	turns_now();
	assert_string_equal(order, "abcdefghijklmnopqrstuvwxyz");
	assert_int_equal(fiber_stats().in_line, 0);
	assert_int_equal(fiber_stats().in_use, 0);
}

static void test_cancelled_in_line_never_runs(void **state)
{
	struct fiber_job jobs[14] = { { .fn = NULL } };

	for (int i = 0; i < 14; i++)
		fiber_start(&jobs[i], "a", waits_at_gate, i < 12 ? "a" : i == 12 ? "b" : "c");
	fiber_job_cancel(&jobs[12]);
	assert_false(fiber_job_active(&jobs[12]));
	assert_int_equal(fiber_stats().in_line, 1);
	fiber_job_cancel(&jobs[12]);	/* idempotent */
	event_set(&gate);
	turns_now();
	assert_string_equal(order, "aaaaaaaaaaaac");
}

static void helper(void *arg) { wait_until("helping", deadline_in(NS_PER_SECOND)); }

static void needs_helpers(void *arg)
{
	struct group_member members[2];
	struct group g;

	group_init(&g);
	for (int i = 0; i < 2; i++)
		group_start(&g, &members[i], "helper", helper, NULL);
	note(group_wait(&g, "helpers", DEADLINE_NONE) ? "." : "x");
}

/* More fibers than stacks, each of which needs two more to get on. */
static void test_helpers_are_not_starved(void **state)
{
	struct fiber_job jobs[40] = { { .fn = NULL } };

	for (int i = 0; i < 40; i++)
		fiber_start(&jobs[i], "needy", needs_helpers, NULL);
	turns();
	assert_string_equal(order, "........................................");
}

/* ---- cancellation ---- */

static void waits_thrice(void *arg)
{
	for (int i = 0; i < 3; i++)
		if (wait_until("thrice", deadline_in(100 * NS_PER_SECOND)) == WAIT_CANCELLED)
			note("x");
	assert_true(fiber_cancelled());
	assert_int_equal(wait_event(&gate, "gate", DEADLINE_NONE), WAIT_CANCELLED);
	wait_yield();
}

static void test_cancelled_is_for_good(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "a", waits_thrice, NULL);
	fiber_job_cancel(&job);
	assert_true(fiber_job_active(&job));
	turns_now();
	assert_string_equal(order, "xxx");
	assert_false(fiber_job_active(&job));
	assert_int_equal(clock_now(), EPOCH);
	fiber_job_cancel(&job);
	/* The stack's next tenant is not cancelled. */
	fiber_start(&job, "b", waits_at_gate, "b");
	event_set(&gate);
	turns_now();
	assert_string_equal(order, "xxxb");
}

static struct fiber_job self_job;

static void cancels_itself(void *arg)
{
	fiber_job_cancel(&self_job);
	note(wait_until("never", DEADLINE_NONE) == WAIT_CANCELLED ? "x" : "?");
}

static void test_cancels_itself(void **state)
{
	fiber_start(&self_job, "a", cancels_itself, NULL);
	assert_string_equal(order, "x");
}

/* ---- hoisting ---- */

static char *scheduler_frame;

static void hoisted(void *arg)
{
	char here;
	ptrdiff_t distance = &here - scheduler_frame;

	assert_true(distance > -65536 && distance < 65536);
	assert_non_null(fiber_self());
	(*(int *)arg)++;
}

static void hoisted_twice(void *arg)
{
	struct fiber_job *job = arg;

	fiber_start(job, "from above", notes_arg, "n");	/* no place to start it: in line */
	fiber_hoist(notes_arg, "h");
}

static void hoists(void *arg)
{
	struct fiber_job *job = arg;
	int count = 0;

	for (int i = 0; i < 1000; i++)
		fiber_hoist(hoisted, &count);
	assert_int_equal(count, 1000);
	fiber_hoist(hoisted_twice, job);
	note("e");
}

static void test_hoist(void **state)
{
	struct fiber_job job = { 0 }, inner = { 0 };
	char here;

	scheduler_frame = &here;
	fiber_hoist(notes_arg, "s");
	fiber_start(&job, "hoists", hoists, &inner);
	turns_now();
	assert_string_equal(order, "shen");
}

/* ---- the switch ---- */

/* The rounding mode of SSE, bits 13 and 14 of MXCSR; <fenv.h> would need the mathematical library. */
#ifdef __x86_64__
#define MODES 0x6000u
static unsigned rounding(void) { return _mm_getcsr() & MODES; }
static void rounding_set(unsigned mode) { _mm_setcsr((_mm_getcsr() & ~MODES) | mode); }
#else
#define MODES 0u
static unsigned rounding(void) { return 0; }
static void rounding_set(unsigned mode) { }
#endif

/* Values that live in registers across a switch; each fiber has its own rounding mode. */
static void computes(void *arg)
{
	uint64_t a = (uintptr_t)arg, b = a * 3, c = a * 5, d = a * 7, e = a * 11, f = a * 13;
	unsigned mode = (unsigned)(a % 4) << 13 & MODES;

	rounding_set(mode);
	for (int i = 0; i < 100; i++) {
		wait_yield();
		a += 1, b += 3, c += 5, d += 7, e += 11, f += 13;
		assert_int_equal(rounding(), mode);
	}
	assert_true(b == a * 3 && c == a * 5 && d == a * 7 && e == a * 11 && f == a * 13);
	note(".");
}

static void test_registers_and_rounding_survive(void **state)
{
	struct fiber_job jobs[10] = { { .fn = NULL } };

	for (uintptr_t i = 0; i < 10; i++)
		fiber_start(&jobs[i], "computes", computes, (void *)(i + 7));
	turns_now();
	assert_string_equal(order, "..........");
	assert_int_equal(rounding(), 0);
}

static void looks_back(void *arg)
{
	void *frames[32];

	*(int *)arg = backtrace(frames, 32);
}

static void test_backtrace_ends_at_the_entry(void **state)
{
	struct fiber_job job = { 0 };
	int frames = 0;

	fiber_start(&job, "looks back", looks_back, &frames);
	assert_in_range(frames, 1, 6);
}

/* ---- guards ---- */

static int depth_reached;

static __attribute__((noinline)) int recurse(int depth)
{
	volatile char frame[512];

	memset((char *)frame, depth, sizeof(frame));
	depth_reached = depth;
	return depth > 1000000 ? 0 : recurse(depth + 1) + frame[5];
}

static void recurses(void *arg) { _exit(recurse(0) == -1); }

/* A frame larger than the guard must touch it, not step over it (-fstack-clash-protection). */
static __attribute__((noinline)) void large_frame(char *out)
{
	volatile char frame[100000];
	volatile int first = 0;		/* an index that the compiler does not know: it would shrink the array */

	frame[first] = 1;
	*out = frame[first];
}

static void takes_a_large_frame(void *arg)
{
	char c;

	large_frame(&c);
	_exit(0);
}

static void parks(void *arg) { wait_until("ever", DEADLINE_NONE); }

/* The stacks lie one below the other: without a guard the neighbour would be overwritten. */
static void expect_fault(void (*fn)(void *))
{
	struct fiber_job neighbours[8] = { { .fn = NULL } }, job = { 0 };
	struct rlimit none = { 0, 0 };
	int status;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		for (int i = 0; i < 8; i++)
			fiber_start(&neighbours[i], "neighbour", parks, NULL);
		fiber_start(&job, "deep", fn, NULL);
		_exit(0);
	}
	waitpid(child, &status, 0);
	/* A sanitizer reports the signal and exits with a status of its own. */
	assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) ||
		(WIFEXITED(status) && WEXITSTATUS(status) != 0));
}

static void test_recursion_meets_the_guard(void **state) { expect_fault(recurses); }
static void test_large_frame_meets_the_guard(void **state) { expect_fault(takes_a_large_frame); }

static char *deep_page;

static __attribute__((noinline)) void uses_stack(void *arg)
{
	volatile char frame[40000];

	memset((char *)frame, 1, sizeof(frame));
	deep_page = (char *)((uintptr_t)frame & ~(uintptr_t)4095) + 8192;
	if (arg)
		wait_until("holding the stack", deadline_in(NS_PER_SECOND));
}

static bool resident(char *page)
{
	unsigned char flag = 0;

	assert_int_equal(mincore(page, 4096, &flag), 0);
	return flag & 1;
}

static void nothing_fires(struct timer *t) { }

static void test_idle_stacks_are_given_back(void **state)
{
	struct fiber_job job = { 0 };
	struct timer t = { .fn = nothing_fires };

	fiber_start(&job, "deep", uses_stack, NULL);
	assert_true(resident(deep_page));
	timer_set(&t, EPOCH + 60 * NS_PER_SECOND);
	turns();
	assert_false(resident(deep_page));
	/* It is still a stack. */
	fiber_start(&job, "deep", uses_stack, &job);
	turns();
	assert_false(fiber_job_active(&job));
}

/* ---- groups ---- */

static struct group group;
static struct group_member members[4];

static void sleeps(void *arg)
{
	nanoseconds span = (nanoseconds)(intptr_t)arg * NS_PER_SECOND;

	note(wait_until("sleeping", deadline_in(span)) == WAIT_CANCELLED ? "x" : ".");
}

static void group_of(const int *seconds, int count)
{
	group_init(&group);
	for (int i = 0; i < count; i++)
		group_start(&group, &members[i], "sleeper", sleeps, (void *)(intptr_t)seconds[i]);
}

static void waits_for_all(void *arg)
{
	group_of((int[]){ 1, 2, 3 }, 3);
	assert_true(group_wait(&group, "group", deadline_in(10 * NS_PER_SECOND)));
	assert_int_equal(clock_now(), EPOCH + 3 * NS_PER_SECOND);
	note("e");
}

static void test_group_ends_by_itself(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "owner", waits_for_all, NULL);
	turns();
	assert_string_equal(order, "...e");
}

static void waits_two_seconds(void *arg)
{
	group_of((int[]){ 1, 5, 9 }, 3);
	assert_false(group_wait(&group, "group", deadline_in(2 * NS_PER_SECOND)));
	assert_int_equal(clock_now(), EPOCH + 2 * NS_PER_SECOND);
	assert_int_equal(group.running, 0);
	note("e");
}

static void test_group_deadline_cancels_the_rest(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "owner", waits_two_seconds, NULL);
	turns();
	assert_string_equal(order, ".xxe");
}

static void waits_for_ever(void *arg)
{
	group_of((int[]){ 5, 5 }, 2);
	assert_false(group_wait(&group, "group", DEADLINE_NONE));
	assert_int_equal(group.running, 0);
	note("e");
}

static void test_group_is_cancelled_with_its_owner(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "owner", waits_for_ever, NULL);
	loop_turn(clock_now());
	fiber_job_cancel(&job);
	turns_now();
	assert_string_equal(order, "xxe");
	assert_int_equal(clock_now(), EPOCH);
}

/* Members that have not begun when the deadline has passed do not run at all. */
static void has_no_time(void *arg)
{
	group_of((int[]){ 5, 5, 5, 5 }, 4);
	assert_false(group_wait(&group, "group", clock_now()));
	for (int i = 0; i < 4; i++)
		assert_false(fiber_job_active(&members[i].job));
	note("e");
}

static void test_group_members_in_line_are_taken_out(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "owner", has_no_time, NULL);
	assert_string_equal(order, "e");
	assert_int_equal(fiber_stats().in_line, 0);
}

/* By somebody who does not wait for it, and from the scheduler's stack. */
static void test_group_is_cancelled_from_outside(void **state)
{
	struct fiber_job job = { 0 };

	fiber_start(&job, "owner", waits_for_ever, NULL);
	while (loop_turn(clock_now()))
		;
	assert_int_equal(group.running, 2);
	group_cancel(&group);
	while (loop_turn(clock_now()))
		;
	assert_string_equal(order, "xxe");
	turns();
}

static void test_empty_group(void **state)
{
	group_init(&group);
	assert_int_equal(group.running, 0);
}

/* ---- the list of waits ---- */

static void lists(const struct fiber_wait_info *info, void *arg)
{
	int *count = arg;

	(*count)++;
	assert_string_equal(info->name, "session");
	assert_string_equal(info->label, "dns TXT _dmarc.example.net");
	assert_int_equal(info->since, EPOCH);
	assert_int_equal(info->until, EPOCH + 7 * NS_PER_SECOND);
}

static void waits_with_label(void *arg)
{
	wait_event(&gate, "dns TXT _dmarc.example.net", deadline_in(7 * NS_PER_SECOND));
}

static void test_each_wait(void **state)
{
	struct fiber_job jobs[3] = { { .fn = NULL } };
	int count = 0;

	for (int i = 0; i < 3; i++)
		fiber_start(&jobs[i], "session", waits_with_label, NULL);
	fiber_each_wait(lists, &count);
	assert_int_equal(count, 3);
	turns();
	fiber_each_wait(lists, &count);
	assert_int_equal(count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fiber_test(test_starts_at_once_on_a_stack_of_its_own),
		fiber_test(test_started_by_a_fiber_runs_after_it),
		fiber_test(test_detached),
		gate_test(test_line_is_first_come_first_served),
		gate_test(test_cancelled_in_line_never_runs),
		fiber_test(test_helpers_are_not_starved),
		gate_test(test_cancelled_is_for_good),
		fiber_test(test_cancels_itself),
		fiber_test(test_hoist),
		fiber_test(test_registers_and_rounding_survive),
		fiber_test(test_backtrace_ends_at_the_entry),
		fiber_test(test_recursion_meets_the_guard),
		fiber_test(test_large_frame_meets_the_guard),
		fiber_test(test_idle_stacks_are_given_back),
		fiber_test(test_group_ends_by_itself),
		fiber_test(test_group_deadline_cancels_the_rest),
		fiber_test(test_group_is_cancelled_with_its_owner),
		fiber_test(test_group_members_in_line_are_taken_out),
		fiber_test(test_group_is_cancelled_from_outside),
		fiber_test(test_empty_group),
		gate_test(test_each_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
