/*
 * The log (for operators), the ladder of assertions, and glitch counters.
 *
 * BUG_ON(x)      an invariant of ours is broken: say where, abort. The master
 *                starts another worker; the sender still holds its message.
 * COUNT_IF(x, G) a peer did something odd: count it under a name, go on.
 *
 * Library code below check/ does not log; it returns the reason. Whoever
 * handles an error logs it once. What comes from a peer is escaped first
 * (str_escaped).
 */
#ifndef SPURN_BASE_LOG_H
#define SPURN_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_ALERT };

/* program: prefix of each line, e.g. "spurnd[2]". Lines go to standard error in
 * the foreground ("TIME program: level: text", under systemd "<N>program: level: text")
 * or to syslog(3), facility mail. */
void log_open(const char *program, bool to_syslog, enum log_level least);
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_level_set(enum log_level least);
const char *log_level_name(enum log_level level);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
/* Something that the postmaster should be told at once (alarm). */
#define log_alert(...) log_write(LOG_ALERT, __VA_ARGS__)

/* At most one line per key per minute; the next one says how many were held back. */
void log_limited(enum log_level level, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

_Noreturn void bug_abort(const char *file, int line, const char *condition);
#define BUG_ON(condition) \
	do { \
		if (__builtin_expect(!!(condition), 0)) \
			bug_abort(__FILE__, __LINE__, #condition); \
	} while (0)

/* Glitches: what peers do wrong. X(identifier, "sentence for status"). */
#define GLITCHES(X) \
	X(BARE_LF, "bare LF in message data") \
	X(BARE_CR, "bare CR in message data") \
	X(EARLY_TALK, "client talked before the greeting") \
	X(PIPELINED_STARTTLS, "plaintext pipelined behind STARTTLS") \
	X(LONG_LINE, "command line too long") \
	X(NUL_IN_COMMAND, "control character in a command line") \
	X(PROXY_HEADER, "bad or missing PROXY header") \
	X(TLS_HANDSHAKE, "TLS handshake failed") \
	X(PEER_RESET, "connection reset by peer") \
	X(SLOW_PEER, "peer too slow") \
	X(BACKEND_REPLY, "malformed reply of a backend") \
	X(BACKEND_GONE, "backend closed in mid-dialogue") \
	X(BDAT_TINY, "tiny BDAT chunk")

enum glitch {
#define X(name, text) GLITCH_##name,
	GLITCHES(X)
#undef X
	GLITCH_COUNT
};

/* Points into memory shared by all workers once the worker has set it up. */
extern uint64_t *glitch_counters;
const char *glitch_text(enum glitch g);
static inline void glitch_count(enum glitch g)
{
	__atomic_fetch_add(&glitch_counters[g], 1, __ATOMIC_RELAXED);
}
#define COUNT_IF(condition, name) \
	do { \
		if (condition) \
			glitch_count(GLITCH_##name); \
	} while (0)

#endif
