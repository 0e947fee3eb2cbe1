/* The sender: lists, and every shape of domain that mail could or could not be answered to. */
#include "answers.h"

#include "check/sender.h"

static struct path path;
static deadline until;

static void ask(void *arg)
{
	sender_check_domain(dns, &path, &findings, &arena, until);
}

/* MAIL FROM:<text> */
static void check_path(const char *text)
{
	struct slice rest = slice_of(text);
	const char *why = "";

	findings = (struct findings){ 0 };
	asked[0] = '\0';
	if (!path_parse(&path, &rest, true, &why))
		fail_msg("%s: %s", text, why);
	until = deadline_in(30 * NS_PER_SECOND);
	in_fiber(ask, NULL);
}

#define assert_domain(result_) assert_finding(CHECK_SENDER_DOMAIN, result_)

/* ---- lists ---- */

static struct address_list list_of(const char *entry)
{
	struct address_list list = { .entries = address_set_new(&arena) };
	const char *why;

	assert_true(address_set_add(list.entries, slice_of(entry), SLICE_NULL, &why));
	return list;
}

static void lists_name_senders(void **state)
{
	struct sender_conf conf = { .deny = list_of("@spam.example") };

	sender_check_lists(&conf, SLICE("a@example.org"), &findings, &arena);
	assert_int_equal(finding_count(), 0);
	sender_check_lists(&conf, SLICE("a@spam.example"), &findings, &arena);
	assert_finding(CHECK_SENDER, RESULT_DENIED);
	assert_non_null(strstr(finding_at(0)->reason, "configuration"));
	assert_string_equal(finding_at(0)->evidence, "a@spam.example");
	assert_null(finding_at(0)->detail);
}

static void an_exception_is_written_into_allow(void **state)
{
	struct sender_conf conf = { .allow = list_of("good@spam.example"), .deny = list_of("@spam.example") };

	sender_check_lists(&conf, SLICE("good@spam.example"), &findings, &arena);
	assert_finding(CHECK_SENDER, RESULT_ALLOWED);
}

static void the_null_path_is_on_no_list(void **state)
{
	struct sender_conf conf = { .deny = list_of("postmaster@") };

	sender_check_lists(&conf, SLICE(""), &findings, &arena);
	assert_int_equal(finding_count(), 0);
	check_path("<>");
	assert_int_equal(finding_count(), 0);
	assert_string_equal(asked, "");
}

/* ---- domains that exist ---- */

static void an_mx_with_a_public_address(void **state)
{
	answer("good.example", DNS_MX, "10 mx.good.example");
	answer("mx.good.example", DNS_A, "8.8.8.8");
	check_path("<user@Good.example>");
	assert_domain(RESULT_PASS);
	assert_string_equal(finding_at(0)->detail, "Good.example");
	assert_non_null(strstr(finding_at(0)->evidence, "8.8.8.8"));
}

static void an_mx_with_ipv6_alone(void **state)
{
	answer("six.example", DNS_MX, "10 mx.six.example");
	answer("mx.six.example", DNS_AAAA, "2a00:1450::1");
	check_path("<user@six.example>");
	assert_domain(RESULT_PASS);
}

static void no_mx_but_an_address(void **state)
{
	answer("implicit.example", DNS_A, "8.8.8.8");
	check_path("<user@implicit.example>");
	assert_domain(RESULT_PASS);
	answer("implicit6.example", DNS_AAAA, "2a00:1450::1");
	check_path("<user@implicit6.example>");
	assert_domain(RESULT_PASS);
}

static void the_first_public_target_will_do(void **state)
{
	answer("many.example", DNS_MX, "30 c.many.example 10 a.many.example 20 b.many.example 40 d.many.example");
	answer("a.many.example", DNS_A, "8.8.8.8");
	answer("c.many.example", DNS_A, "TROUBLE");
	check_path("<user@many.example>");
	assert_domain(RESULT_PASS);
	assert_true(was_asked("A a.many.example") && was_asked("A b.many.example"));
	assert_false(was_asked("A c.many.example") || was_asked("A d.many.example"));
}

static void a_later_target_will_do(void **state)
{
	answer("many.example", DNS_MX, "10 a.many.example 20 b.many.example 30 c.many.example 40 d.many.example");
	answer("a.many.example", DNS_A, "10.0.0.1");
	answer("b.many.example", DNS_A, "TROUBLE");
	answer("d.many.example", DNS_AAAA, "2a00:1450::1");
	check_path("<user@many.example>");
	assert_domain(RESULT_PASS);
}

/* Two dead servers do not use up the time of the others. */
static void dead_targets_leave_time_for_the_rest(void **state)
{
	answer("slow.example", DNS_MX, "10 a.slow.example 20 b.slow.example 30 c.slow.example");
	answer_late("a.slow.example", DNS_A, "TROUBLE", 100 * NS_PER_SECOND);
	answer_late("b.slow.example", DNS_AAAA, "TROUBLE", 100 * NS_PER_SECOND);
	answer_late("c.slow.example", DNS_A, "8.8.8.8", NS_PER_SECOND);
	check_path("<user@slow.example>");
	assert_domain(RESULT_PASS);
	assert_true(clock_now() <= until);
}

static void ten_targets_are_looked_at(void **state)
{
	struct str mx = STR_IN(&arena);

	for (int i = 40; i >= 1; i--) {
		char name[64];

		str_printf(&mx, "%d t%d.wide.example ", i, i);
		snprintf(name, sizeof(name), "t%d.wide.example", i);
		answer(name, DNS_A, i == 11 ? "8.8.8.8" : "10.0.0.1");
	}
	answer("wide.example", DNS_MX, str_cstr(&mx));
	check_path("<user@wide.example>");
	assert_domain(RESULT_BAD_MX);
	assert_true(was_asked("A t1.wide.example") && was_asked("A t10.wide.example"));
	assert_false(was_asked("A t11.wide.example"));
	answer("t10.wide.example", DNS_A, "8.8.8.8");
	check_path("<user@wide.example>");
	assert_domain(RESULT_PASS);
}

/* Wrong by RFC 5321 section 5.1, but mail gets there. */
static void an_address_in_the_place_of_a_host(void **state)
{
	answer("literal.example", DNS_MX, "10 8.8.8.8");
	check_path("<user@literal.example>");
	assert_domain(RESULT_PASS);
	answer("literal.example", DNS_MX, "10 127.0.0.1");
	check_path("<user@literal.example>");
	assert_domain(RESULT_BAD_MX);
}

static void an_international_domain(void **state)
{
	answer("xn--bcher-kva.example", DNS_A, "8.8.8.8");
	check_path("<user@b\xc3\xbc" "cher.example>");
	assert_domain(RESULT_PASS);
}

/* ---- domains that do not ---- */

static void no_such_domain(void **state)
{
	check_path("<user@nowhere.example>");
	assert_domain(RESULT_NXDOMAIN);
	assert_string_equal(finding_at(0)->detail, "nowhere.example");
}

static void a_domain_without_mail(void **state)
{
	answer("texts.example", DNS_TXT, "v=spf1");
	check_path("<user@texts.example>");
	assert_domain(RESULT_NXDOMAIN);
}

static void a_name_that_cannot_be(void **state)
{
	char text[128];

	memset(text, 'a', sizeof(text));
	memcpy(text, "<user@", 6);
	strcpy(text + 90, ".example>");

	struct slice rest = slice_of(text);
	const char *why;

	/* A label of more than 63 octets; if the parser takes it, it does not exist. */
	if (path_parse(&path, &rest, false, &why)) {
		check_path(text);
		assert_domain(RESULT_NXDOMAIN);
	}
}

static void null_mx(void **state)
{
	answer("null.example", DNS_MX, "0 .");
	answer("null.example", DNS_A, "8.8.8.8");
	check_path("<user@null.example>");
	assert_domain(RESULT_NULL_MX);
	answer("null.example", DNS_MX, "10 .");
	check_path("<user@null.example>");
	assert_domain(RESULT_NULL_MX);
	answer("null.example", DNS_MX, "0 . 10 .");
	check_path("<user@null.example>");
	assert_domain(RESULT_NULL_MX);
}

static void null_mx_amid_others_counts_for_nothing(void **state)
{
	answer("mixed.example", DNS_MX, "0 . 10 mx.mixed.example");
	answer("mx.mixed.example", DNS_A, "8.8.8.8");
	check_path("<user@mixed.example>");
	assert_domain(RESULT_PASS);
}

static void private_targets(void **state)
{
	static const char *const addresses[] = { "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "0.0.0.0",
		"169.254.1.1", "224.0.0.1", "255.255.255.255", "100.64.0.1" };

	answer("private.example", DNS_MX, "10 mx.private.example");
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		answer("mx.private.example", DNS_A, addresses[i]);
		check_path("<user@private.example>");
		assert_domain(RESULT_BAD_MX);
	}
	answer("mx.private.example", DNS_A, "127.0.0.1");
	answer("mx.private.example", DNS_AAAA, "::1 fe80::1 fc00::1 ::");
	check_path("<user@private.example>");
	assert_domain(RESULT_BAD_MX);
	answer("mx.private.example", DNS_A, "127.0.0.1 8.8.8.8");
	check_path("<user@private.example>");
	assert_domain(RESULT_PASS);
}

static void a_private_implicit_target(void **state)
{
	answer("lan.example", DNS_A, "192.168.1.1");
	check_path("<user@lan.example>");
	assert_domain(RESULT_BAD_MX);
}

static void targets_that_do_not_exist(void **state)
{
	answer("dangling.example", DNS_MX, "10 gone.dangling.example 20 localhost");
	answer("dangling.example", DNS_A, "8.8.8.8");	/* with an MX, no target (RFC 5321 section 5.1) */
	check_path("<user@dangling.example>");
	assert_domain(RESULT_BAD_MX);
	assert_non_null(strstr(finding_at(0)->reason, "no mail host has an address"));
}

/* ---- trouble is never a no ---- */

static void trouble_with_the_mx(void **state)
{
	answer("broken.example", DNS_MX, "TROUBLE");
	answer("broken.example", DNS_A, "8.8.8.8");
	check_path("<user@broken.example>");
	assert_domain(RESULT_TEMPERROR);
	assert_non_null(strstr(finding_at(0)->reason, "SERVFAIL"));
}

static void an_mx_that_does_not_come(void **state)
{
	answer_late("dead.example", DNS_MX, "10 mx.dead.example", 100 * NS_PER_SECOND);
	check_path("<user@dead.example>");
	assert_domain(RESULT_TEMPERROR);
	assert_true(clock_now() <= until);
}

static void trouble_that_could_have_changed_the_answer(void **state)
{
	answer("half.example", DNS_MX, "10 a.half.example 20 b.half.example");
	answer("b.half.example", DNS_AAAA, "TROUBLE");
	check_path("<user@half.example>");	/* a does not exist */
	assert_domain(RESULT_TEMPERROR);
	answer("a.half.example", DNS_A, "127.0.0.1");
	check_path("<user@half.example>");
	assert_domain(RESULT_TEMPERROR);
	answer("b.half.example", DNS_A, "10.0.0.1");	/* its A is private, its AAAA might not be */
	check_path("<user@half.example>");
	assert_domain(RESULT_TEMPERROR);
}

static void trouble_of_an_implicit_target(void **state)
{
	answer("half.example", DNS_A, "10.0.0.1");
	answer("half.example", DNS_AAAA, "TROUBLE");
	check_path("<user@half.example>");
	assert_domain(RESULT_TEMPERROR);
	answer("none.example", DNS_A, "NODATA");
	answer("none.example", DNS_AAAA, "TROUBLE");
	check_path("<user@none.example>");
	assert_domain(RESULT_TEMPERROR);
}

static void trouble_that_could_not(void **state)
{
	answer("fine.example", DNS_MX, "10 a.fine.example 20 b.fine.example");
	answer("a.fine.example", DNS_A, "8.8.8.8");
	answer("a.fine.example", DNS_AAAA, "TROUBLE");
	answer("b.fine.example", DNS_A, "TROUBLE");
	check_path("<user@fine.example>");
	assert_domain(RESULT_PASS);
}

/* ---- literals ---- */

static void address_literals(void **state)
{
	check_path("<user@[8.8.8.8]>");
	assert_domain(RESULT_PASS);
	check_path("<user@[IPv6:2a00:1450::1]>");
	assert_domain(RESULT_PASS);
	check_path("<user@[127.0.0.1]>");
	assert_domain(RESULT_BAD_MX);
	assert_string_equal(finding_at(0)->detail, "[127.0.0.1]");
	check_path("<user@[IPv6:fe80::1]>");
	assert_domain(RESULT_BAD_MX);
	assert_string_equal(asked, "");
}

static void the_cost_is_told(void **state)
{
	answer_delay = 20 * NS_PER_MS;
	answer("slow.example", DNS_MX, "10 mx.slow.example");
	answer("mx.slow.example", DNS_A, "8.8.8.8");
	check_path("<user@slow.example>");
	assert_domain(RESULT_PASS);
	assert_int_equal(finding_at(0)->cost_us, 40000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		answers_test(lists_name_senders), answers_test(an_exception_is_written_into_allow),
		answers_test(the_null_path_is_on_no_list), answers_test(an_mx_with_a_public_address),
		answers_test(an_mx_with_ipv6_alone), answers_test(no_mx_but_an_address),
		answers_test(the_first_public_target_will_do), answers_test(a_later_target_will_do),
		answers_test(dead_targets_leave_time_for_the_rest), answers_test(ten_targets_are_looked_at),
		answers_test(an_address_in_the_place_of_a_host), answers_test(an_international_domain),
		answers_test(no_such_domain), answers_test(a_domain_without_mail), answers_test(a_name_that_cannot_be),
		answers_test(null_mx), answers_test(null_mx_amid_others_counts_for_nothing),
		answers_test(private_targets), answers_test(a_private_implicit_target),
		answers_test(targets_that_do_not_exist), answers_test(trouble_with_the_mx),
		answers_test(an_mx_that_does_not_come), answers_test(trouble_that_could_have_changed_the_answer),
		answers_test(trouble_of_an_implicit_target), answers_test(trouble_that_could_not),
		answers_test(address_literals), answers_test(the_cost_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
