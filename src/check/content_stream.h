/*
 * clamd fed while the message arrives.
 *
 * A feeder is a fiber of its own that reads from the spool what has come and sends it on. It takes no memory that grows with
 * the message, and the client is never held up: what clamd is slow to take lies in the spool anyway. It begins only when
 * a message has become long enough for it to be worth a connection, and gives up where the client stalls: a
 * place at the scanner must not be held by a slow stranger. Then the message is scanned after the dot, like any other.
 */
#ifndef SPURN_CHECK_CONTENT_STREAM_H
#define SPURN_CHECK_CONTENT_STREAM_H

#include "check/scanner.h"

#define FEEDER_FROM (64u * 1024u)	/* octets of a message */

struct feeder;

/* NULL: no place, or no memory. lead, which is copied, is sent in the place of the first `skip` octets. */
struct feeder *feeder_start(struct scanner *s, const struct scanner_conf *conf, struct content_source source, struct slice lead,
	uint64_t skip);
/* More has come. */
void feeder_wake(struct feeder *f);

enum feeder_result {
	FEEDER_ANSWERED,	/* *out */
	FEEDER_FAILED,		/* *why: the scanner is in trouble */
	FEEDER_LEFT,		/* it has given up: scan from the beginning */
};
/* The message is complete: waits for the answer. Strings live in `a`. */
ASYNC enum feeder_result feeder_finish(struct feeder *f, struct arena *a, struct clamd_answer *out, const char **why,
	deadline d);
/* Lets go of it, at whatever point: the scan is aborted at once, the source is not touched any more. */
void feeder_drop(struct feeder *f);

#endif
