/*
 * Between the files of the recogniser of notices; nobody else includes it.
 *
 *   notice.c           the reader: events of MIME in, struct notice out
 *   notice_judge.c     what the parts and the words come to
 *   notice_head.c      what the header section says: who wrote it, to what end
 *   notice_text.c      what the text says: sentences, failed recipients
 *   notice_original.c  the returned message: its header section, attached or quoted
 *   notice_phrases.c   the sentences that mail systems write, as one table
 */
#ifndef SPURN_CHECK_NOTICE_PART_H
#define SPURN_CHECK_NOTICE_PART_H

#include "check/notice.h"
#include "wire/dsn.h"
#include "wire/mime.h"

/* In tables: a slice of a literal. */
#define NAME(literal) { literal, sizeof(literal) - 1 }

/* ---- phrases ---- */

/* What a sentence or a subject says. Bits, so that a text may say several things. */
enum says {
	SAYS_FAILED = 1,	/* could not be delivered: no human says it in this way of his own mail */
	SAYS_DELAYED = 2,
	SAYS_DELIVERED = 4,
	SAYS_AUTO_REPLY = 8,	/* a program answers for its user */
	SAYS_CHALLENGE = 16,
	SAYS_VIRUS = 32,
	SAYS_COMPLAINT = 64,
	SAYS_NOTICE = 128,	/* a list manager or another program speaks */
	SAYS_FAULT = 256,	/* names a fault of delivery (user unknown); alone it says nothing */
	SAYS_READ = 512,	/* the message was displayed or deleted: MDN in free form */
};

struct said {
	unsigned bits;
	struct slice first;	/* the first phrase that counts, as the table has it; for the evidence */
	size_t at;		/* where it stands in the text */
};

/* Phrases in a text that is lower case with single spaces (check/phrase_index.h). */
struct said phrases_in_text(struct slice folded);
struct said phrases_in_subject(struct slice folded);
/* Whether any of them says SAYS_CHALLENGE: quicker than all. */
bool phrases_challenge(struct slice folded);
/* A text folded, as far as it makes `room` octets. */
struct slice phrases_fold(struct arena *a, struct slice text, size_t room);
/* A line that is folded announces the returned message ("--- Below this line is a copy of the message."). */
bool phrases_marker(struct slice folded);

/* ---- header section ---- */

enum auto_submitted { AUTO_ABSENT, AUTO_NO, AUTO_GENERATED, AUTO_REPLIED };

struct notice_head {
	bool null_sender;
	bool daemon;		/* From, Sender or the reverse-path is a program: mailer-daemon, postmaster ... */
	bool list;		/* distributed by a mailing list */
	bool answers;		/* In-Reply-To or References */
	bool responder;		/* a field of auto-responders: X-Autoreply, Precedence: auto_reply ... */
	bool bulk;		/* Precedence: bulk, junk */
	bool reply_prefix, forward_prefix;	/* Subject: Re:, Fwd: */
	enum auto_submitted auto_submitted;
	struct slice subject;	/* decoded and folded */
	struct said subject_says;
	struct slice failed_recipients;	/* X-Failed-Recipients */
	const char *mark;	/* the name of the field that made `responder`, for the evidence */
	bool weak_mark;		/* it is a word in the name of a program, and no field of an auto-responder */
	struct slice in_reply_to, references, from, to;
};

void notice_head_read(struct arena *a, const struct header *h, const struct path *reverse_path,
	struct notice_head *out);

/* ---- text ---- */

/* What the text of a notice holds: lines, and where the quoted original begins. */
struct notice_text {
	struct slice *lines;
	uint32_t count;
	uint32_t end;		/* the first line that is no longer the notice's own */
	struct slice folded;	/* the notice's own words */
	struct said says;
	uint32_t header_line;	/* where quoted header fields begin; count: none */
	bool named;		/* "<bob@example.net>:" stands at the start of a line, as qmail and Postfix write it */
	bool json;		/* it is JSON that a mail service writes about a delivery */
};

#define NOTICE_LINES_MAX 4000u
#define NOTICE_FOLDED_MAX 6000u	/* of the notice's own words */

/* Only lines and count; the rest stays as it is. */
void notice_text_lines(struct arena *a, struct slice text, struct notice_text *out);
void notice_text_read(struct arena *a, struct slice text, struct notice_text *out);
/* Text without the run of header fields at its beginning: what a header section with a broken line leaves there. */
struct slice notice_text_behind_fields(struct arena *a, struct slice text);
/* HTML as text: tags away, line breaks kept, the common entities. */
struct slice notice_text_of_html(struct arena *a, struct slice html);
/* Addresses that the notice has for something else. */
struct notice_text_context {
	struct slice author;		/* of the notice: its domain is that of local parts that stand alone */
	struct slice others[4];		/* author and addressee of the notice, sender of the original */
};

/* The recipients that the text names, in their order. With recipients there already (from X-Failed-Recipients), only
 * what is said about them is added. */
void notice_text_recipients(struct arena *a, const struct notice_text *t, const struct notice_text_context *context,
	struct notice *out);
/* The first enhanced status code (RFC 3463) in running text; empty if none. */
struct slice notice_status_in(struct slice s);
/* An address that begins at s: its length, 0: none. */
size_t notice_address_at(struct slice s);
void notice_recipient_add(struct arena *a, struct notice *out, const struct notice_recipient *r);

/* ---- original ---- */

/* The fields of a header section that facts are read from; raw.p is NULL: absent. */
struct notice_facts {
	struct field message_id, from, to, subject, return_path;
	bool known;
};

/* From fields that stand in `section`; what is kept stands in `copy`, which is the same octets. */
void notice_facts_keep(struct notice_facts *out, const struct field *fields, uint32_t count, struct slice section,
	struct slice copy);
/* Fills facts from the fields of a header section. */
void notice_original_know(struct arena *a, const struct notice_facts *facts, struct slice header, struct notice_original *out);
/* The same from the header section itself (CRLF). */
void notice_original_read(struct arena *a, struct slice header, struct notice_original *out);
/* The header section quoted in the text, lines ending in CRLF; empty if none. */
struct slice notice_original_quoted(struct arena *a, const struct notice_text *t);
/* Exchange and the like: "To: ... Subject: ... Sent: ..." indented in the text; Message-ID named in a sentence. */
void notice_original_mentioned(struct arena *a, const struct notice_text *t, struct notice_original *out);
/* Length of the field name at the start of a line if it is one that messages have (Received, From ...); 0: no. */
size_t notice_known_field(struct slice line);

/* ---- the reader ---- */

/* What a part is kept for. */
enum role {
	ROLE_NONE,
	ROLE_TEXT, ROLE_HTML, ROLE_OUTSIDE,
	ROLE_STATUS, ROLE_DISPOSITION, ROLE_FEEDBACK,
	ROLE_HEADERS,		/* text/rfc822-headers and the like */
	ROLE_SNIFF,		/* an attachment that may be the original after all */
	ROLE_BROKEN,		/* the rest of the original's header section, broken by a line that lost its fold */
	ROLE_MESSAGE,		/* encloses the returned message */
	ROLE_COUNT,
};

struct kept {
	struct str text;
	size_t part;		/* where that of the part at hand begins */
	bool seen, full;
};

struct notice_reader {
	struct arena *arena;
	const struct path *reverse_path;
	const struct notice_watch *watch;
	struct mime *mime;
	struct notice_head head;
	struct kept kept[ROLE_COUNT];
	uint8_t roles[MIME_DEPTH_MAX + 1];	/* of the open entities, by depth */
	bool report;			/* multipart/report */
	bool status_alone;		/* the message is a delivery-status and nothing else */
	struct slice report_type;
	struct slice charset;		/* of the text part at hand */
	char charset_text[40];		/* RFC 2978 section 2.3: mime-charset is no longer */
	bool charset_known;		/* its text is converted as a whole (wire/charset.h) */
	bool interesting;		/* its text is worth reading */
	bool header_broken;		/* it ended in a line that is no field */
	bool tls_report, dmarc_report;	/* an attachment of the kind */
	struct notice_facts facts;	/* of the header section of the original, if it needs no second look */
	struct slice original;		/* the header section of the first enclosed message */
	bool original_cut, original_body;
	bool enclosed;			/* some message is enclosed, be it empty */
	uint32_t broken;		/* number of the enclosed message if its header section is; 0: it is not */
	uint32_t watched;		/* number of the part whose message is watched; 0: none yet */
	bool watching_body;
	struct slice words;		/* the text that speaks for the notice; once all is there */
	struct notice_text text;	/* what it says, once somebody has asked */
	bool text_read;
	struct notice *out;
};

/* What the text says. It is read when somebody asks for the first time, since structure says enough of most notices. */
const struct notice_text *notice_words(struct notice_reader *r);
/* Kind, evidence and recipients, into r->out; the original has been read. */
void notice_judge(struct notice_reader *r);

#endif
