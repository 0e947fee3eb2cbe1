/* Stages: which checks are asked at which moment, and the order of what they find. */
#include "answers.h"

#include "policy/stage.h"

static struct services services;
static struct config conf;
static struct client_facts client;
static struct envelope envelope;
static const char *why;

static int setup(void **state)
{
	answers_setup(state);
	conf = (struct config){ .mode = MODE_ENFORCE, .hostname = "mx.example.org" };
	for (int i = 0; i < CHECK_COUNT; i++)
		conf.check_mode[i] = MODE_ENFORCE;
	client = (struct client_facts){ .class = CLIENT_STRANGER };
	assert_true(ip_parse(&client.ip, SLICE("20.0.0.1")));
	envelope = (struct envelope){ .arena = &arena, .client = &client };
	services = (struct services){ .dns = dns, .dnsbl = dnsbl_open() };
	return 0;
}

static int teardown(void **state)
{
	dnsbl_close(services.dnsbl);
	return answers_teardown(state);
}

static void run_connect(void *arg)
{
	(void)arg;
	stage_connect(&services, &conf, &client, &findings, &arena, deadline_in(5 * NS_PER_SECOND));
}

static void run_mail(void *arg)
{
	(void)arg;
	stage_mail(&services, &conf, &envelope, deadline_in(5 * NS_PER_SECOND));
}

static void sender_is(const char *text)
{
	struct slice rest = slice_of(text);

	assert_true(path_parse(&envelope.reverse_path, &rest, true, &why));
	envelope.reverse_canonical = envelope.reverse_path.text;
}

static void connect_asks_the_reverse_name(void **state)
{
	answer("1.0.0.20.in-addr.arpa", DNS_PTR, "mail.example");
	answer("mail.example", DNS_A, "20.0.0.1");
	assert_true(stage_connect_waits(&conf, &client));
	in_fiber(run_connect, NULL);
	assert_finding(CHECK_RDNS, RESULT_PASS);
	assert_string_equal(client.name, "mail.example");
}

static void what_is_off_is_not_asked(void **state)
{
	conf.check_mode[CHECK_RDNS] = MODE_OFF;
	assert_false(stage_connect_waits(&conf, &client));
	in_fiber(run_connect, NULL);
	assert_int_equal(finding_count(), 0);
	conf.check_mode[CHECK_SENDER_DOMAIN] = MODE_OFF;
	conf.check_mode[CHECK_SPF] = MODE_OFF;
	sender_is("<a@nowhere.example>");
	in_fiber(run_mail, NULL);
	assert_null(envelope.findings.first);
	assert_string_equal(asked, "");
}

static void mail_asks_for_the_domain(void **state)
{
	sender_is("<a@nowhere.example>");
	in_fiber(run_mail, NULL);
	assert_int_equal(envelope.findings.first->check, CHECK_SENDER_DOMAIN);
	assert_int_equal(envelope.findings.first->result, RESULT_NXDOMAIN);
	assert_true(was_asked("MX nowhere.example"));
}

static void the_null_path_has_no_domain(void **state)
{
	sender_is("<>");
	in_fiber(run_mail, NULL);
	assert_int_equal(envelope.findings.first->check, CHECK_SPF);	/* of HELO, which names none */
	assert_int_equal(envelope.findings.first->result, RESULT_NONE);
	assert_null(envelope.findings.first->next);
	assert_string_equal(asked, "");
}

static void mail_asks_for_spf(void **state)
{
	answer("good.example", DNS_TXT, "v=spf1 ip4:20.0.0.1 -all");
	answer("good.example", DNS_A, "20.0.0.1");
	sender_is("<a@Good.example>");
	in_fiber(run_mail, NULL);
	assert_int_equal(envelope.findings.first->next->check, CHECK_SPF);
	assert_int_equal(envelope.findings.first->next->result, RESULT_PASS);
	assert_true(envelope.auth.spf.asked);
	assert_false(envelope.auth.spf.helo);
	assert_int_equal(envelope.auth.spf.result, RESULT_PASS);
	assert_slice(envelope.auth.spf.domain, "Good.example");
	assert_string_equal(envelope.auth.spf.reason, envelope.findings.first->next->reason);
}

static void the_null_path_is_asked_about_by_helo(void **state)
{
	answer("mx.good.example", DNS_TXT, "v=spf1 -all");
	client.helo = SLICE("mx.good.example");
	sender_is("<>");
	in_fiber(run_mail, NULL);
	assert_true(envelope.auth.spf.helo);
	assert_int_equal(envelope.auth.spf.result, RESULT_FAIL);
	assert_slice(envelope.auth.spf.domain, "mx.good.example");
}

static void a_trusted_forwarder_is_not_asked_about(void **state)
{
	client.class = CLIENT_TRUSTED;
	conf.check_mode[CHECK_SENDER_DOMAIN] = MODE_OFF;
	sender_is("<a@good.example>");
	in_fiber(run_mail, NULL);
	assert_false(envelope.auth.spf.asked);
	assert_string_equal(asked, "");
}

static void an_observed_check_is_asked(void **state)
{
	conf.check_mode[CHECK_SENDER_DOMAIN] = MODE_OBSERVE;
	sender_is("<a@nowhere.example>");
	in_fiber(run_mail, NULL);
	assert_non_null(envelope.findings.first);
}

static void helo_is_looked_at(void **state)
{
	client.helo = SLICE("localhost");
	stage_helo(&conf, &client, NULL, &findings, &arena);
	assert_finding(CHECK_HELO, RESULT_IMPLAUSIBLE);
	findings = (struct findings){ 0 };
	conf.check_mode[CHECK_HELO] = MODE_OFF;
	stage_helo(&conf, &client, NULL, &findings, &arena);
	assert_int_equal(finding_count(), 0);
}

static void lists_come_before_the_network(void **state)
{
	conf.senders.deny.entries = address_set_new(&arena);
	assert_true(address_set_add(conf.senders.deny.entries, SLICE("@nowhere.example"), SLICE_NULL, &why));
	sender_is("<a@nowhere.example>");
	in_fiber(run_mail, NULL);
	assert_int_equal(envelope.findings.first->check, CHECK_SENDER);
	assert_int_equal(envelope.findings.first->next->check, CHECK_SENDER_DOMAIN);
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(S(connect_asks_the_reverse_name), S(what_is_off_is_not_asked), S(mail_asks_for_the_domain),
	S(the_null_path_has_no_domain), S(an_observed_check_is_asked), S(helo_is_looked_at),
	S(lists_come_before_the_network), S(mail_asks_for_spf), S(the_null_path_is_asked_about_by_helo),
	S(a_trusted_forwarder_is_not_asked_about))
