/*
 * Replies: code, enhanced code and text stay three things (RFC 5321 section
 * 4.2, RFC 2034, RFC 3463).
 *
 * Two kinds meet here: replies we give, all from replies.def, and replies that
 * backends give us, which are parsed strictly and bounded, since a backend may
 * lie, too.
 */
#ifndef SPURN_WIRE_SMTP_REPLY_H
#define SPURN_WIRE_SMTP_REPLY_H

#include "base/str.h"

enum reply_name {
	REPLY_NONE,
#define REPLY(name, number, code, enhanced, text, operator_text) REPLY_##name,
#include "wire/replies.def"
#undef REPLY
	REPLY_COUNT
};

struct reply_definition {
	const char *name;
	uint16_t number, code;
	const char *enhanced, *text, *operator_text;
};
const struct reply_definition *reply_definition(enum reply_name name);

/* RFC 3463: class.subject.detail; class 0: none. */
struct enhanced_code {
	uint8_t class;
	uint16_t subject, detail;
};
bool enhanced_code_parse(struct enhanced_code *out, struct slice *text);
static inline bool enhanced_code_is(struct enhanced_code e, int class, int subject, int detail)
{
	return e.class == class && e.subject == subject && e.detail == detail;
}

struct reply {
	enum reply_name name;	/* REPLY_NONE: a backend's */
	uint16_t code;		/* 0: no reply */
	struct enhanced_code enhanced;
	struct slice text;	/* without codes; lines joined by LF */
};

static inline bool reply_is_positive(const struct reply *r) { return r->code / 100 == 2; }
static inline bool reply_is_transient(const struct reply *r) { return r->code / 100 == 4; }
static inline bool reply_is_permanent(const struct reply *r) { return r->code / 100 == 5; }

/* One of ours. detail replaces %s (escaped to printable ASCII, at most 256 octets); ref and url are
 * added to refusals: " ref=XXXXXXXXXX" and " see URLXXXXXXXXXX"; NULL: not. The text lives in `a`. */
struct reply reply_make(struct arena *a, enum reply_name name, struct slice detail,
	const char *ref, const char *url);

/* The wire form with CRLF. Every line is at most 512 octets (RFC 5321 section 4.5.3.1.5), an enhanced
 * code stands on every line if it has one (RFC 2034 section 4), never on 220 greeting and 354. */
void reply_write(struct str *out, const struct reply *r);

/* ---- parsing what a backend says ---- */

enum reply_parse {
	REPLY_PARSE_MORE,
	REPLY_PARSE_DONE,
	REPLY_PARSE_BAD,	/* not three digits, digits change between lines, over the limits */
};

/* Fed line by line (without CRLF). At most 512 lines of 4096 octets, 64 KiB in all; text beyond 2 KiB
 * is dropped from the reply (EHLO needs its lines: see on_line). */
struct reply_parser {
	struct arena *arena;
	struct reply reply;
	struct str text;
	uint32_t lines, octets;
	/* If set: sees the text of every line (EHLO keywords). */
	void (*on_line)(void *arg, struct slice text, bool first);
	void *arg;
};
void reply_parser_init(struct reply_parser *p, struct arena *a);
enum reply_parse reply_parser_line(struct reply_parser *p, struct slice line, const char **why);

#endif
