/*
 * Questions and those who ask: joining, deadlines, aliases, zone files before the network. A table takes the
 * network's place and the clock is a fake, so all of it is exact.
 */
#include "turns.h"

#include "net/dns.h"

#include <fcntl.h>
#include <stdio.h>

static struct dns *dns;
static struct arena a;
static char asked[4096];

/* ---- the source ---- */

struct entry {
	const char *name;
	enum dns_type type;
	enum dns_status status;
	const char *texts[3];
	uint32_t ttl;
	nanoseconds delay;
	const char *why;
};

static const struct entry entries[] = {
	{ "a.test", DNS_A, DNS_FOUND, { "192.0.2.1", "192.0.2.2" }, 300, 0, NULL },
	{ "a.test", DNS_AAAA, DNS_FOUND, { "2001:db8::1" }, 200, 0, NULL },
	{ "four.test", DNS_A, DNS_FOUND, { "192.0.2.4" }, 300, 0, NULL },
	{ "four.test", DNS_AAAA, DNS_TROUBLE, { NULL }, 0, 0, "SERVFAIL" },
	{ "empty.test", DNS_A, DNS_NODATA, { NULL }, 60, 0, NULL },
	{ "empty.test", DNS_AAAA, DNS_NODATA, { NULL }, 30, 0, NULL },
	{ "half.test", DNS_A, DNS_NODATA, { NULL }, 60, 0, NULL },
	{ "half.test", DNS_AAAA, DNS_TROUBLE, { NULL }, 0, 0, "SERVFAIL" },
	{ "gone.test", DNS_A, DNS_TROUBLE, { NULL }, 0, 0, "REFUSED" },
	{ "gone.test", DNS_AAAA, DNS_NXDOMAIN, { NULL }, 60, 0, NULL },
	{ "mail.test", DNS_MX, DNS_FOUND, { "mx.test" }, 300, 0, NULL },
	{ "slow.test", DNS_A, DNS_FOUND, { "192.0.2.9" }, 300, 3 * NS_PER_SECOND, NULL },
	{ "slower.test", DNS_A, DNS_FOUND, { "192.0.2.9" }, 300, 60 * NS_PER_SECOND, NULL },
	{ "silent.test", DNS_A, DNS_TROUBLE, { NULL }, 0, 1, NULL },
	{ "target.test", DNS_A, DNS_FOUND, { "192.0.2.7" }, 300, 0, NULL },
};

static bool source(void *arg, struct arena *arena, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	snprintf(asked + strlen(asked), sizeof(asked) - strlen(asked), "%s %.*s\n", dns_type_name(type), SLICE_ARG(name));
	*out = (struct dns_answer){ .status = DNS_NXDOMAIN, .ttl = 60 };
	for (size_t i = 0; i < sizeof(entries) / sizeof(*entries); i++) {
		const struct entry *e = &entries[i];

		if (e->type != type || !slice_eq(name, slice_of(e->name)))
			continue;
		*delay = e->delay;
		*out = (struct dns_answer){ .status = e->status, .ttl = e->ttl, .why = e->why };
		out->records = arena_array(arena, struct dns_record, 3);
		for (; out->count < 3 && e->texts[out->count]; out->count++)
			if (!ip_parse(&out->records[out->count].ip, slice_of(e->texts[out->count])))
				out->records[out->count].text = slice_copy(arena, slice_of(e->texts[out->count]));
		return true;
	}
	return !slice_eq(name, SLICE("pass.test"));
}

/* ---- asking ---- */

struct ask {
	const char *name;
	enum dns_type type;
	deadline until;
	struct dns_answer out;
	struct arena arena;
	struct fiber_job job;
	nanoseconds ended;
};

static void ask_run(void *arg)
{
	struct ask *q = arg;

	dns_ask(dns, &q->arena, slice_of(q->name), q->type, &q->out, q->until);
	q->ended = clock_now();
}

static void addresses_run(void *arg)
{
	struct ask *q = arg;

	dns_addresses(dns, &q->arena, slice_of(q->name), &q->out, q->until);
	q->ended = clock_now();
}

static void ask_start(struct ask *q, const char *name, enum dns_type type, deadline until)
{
	*q = (struct ask){ .name = name, .type = type, .until = until };
	fiber_start(&q->job, "ask", ask_run, q);
}

static void ask_finish(struct ask *q)
{
	while (fiber_job_active(&q->job))
		assert_true(loop_turn(DEADLINE_NONE));
}

static struct ask one;

static const struct dns_answer *ask(const char *name, enum dns_type type)
{
	arena_drop(&one.arena);
	ask_start(&one, name, type, DEADLINE_NONE);
	ask_finish(&one);
	return &one.out;
}

static const struct dns_answer *addresses(const char *name)
{
	arena_drop(&one.arena);
	one = (struct ask){ .name = name, .until = DEADLINE_NONE };
	fiber_start(&one.job, "addresses", addresses_run, &one);
	ask_finish(&one);
	return &one.out;
}

static void open_with(const struct dns_conf *conf)
{
	const char *why = "";

	dns = dns_open(&a, conf, &why);
	if (!dns)
		print_error("%s\n", why);
	assert_non_null(dns);
	dns_set_source(dns, source, NULL);
	asked[0] = '\0';
}

static int setup(void **state)
{
	static const struct dns_conf conf = { .recurse = false };

	turns_setup(state);
	open_with(&conf);
	return 0;
}

static int teardown(void **state)
{
	dns_close(dns);
	arena_drop(&one.arena);
	arena_drop(&a);
	return turns_teardown(state);
}

#define dns_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- tests ---- */

static void names_go_in_lower_case(void **state)
{
	const struct dns_answer *r = ask("A.Test.", DNS_A);
	char text[IP_TEXT];

	assert_int_equal(r->status, DNS_FOUND);
	assert_int_equal(r->count, 2);
	assert_int_equal(r->ttl, 300);
	assert_true(r->cached);
	assert_string_equal(ip_text(&r->records[1].ip, text), "192.0.2.2");
	assert_string_equal(asked, "A a.test\n");
	assert_slice(ask("mail.test", DNS_MX)->records[0].text, "mx.test");
	assert_int_equal(ask("nothing.test", DNS_MX)->status, DNS_NXDOMAIN);
	assert_int_equal(dns_stats(dns)->questions, 3);
	assert_int_equal(dns_stats(dns)->answered, 3);
}

static void impossible_names_are_not_asked(void **state)
{
	static const char *const names[] = { "a..test", ".test", "..",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(ask(names[i], DNS_A)->status, DNS_NXDOMAIN);
		assert_true(one.out.cached);
	}
	assert_string_equal(asked, "");
	ask("", DNS_NS);
	assert_string_equal(asked, "NS \n");
}

static void each_asker_has_its_own_deadline(void **state)
{
	struct ask q[3];

	ask_start(&q[0], "slow.test", DNS_A, deadline_in(NS_PER_SECOND));
	ask_start(&q[1], "SLOW.test", DNS_A, deadline_in(5 * NS_PER_SECOND));
	ask_start(&q[2], "slow.test", DNS_A, DEADLINE_NONE);
	for (int i = 0; i < 3; i++)
		ask_finish(&q[i]);
	assert_int_equal(q[0].out.status, DNS_TROUBLE);
	assert_string_equal(q[0].out.why, "timeout");
	assert_int_equal(q[0].ended, EPOCH + NS_PER_SECOND);
	for (int i = 1; i < 3; i++) {
		assert_int_equal(q[i].out.status, DNS_FOUND);
		assert_int_equal(q[i].out.count, 1);
		assert_int_equal(q[i].ended, EPOCH + 3 * NS_PER_SECOND);
		assert_false(q[i].out.cached);
	}
	assert_true(q[1].out.records != q[2].out.records);	/* each in its own arena */
	assert_string_equal(asked, "A slow.test\n");
	assert_int_equal(dns_stats(dns)->joined, 2);
	assert_int_equal(dns_stats(dns)->timeouts, 1);
	for (int i = 0; i < 3; i++)
		arena_drop(&q[i].arena);
}

/* Nobody waits; who asks meanwhile joins, and a name that cannot be or that a zone file has is not asked for. */
static void asked_ahead(void **state)
{
	struct ask q;

	dns_prefetch(dns, SLICE("slow.test"), DNS_A);
	dns_prefetch(dns, SLICE("Slow.Test."), DNS_A);
	dns_prefetch(dns, SLICE("a..test"), DNS_A);
	assert_string_equal(asked, "A slow.test\n");
	clock_fake_advance(NS_PER_SECOND);
	ask_start(&q, "slow.test", DNS_A, DEADLINE_NONE);
	ask_finish(&q);
	assert_int_equal(q.out.status, DNS_FOUND);
	assert_int_equal(q.ended, EPOCH + 3 * NS_PER_SECOND);
	assert_string_equal(asked, "A slow.test\n");
	arena_drop(&q.arena);
	dns_prefetch(dns, SLICE("slow.test"), DNS_A);
	turns();		/* its answer comes, and nobody is there */
	assert_string_equal(asked, "A slow.test\nA slow.test\n");
}

static void trouble_is_not_remembered(void **state)
{
	assert_int_equal(ask("silent.test", DNS_A)->status, DNS_TROUBLE);
	assert_string_equal(one.out.why, "no answer");
	ask("silent.test", DNS_A);
	assert_string_equal(asked, "A silent.test\nA silent.test\n");
	/* The configured bound, when the caller names none. */
	ask("slower.test", DNS_A);
	assert_string_equal(one.out.why, "timeout");
	assert_true(clock_now() <= EPOCH + 9 * NS_PER_SECOND);
	/* It is still under way: whoever asks now waits for the same. */
	ask("slower.test", DNS_A);
	assert_int_equal(dns_stats(dns)->joined, 1);
}

static void no_time_left(void **state)
{
	ask_start(&one, "a.test", DNS_A, clock_now());
	assert_string_equal(one.out.why, "timeout");
	assert_string_equal(asked, "");
}

static void cancelled(void **state)
{
	struct ask q;

	ask_start(&q, "slow.test", DNS_A, DEADLINE_NONE);
	fiber_job_cancel(&q.job);
	turns_now();
	assert_string_equal(q.out.why, "cancelled");
	turns();			/* the answer comes and nobody is there */
	assert_int_equal(dns_stats(dns)->answered, 0);
	assert_int_equal(ask("slow.test", DNS_A)->status, DNS_FOUND);
}

static void all_of_a_fiber(void *arg)
{
	struct dns_question q[] = { { .name = SLICE("a.test"), .type = DNS_A }, { .name = SLICE("slow.test"), .type = DNS_A },
		{ .name = SLICE("slower.test"), .type = DNS_A }, { .name = SLICE("a..b"), .type = DNS_A },
		{ .name = SLICE("Slow.test"), .type = DNS_A }, { .name = SLICE("mail.test"), .type = DNS_MX } };

	dns_ask_all(dns, &a, q, 6, deadline_in(5 * NS_PER_SECOND));
	assert_int_equal(clock_now(), EPOCH + 5 * NS_PER_SECOND);
	assert_int_equal(q[0].answer.status, DNS_FOUND);
	assert_true(q[0].answer.cached);
	assert_int_equal(q[1].answer.status, DNS_FOUND);
	assert_false(q[1].answer.cached);
	assert_string_equal(q[2].answer.why, "timeout");
	assert_int_equal(q[3].answer.status, DNS_NXDOMAIN);
	assert_int_equal(q[4].answer.status, DNS_FOUND);
	assert_int_equal(q[5].answer.status, DNS_FOUND);
	dns_ask_all(dns, &a, NULL, 0, deadline_in(NS_PER_SECOND));
	*(bool *)arg = true;
}

static void note_label(const struct fiber_wait_info *info, void *arg)
{
	assert_string_equal(info->label, "dns A slow.test (+2)");
	*(bool *)arg = true;
}

static void many_at_once(void **state)
{
	struct fiber_job job = { 0 };
	bool ended = false, seen = false;

	fiber_start(&job, "all", all_of_a_fiber, &ended);
	fiber_each_wait(note_label, &seen);
	assert_true(seen);
	while (!ended)
		assert_true(loop_turn(DEADLINE_NONE));
	assert_string_equal(asked, "A a.test\nA slow.test\nA slower.test\nMX mail.test\n");
}

static void long_label(const struct fiber_wait_info *info, void *arg)
{
	assert_true(strlen(info->label) < 120);
	assert_null(strpbrk(info->label, "\n\x80\xff"));
	*(bool *)arg = true;
}

static bool slow_source(void *arg, struct arena *arena, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	*out = (struct dns_answer){ .status = DNS_NXDOMAIN };
	*delay = NS_PER_SECOND;
	return true;
}

static void labels_are_safe(void **state)
{
	static const char name[] = "\n\x80\xff.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb."
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
	bool seen = false;
	struct ask q;

	dns_set_source(dns, slow_source, NULL);
	ask_start(&q, name, DNS_TXT, DEADLINE_NONE);
	fiber_each_wait(long_label, &seen);
	assert_true(seen);
	ask_finish(&q);
	assert_int_equal(q.out.status, DNS_NXDOMAIN);
	arena_drop(&q.arena);
}

static void both_kinds_of_addresses(void **state)
{
	const struct dns_answer *r = addresses("a.test");

	assert_int_equal(r->status, DNS_FOUND);
	assert_int_equal(r->count, 3);
	assert_int_equal(r->ttl, 200);
	assert_true(ip_is_v4(&r->records[1].ip) && !ip_is_v4(&r->records[2].ip));
	r = addresses("four.test");		/* half of it is enough */
	assert_int_equal(r->status, DNS_FOUND);
	assert_int_equal(r->count, 1);
	assert_null(r->why);
	assert_int_equal(addresses("empty.test")->status, DNS_NODATA);
	assert_int_equal(one.out.ttl, 30);
	assert_int_equal(addresses("half.test")->status, DNS_TROUBLE);
	assert_string_equal(one.out.why, "SERVFAIL");
	assert_int_equal(addresses("gone.test")->status, DNS_NXDOMAIN);
	assert_int_equal(addresses("slow.test")->status, DNS_FOUND);
}

static void what_the_source_passes_on(void **state)
{
	assert_int_equal(ask("pass.test", DNS_A)->status, DNS_TROUBLE);
	assert_string_equal(one.out.why, "no resolver is configured");
}

static void write_zone(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void zone_files_come_first(void **state)
{
	char path[] = "/tmp/test_dns.XXXXXX";
	const char *files[] = { path };
	struct dns_conf conf = { .zone_files = files, .zone_file_count = 1 };
	const char *why = "";
	struct ask q;

	close(mkstemp(path));
	write_zone(path, "zone.test. SOA a b 1 2 3 4 5\nalias.zone.test. 100 CNAME target.test.\n"
		"near.zone.test. 7 CNAME alias.zone.test.\nloop.zone.test. CNAME loop.zone.test.\n"
		"a.test. TXT only\nlate.zone.test. CNAME slow.test.\n");
	dns_close(dns);
	open_with(&conf);
	assert_int_equal(ask("no.zone.test", DNS_A)->status, DNS_NXDOMAIN);
	assert_int_equal(ask("zone.test", DNS_A)->status, DNS_NODATA);
	assert_slice(ask("a.test", DNS_TXT)->records[0].text, "only");
	assert_string_equal(asked, "");
	/* An alias out of the file goes on in the network, and holds as long as its shortest link. */
	assert_int_equal(ask("NEAR.zone.test", DNS_A)->status, DNS_FOUND);
	assert_int_equal(one.out.ttl, 7);
	assert_int_equal(one.out.count, 1);
	assert_string_equal(asked, "A target.test\n");
	assert_int_equal(ask("alias.zone.test", DNS_A)->ttl, 100);
	assert_int_equal(ask("loop.zone.test", DNS_A)->status, DNS_TROUBLE);
	assert_string_equal(one.out.why, "too many CNAMEs");
	/* Beside what the file adds, the network answers. */
	assert_int_equal(ask("a.test", DNS_A)->count, 2);
	/* Read again, and a mistake leaves all as it was. */
	ask_start(&q, "late.zone.test", DNS_A, DEADLINE_NONE);
	write_zone(path, "zone.test. SOA a b 1 2 3 4 5\nno.zone.test. A 192.0.2.1\n");
	assert_true(dns_reload(dns, &a, &conf, &why));
	assert_int_equal(ask("no.zone.test", DNS_A)->status, DNS_FOUND);
	ask_finish(&q);
	assert_int_equal(q.out.status, DNS_FOUND);
	arena_drop(&q.arena);
	write_zone(path, "zone.test. SOA a b 1 2 3 4\n");
	assert_false(dns_reload(dns, &a, &conf, &why));
	assert_non_null(strstr(why, ":1: minimum missing"));
	assert_int_equal(ask("no.zone.test", DNS_A)->status, DNS_FOUND);
	unlink(path);
}

static void closed_while_waiting(void **state)
{
	static const struct dns_conf conf = { .recurse = false };
	struct ask q;

	ask_start(&q, "slow.test", DNS_A, DEADLINE_NONE);
	dns_close(dns);
	turns_now();
	assert_string_equal(q.out.why, "the resolver is closed");
	arena_drop(&q.arena);
	open_with(&conf);
}

/* All places taken: trouble at once, and room again when they have ended. */
static void too_many(void *arg)
{
	struct dns_question *q = arena_array(&a, struct dns_question, 10001);

	for (size_t i = 0; i < 10001; i++)
		q[i] = (struct dns_question){ .name = slice_of(arena_printf(&a, "n%zu.test", i)), .type = DNS_A };
	dns_ask_all(dns, &a, q, 10001, DEADLINE_NONE);
	assert_int_equal(q[9999].answer.status, DNS_NXDOMAIN);
	assert_string_equal(q[10000].answer.why, "too many questions under way");
	dns_ask(dns, &a, SLICE("more.test"), DNS_A, &q[0].answer, DEADLINE_NONE);
	assert_int_equal(q[0].answer.status, DNS_NXDOMAIN);
	*(bool *)arg = true;
}

static void bounded(void **state)
{
	struct fiber_job job = { 0 };
	bool ended = false;

	dns_set_source(dns, slow_source, NULL);
	fiber_start(&job, "many", too_many, &ended);
	while (!ended)
		assert_true(loop_turn(DEADLINE_NONE));
}

static void statuses_have_names(void **state)
{
	assert_string_equal(dns_status_name(DNS_FOUND), "found");
	assert_string_equal(dns_status_name(DNS_TROUBLE), "trouble");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		dns_test(names_go_in_lower_case), dns_test(impossible_names_are_not_asked),
		dns_test(each_asker_has_its_own_deadline), dns_test(asked_ahead), dns_test(trouble_is_not_remembered), dns_test(no_time_left),
		dns_test(cancelled), dns_test(many_at_once), dns_test(labels_are_safe), dns_test(both_kinds_of_addresses),
		dns_test(what_the_source_passes_on), dns_test(zone_files_come_first), dns_test(closed_while_waiting),
		dns_test(bounded), T(statuses_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
