/* Words, blocks and places; every mistake is shown where it is, and reading goes on. */
#include "unit.h"

#include "policy/syntax.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct arena arena;
static struct str said;
static struct report report;

static void say(void *arg, const char *message)
{
	(void)arg;
	str_puts(&said, message);
	str_puts(&said, "\n");
}

static struct statement *read_text(const char *text)
{
	said = STR_IN(&arena);
	report = (struct report){ .arena = &arena, .say = say };
	return syntax_read_text(&report, "conf", slice_of(text));
}

static void assert_said(const char *part)
{
	if (slice_search(str_slice(&said), slice_of(part)) < 0)
		fail_msg("wanted: %s\nsaid: %.*s", part, SLICE_ARG(str_slice(&said)));
}

static void words_and_blocks(void **state)
{
	struct statement *st = read_text("# comment\nhostname  mx;\nlistener inbound { address a b; }\nmode \"ob serve\" ;");

	assert_int_equal(report.errors, 0);
	assert_int_equal(st->count, 2);
	assert_slice(st->words[1].text, "mx");
	assert_int_equal(st->words[1].line, 2);
	assert_int_equal(st->words[1].column, 11);
	st = st->next;
	assert_true(st->is_block);
	assert_slice(st->children->words[2].text, "b");
	st = st->next;
	assert_slice(st->words[1].text, "ob serve");
	assert_null(st->next);
}

static void a_block_may_end_with_a_semicolon(void **state)
{
	struct statement *st = read_text("a { b c; };\nd e;;");

	assert_int_equal(report.errors, 0);
	assert_slice(st->next->words[0].text, "d");
	assert_null(st->next->next);
}

static void quotes_take_backslashes(void **state)
{
	struct statement *st = read_text("a \"x\\\"y\\\\z;{}#\";");

	assert_int_equal(report.errors, 0);
	assert_slice(st->words[1].text, "x\"y\\z;{}#");
}

static void mistakes_have_a_place_and_a_caret(void **state)
{
	read_text("a b;\n\tc d\n");
	assert_int_equal(report.errors, 1);
	assert_string_equal(str_cstr(&said), "conf:2:4: error: ';' missing after 'd'\n    \tc d\n    \t  ^\n");
}

/* The part of a long line around the word; what is no ASCII counts as the characters that it shows. */
static void the_caret_stands_below_its_word(void **state)
{
	struct str text = STR_IN(&arena);

	str_puts(&text, "a \"\xc3\xa4\xc3\xb6\" \"unclosed");
	read_text(str_cstr(&text));
	assert_said("conf:1:10: error: quoted string does not end on its line\n    a \"\xc3\xa4\xc3\xb6\" \"unclosed\n           ^");
	assert_int_equal(report.errors, 1);
	text = STR_IN(&arena);
	for (int i = 0; i < 100; i++)
		str_puts(&text, "a b; ");
	str_puts(&text, "} rest;");
	read_text(str_cstr(&text));
	assert_said("a b; } rest;\n");
	assert_int_equal(slice_rfind(str_slice(&said), '^') - slice_rfind(slice_head(str_slice(&said),
		(size_t)slice_rfind(str_slice(&said), '^')), '\n') - 5, 100);
	read_text("a \x1b[2J");
	assert_said("a ?[2J");
	read_text("a \xc2\x9b" "2J");
	assert_said("a \xc2?2J");
}

static void a_byte_order_mark_is_passed_over(void **state)
{
	struct statement *st = read_text("\xef\xbb\xbfhostname mx;");

	assert_int_equal(report.errors, 0);
	assert_slice(st->words[0].text, "hostname");
}

static void a_file_that_is_too_large(void **state)
{
	char path[] = "/tmp/spurn-syntax-XXXXXX";
	int fd = mkstemp(path);

	assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
	close(fd);
	said = STR_IN(&arena);
	report = (struct report){ .arena = &arena, .say = say };
	assert_null(syntax_read_file(&report, path));
	unlink(path);
	assert_said("File too large");
}

static void reading_goes_on_behind_a_mistake(void **state)
{
	struct statement *st = read_text("}\na \"open\nb c;\n{ d; }\ne { f;");

	assert_said("conf:1:1: error: '}' closes no block");
	assert_said("conf:2:3: error: quoted string does not end on its line");
	assert_said("error: block without a name");
	assert_said("conf:5:1: error: block is not closed with '}'");
	assert_true(report.errors >= 4);
	assert_non_null(st);
}

static void depth_is_bounded(void **state)
{
	read_text("a{a{a{a{a{a{a{a{a{a{a{a{ b; }}}}}}}}}}}}");
	assert_said("blocks nested too deep");
}

static void a_nul_is_a_mistake(void **state)
{
	said = STR_IN(&arena);
	report = (struct report){ .arena = &arena, .say = say };
	assert_null(syntax_read_text(&report, "conf", SLICE("a b;\nc \0d;\n")));
	assert_said("conf:2:3: error: NUL octet");
}

static void nothing_is_nothing(void **state)
{
	assert_null(read_text(""));
	assert_null(read_text("  # only a comment"));
	assert_null(read_text(";;;"));
	assert_int_equal(report.errors, 0);
}

/* However many values a directive has, and however many statements are empty. */
static void nothing_is_left_out(void **state)
{
	struct str text = STR_IN(&arena);
	struct statement *st;

	for (int i = 0; i < 100000; i++)
		str_puts(&text, ";");
	str_puts(&text, "deny");
	for (int i = 0; i < 1000; i++)
		str_printf(&text, " %d", i);
	str_puts(&text, ";");
	st = read_text(str_cstr(&text));
	assert_int_equal(report.errors, 0);
	assert_int_equal(st->count, 1001);
	assert_slice(st->words[0].text, "deny");
	assert_slice(st->words[7].text, "6");
	assert_slice(st->words[8].text, "7");
	assert_slice(st->words[1000].text, "999");
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void includes_are_read_in_place(void **state)
{
	char directory[] = "/tmp/spurn-syntax-XXXXXX";
	struct statement *st;

	assert_non_null(mkdtemp(directory));
	const char *main_file = arena_printf(&arena, "%s/main", directory);
	const char *one = arena_printf(&arena, "%s/1.conf", directory), *two = arena_printf(&arena, "%s/2.conf", directory);

	write_file(main_file, "first;\ninclude \"*.conf\";\ninclude absent;\nlast;\n");
	write_file(one, "one;\n");
	write_file(two, "two;\n");
	said = STR_IN(&arena);
	report = (struct report){ .arena = &arena, .say = say };
	st = syntax_read_file(&report, main_file);
	assert_slice(st->words[0].text, "first");
	assert_slice(st->next->words[0].text, "one");
	assert_said(arena_printf(&arena, "%s:3:9: error: %s/absent: No such file", main_file, directory));
	write_file(two, "include main;\n");
	syntax_read_file(&report, main_file);
	assert_said("includes nested too deep");
	syntax_read_file(&report, directory);
	assert_said("Is a directory");
	unlink(one);
	unlink(two);
	unlink(main_file);
	rmdir(directory);
}

UNIT_MAIN(T(words_and_blocks), T(nothing_is_left_out), T(a_block_may_end_with_a_semicolon), T(quotes_take_backslashes),
	T(mistakes_have_a_place_and_a_caret), T(the_caret_stands_below_its_word), T(a_byte_order_mark_is_passed_over),
	T(a_file_that_is_too_large), T(reading_goes_on_behind_a_mistake), T(depth_is_bounded),
	T(a_nul_is_a_mistake), T(nothing_is_nothing), T(includes_are_read_in_place))
