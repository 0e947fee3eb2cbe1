/* DNS lists: what counts as a listing, what never does, and the health of zones over hours. */
#include "answers.h"

#include "check/dnsbl.h"

static struct dnsbl *lists;
static struct client_facts client;
static struct slice sender;
static unsigned keys;
static deadline until;
static struct dnsbl_conf conf;

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_true(ip_parse(&ip, slice_of(text)));
	return ip;
}

static int dnsbl_setup(void **state)
{
	answers_setup(state);
	lists = dnsbl_open();
	client = (struct client_facts){ .ip = ip_of("192.0.2.7") };
	sender = SLICE("");
	conf = (struct dnsbl_conf){ .threshold = 3, .timeout = 10 * NS_PER_SECOND };
	return 0;
}

static int dnsbl_teardown(void **state)
{
	if (lists)
		dnsbl_close(lists);
	turns_now();
	return answers_teardown(state);
}

#define dnsbl_test(f) cmocka_unit_test_setup_teardown(f, dnsbl_setup, dnsbl_teardown)

/* ---- zones as they should be ---- */

static const char *in_zone(const char *entry, const char *zone)
{
	return arena_printf(&arena, "%s.%s", entry, zone);
}

static void healthy_addresses(const char *zone)
{
	answer(in_zone("2.0.0.127", zone), DNS_A, "127.0.0.2");
	answer(in_zone("1.0.0.127", zone), DNS_A, "NXDOMAIN");
}

static void healthy_names(const char *zone)
{
	answer(in_zone("test", zone), DNS_A, "127.0.1.2");
	answer(in_zone("invalid", zone), DNS_A, "NXDOMAIN");
}

#define CONFIGURE(...) \
	do { \
		static struct dnsbl_zone_conf zones_[8]; \
		const struct dnsbl_zone_conf given_[] = { __VA_ARGS__ }; \
		memcpy(zones_, given_, sizeof(given_)); \
		conf.zones = zones_; \
		conf.zone_count = sizeof(given_) / sizeof(given_[0]); \
		dnsbl_configure(lists, &conf, dns); \
		turns_now(); \
	} while (0)

static void ask(void *arg)
{
	dnsbl_check(lists, &conf, dns, keys, &client, sender, &findings, &arena, until);
}

static void check(unsigned k)
{
	findings = (struct findings){ 0 };
	keys = k;
	until = deadline_in(20 * NS_PER_SECOND);
	in_fiber(ask, NULL);
}

static void forget_asked(void)
{
	asked[0] = '\0';
}

static struct dnsbl_zone_info info;

static void zone_keep(const struct dnsbl_zone_info *i, void *arg)
{
	if (strcmp(i->label, arg) == 0)
		info = *i;
}

static const struct dnsbl_zone_info *zone_info(const char *label)
{
	info = (struct dnsbl_zone_info){ 0 };
	dnsbl_each_zone(lists, zone_keep, (char *)label);
	assert_non_null(info.label);
	return &info;
}

/* Time passes, and what is due in it happens. */
static void pass(nanoseconds span)
{
	deadline then = clock_now() + span;

	while (loop_turn(then))
		;
	assert_true(clock_now() >= then);
}

#define MINUTE (60 * NS_PER_SECOND)
#define HOUR (3600 * NS_PER_SECOND)

/* ---- listings ---- */

static void a_listed_client(void **state)
{
	healthy_addresses("bl.example");
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.4");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
	assert_int_equal(finding_at(0)->weight, 3);
	assert_string_equal(finding_at(0)->detail, "192.0.2.7");
	assert_string_equal(finding_at(0)->reason, "bl.example lists the client.");
	assert_non_null(strstr(finding_at(0)->evidence, "127.0.0.4"));
	assert_int_equal(zone_info("bl.example")->listed, 1);
	assert_int_equal(zone_info("bl.example")->asked, 1);
}

static void an_unlisted_client(void **state)
{
	healthy_addresses("bl.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	answer("7.2.0.192.bl.example", DNS_A, "NODATA");
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
}

static void ipv6_is_asked_by_nibbles(void **state)
{
	healthy_addresses("bl.example");
	client.ip = ip_of("2001:db8::7");
	answer("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
	assert_string_equal(finding_at(0)->detail, "2001:db8::7");
}

static void weights_of_several_lists(void **state)
{
	healthy_addresses("a.example");
	healthy_addresses("b.example");
	healthy_addresses("c.example");
	answer("7.2.0.192.a.example", DNS_A, "127.0.0.2");
	answer("7.2.0.192.c.example", DNS_A, "127.0.0.3 127.0.0.4");
	CONFIGURE({ .zone = "a.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "c.example", .weight = -1, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 2);
	assert_int_equal(finding_at(0)->weight, 2);
	assert_int_equal(finding_at(1)->weight, -1);	/* once a list, however many answers */
}

static void questions_are_asked_in_parallel(void **state)
{
	healthy_addresses("a.example");
	healthy_addresses("b.example");
	healthy_addresses("c.example");
	CONFIGURE({ .zone = "a.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "c.example", .weight = 1, .keys = DNSBL_CLIENT });
	answer_delay = 2 * NS_PER_SECOND;

	nanoseconds began = clock_now();

	check(DNSBL_CLIENT);
	assert_true(clock_now() - began <= 2 * NS_PER_SECOND);
}

static void answers_outside_the_ranges_do_not_count(void **state)
{
	static struct dnsbl_range range;

	range = (struct dnsbl_range){ ip_of("127.0.0.2"), ip_of("127.0.0.9") };
	healthy_addresses("bl.example");
	healthy_addresses("any.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT, .answers = &range, .answer_count = 1 },
		{ .zone = "any.example", .weight = 3, .keys = DNSBL_CLIENT });
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.10");
	answer("7.2.0.192.any.example", DNS_A, "127.0.0.1");
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	assert_true(zone_info("bl.example")->on && zone_info("any.example")->on);
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.10 127.0.0.9");
	answer("7.2.0.192.any.example", DNS_A, "127.0.0.255");
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 2);
	answer("7.2.0.192.bl.example", DNS_A, "127.0.1.2");
	answer("7.2.0.192.any.example", DNS_A, "127.0.1.2");
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
}

static void private_clients_are_not_asked_about(void **state)
{
	healthy_addresses("bl.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	forget_asked();
	client.ip = ip_of("10.0.0.5");
	check(DNSBL_CLIENT);
	client.ip = (struct ip){ { 0 } };	/* a Unix socket */
	check(DNSBL_CLIENT);
	assert_string_equal(asked, "");
	assert_int_equal(finding_count(), 0);
}

/* ---- names ---- */

static void names_are_asked_about(void **state)
{
	healthy_names("dbl.example");
	answer("spam.example.dbl.example", DNS_A, "127.0.0.2");
	answer("bad.helo.example.dbl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_SENDER_DOMAIN | DNSBL_HELO });
	sender = SLICE("Spam.Example");
	client.helo = SLICE("bad.HELO.example.");
	check(DNSBL_SENDER_DOMAIN | DNSBL_HELO);
	assert_int_equal(finding_count(), 2);
	assert_string_equal(finding_at(0)->detail, "spam.example");
	assert_string_equal(finding_at(0)->reason, "dbl.example lists the sender domain.");
	assert_string_equal(finding_at(1)->detail, "bad.helo.example");
	assert_string_equal(finding_at(1)->reason, "dbl.example lists the HELO name.");
	check(DNSBL_HELO);
	assert_int_equal(finding_count(), 1);
	forget_asked();
	check(DNSBL_CLIENT);
	assert_string_equal(asked, "");
}

static void one_name_is_asked_about_once(void **state)
{
	healthy_names("dbl.example");
	answer("spam.example.dbl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_SENDER_DOMAIN | DNSBL_HELO });
	sender = SLICE("spam.example");
	client.helo = SLICE("SPAM.example");
	check(DNSBL_SENDER_DOMAIN | DNSBL_HELO);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
}

static void what_is_no_domain_is_not_asked_about(void **state)
{
	static const char *const names[] = { "", "[192.0.2.7]", "[IPv6:2001:db8::7]", "192.0.2.7", "2001:db8::7",
		"localhost", "friend.", "192.0.2", "a..example", "a b.example", ".", "..", "x\001.example" };

	healthy_names("dbl.example");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_SENDER_DOMAIN | DNSBL_HELO });
	forget_asked();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		sender = client.helo = slice_of(names[i]);
		check(DNSBL_SENDER_DOMAIN | DNSBL_HELO);
		assert_int_equal(finding_count(), 0);
	}
	assert_string_equal(asked, "");
}

static void an_international_name_is_asked_in_its_ascii_form(void **state)
{
	healthy_names("dbl.example");
	answer("xn--bcher-kva.example.dbl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_SENDER_DOMAIN });
	sender = SLICE("b\xc3\xbc" "cher.example");
	check(DNSBL_SENDER_DOMAIN);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
}

static void a_name_too_long_for_dns_is_not_listed(void **state)
{
	char name[260];

	for (size_t i = 0; i < 240; i++)
		name[i] = i % 60 == 59 ? '.' : 'a';
	strcpy(name + 239, ".example");
	healthy_names("dbl.example");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_SENDER_DOMAIN });
	sender = slice_of(name);
	check(DNSBL_SENDER_DOMAIN);
	assert_int_equal(finding_count(), 0);
}

/* ---- answers that are no answers ---- */

/* So wide that every error code lies in it: no configuration makes them listings. */
static struct dnsbl_range *everything(void)
{
	static struct dnsbl_range range;

	range = (struct dnsbl_range){ ip_of("0.0.0.0"), ip_of("255.255.255.255") };
	return &range;
}

static void error_answer(const char *text, int weight)
{
	healthy_addresses("bl.example");
	answer("7.2.0.192.bl.example", DNS_A, "NXDOMAIN");
	CONFIGURE({ .zone = "bl.example", .weight = weight, .keys = DNSBL_CLIENT, .answers = everything(),
		.answer_count = 1 });
	pass(HOUR + MINUTE);		/* on again after the last one */
	assert_true(zone_info("bl.example")->on);

	uint64_t errors = zone_info("bl.example")->errors;

	answer("7.2.0.192.bl.example", DNS_A, text);
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	assert_int_equal(zone_info("bl.example")->errors, errors + 1);
	assert_false(zone_info("bl.example")->on);
	assert_non_null(zone_info("bl.example")->reason);
}

static void error_answers_are_never_listings(void **state)
{
	error_answer("127.255.255.252", 3);
	error_answer("127.255.255.254", 3);
	assert_non_null(strstr(zone_info("bl.example")->reason, "public resolver"));
	error_answer("127.255.255.255", 3);
	assert_non_null(strstr(zone_info("bl.example")->reason, "too many questions"));
	error_answer("127.255.255.1", 3);
	error_answer("198.51.100.80", 3);
	error_answer("0.0.0.0", 3);
	error_answer("127.0.0.2 127.255.255.254", 3);
	error_answer("10.0.0.2", -2);
}

/* The same mistake in reverse: DNSWL's refusal would let everybody in. */
static void a_refusal_is_no_praise(void **state)
{
	error_answer("127.0.0.255", -2);
	answer("7.2.0.192.bl.example", DNS_A, "127.0.9.3");
	pass(HOUR);
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
	assert_int_equal(finding_at(0)->weight, -2);
}

static void a_zone_in_error_rests_until_it_passes(void **state)
{
	error_answer("127.255.255.254", 3);
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	answer("2.0.0.127.bl.example", DNS_A, "127.255.255.254");
	forget_asked();
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	assert_string_equal(asked, "");			/* not even asked */
	pass(3 * HOUR);
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	assert_false(zone_info("bl.example")->on);
	answer("2.0.0.127.bl.example", DNS_A, "127.0.0.2");
	pass(HOUR);
	assert_true(zone_info("bl.example")->on);
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
}

/* ---- failed questions ---- */

static void trouble_is_told_and_nothing_else(void **state)
{
	healthy_addresses("a.example");
	healthy_addresses("b.example");
	CONFIGURE({ .zone = "a.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 2, .keys = DNSBL_CLIENT });
	answer("7.2.0.192.a.example", DNS_A, "TROUBLE");
	answer("7.2.0.192.b.example", DNS_A, "127.0.0.2");
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 2);
	assert_int_equal(finding_at(0)->result, RESULT_TEMPERROR);
	assert_int_equal(finding_at(0)->weight, 0);
	assert_non_null(strstr(finding_at(0)->reason, "SERVFAIL"));
	assert_int_equal(finding_at(1)->result, RESULT_LISTED);
	assert_true(zone_info("a.example")->on);
	assert_int_equal(zone_info("a.example")->trouble, 1);
}

static void a_list_that_does_not_answer_costs_one_deadline(void **state)
{
	healthy_addresses("a.example");
	healthy_addresses("b.example");
	CONFIGURE({ .zone = "a.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 2, .keys = DNSBL_CLIENT });
	conf.timeout = 3 * NS_PER_SECOND;
	answer_late("7.2.0.192.a.example", DNS_A, "127.0.0.2", HOUR);
	answer_late("7.2.0.192.b.example", DNS_A, "127.0.0.2", HOUR);

	nanoseconds began = clock_now();

	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 2);
	assert_int_equal(finding_at(0)->result, RESULT_TEMPERROR);
	assert_int_equal(finding_at(1)->result, RESULT_TEMPERROR);
	assert_true(clock_now() - began <= 3 * NS_PER_SECOND);
}

/* ---- self-tests ---- */

static void zones_are_tested_at_start(void **state)
{
	healthy_addresses("bl.example");
	healthy_names("dbl.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT },
		{ .zone = "dbl.example", .weight = 3, .keys = DNSBL_HELO });
	assert_true(was_asked("A 2.0.0.127.bl.example") && was_asked("A 1.0.0.127.bl.example"));
	assert_true(was_asked("A test.dbl.example") && was_asked("A invalid.dbl.example"));
	assert_false(was_asked("A 2.0.0.127.dbl.example") || was_asked("A test.bl.example"));
	assert_true(zone_info("bl.example")->on && zone_info("bl.example")->tested);
	assert_true(zone_info("dbl.example")->on);
	assert_null(zone_info("dbl.example")->reason);
}

static void zones_are_tested_every_hour(void **state)
{
	healthy_addresses("bl.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	for (int i = 0; i < 24; i++) {
		forget_asked();
		pass(HOUR);
		assert_true(was_asked("A 2.0.0.127.bl.example"));
	}
}

/* The list died and its name was sold: everything is listed. */
static void a_wildcard_zone_is_switched_off(void **state)
{
	healthy_addresses("bl.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	answer("1.0.0.127.bl.example", DNS_A, "127.0.0.2");
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	pass(HOUR);
	assert_false(zone_info("bl.example")->on);
	assert_non_null(strstr(zone_info("bl.example")->reason, "whole world"));
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	answer("1.0.0.127.bl.example", DNS_A, "NXDOMAIN");
	pass(HOUR);
	assert_true(zone_info("bl.example")->on);
}

static void a_wildcard_zone_of_names_is_switched_off(void **state)
{
	healthy_names("dbl.example");
	answer("invalid.dbl.example", DNS_A, "127.0.0.1");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_HELO });
	assert_false(zone_info("dbl.example")->on);
}

static void a_zone_parked_at_a_web_page_is_switched_off(void **state)
{
	answer("2.0.0.127.bl.example", DNS_A, "198.51.100.80");
	answer("1.0.0.127.bl.example", DNS_A, "198.51.100.80");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_false(zone_info("bl.example")->on);
	assert_non_null(strstr(zone_info("bl.example")->reason, "198.51.100.80"));
}

static void an_empty_zone_is_switched_off(void **state)
{
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_false(zone_info("bl.example")->on);
	assert_non_null(strstr(zone_info("bl.example")->reason, "dead"));
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
}

static void large_lists_of_names_have_their_own_test_entries(void **state)
{
	answer("dbltest.com.dbl.example", DNS_A, "127.0.1.2");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_HELO });
	assert_true(zone_info("dbl.example")->on);
}

static void trouble_of_the_other_entries_proves_nothing(void **state)
{
	answer("dbltest.com.dbl.example", DNS_A, "TROUBLE");
	CONFIGURE({ .zone = "dbl.example", .weight = 3, .keys = DNSBL_HELO });
	assert_false(zone_info("dbl.example")->tested);
	answer("test.uribl.com.dbl.example", DNS_A, "127.0.1.2");
	pass(MINUTE);
	assert_true(zone_info("dbl.example")->on);
}

static void a_zone_of_addresses_and_names_must_pass_both(void **state)
{
	healthy_addresses("both.example");
	answer("invalid.both.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "both.example", .weight = 3, .keys = DNSBL_CLIENT | DNSBL_HELO });
	assert_false(zone_info("both.example")->on);
	healthy_names("both.example");
	pass(HOUR);
	assert_true(zone_info("both.example")->on);
}

static void trouble_of_the_test_changes_nothing(void **state)
{
	healthy_addresses("on.example");
	CONFIGURE({ .zone = "on.example", .weight = 3, .keys = DNSBL_CLIENT },
		{ .zone = "off.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_true(zone_info("on.example")->on);
	assert_false(zone_info("off.example")->on);
	answer("2.0.0.127.on.example", DNS_A, "TROUBLE");
	answer("2.0.0.127.off.example", DNS_A, "TROUBLE");
	pass(5 * HOUR);
	assert_true(zone_info("on.example")->on);
	assert_non_null(zone_info("on.example")->reason);
	assert_false(zone_info("off.example")->on);
	answer_late("2.0.0.127.on.example", DNS_A, "127.0.0.2", HOUR);	/* dead servers */
	pass(5 * HOUR);
	assert_true(zone_info("on.example")->on);
}

/* What is proven in spite of trouble is proven. */
static void half_a_test_can_condemn(void **state)
{
	answer("2.0.0.127.bl.example", DNS_A, "TROUBLE");
	answer("1.0.0.127.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_false(zone_info("bl.example")->on);
	assert_true(zone_info("bl.example")->tested);
}

/* ---- the first moments ---- */

static void a_hit_waits_for_the_first_test(void **state)
{
	answer_late("2.0.0.127.bl.example", DNS_A, "127.0.0.2", 3 * NS_PER_SECOND);
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_false(zone_info("bl.example")->tested);

	nanoseconds began = clock_now();

	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
	assert_true(clock_now() - began == 3 * NS_PER_SECOND);
}

static void a_miss_waits_for_nothing(void **state)
{
	answer_late("2.0.0.127.bl.example", DNS_A, "127.0.0.2", 3 * NS_PER_SECOND);
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });

	nanoseconds began = clock_now();

	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	assert_true(clock_now() == began);
}

/* It died over night; the worker starts and refuses nobody for it. */
static void nobody_is_refused_by_a_dead_list_at_start(void **state)
{
	answer_late("1.0.0.127.bl.example", DNS_A, "127.0.0.2", 3 * NS_PER_SECOND);
	answer("2.0.0.127.bl.example", DNS_A, "127.0.0.2");
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
	assert_false(zone_info("bl.example")->on);
}

static void an_untested_list_is_not_believed(void **state)
{
	answer("2.0.0.127.bl.example", DNS_A, "TROUBLE");
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_TEMPERROR);
	/* The network comes up after us: soon tested again. */
	answer("2.0.0.127.bl.example", DNS_A, "127.0.0.2");
	pass(MINUTE);
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
}

static struct findings others;

static void ask_for_another(void *arg)
{
	struct client_facts another = { .ip = ip_of("192.0.2.8") };

	dnsbl_check(lists, &conf, dns, DNSBL_CLIENT, &another, SLICE(""), &others, &arena, until);
}

/* The zone was switched off by another session while this one waited for its answer. */
static void a_zone_switched_off_meanwhile_lists_nobody(void **state)
{
	struct fiber_job another = { 0 };

	healthy_addresses("bl.example");
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_CLIENT });
	answer_late("7.2.0.192.bl.example", DNS_A, "127.0.0.2", 3 * NS_PER_SECOND);
	answer_late("8.2.0.192.bl.example", DNS_A, "127.255.255.255", NS_PER_SECOND);
	until = deadline_in(20 * NS_PER_SECOND);
	others = (struct findings){ 0 };
	fiber_start(&another, "another", ask_for_another, NULL);
	check(DNSBL_CLIENT);
	assert_false(fiber_job_active(&another));
	assert_false(zone_info("bl.example")->on);
	assert_int_equal(finding_count(), 0);
	assert_null(others.first);
}

/* ---- reload ---- */

static size_t zones_seen;

static void zone_count(const struct dnsbl_zone_info *i, void *arg)
{
	zones_seen++;
}

static void a_reload_keeps_what_is_known(void **state)
{
	healthy_addresses("a.example");
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_false(zone_info("b.example")->on);
	check(DNSBL_CLIENT);
	forget_asked();
	CONFIGURE({ .zone = "A.example", .weight = 2, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_string_equal(asked, "");
	assert_int_equal(zone_info("A.example")->asked, 1);
	assert_false(zone_info("b.example")->on);
	CONFIGURE({ .zone = "b.example", .weight = 3, .keys = DNSBL_CLIENT });
	zones_seen = 0;
	dnsbl_each_zone(lists, zone_count, NULL);
	assert_int_equal(zones_seen, 1);
	forget_asked();
	pass(3 * HOUR);
	assert_false(was_asked("A 2.0.0.127.a.example"));	/* nobody uses it: not tested any more */
	assert_true(was_asked("A 2.0.0.127.b.example"));
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_true(was_asked("A 2.0.0.127.a.example"));
}

static void other_keys_are_tested_anew(void **state)
{
	healthy_addresses("a.example");
	answer("invalid.a.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT });
	assert_true(zone_info("a.example")->on);
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_HELO });
	assert_true(was_asked("A test.a.example"));
	assert_false(zone_info("a.example")->on);
}

static void a_reload_in_the_middle_of_a_test(void **state)
{
	answer_late("2.0.0.127.a.example", DNS_A, "127.0.0.2", NS_PER_SECOND);
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT });
	for (int i = 0; i < 5; i++)
		CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT });
	pass(5 * NS_PER_SECOND);
	assert_true(zone_info("a.example")->on);
}

static void a_session_of_the_old_configuration(void **state)
{
	healthy_addresses("a.example");
	healthy_addresses("b.example");
	answer("7.2.0.192.a.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT });

	struct dnsbl_zone_conf kept = conf.zones[0];
	struct dnsbl_conf old = conf;

	CONFIGURE({ .zone = "b.example", .weight = 3, .keys = DNSBL_CLIENT });
	old.zones = &kept;
	conf = old;
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
}

static void closing_in_the_middle_of_a_test(void **state)
{
	answer_late("2.0.0.127.a.example", DNS_A, "127.0.0.2", HOUR);
	CONFIGURE({ .zone = "a.example", .weight = 3, .keys = DNSBL_CLIENT },
		{ .zone = "b.example", .weight = 3, .keys = DNSBL_CLIENT });
	dnsbl_close(lists);
	lists = NULL;
	turns_now();
}

/* More zones than stacks: some tests wait in line, and are never run. */
static void closing_with_tests_in_line(void **state)
{
	static struct dnsbl_zone_conf zones[3 * STACKS];

	answer_delay = HOUR;
	for (size_t i = 0; i < 3 * STACKS; i++)
		zones[i] = (struct dnsbl_zone_conf){ .zone = arena_printf(&arena, "z%zu.example", i), .weight = 1,
			.keys = DNSBL_CLIENT };
	conf.zones = zones;
	conf.zone_count = 3 * STACKS;
	dnsbl_configure(lists, &conf, dns);
	turns_now();
	dnsbl_close(lists);
	lists = NULL;
	turns_now();
}

/* ---- labels ---- */

static void a_paid_key_is_never_shown(void **state)
{
	static const char zone[] = "abcdefghij0123456789klmnop.zen.dq.example.net";

	assert_string_equal(dnsbl_default_label(&arena, zone), "[key].zen.dq.example.net");
	assert_string_equal(dnsbl_default_label(&arena, "zen.example.net"), "zen.example.net");
	assert_string_equal(dnsbl_default_label(&arena, "abcdefghij012345678.example"), "abcdefghij012345678.example");
	assert_string_equal(dnsbl_default_label(&arena, "abcdefghij0123456789.example"), "[key].example");
	assert_string_equal(dnsbl_default_label(&arena, "a-label-that-is-long-and-speaks.example"),
		"a-label-that-is-long-and-speaks.example");
	assert_string_equal(dnsbl_default_label(&arena, ""), "");
	healthy_addresses(zone);
	answer(in_zone("7.2.0.192", zone), DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = zone, .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_finding(CHECK_DNSBL, RESULT_LISTED);
	assert_null(strstr(finding_at(0)->reason, "abcdef"));
	assert_null(strstr(finding_at(0)->evidence, "abcdef"));
	assert_null(strstr(finding_at(0)->detail, "abcdef"));
	answer(in_zone("7.2.0.192", zone), DNS_A, "TROUBLE");
	check(DNSBL_CLIENT);
	assert_null(strstr(finding_at(0)->reason, "abcdef"));
	assert_non_null(zone_info("[key].zen.dq.example.net"));
}

static void a_label_can_be_given(void **state)
{
	healthy_addresses("bl.example");
	answer("7.2.0.192.bl.example", DNS_A, "127.0.0.2");
	CONFIGURE({ .zone = "bl.example", .label = "our list", .weight = 3, .keys = DNSBL_CLIENT });
	check(DNSBL_CLIENT);
	assert_string_equal(finding_at(0)->reason, "our list lists the client.");
}

/* ---- by hand ---- */

static bool healthy;
static const char *why;

static void test_now(void *arg)
{
	healthy = dnsbl_self_test(arg, dns, &arena, &why, deadline_in(5 * NS_PER_SECOND));
}

static void the_test_of_check_live(void **state)
{
	struct dnsbl_zone_conf zone = { .zone = "bl.example", .keys = DNSBL_CLIENT, .weight = 1 };

	healthy_addresses("bl.example");
	in_fiber(test_now, &zone);
	assert_true(healthy);
	answer("2.0.0.127.bl.example", DNS_A, "NXDOMAIN");
	in_fiber(test_now, &zone);
	assert_false(healthy);
	assert_non_null(strstr(why, "127.0.0.2"));
	answer("2.0.0.127.bl.example", DNS_A, "TROUBLE");
	in_fiber(test_now, &zone);
	assert_false(healthy);
	assert_non_null(strstr(why, "trouble"));
}

static void what_is_wanted(void **state)
{
	CONFIGURE({ .zone = "bl.example", .weight = 3, .keys = DNSBL_HELO });
	assert_true(dnsbl_wanted(&conf, DNSBL_HELO | DNSBL_CLIENT));
	assert_false(dnsbl_wanted(&conf, DNSBL_CLIENT));
	assert_false(dnsbl_wanted(&(struct dnsbl_conf){ 0 }, DNSBL_CLIENT));
	conf.zone_count = 0;
	check(DNSBL_CLIENT);
	assert_int_equal(finding_count(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dnsbl_test(a_listed_client), dnsbl_test(an_unlisted_client), dnsbl_test(ipv6_is_asked_by_nibbles),
		dnsbl_test(weights_of_several_lists), dnsbl_test(questions_are_asked_in_parallel),
		dnsbl_test(answers_outside_the_ranges_do_not_count), dnsbl_test(private_clients_are_not_asked_about),
		dnsbl_test(names_are_asked_about), dnsbl_test(one_name_is_asked_about_once),
		dnsbl_test(what_is_no_domain_is_not_asked_about),
		dnsbl_test(an_international_name_is_asked_in_its_ascii_form),
		dnsbl_test(a_name_too_long_for_dns_is_not_listed), dnsbl_test(error_answers_are_never_listings),
		dnsbl_test(a_refusal_is_no_praise), dnsbl_test(a_zone_in_error_rests_until_it_passes),
		dnsbl_test(trouble_is_told_and_nothing_else),
		dnsbl_test(a_list_that_does_not_answer_costs_one_deadline), dnsbl_test(zones_are_tested_at_start),
		dnsbl_test(zones_are_tested_every_hour), dnsbl_test(a_wildcard_zone_is_switched_off),
		dnsbl_test(a_wildcard_zone_of_names_is_switched_off),
		dnsbl_test(a_zone_parked_at_a_web_page_is_switched_off), dnsbl_test(an_empty_zone_is_switched_off),
		dnsbl_test(large_lists_of_names_have_their_own_test_entries),
		dnsbl_test(trouble_of_the_other_entries_proves_nothing),
		dnsbl_test(a_zone_of_addresses_and_names_must_pass_both),
		dnsbl_test(trouble_of_the_test_changes_nothing), dnsbl_test(half_a_test_can_condemn),
		dnsbl_test(a_hit_waits_for_the_first_test), dnsbl_test(a_miss_waits_for_nothing),
		dnsbl_test(nobody_is_refused_by_a_dead_list_at_start), dnsbl_test(an_untested_list_is_not_believed),
		dnsbl_test(a_zone_switched_off_meanwhile_lists_nobody), dnsbl_test(a_reload_keeps_what_is_known),
		dnsbl_test(other_keys_are_tested_anew), dnsbl_test(a_reload_in_the_middle_of_a_test),
		dnsbl_test(a_session_of_the_old_configuration), dnsbl_test(closing_in_the_middle_of_a_test),
		dnsbl_test(closing_with_tests_in_line), dnsbl_test(a_paid_key_is_never_shown),
		dnsbl_test(a_label_can_be_given), dnsbl_test(the_test_of_check_live), dnsbl_test(what_is_wanted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
