/*
 * What the journal's files look like; shared by its writer, its readers and
 * the thread that ages them.
 */
#ifndef SPURN_EDGE_JOURNAL_FILE_H
#define SPURN_EDGE_JOURNAL_FILE_H

#include "edge/journal.h"

/* SEGMENT.idx: an array of these, in the order written, host byte order. Offsets are of the uncompressed file. A record
 * has one entry per key; records behind the last offset of the index have to be scanned. */
struct journal_index_entry {
	uint64_t hash;
	uint64_t offset;
};

/* Of a key, letters' case folded; the same in every process (it is no secret: the record itself stands beside it). */
uint64_t journal_key_hash(struct slice key);

/* Ages old segments in a thread, if none is at it: compresses what is full, hashes addresses in what is older than
 * conf->detail, deletes what is older than conf->keep. current: the path (without ending) of the segment being written.
 * One worker does it for all: whoever gets the lock file. */
void journal_age_start(const struct journal_conf *conf, const char *current, nanoseconds wall);

#endif
