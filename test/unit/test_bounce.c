/* Did we send that? Each proof alone, what is false beside what is true, foreign recipients, replays, and notices without any
 * proof; with a ledger and without one. */
#include "stored.h"

#include "check/bounce.h"

#include <stdio.h>
#include <time.h>

#define DAY 86400
#define NOW ((time_t)1795420030)
#define ID SLICE("<1@example.org>")
#define BOB SLICE("bob@example.org")

static struct bounce_conf conf;
static struct notice notice;
static struct notice_recipient failed;
static struct bounce_question question;
static struct bounce_proof proof;

static int set_up(void **state)
{
	if (stored_setup(NOW) != 0)
		return -1;
	conf = (struct bounce_conf){ .keys.count = 1, .life = 14, .foreign_limit = 10, .replay_limit = 50 };
	proof_key_make(&conf.keys.keys[0], '1', NOW - DAY, NOW - DAY);
	srs_secrets_parse(&conf.srs, SLICE("tops3cret"));
	failed = (struct notice_recipient){ .address = SLICE("dead@example.net"), .action = SLICE("failed") };
	notice = (struct notice){ .kind = NOTICE_DSN, .recipients = &failed, .recipient_count = 1 };
	question = (struct bounce_question){ .conf = &conf, .notice = &notice, .store = store, .addressee = BOB,
		.remember = true, .now = NOW };
	return 0;
}

/* What the message of bob to dead@example.net looks like when it comes back. */
static void returns(struct slice id, struct slice trace)
{
	struct str h = STR_IN(&arena);

	if (trace.n)
		str_printf(&h, "Spurn-Sent: %.*s\r\n", SLICE_ARG(trace));
	str_puts(&h, "From: Bob <bob@example.org>\r\nTo: \"D\" <dead@example.net>\r\n");
	if (id.n)
		str_printf(&h, "Message-ID: %.*s\r\n", SLICE_ARG(id));
	notice.original = (struct notice_original){ .form = NOTICE_FORM_HEADERS, .message_id = id,
		.header = str_slice(&h) };
}

static struct slice trace_of(struct slice sender, struct slice id)
{
	return proof_trace_make(&arena, &conf.keys, sender, id, NOW);
}

static void tag_of(const char *text, time_t when)
{
	struct slice rest = slice_of(arena_printf(&arena, "<%s>", text)), tagged;
	struct path p;
	const char *why;

	assert_true(path_parse(&p, &rest, false, &why));
	tagged = proof_tag_make(&arena, &conf.keys, &p, slice_of(text), 14, when);
	question.tag = slice_head(slice_from(tagged, 5), 10);
}

static void sent(struct slice id)
{
	struct slice to = SLICE("dead@example.net");

	assert_int_equal(sent_put(store, id, BOB, &to, 1, NOW, 14 * DAY), STORE_OK);
}

static void judge(enum result result, enum bounce_method method)
{
	bounce_judge(&proof, &question, &arena);
	if (proof.result != result || proof.method != method)
		print_error("%s by %s: %s\n", result_name(proof.result), bounce_method_name(proof.method), proof.reason);
	assert_int_equal(proof.result, result);
	assert_int_equal(proof.method, method);
	assert_non_null(proof.reason);
}

static void proven_each_way(void **state)
{
	(void)state;
	returns(ID, trace_of(BOB, ID));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	tag_of("bob@example.org", NOW);
	judge(RESULT_PROVEN, BOUNCE_BY_TAG);
	question.tag = SLICE_NULL;
	returns(ID, SLICE_NULL);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	sent(ID);
	judge(RESULT_PROVEN, BOUNCE_BY_LEDGER);
	returns(SLICE("<2@example.org>"), SLICE_NULL);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	question.signed_by = SLICE("example.org");
	judge(RESULT_PROVEN, BOUNCE_BY_SIGNATURE);
	assert_true(proof.elsewhere);
	/* Of another author: no proof, but an exit. */
	question.signed_by = SLICE_NULL;
	question.signed_for_other = true;
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	assert_true(proof.elsewhere);
	returns(ID, SLICE_NULL);
	judge(RESULT_PROVEN, BOUNCE_BY_LEDGER);
	assert_false(proof.elsewhere);
}

static void another_node_needs_the_keys_alone(void **state)
{
	(void)state;
	question.store = NULL;
	returns(ID, trace_of(BOB, ID));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	tag_of("bob@example.org", NOW);
	judge(RESULT_PROVEN, BOUNCE_BY_TAG);
	/* Nothing comes back but the name of the failed recipient: whether we wrote to it this node cannot tell. */
	notice.original = (struct notice_original){ .form = NOTICE_FORM_NONE };
	judge(RESULT_PLAUSIBLE, BOUNCE_BY_TAG);
	notice.recipients = NULL;
	judge(RESULT_PROVEN, BOUNCE_BY_TAG);
}

static void what_claims_our_key_and_fails_it(void **state)
{
	(void)state;
	returns(SLICE("<other@example.org>"), trace_of(BOB, ID));
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
	/* A tag that is good does not help it. */
	tag_of("bob@example.org", NOW);
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
	returns(ID, trace_of(BOB, ID));
	question.tag = SLICE("1794000000");
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
	assert_true(proof.tag_failed);
	/* Of a key that is not ours: nothing is claimed. */
	question.tag = SLICE("7794000000");
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	tag_of("bob@example.org", NOW);
	conf.keys.keys[0].until = NOW;
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
	notice.original = (struct notice_original){ .form = NOTICE_FORM_NONE };
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
}

static void a_tag_expires(void **state)
{
	(void)state;
	tag_of("bob@example.org", NOW);
	question.now = NOW + 16 * DAY;
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	question.now = NOW + 40 * DAY;
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
}

static void addressed_to_who_did_not_send_it(void **state)
{
	(void)state;
	sent(ID);
	returns(ID, trace_of(BOB, ID));
	question.addressee = SLICE("ann@example.org");
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	tag_of("ann@example.org", NOW);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
}

static void a_foreign_recipient_is_let_in_a_few_times(void **state)
{
	(void)state;
	sent(ID);
	returns(ID, trace_of(BOB, ID));
	failed.address = SLICE("moved@example.com");
	for (int i = 0; i < 10; i++)
		judge(RESULT_PLAUSIBLE, BOUNCE_BY_TRACE);
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
	/* It says who was meant: nobody else's notices keep that one out. */
	failed.original = SLICE("dead@example.net");
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	failed.address = failed.original;
	/* Others are not touched by it. */
	returns(SLICE("<2@example.org>"), trace_of(BOB, SLICE("<2@example.org>")));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
}

static void a_replay_is_refused_in_the_end(void **state)
{
	int let_in = 0;

	(void)state;
	sent(ID);
	returns(ID, trace_of(BOB, ID));
	for (int i = 0; i < 100; i++) {
		bounce_judge(&proof, &question, &arena);
		let_in += proof.result == RESULT_PROVEN;
	}
	assert_int_equal(let_in, 53);
	assert_int_equal(proof.result, RESULT_REFUTED);
	/* Nobody but the daemon counts. */
	returns(SLICE("<2@example.org>"), trace_of(BOB, SLICE("<2@example.org>")));
	question.remember = false;
	for (int i = 0; i < 100; i++)
		judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
}

/* A signature that does not cover the Message-ID leaves it to whoever shows it. */
static void a_signature_is_counted_by_itself(void **state)
{
	int let_in = 0;

	(void)state;
	question.signed_by = SLICE("example.org");
	question.signature = SLICE("F45dVWDf");
	for (int i = 0; i < 100; i++) {
		returns(slice_of(arena_printf(&arena, "<%d@example.org>", i)), SLICE_NULL);
		bounce_judge(&proof, &question, &arena);
		let_in += proof.result == RESULT_PROVEN;
	}
	assert_int_equal(let_in, 53);
	assert_int_equal(proof.result, RESULT_REFUTED);
	question.signature = SLICE("another1");
	judge(RESULT_PROVEN, BOUNCE_BY_SIGNATURE);
}

static void a_strangers_message_under_our_tag(void **state)
{
	(void)state;
	tag_of("bob@example.org", NOW);
	returns(SLICE("<spam@example.com>"), SLICE_NULL);
	judge(RESULT_PLAUSIBLE, BOUNCE_BY_TAG);
	/* Of a guesser one that fits and one that fails are the same; other proofs hold. */
	question.guesser = true;
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	assert_true(proof.not_looked_at && !proof.tag_failed);
	question.tag = SLICE("1794000000");
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	assert_true(proof.not_looked_at && proof.tag_failed);
	returns(ID, trace_of(BOB, ID));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	question.guesser = false;
	tag_of("bob@example.org", NOW);
	returns(SLICE("<spam@example.com>"), SLICE_NULL);
	/* Some fields alone prove nothing about those that are missing. */
	notice.original.form = NOTICE_FORM_TEXT;
	judge(RESULT_PROVEN, BOUNCE_BY_TAG);
	for (int i = 0; i < 200; i++)
		bounce_judge(&proof, &question, &arena);
	notice.original.form = NOTICE_FORM_FULL;
	for (int i = 0; i < 101; i++)
		bounce_judge(&proof, &question, &arena);
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
}

/* A tag stands for a day's mail of its sender: as many notices as so many messages may have, and not one more. */
static void a_tag_is_shown_as_often_as_its_day_allows(void **state)
{
	struct slice to[] = { SLICE("dead@example.net"), SLICE("gone@example.net") };
	int let_in = 0;

	(void)state;
	tag_of("bob@example.org", NOW);
	notice.recipients = NULL;
	sent(ID);
	for (int i = 0; i < 100; i++) {
		bounce_judge(&proof, &question, &arena);
		let_in += proof.result == RESULT_PROVEN;
	}
	assert_int_equal(let_in, 53);
	assert_int_equal(proof.result, RESULT_REFUTED);
	/* He writes to two more: 50 + 2 * 3 more. The same message again in another transaction is no second one. */
	assert_int_equal(sent_put(store, SLICE("<2@example.org>"), BOB, to, 2, NOW, 14 * DAY), STORE_OK);
	assert_int_equal(sent_put(store, SLICE("<2@example.org>"), BOB, to, 1, NOW, 14 * DAY), STORE_OK);
	for (int i = 0; i < 100; i++) {
		bounce_judge(&proof, &question, &arena);
		let_in += proof.result == RESULT_PROVEN;
	}
	assert_int_equal(let_in, 109 - 47);	/* refused ones count, too */
	/* The tag of another day. */
	tag_of("bob@example.org", NOW - DAY);
	judge(RESULT_PROVEN, BOUNCE_BY_TAG);
}

/* The second transaction of a message came after midnight: its day counts no message, but there is one. */
static void a_tag_of_the_day_after(void **state)
{
	struct slice late = SLICE("late@example.net");

	(void)state;
	sent(ID);
	assert_int_equal(sent_put(store, ID, BOB, &late, 1, NOW + DAY, 14 * DAY), STORE_OK);
	tag_of("bob@example.org", NOW + DAY);
	question.now = NOW + DAY;
	returns(SLICE_NULL, SLICE_NULL);
	failed.address = SLICE("moved@example.com");
	judge(RESULT_PLAUSIBLE, BOUNCE_BY_TAG);
}

static void a_tag_of_a_foreign_recipient(void **state)
{
	(void)state;
	sent(ID);
	tag_of("bob@example.org", NOW);
	failed.address = SLICE("moved@example.com");
	for (int i = 0; i < 10; i++)
		judge(RESULT_PLAUSIBLE, BOUNCE_BY_TAG);
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
}

/* Both sites began with the key "1"; the message went through both. */
static void the_mark_of_another_site(void **state)
{
	struct proof_keys theirs = { .count = 1 };
	struct slice foreign, ours = trace_of(BOB, ID);

	(void)state;
	proof_key_make(&theirs.keys[0], '1', NOW - DAY, NOW - DAY);
	foreign = proof_trace_make(&arena, &theirs, BOB, ID, NOW);
	returns(ID, slice_of(arena_printf(&arena, "%.*s\r\nSpurn-Sent: %.*s", SLICE_ARG(foreign), SLICE_ARG(ours))));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	returns(ID, slice_of(arena_printf(&arena, "%.*s\r\nSpurn-Sent: %.*s", SLICE_ARG(ours), SLICE_ARG(foreign))));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	returns(ID, foreign);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	tag_of("bob@example.org", NOW);
	judge(RESULT_PLAUSIBLE, BOUNCE_BY_TAG);
	/* Whoever names our key, or none, claims it. */
	question.tag = SLICE_NULL;
	returns(SLICE("<2@example.org>"), ours);
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
	returns(ID, SLICE("v=1; k=1; t=1795392000; s=0011223344556677; h=00112233445566770011223344556677"));
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
}

/* A signature forbade us to add one, and a later host has not asked. */
static void a_message_id_that_was_added_later(void **state)
{
	int let_in = 0;

	(void)state;
	sent(SLICE_NULL);
	for (int i = 0; i < 600; i++) {
		returns(slice_of(arena_printf(&arena, "<%d@remote.example>", i)), trace_of(BOB, SLICE_NULL));
		bounce_judge(&proof, &question, &arena);
		let_in += proof.result == RESULT_PROVEN;
	}
	assert_int_equal(let_in, 53);
	/* One made for a Message-ID holds for that alone. */
	returns(SLICE_NULL, trace_of(BOB, ID));
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
	returns(SLICE("<2@example.org>"), trace_of(BOB, ID));
	judge(RESULT_REFUTED, BOUNCE_BY_TRACE);
}

/* A host behind us tags under a key "1" of its own. */
static void the_tag_of_another_host(void **state)
{
	(void)state;
	question.tag = SLICE("1794AB0000");
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
	assert_int_equal(sent_tag_put(store, SLICE("1794ab0000"), BOB, NOW, 14 * DAY), STORE_OK);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	assert_false(proof.tag_failed);
	returns(ID, trace_of(BOB, ID));
	judge(RESULT_PROVEN, BOUNCE_BY_TRACE);
	question.tag = SLICE("1794ab0001");
	judge(RESULT_REFUTED, BOUNCE_BY_TAG);
}

static void written_to_lately(void **state)
{
	(void)state;
	sent(ID);
	notice.original = (struct notice_original){ .form = NOTICE_FORM_NONE };
	failed.address = SLICE("Somebody@Example.NET");
	for (int i = 0; i < 10; i++)
		judge(RESULT_PLAUSIBLE, BOUNCE_BY_LEDGER);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	failed.address = SLICE("dead@example.com");
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	/* It shows what it is about, and we did not send that. */
	failed.address = SLICE("dead@example.net");
	returns(SLICE("<spam@example.com>"), SLICE_NULL);
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
}

/* The store can be read and not written: how many there have been cannot be told, so nobody is refused for it. */
static void counts_that_cannot_be_kept(void **state)
{
	struct store_conf reader_conf = { .directory = stored_dir, .slot = STORE_READ_ONLY, .map_size = 16 << 20 };
	const char *why = NULL;
	struct store *reader;

	(void)state;
	sent(ID);
	assert_true(store_flush(store));
	reader = store_open(&arena, &reader_conf, &why);
	assert_non_null(reader);
	question.store = reader;
	notice.original = (struct notice_original){ .form = NOTICE_FORM_NONE };
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	assert_true(proof.store_trouble);
	store_close(reader);
}

static void a_reply_refers(void **state)
{
	(void)state;
	sent(ID);
	notice = (struct notice){ .kind = NOTICE_AUTO_REPLY, .in_reply_to = SLICE("<x@y> (no) <1@example.org>") };
	judge(RESULT_PROVEN, BOUNCE_BY_LEDGER);
	notice.in_reply_to = SLICE_NULL;
	notice.references = SLICE("<0@example.org>\r\n <1@example.org>");
	judge(RESULT_PROVEN, BOUNCE_BY_LEDGER);
	notice.references = SLICE("<<<< >1@example.org>");
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	question.addressee = SLICE("ann@example.org");
	notice.references = ID;
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
}

static void a_forwarded_message_bounces(void **state)
{
	struct slice rest = SLICE("<SRS0=484V=j4=example.net=bob@example.org>");
	struct address_form form;
	struct path p;
	const char *why;

	(void)state;
	assert_true(path_parse(&p, &rest, false, &why) && address_form(&arena, &p, SLICE_NULL, &form));
	question.form = &form;
	question.addressee = form.canonical;
	question.now = (9 * 32 + 28 + 1024 * 20) * (time_t)DAY;
	returns(SLICE("<spam@example.com>"), SLICE_NULL);
	judge(RESULT_PROVEN, BOUNCE_BY_SRS);
	question.guesser = true;
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	question.guesser = false;
	conf.srs.secrets[0] = SLICE("another");
	judge(RESULT_REFUTED, BOUNCE_BY_SRS);
	assert_true(proof.tag_failed);
}

/* A hundred recipients whose addresses almost stand in To, again and again, and To in many folds: what the writer of a notice
 * chooses must not cost its length times its length. */
static void a_hostile_notice_costs_little(void **state)
{
	static struct notice_recipient recipients[NOTICE_RECIPIENTS_MAX];
	struct str h = STR_IN(&arena);
	clock_t began;
	size_t before;

	(void)state;
	str_puts(&h, "Message-ID: <x@example.com>\r\nTo: ");
	for (int i = 0; h.n < NOTICE_ORIGINAL_MAX - 400; i++)
		str_puts(&h, i % 100 == 99 ? "aaaa\r\n\t" : "aaaa");
	str_puts(&h, "\r\n");
	for (unsigned i = 0; i < NOTICE_RECIPIENTS_MAX; i++) {
		struct str local = STR_IN(&arena);

		while (local.n < 60)
			str_addc(&local, 'a');
		recipients[i].address = recipients[i].original = slice_of(arena_printf(&arena, "%.*s%u@example.net",
			SLICE_ARG(str_slice(&local)), i));
		recipients[i].next = i + 1 < NOTICE_RECIPIENTS_MAX ? &recipients[i + 1] : NULL;
	}
	notice.recipients = recipients;
	notice.recipient_count = NOTICE_RECIPIENTS_MAX;
	notice.original = (struct notice_original){ .form = NOTICE_FORM_HEADERS, .header = str_slice(&h),
		.message_id = SLICE("<x@example.com>") };
	before = arena_bytes(&arena);
	began = clock();
	judge(RESULT_UNPROVEN, BOUNCE_BY_NONE);
	assert_true(arena_bytes(&arena) - before < 1u << 20);
	assert_true(clock() - began < CLOCKS_PER_SEC / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_hostile_notice_costs_little, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(proven_each_way, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(another_node_needs_the_keys_alone, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(what_claims_our_key_and_fails_it, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_tag_expires, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(addressed_to_who_did_not_send_it, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_tag_is_shown_as_often_as_its_day_allows, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_tag_of_the_day_after, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_tag_of_a_foreign_recipient, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(the_mark_of_another_site, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_message_id_that_was_added_later, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(the_tag_of_another_host, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_foreign_recipient_is_let_in_a_few_times, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_replay_is_refused_in_the_end, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_signature_is_counted_by_itself, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_strangers_message_under_our_tag, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(written_to_lately, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(counts_that_cannot_be_kept, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_reply_refers, set_up, stored_teardown),
		cmocka_unit_test_setup_teardown(a_forwarded_message_bounces, set_up, stored_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
