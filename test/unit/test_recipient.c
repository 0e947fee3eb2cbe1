/* Recipients: what sources and cache say, what a refusal means, what is remembered and for how long. */
#include "unit.h"

#include "base/clock.h"
#include "check/recipient.h"

#include <stdio.h>

#define MINUTE (60 * NS_PER_SECOND)
#define HOUR (3600 * NS_PER_SECOND)
#define DAY (24 * HOUR)

static char directory[64];
static struct arena arena;
static struct store *store;
static struct findings findings;
static struct recipient recipient;
static const struct recipient_source callforward_source = { .kind = SOURCE_CALLFORWARD };
static const struct recipient_conf conf = { .sources = &callforward_source, .source_count = 1, .callforward = true,
	.positive_ttl = 7 * DAY, .refresh_after = DAY, .negative_ttl = 10 * MINUTE, .confirm_after = 10 * MINUTE };

static int group_setup(void **state)
{
	struct store_conf store_conf = { .directory = directory, .map_size = 16 << 20, .synchronous = true };
	const char *why = "";

	clock_fake(1000 * NS_PER_SECOND, INT64_C(1790000000) * NS_PER_SECOND);
	strcpy(directory, "/tmp/spurn-test-recipient-XXXXXX");
	assert_non_null(mkdtemp(directory));
	store = store_open(&arena, &store_conf, &why);
	if (!store)
		print_error("%s\n", why);
	return store ? 0 : -1;
}

static int group_teardown(void **state)
{
	char command[128];

	store_close(store);
	arena_drop(&arena);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

/* Each test begins with quiet windows: what happened before is long ago. */
static int test_setup(void **state)
{
	clock_fake_advance(3 * HOUR);
	assert_false(recipient_flip_alarm());
	findings = (struct findings){ 0 };
	return 0;
}

/* ---- what the others say ---- */

static void to(const char *canonical)
{
	recipient = (struct recipient){ .canonical = slice_of(canonical) };
	findings = (struct findings){ 0 };
}

static struct reply reply_of(uint16_t code, int class, int subject, int detail, const char *text)
{
	return (struct reply){ .code = code, .text = slice_of(text),
		.enhanced = { (uint8_t)class, (uint16_t)subject, (uint16_t)detail } };
}

static const struct finding *the_finding(void)
{
	assert_non_null(findings.first);
	assert_null(findings.first->next);
	assert_int_equal(findings.first->check, CHECK_RECIPIENT);
	assert_ptr_equal(findings.first->recipient, &recipient);
	assert_non_null(findings.first->reason);
	assert_null(findings.first->detail);	/* nothing of this is for strangers */
	return findings.first;
}

static enum recipient_answer known_of(const struct recipient_conf *c, const char *canonical, bool harvester)
{
	to(canonical);
	return recipient_look_up(c, store, &recipient, harvester, &findings, &arena, DEADLINE_NONE);
}

static enum recipient_answer known(const char *canonical)
{
	return known_of(&conf, canonical, false);
}

static enum result learn(const struct recipient_conf *c, struct store *s, const char *canonical,
	enum recipient_answer answer)
{
	struct reply backend = answer == RECIPIENT_EXISTS ? reply_of(250, 2, 1, 5, "fine")
		: answer == RECIPIENT_NO_SUCH_USER ? reply_of(550, 5, 1, 1, "unknown \x01user")
		: reply_of(451, 4, 3, 0, "later");

	to(canonical);
	recipient_learn(c, s, &recipient, answer, &backend, &findings, &arena);
	return the_finding()->result;
}

static enum result yes(const char *canonical)
{
	return learn(&conf, store, canonical, RECIPIENT_EXISTS);
}

static enum result no(const char *canonical)
{
	return learn(&conf, store, canonical, RECIPIENT_NO_SUCH_USER);
}

/* ---- what a reply means ---- */

static enum recipient_answer meaning(uint16_t code, int class, int subject, int detail, const char *text)
{
	struct reply r = reply_of(code, class, subject, detail, text);

	return recipient_answer_of(&r, class != 0);
}

static void what_is_a_yes(void **state)
{
	assert_int_equal(meaning(250, 2, 1, 5, "ok"), RECIPIENT_EXISTS);
	assert_int_equal(meaning(251, 0, 0, 0, "will forward"), RECIPIENT_EXISTS);
}

static void what_is_a_no(void **state)
{
	assert_int_equal(meaning(550, 5, 1, 1, "x"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(553, 5, 1, 3, "x"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(551, 5, 1, 6, "x"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(550, 5, 1, 10, "recipient not found"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(550, 5, 2, 1, "disabled"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(554, 5, 1, 1, "x"), RECIPIENT_NO_SUCH_USER);
	/* The words of a backend that gives codes do not matter. */
	assert_int_equal(meaning(550, 5, 1, 1, "the sender should check the address"), RECIPIENT_NO_SUCH_USER);
}

static void what_is_no_answer_about_the_mailbox(void **state)
{
	assert_int_equal(meaning(450, 4, 1, 1, "x"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(451, 4, 3, 0, "x"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(421, 0, 0, 0, "x"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 5, 7, 1, "relay denied"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(552, 5, 2, 2, "full"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 5, 2, 0, "x"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(554, 5, 4, 6, "loop"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(450, 5, 1, 1, "code and status disagree"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 4, 1, 1, "code and status disagree"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(0, 0, 0, 0, ""), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(354, 0, 0, 0, ""), RECIPIENT_CANNOT_TELL);
}

/* The poisoned cache of 2007: refused because of the sender, remembered against the recipient. */
static void a_refusal_of_the_sender_is_not_about_the_recipient(void **state)
{
	assert_int_equal(meaning(550, 5, 1, 7, "bad sender"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 5, 1, 8, "sender domain not found"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 5, 1, 0, "sender rejected: user unknown"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 0, 0, 0, "Sender verify failed"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 0, 0, 0, "Verification failed for <a@example.org>\nNo Such User Here"),
		RECIPIENT_CANNOT_TELL);
}

static void a_bare_refusal_counts_from_a_backend_without_codes(void **state)
{
	struct reply bare = reply_of(550, 0, 0, 0, "Unrouteable address");

	assert_int_equal(recipient_answer_of(&bare, false), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(recipient_answer_of(&bare, true), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(551, 0, 0, 0, "no such user"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(553, 0, 0, 0, "unknown mailbox at our corporate site"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(550, 0, 0, 0, ""), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(meaning(550, 0, 0, 0, "relay not permitted"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 0, 0, 0, "Administrative prohibition"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(550, 0, 0, 0, "rejected because 192.0.2.1 is in a black list"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(553, 0, 0, 0, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
		RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(554, 0, 0, 0, "no such user"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(552, 0, 0, 0, "no such user"), RECIPIENT_CANNOT_TELL);
	assert_int_equal(meaning(500, 0, 0, 0, "what?"), RECIPIENT_CANNOT_TELL);
}

/* ---- files ---- */

static struct list_file *users(const char *name, const char *text)
{
	char *path = arena_printf(&arena, "%s/%s", directory, name);
	FILE *f = fopen(path, "w");
	const char *why = "";

	assert_non_null(f);
	fputs(text, f);
	fclose(f);

	struct list_file *file = list_file_open(path, LIST_RECIPIENTS, SLICE("+"), 0, &arena, &why);

	assert_non_null(file);
	return file;
}

static void a_file_is_the_truth(void **state)
{
	struct recipient_source source = { .kind = SOURCE_FILE, .file = users("truth", "ann@file.example\n") };
	struct recipient_conf c = { .sources = &source, .source_count = 1 };

	assert_int_equal(known_of(&c, "ann@file.example", false), RECIPIENT_EXISTS);
	assert_int_equal(the_finding()->result, RESULT_EXISTS);
	assert_int_equal(known_of(&c, "bob@file.example", false), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(the_finding()->result, RESULT_NO_SUCH_USER);
	assert_non_null(strstr(the_finding()->reason, "/truth"));
	assert_int_equal(known_of(&c, "bob@file.example", true), RECIPIENT_NO_SUCH_USER);
}

static void sources_are_asked_in_order(void **state)
{
	struct recipient_source sources[] = { { .kind = SOURCE_FILE, .file = users("first", "ann@order.example\n") },
		{ .kind = SOURCE_FILE, .file = users("second", "bob@order.example\n") }, { .kind = SOURCE_CALLFORWARD } };
	struct recipient_conf c = conf;

	c.sources = sources;
	c.source_count = 2;
	c.callforward = false;
	assert_int_equal(known_of(&c, "ann@order.example", false), RECIPIENT_EXISTS);
	assert_int_equal(known_of(&c, "bob@order.example", false), RECIPIENT_EXISTS);
	assert_int_equal(known_of(&c, "cat@order.example", false), RECIPIENT_NO_SUCH_USER);
	c.source_count = 3;
	c.callforward = true;
	assert_int_equal(known_of(&c, "ann@order.example", false), RECIPIENT_EXISTS);
	assert_int_equal(known_of(&c, "cat@order.example", false), RECIPIENT_ASK);
	assert_null(findings.first);
}

static void no_source_says_nothing(void **state)
{
	struct recipient_conf c = { 0 };

	assert_int_equal(known_of(&c, "ann@none.example", false), RECIPIENT_CANNOT_TELL);
	assert_int_equal(the_finding()->result, RESULT_UNKNOWN);
}

/* What the backend says replaces what the file said: one finding. The cache is not fed. */
static void a_file_alone_feeds_no_cache(void **state)
{
	struct recipient_source source = { .kind = SOURCE_FILE, .file = users("alone", "ann@alone.example\n") };
	struct recipient_conf c = conf;
	struct reply refusal = reply_of(550, 5, 1, 1, "who?");
	struct recipient_cache_entry entry;

	c.sources = &source;
	c.callforward = false;
	assert_int_equal(known_of(&c, "ann@alone.example", false), RECIPIENT_EXISTS);
	recipient_learn(&c, store, &recipient, RECIPIENT_NO_SUCH_USER, &refusal, &findings, &arena);
	assert_int_equal(the_finding()->result, RESULT_NO_SUCH_USER);
	assert_string_equal(the_finding()->evidence, "550 5.1.1 who?");
	assert_false(recipient_show(store, SLICE("ann@alone.example"), &entry));
}

/* ---- the cache ---- */

static void nothing_is_known_at_first(void **state)
{
	assert_int_equal(known("new@cache.example"), RECIPIENT_ASK);
	assert_null(findings.first);
}

static void a_yes_is_remembered_for_a_week(void **state)
{
	assert_int_equal(yes("week@cache.example"), RESULT_EXISTS);
	assert_string_equal(the_finding()->evidence, "250 2.1.5 fine");
	assert_int_equal(known("week@cache.example"), RECIPIENT_EXISTS);
	assert_int_equal(the_finding()->result, RESULT_EXISTS);
	clock_fake_advance(7 * DAY - MINUTE);
	assert_int_equal(known("week@cache.example"), RECIPIENT_EXISTS);
	clock_fake_advance(2 * MINUTE);
	assert_int_equal(known("week@cache.example"), RECIPIENT_ASK);
}

static void a_yes_is_written_again_when_it_is_a_day_old(void **state)
{
	struct store_stats before, after;
	struct recipient_cache_entry first, later;

	yes("often@cache.example");
	assert_true(recipient_show(store, SLICE("often@cache.example"), &first));
	store_stats(store, &before);
	for (int i = 0; i < 23; i++) {
		clock_fake_advance(HOUR);
		yes("often@cache.example");
	}
	store_stats(store, &after);
	assert_int_equal(after.puts, before.puts);
	clock_fake_advance(HOUR);
	yes("often@cache.example");
	store_stats(store, &after);
	assert_int_equal(after.puts, before.puts + 1);
	assert_true(recipient_show(store, SLICE("often@cache.example"), &later));
	assert_int_equal(later.first, first.first);
	assert_int_equal(later.last, first.last + 86400);
	assert_int_equal(later.expires, first.expires + 86400);
}

/* Mere use does not keep a deleted mailbox alive. */
static void a_look_does_not_refresh(void **state)
{
	yes("used@cache.example");
	for (int i = 0; i < 7; i++) {
		assert_int_equal(known("used@cache.example"), RECIPIENT_EXISTS);
		clock_fake_advance(DAY);
	}
	assert_int_equal(known("used@cache.example"), RECIPIENT_ASK);
}

static void a_no_is_remembered_for_ten_minutes(void **state)
{
	assert_int_equal(no("gone@cache.example"), RESULT_NO_SUCH_USER);
	assert_string_equal(the_finding()->evidence, "550 5.1.1 unknown \\x01user");
	assert_int_equal(known("gone@cache.example"), RECIPIENT_NO_SUCH_USER);
	assert_int_equal(the_finding()->result, RESULT_NO_SUCH_USER);
	assert_string_equal(the_finding()->evidence, "550 unknown \\x01user");
	clock_fake_advance(9 * MINUTE);
	assert_int_equal(known("gone@cache.example"), RECIPIENT_NO_SUCH_USER);
	clock_fake_advance(MINUTE);
	assert_int_equal(known("gone@cache.example"), RECIPIENT_ASK);
}

/* The mailbox was made a moment after somebody had tried it. */
static void a_new_mailbox_works(void **state)
{
	no("fresh@cache.example");
	clock_fake_advance(10 * MINUTE);
	assert_int_equal(yes("fresh@cache.example"), RESULT_EXISTS);
	assert_int_equal(known("fresh@cache.example"), RECIPIENT_EXISTS);
}

static void what_is_no_answer_is_not_remembered(void **state)
{
	struct recipient_cache_entry entry;

	assert_int_equal(learn(&conf, store, "maybe@cache.example", RECIPIENT_CANNOT_TELL), RESULT_UNKNOWN);
	assert_string_equal(the_finding()->evidence, "451 4.3.0 later");
	assert_false(recipient_show(store, SLICE("maybe@cache.example"), &entry));
	/* Neither does it touch what is known. */
	yes("maybe@cache.example");
	clock_fake_advance(2 * DAY);
	learn(&conf, store, "maybe@cache.example", RECIPIENT_CANNOT_TELL);
	assert_true(recipient_show(store, SLICE("maybe@cache.example"), &entry));
	assert_int_equal(entry.answer, RECIPIENT_EXISTS);
	assert_int_equal(entry.last + 2 * 86400, clock_wall_seconds());
}

static void no_backend_no_evidence(void **state)
{
	struct reply nothing = { 0 };

	to("nobody@cache.example");
	recipient_learn(&conf, store, &recipient, RECIPIENT_CANNOT_TELL, &nothing, &findings, &arena);
	assert_null(the_finding()->evidence);
	to("nobody@cache.example");
	recipient_learn(&conf, store, &recipient, RECIPIENT_CANNOT_TELL, NULL, &findings, &arena);
	assert_int_equal(the_finding()->result, RESULT_UNKNOWN);
}

static void a_harvester_is_answered_from_the_cache(void **state)
{
	assert_int_equal(known_of(&conf, "guess@cache.example", true), RECIPIENT_CANNOT_TELL);
	assert_int_equal(the_finding()->result, RESULT_UNKNOWN);
	yes("guess@cache.example");
	assert_int_equal(known_of(&conf, "guess@cache.example", true), RECIPIENT_EXISTS);
	no("wrong@cache.example");
	assert_int_equal(known_of(&conf, "wrong@cache.example", true), RECIPIENT_NO_SUCH_USER);
}

/* A reload that shortens the times holds for what is written already. */
static void times_are_those_of_today(void **state)
{
	struct recipient_conf c = conf;

	yes("short@cache.example");
	no("short2@cache.example");
	clock_fake_advance(2 * MINUTE);
	c.positive_ttl = c.negative_ttl = MINUTE;
	assert_int_equal(known_of(&c, "short@cache.example", false), RECIPIENT_ASK);
	assert_int_equal(known_of(&c, "short2@cache.example", false), RECIPIENT_ASK);
}

/* ---- a known address that turns unknown ---- */

static void a_known_address_is_doubted_before_it_is_refused(void **state)
{
	yes("turn@doubt.example");
	clock_fake_advance(HOUR);
	assert_int_equal(no("turn@doubt.example"), RESULT_UNCONFIRMED);
	assert_int_equal(known("turn@doubt.example"), RECIPIENT_ASK);
	clock_fake_advance(5 * MINUTE);
	assert_int_equal(no("turn@doubt.example"), RESULT_UNCONFIRMED);
	clock_fake_advance(4 * MINUTE);
	assert_int_equal(no("turn@doubt.example"), RESULT_UNCONFIRMED);
	clock_fake_advance(MINUTE);
	assert_int_equal(no("turn@doubt.example"), RESULT_NO_SUCH_USER);
	assert_int_equal(known("turn@doubt.example"), RECIPIENT_NO_SUCH_USER);
}

static void a_yes_ends_the_doubt(void **state)
{
	struct recipient_cache_entry entry;

	yes("back@doubt.example");
	clock_fake_advance(HOUR);
	no("back@doubt.example");
	assert_true(recipient_show(store, SLICE("back@doubt.example"), &entry));
	assert_int_equal(entry.answer, RECIPIENT_CANNOT_TELL);
	clock_fake_advance(5 * MINUTE);
	assert_int_equal(yes("back@doubt.example"), RESULT_EXISTS);
	assert_int_equal(known("back@doubt.example"), RECIPIENT_EXISTS);
	clock_fake_advance(MINUTE);
	assert_int_equal(no("back@doubt.example"), RESULT_UNCONFIRMED);		/* and the next begins anew */
	clock_fake_advance(9 * MINUTE);
	assert_int_equal(no("back@doubt.example"), RESULT_UNCONFIRMED);
}

/* Nobody wrote for days: the second "no" is late, and a "no" all the same. */
static void a_late_confirmation(void **state)
{
	yes("late@doubt.example");
	no("late@doubt.example");
	clock_fake_advance(4 * DAY);
	assert_int_equal(no("late@doubt.example"), RESULT_NO_SUCH_USER);
}

/* Known for six days and 23 hours: the doubt outlives the record. */
static void a_doubt_outlives_the_record(void **state)
{
	yes("edge@doubt.example");
	clock_fake_advance(7 * DAY - MINUTE);
	assert_int_equal(no("edge@doubt.example"), RESULT_UNCONFIRMED);
	clock_fake_advance(5 * MINUTE);
	assert_int_equal(no("edge@doubt.example"), RESULT_UNCONFIRMED);
}

static void a_forgotten_week_is_forgotten(void **state)
{
	yes("old@doubt.example");
	clock_fake_advance(8 * DAY);
	assert_int_equal(no("old@doubt.example"), RESULT_NO_SUCH_USER);
}

/* ---- the store fails ---- */

static void without_a_store_nothing_is_known(void **state)
{
	to("ann@trouble.example");
	assert_int_equal(recipient_look_up(&conf, NULL, &recipient, false, &findings, &arena, DEADLINE_NONE), RECIPIENT_ASK);
	assert_int_equal(learn(&conf, NULL, "ann@trouble.example", RECIPIENT_EXISTS), RESULT_EXISTS);
	assert_int_equal(learn(&conf, NULL, "ann@trouble.example", RECIPIENT_NO_SUCH_USER), RESULT_NO_SUCH_USER);
}

static void put_raw(const char *canonical, const void *bytes, size_t n)
{
	struct slice name = slice_of(canonical);
	struct store_key key = store_key(store, STORE_RECIPIENT, &name, 1);
	struct store_value value = { .length = (uint8_t)n, .expires = (uint32_t)clock_wall_seconds() + 86400 };

	memcpy(value.bytes, bytes, n);
	assert_int_equal(store_put(store, STORE_RECIPIENT, &key, &value), STORE_OK);
}

static struct store_value get_raw(const char *canonical)
{
	struct slice name = slice_of(canonical);
	struct store_key key = store_key(store, STORE_RECIPIENT, &name, 1);
	struct store_value value;

	assert_int_equal(store_get(store, STORE_RECIPIENT, &key, &value), STORE_OK);
	return value;
}

/* A power cut, a bad disk, another version: any byte of a record may be anything. */
static void garbage_is_nothing(void **state)
{
	struct recipient_cache_entry entry;
	struct store_value good;
	uint8_t bad[STORE_VALUE_MAX];

	no("garbage@trouble.example");
	good = get_raw("garbage@trouble.example");
	for (size_t i = 0; i < good.length; i++) {
		memcpy(bad, good.bytes, good.length);
		bad[i] ^= 1 << i % 8;
		put_raw("garbage@trouble.example", bad, good.length);
		/* Octet 3 is not used, but the sum covers it. */
		assert_int_equal(known("garbage@trouble.example"), RECIPIENT_ASK);
		assert_false(recipient_show(store, SLICE("garbage@trouble.example"), &entry));
	}
	for (size_t n = 0; n < good.length; n++) {
		put_raw("garbage@trouble.example", good.bytes, n);
		assert_int_equal(known("garbage@trouble.example"), RECIPIENT_ASK);
	}
	memset(bad, 0xff, sizeof(bad));
	put_raw("garbage@trouble.example", bad, sizeof(bad));
	assert_int_equal(known("garbage@trouble.example"), RECIPIENT_ASK);
	memset(bad, 0, sizeof(bad));
	put_raw("garbage@trouble.example", bad, sizeof(bad));
	assert_int_equal(known("garbage@trouble.example"), RECIPIENT_ASK);
	put_raw("garbage@trouble.example", good.bytes, good.length);
	assert_int_equal(known("garbage@trouble.example"), RECIPIENT_NO_SUCH_USER);
	put_raw("garbage@trouble.example", bad, sizeof(bad));
	assert_int_equal(yes("garbage@trouble.example"), RESULT_EXISTS);
	assert_int_equal(known("garbage@trouble.example"), RECIPIENT_EXISTS);
}

/* The wall clock was set back by a month: a record from the future says nothing. */
static void a_record_from_the_future_is_nothing(void **state)
{
	nanoseconds monotonic = clock_now(), wall = clock_wall();

	no("future@trouble.example");

	struct store_value value = get_raw("future@trouble.example");

	clock_fake(monotonic, wall - 30 * DAY);
	put_raw("future@trouble.example", value.bytes, value.length);
	assert_int_equal(known("future@trouble.example"), RECIPIENT_ASK);
	clock_fake(monotonic, wall);
}

/* ---- for the postmaster ---- */

static void show_and_forget(void **state)
{
	struct recipient_cache_entry entry;

	assert_false(recipient_show(store, SLICE("show@tool.example"), &entry));
	yes("show@tool.example");
	assert_true(recipient_show(store, SLICE("show@tool.example"), &entry));
	assert_int_equal(entry.answer, RECIPIENT_EXISTS);
	assert_int_equal(entry.first, clock_wall_seconds());
	assert_int_equal(entry.last, clock_wall_seconds());
	assert_int_equal(entry.expires, clock_wall_seconds() + 7 * 86400);
	assert_string_equal(entry.reply, "250 fine");
	assert_true(recipient_forget(&conf, store, SLICE("show@tool.example")));
	assert_false(recipient_show(store, SLICE("show@tool.example"), &entry));
	assert_int_equal(known("show@tool.example"), RECIPIENT_ASK);
	assert_int_equal(no("show@tool.example"), RESULT_NO_SUCH_USER);
}

static void a_long_reply_is_cut(void **state)
{
	char text[2001];
	struct recipient_cache_entry entry;
	struct reply long_one;

	memset(text, 'x', 2000);
	text[2000] = '\0';
	long_one = reply_of(550, 5, 1, 1, text);
	to("long@tool.example");
	recipient_learn(&conf, store, &recipient, RECIPIENT_NO_SUCH_USER, &long_one, &findings, &arena);
	assert_true(strlen(the_finding()->evidence) < 256);
	assert_true(recipient_show(store, SLICE("long@tool.example"), &entry));
	assert_true(strlen(entry.reply) < sizeof(entry.reply));
	assert_memory_equal(entry.reply, "550 xxxxx", 9);
}

/* ---- many at once: a broken backend ---- */

static char *user(int n, const char *domain)
{
	return arena_printf(&arena, "user%d@%s", n, domain);
}

static void learn_users(int from, int until, const char *domain)
{
	for (int i = from; i < until; i++)
		assert_int_equal(yes(user(i, domain)), RESULT_EXISTS);
}

static void many_flips_raise_the_alarm(void **state)
{
	learn_users(0, 40, "broken.example");
	clock_fake_advance(HOUR);
	assert_int_equal(no("early@broken.example"), RESULT_NO_SUCH_USER);
	assert_int_equal(known("early@broken.example"), RECIPIENT_NO_SUCH_USER);
	for (int i = 0; i < 5; i++)
		assert_int_equal(no(user(i, "broken.example")), RESULT_UNCONFIRMED);
	assert_false(recipient_flip_alarm());
	assert_int_equal(no(user(5, "broken.example")), RESULT_UNCONFIRMED);
	assert_true(recipient_flip_alarm());
	/* An unknown address gets no "no" either, none is remembered, and the last ones are not believed. */
	assert_int_equal(known("early@broken.example"), RECIPIENT_ASK);
	assert_int_equal(no("stranger@broken.example"), RESULT_UNCONFIRMED);
	assert_int_equal(known("stranger@broken.example"), RECIPIENT_ASK);
	/* Another domain's backend is not concerned. */
	assert_int_equal(no("stranger@whole.example"), RESULT_NO_SUCH_USER);
}

/* Broken for hours: not one known address is refused or forgotten, however often it is tried. */
static void a_long_breakdown_loses_nobody(void **state)
{
	learn_users(0, 30, "long.example");
	clock_fake_advance(HOUR);
	for (int minute = 0; minute < 50; minute++) {
		for (int i = 0; i < 30; i++)
			if ((i + minute) % 7 == 0)
				assert_int_equal(no(user(i, "long.example")), RESULT_UNCONFIRMED);
		clock_fake_advance(MINUTE);
	}
	assert_true(recipient_flip_alarm());
	/* It is mended: the first one known again is the sign. */
	for (int i = 0; i < 30; i++)
		assert_int_equal(yes(user(i, "long.example")), RESULT_EXISTS);
	clock_fake_advance(11 * MINUTE);
	assert_false(recipient_flip_alarm());
	assert_int_equal(no("stranger@long.example"), RESULT_NO_SUCH_USER);
}

/* After the alarm a "no" needs its ten minutes anew: the first ones were the broken backend's. */
static void doubts_of_the_alarm_do_not_count(void **state)
{
	learn_users(0, 20, "anew.example");
	clock_fake_advance(HOUR);
	for (int i = 0; i < 8; i++)
		no(user(i, "anew.example"));
	assert_true(recipient_flip_alarm());
	clock_fake_advance(9 * MINUTE);
	assert_int_equal(no(user(0, "anew.example")), RESULT_UNCONFIRMED);
	for (int i = 10; i < 20; i++)
		yes(user(i, "anew.example"));
	clock_fake_advance(2 * MINUTE);
	assert_false(recipient_flip_alarm());
	assert_int_equal(no(user(0, "anew.example")), RESULT_UNCONFIRMED);
	clock_fake_advance(8 * MINUTE);
	assert_int_equal(no(user(0, "anew.example")), RESULT_NO_SUCH_USER);
}

/* A real purge, and nobody else writes: after an hour it is believed. */
static void a_purge_is_believed_in_the_end(void **state)
{
	learn_users(0, 10, "purge.example");
	clock_fake_advance(HOUR);
	for (int i = 0; i < 10; i++)
		assert_int_equal(no(user(i, "purge.example")), RESULT_UNCONFIRMED);
	assert_true(recipient_flip_alarm());
	clock_fake_advance(50 * MINUTE);
	assert_int_equal(no(user(0, "purge.example")), RESULT_UNCONFIRMED);
	clock_fake_advance(11 * MINUTE);
	assert_false(recipient_flip_alarm());
	assert_int_equal(no(user(1, "purge.example")), RESULT_NO_SUCH_USER);
	assert_int_equal(no(user(0, "purge.example")), RESULT_NO_SUCH_USER);
}

static void a_few_flips_among_many_are_ordinary(void **state)
{
	learn_users(0, 100, "large.example");
	clock_fake_advance(HOUR);
	learn_users(20, 100, "large.example");
	for (int i = 0; i < 20; i++)
		assert_int_equal(no(user(i, "large.example")), RESULT_UNCONFIRMED);
	assert_false(recipient_flip_alarm());	/* 20 of 100: not more than 20 % */
	assert_int_equal(no("stranger@large.example"), RESULT_NO_SUCH_USER);
	clock_fake_advance(10 * MINUTE);
	assert_int_equal(no(user(0, "large.example")), RESULT_NO_SUCH_USER);
}

static void flips_spread_over_a_day_are_ordinary(void **state)
{
	learn_users(0, 24, "slow.example");
	for (int i = 0; i < 24; i++) {
		clock_fake_advance(HOUR);
		assert_int_equal(no(user(i, "slow.example")), RESULT_UNCONFIRMED);
		assert_false(recipient_flip_alarm());
	}
}

/* One sender who tries one address again and again is one flip. */
static void one_address_is_one_flip(void **state)
{
	learn_users(0, 1, "one.example");
	for (int i = 0; i < 100; i++)
		assert_int_equal(no(user(0, "one.example")), RESULT_UNCONFIRMED);
	assert_false(recipient_flip_alarm());
}

/* Guessed addresses were never known: no flips. */
static void harvesters_raise_no_alarm(void **state)
{
	for (int i = 0; i < 200; i++)
		assert_int_equal(no(user(i, "guessed.example")), RESULT_NO_SUCH_USER);
	assert_false(recipient_flip_alarm());
}

#define R(f) cmocka_unit_test_setup(f, test_setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		R(what_is_a_yes), R(what_is_a_no), R(what_is_no_answer_about_the_mailbox),
		R(a_refusal_of_the_sender_is_not_about_the_recipient),
		R(a_bare_refusal_counts_from_a_backend_without_codes), R(a_file_is_the_truth),
		R(sources_are_asked_in_order), R(no_source_says_nothing), R(a_file_alone_feeds_no_cache),
		R(nothing_is_known_at_first), R(a_yes_is_remembered_for_a_week),
		R(a_yes_is_written_again_when_it_is_a_day_old), R(a_look_does_not_refresh),
		R(a_no_is_remembered_for_ten_minutes), R(a_new_mailbox_works), R(what_is_no_answer_is_not_remembered),
		R(no_backend_no_evidence), R(a_harvester_is_answered_from_the_cache), R(times_are_those_of_today),
		R(a_known_address_is_doubted_before_it_is_refused), R(a_yes_ends_the_doubt), R(a_late_confirmation),
		R(a_doubt_outlives_the_record), R(a_forgotten_week_is_forgotten), R(without_a_store_nothing_is_known),
		R(garbage_is_nothing), R(a_record_from_the_future_is_nothing), R(show_and_forget),
		R(a_long_reply_is_cut), R(many_flips_raise_the_alarm), R(a_long_breakdown_loses_nobody),
		R(doubts_of_the_alarm_do_not_count), R(a_purge_is_believed_in_the_end),
		R(a_few_flips_among_many_are_ordinary), R(flips_spread_over_a_day_are_ordinary),
		R(one_address_is_one_flip), R(harvesters_raise_no_alarm),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
