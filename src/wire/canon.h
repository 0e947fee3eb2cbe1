/*
 * Canonicalisation (RFC 6376 section 3.4): the octets of a message that a DKIM or ARC signature covers, in the
 * form in which they are hashed. Bytes in, bytes out: hashing is the caller's.
 */
#ifndef SPURN_WIRE_CANON_H
#define SPURN_WIRE_CANON_H

#include "wire/message.h"

enum canon { CANON_SIMPLE, CANON_RELAXED };

/* "simple" or "relaxed", ASCII case folded; false for any other word. */
bool canon_parse(struct slice word, enum canon *out);
const char *canon_name(enum canon kind);

/* ---- the body, pushed as it arrives ---- */

#define CANON_STAGE 4096u

/* Gets the canonical octets in order, in pieces that are gone after the call. */
typedef void canon_out(void *arg, struct slice piece);

struct canon_body {
	enum canon kind;
	canon_out *out;
	void *arg;
	uint64_t length;	/* octets of the canonical body so far, held ones not counted */
	/* private: */
	uint64_t lines;		/* CRLFs held: the end of a line, and empty lines that may be the last */
	bool space;		/* white space held: it may be the end of a line */
	bool cr;		/* a CR at the end of a push */
	uint32_t staged;
	char stage[CANON_STAGE];
};

void canon_body_init(struct canon_body *b, enum canon kind, canon_out *out, void *arg);
/* Content as sent, without dot-stuffing; however it is cut, the output is the same. */
void canon_body_push(struct canon_body *b, struct slice content);
/* The message has ended; `length` is that of the canonical body now. */
void canon_body_finish(struct canon_body *b);

/* ---- header fields ---- */

/* Adds one field in canonical form, with its CRLF. */
void canon_field(struct str *out, enum canon kind, const struct field *f);
/* The signature's own field: the extent `emptied` of its value (the raw of its tag b, a slice into f->value) is left
 * out, and so is the final CRLF (section 3.7). */
void canon_field_unsigned(struct str *out, enum canon kind, const struct field *f, struct slice emptied);

/* Fields by name, for signatures that name many: sorted once, each look-up is logarithmic. */
struct canon_index {
	const struct header *header;
	uint32_t *order;	/* of fields: by folded name, those of a name from the top */
};

/* The header must be done and stay as long as the index. */
void canon_index_build(struct canon_index *index, struct arena *a, const struct header *h);
/* Adds the fields that the names of h= choose (section 5.4.2): each name takes the next instance from the bottom of
 * the header upwards; a name without (further) instances adds nothing. `names` is the value of h=. Returns
 * how many fields were added. `a`: scratch. */
uint32_t canon_signed_fields(struct str *out, enum canon kind, const struct canon_index *index, struct slice names,
	struct arena *a);

#endif
