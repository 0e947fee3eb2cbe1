/*
 * Reading the journal: by key through the indexes, or all of it.
 *
 * An index is read from one end to the other: five entries a record, 80 MB for a
 * million, which a processor compares in some ten milliseconds; so it can be written by
 * appending, and a torn one is still good for what it holds. (A sorted or hashed index was
 * rejected: its writer would have to rewrite it, or hold it in memory.) An entry
 * is a hint: the record itself decides. What no index covers is scanned.
 *
 * What was faded (journal_fade.c) is found by what stands there instead: the key is
 * hashed or cut in the same way, as far as we may read the salt.
 */
#include "edge/journal_file.h"

#include "base/ip.h"
#include "base/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SCAN_CHUNK (1024u * 1024u)
#define RECORD_CHUNK (64u * 1024u)

struct slice journal_key_bare(struct slice key)
{
	if (key.n >= 2 && key.p[0] == '<' && key.p[key.n - 1] == '>')
		return slice_make(key.p + 1, key.n - 2);
	return key;
}

uint64_t journal_key_hash(struct slice key)
{
	static const uint8_t fixed[16] = "spurn journal 1";
	char folded[512];
	uint64_t hash;

	key = slice_head(journal_key_bare(key), sizeof(folded));
	for (size_t i = 0; i < key.n; i++)
		folded[i] = ascii_lower(key.p[i]);
	hash = siphash64(fixed, folded, key.n);
	return hash == JOURNAL_LOOK_INSIDE ? 1 : hash;
}

struct hit {
	nanoseconds time;
	size_t segment;
	uint64_t offset;
};

struct search {
	struct arena arena;
	struct slice key;		/* bare; an IP address as we write it */
	struct slice faded[2];		/* what stands in its place in faded records; empty: nothing */
	nanoseconds since;
	struct hit *hits;
	size_t hit_count, hit_cap;
	size_t segment;			/* being searched */
	uint64_t *candidates;
	size_t candidate_count, candidate_cap;
	bool no_memory;
};

/* ---- does a record have the key? ---- */

struct look {
	const struct search *search;
	bool faded, found;
};

static bool text_is(struct arena *a, struct slice raw, struct slice wanted)
{
	struct str plain = STR_IN(a);

	if (memchr(raw.p, '\\', raw.n)) {
		journal_unescape(&plain, raw);
		raw = str_slice(&plain);
	}
	return slice_eq_nocase(journal_key_bare(raw), wanted);
}

static bool look_at(void *arg, const char *path, struct slice raw)
{
	struct look *look = arg;
	const struct search *s = look->search;
	struct arena scratch = ARENA_INIT;

	if (raw.n == 0 || !journal_path_is_key(path))
		return true;
	look->found = text_is(&scratch, raw, s->key);
	for (size_t i = 0; i < 2 && look->faded && !look->found; i++)
		look->found = s->faded[i].n > 0 && text_is(&scratch, raw, s->faded[i]);
	arena_drop(&scratch);
	return !look->found;
}

static void examine(struct search *s, bool faded, struct slice record, uint64_t offset)
{
	struct look look = { s, faded, false };
	nanoseconds time = journal_record_time(record);

	if (time < s->since || !journal_each_text(record, look_at, &look) || !look.found)
		return;
	if (s->hit_count == s->hit_cap) {
		size_t cap = s->hit_cap ? s->hit_cap * 2 : 256;
		struct hit *more = realloc(s->hits, cap * sizeof(*more));

		s->no_memory = s->no_memory || !more;
		if (!more)
			return;
		s->hits = more;
		s->hit_cap = cap;
	}
	s->hits[s->hit_count++] = (struct hit){ time, s->segment, offset };
}

/* ---- one segment ---- */

static void add_candidate(struct search *s, uint64_t offset)
{
	if (s->candidate_count > 0 && s->candidates[s->candidate_count - 1] == offset)
		return;
	if (s->candidate_count == s->candidate_cap) {
		size_t cap = s->candidate_cap ? s->candidate_cap * 2 : 1024;
		uint64_t *more = realloc(s->candidates, cap * sizeof(*more));

		s->no_memory = s->no_memory || !more;
		if (!more)
			return;
		s->candidates = more;
		s->candidate_cap = cap;
	}
	s->candidates[s->candidate_count++] = offset;
}

/* Fills the candidates, in ascending order; returns the offset from which on the index knows nothing. */
static uint64_t read_index(struct search *s, const struct journal_segment *segment)
{
	uint64_t wanted[3], covered = 0;
	const struct journal_index_entry *entry = segment->index;

	wanted[0] = journal_key_hash(s->key);
	for (size_t i = 0; i < 2; i++)
		wanted[i + 1] = segment->faded && s->faded[i].n > 0 ? journal_key_hash(s->faded[i]) : wanted[0];
	s->candidate_count = 0;
	for (const struct journal_index_entry *end = entry + segment->index_count; entry < end; entry++) {
		if (entry->hash != wanted[0] && entry->hash != wanted[1] && entry->hash != wanted[2] &&
		    entry->hash != JOURNAL_LOOK_INSIDE)
			continue;
		if (entry->offset < segment->size)
			add_candidate(s, entry->offset);
	}
	for (size_t i = segment->index_count; i > 0 && covered == 0; i--)
		if (segment->index[i - 1].offset < segment->size)
			covered = segment->index[i - 1].offset;
	return covered;
}

/* Every line from an offset on. */
static void scan(struct search *s, struct journal_segment *segment, uint64_t offset)
{
	struct slice lines;

	while (journal_segment_lines(segment, offset, SCAN_CHUNK, &lines) && lines.n > 0) {
		offset += lines.n;
		while (lines.n > 0) {
			uint64_t at = offset - lines.n;
			struct slice record = slice_split(&lines, '\n');

			examine(s, segment->faded, record, at);
		}
	}
}

static void search_segment(struct search *s, struct journal_segment *segment)
{
	uint64_t covered = read_index(s, segment);
	bool complete = segment->packed && segment->index_count > 0;
	struct slice lines;

	for (size_t i = 0; i < s->candidate_count; i++) {
		uint64_t offset = s->candidates[i];

		if (!complete && offset >= covered)
			break;
		if (!journal_segment_lines(segment, offset, RECORD_CHUNK, &lines))
			continue;
		examine(s, segment->faded, slice_split(&lines, '\n'), offset);
	}
	/* The last record that the index knows may have lost some of its entries. */
	if (!complete)
		scan(s, segment, covered);
	journal_segment_rest(segment);
}

/* ---- all of them ---- */

/* Has a segment nothing that is younger? Then the next one of its slot had begun. */
static bool is_before(const char **stems, size_t count, size_t i, nanoseconds since)
{
	for (size_t next = i + 1; since > 0 && next < count; next++)
		if (journal_stem_slot_eq(stems[i], stems[next]))
			return journal_stem_begun(stems[next]) + NS_PER_SECOND < since;
	return false;
}

static int compare_hits(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void prepare(struct search *s, const char *directory, struct slice key)
{
	struct journal_salt salt;
	struct str faded = STR_IN(&s->arena), cut = STR_IN(&s->arena);
	char text[IP_TEXT];
	struct ip ip;

	key = journal_key_bare(slice_trim(key));
	if (ip_parse(&ip, key)) {
		key = slice_of(ip_text(&ip, text));
		journal_fade_ip(&cut, key);
	}
	s->key = slice_copy(&s->arena, key);
	s->faded[0] = str_slice(&cut);
	if (journal_salt_read(directory, false, &salt)) {
		journal_fade_address(&faded, &salt, s->key);
		s->faded[1] = str_slice(&faded);
	}
}

/* Shows the hits in order. A segment's text is dropped with its last hit: only those that overlap in time hold any. */
static long show(struct search *s, struct journal_segment *segments, bool (*fn)(void *arg, struct slice record), void *arg)
{
	long shown = 0;

	if (s->hit_count > 0)
		qsort(s->hits, s->hit_count, sizeof(*s->hits), compare_hits);
	for (size_t i = 0; i < s->hit_count; i++) {
		const struct hit *hit = &s->hits[i];
		struct journal_segment *segment = &segments[hit->segment];
		struct slice lines;

		if (!journal_segment_lines(segment, hit->offset, RECORD_CHUNK, &lines) || lines.n == 0)
			continue;
		shown++;
		if (!fn(arg, slice_split(&lines, '\n')))
			break;
	}
	return shown;
}

static const char *failure(const char *directory)
{
	static char text[JOURNAL_PATH + 128];

	snprintf(text, sizeof(text), "%s: %s", directory, strerror(errno));
	return text;
}

long journal_search(const char *directory, struct slice key, nanoseconds since,
	bool (*fn)(void *arg, struct slice record), void *arg, const char **why)
{
	struct search s = { .arena = ARENA_INIT, .since = since };
	struct journal_segment *segments = NULL;
	const char **stems = NULL;
	size_t count = 0;
	long shown = -1;

	if (!journal_stems(&s.arena, directory, &stems, &count)) {
		*why = failure(directory);
		goto out;
	}
	prepare(&s, directory, key);
	segments = arena_array(&s.arena, struct journal_segment, count + 1);
	for (size_t i = 0; i < count; i++) {
		size_t before = s.hit_count;

		segments[i].fd = -1;
		if (is_before(stems, count, i, since) || !journal_segment_open(&segments[i], directory, stems[i]))
			continue;
		s.segment = i;
		search_segment(&s, &segments[i]);
		if (s.hit_count == before)
			journal_segment_close(&segments[i]);
	}
	if (s.no_memory)
		*why = "no memory for so many records";
	else
		shown = show(&s, segments, fn, arg);
	for (size_t i = 0; i < count; i++)
		journal_segment_close(&segments[i]);
out:
	free(s.hits);
	free(s.candidates);
	arena_drop(&s.arena);
	return shown;
}

/* false: fn wants no more. */
static bool each_of(struct journal_segment *segment, nanoseconds since,
	bool (*fn)(void *arg, struct slice record), void *arg, long *shown)
{
	struct slice lines;

	for (uint64_t offset = 0; journal_segment_lines(segment, offset, SCAN_CHUNK, &lines) && lines.n > 0;) {
		offset += lines.n;
		while (lines.n > 0) {
			struct slice record = slice_split(&lines, '\n');

			if (journal_record_time(record) < since)
				continue;
			++*shown;
			if (!fn(arg, record))
				return false;
		}
	}
	return true;
}

long journal_each(const char *directory, nanoseconds since,
	bool (*fn)(void *arg, struct slice record), void *arg, const char **why)
{
	struct arena a = ARENA_INIT;
	const char **stems;
	size_t count;
	long shown = 0;
	bool on = true;

	if (!journal_stems(&a, directory, &stems, &count)) {
		*why = failure(directory);
		return -1;
	}
	for (size_t i = 0; i < count && on; i++) {
		struct journal_segment segment;

		if (is_before(stems, count, i, since) || !journal_segment_open(&segment, directory, stems[i]))
			continue;
		on = each_of(&segment, since, fn, arg, &shown);
		journal_segment_close(&segment);
	}
	arena_drop(&a);
	return shown;
}
