/*
 * The machine-readable parts of reports: message/delivery-status (RFC 3464, RFC 6533),
 * message/disposition-notification (RFC 8098) and message/feedback-report (RFC 5965). All are groups of
 * header-like fields with blank lines between them.
 *
 * What is read is what is sent: blank lines are missing or too many, fields are folded anywhere, types are left
 * out. A group begins with a blank line, or where a field comes that its group already has and only one recipient
 * can have (Final-Recipient, Original-Recipient before it).
 */
#ifndef SPURN_WIRE_DSN_H
#define SPURN_WIRE_DSN_H

#include "wire/message.h"

#define DSN_RECIPIENTS_MAX 100u
#define DSN_FIELDS_MAX 2000u

/* Values are unfolded and trimmed; they point into the text or the arena. Empty: absent. */
struct dsn_recipient {
	struct dsn_recipient *next;
	struct slice final;		/* the address of Final-Recipient, its type removed and its encoding undone */
	struct slice original;		/* of Original-Recipient */
	struct slice action;		/* lower case, without comments */
	struct slice status;		/* "5.1.1" */
	struct slice diagnostic;	/* with its type */
	struct slice remote_mta;
};

struct dsn {
	struct dsn_recipient *recipients;
	uint32_t count;			/* at most DSN_RECIPIENTS_MAX are kept */
	struct slice reporting_mta, envelope_id, arrival_date;
	/* Of other reports; the first of each. */
	struct slice disposition, original_message_id, original_recipient, final_recipient;	/* RFC 8098 */
	struct slice feedback_type, original_mail_from, original_rcpt_to, source_ip;		/* RFC 5965 */
	uint32_t fields;		/* how many were read, known or not */
};

/* Reads the text of a part, transfer encoding undone, lines ending in LF or CRLF. Slices may point into text. */
void dsn_read(struct arena *a, struct slice text, struct dsn *out);
/* "rfc822; <bob@example.net>", "utf-8; ...", "bob@example.net (Bob)": the address alone (RFC 3464
 * section 2.3.2, RFC 6533 section 3). Empty if there is none. */
struct slice dsn_address(struct arena *a, struct slice value);
/* The status code at the start of a value (RFC 3463 section 2): "5.1.1"; empty if it is none. */
struct slice dsn_status(struct slice value);

#endif
