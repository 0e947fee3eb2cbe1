/*
 * Framing of message data (RFC 5321 sections 4.1.1.4, 4.5.2): a push machine
 * that finds the end of DATA, and only the true one.
 *
 * Only CRLF . CRLF ends data. A bare CR or a bare LF never does: it is noted,
 * we read on to the true end and then refuse (or, for a peer known to be
 * broken, repair to CRLF). So no byte sequence that another server would take for an
 * end of data is ever passed on inside a message, and nothing behind it is
 * taken for a command (SMTP smuggling).
 *
 * The machine is fed whatever arrives and hands out two views, both without
 * copying: `content`, the message itself (unstuffed) for parsers and hashes, and `wire`, the octets
 * as they go to a backend: the content dot-stuffed by us, without the final dot.
 */
#ifndef SPURN_WIRE_SMTP_DATA_H
#define SPURN_WIRE_SMTP_DATA_H

#include "base/str.h"

struct smtp_data {
	/* Called with pieces in order; a piece is valid during the call and never empty. The wire pieces of one push
	 * cover the same message bytes as its content pieces; a CR or dot at the end of a push may be held until
	 * the next. on_content may be NULL. */
	void (*on_wire)(void *arg, struct slice piece);
	void (*on_content)(void *arg, struct slice piece);
	void *arg;
	uint64_t content_size;		/* octets of content so far */
	bool bare_cr, bare_lf, nul, eight_bit;	/* seen so far */
	bool repair;			/* bare LF becomes CRLF, bare CR is dropped (broken-peers) */
	uint8_t state;			/* private */
	bool last_was_crlf;		/* of the content: BDAT's end needs it */
};

void smtp_data_init(struct smtp_data *d, void (*on_wire)(void *, struct slice),
	void (*on_content)(void *, struct slice), void *arg);
/* DATA: feeds input; *used: octets taken. true: the end was reached, what follows *used are commands. */
bool smtp_data_push(struct smtp_data *d, struct slice input, size_t *used);
/* BDAT: content octets without framing; dot-stuffing is added to the wire view. The same checks for bare
 * CR and LF hold, since the message leaves through DATA. */
void smtp_data_push_chunk(struct smtp_data *d, struct slice input);
/* BDAT LAST: a CRLF is added to the wire view if the content did not end with one (content view and size do not
 * change), and a trailing bare CR is noted. */
void smtp_data_finish_chunks(struct smtp_data *d);

#endif
