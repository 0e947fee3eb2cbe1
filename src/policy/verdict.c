/*
 * Findings to one disposition and one reply: the only place where Spurn
 * decides.
 *
 * The rules stand in a table. A finding that no rule names is knowledge, not an
 * argument. Weights of DNS lists are added up over all findings first; the sum
 * then speaks as one LISTED at the first zone that was hit. Who is allowed
 * skips reputation; postmaster@ and abuse@ are exempt from it, too. A DNS list
 * that could not be asked is unknown: no finding argues for it (the contract's table of failed questions).
 */
#include "policy/verdict.h"

enum kind {
	KIND_REPUTATION,	/* of the client or the sender: exemptions apply */
	KIND_FACT,		/* holds for everybody */
};

static const struct rule {
	enum check check;
	enum result result;
	enum disposition disposition;
	enum reply_name reply;
	enum kind kind;
} rules[] = {
	{ CHECK_CLIENT,        RESULT_DENIED,    DISPOSITION_REJECT, REPLY_CLIENT_DENIED,      KIND_REPUTATION },
	{ CHECK_DNSBL,         RESULT_LISTED,    DISPOSITION_REJECT, REPLY_CLIENT_LISTED,      KIND_REPUTATION },
	{ CHECK_SENDER,        RESULT_DENIED,    DISPOSITION_REJECT, REPLY_SENDER_DENIED,      KIND_REPUTATION },
	{ CHECK_SENDER_DOMAIN, RESULT_NXDOMAIN,  DISPOSITION_REJECT, REPLY_NO_SENDER_DOMAIN,   KIND_FACT },
	{ CHECK_SENDER_DOMAIN, RESULT_NULL_MX,   DISPOSITION_REJECT, REPLY_SENDER_NULL_MX,     KIND_FACT },
	{ CHECK_SENDER_DOMAIN, RESULT_BAD_MX,    DISPOSITION_REJECT, REPLY_SENDER_BAD_MX,      KIND_FACT },
	{ CHECK_SENDER_DOMAIN, RESULT_TEMPERROR, DISPOSITION_DEFER,  REPLY_SENDER_DNS_TROUBLE, KIND_FACT },
	{ CHECK_RECIPIENT,     RESULT_NO_SUCH_USER, DISPOSITION_REJECT, REPLY_NO_SUCH_USER,    KIND_FACT },
	{ CHECK_RECIPIENT,     RESULT_UNCONFIRMED, DISPOSITION_DEFER, REPLY_RECIPIENT_UNCONFIRMED, KIND_FACT },
	{ CHECK_RECIPIENT,     RESULT_UNKNOWN,   DISPOSITION_DEFER,  REPLY_RECIPIENT_UNKNOWN,  KIND_FACT },
};

/* What all findings together say before any single rule is looked at. */
struct weighing {
	int score;			/* DNSBL weights */
	bool sender_allowed, client_allowed;
};

static void weigh(struct weighing *w, const struct findings *list)
{
	for (const struct finding *f = list->first; f; f = f->next) {
		if (f->check == CHECK_DNSBL && f->result == RESULT_LISTED)
			w->score += f->weight;
		if (f->check == CHECK_SENDER && f->result == RESULT_ALLOWED)
			w->sender_allowed = true;
	}
}

static bool is_exempt(const struct weighing *w, const struct rule *rule, const struct finding *f,
	const struct recipient *r)
{
	if (rule->kind != KIND_REPUTATION)
		return false;
	if (r && r->exempt)
		return true;
	if (f->check == CHECK_DNSBL && (w->client_allowed || w->sender_allowed))
		return true;
	return f->check == CHECK_SENDER && w->sender_allowed;
}

static const struct rule *rule_of(const struct finding *f)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].check == f->check && rules[i].result == f->result)
			return &rules[i];
	return NULL;
}

/* What one finding argues for. REPLY_NONE: for nothing. */
static struct verdict argue(const struct config *c, const struct weighing *w, struct finding *f,
	const struct recipient *r)
{
	const struct rule *rule = rule_of(f);
	struct verdict v = { .disposition = DISPOSITION_ACCEPT };

	if (!rule || is_exempt(w, rule, f, r))
		return v;
	if (f->check == CHECK_DNSBL && (f->weight <= 0 || w->score < c->dnsbl.threshold))
		return v;
	return (struct verdict){ .disposition = rule->disposition, .reply = rule->reply, .because = f,
		.detail = slice_of(f->detail) };
}

static void judge(struct verdict *worst, const struct config *c, const struct domain_conf *d,
	const struct weighing *w, const struct findings *list, const struct recipient *r, bool observe_all)
{
	for (struct finding *f = list->first; f; f = f->next) {
		enum check_mode mode = config_mode(c, d, f->check, observe_all);
		struct verdict v;

		f->mode = (uint8_t)mode;
		if (f->recipient && f->recipient != r)
			continue;
		v = argue(c, w, f, r);
		if (v.reply == REPLY_NONE || mode == MODE_OFF)
			continue;
		f->would = (uint8_t)v.disposition;
		if (mode == MODE_ENFORCE && v.disposition > worst->disposition)
			*worst = v;
	}
}

struct verdict verdict_of_recipient(const struct config *c, const struct domain_conf *d,
	struct envelope *e, const struct recipient *r, bool observe_all)
{
	struct weighing w = { .client_allowed = e->client->class == CLIENT_ALLOWED ||
		e->client->class == CLIENT_TRUSTED };
	struct verdict worst = { .disposition = DISPOSITION_ACCEPT };

	weigh(&w, &e->client_findings);
	weigh(&w, &e->findings);
	judge(&worst, c, d, &w, &e->client_findings, r, observe_all);
	judge(&worst, c, d, &w, &e->findings, r, observe_all);
	return worst;
}

struct verdict verdict_of_message(const struct config *c, const struct domain_conf *d,
	struct envelope *e, bool observe_all)
{
	struct verdict v = { .disposition = DISPOSITION_ACCEPT };

	/* Checks of the message come with later stages; their findings keep the mode they were judged under. */
	for (struct finding *f = e->findings.first; f; f = f->next)
		f->mode = (uint8_t)config_mode(c, d, f->check, observe_all);
	return v;
}
