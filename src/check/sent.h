/*
 * The sent ledger: what left here, for whom, and when; kept as keyed hashes in the store (table `sent`) for as long as a bounce may
 * take. It answers: did this address send that message, and to this recipient? Has it written to that domain
 * lately? How many notices about this message have come already? And, for a sender domain: since when does its
 * mail leave here, and does it leave elsewhere, too?
 *
 * Addresses are canonical (address_form). Every answer may be STORE_TROUBLE, which is never read as a no.
 */
#ifndef SPURN_CHECK_SENT_H
#define SPURN_CHECK_SENT_H

#include "net/store.h"

#include <time.h>

#define SENT_RECIPIENTS_INSIDE 9u	/* of a message in its own entry; further ones have entries of their own */

struct sent_entry {
	struct store_key key;
	time_t when;		/* of the first of its transactions */
	uint32_t recipients;	/* in all */
	uint32_t inside;
	uint64_t hashes[SENT_RECIPIENTS_INSIDE];
};

/* A transaction of a message leaves. What earlier transactions of it have put there stays. life: seconds. Without a
 * Message-ID only whom the sender has written to is remembered. */
enum store_status sent_put(struct store *s, struct slice message_id, struct slice sender, const struct slice *recipients,
	uint32_t count, time_t now, uint32_t life);
enum store_status sent_find(struct store *s, struct slice message_id, struct slice sender, struct sent_entry *out);
/* STORE_OK: it was sent to this one. */
enum store_status sent_has_recipient(struct store *s, const struct sent_entry *e, struct slice message_id,
	struct slice sender, struct slice recipient);
/* STORE_OK: sender has written to somebody at domain; *when: about the last time (to a day). */
enum store_status sent_wrote_to(struct store *s, struct slice sender, struct slice domain, time_t *when);

/* What a sender sent on a day: messages (those without Message-ID as often as they came), and recipients of them. */
struct sent_day {
	uint32_t messages, recipients;
};
/* day: since 1970, UTC. STORE_NOT_FOUND: nothing left here then. */
enum store_status sent_on_day(struct store *s, struct slice sender, uint32_t day, struct sent_day *out);

/* Mail of a sender left here under a tag that another host of the site had given it, and that claims a key of ours: when it comes
 * back, it is no forgery. tag: KDDDHHHHHH in any case of letters. */
enum store_status sent_tag_put(struct store *s, struct slice tag, struct slice sender, time_t now, uint32_t life);
/* STORE_OK: it did. */
enum store_status sent_tag_known(struct store *s, struct slice tag, struct slice sender);

/* Notices about one thing: a message, a tag, a pair of sender and domain. */
struct sent_counts {
	uint32_t all;
	uint32_t foreign;	/* for somebody it was not sent to */
};
/* One more, if `add`; *out holds the numbers with it. Workers that count at the same moment may lose one. */
enum store_status sent_count(struct store *s, struct slice what, bool foreign, bool add, time_t now, uint32_t life,
	struct sent_counts *out);

/* The exits of a sender domain. */
struct sent_exits {
	time_t since;		/* mail leaves here since; 0: none has */
	time_t last;		/* and last did (to a minute) */
	time_t elsewhere;	/* proof of mail that left by another door was seen last; 0: never */
};
enum store_status sent_exits(struct store *s, struct slice domain, struct sent_exits *out);
enum store_status sent_exit_here(struct store *s, struct slice domain, time_t now);
enum store_status sent_exit_elsewhere(struct store *s, struct slice domain, time_t now);
/* Whether `unproven` may be trusted to mean forged: all of its mail has left here for so long (seconds). */
bool sent_exits_ready(const struct sent_exits *e, time_t now, uint32_t life);

#endif
