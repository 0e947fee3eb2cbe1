/* The sent ledger: messages, their recipients, pairs, counts, exits; what expires, and a store that is in trouble. */
#include "stored.h"

#include "check/sent.h"

#include <stdio.h>

#define DAY 86400
#define NOW ((time_t)1795420030)
#define LIFE (14u * DAY)
#define ID SLICE("<1@example.org>")
#define BOB SLICE("bob@example.org")

static int set_up(void **state)
{
	return stored_setup(NOW);
}

static struct slice address(unsigned n)
{
	return slice_of(arena_printf(&arena, "u%u@example.net", n));
}

static void put(unsigned first, unsigned count)
{
	struct slice recipients[32];

	for (unsigned i = 0; i < count; i++)
		recipients[i] = address(first + i);
	assert_int_equal(sent_put(store, ID, BOB, recipients, count, NOW, LIFE), STORE_OK);
}

static enum store_status has(unsigned n)
{
	struct sent_entry e;

	assert_int_equal(sent_find(store, ID, BOB, &e), STORE_OK);
	return sent_has_recipient(store, &e, ID, BOB, address(n));
}

static void a_message_and_its_recipients(void **state)
{
	struct sent_entry e;

	(void)state;
	put(0, 2);
	assert_int_equal(sent_find(store, ID, BOB, &e), STORE_OK);
	assert_int_equal(e.when, NOW);
	assert_int_equal(e.recipients, 2);
	assert_int_equal(has(0), STORE_OK);
	assert_int_equal(has(1), STORE_OK);
	assert_int_equal(has(2), STORE_NOT_FOUND);
	assert_int_equal(sent_find(store, ID, SLICE("ann@example.org"), &e), STORE_NOT_FOUND);
	assert_int_equal(sent_find(store, SLICE("<2@example.org>"), BOB, &e), STORE_NOT_FOUND);
}

static void a_message_in_many_transactions(void **state)
{
	struct sent_entry e;

	(void)state;
	put(0, 6);
	put(4, 20);
	put(23, 1);	/* a retry */
	assert_int_equal(sent_find(store, ID, BOB, &e), STORE_OK);
	assert_int_equal(e.inside, SENT_RECIPIENTS_INSIDE);
	for (unsigned i = 0; i < 24; i++)
		assert_int_equal(has(i), STORE_OK);
	assert_int_equal(has(24), STORE_NOT_FOUND);
	assert_in_range(e.recipients, 24, 25);
}

static void what_a_sender_sent_on_a_day(void **state)
{
	struct slice to = address(1);
	struct sent_day day;

	(void)state;
	assert_int_equal(sent_on_day(store, BOB, NOW / 86400, &day), STORE_NOT_FOUND);
	put(0, 12);
	put(10, 12);
	assert_int_equal(sent_on_day(store, BOB, NOW / 86400, &day), STORE_OK);
	assert_int_equal(day.messages, 1);
	assert_int_equal(day.recipients, 22 + 2);	/* 10 and 11 were told twice, and are not inside */
	assert_int_equal(sent_put(store, SLICE_NULL, BOB, &to, 1, NOW, LIFE), STORE_OK);
	assert_int_equal(sent_on_day(store, BOB, NOW / 86400, &day), STORE_OK);
	assert_int_equal(day.messages, 2);
	assert_int_equal(day.recipients, 25);
	assert_int_equal(sent_on_day(store, BOB, NOW / 86400 - 1, &day), STORE_NOT_FOUND);
	assert_int_equal(sent_on_day(store, SLICE("ann@example.org"), NOW / 86400, &day), STORE_NOT_FOUND);
}

static void whom_a_sender_has_written_to(void **state)
{
	time_t when = 0;

	(void)state;
	put(0, 1);
	assert_int_equal(sent_wrote_to(store, BOB, SLICE("example.net"), &when), STORE_OK);
	assert_int_equal(when, NOW);
	assert_int_equal(sent_wrote_to(store, BOB, SLICE("example.com"), &when), STORE_NOT_FOUND);
	assert_int_equal(sent_wrote_to(store, SLICE("ann@example.org"), SLICE("example.net"), &when), STORE_NOT_FOUND);
	/* Renewed by a later message. */
	clock_fake(NS_PER_SECOND, (NOW + 3 * DAY) * NS_PER_SECOND);
	struct slice to = address(1);
	assert_int_equal(sent_put(store, SLICE("<2@example.org>"), BOB, &to, 1, NOW + 3 * DAY, LIFE), STORE_OK);
	clock_fake(NS_PER_SECOND, (NOW + LIFE + DAY) * NS_PER_SECOND);
	struct sent_entry e;
	assert_int_equal(sent_find(store, ID, BOB, &e), STORE_NOT_FOUND);
	assert_int_equal(sent_find(store, SLICE("<2@example.org>"), BOB, &e), STORE_OK);
	assert_int_equal(sent_wrote_to(store, BOB, SLICE("example.net"), &when), STORE_OK);
	clock_fake(NS_PER_SECOND, (NOW + 3 * DAY + LIFE + 1) * NS_PER_SECOND);
	assert_int_equal(sent_wrote_to(store, BOB, SLICE("example.net"), &when), STORE_NOT_FOUND);
}

static void notices_are_counted(void **state)
{
	struct sent_counts n;

	(void)state;
	assert_int_equal(sent_count(store, ID, false, true, NOW, LIFE, &n), STORE_OK);
	assert_int_equal(sent_count(store, ID, true, true, NOW, LIFE, &n), STORE_OK);
	assert_int_equal(n.all, 2);
	assert_int_equal(n.foreign, 1);
	/* Looking does not count. */
	assert_int_equal(sent_count(store, ID, true, false, NOW, LIFE, &n), STORE_OK);
	assert_int_equal(sent_count(store, ID, true, false, NOW, LIFE, &n), STORE_OK);
	assert_int_equal(n.all, 3);
	assert_int_equal(sent_count(store, SLICE("other"), false, true, NOW, LIFE, &n), STORE_OK);
	assert_int_equal(n.all, 1);
}

static void a_domain_becomes_ready(void **state)
{
	struct slice domain = SLICE("example.org");
	struct sent_exits e;

	(void)state;
	assert_int_equal(sent_exits(store, domain, &e), STORE_NOT_FOUND);
	assert_false(sent_exits_ready(&e, NOW, LIFE));
	assert_int_equal(sent_exit_here(store, domain, NOW), STORE_OK);
	assert_int_equal(sent_exit_here(store, domain, NOW + 30), STORE_OK);
	assert_int_equal(sent_exits(store, domain, &e), STORE_OK);
	assert_int_equal(e.since, NOW);
	assert_int_equal(e.last, NOW);
	assert_false(sent_exits_ready(&e, NOW + LIFE - 1, LIFE));
	assert_true(sent_exits_ready(&e, NOW + LIFE, LIFE));
	assert_int_equal(sent_exit_elsewhere(store, domain, NOW + LIFE), STORE_OK);
	assert_int_equal(sent_exits(store, domain, &e), STORE_OK);
	assert_false(sent_exits_ready(&e, NOW + LIFE + DAY, LIFE));
	assert_true(sent_exits_ready(&e, NOW + 2 * LIFE, LIFE));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_message_and_its_recipients, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_message_in_many_transactions, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(what_a_sender_sent_on_a_day, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(whom_a_sender_has_written_to, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(notices_are_counted, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_domain_becomes_ready, set_up, stored_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
