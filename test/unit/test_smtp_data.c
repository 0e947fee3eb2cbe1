/*
 * smtp_data against the reference: nasty inputs, each whole, byte by byte, cut in two at each
 * position, in three at each pair of positions for short ones; and placed across the borders of the blocks
 * that the scanner works in.
 */
#include "unit.h"

#include "smtp_data_reference.h"

#include <stdio.h>

/* ---- cutting ---- */

struct cut {
	size_t at[3];
	unsigned next;
};

static size_t cut_next(void *arg)
{
	struct cut *c = arg;

	return c->next < 3 && c->at[c->next] > 0 ? c->at[c->next++] : SIZE_MAX / 2;
}

static size_t one_octet(void *arg)
{
	return 1;
}

static void compare(struct slice s, bool repair, bool chunks, bool last, size_t (*next)(void *), void *arg)
{
	struct arena a = ARENA_INIT;
	struct framed expected = reference_frame(&a, s, repair, chunks, last);
	struct framed got = machine_frame(&a, s, repair, chunks, last, next, arg);
	const char *what = framed_difference(&expected, &got);

	if (what || (got.end && !framed_is_safe(&got, repair))) {
		struct str shown = STR_IN(&a);
		str_escaped(&shown, s, 400);
		str_puts(&shown, "\n wire \"");
		str_escaped(&shown, str_slice(&got.wire), 400);
		str_puts(&shown, "\"\n expected \"");
		str_escaped(&shown, str_slice(&expected.wire), 400);
		print_error("%s differs (repair %d, chunks %d): %s\n", what ? what : "safety", repair, chunks,
			str_cstr(&shown));
		fail();
	}
	arena_drop(&a);
}

static void compare_all_ways(struct slice s)
{
	for (int way = 0; way < 6; way++) {
		bool repair = way & 1, chunks = way >= 2, last = way >= 4;
		compare(s, repair, chunks, last, NULL, NULL);
		compare(s, repair, chunks, last, one_octet, NULL);
		for (size_t i = 1; i < s.n; i++) {
			struct cut two = { { i }, 0 };
			compare(s, repair, chunks, last, cut_next, &two);
			for (size_t j = 1; s.n <= 24 && i + j < s.n; j++) {
				struct cut three = { { i, j }, 0 };
				compare(s, repair, chunks, last, cut_next, &three);
			}
		}
	}
}

static const struct slice nasty[] = {
	SLICE(".\r\n"),
	SLICE("\r\n.\r\n"),
	SLICE(".\r\nQUIT\r\n"),
	SLICE("a\r\n.\r\nMAIL FROM:<b@c>\r\n\200\0"),
	SLICE("..\r\n.\r\n"),
	SLICE("..\r\n..\r\n...\r\n.a\r\n.\r\n"),
	SLICE(".\r.\r\n.\r\n"),
	SLICE(".\n.\r\n\r\n.\r\n"),
	SLICE(".\r\r\n.\r\n"),
	SLICE("a\n.\r\nb\r\n.\r\n"),
	SLICE("a\n.\nb\r\n.\r\n"),
	SLICE("a\r.\rb\r\n.\r\n"),
	SLICE("a\r.\nb\r\n.\r\n"),
	SLICE("a\n.\rb\r\n.\r\n"),
	SLICE("a\r\n.\nb\r\n.\r\n"),
	SLICE("a\r\n.\rb\r\n.\r\n"),
	SLICE("a\r.\r\nb\r\n.\r\n"),
	SLICE("a\r\n\r.\r\nb\r\n.\r\n"),
	SLICE("a\r\n\r\r.\r\r\nb\r\n.\r\n"),
	SLICE("a\r\r\n.\r\r\nb\r\n.\r\n"),
	SLICE("a\r\n\0.\r\nb\r\n.\r\n"),
	SLICE("a\r\n.\0\r\nb\r\n.\r\n"),
	SLICE("\r\n.\r\n.\r\n"),
	SLICE("\r\r\r\n\n\n.\r\n\r\n.\r\n"),
	SLICE("\n\r\n.\r\n"),
	SLICE("\r\n\r\n\r\n..\r\n..a\r\n.\r\n"),
	SLICE("\303\244\r\n.\303\244\r\n.\r\n"),
	SLICE("no end"),
	SLICE("no end\r"),
	SLICE("no end\r\n"),
	SLICE("no end\r\n."),
	SLICE("no end\r\n.\r"),
	SLICE("."),
	SLICE(".\r"),
	SLICE("\r"),
	SLICE("\n"),
	SLICE("\r\n"),
	SLICE("\r\r"),
};

static void test_nasty_inputs_however_cut(void **state)
{
	for (size_t i = 0; i < sizeof(nasty) / sizeof(nasty[0]); i++)
		compare_all_ways(nasty[i]);
}

/* The same, with the scanner's blocks ending at each octet of them. */
static void test_nasty_inputs_across_blocks(void **state)
{
	char buffer[256];

	for (size_t i = 0; i < sizeof(nasty) / sizeof(nasty[0]); i++) {
		for (size_t lead = 30; lead < 130; lead++) {
			size_t n = lead;
			memset(buffer, 'x', lead);
			memcpy(buffer + n - 2, "\r\n", 2);
			memcpy(buffer + n, nasty[i].p, nasty[i].n);
			n += nasty[i].n;
			memset(buffer + n, 'y', 70);
			for (int repair = 0; repair < 2; repair++) {
				compare(slice_make(buffer, n), repair, false, false, NULL, NULL);
				compare(slice_make(buffer, n + 70), repair, false, false, NULL, NULL);
				compare(slice_make(buffer, n + 70), repair, true, true, NULL, NULL);
			}
		}
	}
}

/* All strings of seven of the octets that matter: 5^7 inputs. */
static void test_all_short_inputs(void **state)
{
	static const char octets[] = { '\r', '\n', '.', 'a', '\0' };
	char s[7];

	for (unsigned code = 0; code < 78125; code++) {
		unsigned rest = code;
		for (int i = 0; i < 7; i++, rest /= 5)
			s[i] = octets[rest % 5];
		for (int way = 0; way < 6; way++) {
			compare(slice_make(s, 7), way & 1, way >= 2, way >= 4, NULL, NULL);
			compare(slice_make(s, 7), way & 1, way >= 2, way >= 4, one_octet, NULL);
		}
	}
}

/* ---- known answers ---- */

static struct framed frame(struct arena *a, struct slice s, bool repair)
{
	return machine_frame(a, s, repair, false, false, NULL, NULL);
}

static void test_smuggling_is_stuffed(void **state)
{
	struct arena a = ARENA_INIT;
	struct framed f = frame(&a, SLICE("a\n.\r\nMAIL FROM:<x@y>\r\n.\r\n"), true);

	assert_slice(str_slice(&f.content), "a\r\n.\r\nMAIL FROM:<x@y>\r\n");
	assert_slice(str_slice(&f.wire), "a\r\n..\r\nMAIL FROM:<x@y>\r\n");
	assert_true(f.bare_lf && !f.bare_cr);

	f = frame(&a, SLICE("a\r\n.\r\r\nb\r\n.\r\n"), true);
	assert_slice(str_slice(&f.wire), "a\r\n\r\nb\r\n");
	assert_true(f.bare_cr && !f.bare_lf);
	arena_drop(&a);
}

static void test_empty_message(void **state)
{
	struct arena a = ARENA_INIT;
	struct framed f = frame(&a, SLICE(".\r\nQUIT\r\n"), false);

	assert_true(f.end);
	assert_int_equal(f.used, 3);
	assert_int_equal(f.size, 0);
	assert_int_equal(f.wire.n, 0);
	arena_drop(&a);
}

static void test_what_follows_the_end_is_not_looked_at(void **state)
{
	struct arena a = ARENA_INIT;
	struct framed f = frame(&a, SLICE("a\r\n.\r\n\n\r\200\0MAIL"), false);

	assert_int_equal(f.used, 6);
	assert_false(f.bare_lf || f.bare_cr || f.nul || f.eight_bit);
	arena_drop(&a);
}

static void test_pushing_behind_the_end_takes_nothing(void **state)
{
	struct arena a = ARENA_INIT;
	struct framed f = { .wire = STR_IN(&a), .content = STR_IN(&a) };
	struct smtp_data d;
	size_t used;

	smtp_data_init(&d, framed_wire, framed_content, &f);
	assert_true(smtp_data_push(&d, SLICE(".\r\n"), &used));
	assert_true(smtp_data_push(&d, SLICE("x\r\n"), &used));
	assert_int_equal(used, 0);
	assert_int_equal(f.wire.n, 0);
	arena_drop(&a);
}

static void test_content_view_may_be_missing(void **state)
{
	struct arena a = ARENA_INIT;
	struct framed f = { .wire = STR_IN(&a) };
	struct smtp_data d;
	size_t used;

	smtp_data_init(&d, framed_wire, NULL, &f);
	assert_true(smtp_data_push(&d, SLICE("..a\r\n.\r\n"), &used));
	assert_slice(str_slice(&f.wire), "..a\r\n");
	assert_int_equal(d.content_size, 4);
	arena_drop(&a);
}

static void test_chunks_end_with_crlf(void **state)
{
	struct arena a = ARENA_INIT;
	struct framed f = machine_frame(&a, SLICE(".a\r\n..b"), false, true, true, NULL, NULL);

	assert_slice(str_slice(&f.content), ".a\r\n..b");
	assert_slice(str_slice(&f.wire), "..a\r\n...b\r\n");
	assert_int_equal(f.size, 7);

	f = machine_frame(&a, SLICE("a\r"), false, true, true, NULL, NULL);
	assert_true(f.bare_cr);
	assert_slice(str_slice(&f.wire), "a\r\r\n");

	f = machine_frame(&a, SLICE(""), false, true, true, NULL, NULL);
	assert_int_equal(f.wire.n, 0);
	arena_drop(&a);
}

static struct {
	size_t pieces;
} counted;

static void count_piece(void *arg, struct slice piece)
{
	counted.pieces++;
}

/* Zero-copy: a message without dots at line starts leaves as one piece in each view. */
static void test_pieces_are_large(void **state)
{
	size_t n = 0, used, size = 100000;
	char *s = malloc(size + 8);
	struct smtp_data d;

	while (n + 80 < size) {
		memset(s + n, 'a', 78);
		memcpy(s + n + 78, "\r\n", 2);
		n += 80;
	}
	memcpy(s + n, ".\r\n", 3);
	smtp_data_init(&d, count_piece, count_piece, NULL);
	counted.pieces = 0;
	assert_true(smtp_data_push(&d, slice_make(s, n + 3), &used));
	assert_int_equal(counted.pieces, 2);
	assert_int_equal(d.content_size, n);
	free(s);
}

/* ---- the corpus of smuggling sequences ---- */

static size_t from_hex(const char *hex, char *out)
{
	size_t n = 0;
	unsigned octet;

	for (; sscanf(hex, "%2x", &octet) == 1; hex += 2)
		out[n++] = (char)octet;
	return n;
}

/* "text SEQUENCE MAIL..." must not end at the sequence, and when the true end comes nothing of it ends a
 * lenient backend's data either. */
static void check_sequence(const char *name, const char *sequence, size_t n, bool must_end)
{
	char s[128];
	size_t length = 0;

	memcpy(s, "text", 4);
	length += 4;
	memcpy(s + length, sequence, n);
	length += n;
	memcpy(s + length, "MAIL FROM:<a@b>\r\n.\r\n", 20);
	for (int repair = 0; repair < 2; repair++) {
		struct arena a = ARENA_INIT;
		struct framed f = frame(&a, slice_make(s, length + 20), repair);
		if (!f.end || (f.used == length) != must_end || !framed_is_safe(&f, repair) ||
		    (!must_end && memchr(sequence, '\0', n) == NULL && !f.bare_cr && !f.bare_lf)) {
			print_error("sequence %s\n", name);
			fail();
		}
		arena_drop(&a);
	}
	compare_all_ways(slice_make(s, length + 20));
}

static void test_corpus_of_sequences(void **state)
{
	const char *shared = getenv("SPURN_SHARED");
	char path[512], line[512], name[64], hex[64], escaped[64], must[8], sequence[32];
	int rows = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/corpus/smtp/end-of-data.tsv", shared ? shared : "../shared");
	f = fopen(path, "r");
	if (!f) {
		print_message("no %s: skipped\n", path);
		skip();
	}
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "name\t", 5) == 0)
			continue;
		assert_int_equal(sscanf(line, "%63s %63[0-9a-f] %63s %7[a-z]", name, hex, escaped, must), 4);
		check_sequence(name, sequence, from_hex(hex, sequence), strcmp(must, "yes") == 0);
		rows++;
	}
	fclose(f);
	assert_true(rows >= 13);
}

UNIT_MAIN(T(test_nasty_inputs_however_cut), T(test_nasty_inputs_across_blocks), T(test_all_short_inputs),
	T(test_smuggling_is_stuffed), T(test_empty_message), T(test_what_follows_the_end_is_not_looked_at),
	T(test_pushing_behind_the_end_takes_nothing), T(test_content_view_may_be_missing),
	T(test_chunks_end_with_crlf), T(test_pieces_are_large), T(test_corpus_of_sequences))
