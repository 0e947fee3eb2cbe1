/*
 * clamd: a stream of octets in, one line out (clamd(8), command INSTREAM).
 *
 * A scan is a connection: "zINSTREAM" and a NUL, chunks of a length of four octets (big-endian) and so many octets,
 * a length of zero, and then one answer that ends in NUL. The octets may be sent as they come, so that little is
 * left to do when the message ends.
 *
 * Only three answers are believed: "stream: OK", "stream: NAME FOUND", and "... ERROR", which is trouble. An answer
 * without its NUL is half an answer, and "OK" may be the beginning of something else: trouble, too.
 */
#ifndef SPURN_NET_CLAMD_H
#define SPURN_NET_CLAMD_H

#include "run/stream.h"

#define CLAMD_CHUNK_MOST (256u * 1024u)
#define CLAMD_ANSWER_MOST 1024u

struct clamd {
	struct stream stream;
	uint64_t sent;		/* octets of the message */
	bool answered;		/* the answer came before the end of the message */
};

struct clamd_answer {
	bool infected;
	const char *virus;	/* the signature's name, printable; NULL unless infected */
};

/* Connects and says that a stream follows. false: *why; nothing is open. */
ASYNC bool clamd_open(struct clamd *c, const struct endpoint *to, const char **why, deadline d);
/* Sends octets of the message. When clamd has said its word already (a limit of its own), nothing is sent any more and
 * clamd_finish() reads it. The bytes stay the caller's. */
ASYNC bool clamd_send(struct clamd *c, struct slice octets, const char **why, deadline d);
/* Ends the stream and reads the answer; its strings and *why live in `a`. Closes in any case. */
ASYNC bool clamd_finish(struct clamd *c, struct arena *a, struct clamd_answer *out, const char **why, deadline d);
/* Closes at once: what was sent is forgotten. Idempotent; a zeroed struct with stream.watch.fd -1 is closed. */
void clamd_close(struct clamd *c);

/* PING, and VERSION into `a`. */
ASYNC bool clamd_version(const struct endpoint *to, struct arena *a, const char **version, const char **why,
	deadline d);

/* The answer without its NUL. false: trouble, *why in `a`. */
bool clamd_answer_parse(struct clamd_answer *out, struct slice text, struct arena *a, const char **why);

#endif
