/*
 * Lists of mailboxes in header fields (RFC 5322 section 3.4, obsolete forms of section 4.4, RFC 6532): From, Sender,
 * Reply-To, To.
 *
 * Senders of forged mail play with these fields, so what cannot be read is said and not guessed: the caller learns of
 * every defect, and of how many mailboxes there are. Read anyway, because honest programs write it: empty members of a list,
 * octets over 127, dots and brackets in a phrase, a comma in a name without quotes, and an address in the place of a phrase (`a@example.com <a@example.com>`), of which
 * only what stands in the angle brackets counts.
 */
#ifndef SPURN_WIRE_MAILBOX_H
#define SPURN_WIRE_MAILBOX_H

#include "wire/message.h"

struct mailbox {
	struct mailbox *next;
	struct slice address;	/* local@domain as written, without comments and white space; a quoted local part keeps its quotes */
	struct slice local, domain;	/* of it; a domain literal keeps its brackets */
	struct slice phrase;	/* as written, trimmed; empty: none */
	bool in_group;
};

struct mailbox_list {
	struct mailbox *first;	/* at most `max` are kept */
	size_t count;		/* all of them */
	size_t groups;
	size_t bare_names;	/* members that are a name without an address ("Doe, John <a@example.com>" has one) */
	bool address_in_phrase;	/* somewhere */
};

/* Reads the value of a field, folded or not. What could be read is in *out, in the arena, slices of which point into
 * `value` where nothing had to be taken out. false: it is no list of mailboxes; *why says where it fails. */
bool mailbox_list_parse(struct arena *a, struct slice value, size_t max, struct mailbox_list *out, const char **why);

/* The author mailboxes: those of all From fields, in order, at most max. NULL: none can be read. *why, if not NULL:
 * what is wrong with From ("there are two From fields", ...), NULL if nothing is; a message without From is "there is no From field". */
struct mailbox *header_authors(struct arena *a, const struct header *h, size_t max, const char **why);

#endif
