/*
 * One line, one write(2): the processes of spurnd share standard error, and their
 * lines must not mix. Control characters become '?' here as a last line of
 * defence; escaping what a peer sent remains the caller's work.
 *
 * The time in a line is read for that line (unless the clock is a fake): the
 * master and the tool have no loop that turns.
 *
 * log_limited() keeps a small fixed table of keys. A key that finds no room
 * displaces the one that has been silent longest: at worst a line too many, and never
 * memory that grows with what peers do.
 *
 * Under systemd standard error is a stream of the journal, which keeps the time and
 * the level itself: lines begin with "<N>" then (sd-daemon(3)), and bear no time.
 *
 * Rejected: a log thread (it would lose the last lines before a crash, which are the ones
 * that matter); buffering (the same).
 */
#include <syslog.h>

/* syslog.h calls its levels by the names of ours. */
enum {
	SYSLOG_ALERT = LOG_ALERT,
	SYSLOG_ERROR = LOG_ERR,
	SYSLOG_WARNING = LOG_WARNING,
	SYSLOG_INFO = LOG_INFO,
	SYSLOG_DEBUG = LOG_DEBUG
};
#undef LOG_ALERT
#undef LOG_WARNING
#undef LOG_INFO
#undef LOG_DEBUG

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/table.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE 2048
#define QUIET (60 * NS_PER_SECOND)
#define KEYS 256	/* a power of two */
#define PROBES 8

static struct {
	char program[64];
	bool to_syslog, to_journal;
	enum log_level least;
} target = { .program = "spurn", .least = LOG_INFO };

static struct held_back {
	uint64_t hash;		/* 0: free */
	nanoseconds spoken;
	uint64_t count;		/* held back since */
} held_back[KEYS];

static uint64_t own_counters[GLITCH_COUNT];
uint64_t *glitch_counters = own_counters;

static const char *const glitch_texts[GLITCH_COUNT] = {
#define X(name, text) [GLITCH_##name] = text,
	GLITCHES(X)
#undef X
};

static const struct {
	const char *name;
	int syslog;
} levels[] = {
	[LOG_DEBUG] = { "debug", SYSLOG_DEBUG },
	[LOG_INFO] = { "info", SYSLOG_INFO },
	[LOG_WARNING] = { "warning", SYSLOG_WARNING },
	[LOG_ERROR] = { "error", SYSLOG_ERROR },
	[LOG_ALERT] = { "alert", SYSLOG_ALERT },
};

const char *glitch_text(enum glitch g)
{
	BUG_ON((unsigned)g >= GLITCH_COUNT);
	return glitch_texts[g];
}

const char *log_level_name(enum log_level level)
{
	BUG_ON((unsigned)level > LOG_ALERT);
	return levels[level].name;
}

void log_level_set(enum log_level least)
{
	target.least = least;
}

/* systemd.exec(5): the device and inode number of the stream that standard output or standard error was connected to. */
static bool stderr_is_journal(void)
{
	const char *given = getenv("JOURNAL_STREAM");
	struct slice rest = given ? slice_of(given) : SLICE_NULL;
	struct slice device = slice_split(&rest, ':');
	uint64_t st_dev, st_ino;
	struct stat st;

	return slice_number(device, UINT64_MAX, &st_dev) && slice_number(rest, UINT64_MAX, &st_ino) &&
		fstat(STDERR_FILENO, &st) == 0 && st.st_dev == st_dev && st.st_ino == st_ino;
}

void log_open(const char *program, bool to_syslog, enum log_level least)
{
	snprintf(target.program, sizeof(target.program), "%s", program);
	target.to_syslog = to_syslog;
	target.to_journal = !to_syslog && stderr_is_journal();
	target.least = least;
	closelog();
	/* Connected now: a worker in its sandbox could not. syslog keeps the pointer. */
	if (to_syslog)
		openlog(target.program, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

static void write_line(enum log_level level, const char *text)
{
	char line[LINE_SIZE + 128], when[25];
	struct timespec t;
	int n;

	if (target.to_syslog) {
		syslog(levels[level].syslog, "%s: %s", levels[level].name, text);
		return;
	}
	if (target.to_journal) {
		n = snprintf(line, sizeof(line), "<%d>%s: %s: %s\n", levels[level].syslog, target.program,
			levels[level].name, text);
	} else {
		clock_gettime(CLOCK_REALTIME, &t);
		clock_rfc3339(clock_is_fake() ? clock_wall() : t.tv_sec * NS_PER_SECOND + t.tv_nsec, when);
		n = snprintf(line, sizeof(line), "%s %s: %s: %s\n", when, target.program, levels[level].name, text);
	}
	if (n >= (int)sizeof(line))
		n = (int)sizeof(line) - 1;
	/* Nobody to tell if standard error is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

static void log_vwrite(enum log_level level, uint64_t held, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

static void log_vwrite(enum log_level level, uint64_t held, const char *format, va_list args)
{
	char text[LINE_SIZE];
	int saved = errno;	/* "%m", and callers that log before they look */
	size_t n;

	vsnprintf(text, sizeof(text), format, args);
	n = strlen(text);
	if (held && n < sizeof(text) - 1)
		snprintf(text + n, sizeof(text) - n, " (%llu like this held back)",
			(unsigned long long)held);
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	write_line(level, text);
	errno = saved;
}

void log_write(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level < target.least)
		return;
	va_start(args, format);
	log_vwrite(level, 0, format, args);
	va_end(args);
}

/* The slot of a key; a new key takes a free one or the longest silent. */
static struct held_back *held_slot(uint64_t hash)
{
	struct held_back *oldest = &held_back[hash % KEYS];

	for (unsigned i = 0; i < PROBES; i++) {
		struct held_back *slot = &held_back[(hash + i) % KEYS];
		if (slot->hash == hash)
			return slot;
		if (oldest->hash && (!slot->hash || slot->spoken < oldest->spoken))
			oldest = slot;
	}
	*oldest = (struct held_back){ .hash = hash, .spoken = INT64_MIN };
	return oldest;
}

void log_limited(enum log_level level, const char *key, const char *format, ...)
{
	struct held_back *slot;
	nanoseconds now = clock_now();
	va_list args;

	if (level < target.least)
		return;
	slot = held_slot(hash_bytes(key, strlen(key)) | 1);
	if (slot->spoken != INT64_MIN && now - slot->spoken < QUIET) {
		slot->count++;
		return;
	}
	va_start(args, format);
	log_vwrite(level, slot->count, format, args);
	va_end(args);
	slot->spoken = now;
	slot->count = 0;
}

_Noreturn void bug_abort(const char *file, int line, const char *condition)
{
	log_write(LOG_ALERT, "bug: %s:%d: %s", file, line, condition);
	abort();
}
