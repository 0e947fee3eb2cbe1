/*
 * The journal: written, found, left behind by a crash, packed, faded, deleted.
 */
#include "unit.h"

#include "base/arena.h"
#include "base/clock.h"
#include "edge/journal_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define WALL (INT64_C(1790000000) * NS_PER_SECOND)
#define DAY (24 * 3600 * NS_PER_SECOND)

static struct arena arena;
static char directory[64];

static int setup(void **state)
{
	strcpy(directory, "/tmp/spurn-test-journal-XXXXXX");
	assert_non_null(mkdtemp(directory));
	clock_fake(1000 * NS_PER_SECOND, WALL);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s 2>/dev/null", directory);
	arena_drop(&arena);
	/* The thread that ages segments may be at it yet, and make a file while others go. */
	for (int i = 0; i < 500; i++) {
		if (system(command) == 0)
			return 0;
		usleep(10000);
	}
	return -1;
}

static struct journal_conf conf(void)
{
	return (struct journal_conf){ .directory = directory, .slot = 3, .segment = 64u << 20, .keep = 90 * DAY,
		.detail = 14 * DAY };
}

static struct journal *open_journal(const struct journal_conf *c)
{
	const char *why = NULL;
	struct journal *j = journal_open(&arena, c, &why);

	assert_non_null(j);
	return j;
}

/* Record number n: its reference, client, sender, recipient and Message-ID tell it. */
static void append(struct journal *j, unsigned n)
{
	char now[25], ip[32], ref[16], from[64], to[64], id[64];
	struct journal_keys keys = { .count = 5 };
	struct str line = STR_IN(&arena);

	clock_rfc3339(clock_wall(), now);
	snprintf(ref, sizeof(ref), "REF%07u", n);
	snprintf(ip, sizeof(ip), "198.51.%u.%u", n / 250 % 250, n % 250);
	snprintf(from, sizeof(from), "Sender%u@client.example.net", n);
	snprintf(to, sizeof(to), "user%u@example.org", n);
	snprintf(id, sizeof(id), "<id%u@client.example.net>", n);
	str_printf(&line, "{\"time\":\"%s\",\"ref\":\"%s\",\"node\":\"mx.example.org\",\"listener\":\"inbound\","
		"\"client\":{\"ip\":\"%s\",\"port\":%u,\"name\":\"host%u.dyn.example.net\",\"helo\":\"[%s]\",\"tls\":\"\"},"
		"\"mail_from\":\"%s\",\"rcpt\":[{\"address\":\"%s\",\"code\":550,\"enhanced\":\"5.1.1\",\"reply\":\"No such "
		"user\",\"backend\":\"550 5.1.1 <%s>: Recipient address rejected\"}],\"message\":{\"id\":\"%s\",\"from\":"
		"\"\\\"Doe, J.\\\" <%s>\",\"size\":%u},\"findings\":[{\"check\":\"dnsbl\",\"reason\":\"Listed: %s\"}],"
		"\"disposition\":\"reject\"}", now, ref, ip, n % 60000, n, ip, from, to, to, id, from, n, ip);
	keys.keys[0] = slice_of(ref);
	keys.keys[1] = slice_of(ip);
	keys.keys[2] = slice_of(from);
	keys.keys[3] = slice_of(to);
	keys.keys[4] = slice_of(id);
	journal_append(j, str_slice(&line), &keys);
	arena_drop(&arena);
}

static void append_many(struct journal *j, unsigned from, unsigned count)
{
	for (unsigned n = from; n < from + count; n++) {
		append(j, n);
		if (n % 500 == 499)
			journal_tick(j);
	}
	journal_tick(j);
}

/* ---- looking ---- */

static struct slice last_record;

static bool keep_last(void *arg, struct slice record)
{
	unsigned *most = arg;

	last_record = slice_copy(&arena, record);
	return !most || --*most > 0;
}

static long found(const char *key)
{
	const char *why = NULL;
	long n = journal_search(directory, slice_of(key), 0, keep_last, NULL, &why);

	assert_null(why);
	return n;
}

static long all(void)
{
	const char *why = NULL;

	return journal_each(directory, 0, keep_last, NULL, &why);
}

static bool has(const char *needle)
{
	return slice_search(last_record, slice_of(needle)) >= 0;
}

/* How many files of the directory end so. */
static int files(const char *ending)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	int n = 0;

	while ((e = readdir(d)))
		n += slice_ends_nocase(slice_of(e->d_name), slice_of(ending));
	closedir(d);
	return n;
}

/* The path of the one file that ends so. */
static const char *only(const char *ending)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	const char *path = NULL;

	while ((e = readdir(d)))
		if (slice_ends_nocase(slice_of(e->d_name), slice_of(ending)))
			path = arena_printf(&arena, "%s/%s", directory, e->d_name);
	closedir(d);
	assert_non_null(path);
	return path;
}

static void age(const struct journal_conf *c, nanoseconds wall)
{
	const char *why = NULL;

	if (!journal_age_run(c, "", wall, &why))
		fail_msg("%s", why);
}

/* A minute has passed: a tick has started the thread. It is past when it has made its lock file and let go of it; where the
 * directory was away just then it has made none. */
static void quiet(void)
{
	struct journal_conf c = conf();
	const char *why;

	for (int i = 0; i < 2000 && files("age.lock") == 0; i++)
		usleep(1000);
	while (!journal_age_run(&c, "", 0, &why))
		usleep(1000);
}

/* A closed segment of so many records. */
static void make_segment(unsigned from, unsigned count)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);

	append_many(j, from, count);
	journal_close(j);
}

/* ---- tests ---- */

static void test_found_by_every_key(void **state)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);

	append_many(j, 0, 100);
	assert_int_equal(found("REF0000042"), 1);
	assert_true(has("\"ref\":\"REF0000042\""));
	assert_int_equal(found("ref0000042"), 1);
	assert_int_equal(found("198.51.0.42"), 1);
	assert_int_equal(found("SENDER42@CLIENT.example.net"), 1);
	assert_int_equal(found("user42@example.org"), 1);
	assert_int_equal(found("<id42@client.example.net>"), 1);
	assert_int_equal(found("ID42@client.example.net"), 1);
	assert_int_equal(found("<user42@example.org>"), 1);
	assert_int_equal(found("nobody@example.org"), 0);
	assert_int_equal(found("client.example.net"), 0);
	assert_int_equal(found(""), 0);
	assert_int_equal(all(), 100);
	journal_close(j);
}

static void test_before_the_index_is_written(void **state)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);

	append_many(j, 0, 10);
	append(j, 10);
	append(j, 11);
	journal_flush(j);
	assert_int_equal(found("REF0000009"), 1);
	assert_int_equal(found("REF0000010"), 1);
	assert_int_equal(found("REF0000011"), 1);
	journal_close(j);
}

static void test_in_order_of_time_over_segments(void **state)
{
	const char *why = NULL;
	unsigned one = 1;
	struct journal_conf c = conf(), other = conf();

	other.slot = 9;
	struct journal *a = open_journal(&c), *b = open_journal(&other);

	for (unsigned i = 0; i < 10; i++) {
		append(i % 2 ? a : b, 7);
		journal_tick(a);
		journal_tick(b);
		clock_fake_advance(NS_PER_SECOND);
	}
	assert_int_equal(found("REF0000007"), 10);
	assert_true(journal_record_time(last_record) == WALL + 9 * NS_PER_SECOND);
	assert_int_equal(journal_search(directory, SLICE("REF0000007"), 0, keep_last, &one, &why), 1);
	assert_true(journal_record_time(last_record) == WALL);
	assert_int_equal(journal_search(directory, SLICE("REF0000007"), WALL + 8 * NS_PER_SECOND, keep_last, NULL, &why), 2);
	journal_close(a);
	journal_close(b);
}

static void test_more_keys_than_entries(void **state)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);
	struct journal_keys keys = { .count = 1, .more = true, .keys = { SLICE("REF") } };

	append_many(j, 0, 5);
	journal_append(j, SLICE("{\"time\":\"2026-11-23T02:49:59.123Z\",\"ref\":\"REF\",\"rcpt\":[{\"address\":"
		"\"last@example.org\"}]}"), &keys);
	append_many(j, 5, 5);
	assert_int_equal(found("last@example.org"), 1);
	journal_close(j);
}

static void test_escapes(void **state)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);
	struct journal_keys keys = { .count = 1, .keys = { SLICE("\"a \\\"b\"@example.org") } };

	journal_append(j, SLICE("{\"time\":\"2026-11-23T02:49:59.123Z\",\"mail_from\":\"\\\"a \\\\\\\"b\\\"@example.org\"}"),
		&keys);
	journal_tick(j);
	assert_int_equal(found("\"a \\\"b\"@example.org"), 1);
	journal_close(j);
}

static void test_crash_leaves_half_a_line(void **state)
{
	struct journal_conf c = conf();
	FILE *f;

	make_segment(0, 20);
	f = fopen(only(".jsonl"), "a");
	fputs("{\"time\":\"2026-11-23T02:49:59.123Z\",\"ref\":\"HALF\",\"mail_from\":\"half@exam", f);
	fclose(f);
	assert_int_equal(all(), 20);
	assert_int_equal(found("HALF"), 0);
	assert_int_equal(found("REF0000019"), 1);
	age(&c, WALL + 3600 * NS_PER_SECOND);
	assert_int_equal(files(".jsonl"), 0);
	assert_int_equal(all(), 20);
}

static void test_index_torn_or_lost(void **state)
{
	struct stat st;

	make_segment(0, 50);
	const char *idx = only(".idx");

	assert_int_equal(stat(idx, &st), 0);
	assert_int_equal(st.st_size, 50 * 5 * 16);
	/* Half an entry of the 30th record. */
	assert_int_equal(truncate(idx, 30 * 5 * 16 - 24), 0);
	assert_int_equal(found("user29@example.org"), 1);
	assert_int_equal(found("user10@example.org"), 1);
	assert_int_equal(found("user49@example.org"), 1);
	assert_int_equal(truncate(idx, 7), 0);
	assert_int_equal(found("user29@example.org"), 1);
	assert_int_equal(unlink(idx), 0);
	assert_int_equal(found("user29@example.org"), 1);
	assert_int_equal(found("user49@example.org"), 1);
}

static void test_packed(void **state)
{
	struct journal_conf c = conf();
	struct stat st;

	make_segment(0, 3000);
	assert_int_equal(stat(only(".jsonl"), &st), 0);
	c.segment = (uint64_t)st.st_size;
	age(&c, WALL + NS_PER_SECOND);
	assert_int_equal(files(".jsonl"), 0);
	assert_int_equal(files(".jsonl.gz"), 1);
	assert_int_equal(files(".tmp"), 0);
	assert_int_equal(stat(only(".gzi"), &st), 0);
	assert_true(st.st_size > 4 * 16);
	for (unsigned n = 0; n < 3000; n += 211)
		assert_int_equal(found(arena_printf(&arena, "user%u@example.org", n)), 1);
	assert_int_equal(found("REF0002999"), 1);
	assert_int_equal(all(), 3000);
	/* The tools of others read it, too. */
	assert_int_equal(system(arena_printf(&arena, "test $(zcat %s | wc -l) = 3000", only(".jsonl.gz"))), 0);
	/* The table is lost, then the index. */
	assert_int_equal(unlink(only(".gzi")), 0);
	assert_int_equal(found("user2900@example.org"), 1);
	assert_int_equal(all(), 3000);
	assert_int_equal(unlink(only(".idx")), 0);
	assert_int_equal(found("user2900@example.org"), 1);
	age(&c, WALL + 2 * NS_PER_SECOND);
	assert_int_equal(all(), 3000);
}

static void test_packed_and_damaged(void **state)
{
	struct journal_conf c = conf();
	const char *why = NULL;
	struct stat st;
	int fd;

	make_segment(0, 3000);
	age(&c, WALL + DAY);
	assert_int_equal(stat(only(".jsonl.gz"), &st), 0);
	fd = open(only(".jsonl.gz"), O_WRONLY);
	assert_int_equal(pwrite(fd, "garbage, garbage", 16, st.st_size / 2), 16);
	close(fd);
	assert_int_equal(found("user0@example.org"), 1);
	assert_int_equal(found("user2999@example.org"), 1);
	assert_in_range(all(), 500, 2999);
	/* What cannot be read is not faded either: the old form stays and it is said. */
	assert_false(journal_age_run(&c, "", WALL + 20 * DAY, &why));
	assert_non_null(strstr(why, "cannot be hashed"));
	assert_int_equal(files(".tmp"), 0);
	assert_int_equal(files("faded.jsonl.gz"), 0);
}

static void test_not_while_being_written(void **state)
{
	struct journal_conf c = conf(), ours = conf();
	struct journal *j = open_journal(&c);

	append_many(j, 0, 10);
	ours.segment = 100;
	/* Another process's view of it, which does not know its name. */
	age(&ours, WALL + 20 * DAY);
	age(&ours, WALL + 100 * DAY);
	assert_int_equal(files(".jsonl"), 1);
	assert_int_equal(all(), 10);
	journal_close(j);
	age(&ours, WALL + NS_PER_SECOND);
	assert_int_equal(files(".jsonl"), 0);
	assert_int_equal(all(), 10);
}

static void test_left_over_segments(void **state)
{
	struct journal_conf c = conf();

	make_segment(0, 10);
	age(&c, WALL + 60 * NS_PER_SECOND);
	assert_int_equal(files(".jsonl"), 1);
	age(&c, WALL + 3600 * NS_PER_SECOND);
	assert_int_equal(files(".jsonl"), 0);
	assert_int_equal(found("user5@example.org"), 1);
	/* A worker that wrote nothing leaves nothing. */
	make_segment(0, 0);
	assert_int_equal(files(".jsonl"), 0);
	assert_int_equal(files(".idx"), 1);
}

static void test_segment_ends_after_a_day(void **state)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);

	append(j, 1);
	journal_tick(j);
	clock_fake_advance(DAY + 2 * NS_PER_SECOND);
	append(j, 2);
	journal_tick(j);
	append(j, 3);
	journal_tick(j);
	assert_int_equal(files(".jsonl"), 2);
	assert_int_equal(all(), 3);
	journal_close(j);
	quiet();
}

/* A new segment cannot be had for a while: the old one takes the records, and the next tick tries again. */
static void test_no_new_segment_for_a_while(void **state)
{
	struct journal_conf c = conf();
	struct journal *j = open_journal(&c);
	char away[80];

	snprintf(away, sizeof(away), "%s.away", directory);
	append(j, 1);
	journal_tick(j);
	clock_fake_advance(DAY + 2 * NS_PER_SECOND);
	assert_int_equal(rename(directory, away), 0);
	for (unsigned n = 2; n < 5; n++) {
		append(j, n);
		journal_tick(j);
	}
	assert_int_equal(rename(away, directory), 0);
	assert_int_equal(all(), 4);
	journal_tick(j);
	append(j, 5);
	journal_tick(j);
	assert_int_equal(files(".jsonl"), 2);
	assert_int_equal(all(), 5);
	journal_close(j);
	quiet();
}

/* Everything in the directory as one text. */
static const char *everything(void)
{
	const char *path = arena_printf(&arena, "%s/../spurn-all-%d", directory, (int)getpid());
	FILE *f;
	char *text = arena_alloc(&arena, 4u << 20);
	size_t n;

	assert_int_equal(system(arena_printf(&arena, "cat %s/* > %s; zcat %s/*.gz >> %s", directory, path, directory,
		path)), 0);
	f = fopen(path, "r");
	n = fread(text, 1, (4u << 20) - 1, f);
	text[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	fclose(f);
	unlink(path);
	return text;
}

static void test_faded(void **state)
{
	struct journal_conf c = conf();
	const char *text;
	struct stat st;

	make_segment(0, 300);
	age(&c, WALL + 13 * DAY);
	assert_int_equal(files(".faded.jsonl.gz"), 0);
	age(&c, WALL + 15 * DAY);
	assert_int_equal(files(".faded.jsonl.gz"), 1);
	assert_int_equal(files(".gz"), 1);
	assert_int_equal(files(".idx"), 1);
	assert_int_equal(files(".gzi"), 1);
	assert_int_equal(stat(only("fade.key"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 16);
	text = everything();
	assert_null(strstr(text, "@client"));
	assert_null(strstr(text, "@example"));
	assert_null(strstr(text, "host42"));
	assert_null(strstr(text, "Doe"));
	assert_null(strstr(text, "198.51.0.42"));
	assert_null(strstr(text, "198.51.1.42"));
	assert_int_equal(all(), 300);
	/* Known keys still find it, and two addresses are still two. */
	assert_int_equal(found("REF0000042"), 1);
	assert_int_equal(found("User42@example.org"), 1);
	assert_true(has("\"ref\":\"REF0000042\""));
	assert_true(has("\"ip\":\"198.51.0.0/24\"") && has("\"name\":\"*.example.net\"") && has("\"code\":550"));
	assert_true(has("\"helo\":\"198.51.0.0/24\"") && has("Listed: 198.51.0.0/24"));
	assert_int_equal(found("sender42@client.example.net"), 1);
	assert_int_equal(found("<id42@client.example.net>"), 1);
	assert_int_equal(found("198.51.1.200"), 50);
	/* And again: nothing more to be done. */
	age(&c, WALL + 16 * DAY);
	assert_int_equal(all(), 300);
}

static void fades_to(const char *from, const char *to)
{
	static const struct journal_salt salt = { { 1 } };
	struct str record = STR_IN(&arena), out = STR_IN(&arena), hash = STR_IN(&arena), wanted = STR_IN(&arena);

	/* # in `to` stands for the hash of a@b.example. */
	journal_fade_address(&hash, &salt, SLICE("a@b.example"));
	str_puts(&record, "{\"client\":{\"name\":\"mail-7.client.example\"},\"reason\":");
	str_json(&record, slice_of(from));
	str_addc(&record, '}');
	str_puts(&wanted, "{\"client\":{\"name\":\"*.client.example\"},\"reason\":\"");
	for (const char *p = to; *p; p++) {
		if (*p == '#')
			str_add(&wanted, str_slice(&hash));
		else
			str_addc(&wanted, *p);
	}
	str_puts(&wanted, "\"}");
	assert_true(journal_fade(&out, &salt, str_slice(&record)));
	assert_slices(str_slice(&out), str_slice(&wanted));
}

static void test_fading_of_text(void **state)
{
	fades_to("", "");
	fades_to("Mailbox full.", "Mailbox full.");
	fades_to("550 5.1.1 <a@b.example>: no such user", "550 5.1.1 <#>: no such user");
	fades_to("A@B.example. Sorry", "#. Sorry");
	fades_to("to a@b.example, A@b.example", "to #, #");
	fades_to("from 192.0.2.77, [192.0.2.78]:25", "from 192.0.2.0/24, [192.0.2.0/24]:25");
	fades_to("192.0.2.77:4711 and 192.0.2.77.", "192.0.2.0/24:4711 and 192.0.2.0/24.");
	fades_to("7.2.0.192.zen.example", "*.2.0.192.zen.example");
	fades_to("[IPv6:2001:db8:1:2::3]", "[2001:db8:1::/48]");
	fades_to("2001:db8:1:2::3", "2001:db8:1::/48");
	fades_to("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.example", "*.zen.example");
	fades_to("Mail-7.client.example says", "*.client.example says");
	fades_to("ip-198-51-100-7.pool.isp.example", "*.isp.example");
	fades_to("3.5.0 of 2026-11-23T02:49:59", "3.5.0 of 2026-11-23T02:49:59");
	fades_to("127.0.0.2", "127.0.0.0/24");
}

static void test_fading_of_quoted_local_part(void **state)
{
	struct str out = STR_IN(&arena);
	static const struct journal_salt salt;

	assert_true(journal_fade(&out, &salt, SLICE("{\"reason\":\"<\\\"john doe\\\"@b.example> unknown\"}")));
	assert_true(slice_search(str_slice(&out), SLICE("doe")) < 0 && slice_search(str_slice(&out), SLICE("john")) < 0);
	assert_false(journal_fade(&out, &salt, SLICE("{\"reason\":\"a@b")));
	assert_false(journal_fade(&out, &salt, SLICE("")));
	assert_false(journal_fade(&out, &salt, SLICE("{\"a\":{\"b\":1}")));
}

static void test_deleted(void **state)
{
	struct journal_conf c = conf();

	make_segment(0, 30);
	age(&c, WALL + 15 * DAY);
	assert_int_equal(all(), 30);
	age(&c, WALL + 91 * DAY);
	assert_int_equal(all(), 0);
	assert_int_equal(files(".gz") + files(".idx") + files(".gzi") + files(".jsonl"), 0);
}

static void copy_file(const char *from, const char *to)
{
	assert_int_equal(system(arena_printf(&arena, "cp %s %s", from, to)), 0);
}

static void test_two_forms_after_a_crash(void **state)
{
	struct journal_conf c = conf();
	const char *plain, *kept, *packed;

	make_segment(0, 40);
	plain = only(".jsonl");
	kept = arena_printf(&arena, "%s/kept", directory);
	copy_file(plain, kept);
	age(&c, WALL + DAY);
	packed = only(".jsonl.gz");
	copy_file(kept, plain);
	assert_int_equal(all(), 40);
	assert_int_equal(found("user7@example.org"), 1);
	age(&c, WALL + DAY);
	assert_int_equal(files(".jsonl"), 0);
	age(&c, WALL + 15 * DAY);
	/* The faded one is there; everything clear comes back, and rubbish. */
	copy_file(kept, plain);
	copy_file(kept, packed);
	copy_file(kept, arena_printf(&arena, "%s.tmp", packed));
	copy_file(kept, arena_printf(&arena, "%s/20200101T000000-000.1.idx", directory));
	assert_int_equal(all(), 40);
	unlink(kept);
	age(&c, WALL + 15 * DAY);
	assert_int_equal(files(".jsonl") + files(".tmp"), 0);
	assert_int_equal(files(".gz"), 1);
	assert_int_equal(files(".idx"), 1);
	assert_null(strstr(everything(), "@example"));
	assert_null(strstr(everything(), "@client"));
}

/* Killed at some moment of a pass, a hundred times: no record is lost, none doubled. */
static void test_killed_while_ageing(void **state)
{
	struct journal_conf c = conf();
	const char *why;

	make_segment(0, 2000);
	for (unsigned i = 0; i < 100; i++) {
		pid_t pid = fork();
		bool fade = i >= 50;

		if (pid == 0) {
			journal_age_run(&c, "", WALL + (fade ? 15 * DAY : DAY), &why);
			_exit(0);
		}
		usleep(i % 50 * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_int_equal(all(), 2000);
		assert_int_equal(found("user1234@example.org"), 1);
	}
	age(&c, WALL + 15 * DAY);
	assert_int_equal(all(), 2000);
	assert_int_equal(files(".gz"), 1);
	assert_int_equal(files(".tmp"), 0);
}

static void test_ageing_is_done_by_one(void **state)
{
	struct journal_conf c = conf();
	const char *why = NULL, *lock = arena_printf(&arena, "%s/age.lock", directory);
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();

	if (pid == 0) {
		execlp("flock", "flock", lock, "sh", "-c", arena_printf(&arena, "echo >&%d; exec sleep 30", ready[1]), NULL);
		_exit(127);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_false(journal_age_run(&c, "", WALL, &why));
	assert_string_equal(why, "another process is at it");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
}

static void test_thread_ages(void **state)
{
	struct journal_conf c = conf();

	make_segment(0, 100);
	journal_age_start(&c, "", WALL + DAY);
	for (int i = 0; i < 500 && files(".jsonl") > 0; i++)
		usleep(10000);
	assert_int_equal(files(".jsonl"), 0);
	assert_int_equal(all(), 100);
}

static void test_twenty_thousand(void **state)
{
	make_segment(0, 20000);
	nanoseconds began = clock_precise();

	assert_int_equal(found("REF0012345"), 1);
	assert_int_equal(found("user19999@example.org"), 1);
	assert_int_equal(found("nobody@example.org"), 0);
	/* A million within a second is measured in bench/; sanitizers and valgrind are slower. */
	assert_true(clock_precise() - began < 2 * NS_PER_SECOND);
}

static void test_no_directory(void **state)
{
	const char *why = NULL;

	assert_int_equal(journal_search("/nonexistent/journal", SLICE("x"), 0, keep_last, NULL, &why), -1);
	assert_non_null(strstr(why, "/nonexistent/journal: "));
	assert_int_equal(journal_each("/nonexistent/journal", 0, keep_last, NULL, &why), -1);
}

static bool count_texts(void *arg, const char *path, struct slice raw)
{
	++*(int *)arg;
	return true;
}

/* Every beginning of a record is no record, and walking it reads nothing behind it. */
static void test_torn_records(void **state)
{
	static const char record[] = "{\"time\":\"x\",\"a\":[{\"b\":\"\\\"c\"},{}],\"d\":[],\"e\":-1.5e3,\"f\":{\"g\":null}}";
	int n = 0;

	for (size_t i = 0; i < sizeof(record) - 1; i++) {
		char *exact = malloc(i + 1);

		memcpy(exact, record, i);
		assert_false(journal_each_text(slice_make(exact, i), count_texts, &n));
		free(exact);
	}
	n = 0;
	assert_true(journal_each_text(slice_of(record), count_texts, &n));
	assert_int_equal(n, 2);
	assert_false(journal_each_text(SLICE("{\"a\":1}x"), count_texts, &n));
	assert_false(journal_each_text(SLICE("{\"a\":[[[[[[[[[[[[1]]]]]]]]]]]]}"), count_texts, &n));
	assert_int_equal(journal_record_time(SLICE("{\"time\":\"1970-01-01T00:00:01.500Z\"}")), 1500 * NS_PER_MS);
	assert_int_equal(journal_record_time(SLICE("{\"time\":\"yesterday\"}")), -1);
}

#define J(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

UNIT_MAIN(
	J(test_found_by_every_key), J(test_before_the_index_is_written), J(test_in_order_of_time_over_segments),
	J(test_more_keys_than_entries), J(test_escapes), J(test_crash_leaves_half_a_line), J(test_index_torn_or_lost),
	J(test_packed), J(test_packed_and_damaged), J(test_not_while_being_written), J(test_left_over_segments),
	J(test_segment_ends_after_a_day), J(test_no_new_segment_for_a_while), J(test_faded), J(test_fading_of_text), J(test_fading_of_quoted_local_part),
	J(test_deleted), J(test_two_forms_after_a_crash), J(test_killed_while_ageing), J(test_ageing_is_done_by_one),
	J(test_thread_ages), J(test_twenty_thousand), J(test_no_directory), J(test_torn_records)
)
