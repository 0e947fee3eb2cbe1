/* The client: lists, forward-confirmed reverse names, what HELO may say. */
#include "answers.h"

#include "check/client.h"

static struct client_facts client;
static deadline until;

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(&ip, slice_of(text)));
	return ip;
}

static struct client_list list_of(const char *text)
{
	struct client_list list = { .prefixes = ip_set_new(&arena) };
	struct ip_prefix prefix;
	const char *why;

	assert_true(ip_prefix_parse(&prefix, slice_of(text), &why));
	ip_set_add(list.prefixes, &prefix);
	ip_set_finish(list.prefixes);
	return list;
}

/* ---- lists ---- */

static void check_lists(const struct client_conf *conf, const char *ip)
{
	findings = (struct findings){ 0 };
	client = (struct client_facts){ .ip = ip_of(ip) };
	client_check_lists(conf, &client, &findings, &arena);
}

static void strangers_are_named_by_no_list(void **state)
{
	struct client_conf conf = { .deny = list_of("192.0.2.0/24") };

	check_lists(&conf, "198.51.100.1");
	assert_int_equal(client.class, CLIENT_STRANGER);
	assert_int_equal(finding_count(), 0);
}

static void each_list_has_its_class(void **state)
{
	struct client_conf conf = { .allow = list_of("192.0.2.1"), .deny = list_of("192.0.2.0/24"),
		.trust = list_of("2001:db8::/32") };

	check_lists(&conf, "192.0.2.9");
	assert_int_equal(client.class, CLIENT_DENIED);
	assert_finding(CHECK_CLIENT, RESULT_DENIED);
	assert_string_equal(finding_at(0)->detail, "192.0.2.9");
	assert_non_null(strstr(finding_at(0)->reason, "deny list (configuration)"));
	check_lists(&conf, "192.0.2.1");		/* an exception from the prefix */
	assert_int_equal(client.class, CLIENT_ALLOWED);
	assert_finding(CHECK_CLIENT, RESULT_ALLOWED);
	assert_null(finding_at(0)->detail);
	check_lists(&conf, "2001:db8::5");
	assert_int_equal(client.class, CLIENT_TRUSTED);
	assert_finding(CHECK_CLIENT, RESULT_TRUSTED);
}

static void trust_goes_before_allow_and_allow_before_deny(void **state)
{
	struct client_conf conf = { .allow = list_of("192.0.2.0/24"), .deny = list_of("192.0.2.1"),
		.trust = list_of("192.0.2.2") };

	check_lists(&conf, "192.0.2.1");
	assert_int_equal(client.class, CLIENT_ALLOWED);
	check_lists(&conf, "192.0.2.2");
	assert_int_equal(client.class, CLIENT_TRUSTED);
}

/* ---- reverse names ---- */

static void ask(void *arg)
{
	client_check_reverse(dns, &client, &findings, &arena, until);
}

static void check_reverse(const char *ip)
{
	findings = (struct findings){ 0 };
	asked[0] = '\0';
	client = (struct client_facts){ .ip = ip_of(ip) };
	until = deadline_in(10 * NS_PER_SECOND);
	in_fiber(ask, NULL);
}

#define PTR_1 "1.2.0.192.in-addr.arpa"

static void a_confirmed_name(void **state)
{
	answer(PTR_1, DNS_PTR, "mail.example.org");
	answer("mail.example.org", DNS_A, "192.0.2.9 192.0.2.1");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_PASS);
	assert_string_equal(client.name, "mail.example.org");
	assert_string_equal(client.reverse_name, "mail.example.org");
	assert_false(was_asked("AAAA mail.example.org"));
}

static void a_confirmed_name_of_ipv6(void **state)
{
	answer("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", DNS_PTR,
		"mail.example.org");
	answer("mail.example.org", DNS_AAAA, "2001:db8::1");
	check_reverse("2001:db8::1");
	assert_finding(CHECK_RDNS, RESULT_PASS);
	assert_false(was_asked("A mail.example.org"));
}

static void a_name_that_leads_elsewhere(void **state)
{
	answer(PTR_1, DNS_PTR, "mail.example.org");
	answer("mail.example.org", DNS_A, "192.0.2.9");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_FAIL);
	assert_null(client.name);
	assert_string_equal(client.reverse_name, "mail.example.org");
	answer(PTR_1, DNS_PTR, "gone.example.org");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_FAIL);
}

static void the_second_name_will_do(void **state)
{
	answer(PTR_1, DNS_PTR, "a.example.org b.example.org");
	answer("a.example.org", DNS_A, "TROUBLE");
	answer("b.example.org", DNS_A, "192.0.2.1");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_PASS);
	assert_string_equal(client.name, "b.example.org");
	assert_string_equal(client.reverse_name, "b.example.org");
}

static void four_names_are_looked_at(void **state)
{
	answer(PTR_1, DNS_PTR, "a.example b.example c.example d.example e.example");
	answer("e.example", DNS_A, "192.0.2.1");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_FAIL);
	assert_true(was_asked("A d.example"));
	assert_false(was_asked("A e.example"));
}

static void no_reverse_name(void **state)
{
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_NONE);
	assert_null(client.name);
	assert_null(client.reverse_name);
}

static void trouble_is_no_answer(void **state)
{
	answer(PTR_1, DNS_PTR, "TROUBLE");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_TEMPERROR);
	answer(PTR_1, DNS_PTR, "a.example b.example");
	answer("a.example", DNS_A, "TROUBLE");
	answer("b.example", DNS_A, "192.0.2.9");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_TEMPERROR);
	assert_null(client.name);
	answer_late("a.example", DNS_A, "192.0.2.1", 60 * NS_PER_SECOND);
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_TEMPERROR);
	assert_true(clock_now() <= until);
}

/* It would be written into a trace field. */
static void a_name_that_is_none_is_not_used(void **state)
{
	answer(PTR_1, DNS_PTR, "evil(by\001example");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_FAIL);
	assert_null(client.reverse_name);
	assert_string_equal(finding_at(0)->evidence, "evil(by\\x01example");
	answer(PTR_1, DNS_PTR, "bad;name good.example");
	answer("good.example", DNS_A, "192.0.2.1");
	check_reverse("192.0.2.1");
	assert_finding(CHECK_RDNS, RESULT_PASS);
	assert_string_equal(client.reverse_name, "good.example");
}

/* ---- HELO ---- */

#define OUR_NAME "mx1.example.org"
#define OUR_IP "203.0.113.1"

static enum result helo_from(const char *ip, const char *helo)
{
	struct ip ours = ip_of(OUR_IP);

	findings = (struct findings){ 0 };
	client = (struct client_facts){ .ip = ip_of(ip), .helo = slice_of(helo) };
	client_check_helo(&client, OUR_NAME, &ours, &findings, &arena);
	if (finding_count() == 0)
		return RESULT_NONE;
	assert_int_equal(finding_count(), 1);
	assert_int_equal(finding_at(0)->check, CHECK_HELO);
	assert_non_null(finding_at(0)->evidence);
	return finding_at(0)->result;
}

#define assert_helo(helo, result_) assert_int_equal(helo_from("192.0.2.1", (helo)), (result_))

static void plausible_names(void **state)
{
	assert_helo("mail.example.net", RESULT_PASS);
	assert_helo("mail.example.net.", RESULT_PASS);
	assert_helo("under_score.example.net", RESULT_PASS);
	assert_helo("[192.0.2.1]", RESULT_PASS);
	assert_int_equal(helo_from("2001:db8::1", "[IPv6:2001:db8::1]"), RESULT_PASS);
	assert_int_equal(helo_from("2001:db8::1", "[ipv6:2001:DB8:0::1]"), RESULT_PASS);
	assert_helo("xn--bcher-kva.example", RESULT_PASS);
	assert_helo("", RESULT_NONE);
}

static void our_own_name(void **state)
{
	assert_helo("mx1.example.org", RESULT_IMPLAUSIBLE);
	assert_helo("MX1.Example.ORG.", RESULT_IMPLAUSIBLE);
	assert_non_null(strstr(finding_at(0)->reason, "our own name"));
	assert_helo("[203.0.113.1]", RESULT_IMPLAUSIBLE);
	assert_non_null(strstr(finding_at(0)->reason, "our own address"));
	assert_helo("203.0.113.1", RESULT_IMPLAUSIBLE);
	assert_non_null(strstr(finding_at(0)->reason, "our own address"));
	/* This host itself may. */
	assert_int_equal(helo_from("127.0.0.1", "mx1.example.org"), RESULT_PASS);
	assert_int_equal(helo_from(OUR_IP, "mx1.example.org"), RESULT_PASS);
	assert_int_equal(helo_from(OUR_IP, "[203.0.113.1]"), RESULT_PASS);
	assert_int_equal(helo_from("127.0.0.1", "localhost"), RESULT_PASS);
}

static void addresses_of_others_and_bare_ones(void **state)
{
	assert_helo("[192.0.2.2]", RESULT_IMPLAUSIBLE);
	assert_helo("[IPv6:2001:db8::1]", RESULT_IMPLAUSIBLE);
	assert_helo("192.0.2.1", RESULT_IMPLAUSIBLE);
	assert_non_null(strstr(finding_at(0)->reason, "bare"));
	assert_helo("192.0.2.2", RESULT_IMPLAUSIBLE);
	assert_helo("2001:db8::1", RESULT_IMPLAUSIBLE);
}

static void names_that_are_none(void **state)
{
	static const char *const names[] = { "localhost", "localhost.localdomain", "friend", "ylmf-pc", "[]", "[", "]",
		"[192.0.2]", "[192.0.2.1", "[2001:db8::1]", "[IPv6:192.0.2.1.5]", "a b.example", "a..example", ".example.net",
		"-x.example.net", "mail.example.net,", "user@example.net", ".", "mail\001.example.net",
		"b\xc3\xbc" "cher.example", "(mail.example.net)" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (helo_from("192.0.2.1", names[i]) != RESULT_IMPLAUSIBLE)
			fail_msg("plausible: %s", names[i]);
}

static void our_address_may_be_unknown(void **state)
{
	client = (struct client_facts){ .ip = ip_of("192.0.2.1"), .helo = SLICE("[192.0.2.2]") };
	client_check_helo(&client, NULL, NULL, &findings, &arena);
	assert_finding(CHECK_HELO, RESULT_IMPLAUSIBLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		answers_test(strangers_are_named_by_no_list), answers_test(each_list_has_its_class),
		answers_test(trust_goes_before_allow_and_allow_before_deny), answers_test(a_confirmed_name),
		answers_test(a_confirmed_name_of_ipv6), answers_test(a_name_that_leads_elsewhere),
		answers_test(the_second_name_will_do), answers_test(four_names_are_looked_at),
		answers_test(no_reverse_name), answers_test(trouble_is_no_answer),
		answers_test(a_name_that_is_none_is_not_used), answers_test(plausible_names),
		answers_test(our_own_name), answers_test(addresses_of_others_and_bare_ones),
		answers_test(names_that_are_none), answers_test(our_address_may_be_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
