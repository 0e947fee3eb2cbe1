/*
 * Did we send that? What a notice proves about the message that it claims to answer.
 *
 * Proofs, strongest first: a tag in the address that it comes to, our field in the returned header section (proof.h), a
 * signature of one of our domains there, the sent ledger (sent.h), an SRS address of our own forwarding. A valid proof whose failed
 * recipient we wrote to is `proven`; with another recipient it is `plausible`, for aliases, forwarders and lists do that:
 * it is let in a few times per message. What claims a key of ours and fails it, is far too old, or comes too often,
 * is `refuted`. All else is `unproven`: that is no accusation, for mail may leave a site by more than one door.
 */
#ifndef SPURN_CHECK_BOUNCE_H
#define SPURN_CHECK_BOUNCE_H

#include "check/notice.h"
#include "check/proof.h"
#include "check/sent.h"
#include "wire/envelope.h"

/* X(identifier, name in records and in the tool) */
#define BOUNCE_METHODS(X) \
	X(NONE, "none") \
	X(TAG, "tag") \
	X(TRACE, "trace") \
	X(SIGNATURE, "signature") \
	X(LEDGER, "ledger") \
	X(SRS, "srs")

enum bounce_method {
#define X(id, name) BOUNCE_BY_##id,
	BOUNCE_METHODS(X)
#undef X
};

const char *bounce_method_name(enum bounce_method m);

/* A site's means of proof. */
struct bounce_conf {
	struct proof_keys keys;
	struct srs_secrets srs;
	uint32_t life;		/* days that a proof is good for */
	uint32_t foreign_limit;	/* notices about one message for somebody it was not sent to */
	uint32_t replay_limit;	/* notices about one message, beside three for each recipient */
	uint32_t client_limit;	/* unproven notices of a client, of late; 0: none */
	uint32_t client_weight;	/* beyond it, beside the weights of DNS lists */
};

struct bounce_question {
	const struct bounce_conf *conf;
	const struct notice *notice;
	struct store *store;		/* NULL: no ledger */
	struct slice addressee;		/* canonical: who the notice is for */
	struct slice tag;		/* of PRVS form in the address it was sent to; empty: none */
	const struct address_form *form; /* of the address it was sent to, for SRS; NULL: not known */
	/* A signature of one of our domains on the returned header section is good; its domain. Empty: none. */
	struct slice signed_by, signature;	/* signature: what its notices are counted by */
	bool signed_other_body;	/* it would be, if the body returned below it were what was signed */
	bool signed_long_ago;	/* it would be, if it were not too old */
	bool signed_for_other;	/* it would be, if its author were the addressee */
	bool guesser;			/* its client has failed so many tags and SRS hashes that one that fits proves nothing */
	bool remember;			/* counts it */
	time_t now;
};

struct bounce_proof {
	enum result result;		/* RESULT_PROVEN, _PLAUSIBLE, _UNPROVEN, _REFUTED */
	enum bounce_method method;
	const char *reason;		/* a phrase for the operator */
	struct slice message_id;	/* of the message that it is about; empty: not told */
	bool tag_failed;		/* a tag or an SRS hash under our key that is false: somebody guesses */
	bool not_looked_at;		/* it bears a tag or an SRS hash, and its client is a guesser */
	bool elsewhere;			/* signed by us, and without our trace: it left by another door */
	bool store_trouble;		/* the ledger could not be asked: nothing may be refused for it */
};

/* What a tag says about the address in which it stood. One that fails our key is PROOF_ABSENT if mail left here under it: another host of
 * the site had given it, under a key of the same digit. store NULL: by the key alone. Empty: ABSENT. */
enum proof_answer bounce_tag_check(const struct bounce_conf *conf, struct store *store, struct slice tag, struct slice addressee,
	time_t now);

/* out->reason and what it shows live in `a`. */
void bounce_judge(struct bounce_proof *out, const struct bounce_question *q, struct arena *a);

#endif
