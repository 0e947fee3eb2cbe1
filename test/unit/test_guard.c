/* The guard: who has proven that he wrote, what may answer him, and what keeps the guard from harm of its own. */
#include "unit.h"

#include "base/clock.h"
#include "check/guard.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#define HOUR (3600 * NS_PER_SECOND)
#define DAY (24 * HOUR)
#define BEGAN (INT64_C(1790000000) * NS_PER_SECOND)

static char directory[64];
static struct arena arena;
static struct store *store;
static struct guard *guard;
static struct guard_conf conf;
static struct client_facts client;
static struct envelope in, out;
static struct header in_header, out_header;
static struct recipient alice, target;
static struct notice notice;
static nanoseconds now;
static size_t map_size = 16u << 20;

static void pass_time(nanoseconds span)
{
	now += span;
	clock_fake(now, BEGAN + now);
}

static void read_header(struct header *h, const char *text)
{
	header_init(h, &arena, 65536, 100);
	header_push(h, slice_of(text));
	header_finish(h);
}

static int setup(void **state)
{
	struct store_conf store_conf = { .directory = directory, .map_size = map_size, .synchronous = true };
	const char *why = "";

	now = 1000 * NS_PER_SECOND;
	pass_time(0);
	strcpy(directory, "/tmp/spurn-test-guard-XXXXXX");
	assert_non_null(mkdtemp(directory));
	store = store_open(&arena, &store_conf, &why);
	assert_non_null(store);
	guard = guard_open(&arena, store);
	guard_configure(guard, true);
	conf = (struct guard_conf){ .keep = 14 * DAY, .warm_after = 0, .reply_once = 7 * DAY, .reply_rate = { 3, DAY } };

	alice = (struct recipient){ .canonical = SLICE("alice@site.example") };
	in = (struct envelope){ .arena = &arena, .client = &client, .reverse_canonical = SLICE("bob@far.example"),
		.recipients = &alice, .recipient_count = 1, .message.id = SLICE("<1@far.example>"), .ref = "IN" };
	in.auth.spf = (struct spf_facts){ .asked = true, .result = RESULT_PASS, .domain = SLICE("far.example") };
	read_header(&in_header, "From: Bob <Bob@Far.example>\r\n\r\n");

	target = (struct recipient){ .canonical = SLICE("bob@far.example") };
	notice = (struct notice){ .kind = NOTICE_AUTO_REPLY, .evidence = "test", .null_sender = true };
	out = (struct envelope){ .arena = &arena, .client = &client, .recipients = &target, .recipient_count = 1,
		.message.id = SLICE("<reply@site.example>"), .notice = &notice, .ref = "OUT" };
	read_header(&out_header, "From: Alice <alice@site.example>\r\n\r\n");
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	store_close(store);
	nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	arena_drop(&arena);
	return 0;
}

static void comes_in(void)
{
	struct findings found = { 0 };

	guard_record(guard, &conf, &in, &in_header, &found);
	assert_null(found.first);
}

/* "+" begins a sub-address, and alias.example is another name. */
static bool is_own(void *arg, struct arena *a, struct slice address, struct slice *canonical)
{
	*canonical = SLICE_NULL;
	if (!address_canonical(a, address, SLICE("+"), canonical))
		return false;
	if (slice_eq(address_domain(*canonical), SLICE("alias.example")))
		*canonical = slice_of(arena_printf(a, "%.*s@site.example", (int)slice_rfind(*canonical, '@'), canonical->p));
	return slice_eq(address_domain(*canonical), SLICE("site.example"));
}

static const struct guard_site site = { .own = is_own };

static const struct finding *judged(void)
{
	struct findings found = { 0 };

	guard_judge(guard, &conf, &out, &out_header, &site, &found);
	return found.first;
}

static void assert_judged(enum result wanted, const char *reason)
{
	const struct finding *f = judged();

	assert_non_null(f);
	if (f->result != wanted || !strstr(f->reason, reason))
		fail_msg("%s: %s", result_name(f->result), f->reason);
}

static void an_answer_to_a_proven_sender_goes_out(void **state)
{
	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	assert_judged(RESULT_SOLICITED, "wrote the message that it answers");
}

static void the_returned_message_says_what_is_answered(void **state)
{
	comes_in();
	notice.kind = NOTICE_DSN;
	notice.original.message_id = SLICE("<1@far.example>");
	for (int i = 0; i < 5; i++)
		assert_judged(RESULT_SOLICITED, "wrote the message");
}

/* Whoever forges a message chooses its In-Reply-To and References, and vacation programs copy them. */
static void what_a_forger_refers_to(void **state)
{
	comes_in();
	in.message.id = SLICE("<forged@spam.example>");
	in.auth = (struct auth_facts){ 0 };
	comes_in();
	notice.in_reply_to = SLICE("<forged@spam.example>");
	notice.references = SLICE("<1@far.example> <forged@spam.example>");
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written the message that it answers");
	notice.in_reply_to = SLICE_NULL;
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written the message that it answers");
	notice.references = SLICE("<forged@spam.example> <1@far.example>");
	assert_judged(RESULT_SOLICITED, "wrote the message that it answers");
	notice.references = SLICE_NULL;
	notice.in_reply_to = SLICE("<1@far.example> <forged@spam.example>");
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written the message that it answers");
	notice.kind = NOTICE_DSN;
	notice.original.message_id = SLICE("<forged@spam.example>");
	notice.in_reply_to = SLICE("<1@far.example>");
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written the message that it answers");
}

/* Old vacation programs say nothing but who they speak for: under a sub-address, or another name of the domain. */
static void a_user_has_several_forms(void **state)
{
	comes_in();
	read_header(&out_header, "From: Alice <Alice+Lists@site.example>\r\n\r\n");
	assert_judged(RESULT_SOLICITED, "has written to the user it speaks for");
	out.message.id = SLICE("<another@site.example>");
	read_header(&out_header, "From: Alice <alice@alias.example>\r\n\r\n");
	assert_judged(RESULT_REPEATED, "has had an automatic reply of this user lately");
	read_header(&out_header, "From: Carol <carol@site.example>\r\n\r\n");
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written here");
}

/* A temporary refusal of the next hop: our server tries again. */
static void a_retry_is_no_second_reply(void **state)
{
	comes_in();
	conf.reply_rate.count = 1;
	notice.in_reply_to = SLICE("<1@far.example>");
	for (int i = 0; i < 3; i++)
		assert_judged(RESULT_SOLICITED, "wrote");
	out.message.id = SLICE("<other@site.example>");
	assert_judged(RESULT_REPEATED, "lately");
}

/* Some responders write no Message-ID. */
static void a_retry_without_message_id(void **state)
{
	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	out.message.id = SLICE_NULL;
	out.message.date = SLICE("Mon, 23 Nov 2026 12:00:00 +0000");
	assert_judged(RESULT_SOLICITED, "wrote");
	assert_judged(RESULT_SOLICITED, "wrote");
	out.message.date = SLICE("Mon, 23 Nov 2026 12:00:01 +0000");
	assert_judged(RESULT_REPEATED, "lately");
	out.message.date = SLICE_NULL;
	assert_judged(RESULT_REPEATED, "lately");
}

static void a_forged_sender_is_not_answered(void **state)
{
	in.auth.spf.result = RESULT_FAIL;
	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written the message");
	notice.in_reply_to = SLICE_NULL;
	assert_judged(RESULT_UNSOLICITED, "is not proven to have written here");
}

static void the_answer_goes_to_the_proven_address_alone(void **state)
{
	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	target.canonical = SLICE("victim@elsewhere.example");
	assert_judged(RESULT_UNSOLICITED, "victim@elsewhere.example");
}

static void one_recipient_of_several_spoils_it(void **state)
{
	struct recipient second = { .canonical = SLICE("victim@elsewhere.example") };

	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	target.next = &second;
	out.recipient_count = 2;
	assert_judged(RESULT_UNSOLICITED, "victim@elsewhere.example");
}

static void the_helo_identity_proves_no_address(void **state)
{
	in.auth.spf.helo = true;
	comes_in();
	assert_judged(RESULT_UNSOLICITED, "");
}

static void a_signature_proves_reverse_path_and_author(void **state)
{
	struct dkim_facts signature = { .result = RESULT_PASS, .domain = SLICE("far.example") };

	in.auth.spf.result = RESULT_SOFTFAIL;
	in.auth.dkim = &signature;
	in.reverse_canonical = SLICE("bounce-77@lists.far.example");
	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	assert_judged(RESULT_SOLICITED, "");
	notice.kind = NOTICE_MDN;
	target.canonical = SLICE("bounce-77@lists.far.example");
	assert_judged(RESULT_SOLICITED, "");
	assert_true(guard_sender_proven(&in));
	signature.result = RESULT_FAIL;
	assert_false(guard_sender_proven(&in));
}

static void somebody_elses_signature_proves_nothing(void **state)
{
	struct dkim_facts signature = { .result = RESULT_PASS, .domain = SLICE("mailer.example") };

	in.auth.spf.result = RESULT_NONE;
	in.auth.dkim = &signature;
	comes_in();
	assert_judged(RESULT_UNSOLICITED, "");
	signature.domain = SLICE("example");	/* a top-level domain is nobody's */
	in.message.id = SLICE("<2@far.example>");
	comes_in();
	assert_judged(RESULT_UNSOLICITED, "");
	/* Who has a name below a public suffix does not speak for the suffix. */
	in.reverse_canonical = target.canonical = SLICE("bob@co.uk");
	signature.domain = SLICE("evil.co.uk");
	in.message.id = SLICE("<3@co.uk>");
	read_header(&in_header, "From: Bob <bob@co.uk>\r\n\r\n");
	comes_in();
	assert_judged(RESULT_UNSOLICITED, "");
}

/* Old vacation programs say nothing of what they answer. */
static void without_a_reference_the_pair_counts(void **state)
{
	comes_in();
	assert_judged(RESULT_SOLICITED, "has written to the user it speaks for");
	read_header(&out_header, "From: carol@site.example\r\n\r\n");
	assert_judged(RESULT_UNSOLICITED, "");
}

/* A DSN is from nobody's mailbox; its failed recipient is whom it speaks for. */
static void a_bounce_speaks_for_its_failed_recipient(void **state)
{
	struct notice_recipient failed = { .address = SLICE("Alice@Site.example") };

	comes_in();
	notice.kind = NOTICE_BOUNCE;
	notice.recipients = &failed;
	read_header(&out_header, "From: MAILER-DAEMON@site.example\r\n\r\n");
	assert_judged(RESULT_SOLICITED, "");
}

static void automatic_mail_gets_no_automatic_answer(void **state)
{
	struct notice theirs = { .kind = NOTICE_AUTO_REPLY, .evidence = "theirs" };

	in.notice = &theirs;
	comes_in();
	notice.in_reply_to = SLICE("<1@far.example>");
	assert_judged(RESULT_UNSOLICITED, "was itself automatic");
	notice.in_reply_to = SLICE_NULL;
	assert_judged(RESULT_UNSOLICITED, "");
}

static void one_reply_a_week(void **state)
{
	comes_in();
	assert_judged(RESULT_SOLICITED, "");
	assert_judged(RESULT_SOLICITED, "");		/* the same again: a retry */
	out.message.id = SLICE("<second@site.example>");
	assert_judged(RESULT_REPEATED, "lately");
	pass_time(7 * DAY + HOUR);
	in.message.id = SLICE("<3@far.example>");
	comes_in();
	assert_judged(RESULT_SOLICITED, "");
}

static void what_only_the_wording_says_is_never_destroyed(void **state)
{
	notice.guess = true;
	assert_judged(RESULT_UNSOLICITED, "nothing but the wording");
	assert_true(judged()->only_observed);
}

/* A loop with a responder that uses a new address each time. */
static void so_many_to_one_domain(void **state)
{
	for (int i = 0; i < 5; i++) {
		target.canonical = in.reverse_canonical = slice_of(arena_printf(&arena, "r%d@far.example", i));
		in.message.id = slice_of(arena_printf(&arena, "<l%d@far.example>", i));
		out.message.id = slice_of(arena_printf(&arena, "<a%d@site.example>", i));
		comes_in();
		assert_judged(i < 3 ? RESULT_SOLICITED : RESULT_REPEATED, i < 3 ? "" : "too many");
	}
	pass_time(DAY + HOUR);
	assert_judged(RESULT_SOLICITED, "");
}

static void a_forward_is_no_notice(void **state)
{
	in.auth.spf.result = RESULT_FAIL;
	comes_in();
	out.message.id = in.message.id;
	assert_null(judged());
}

static void ordinary_mail_and_our_own_people_are_not_judged(void **state)
{
	notice.kind = NOTICE_MESSAGE;
	assert_null(judged());
	notice.kind = NOTICE_AUTO_REPLY;
	target.canonical = SLICE("carol@site.example");
	assert_null(judged());
	out.notice = NULL;
	assert_null(judged());
}

static void reports_go_to_domains_that_have_written(void **state)
{
	notice.kind = NOTICE_REPORT;
	target.canonical = SLICE("dmarc@reports.example");
	out.message.subject = SLICE("Report Domain: far.example Submitter: site.example Report-ID: <1>");
	assert_judged(RESULT_UNSOLICITED, "");
	comes_in();
	assert_judged(RESULT_SOLICITED, "domain that has written here");
	out.message.subject = SLICE("Report Domain: near.example");
	assert_judged(RESULT_UNSOLICITED, "");
	target.canonical = SLICE("abuse@far.example");
	notice.kind = NOTICE_COMPLAINT;
	assert_judged(RESULT_SOLICITED, "");
}

static void a_cold_ledger_only_observes(void **state)
{
	conf.warm_after = 14 * DAY;
	assert_true(judged()->only_observed);
	pass_time(14 * DAY - HOUR);
	assert_true(judged()->only_observed);
	assert_judged(RESULT_UNSOLICITED, "only observed: the received ledger is complete in 2 h");
	pass_time(2 * HOUR);
	assert_false(judged()->only_observed);
}

static void what_was_not_recorded_makes_it_cold_again(void **state)
{
	conf.warm_after = DAY;
	pass_time(2 * DAY);
	assert_false(judged()->only_observed);
	guard_configure(guard, false);
	pass_time(DAY);
	assert_true(judged()->only_observed);
	guard_configure(guard, true);
	assert_true(judged()->only_observed);
	pass_time(DAY + HOUR);
	assert_false(judged()->only_observed);
}

static void fill(enum store_table table, uint32_t count)
{
	struct store_value value = { .length = 40, .expires = (uint32_t)(clock_wall_seconds() + 86400) };

	for (uint32_t i = 0; i < count; i++) {
		struct slice part = slice_make((const char *)&i, sizeof(i));
		struct store_key key = store_key(store, table, &part, 1);

		while (store_put(store, table, &key, &value) != STORE_OK)
			store_flush(store);
	}
	assert_true(store_flush(store));
}

static int setup_small(void **state)
{
	map_size = 2u << 20;
	return setup(state);
}

/* A store that is full throws the cache away first: that is no loss of the ledger. */
static void only_its_own_losses_make_it_cold(void **state)
{
	struct store_stats stats;
	time_t since = guard_complete_since(store);

	map_size = 16u << 20;
	pass_time(DAY);
	fill(STORE_CACHE, 20000);
	store_stats(store, &stats);
	assert_true(stats.evicted_of[STORE_CACHE] > 0 && stats.evicted_of[STORE_RECEIVED] == 0);
	comes_in();
	assert_int_equal(guard_complete_since(store), since);
	fill(STORE_RECEIVED, 20000);
	pass_time(HOUR);
	comes_in();
	assert_true(guard_complete_since(store) > since);
}

static void entries_end(void **state)
{
	comes_in();
	pass_time(14 * DAY + HOUR);
	assert_judged(RESULT_UNSOLICITED, "");
}

static void without_a_store_nothing_is_decided(void **state)
{
	struct guard *none = guard_open(&arena, NULL);
	struct findings found = { 0 };

	guard_configure(none, true);
	guard_record(none, &conf, &in, &in_header, &found);
	assert_null(found.first);
	guard_judge(none, &conf, &out, &out_header, &site, &found);
	assert_int_equal(found.first->result, RESULT_TEMPERROR);
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(S(an_answer_to_a_proven_sender_goes_out), S(the_returned_message_says_what_is_answered),
	S(a_forged_sender_is_not_answered), S(the_answer_goes_to_the_proven_address_alone),
	S(one_recipient_of_several_spoils_it), S(the_helo_identity_proves_no_address),
	S(a_signature_proves_reverse_path_and_author), S(somebody_elses_signature_proves_nothing),
	S(without_a_reference_the_pair_counts), S(a_bounce_speaks_for_its_failed_recipient),
	S(automatic_mail_gets_no_automatic_answer), S(one_reply_a_week), S(a_retry_is_no_second_reply), S(a_user_has_several_forms), S(what_a_forger_refers_to),
	S(a_retry_without_message_id), S(so_many_to_one_domain),
	S(what_only_the_wording_says_is_never_destroyed), S(a_forward_is_no_notice),
	S(ordinary_mail_and_our_own_people_are_not_judged), S(reports_go_to_domains_that_have_written),
	S(a_cold_ledger_only_observes), S(what_was_not_recorded_makes_it_cold_again), S(entries_end),
	cmocka_unit_test_setup_teardown(only_its_own_losses_make_it_cold, setup_small, teardown),
	S(without_a_store_nothing_is_decided))
