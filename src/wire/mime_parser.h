/*
 * Between the files of the parser of MIME; nobody else includes it.
 *
 *   mime.c           the entities that are open, and the walk from line to line
 *   mime_header.c    header sections, and what they make of an entity
 *   mime_boundary.c  which lines are delimiters
 *   mime_body.c      what goes to those who listen
 *   mime_decode.c    transfer encodings
 *   mime_field.c     what stands in header fields: types, parameters, encoded words
 */
#ifndef SPURN_WIRE_MIME_PARSER_H
#define SPURN_WIRE_MIME_PARSER_H

#include "wire/mime_decode.h"

#define HOLD_MAX (MIME_BOUNDARY_MAX + 68u)	/* "--", the boundary, "--", white space, CRLF */
#define OUT_ROOM 4096u
#define FIRST_OUT 64u

enum phase {
	PHASE_HEADER,
	PHASE_BODY,		/* of a leaf, or of an enclosed message that is encoded */
	PHASE_OUTSIDE,		/* of a multipart, outside its parts */
};

struct entity {
	struct mime_part part;
	enum mime_want want;
	bool closed;			/* a multipart: its close-delimiter has come */
	bool has_body;
	bool decoding;			/* some of its body is decoded */
	bool has_child;			/* m->child reads its body */
	uint16_t boundary_n;
	struct mime_decoder decoder;
	char boundary[MIME_BOUNDARY_MAX];	/* last: not cleared */
};

enum line_end { END_NONE, END_CR, END_LF, END_CRLF };

struct totals {
	uint32_t parts;
	bool limited;
	bool spent;		/* more parts than permitted: the rest is not looked at */
};

struct mime {
	struct arena *arena;
	const struct mime_events *events;
	void *arg;
	struct totals own, *totals;	/* of the outermost parser */
	struct mime *child;		/* for encoded messages; kept for the next one */
	uint8_t nesting;		/* how many parsers stand around this one */
	const struct mime_part *around;	/* whose body this parser reads; NULL: the outermost */
	struct entity *above;		/* the same, if the message is wanted as a whole; it hears as a listener does */

	struct entity *stack;		/* MIME_DEPTH_MAX of them */
	uint16_t count;
	uint8_t phase;
	bool at_start;			/* the next octet begins a line */
	bool finished;
	uint16_t boundaries;		/* open multiparts that are not closed */
	uint16_t listeners;		/* open messages whose octets are wanted */
	uint16_t listener_floor;	/* entities below it do not hear: they have heard these octets before */
	uint8_t pending, raw_pending;	/* enum line_end: of the topmost entity, of the listeners */
	uint16_t hold_n;

	char *header;			/* the header section at hand */
	size_t header_n, header_cap;
	size_t line;			/* where its last line begins */
	size_t line_octets;		/* of that line, kept or not */
	char line_first;
	bool header_cut;
	uint8_t blanks;
	struct field *fields;
	uint64_t seen;			/* a bit for each boundary there ever was, by the top of its hash: for a quick no */

	/* From here on nothing is cleared. */
	uint64_t hashes[MIME_DEPTH_MAX];	/* of each boundary: a second one */
	char hold[HOLD_MAX];
	char out[OUT_ROOM];
};

static inline struct entity *mime_top(struct mime *m)
{
	return &m->stack[m->count - 1];
}

/* ---- bodies ---- */

/* Octets of the body of the topmost entity, and of the messages around it that are wanted as a whole. */
void mime_content_out(struct mime *m, struct slice piece);
/* To the latter alone. */
void mime_listeners_out(struct mime *m, struct slice piece);
/* What the decoder of an entity yields. */
void mime_body_decoded(struct mime *m, struct entity *e, struct slice piece);
/* Line ends that waited for what follows: of the topmost entity, of the listeners. */
void mime_pending_flush(struct mime *m);
void mime_raw_flush(struct mime *m);

/* ---- header sections ---- */

/* A header section begins. */
void mime_header_reset(struct mime *m);
/* Takes octets of it, at most to the end of a line; returns how many. */
size_t mime_header_take(struct mime *m, struct slice in);
/* The message ended within it: the last line counts if it may be a field. */
void mime_header_end(struct mime *m);
/* Type, encoding and shape of an entity, from its fields; `type` and `subtype` if they do not say. */
void mime_describe(struct mime *m, struct entity *e, const char *type, const char *subtype);
bool mime_is_type(const struct mime_part *p, const char *type, const char *subtype);

/* ---- delimiters ---- */

struct delimiter {
	uint16_t level;		/* on the stack */
	bool close;
};

/* e->boundary has n octets: it is a multipart. */
void mime_boundary_set(struct mime *m, struct entity *e, ptrdiff_t n);
bool mime_delimiter_match(const struct mime *m, struct slice line, struct delimiter *out);

enum nature { LINE_TEXT, LINE_DELIMITER, LINE_OPEN };

/* What the line at the start of `in` is, as far as it has come. */
enum nature mime_line_nature(const struct mime *m, struct slice in, struct slice *line, struct delimiter *d);

/* ---- entities ---- */

/* The header section of the topmost entity is there. */
void mime_entity_begin(struct mime *m);

#endif
