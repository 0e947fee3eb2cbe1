/*
 * MIME (RFC 2045, 2046, 2047, 2183, 2231): a push parser of the structure of a message.
 *
 * Content goes in as it arrives, in pieces of any size, and events come out: a part begins (its header
 * fields are there), a piece of its decoded body, the part ends; also for the parts of a message that is enclosed in
 * another, itself perhaps in base64. One pass; what it keeps is one header section, the boundaries of the parts
 * that are open and a few octets of the line at hand, whatever the message. Nothing waits, so it may run
 * anywhere.
 *
 * It reads what is sent rather than what should be: a line ends in LF with or without a CR, a part that is not
 * closed ends with the part around it, what has no boundary is a leaf. What goes beyond the limits is not
 * lost but plain: a multipart that is too deep is a leaf, a header section that is too long keeps its first
 * fields. Only behind the last permitted part nothing is looked at any more; mime_limited() says so.
 */
#ifndef SPURN_WIRE_MIME_H
#define SPURN_WIRE_MIME_H

#include "wire/message.h"

#define MIME_DEPTH_MAX 20u		/* entities within entities */
#define MIME_NESTING_MAX 2u		/* encoded messages within encoded messages */
#define MIME_PARTS_MAX 2000u		/* of a message, with all that is enclosed */
#define MIME_HEADER_MAX (64u * 1024u)	/* octets of one header section that are kept */
#define MIME_FIELDS_MAX 512u		/* fields of one header section that are kept */
#define MIME_BOUNDARY_MAX 250u		/* RFC 2046 section 5.1.1 says 70 */
#define MIME_TYPE_MAX 63u		/* RFC 4288 section 4.2 says 127 for each half; none is in use */

enum mime_encoding { MIME_IDENTITY, MIME_BASE64, MIME_QUOTED_PRINTABLE };

enum mime_shape {
	MIME_LEAF,
	MIME_MULTIPART,		/* its parts follow as entities of their own */
	MIME_MESSAGE,		/* encloses a message, which follows as an entity of its own */
};

/* An entity: the message, a part, or a message that is enclosed. Valid until its part_end; `fields` and the
 * slices of its header only during part_begin. */
struct mime_part {
	uint32_t number;	/* 1 for the message, then in the order in which they begin */
	uint32_t parent;	/* number of the entity around it, 0 for the message */
	uint16_t depth;		/* 0 for the message */
	uint16_t messages;	/* how many enclosed messages it is within, itself counted: 0 for our own */
	bool is_message;	/* the message or an enclosed one: `fields` is the header section of a message */
	bool header_cut;	/* its header section went beyond a limit; only the first fields are there */
	bool header_plain;	/* each line is a field or its fold: `fields` are what header_push() finds in `header` */
	bool header_broken;	/* no blank line ended it, but a line that is no field; the body begins with that */
	bool cut;		/* from part_end on: it did not end where it should (no delimiter, no blank line) */
	bool no_body;		/* from part_end on: nothing came behind its header section */
	enum mime_shape shape;
	enum mime_encoding encoding;
	char type[MIME_TYPE_MAX + 1], subtype[MIME_TYPE_MAX + 1];	/* lower case; "text" "plain" if not said */
	uint32_t field_count;
	const struct field *fields;
	const struct field *content_type, *content_disposition;	/* the first of each; NULL: none. As `fields` */
	struct slice header;	/* the header section without its blank line, as it came, but each line ends in CRLF */
	bool enough;		/* the consumer sets it in part_body: no more of this body is wanted */
	void *arg;		/* the consumer's own, NULL at first */
};

/* What part_begin wants to hear of the part. The entities within it are told in any case. */
enum mime_want {
	MIME_SKIP,		/* nothing */
	MIME_DECODED,		/* the body, transfer encoding undone */
	MIME_RAW,		/* the body as it stands */
};

/* The consumer. Any member may be NULL. A part of shape MIME_MESSAGE has a body too: the enclosed message, header
 * section and all; that of a multipart is what stands outside its parts. Pieces are not lines, and live for the call only. */
struct mime_events {
	enum mime_want (*part_begin)(void *arg, struct mime_part *part);
	void (*part_body)(void *arg, struct mime_part *part, struct slice piece);
	void (*part_end)(void *arg, struct mime_part *part);
};

struct mime;

/* All it needs lives in the arena; what that takes is bounded (about 600 KiB at the very worst, 20 KiB as a rule). */
struct mime *mime_begin(struct arena *a, const struct mime_events *events, void *arg);
/* The header section of the message, if somebody else has parsed it; then mime_push() takes the body. Without it
 * mime_push() takes the message from its first octet. */
void mime_header(struct mime *m, const struct header *h);
void mime_push(struct mime *m, struct slice piece);
/* The message has ended: what is open ends. */
void mime_finish(struct mime *m);
/* Entities that have begun, and whether a limit changed what was seen. */
uint32_t mime_count(const struct mime *m);
bool mime_limited(const struct mime *m);

/* ---- header fields of a part ---- */

/* The n-th field of a name (from 0); NULL if none. Only during part_begin. */
const struct field *mime_field(const struct mime_part *part, struct slice name, uint32_t n);
/* The value, unfolded; empty if absent. */
struct slice mime_value(struct arena *a, const struct mime_part *part, struct slice name);
/* A parameter of a value such as "attachment; filename*0*=UTF-8''a%20; filename*1=b" (RFC 2045 section 5.1,
 * RFC 2231 sections 3 and 4): pieces joined, percent encoding undone, in UTF-8 if the character set is known.
 * false: absent. */
bool mime_parameter(struct arena *a, struct slice value, struct slice name, struct slice *out);
/* The name that a reader would save the part under: Content-Disposition filename, Content-Type name, with encoded words
 * (RFC 2047 forbids them there; many write them) undone. Empty if none. */
struct slice mime_file_name(struct arena *a, const struct mime_part *part);
/* Encoded words undone (RFC 2047), in UTF-8. */
struct slice mime_words(struct arena *a, struct slice text);
/* Text of a character set in UTF-8: UTF-8, US-ASCII, ISO-8859-1, -15, windows-1252, and those of wire/charset.h, whose text has to be
 * whole; others stay as they are. */
struct slice mime_charset(struct arena *a, struct slice charset, struct slice text);

#endif
