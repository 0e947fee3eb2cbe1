/*
 * What the journal's files look like; shared by its writer, its readers and
 * the thread that ages them. A segment is, in the order of its life:
 *
 *   STEM.jsonl            being written (its writer holds an flock), or full
 *   STEM.jsonl.gz         packed: gzip of many members, each of whole lines; STEM.gzi says where they begin
 *   STEM.faded.jsonl.gz   packed, addresses hashed and IP addresses cut; STEM.faded.gzi
 *
 * each with an index, STEM.idx or STEM.faded.idx. Files appear by rename, the data last: what stands under its
 * name is whole, and the later form counts where a crash has left two.
 */
#ifndef SPURN_EDGE_JOURNAL_FILE_H
#define SPURN_EDGE_JOURNAL_FILE_H

#include "edge/journal.h"

/* STEM.idx: an array of these, in the order written, host byte order. Offsets are of the uncompressed file. A record
 * has one entry per key. Of a segment that is not packed, records behind the last offset of the index have to be
 * scanned; that of a packed one is complete. */
struct journal_index_entry {
	uint64_t hash;		/* JOURNAL_LOOK_INSIDE: the record has more keys than entries */
	uint64_t offset;
};
#define JOURNAL_LOOK_INSIDE 0

/* STEM.gzi: an array of these, one for each member and one for the end. */
struct journal_member {
	uint64_t text, packed;	/* offsets, uncompressed and in the file */
};
#define JOURNAL_MEMBER_SIZE (256u * 1024u)

/* Of a key, letters' case folded, without <> around it; the same in every process (it is no secret: the record itself
 * stands beside it). Never JOURNAL_LOOK_INSIDE. */
uint64_t journal_key_hash(struct slice key);
struct slice journal_key_bare(struct slice key);	/* without <> around it */

/* ---- names (journal_segment.c) ---- */

#define JOURNAL_PATH 640

/* The stems of all segments, oldest first. false: errno. */
bool journal_stems(struct arena *a, const char *directory, const char ***out, size_t *count);
/* When a segment was begun (wall clock), from its name; -1 if it has none such. */
nanoseconds journal_stem_begun(const char *stem);
/* Do two stems belong to the same worker slot? */
bool journal_stem_slot_eq(const char *a, const char *b);
/* "DIRECTORY/STEM" and an ending. */
void journal_file_path(char out[JOURNAL_PATH], const char *directory, const char *stem, const char *ending);

/* ---- one segment, for reading ---- */

struct journal_segment {
	int fd;
	bool packed, faded;
	uint64_t size;			/* of the text; of one being written: as of the opening */
	struct journal_member *members;	/* packed */
	size_t member_count;		/* without the end */
	char *text;			/* whole lines that have been read */
	uint64_t text_at;
	size_t text_n, text_cap;
	const struct journal_index_entry *index;	/* mapped; NULL: none */
	size_t index_count, index_bytes;
};

/* In whichever form it is. false: errno (ENOENT: it has been deleted meanwhile). */
bool journal_segment_open(struct journal_segment *s, const char *directory, const char *stem);
void journal_segment_close(struct journal_segment *s);
/* Whole lines from an offset at which one begins, about `want` octets, at least one line; empty: there are no more.
 * false: cannot be read, or is damaged. They are valid until the next call. */
bool journal_segment_lines(struct journal_segment *s, uint64_t offset, size_t want, struct slice *lines);
/* Forgets what has been read. */
void journal_segment_rest(struct journal_segment *s);

/* ---- the text of records (journal_text.c) ---- */

/* Calls fn for each string in a record, with its path ("client.ip", "rcpt[].address") and what stands between its
 * quotes, escapes and all, until fn returns false. false: the record is no JSON. */
bool journal_each_text(struct slice record, bool (*fn)(void *arg, const char *path, struct slice raw), void *arg);
void journal_unescape(struct str *out, struct slice raw);
/* Can records be found by what stands at this path? */
bool journal_path_is_key(const char *path);
/* When the record was written; -1 if it does not say. */
nanoseconds journal_record_time(struct slice record);

/* ---- fading (journal_fade.c) ---- */

struct journal_salt {
	uint8_t bytes[16];
};
/* The key under which addresses are hashed, in the journal's directory; made if `make`. */
bool journal_salt_read(const char *directory, bool make, struct journal_salt *out);
/* What stands for an address, mailbox or Message-ID in a faded record: "hash:" and 20 hexadecimal digits. */
void journal_fade_address(struct str *out, const struct journal_salt *salt, struct slice address);
/* The /24 or /48 of an IP address as text. false: it is none. */
bool journal_fade_ip(struct str *out, struct slice ip);
/* The whole record. false: it is no JSON. */
bool journal_fade(struct str *out, const struct journal_salt *salt, struct slice record);

/* ---- ageing (journal_age.c) ---- */

/* Ages old segments in a thread, if none is at it: packs what is full, or is left over, fades what was begun more
 * than conf->detail ago, deletes what was begun more than conf->keep ago. current: the path (without ending) of the
 * segment being written. One worker does it for all: whoever gets the lock file. */
void journal_age_start(const struct journal_conf *conf, const char *current, nanoseconds wall);
/* The same, here and now (tests, the tool). false: another process is at it, or *why. */
bool journal_age_run(const struct journal_conf *conf, const char *current, nanoseconds wall, const char **why);

/* ---- packing (journal_pack.c) ---- */

/* Writes STEM in its next form from an open segment, salt NULL: as it is; and removes the form before. false: errno; the
 * form before stays. */
bool journal_pack(struct journal_segment *from, const char *directory, const char *stem, const struct journal_salt *salt);
/* Removes what a crash has left of a segment's earlier forms, or all of it. */
void journal_remove(const char *directory, const char *stem, bool faded_too);

#endif
