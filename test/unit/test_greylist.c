/* Greylisting: who is put off and for how long, what makes two messages the same sender's, and what is let in all the same. */
#include "stored.h"

#include "check/greylist.h"

#include <stdio.h>

#define MINUTE 60
#define DAY 86400
#define NOW ((time_t)1795392000)

static struct client_facts client;
static struct envelope mail;
static const struct greylist_conf conf = { .delay = 5 * MINUTE * NS_PER_SECOND, .window = 2 * DAY * NS_PER_SECOND,
	.keep = 35 * (nanoseconds)DAY * NS_PER_SECOND };

static void from_network(const char *ip, const char *sender)
{
	struct slice at = slice_of(strchr(sender, '@') + 1);

	memset(&mail, 0, sizeof(mail));
	assert_true(ip_parse(&client.ip, slice_of(ip)));
	mail.client = &client;
	mail.reverse_path = (struct path){ .text = slice_of(sender), .domain = at,
		.local = slice_head(slice_of(sender), (size_t)(at.p - sender) - 1) };
	mail.reverse_canonical = slice_of(sender);
}

static int set_up(void **state)
{
	if (stored_setup(NOW) != 0)
		return -1;
	from_network("192.0.2.1", "a@example.net");
	return 0;
}

/* The finding so many seconds after NOW; NULL: there is none. */
static const struct finding *at(time_t later)
{
	struct findings found = { 0 };

	clock_fake(NS_PER_SECOND, (NOW + later) * NS_PER_SECOND);
	greylist_check(&conf, store, &mail, &found, &arena);
	return found.first;
}

static void put_off(time_t later, const char *seconds)
{
	const struct finding *f = at(later);

	assert_non_null(f);
	assert_int_equal(f->result, RESULT_FIRST_CONTACT);
	assert_string_equal(f->detail, seconds);
}

static void let_in(time_t later)
{
	const struct finding *f = at(later);

	assert_non_null(f);
	assert_int_equal(f->result, RESULT_PASS);
}

static void a_retry_is_let_in_when_the_delay_is_over(void **state)
{
	put_off(0, "300");
	put_off(100, "200");	/* too soon; the wait does not begin anew */
	put_off(299, "1");
	let_in(300);
	let_in(301);
}

static void who_comes_too_late_is_a_stranger_again(void **state)
{
	put_off(0, "300");
	put_off(2 * DAY + 1, "300");
	let_in(2 * DAY + 1 + 300);
}

static void who_is_known_stays_so_while_mail_comes(void **state)
{
	put_off(0, "300");
	let_in(300);
	for (time_t day = 30; day < 150; day += 30)
		let_in(day * DAY);
	put_off(120 * DAY + 36 * DAY, "300");
}

static void hosts_of_one_network_are_one(void **state)
{
	put_off(0, "300");
	from_network("192.0.2.254", "b@example.net");	/* another host and local part */
	let_in(300);
	from_network("192.0.3.1", "a@example.net");	/* another /24 */
	put_off(300, "300");
	from_network("192.0.2.1", "a@example.com");	/* another domain */
	put_off(300, "300");
	from_network("2001:db8:1:2::1", "a@example.net");
	put_off(300, "300");
	from_network("2001:db8:1:2:ffff::9", "a@example.net");
	let_in(600);
	from_network("2001:db8:1:3::1", "a@example.net");
	put_off(600, "300");
}

static void spf_of(const char *domain, enum result result, bool helo)
{
	mail.auth.spf = (struct spf_facts){ .asked = true, .result = result, .helo = helo, .domain = slice_of(domain) };
}

static void a_proven_domain_is_known_from_anywhere(void **state)
{
	struct dkim_facts signature = { .result = RESULT_PASS, .domain = SLICE("big.example") };

	spf_of("big.example", RESULT_PASS, false);
	put_off(0, "300");
	from_network("198.51.100.7", "x@big.example");
	spf_of("big.example", RESULT_PASS, false);
	let_in(300);
	from_network("203.0.113.7", "y@list.example");
	mail.auth.dkim = &signature;			/* the same domain, by its signature */
	let_in(300);
	signature.result = RESULT_FAIL;
	put_off(300, "300");
	/* What HELO proves, and what fails, proves nothing of the sender. */
	from_network("203.0.113.200", "z@big.example");
	spf_of("big.example", RESULT_PASS, true);
	put_off(300, "300");
	from_network("198.18.5.1", "z@big.example");
	spf_of("big.example", RESULT_FAIL, false);
	put_off(300, "300");
}

static void notices_and_trouble_are_not_put_off(void **state)
{
	struct findings found = { 0 };

	mail.reverse_path = (struct path){ .null = true };
	mail.reverse_canonical = SLICE_NULL;
	assert_null(at(0));
	from_network("192.0.2.1", "a@example.net");
	greylist_check(&conf, NULL, &mail, &found, &arena);	/* there is no store */
	assert_null(found.first);
}

#define G(function) cmocka_unit_test_setup_teardown(function, set_up, stored_teardown)

UNIT_MAIN(G(a_retry_is_let_in_when_the_delay_is_over), G(who_comes_too_late_is_a_stranger_again),
	G(who_is_known_stays_so_while_mail_comes), G(hosts_of_one_network_are_one), G(a_proven_domain_is_known_from_anywhere),
	G(notices_and_trouble_are_not_put_off))
