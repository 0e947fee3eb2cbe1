/*
 * The rules of the verdict, and what they may look at. For policy/verdict*.c alone.
 */
#ifndef SPURN_POLICY_VERDICT_RULES_H
#define SPURN_POLICY_VERDICT_RULES_H

#include "policy/verdict.h"

enum kind {
	KIND_REPUTATION,	/* of the client or the sender, or of content: exemptions apply */
	KIND_FACT,		/* holds for everybody */
};

/* When a finding is spoken. */
enum moment { AT_RCPT, AT_END };

/* What all findings together say before any single rule is looked at. */
struct weighing {
	const struct config *config;
	const struct domain_conf *domain;	/* NULL on the outbound side */
	const struct envelope *envelope;
	const struct recipient *recipient;	/* AT_RCPT */
	enum moment moment;
	int score;			/* DNSBL weights */
	bool sender_allowed, client_allowed;
	bool proven;			/* a bounce that answers what was sent from here */
	bool exempt;			/* postmaster@ or abuse@, or nobody else at the end */
};

struct rule {
	enum check check;
	enum result result;
	enum moment moment;
	enum kind kind;
	enum disposition disposition;
	enum reply_name reply;
	/* What it leads to depends on more than the result; DISPOSITION_ACCEPT: argues for nothing. NULL: it does not. */
	enum disposition (*choose)(const struct weighing *w, const struct finding *f);
};

/* The first rule under which a finding argues for something speaks. */
extern const struct rule verdict_rules[];
extern const size_t verdict_rule_count;

#endif
