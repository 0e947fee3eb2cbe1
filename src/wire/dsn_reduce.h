/*
 * A delivery report without the body of what it returns: the message in its third part (RFC 6522 section 3) gives way to its
 * header section.
 *
 * The body of the report goes in as it arrives and comes out again, octet for octet, except for the parts that are a
 * message (message/rfc822, message/global): of each only the header section is left, as text/rfc822-headers (RFC 6522 section 4) or
 * message/global-headers (RFC 6533 section 6). What is kept is one header section; time is linear.
 *
 * Multiparts within it are looked into (a gateway that adds a footer wraps a report in multipart/mixed), unless they are encrypted.
 *
 * Where the structure is in doubt (no boundary, a part that is not closed, a returned message that begins with no
 * field, a multipart that is signed or encoded) nothing is guessed: dsn_reduce_finish() says why, and whoever asked throws the output away.
 *
 * Rejected: composing the report anew from what the recogniser has found, since its other parts would not stay as they
 * are; cutting the message at a size, which still returns the payload of small spam.
 */
#ifndef SPURN_WIRE_DSN_REDUCE_H
#define SPURN_WIRE_DSN_REDUCE_H

#include "wire/mime.h"

#define DSN_RETURNED_MAX (256u * 1024u)	/* octets of a returned header section */

struct dsn_reducer;

/* Begins with the header section of the report, which has to be multipart/report or multipart/mixed. out() gets the new body, in
 * pieces that live for the call. NULL: it is no such thing, *why (static). Everything lives in `a` until finish. */
struct dsn_reducer *dsn_reduce_begin(struct arena *a, const struct header *h,
	void (*out)(void *arg, struct slice piece), void *arg, const char **why);
/* The body as it comes, with h->body_lead before it. Nothing waits. */
void dsn_reduce_push(struct dsn_reducer *r, struct slice piece);
/* The body has ended. true: the output is a whole report, and *dropped octets of returned bodies are not in it (0: there was nothing
 * to take away). false: the output is of no use, *why (static). Gives back what it took; r is gone. */
bool dsn_reduce_finish(struct dsn_reducer *r, uint64_t *dropped, const char **why);

#endif
