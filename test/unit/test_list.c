/* Lists: every form of entry, files in all their states, and the swap. */
#include "unit.h"

#include "base/clock.h"
#include "check/list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static struct arena arena;

static int group_setup(void **state)
{
	strcpy(directory, "/tmp/spurn-test-list-XXXXXX");
	assert_non_null(mkdtemp(directory));
	return 0;
}

static int group_teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", directory);
	arena_drop(&arena);
	return system(command);
}

/* A path of its own for each test: files stay registered. */
static char *path_of(const char *name)
{
	return arena_printf(&arena, "%s/%s", directory, name);
}

static struct timespec ago(double seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);

	double t = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - seconds;

	return (struct timespec){ (time_t)t, (long)((t - (double)(time_t)t) * 1e9) };
}

static void set_age(const char *path, double seconds)
{
	struct timespec times[2] = { ago(seconds), ago(seconds) };

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Replaced as an editor or a script does: written aside and moved over. Looks as if that was a while ago. */
static double stamp = 5000;

static void file_bytes(const char *path, const void *bytes, size_t n)
{
	char *aside = arena_printf(&arena, "%s.new", path);
	FILE *f = fopen(aside, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
	set_age(aside, stamp -= 1);
	assert_int_equal(rename(aside, path), 0);
}

static void file_write(const char *path, const char *text)
{
	file_bytes(path, text, strlen(text));
}

static struct list_file *file_open_guarded(const char *path, enum list_kind kind, unsigned guard)
{
	const char *why = "no reason";
	struct list_file *f = list_file_open(path, kind, SLICE("+"), guard, &arena, &why);

	if (!f)
		print_error("%s\n", why);
	assert_non_null(f);
	return f;
}

static struct list_file *file_open(const char *path, enum list_kind kind)
{
	return file_open_guarded(path, kind, 0);
}

static void file_refused(const char *name, enum list_kind kind, const char *text, const char *expected)
{
	char *path = path_of(name);
	const char *why = NULL;

	file_write(path, text);
	assert_null(list_file_open(path, kind, SLICE("+"), 0, &arena, &why));
	assert_non_null(why);
	if (strncmp(why, path, strlen(path)) != 0 || !strstr(why, expected))
		fail_msg("%s does not say %s", why, expected);
}

static bool has(const struct list_file *f, const char *address)
{
	return list_file_contains_address(f, slice_of(address));
}

static bool has_ip(const struct list_file *f, const char *text)
{
	struct ip ip;

	assert_true(ip_parse(&ip, slice_of(text)));
	return list_file_contains_ip(f, &ip);
}

/* ---- address sets ---- */

static struct address_set *set_of(const char *const *entries)
{
	struct address_set *set = address_set_new(&arena);
	const char *why = "";

	for (; *entries; entries++)
		if (!address_set_add(set, slice_of(*entries), SLICE("+"), &why))
			fail_msg("%s: %s", *entries, why);
	return set;
}

#define SET(...) set_of((const char *const[]){ __VA_ARGS__, NULL })
#define assert_in(set, address) assert_true(address_set_contains((set), SLICE(address)))
#define assert_out(set, address) assert_false(address_set_contains((set), SLICE(address)))

static void an_empty_set_has_nothing(void **state)
{
	struct address_set *set = address_set_new(&arena);

	assert_out(set, "a@example.org");
	assert_out(set, "postmaster");
	assert_out(set, "");
	assert_out(set, "@");
}

static void addresses_are_compared_folded(void **state)
{
	struct address_set *set = SET("John.Doe@Example.ORG", "\"quoted\"@example.org", " spaced@example.org ");

	assert_in(set, "john.doe@example.org");
	assert_in(set, "quoted@example.org");
	assert_in(set, "spaced@example.org");
	assert_out(set, "john.doe@example.com");
	assert_out(set, "john.do@example.org");
	assert_out(set, "@example.org");
	assert_out(set, "example.org");
}

static void a_sub_address_is_its_user(void **state)
{
	struct address_set *set = SET("user+news@example.org");

	assert_in(set, "user@example.org");
}

static void whole_domains(void **state)
{
	struct address_set *set = SET("@Example.org", "*@wild.example", "@[192.0.2.1]");

	assert_in(set, "anybody@example.org");
	assert_in(set, "\"odd @ one\"@example.org");
	assert_in(set, "x@wild.example");
	assert_in(set, "x@[192.0.2.1]");
	assert_out(set, "x@sub.example.org");
	assert_out(set, "x@notexample.org");
	assert_out(set, "x@org");
}

static void sub_domains(void **state)
{
	struct address_set *set = SET("@.example.org");

	assert_in(set, "x@a.example.org");
	assert_in(set, "x@c.b.a.example.org");
	assert_out(set, "x@example.org");
	assert_out(set, "x@badexample.org");
	assert_out(set, "x@example.org.evil.example");
}

static void local_parts_everywhere(void **state)
{
	struct address_set *set = SET("Postmaster@", "mailer-daemon@");

	assert_in(set, "postmaster@example.org");
	assert_in(set, "postmaster");
	assert_in(set, "mailer-daemon@x.example");
	assert_out(set, "postmaster2@example.org");
}

static void prefixes(void **state)
{
	struct address_set *set = SET("Sales-*@example.org", "s*@short.example", "user.name-*@example.org");

	assert_in(set, "sales-eu@example.org");
	assert_in(set, "sales-@example.org");
	assert_in(set, "user.name-x@example.org");
	assert_in(set, "s@short.example");
	assert_in(set, "something@short.example");
	assert_out(set, "sales@example.org");
	assert_out(set, "presales-eu@example.org");
	assert_out(set, "sales-eu@example.net");
	assert_out(set, "xs@short.example");
	assert_out(set, "sales-@example.org.evil.example");
}

/* The separator between prefix and domain in the key is no way in. */
static void prefixes_are_not_confused_with_addresses(void **state)
{
	struct address_set *set = SET("a*@b.example", "b.example@c.example");

	assert_out(set, "b.example@a");
	assert_out(set, "c.example@b.example");
	assert_in(set, "abc@b.example");
	assert_in(set, "b.example@c.example");
}

static void a_quoted_star_is_a_star(void **state)
{
	struct address_set *set = SET("\"a*\"@example.org");

	assert_in(set, "a*@example.org");
	assert_out(set, "ab@example.org");
}

static void the_longest_prefix(void **state)
{
	char entry[128], address[128];
	struct address_set *set = address_set_new(&arena);
	const char *why;

	memset(entry, 'x', 64);
	strcpy(entry + 64, "*@example.org");
	assert_true(address_set_add(set, slice_of(entry), SLICE_NULL, &why));
	memset(address, 'x', 70);
	strcpy(address + 64, "@example.org");
	assert_true(address_set_contains(set, slice_of(address)));
	strcpy(address + 63, "@example.org");
	assert_false(address_set_contains(set, slice_of(address)));
	memset(entry, 'x', 65);
	strcpy(entry + 65, "*@example.org");
	assert_false(address_set_add(set, slice_of(entry), SLICE_NULL, &why));
}

static void proxy_addresses_of_a_directory(void **state)
{
	struct address_set *set = SET("SMTP:Main@example.org", "smtp:other@example.org");

	assert_in(set, "main@example.org");
	assert_in(set, "other@example.org");
}

static void international_domains(void **state)
{
	struct address_set *set = SET("@b\xc3\xbc" "cher.example", "user@M\xc3\xbcnchen.example");

	assert_in(set, "x@xn--bcher-kva.example");
	assert_in(set, "user@xn--mnchen-3ya.example");
}

static void nonsense_is_refused_with_a_reason(void **state)
{
	static const char *const bad[] = { "", "example.org", "user", "@", "user@@", "@.", "user@-", "user@exa mple.org",
		"user@example.org other@example.org", "us er@example.org", "a*b@example.org", "*a@example.org",
		"user@*.example.org", "@*.example.org", "a*@", "*", "user+x*@example.org", "<user@example.org>",
		"user@example..org", ".user@example.org", "SIP:user@example.org", NULL };
	struct address_set *set = address_set_new(&arena);
	char big[600];

	for (const char *const *e = bad; *e; e++) {
		const char *why = NULL;

		if (address_set_add(set, slice_of(*e), SLICE("+"), &why))
			fail_msg("taken: %s", *e);
		assert_non_null(why);
	}
	memset(big, 'a', sizeof(big));
	big[10] = '@';

	const char *why = NULL;

	assert_false(address_set_add(set, slice_make(big, sizeof(big)), SLICE_NULL, &why));
	assert_non_null(why);
	assert_false(address_set_contains(set, slice_make(big, sizeof(big))));
}

static void long_questions_are_harmless(void **state)
{
	struct address_set *set = SET("a*@example.org", "@.example.org", "postmaster@");
	struct str long_one = STR_IN(&arena);

	for (int i = 0; i < 100000; i++)
		str_puts(&long_one, "a.");
	assert_false(address_set_contains(set, str_slice(&long_one)));
	str_puts(&long_one, "@example.org");
	assert_false(address_set_contains(set, str_slice(&long_one)));
}

static void a_hundred_thousand(void **state)
{
	char *path = path_of("large");
	struct str text = STR_IN(&arena);

	for (int i = 0; i < 100000; i++)
		str_printf(&text, "user%d@example%d.org\n", i, i % 7);
	file_bytes(path, text.p, text.n);

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	assert_int_equal(list_file_count(f), 100000);
	for (int i = 0; i < 100000; i++) {
		char address[64];

		snprintf(address, sizeof(address), "user%d@example%d.org", i, i % 7);
		assert_true(has(f, address));
		snprintf(address, sizeof(address), "user%d@example%d.org", i, (i + 1) % 7);
		assert_false(has(f, address));
	}
}

/* ---- files ---- */

static void a_file_of_addresses(void **state)
{
	char *path = path_of("addresses");

	file_write(path, "# users\n\nann@example.org\r\n  bob@example.org\t# the builder\n"
		"#eve@example.org\nc#d@example.org\nann@EXAMPLE.org\n\t\n@other.example\nlast@example.org");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	assert_int_equal(list_file_count(f), 5);
	assert_true(has(f, "ann@example.org") && has(f, "bob@example.org") && has(f, "c#d@example.org"));
	assert_true(has(f, "any@other.example") && has(f, "last@example.org"));
	assert_false(has(f, "eve@example.org"));
	assert_string_equal(list_file_path(f), path);
	assert_null(list_file_trouble(f));
	assert_false(has_ip(f, "192.0.2.1"));
}

static void a_hash_in_quotes_is_a_character(void **state)
{
	char *path = path_of("hash");

	file_write(path, "\"a #b\"@example.org # a comment\n\"#c\"@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	assert_true(list_file_contains_address(f, SLICE("\"a #b\"@example.org")));
	assert_true(list_file_contains_address(f, SLICE("#c@example.org")));
	assert_int_equal(list_file_count(f), 2);
}

static void an_expected_file_may_come_later(void **state)
{
	const char *path = path_of("expected");
	struct list_file *f = list_file_expect(path, LIST_RECIPIENTS, SLICE_NULL);

	assert_int_equal(list_file_count(f), 0);
	assert_non_null(list_file_trouble(f));
	assert_false(list_file_contains_address(f, SLICE("ann@example.org")));
	assert_ptr_equal(f, list_file_expect(path, LIST_RECIPIENTS, SLICE_NULL));
	file_write(path, "ann@example.org\n");
	list_files_poll();
	assert_null(list_file_trouble(f));
	assert_true(list_file_contains_address(f, SLICE("ann@example.org")));
}

static void a_file_of_clients(void **state)
{
	char *path = path_of("clients");

	file_write(path, "192.0.2.0/24\n2001:db8::/32 # doc\n198.51.100.7\r\n");

	struct list_file *f = file_open(path, LIST_CLIENTS);

	assert_int_equal(list_file_count(f), 3);
	assert_true(has_ip(f, "192.0.2.200") && has_ip(f, "2001:db8::1") && has_ip(f, "::ffff:198.51.100.7"));
	assert_false(has_ip(f, "198.51.100.8"));
	assert_false(has(f, "ann@example.org"));
}

static void an_empty_file_is_a_list(void **state)
{
	char *path = path_of("empty");

	file_write(path, "");
	assert_int_equal(list_file_count(file_open(path, LIST_CLIENTS)), 0);
	assert_int_equal(list_file_count(file_open(path, LIST_SENDERS)), 0);
	assert_false(has_ip(file_open(path, LIST_CLIENTS), "192.0.2.1"));
	assert_false(has(file_open(path, LIST_SENDERS), "a@example.org"));
}

static void a_byte_order_mark_is_skipped(void **state)
{
	char *path = path_of("bom");

	file_write(path, "\xEF\xBB\xBF" "ann@example.org\r\n");
	assert_true(has(file_open(path, LIST_RECIPIENTS), "ann@example.org"));
}

static void mistakes_name_file_and_line(void **state)
{
	file_refused("bad1", LIST_RECIPIENTS, "ann@example.org\n# x\nexample.org\n", ":3: ");
	file_refused("bad2", LIST_CLIENTS, "192.0.2.1\n192.0.2.1/24\n", ":2: ");
	file_refused("bad3", LIST_CLIENTS, "192.0.2.1/24\n", "did you mean 192.0.2.0/24");
	file_refused("bad4", LIST_SENDERS, "ann@example.org bob@example.org\n", ":1: ");
	file_refused("bad5", LIST_SENDERS, "\xFF\xFE" "a", "UTF-16");
}

static void a_file_that_cannot_be_read(void **state)
{
	const char *why = NULL;

	assert_null(list_file_open(path_of("absent"), LIST_CLIENTS, SLICE_NULL, 0, &arena, &why));
	assert_non_null(strstr(why, "No such file"));
	assert_null(list_file_open(directory, LIST_CLIENTS, SLICE_NULL, 0, &arena, &why));
	assert_non_null(strstr(why, "not a regular file"));
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	assert_null(list_file_open(path_of("fifo"), LIST_CLIENTS, SLICE_NULL, 0, &arena, &why));	/* and does not block */
	assert_non_null(strstr(why, "not a regular file"));
}

static void the_same_file_is_opened_once(void **state)
{
	char *path = path_of("same");
	const char *why;

	file_write(path, "user+a@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	assert_ptr_equal(file_open(path, LIST_RECIPIENTS), f);
	assert_ptr_not_equal(file_open(path, LIST_SENDERS), f);

	struct list_file *other = list_file_open(path, LIST_RECIPIENTS, SLICE("-"), 0, &arena, &why);

	assert_ptr_not_equal(other, f);
	assert_true(has(f, "user@example.org") && !has(f, "user+a@example.org"));
	assert_true(has(other, "user+a@example.org") && !has(other, "user@example.org"));
}

static void a_change_is_taken_over(void **state)
{
	char *path = path_of("change");

	file_write(path, "ann@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	list_files_poll();
	file_write(path, "bob@example.org\n");
	assert_true(has(f, "ann@example.org"));
	list_files_poll();
	assert_true(has(f, "bob@example.org") && !has(f, "ann@example.org"));
	assert_int_equal(list_file_count(f), 1);
}

/* The same size and the same second, edited in place: the nanoseconds tell. */
static void a_change_in_place_is_seen(void **state)
{
	char *path = path_of("in-place");

	file_write(path, "ann@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);
	struct timespec t[2] = { ago(100), ago(100) };
	FILE *out = fopen(path, "r+");

	fputs("bob", out);
	fclose(out);
	utimensat(AT_FDCWD, path, t, 0);
	list_files_poll();
	assert_true(has(f, "bob@example.org"));
	out = fopen(path, "r+");
	fputs("cat", out);
	fclose(out);
	t[1].tv_nsec = t[1].tv_nsec > 500000000 ? t[1].tv_nsec - 1 : t[1].tv_nsec + 1;
	utimensat(AT_FDCWD, path, t, 0);
	list_files_poll();
	assert_true(has(f, "cat@example.org"));
}

static void a_broken_version_changes_nothing(void **state)
{
	char *path = path_of("breaks");

	file_write(path, "ann@example.org\nbob@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	file_write(path, "ann@example.org\nnonsense\n");
	list_files_poll();
	assert_true(has(f, "ann@example.org") && has(f, "bob@example.org"));
	assert_non_null(list_file_trouble(f));
	assert_non_null(strstr(list_file_trouble(f), "/breaks:2: "));
	list_files_poll();
	assert_non_null(list_file_trouble(f));
	assert_ptr_equal(file_open(path, LIST_RECIPIENTS), f);	/* a reload of the configuration does not fail for it */
	assert_true(has(f, "bob@example.org"));
	file_write(path, "cat@example.org\n");
	list_files_poll();
	assert_null(list_file_trouble(f));
	assert_true(has(f, "cat@example.org") && !has(f, "bob@example.org"));
}

static void a_file_that_vanishes_changes_nothing(void **state)
{
	char *path = path_of("vanishes");

	file_write(path, "192.0.2.1\n");

	struct list_file *f = file_open(path, LIST_CLIENTS);

	unlink(path);
	list_files_poll();
	assert_true(has_ip(f, "192.0.2.1"));
	assert_non_null(strstr(list_file_trouble(f), "No such file"));
	list_files_poll();
	assert_true(has_ip(f, "192.0.2.1"));
	file_write(path, "192.0.2.2\n");
	list_files_poll();
	assert_null(list_file_trouble(f));
	assert_true(has_ip(f, "192.0.2.2") && !has_ip(f, "192.0.2.1"));
}

/* It comes back as it was: no longer in trouble. */
static void a_file_that_comes_back_unchanged(void **state)
{
	char *path = path_of("back"), *aside = path_of("back.aside");

	file_write(path, "192.0.2.1\n");

	struct list_file *f = file_open(path, LIST_CLIENTS);

	assert_int_equal(rename(path, aside), 0);
	list_files_poll();
	assert_non_null(list_file_trouble(f));
	assert_int_equal(rename(aside, path), 0);
	list_files_poll();
	assert_null(list_file_trouble(f));
	assert_true(has_ip(f, "192.0.2.1"));
}

static void write_users(const char *path, int count)
{
	struct str text = STR_IN(&arena);

	for (int i = 0; i < count; i++)
		str_printf(&text, "user%d@example.org\n", i);
	file_bytes(path, text.n ? text.p : "", text.n);
}

static void a_list_that_shrinks_is_refused(void **state)
{
	char *path = path_of("shrinks");

	write_users(path, 100);

	struct list_file *f = file_open_guarded(path, LIST_RECIPIENTS, 20);

	write_users(path, 79);
	list_files_poll();
	assert_int_equal(list_file_count(f), 100);
	assert_true(has(f, "user99@example.org"));
	assert_non_null(strstr(list_file_trouble(f), "79"));
	write_users(path, 0);		/* a script that failed */
	list_files_poll();
	assert_int_equal(list_file_count(f), 100);
	write_users(path, 80);		/* as much as the guard lets go */
	list_files_poll();
	assert_int_equal(list_file_count(f), 80);
	assert_null(list_file_trouble(f));
	write_users(path, 200);
	list_files_poll();
	assert_int_equal(list_file_count(f), 200);
}

/* The postmaster means it: another guard, and a reload. */
static void a_lower_guard_lets_it_in(void **state)
{
	char *path = path_of("meant");

	write_users(path, 100);

	struct list_file *f = file_open_guarded(path, LIST_RECIPIENTS, 20);

	write_users(path, 10);
	list_files_poll();
	assert_int_equal(list_file_count(f), 100);
	file_open_guarded(path, LIST_RECIPIENTS, 0);
	assert_int_equal(list_file_count(f), 10);
	assert_null(list_file_trouble(f));
}

/* Somebody is still writing: not now, but soon. */
static void a_file_being_written_waits(void **state)
{
	char *path = path_of("writing");

	file_write(path, "ann@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	file_write(path, "bob@example.org\n");
	set_age(path, -0.0);
	list_files_poll();
	assert_true(has(f, "ann@example.org"));
	usleep(150 * 1000);
	list_files_poll();
	assert_true(has(f, "bob@example.org"));
}

static void a_file_that_never_rests_is_read(void **state)
{
	char *path = path_of("restless");

	file_write(path, "ann@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	file_write(path, "bob@example.org\n");
	for (int i = 0; i < 6; i++) {
		assert_true(has(f, "ann@example.org"));
		set_age(path, 0.0);
		list_files_poll();
	}
	assert_true(has(f, "bob@example.org"));
}

/* Read at the start while it was being written, same size and same stamp later: read again. */
static void a_fresh_file_is_read_again(void **state)
{
	char *path = path_of("fresh");
	FILE *out = fopen(path, "w");
	struct stat st;

	fputs("ann@example.org\n", out);
	fclose(out);

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	assert_true(has(f, "ann@example.org"));
	assert_int_equal(stat(path, &st), 0);
	out = fopen(path, "r+");
	fputs("bob", out);
	fclose(out);

	struct timespec same[2] = { st.st_atim, st.st_mtim };

	utimensat(AT_FDCWD, path, same, 0);
	usleep(150 * 1000);
	list_files_poll();
	assert_true(has(f, "bob@example.org"));
}

static void a_stamp_from_the_future_is_no_excuse(void **state)
{
	char *path = path_of("future");

	file_write(path, "ann@example.org\n");

	struct list_file *f = file_open(path, LIST_RECIPIENTS);

	file_write(path, "bob@example.org\n");
	set_age(path, -86400);
	list_files_poll();
	assert_true(has(f, "bob@example.org"));
}

/* ---- lists of the configuration ---- */

static void configured_clients(void **state)
{
	char *path = path_of("deny");
	struct ip_prefix prefix;
	struct client_list list = { 0 };
	const char *why, *where = NULL;
	struct ip ip;

	ip_parse(&ip, SLICE("192.0.2.1"));
	assert_false(client_list_contains(&list, &ip, &where));
	file_write(path, "198.51.100.0/24\n");
	list.prefixes = ip_set_new(&arena);
	assert_true(ip_prefix_parse(&prefix, SLICE("192.0.2.0/24"), &why));
	ip_set_add(list.prefixes, &prefix);
	ip_set_finish(list.prefixes);
	list.files = (struct list_file *[]){ file_open(path, LIST_CLIENTS) };
	list.file_count = 1;
	assert_true(client_list_contains(&list, &ip, &where));
	assert_string_equal(where, "configuration");
	ip_parse(&ip, SLICE("198.51.100.9"));
	assert_true(client_list_contains(&list, &ip, &where));
	assert_string_equal(where, path);
	ip_parse(&ip, SLICE("203.0.113.9"));
	assert_false(client_list_contains(&list, &ip, &where));
}

static void configured_addresses(void **state)
{
	char *path = path_of("senders");
	struct address_list list = { 0 };
	const char *where = NULL;

	assert_false(address_list_contains(&list, SLICE("a@example.org"), &where));
	file_write(path, "@spam.example\n");
	list.entries = SET("a@example.org");
	list.files = (struct list_file *[]){ file_open(path, LIST_SENDERS) };
	list.file_count = 1;
	assert_true(address_list_contains(&list, SLICE("a@example.org"), &where));
	assert_string_equal(where, "configuration");
	assert_true(address_list_contains(&list, SLICE("b@spam.example"), &where));
	assert_string_equal(where, path);
	assert_false(address_list_contains(&list, SLICE("b@example.org"), &where));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_empty_set_has_nothing), T(addresses_are_compared_folded), T(a_sub_address_is_its_user),
		T(whole_domains), T(sub_domains), T(local_parts_everywhere), T(prefixes),
		T(prefixes_are_not_confused_with_addresses), T(a_quoted_star_is_a_star), T(the_longest_prefix),
		T(proxy_addresses_of_a_directory), T(international_domains), T(nonsense_is_refused_with_a_reason),
		T(long_questions_are_harmless), T(a_hundred_thousand),
		T(a_file_of_addresses), T(a_file_of_clients), T(an_empty_file_is_a_list),
		T(a_hash_in_quotes_is_a_character), T(an_expected_file_may_come_later),
		T(a_byte_order_mark_is_skipped), T(mistakes_name_file_and_line), T(a_file_that_cannot_be_read),
		T(the_same_file_is_opened_once), T(a_change_is_taken_over), T(a_change_in_place_is_seen),
		T(a_broken_version_changes_nothing), T(a_file_that_vanishes_changes_nothing),
		T(a_file_that_comes_back_unchanged), T(a_list_that_shrinks_is_refused), T(a_lower_guard_lets_it_in),
		T(a_file_being_written_waits), T(a_file_that_never_rests_is_read), T(a_fresh_file_is_read_again),
		T(a_stamp_from_the_future_is_no_excuse), T(configured_clients), T(configured_addresses),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
