/*
 * The journal: one JSON object a line, one line a transaction (spurn-journal(5)),
 * in segments per worker, with an index beside each.
 *
 *   STATE-DIR/journal/YYYYMMDDTHHMMSS.SLOT.jsonl    records, appended
 *   STATE-DIR/journal/YYYYMMDDTHHMMSS.SLOT.idx      (hash of a key, offset) pairs, appended
 *
 * A record is with the kernel before its reply is: journal_flush() is called by whoever is about to send.
 * The index may lag behind (a crash loses its tail): a reader scans the part of a segment that its
 * index does not cover. Old segments are compressed, hashed and deleted in the background (journal_file.h).
 */
#ifndef SPURN_EDGE_JOURNAL_H
#define SPURN_EDGE_JOURNAL_H

#include "base/clock.h"
#include "base/str.h"

struct journal;

struct journal_conf {
	const char *directory;
	unsigned slot;
	uint64_t segment;		/* octets before the next segment is begun */
	nanoseconds keep;		/* segments older than this are deleted */
	nanoseconds detail;		/* records older than this are rewritten with hashed addresses */
};

/* NULL and *why if the directory cannot be written. */
struct journal *journal_open(struct arena *a, const struct journal_conf *conf, const char **why);
void journal_configure(struct journal *j, const struct journal_conf *conf);
void journal_close(struct journal *j);

/* What a record can be found by. Addresses and Message-IDs are compared without regard to case. */
#define JOURNAL_KEYS 24
struct journal_keys {
	struct slice keys[JOURNAL_KEYS];	/* reference, client address, sender, recipients, Message-ID */
	size_t count;
	bool more;			/* it has more than these: a reader looks into the record itself */
};
/* Adds one record (a JSON object without its newline). Never fails towards the caller: a disk that does
 * not take it is counted, alarmed and tried again with the next one, at most 1 MiB being kept. */
void journal_append(struct journal *j, struct slice record, const struct journal_keys *keys);
/* Hands what was appended to the kernel. Cheap when there is nothing. */
void journal_flush(struct journal *j);
/* Once a second: writes the index out, rotates, starts compression and expiry in a thread. */
void journal_tick(struct journal *j);

struct journal_stats {
	uint64_t records, bytes, failures;
	const char *last_error;
};
void journal_stats(const struct journal *j, struct journal_stats *out);

/* ---- reading (the tool) ---- */

/* Calls fn for each record that has the key (reference, address, IP address, Message-ID), oldest first; since:
 * wall clock, 0 for all. fn returns false to stop. Returns the number found, -1 and *why on failure. */
long journal_search(const char *directory, struct slice key, nanoseconds since,
	bool (*fn)(void *arg, struct slice record), void *arg, const char **why);
/* Every record, oldest first per segment. */
long journal_each(const char *directory, nanoseconds since,
	bool (*fn)(void *arg, struct slice record), void *arg, const char **why);

#endif
