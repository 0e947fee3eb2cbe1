/*
 * The header section of a message (RFC 5322 section 2.2, RFC 6532): a push
 * parser that keeps every field as it came.
 *
 * Nothing is repaired: signed bytes stay as they were. A line that is no field
 * ends the header section where it stands (it is the first line of the body,
 * as mail servers have always read it); `malformed` says so. Lines end in CRLF only: a bare CR
 * or LF is an octet of its line like any other.
 */
#ifndef SPURN_WIRE_MESSAGE_H
#define SPURN_WIRE_MESSAGE_H

#include "base/str.h"

struct field {
	struct slice name;	/* without the colon and white space before it */
	struct slice value;	/* behind the colon, with folds, without the final CRLF */
	struct slice raw;	/* the whole field with its final CRLF */
};

struct header {
	struct arena *arena;
	struct str bytes;	/* all of the section, without the empty line */
	struct field *fields;
	uint32_t count, cap;
	uint32_t limit;		/* octets; over it: too_large and done */
	uint32_t max_fields;	/* over it: too_large and done */
	bool done;		/* the body has begun */
	bool blank_line;	/* an empty line ended it (else: malformed or end of message) */
	bool malformed, too_large;
	/* The beginning of the line that is no field, as far as earlier pushes took it: it belongs to the body,
	 * before what the push that set `done` did not take. Empty unless malformed. */
	struct slice body_lead;
	uint32_t line_start;	/* private */
	uint8_t line_state;	/* private */
};

void header_init(struct header *h, struct arena *a, uint32_t limit, uint32_t max_fields);
/* Feeds content (unstuffed); returns the octets taken. Octets not taken belong to the body (the empty line is
 * taken, but is in neither). After `done` it takes nothing. */
size_t header_push(struct header *h, struct slice content);
/* The message has ended. Slices of fields are valid from `done` on. */
void header_finish(struct header *h);

/* The n-th field of a name (from 0, from the top), case-insensitive; NULL if none. */
const struct field *header_field(const struct header *h, struct slice name, uint32_t n);
uint32_t header_count(const struct header *h, struct slice name);
/* The value unfolded (CRLF before WSP removed, section 2.2.3) and trimmed. */
struct slice field_unfolded(struct arena *a, const struct field *f);
/* Of a Message-ID field: "<...>" without comments; empty if unusable. */
struct slice field_message_id(struct arena *a, const struct field *f);
/* Message-ID without comments, "<...>" included; empty if absent or unusable. */
struct slice header_message_id(struct arena *a, const struct header *h);

#endif
