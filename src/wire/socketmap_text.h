/*
 * The text of the socketmap protocol (Postfix socketmap_table(5), Sendmail's
 * socket map): netstrings, a question "MAP KEY", a reply "STATUS TEXT".
 *
 *   netstring = length ":" octets ","        length: decimal, without leading zeros
 *
 * Pure: bytes in, slices out.
 */
#ifndef SPURN_WIRE_SOCKETMAP_TEXT_H
#define SPURN_WIRE_SOCKETMAP_TEXT_H

#include "base/str.h"

#define SOCKETMAP_REPLY_MAX 8192	/* octets we take from a server; an answer about a mailbox needs a hundred */
#define SOCKETMAP_QUESTION_MAX 2048	/* octets we take from a client: a map name and the longest address */

enum netstring_parse { NETSTRING_MORE, NETSTRING_DONE, NETSTRING_BAD };

/* The netstring at the start of `in`. DONE: *text lies inside `in`, *used octets were taken (what stands behind them
 * is the caller's to judge). BAD: *why; the stream is out of step for good. most: longest text taken. */
enum netstring_parse netstring_read(struct slice in, size_t most, struct slice *text, size_t *used, const char **why);

enum socketmap_status {
	SOCKETMAP_FOUND,	/* OK */
	SOCKETMAP_NOTFOUND,
	SOCKETMAP_TEMP,
	SOCKETMAP_TIMEOUT,
	SOCKETMAP_PERM,		/* "a permanent error": of the map, not a word about the key */
};
const char *socketmap_status_word(enum socketmap_status status);

/* A reply without its netstring. false: not one of the five words; *why. */
bool socketmap_reply_parse(struct slice text, enum socketmap_status *status, struct slice *said, const char **why);
/* A reply as a netstring. */
void socketmap_reply_write(struct str *out, enum socketmap_status status, struct slice said);

/* A question without its netstring: the name of a map, one blank, the key (which may hold blanks). false: *why. */
bool socketmap_question_parse(struct slice text, struct slice *map, struct slice *key, const char **why);
void socketmap_question_write(struct str *out, struct slice map, struct slice key);

#endif
