/* Names in ZIP archives, in pieces of every size. */
#include "unit.h"

#include "wire/zip.h"

#include <stdio.h>

static char seen[4096];
static unsigned count, locked_count;

static void on_name(void *arg, struct slice name, bool locked)
{
	(void)arg;
	count++;
	locked_count += locked;
	strncat(seen, locked ? "!" : "", sizeof(seen) - strlen(seen) - 1);
	snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%.*s", SLICE_ARG(name));
	strcat(seen, ";");
}

static void read_all(struct slice archive, size_t piece)
{
	struct zip z;

	seen[0] = '\0';
	count = locked_count = 0;
	zip_begin(&z, on_name, NULL);
	for (; archive.n > 0; archive = slice_from(archive, piece))
		zip_push(&z, slice_head(archive, piece));
}

#define LOCAL(flags, length, name) "PK\3\4\x14\0" flags "\0\0\0\0\0\0" "\0\0\0\0" "\5\0\0\0" "\5\0\0\0" length "\0\0\0" name
#define CENTRAL(flags, length, name) "PK\1\2\x14\3\x14\0" flags "\0\0\0\0\0\0" "\0\0\0\0" "\5\0\0\0" "\5\0\0\0" length "\0" \
	"\0\0\0\0\0\0\0\0" "\0\0\0\0" "\0\0\0\0" name
#define BYTES(literal) slice_make(literal, sizeof(literal) - 1)

static const struct slice archive = { LOCAL("\0\0", "\5", "a.exe") "PPPKx" LOCAL("\1\0", "\7", "b/c.scr") "xxxxx"
	CENTRAL("\0\0", "\5", "a.exe") CENTRAL("\1\0", "\7", "b/c.scr"), sizeof(LOCAL("\0\0", "\5", "a.exe") "PPPKx"
	LOCAL("\1\0", "\7", "b/c.scr") "xxxxx" CENTRAL("\0\0", "\5", "a.exe") CENTRAL("\1\0", "\7", "b/c.scr")) - 1 };

static void both_places_are_read(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < archive.n + 1; piece++) {
		read_all(archive, piece);
		assert_string_equal(seen, "a.exe;!b/c.scr;a.exe;!b/c.scr;");
	}
}

static void an_archive_that_is_cut_or_prefixed(void **state)
{
	(void)state;
	read_all(slice_head(archive, 38), 7);
	assert_string_equal(seen, "a.exe;");
	read_all(slice_from(archive, 20), 7);
	assert_string_equal(seen, "!b/c.scr;a.exe;!b/c.scr;");
}

static void what_only_looks_like_a_header(void **state)
{
	(void)state;
	read_all(BYTES("PK\3\4\xff\xff this is compressed data and no header at all, really"), 5);
	assert_int_equal(count, 0);
	read_all(BYTES("PK\1\4PK\3\2PPK\3PK PK\5\6 and so on and on and on and on and on and on"), 5);
	assert_int_equal(count, 0);
}

static void a_long_name_is_told_by_its_end(void **state)
{
	static char text[31 + 600];

	(void)state;
	memcpy(text, LOCAL("\0\0", "\x58\2", ""), 30);
	text[26] = 0x58;
	text[27] = 2;
	memset(text + 30, 'a', 600);
	memcpy(text + 30 + 596, ".exe", 4);
	read_all(slice_make(text, 30 + 600), 100);
	assert_int_equal(count, 1);
	assert_int_equal(strlen(seen), ZIP_NAME_MOST + 1);
	assert_non_null(strstr(seen, ".exe;"));
}

UNIT_MAIN(T(both_places_are_read), T(an_archive_that_is_cut_or_prefixed), T(what_only_looks_like_a_header),
	T(a_long_name_is_told_by_its_end))
