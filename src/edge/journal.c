/*
 * Writing the journal. One file a worker, opened for appending; records are
 * collected in memory for no longer than the turn of the loop that made them
 * and written before the reply that they record. The index is collected, too,
 * and written once a second: it may be lost, the records may not.
 *
 * Ageing (compression, hashing of addresses, deletion) is done by a thread on
 * files that nobody writes any more (journal_age.c).
 *
 * Rejected: one file for all workers (its lock is on the way of every reply),
 * syslog (no structure, no index, drops under load), and a database (a torn
 * page loses more than a line).
 */
#include "edge/journal.h"
#include "edge/journal_file.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_UNWRITTEN (1024u * 1024u)
#define AGE_INTERVAL (60 * NS_PER_SECOND)
#define FIRST_AGE (5 * NS_PER_SECOND)	/* after the start, which has other work */
#define SEGMENTS_OF_DETAIL 14	/* a day each, with the defaults */

struct journal {
	struct journal_conf conf;
	char path[512];			/* of the current segment, without its ending */
	int fd, index_fd;
	uint64_t size;			/* of the current segment */
	char *lines, *index;		/* collected */
	size_t lines_used, lines_cap, index_used, index_cap;
	deadline next_age;
	nanoseconds begun;		/* wall clock: when the current segment was */
	struct journal_stats stats;
	bool failing;
};

/* Has the stem been used, and its segment packed meanwhile? To be asked after the file was made: packing
 * removes the plain form last. */
static bool stem_was_used(const char *stem)
{
	char path[600];

	snprintf(path, sizeof(path), "%s.jsonl.gz", stem);
	if (access(path, F_OK) == 0)
		return true;
	snprintf(path, sizeof(path), "%s.faded.jsonl.gz", stem);
	return access(path, F_OK) == 0;
}

static bool begin_segment(struct journal *j)
{
	time_t now = clock_wall_seconds();
	struct tm tm;
	char stamp[32], path[600];

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &tm);
	for (int n = 0; n < 1000; n++) {
		snprintf(j->path, sizeof(j->path), "%s/%s-%03d.%u", j->conf.directory, stamp, n, j->conf.slot);
		snprintf(path, sizeof(path), "%s.jsonl", j->path);
		j->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
		if (j->fd >= 0 ? !stem_was_used(j->path) : errno != EEXIST)
			break;
		if (j->fd >= 0) {
			unlink(path);
			close(j->fd);
			j->fd = -1;
		}
	}
	if (j->fd < 0)
		return false;
	/* As long as it is held nobody takes the segment for a dead worker's. It waits for no longer than somebody
	 * looks at the new file. */
	while (flock(j->fd, LOCK_EX) != 0 && errno == EINTR)
		;
	j->begun = clock_wall();
	snprintf(path, sizeof(path), "%s.idx", j->path);
	j->index_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0640);
	j->size = 0;
	return true;
}

struct journal *journal_open(struct arena *a, const struct journal_conf *conf, const char **why)
{
	struct journal *j = calloc(1, sizeof(*j));

	*why = "no memory";
	if (!j)
		return NULL;
	j->conf = *conf;
	j->fd = j->index_fd = -1;
	j->next_age = deadline_in(FIRST_AGE);
	if (begin_segment(j))
		return j;
	*why = arena_printf(a, "%s: %s", conf->directory, strerror(errno));
	free(j);
	return NULL;
}

void journal_configure(struct journal *j, const struct journal_conf *conf)
{
	j->conf = *conf;
}

static bool grow(char **buffer, size_t *cap, size_t wanted)
{
	size_t size = *cap ? *cap : 16384;
	char *more;

	while (size < wanted)
		size *= 2;
	if (size == *cap)
		return true;
	more = realloc(*buffer, size);
	if (!more)
		return false;
	*buffer = more;
	*cap = size;
	return true;
}

static void add_index(struct journal *j, const struct journal_keys *keys, uint64_t offset)
{
	size_t count = keys->count + keys->more;
	size_t wanted = j->index_used + count * sizeof(struct journal_index_entry);

	if (!grow(&j->index, &j->index_cap, wanted))
		return;		/* found by scanning */
	for (size_t i = 0; i < count; i++) {
		struct journal_index_entry entry = { JOURNAL_LOOK_INSIDE, offset };

		if (i < keys->count)
			entry.hash = journal_key_hash(keys->keys[i]);

		memcpy(j->index + j->index_used, &entry, sizeof(entry));
		j->index_used += sizeof(entry);
	}
}

void journal_append(struct journal *j, struct slice record, const struct journal_keys *keys)
{
	if (j->lines_used + record.n + 1 > KEEP_UNWRITTEN && j->lines_used > 0 && j->failing) {
		j->stats.failures++;
		return;
	}
	if (!grow(&j->lines, &j->lines_cap, j->lines_used + record.n + 1)) {
		j->stats.failures++;
		return;
	}
	add_index(j, keys, j->size + j->lines_used);
	memcpy(j->lines + j->lines_used, record.p, record.n);
	j->lines[j->lines_used + record.n] = '\n';
	j->lines_used += record.n + 1;
	j->stats.records++;
}

static void write_failed(struct journal *j, int error)
{
	j->stats.last_error = strerror(error);
	if (!j->failing)
		log_alert("journal: %s: records wait in memory", j->stats.last_error);
	j->failing = true;
}

void journal_flush(struct journal *j)
{
	size_t done = 0;

	while (done < j->lines_used) {
		ssize_t n = write(j->fd, j->lines + done, j->lines_used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			write_failed(j, n < 0 ? errno : ENOSPC);
			break;
		}
		done += (size_t)n;
	}
	if (done == 0)
		return;
	memmove(j->lines, j->lines + done, j->lines_used - done);
	j->lines_used -= done;
	j->size += done;
	j->stats.bytes += done;
	if (j->lines_used == 0 && j->failing) {
		log_info("journal: written again");
		j->failing = false;
	}
}

static void flush_index(struct journal *j)
{
	size_t done = 0;

	while (j->index_fd >= 0 && done < j->index_used) {
		ssize_t n = write(j->index_fd, j->index + done, j->index_used - done);

		if (n <= 0) {
			/* An index with a hole would lie: without one the segment is scanned. */
			if (ftruncate(j->index_fd, 0) != 0)
				j->stats.failures++;
			close(j->index_fd);
			j->index_fd = -1;
			break;
		}
		done += (size_t)n;
	}
	j->index_used = 0;
}

static void end_segment(struct journal *j)
{
	journal_flush(j);
	flush_index(j);
	if (j->fd >= 0)
		close(j->fd);
	if (j->index_fd >= 0)
		close(j->index_fd);
	j->fd = j->index_fd = -1;
}

/* Full, or so old that its first records would be past the horizon of detail long before its last. */
static bool segment_is_over(const struct journal *j)
{
	return j->size >= j->conf.segment || (j->size > 0 && clock_wall() - j->begun > j->conf.detail / SEGMENTS_OF_DETAIL);
}

/* The old segment is left only for a new one that is open: where none can be had (no descriptor, no inode) it goes on
 * being written, and the next tick tries again. */
static void rotate(struct journal *j)
{
	struct journal old = *j;

	if (!begin_segment(j)) {
		int error = errno;

		*j = old;
		log_limited(LOG_ALERT, "journal", "journal: no new segment: %s", strerror(error));
		return;
	}
	close(old.fd);
	if (old.index_fd >= 0)
		close(old.index_fd);
}

void journal_tick(struct journal *j)
{
	journal_flush(j);
	flush_index(j);
	if (segment_is_over(j) && !j->failing)
		rotate(j);
	if (!deadline_passed(j->next_age))
		return;
	j->next_age = deadline_in(AGE_INTERVAL);
	journal_age_start(&j->conf, j->path, clock_wall());
}

/* Of a worker that wrote nothing. */
static void remove_segment(const struct journal *j)
{
	char path[600];

	snprintf(path, sizeof(path), "%s.idx", j->path);
	unlink(path);
	snprintf(path, sizeof(path), "%s.jsonl", j->path);
	unlink(path);
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	end_segment(j);
	if (j->size == 0)
		remove_segment(j);
	free(j->lines);
	free(j->index);
	free(j);
}

void journal_stats(const struct journal *j, struct journal_stats *out)
{
	*out = j->stats;
}
