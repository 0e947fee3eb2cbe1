/*
 * check_host() where the standard's own suites do not look: reasons, limits at their edges, what is asked ahead, what a
 * dead server costs, and that a failed question is not an answer. The suites run in test/conformance.
 */
#include "answers.h"

#include "check/spf.h"

static struct spf_answer got;
static struct ip client;
static const char *helo, *local, *domain;
static nanoseconds took;
static nanoseconds budget;

static void ask(void *arg)
{
	struct spf_question q = { .ip = &client, .helo = slice_of(helo), .local = slice_of(local),
		.domain = slice_of(domain), .receiver = "mx1.example.org", .now = 1600000000 };
	nanoseconds began = clock_now();

	spf_check_host(dns, &arena, &q, &got, deadline_in(budget));
	took = clock_now() - began;
}

static void check_sender(const char *ip, const char *sender_domain, enum result expected)
{
	assert_true(ip_parse(&client, slice_of(ip)));
	domain = sender_domain;
	asked[0] = '\0';
	in_fiber(ask, NULL);
	if (got.result != expected)
		fail_msg("%s from %s: %s (%s), expected %s", domain, ip, result_name(got.result), got.reason,
			result_name(expected));
	assert_non_null(got.reason);
}

static int setup(void **state)
{
	helo = "mx.example.net";
	local = "user";
	budget = 20 * NS_PER_SECOND;
	return answers_setup(state);
}

static int teardown(void **state)
{
	turns();
	return answers_teardown(state);
}

#define spf_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- answers and their reasons ---- */

static void each_result_has_its_sentence(void **state)
{
	answer("good.example", DNS_TXT, "v=spf1 include:_spf.good.example ~ip4:192.0.2.9 ?ip4:192.0.2.10 -all");
	answer("_spf.good.example", DNS_TXT, "other text\nv=spf1 ip4:192.0.2.0/29 -all");
	check_sender("192.0.2.7", "good.example", RESULT_PASS);
	assert_string_equal(got.mechanism, "ip4:192.0.2.0/29");
	assert_string_equal(got.record, "_spf.good.example");
	assert_string_equal(got.reason,
		"good.example says that 192.0.2.7 may send for it (ip4:192.0.2.0/29 in the record of _spf.good.example).");
	assert_int_equal(got.lookups, 1);
	assert_false(got.helo);
	check_sender("192.0.2.9", "good.example", RESULT_SOFTFAIL);
	assert_string_equal(got.mechanism, "~ip4:192.0.2.9");
	assert_string_equal(got.record, "good.example");
	check_sender("192.0.2.10", "good.example", RESULT_NEUTRAL);
	assert_non_null(strstr(got.reason, "does not say"));
	check_sender("198.51.100.1", "good.example", RESULT_FAIL);
	assert_non_null(strstr(got.reason, "may not send for it (-all in the record of good.example)"));
	assert_false(got.never_sends);
	check_sender("192.0.2.1", "none.example", RESULT_NONE);
	assert_string_equal(got.reason, "none.example has no SPF record.");
	answer("silent.example", DNS_TXT, "v=spf1 ip4:192.0.2.1");
	check_sender("192.0.2.2", "silent.example", RESULT_NEUTRAL);
	assert_null(got.mechanism);
	assert_non_null(strstr(got.reason, "says nothing"));
}

static void mapped_addresses_are_ipv4(void **state)
{
	answer("four.example", DNS_TXT, "v=spf1 ip4:192.0.2.7 -all");
	check_sender("::ffff:192.0.2.7", "four.example", RESULT_PASS);
	answer("six.example", DNS_TXT, "v=spf1 ip6:::/0 -all");
	check_sender("192.0.2.7", "six.example", RESULT_FAIL);
	check_sender("2001:db8::1", "six.example", RESULT_PASS);
	answer("bits.example", DNS_TXT, "v=spf1 ip4:192.0.2.128/25 ip6:2001:db8:8000::/33 -all");
	check_sender("192.0.2.200", "bits.example", RESULT_PASS);
	check_sender("192.0.2.100", "bits.example", RESULT_FAIL);
	check_sender("2001:db8:8001::1", "bits.example", RESULT_PASS);
	check_sender("2001:db8:7fff::1", "bits.example", RESULT_FAIL);
}

static void domains_that_never_send(void **state)
{
	answer("never.example", DNS_TXT, "v=spf1 -all");
	check_sender("192.0.2.7", "never.example", RESULT_FAIL);
	assert_true(got.never_sends);
	assert_non_null(strstr(got.reason, "never sends mail"));
	answer("led.example", DNS_TXT, "v=spf1 redirect=never.example");
	check_sender("192.0.2.7", "led.example", RESULT_FAIL);
	assert_true(got.never_sends);
	answer("words.example", DNS_TXT, "v=spf1 -all exp=why.words.example");
	check_sender("192.0.2.7", "words.example", RESULT_FAIL);
	assert_true(got.never_sends);
	answer("soft.example", DNS_TXT, "v=spf1 ~all");
	check_sender("192.0.2.7", "soft.example", RESULT_SOFTFAIL);
	assert_false(got.never_sends);
	answer("some.example", DNS_TXT, "v=spf1 ip4:198.51.100.0/24 -all");
	check_sender("192.0.2.7", "some.example", RESULT_FAIL);
	assert_false(got.never_sends);
	answer("inside.example", DNS_TXT, "v=spf1 include:never.example -all");
	check_sender("192.0.2.7", "inside.example", RESULT_FAIL);
	assert_false(got.never_sends);
	answer("host.example", DNS_TXT, "v=spf1 -ip4:192.0.2.7");
	check_sender("192.0.2.7", "host.example", RESULT_FAIL);
	assert_false(got.never_sends);
}

static void the_null_path_asks_about_helo(void **state)
{
	helo = "mx.example.net";
	answer("mx.example.net", DNS_TXT, "v=spf1 exists:%{l}.%{o}.check.example -all");
	answer("postmaster.mx.example.net.check.example", DNS_A, "127.0.0.2");
	check_sender("192.0.2.7", "", RESULT_PASS);
	assert_true(got.helo);
	assert_string_equal(got.domain, "mx.example.net");
	helo = "[192.0.2.7]";
	check_sender("192.0.2.7", "", RESULT_NONE);
	helo = "localhost";
	check_sender("192.0.2.7", "", RESULT_NONE);
	helo = "";
	check_sender("192.0.2.7", "", RESULT_NONE);
	assert_string_equal(asked, "");
}

static void internationalised_domains(void **state)
{
	answer("xn--bcher-kva.example", DNS_TXT, "v=spf1 exists:%{o}.check.example a:%{l}.example exists:%{s}.x.org "
		"ip4:192.0.2.7 -all");
	answer("xn--bcher-kva.example.check.example", DNS_A, "NXDOMAIN");
	local = "j\xc3\xbcrgen";
	check_sender("192.0.2.7", "b\xc3\xbc" "cher.example", RESULT_PASS);
	assert_true(was_asked("A xn--bcher-kva.example.check.example"));
	assert_null(strstr(asked, "j\\195"));	/* a local part that is not ASCII matches nothing */
	assert_int_equal(got.voids, 1);
	assert_string_equal(got.mechanism, "ip4:192.0.2.7");
}

/* ---- explanations ---- */

static void explanations_are_bounded_and_harmless(void **state)
{
	char text[700];

	answer("e.example", DNS_TXT, "v=spf1 a -all exp=%{l}.why.example");
	answer("user.why.example", DNS_TXT, "See http://%{d}/?s=%{S}&i=%{c} on %{r} (%{p})");
	check_sender("192.0.2.7", "e.example", RESULT_FAIL);
	assert_string_equal(got.explanation,
		"See http://e.example/?s=user%40e.example&i=192.0.2.7 on mx1.example.org (unknown)");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	answer("user.why.example", DNS_TXT, text);
	check_sender("192.0.2.7", "e.example", RESULT_FAIL);
	assert_int_equal(strlen(got.explanation), SPF_EXPLANATION_MAX + 3);
	answer("user.why.example", DNS_TXT, "caf\xc3\xa9");
	check_sender("192.0.2.7", "e.example", RESULT_FAIL);
	assert_null(got.explanation);
	answer("user.why.example", DNS_TXT, "one\ntwo");
	check_sender("192.0.2.7", "e.example", RESULT_FAIL);
	assert_null(got.explanation);
	answer("user.why.example", DNS_TXT, "TROUBLE");
	check_sender("192.0.2.7", "e.example", RESULT_FAIL);
	assert_null(got.explanation);
	local = "x\x01y";
	answer("x\\001y.why.example", DNS_TXT, "%{l}");
	check_sender("192.0.2.7", "e.example", RESULT_FAIL);
	assert_string_equal(got.explanation, "x\\x01y");
}

static void an_explanation_costs_no_lookup(void **state)
{
	answer("ten.example", DNS_TXT, "v=spf1 a a a a a a a a a a -all exp=%{p}.why.example");
	answer("ten.example", DNS_A, "198.51.100.1");
	answer("unknown.why.example", DNS_TXT, "name %{p}");
	check_sender("192.0.2.7", "ten.example", RESULT_FAIL);
	assert_string_equal(got.explanation, "name unknown");
	assert_int_equal(got.lookups, 10);
}

/* ---- limits ---- */

static void lookups_over_the_limit(void **state)
{
	answer("over.example", DNS_TXT, "v=spf1 a a a a a a a a a a a ip4:192.0.2.7 -all");
	answer("over.example", DNS_A, "198.51.100.1");
	check_sender("192.0.2.7", "over.example", RESULT_PERMERROR);
	assert_string_equal(got.reason,
		"SPF of over.example is broken: more than ten terms that ask DNS (record of over.example).");
	answer("p.example", DNS_TXT, "v=spf1 a a a a a a a a a exists:%{p}.x.example ip4:192.0.2.7 -all");
	answer("p.example", DNS_A, "198.51.100.1");
	check_sender("192.0.2.7", "p.example", RESULT_PERMERROR);
	answer("p.example", DNS_TXT, "v=spf1 a a a a a a a a ptr exists:%{p}.x.example ip4:192.0.2.7 -all");
	check_sender("192.0.2.7", "p.example", RESULT_PASS);
	assert_int_equal(got.lookups, 10);
}

static void voids_over_the_limit(void **state)
{
	answer("void.example", DNS_TXT, "v=spf1 a:x1.example mx:x2.example exists:x3.example ip4:192.0.2.7 -all");
	check_sender("192.0.2.7", "void.example", RESULT_PERMERROR);
	assert_non_null(strstr(got.reason, "find nothing"));
	/* Three hosts without an address are one term that found nothing. */
	answer("void.example", DNS_TXT, "v=spf1 a:x1.example mx:m.example ip4:192.0.2.7 -all");
	answer("m.example", DNS_MX, "10 h1.example 20 h2.example 30 h3.example");
	check_sender("192.0.2.7", "void.example", RESULT_PASS);
	assert_int_equal(got.voids, 2);
}

static void mail_hosts(void **state)
{
	answer("m.example", DNS_TXT, "v=spf1 mx -all");
	answer("m.example", DNS_MX, "1 a.e 1 b.e 1 c.e 1 d.e 1 e.e 1 f.e 1 g.e 1 h.e 1 i.e 1 j.e");
	answer("j.e", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "m.example", RESULT_PASS);
	assert_true(was_asked("A a.e"));
	answer("m.example", DNS_MX, "1 a.e 1 b.e 1 c.e 1 d.e 1 e.e 1 f.e 1 g.e 1 h.e 1 i.e 1 j.e 2 k.e");
	check_sender("192.0.2.7", "m.example", RESULT_PERMERROR);
	answer("m.example", DNS_MX, "0 .");
	check_sender("192.0.2.7", "m.example", RESULT_FAIL);
}

static void reverse_names(void **state)
{
	answer("p.example", DNS_TXT, "v=spf1 ptr -all");
	answer("7.2.0.192.in-addr.arpa", DNS_PTR, "host.notp.example mail.P.example");
	answer("host.notp.example", DNS_A, "192.0.2.7");
	answer("mail.P.example", DNS_A, "198.51.100.1 192.0.2.7");
	check_sender("192.0.2.7", "p.example", RESULT_PASS);
	answer("mail.P.example", DNS_A, "198.51.100.1");
	check_sender("192.0.2.7", "p.example", RESULT_FAIL);
	answer("mail.P.example", DNS_A, "TROUBLE");	/* "that domain name is skipped" */
	check_sender("192.0.2.7", "p.example", RESULT_FAIL);
	answer("7.2.0.192.in-addr.arpa", DNS_PTR, "TROUBLE");	/* "fails to match" */
	check_sender("192.0.2.7", "p.example", RESULT_FAIL);
	assert_int_equal(got.voids, 0);
	answer("7.2.0.192.in-addr.arpa", DNS_PTR, "NXDOMAIN");
	check_sender("192.0.2.7", "p.example", RESULT_FAIL);
	assert_int_equal(got.voids, 1);
}

/* %{p} prefers the domain itself, then a name below it, then any. */
static void the_validated_name(void **state)
{
	answer("d.example", DNS_TXT, "v=spf1 exists:%{p}.seen.example -all");
	answer("7.2.0.192.in-addr.arpa", DNS_PTR, "a.other.example zz.d.example d.example");
	answer("a.other.example", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "d.example", RESULT_FAIL);
	assert_true(was_asked("A a.other.example.seen.example"));
	answer("zz.d.example", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "d.example", RESULT_FAIL);
	assert_true(was_asked("A zz.d.example.seen.example"));
	answer("d.example", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "d.example", RESULT_FAIL);
	assert_true(was_asked("A d.example.seen.example"));
}

/* ---- trouble ---- */

static void trouble_is_temperror(void **state)
{
	answer("t.example", DNS_TXT, "TROUBLE");
	check_sender("192.0.2.7", "t.example", RESULT_TEMPERROR);
	assert_string_equal(got.reason, "SPF of t.example cannot be evaluated now: TXT of t.example could not be looked up "
		"(SERVFAIL).");
	answer("i.example", DNS_TXT, "v=spf1 include:t.example ip4:192.0.2.7 -all");
	check_sender("192.0.2.7", "i.example", RESULT_TEMPERROR);
	assert_string_equal(got.record, "t.example");
	answer("a.example", DNS_TXT, "v=spf1 a -all");
	answer("a.example", DNS_A, "TROUBLE");
	check_sender("192.0.2.7", "a.example", RESULT_TEMPERROR);
	assert_string_equal(got.mechanism, "a");
	answer("m.example", DNS_TXT, "v=spf1 mx -all");
	answer("m.example", DNS_MX, "1 h1.example 2 h2.example");
	answer("h1.example", DNS_A, "TROUBLE");
	answer("h2.example", DNS_A, "198.51.100.1");
	check_sender("192.0.2.7", "m.example", RESULT_TEMPERROR);
	answer("h2.example", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "m.example", RESULT_PASS);
	answer("x.example", DNS_TXT, "v=spf1 exists:t2.example -all");
	answer("t2.example", DNS_A, "TROUBLE");
	check_sender("192.0.2.7", "x.example", RESULT_TEMPERROR);
}

static void the_deadline_is_temperror(void **state)
{
	budget = NS_PER_SECOND;
	answer_late("slow.example", DNS_TXT, "v=spf1 -all", 2 * NS_PER_SECOND);
	check_sender("192.0.2.7", "slow.example", RESULT_TEMPERROR);
	assert_true(took <= NS_PER_SECOND);
	assert_false(got.never_sends);
}

static void broken_records_are_permerror(void **state)
{
	answer("two.example", DNS_TXT, "v=spf1 -all\nv=spf1 +all");
	check_sender("192.0.2.7", "two.example", RESULT_PERMERROR);
	answer("b.example", DNS_TXT, "v=spf1 ip4:192.0.2.7 bogus -all");	/* before evaluation */
	check_sender("192.0.2.7", "b.example", RESULT_PERMERROR);
	assert_string_equal(got.reason, "SPF of b.example is broken: an unknown mechanism in \"bogus\" (record of b.example).");
	answer("i.example", DNS_TXT, "v=spf1 include:nothing.example -all");
	check_sender("192.0.2.7", "i.example", RESULT_PERMERROR);
	assert_string_equal(got.reason, "SPF of i.example is broken: nothing.example, which is included, has no SPF record "
		"(record of i.example).");
	answer("r.example", DNS_TXT, "v=spf1 redirect=nothing.example");
	check_sender("192.0.2.7", "r.example", RESULT_PERMERROR);
	answer("l.example", DNS_TXT, "v=spf1 include:l.example -all");
	check_sender("192.0.2.7", "l.example", RESULT_PERMERROR);
	assert_int_equal(got.lookups, 11);
}

/* ---- what is asked when ---- */

static void publish_five(nanoseconds delay)
{
	static const char *const names[] = { "i1.example", "i2.example", "i3.example", "i4.example", "i5.example" };

	answer_late("five.example", DNS_TXT, "v=spf1 include:i1.example include:i2.example include:i3.example "
		"include:i4.example include:i5.example -all", delay);
	for (size_t i = 0; i < 5; i++)
		answer_late(names[i], DNS_TXT, i == 4 ? "v=spf1 ip4:192.0.2.7 -all" : "v=spf1 ip4:203.0.113.0/24 -all", delay);
}

static size_t times_asked(const char *line)
{
	size_t n = 0;

	for (const char *at = asked; (at = strstr(at, line)); at++)
		n++;
	return n;
}

/* The table of answers does not remember, so what was asked ahead is joined or asked again: never later than twice. */
static void includes_are_asked_at_once(void **state)
{
	publish_five(100 * NS_PER_MS);
	check_sender("192.0.2.7", "five.example", RESULT_PASS);
	assert_non_null(strstr(asked, "TXT five.example\nTXT i1.example\nTXT i2.example\nTXT i3.example\nTXT i4.example\n"
		"TXT i5.example\n"));
}

static void nothing_is_asked_twice_when_answers_are_there(void **state)
{
	publish_five(0);
	check_sender("192.0.2.7", "five.example", RESULT_PASS);
	assert_int_equal(times_asked("TXT "), 6);
	check_sender("203.0.113.1", "five.example", RESULT_PASS);
	assert_int_equal(times_asked("TXT "), 2);	/* and nothing that is not reached */
}

static void exists_is_not_asked_ahead(void **state)
{
	answer_late("x.example", DNS_TXT, "v=spf1 include:i.example ip4:192.0.2.7 exists:%{i}.count.example a:later.example "
		"mx:later.example redirect=r.example", NS_PER_MS);
	answer_late("i.example", DNS_TXT, "v=spf1 -all", NS_PER_MS);
	check_sender("192.0.2.7", "x.example", RESULT_PASS);
	assert_true(was_asked("A later.example") && was_asked("MX later.example") && was_asked("TXT r.example"));
	assert_null(strstr(asked, "count.example"));
}

static void no_more_is_asked_ahead_than_may_be_asked(void **state)
{
	answer_late("many.example", DNS_TXT, "v=spf1 a:h1.e a:h2.e a:h3.e a:h4.e a:h5.e a:h6.e a:h7.e a:h8.e a:h9.e a:h10.e "
		"a:h11.e a:h12.e -all", NS_PER_MS);
	answer("h1.e", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "many.example", RESULT_PASS);
	assert_true(was_asked("A h10.e"));
	assert_false(was_asked("A h11.e"));
}

/* One mail host that does not answer does not keep the others waiting. */
static void a_dead_mail_host(void **state)
{
	answer("m.example", DNS_TXT, "v=spf1 mx -all");
	answer("m.example", DNS_MX, "1 dead.example 2 h2.example");
	answer_late("dead.example", DNS_A, "TROUBLE", 30 * NS_PER_SECOND);
	answer("h2.example", DNS_A, "192.0.2.7");
	check_sender("192.0.2.7", "m.example", RESULT_PASS);
	assert_true(took <= 1100 * NS_PER_MS);
	answer("h2.example", DNS_A, "198.51.100.1");
	check_sender("192.0.2.7", "m.example", RESULT_TEMPERROR);
	turns();
	answer_late("dead.example", DNS_A, "192.0.2.7", 3 * NS_PER_SECOND);	/* not dead: slow */
	check_sender("192.0.2.7", "m.example", RESULT_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		spf_test(each_result_has_its_sentence),
		spf_test(mapped_addresses_are_ipv4),
		spf_test(domains_that_never_send),
		spf_test(the_null_path_asks_about_helo),
		spf_test(internationalised_domains),
		spf_test(explanations_are_bounded_and_harmless),
		spf_test(an_explanation_costs_no_lookup),
		spf_test(lookups_over_the_limit),
		spf_test(voids_over_the_limit),
		spf_test(mail_hosts),
		spf_test(reverse_names),
		spf_test(the_validated_name),
		spf_test(trouble_is_temperror),
		spf_test(the_deadline_is_temperror),
		spf_test(broken_records_are_permerror),
		spf_test(includes_are_asked_at_once),
		spf_test(nothing_is_asked_twice_when_answers_are_there),
		spf_test(exists_is_not_asked_ahead),
		spf_test(no_more_is_asked_ahead_than_may_be_asked),
		spf_test(a_dead_mail_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
