/*
 * Directory look-ups over the socketmap protocol (Postfix socketmap_table(5)): is
 * this key in that map?
 *
 * A map belongs to a worker and is shared by all who name the same address and map name; it lives as
 * long as the process. It keeps a few connections open, gives each question one of them for itself (servers
 * answer in order, and a slow answer must not stand before others), lets further questions
 * wait their turn, and asks nobody who has just been down: three failures in a row close it for 0.25 s, doubling to
 * 10 s, then one question tries. So a dead directory costs a question no time.
 *
 * What is not a well-formed OK or NOTFOUND is no answer.
 */
#ifndef SPURN_NET_SOCKETMAP_H
#define SPURN_NET_SOCKETMAP_H

#include "run/stream.h"
#include "wire/socketmap_text.h"

struct socketmap;

/* address: "unix:/path" or "inet:ADDRESS:PORT" ("inet:[V6]:PORT"); map: its name there, without blanks. The limits of
 * the last call hold: connections at one time, and the time of one question. NULL: *why; text is kept in a
 * registry of the process. */
struct socketmap *socketmap_open(struct slice address, struct slice map, uint32_t connections, nanoseconds timeout,
	const char **why);

/* true: the map answered; *found tells what, *said is the text behind OK (in `a`; may be empty). false: it did not, for
 * the reason *why (in `a`): no connection, no time left, a malformed or a second reply, TEMP, TIMEOUT, PERM. */
ASYNC bool socketmap_ask(struct socketmap *m, struct arena *a, struct slice key, bool *found, struct slice *said,
	const char **why, deadline d);

/* For status. */
struct socketmap_info {
	const char *address, *map;
	uint64_t asked, found, absent, trouble, opened;
	uint32_t idle, busy;
	bool up;			/* asked right now, it would not be refused at once */
	const char *last_error;		/* "" none so far */
	nanoseconds last_answer;	/* wall clock, 0: none yet */
	nanoseconds time_total;		/* of all answers together */
};
void socketmap_inspect(const struct socketmap *m, struct socketmap_info *out);
void socketmap_each(void (*fn)(const struct socketmap_info *info, void *arg), void *arg);

/* Closes every kept connection (tests, and the tool before it ends). */
void socketmap_close_all(void);

#endif
