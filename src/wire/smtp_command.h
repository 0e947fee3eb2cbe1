/*
 * SMTP commands: one line in, a verb and its arguments out (RFC 5321 sections
 * 4.1.1 and 4.1.2, with the parameters of RFC 1870, 3030, 3461, 6152, 6531, 5321).
 */
#ifndef SPURN_WIRE_SMTP_COMMAND_H
#define SPURN_WIRE_SMTP_COMMAND_H

#include "wire/address.h"
#include "wire/smtp_reply.h"

#define VERBS(X) \
	X(HELO) X(EHLO) X(LHLO) X(MAIL) X(RCPT) X(DATA) X(BDAT) X(RSET) X(NOOP) X(QUIT) X(HELP) \
	X(VRFY) X(EXPN) X(STARTTLS) X(AUTH) X(ETRN) X(XCLIENT) X(XFORWARD) X(TURN) X(SEND) X(SOML) X(SAML)

enum verb {
	VERB_UNKNOWN,
#define X(name) VERB_##name,
	VERBS(X)
#undef X
	VERB_COUNT
};

struct command {
	enum verb verb;
	struct slice word;	/* as written */
	struct slice argument;	/* behind the verb, trimmed of SP/HTAB at both ends */
};

/* line without CRLF. Control characters other than HTAB make it VERB_UNKNOWN with *why set; anything else
 * parses. */
void command_parse(struct command *out, struct slice line, const char **why);
const char *verb_name(enum verb v);

struct mail_command {
	struct path reverse_path;
	bool eight_bit_mime, smtputf8, prdr;
	uint64_t size;		/* 0: not given */
	uint8_t ret;		/* 0, 'F', 'H' */
	struct slice envid;	/* xtext as received */
};
struct rcpt_command {
	struct path forward_path;
	uint8_t notify;		/* enum dsn_notify bits */
	struct slice orcpt;	/* as received */
};
/* What of these the server offered in its EHLO reply; a parameter not offered is an error. */
enum mail_offer { OFFER_SIZE = 1, OFFER_8BITMIME = 2, OFFER_SMTPUTF8 = 4, OFFER_DSN = 8, OFFER_PRDR = 16 };

/* argument: what stands behind MAIL, "FROM:<a@b> SIZE=..."; a path without angle brackets is refused, a
 * space behind the colon tolerated (RFC 5321 section 3.3). AUTH=<> is taken and dropped. *reply: the name of the reply to
 * give on failure (BAD_ARGUMENT, BAD_SENDER, BAD_PARAMETER), *why its detail. */
bool mail_command_parse(struct mail_command *out, struct slice argument, unsigned offers,
	enum reply_name *reply, const char **why);
bool rcpt_command_parse(struct rcpt_command *out, struct slice argument, unsigned offers,
	bool smtputf8, enum reply_name *reply, const char **why);
/* "SIZE [LAST]" (RFC 3030 section 2). */
bool bdat_command_parse(struct slice argument, uint64_t *size, bool *last);
/* The argument of HELO and EHLO: a domain or an address literal; at most 255 octets of printable
 * characters are taken whatever they are (plausibility is a check's work). */
bool helo_argument_parse(struct slice argument, struct slice *out);

#endif
