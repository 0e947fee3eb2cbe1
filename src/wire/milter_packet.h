/*
 * Packets of the milter protocol, version 6: bytes to structs and back.
 *
 * The protocol has no RFC; what it is stands in Sendmail's libmilter (include/libmilter/mfdef.h and its
 * documentation). A packet is a length of four octets, big-endian, that counts what follows; one octet that says
 * what it is; and its data. Strings end in NUL. Here is the MTA's side of it: commands are written, responses are
 * read. A filter may lie: a response is either exactly of its form or an error, and nothing of it is believed then.
 *
 * Names are those of mfdef.h (SMFIC_ is MILTER_ here for what we send, SMFIR_ is MILTER_SAYS_ for what a filter says).
 */
#ifndef SPURN_WIRE_MILTER_PACKET_H
#define SPURN_WIRE_MILTER_PACKET_H

#include "base/str.h"
#include "wire/smtp_reply.h"

#define MILTER_VERSION 6
#define MILTER_VERSION_LEAST 2
#define MILTER_CHUNK 65535u		/* octets of body in one packet */
#define MILTER_PACKET_MOST (1u << 20)	/* of a response: the largest size that any version negotiates */
#define MILTER_HEAD 5			/* octets of length and command */

enum milter_command {
	MILTER_ABORT = 'A', MILTER_BODY = 'B', MILTER_CONNECT = 'C', MILTER_MACRO = 'D', MILTER_BODYEOB = 'E',
	MILTER_HELO = 'H', MILTER_QUIT_NC = 'K', MILTER_HEADER = 'L', MILTER_MAIL = 'M', MILTER_EOH = 'N',
	MILTER_OPTNEG = 'O', MILTER_QUIT = 'Q', MILTER_RCPT = 'R', MILTER_DATA = 'T',
};

enum milter_word {
	MILTER_SAYS_ADDRCPT = '+', MILTER_SAYS_DELRCPT = '-', MILTER_SAYS_ADDRCPT_PAR = '2',
	MILTER_SAYS_SHUTDOWN = '4', MILTER_SAYS_ACCEPT = 'a', MILTER_SAYS_REPLBODY = 'b',
	MILTER_SAYS_CONTINUE = 'c', MILTER_SAYS_DISCARD = 'd', MILTER_SAYS_CHGFROM = 'e',
	MILTER_SAYS_CONN_FAIL = 'f', MILTER_SAYS_ADDHEADER = 'h', MILTER_SAYS_INSHEADER = 'i',
	MILTER_SAYS_CHGHEADER = 'm', MILTER_SAYS_OPTNEG = 'O', MILTER_SAYS_PROGRESS = 'p',
	MILTER_SAYS_QUARANTINE = 'q', MILTER_SAYS_REJECT = 'r', MILTER_SAYS_SKIP = 's',
	MILTER_SAYS_TEMPFAIL = 't', MILTER_SAYS_REPLYCODE = 'y',
};

/* SMFIF_*: what a filter may want to do. */
enum milter_action {
	MILTER_MAY_ADD_FIELDS = 0x1, MILTER_MAY_CHANGE_BODY = 0x2, MILTER_MAY_ADD_RECIPIENTS = 0x4,
	MILTER_MAY_DELETE_RECIPIENTS = 0x8, MILTER_MAY_CHANGE_FIELDS = 0x10, MILTER_MAY_QUARANTINE = 0x20,
	MILTER_MAY_CHANGE_SENDER = 0x40, MILTER_MAY_ADD_RECIPIENTS_PAR = 0x80, MILTER_MAY_NAME_MACROS = 0x100,
};

/* SMFIP_*: steps that a filter does not want (NO_), or does not answer (SILENT_, SMFIP_NR_*). */
enum milter_step {
	MILTER_NO_CONNECT = 0x1, MILTER_NO_HELO = 0x2, MILTER_NO_MAIL = 0x4, MILTER_NO_RCPT = 0x8,
	MILTER_NO_BODY = 0x10, MILTER_NO_FIELDS = 0x20, MILTER_NO_EOH = 0x40, MILTER_SILENT_FIELD = 0x80,
	MILTER_NO_UNKNOWN = 0x100, MILTER_NO_DATA = 0x200, MILTER_MAY_SKIP = 0x400,
	MILTER_REJECTED_RCPT = 0x800, MILTER_SILENT_CONNECT = 0x1000, MILTER_SILENT_HELO = 0x2000,
	MILTER_SILENT_MAIL = 0x4000, MILTER_SILENT_RCPT = 0x8000, MILTER_SILENT_DATA = 0x10000,
	MILTER_SILENT_UNKNOWN = 0x20000, MILTER_SILENT_EOH = 0x40000, MILTER_SILENT_BODY = 0x80000,
	MILTER_LEADING_SPACE = 0x100000,
};
#define MILTER_STEPS_ALL 0x1fffffu

/* ---- writing ---- */

/* Begins a packet; returns its place for milter_packet_end(), which fills the length in. */
size_t milter_packet_begin(struct str *out, enum milter_command command);
void milter_packet_end(struct str *out, size_t at);
/* A string and its NUL; a NUL inside it becomes '?', since it would begin another. */
void milter_put_string(struct str *out, struct slice text);
void milter_put_u16(struct str *out, uint16_t value);
void milter_put_u32(struct str *out, uint32_t value);

/* ---- reading ---- */

/* The head of a packet: MILTER_HEAD octets. false: a length that no filter may send. *n: octets of data behind it. */
bool milter_head_parse(struct slice head, char *word, size_t *n, const char **why);

/* What stages may want named to them (SMFIM_*), as the filter asks for it. */
enum milter_stage { MILTER_AT_CONNECT, MILTER_AT_HELO, MILTER_AT_MAIL, MILTER_AT_RCPT, MILTER_AT_DATA,
	MILTER_AT_EOM, MILTER_AT_EOH, MILTER_STAGES };

struct milter_options {
	uint32_t version, actions, steps;
	struct slice macros[MILTER_STAGES];	/* names, separated by blanks; p NULL: not said */
};
/* The answer to OPTNEG, checked against what was offered: the version is one we speak; actions that were not offered are
 * taken out (some filters ask for all there are; such a change is an error when it comes); steps that were not
 * offered are an error, since a filter that stays silent where we wait is none. Slices point into data. */
bool milter_options_parse(struct milter_options *out, struct slice data, const struct milter_options *offered,
	const char **why);

struct milter_response {
	char word;			/* enum milter_word */
	uint32_t index;			/* INSHEADER, CHGHEADER */
	struct slice name, value;	/* of a field; value as sent */
	struct slice text;		/* REPLBODY: the octets; QUARANTINE: the reason */
	struct reply reply;		/* REPLYCODE: code, enhanced and text (lines joined by LF) */
};
/* Any response but OPTNEG. What is copied lives in `a`, the rest points into data. */
bool milter_response_parse(struct milter_response *out, char word, struct slice data, struct arena *a,
	const char **why);

#endif
