/* envelope: every enum has a name of its own, and findings keep their order. */
#include "unit.h"

#include "wire/envelope.h"

static void test_every_check_and_result_has_its_own_name(void **state)
{
	for (unsigned i = 0; i < CHECK_COUNT; i++) {
		assert_true(check_name(i)[0] != '\0');
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(check_name(i), check_name(j));
	}
	for (unsigned i = 0; i < RESULT_COUNT; i++) {
		assert_true(result_name(i)[0] != '\0');
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(result_name(i), result_name(j));
	}
	assert_string_equal(check_name(CHECK_SENDER_DOMAIN), "sender-domain");
	assert_string_equal(result_name(RESULT_TEMPERROR), "temperror");
}

static void test_dispositions_and_modes_have_names(void **state)
{
	assert_string_equal(disposition_name(DISPOSITION_ACCEPT), "accept");
	assert_string_equal(disposition_name(DISPOSITION_MARK), "mark");
	assert_string_equal(disposition_name(DISPOSITION_DEFER), "defer");
	assert_string_equal(disposition_name(DISPOSITION_REJECT), "reject");
	assert_string_equal(disposition_name(DISPOSITION_DESTROY), "destroy");
	assert_string_equal(check_mode_name(MODE_OFF), "off");
	assert_string_equal(check_mode_name(MODE_OBSERVE), "observe");
	assert_string_equal(check_mode_name(MODE_ENFORCE), "enforce");
}

static void test_names_of_nothing_are_our_bug(void **state)
{
	assert_aborts(check_name(CHECK_COUNT));
	assert_aborts(result_name(RESULT_COUNT));
	assert_aborts(disposition_name(77));
	assert_aborts(check_mode_name(77));
}

static void test_findings_keep_their_order(void **state)
{
	struct arena a = ARENA_INIT;
	struct findings list = { NULL, NULL };
	struct finding *first, *second, *third;

	assert_null(finding_of(&list, CHECK_DNSBL));
	first = finding_add(&list, &a, CHECK_DNSBL, RESULT_LISTED, "one");
	second = finding_add(&list, &a, CHECK_HELO, RESULT_IMPLAUSIBLE, "two");
	third = finding_add(&list, &a, CHECK_DNSBL, RESULT_NONE, "three");
	assert_ptr_equal(list.first, first);
	assert_ptr_equal(first->next, second);
	assert_ptr_equal(second->next, third);
	assert_null(third->next);
	assert_ptr_equal(finding_of(&list, CHECK_DNSBL), first);
	assert_ptr_equal(finding_of(&list, CHECK_HELO), second);
	assert_null(finding_of(&list, CHECK_SPF));
	assert_string_equal(second->reason, "two");
	assert_null(second->evidence);
	assert_null(second->recipient);
	arena_drop(&a);
}

UNIT_MAIN(T(test_every_check_and_result_has_its_own_name), T(test_dispositions_and_modes_have_names),
	T(test_names_of_nothing_are_our_bug), T(test_findings_keep_their_order))
