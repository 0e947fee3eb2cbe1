/*
 * spamd: SpamAssassin's daemon (spamd/PROTOCOL of SpamAssassin, SPAMC/1.5).
 *
 * One question a connection: SYMBOLS, Content-length, User, an empty line, the message; then our side is closed (spamd
 * reads to the end). The answer: a status line, header lines, an empty line, and the names of the rules that were hit.
 *
 * A score is believed if the whole answer is there: the status is 0, "Spam:" has all its parts, and the body is as long as
 * Content-length says. All else is trouble.
 */
#ifndef SPURN_NET_SPAMD_H
#define SPURN_NET_SPAMD_H

#include "net/pieces.h"
#include "run/stream.h"

#define SPAMD_ANSWER_MOST (32u * 1024u)

struct spamd_question {
	struct slice user;		/* whose rules apply; empty: the daemon's own */
	uint64_t size;			/* octets that `message` gives */
	struct pieces *message;
};

struct spamd_answer {
	bool spam;
	int32_t score, threshold;	/* in thousandths */
	const char *symbols;		/* names, separated by commas; printable, cut */
};

ASYNC bool spamd_check(const struct endpoint *to, const struct spamd_question *q, struct arena *a,
	struct spamd_answer *out, const char **why, deadline d);
/* PING. */
ASYNC bool spamd_ping(const struct endpoint *to, const char **why, deadline d);

/* All that the daemon said. Strings live in `a`. */
bool spamd_answer_parse(struct spamd_answer *out, struct slice text, struct arena *a, const char **why);
/* A user name that can stand in the protocol; spamd takes letters, digits and -_.@+, and so do we. */
bool spamd_user_valid(struct slice user);

#endif
