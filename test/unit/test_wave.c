/* Waves: when one begins, goes on and ends; that it does not become the ordinary; and that a name with much ordinary backscatter
 * needs more. */
#include "stored.h"

#include "check/wave.h"

#include <stdio.h>

#define HOUR 3600
#define NOW ((time_t)1795392000)

static struct wave wave;

static int set_up(void **state)
{
	return stored_setup(NOW);
}

/* So many notices at a moment; the news of the last. */
static enum wave_news notices(unsigned count, time_t when)
{
	clock_fake(NS_PER_SECOND, when * NS_PER_SECOND);
	while (count-- > 0)
		assert_int_equal(wave_look(store, SLICE("bob@example.org"), 20, true, when, &wave), STORE_OK);
	return wave.news;
}

static enum wave_news look(time_t when)
{
	clock_fake(NS_PER_SECOND, when * NS_PER_SECOND);
	assert_int_equal(wave_look(store, SLICE("bob@example.org"), 20, false, when, &wave), STORE_OK);
	return wave.news;
}

static void a_wave_begins_and_ends(void **state)
{
	(void)state;
	assert_int_equal(notices(19, NOW), WAVE_NOTHING);
	assert_int_equal(notices(1, NOW), WAVE_BEGINS);
	assert_int_equal(notices(1, NOW), WAVE_GOES_ON);
	assert_int_equal(wave.since, NOW);
	assert_int_equal(notices(100, NOW + HOUR), WAVE_GOES_ON);
	assert_int_equal(look(NOW + HOUR), WAVE_GOES_ON);
	/* An hour of little. */
	assert_int_equal(notices(5, NOW + 2 * HOUR), WAVE_GOES_ON);
	/* A look changes nothing; the next notice does. */
	assert_int_equal(look(NOW + 3 * HOUR), WAVE_ENDS);
	assert_int_equal(look(NOW + 3 * HOUR), WAVE_ENDS);
	assert_int_equal(wave.since, 0);
	assert_int_equal(notices(1, NOW + 3 * HOUR), WAVE_ENDS);
	assert_int_equal(notices(1, NOW + 3 * HOUR), WAVE_NOTHING);
}

/* ---- the table ---- */

static char seen[1024];

static void saw(void *arg, struct slice name, const struct wave *w)
{
	(void)arg;
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%.*s:%u ", SLICE_ARG(name), w->this_hour);
}

static const char *going_on(struct waves *w, time_t now)
{
	seen[0] = '\0';
	waves_each(w, store, now, saw, NULL);
	return seen;
}

static const char *ended(struct waves *w, time_t now)
{
	seen[0] = '\0';
	waves_end(w, store, now, saw, NULL);
	return seen;
}

static void a_wave_that_nobody_adds_to_ends(void **state)
{
	static struct waves w;
	const struct wave over = { .news = WAVE_ENDS };

	(void)state;
	w = (struct waves){ 0 };
	assert_string_equal(going_on(&w, NOW), "");
	notices(19, NOW);
	assert_false(waves_note(&w, SLICE("bob@example.org"), 20, &wave));
	assert_string_equal(going_on(&w, NOW), "");
	for (int i = 0; i < 3; i++) {
		notices(1, NOW);
		assert_true(waves_note(&w, SLICE("bob@example.org"), 20, &wave));
	}
	assert_string_equal(going_on(&w, NOW), "bob@example.org:22 ");
	assert_string_equal(ended(&w, NOW), "");
	assert_string_equal(ended(&w, NOW + HOUR), "");
	/* Status and timer see the end, the timer once. */
	assert_string_equal(going_on(&w, NOW + 2 * HOUR), "");
	assert_string_equal(ended(&w, NOW + 2 * HOUR), "bob@example.org:0 ");
	assert_string_equal(ended(&w, NOW + 2 * HOUR + 60), "");
	/* So the next notice has nothing to say aloud. */
	assert_int_equal(notices(1, NOW + 3 * HOUR), WAVE_ENDS);
	assert_false(waves_note(&w, SLICE("bob@example.org"), 20, &wave));
	/* Unless it came first. */
	assert_int_equal(notices(30, NOW + 3 * HOUR), WAVE_GOES_ON);
	assert_true(waves_note(&w, SLICE("bob@example.org"), 20, &wave));
	assert_true(waves_note(&w, SLICE("bob@example.org"), 20, &over));
	assert_false(waves_note(&w, SLICE("bob@example.org"), 20, &over));
}

static void a_full_table_takes_no_more(void **state)
{
	static struct waves w;
	const struct wave one = { .news = WAVE_BEGINS, .since = NOW };
	char name[400];

	(void)state;
	w = (struct waves){ 0 };
	for (unsigned i = 0; i < WAVES_SHOWN + 3; i++) {
		snprintf(name, sizeof(name), "u%u@example.org", i);
		assert_true(waves_note(&w, slice_of(name), 20, &one));
	}
	memset(name, 'x', sizeof(name));
	assert_true(waves_note(&w, slice_make(name, sizeof(name)), 20, &one));
	assert_true(waves_note(NULL, SLICE("a@b"), 20, &one));
	for (unsigned i = 0; i < WAVES_SHOWN; i++)
		assert_int_equal(w.places[i].state, 2);
	/* None of them is in the store: all are over. */
	assert_string_equal(going_on(&w, NOW), "");
	assert_true(strlen(ended(&w, NOW)) > 16 * WAVES_SHOWN);
	assert_int_equal(w.places[0].state, 0);
}

static void what_is_usual_is_no_wave(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++)
		assert_int_equal(notices(15, NOW + i * HOUR), WAVE_NOTHING);
	assert_in_range(wave.usual, 14, 15);
	assert_int_equal(notices(50, NOW + 300 * HOUR), WAVE_NOTHING);
	assert_int_equal(notices(40, NOW + 300 * HOUR), WAVE_GOES_ON);
	/* A wave of days does not become the ordinary. */
	for (int i = 301; i < 400; i++)
		assert_int_equal(notices(90, NOW + i * HOUR), WAVE_GOES_ON);
	assert_in_range(wave.usual, 13, 16);
	/* After weeks of silence all is forgotten. */
	assert_int_equal(look(NOW + 2000 * HOUR), WAVE_NOTHING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_wave_begins_and_ends, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_wave_that_nobody_adds_to_ends, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_full_table_takes_no_more, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(what_is_usual_is_no_wave, set_up, stored_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
