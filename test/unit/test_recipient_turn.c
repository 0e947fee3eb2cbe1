/* Turns: so many questions at one time and not more, one for each address, and nobody is lost in the line. */
#include "turns.h"

#include "check/recipient_turn.h"

#include <stdio.h>

#define GUESSERS 300

static struct fiber_job jobs[GUESSERS];
static unsigned asking, most, ours, asked, none;
static bool same;
static nanoseconds answer_takes, patience;
static uint32_t places;

static void guess(void *arg)
{
	char address[64];
	struct recipient_turn *turn;

	snprintf(address, sizeof(address), "guess%zu@example.org", same ? (size_t)0 : (size_t)((struct fiber_job *)arg - jobs));
	switch (recipient_turn_take(SLICE("smtp://backend"), slice_of(address), places, &turn, deadline_in(patience))) {
	case TURN_OURS:
		ours++;
		if (++asking > most)
			most = asking;
		wait_until("the backend", deadline_in(answer_takes));
		asking--;
		recipient_turn_end(turn);
		break;
	case TURN_ASKED:
		asked++;
		break;
	case TURN_NONE:
		none++;
		break;
	}
}

static void run(unsigned count)
{
	asking = most = ours = asked = none = 0;
	for (unsigned i = 0; i < count; i++)
		fiber_start(&jobs[i], "guess", guess, &jobs[i]);
	for (int i = 0; i < 4000; i++) {
		clock_fake_advance(NS_PER_MS);
		turns_now();
	}
	assert_int_equal(asking, 0);
	assert_int_equal(ours + asked + none, count);
}

static int setup(void **state)
{
	same = false;
	places = 3;
	answer_takes = 10 * NS_PER_MS;
	patience = 60 * NS_PER_SECOND;
	return turns_setup(state);
}

static void test_never_more_than_its_places(void **state)
{
	run(100);
	assert_int_equal(most, 3);
	assert_int_equal(ours, 100);
}

static void test_one_question_an_address(void **state)
{
	same = true;
	run(STACKS / 2);
	assert_int_equal(most, 1);
	assert_int_equal(ours, 1);
	assert_int_equal(asked, STACKS / 2 - 1);
}

/* Who runs out of time leaves the line, and his place is not lost. */
static void test_time_runs_out(void **state)
{
	places = 1;
	answer_takes = 1000 * NS_PER_MS;
	patience = 1500 * NS_PER_MS;
	run(6);
	assert_int_equal(most, 1);
	assert_int_equal(ours, 2);
	assert_int_equal(none, 4);
	run(1);
	assert_int_equal(ours, 1);
}

static void count(const struct recipient_turn_info *info, void *arg)
{
	assert_string_equal(info->backend, "smtp://backend");
	assert_int_equal(info->asking, 0);
	assert_int_equal(info->waiting, 0);
	*(unsigned *)arg += (unsigned)info->asked;
}

static void test_is_told_to_the_operator(void **state)
{
	unsigned before = 0, after = 0;

	recipient_turn_each(count, &before);
	run(5);
	recipient_turn_each(count, &after);
	assert_int_equal(after - before, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_never_more_than_its_places, setup, turns_teardown),
		cmocka_unit_test_setup_teardown(test_one_question_an_address, setup, turns_teardown),
		cmocka_unit_test_setup_teardown(test_time_runs_out, setup, turns_teardown),
		cmocka_unit_test_setup_teardown(test_is_told_to_the_operator, setup, turns_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
