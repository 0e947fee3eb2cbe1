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

static enum disposition listed(const struct weighing *w, const struct finding *f)
{
	if (w->client_allowed || w->sender_allowed || f->weight <= 0 || w->score < w->config->dnsbl.threshold)
		return DISPOSITION_ACCEPT;
	return DISPOSITION_REJECT;
}

static enum disposition sender_denied(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->sender_allowed ? DISPOSITION_ACCEPT : DISPOSITION_REJECT;
}

static const struct rule rules[] = {
	{ CHECK_CLIENT, RESULT_DENIED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_CLIENT_DENIED, NULL },
	{ CHECK_DNSBL, RESULT_LISTED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_CLIENT_LISTED, listed },
	{ CHECK_SENDER, RESULT_DENIED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SENDER_DENIED,
		sender_denied },
	{ CHECK_SENDER_DOMAIN, RESULT_NXDOMAIN, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_NO_SENDER_DOMAIN, NULL },
	{ CHECK_SENDER_DOMAIN, RESULT_NULL_MX, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_SENDER_NULL_MX, NULL },
	{ CHECK_SENDER_DOMAIN, RESULT_BAD_MX, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_SENDER_BAD_MX, NULL },
	{ CHECK_SENDER_DOMAIN, RESULT_TEMPERROR, AT_RCPT, KIND_FACT, DISPOSITION_DEFER, REPLY_SENDER_DNS_TROUBLE, NULL },
	{ CHECK_RECIPIENT, RESULT_NO_SUCH_USER, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_NO_SUCH_USER, NULL },
	{ CHECK_RECIPIENT, RESULT_UNCONFIRMED, AT_RCPT, KIND_FACT, DISPOSITION_DEFER, REPLY_RECIPIENT_UNCONFIRMED,
		NULL },
	{ CHECK_RECIPIENT, RESULT_UNKNOWN, AT_RCPT, KIND_FACT, DISPOSITION_DEFER, REPLY_RECIPIENT_UNKNOWN, NULL },
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

static const struct rule *rule_of(const struct finding *f, enum moment moment)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (rules[i].check == f->check && rules[i].result == f->result && rules[i].moment == moment)
			return &rules[i];
	return NULL;
}

/* What one finding argues for. DISPOSITION_ACCEPT: for nothing. */
static struct verdict argue(const struct weighing *w, const struct finding *f)
{
	const struct rule *rule = rule_of(f, w->moment);
	struct verdict v = { .disposition = DISPOSITION_ACCEPT };

	if (!rule || (rule->kind == KIND_REPUTATION && w->exempt))
		return v;
	v.disposition = rule->choose ? rule->choose(w, f) : rule->disposition;
	if (v.disposition == DISPOSITION_ACCEPT)
		return v;
	v.because = f;
	if (v.disposition != DISPOSITION_MARK) {
		v.reply = rule->reply;
		v.detail = slice_of(f->detail);
	}
	return v;
}

static void judge(struct verdict *worst, const struct weighing *w, const struct findings *list, bool observe_all)
{
	for (struct finding *f = list->first; f; f = f->next) {
		enum check_mode mode = config_mode(w->config, w->domain, f->check, observe_all);
		struct verdict v;

		f->mode = (uint8_t)mode;
		if (f->recipient && f->recipient != w->recipient)
			continue;
		v = argue(w, f);
		if (v.disposition == DISPOSITION_ACCEPT || mode == MODE_OFF)
			continue;
		f->would = (uint8_t)v.disposition;
		if (mode == MODE_ENFORCE && v.disposition > worst->disposition)
			*worst = v;
	}
}

static struct verdict verdict_at(struct weighing *w, struct envelope *e, bool observe_all)
{
	struct verdict worst = { .disposition = DISPOSITION_ACCEPT };

	w->client_allowed = e->client->class == CLIENT_ALLOWED || e->client->class == CLIENT_TRUSTED;
	weigh(w, &e->client_findings);
	weigh(w, &e->findings);
	judge(&worst, w, &e->client_findings, observe_all);
	judge(&worst, w, &e->findings, observe_all);
	return worst;
}

struct verdict verdict_of_recipient(const struct config *c, const struct domain_conf *d,
	struct envelope *e, const struct recipient *r, bool observe_all)
{
	struct weighing w = { .config = c, .domain = d, .envelope = e, .recipient = r, .moment = AT_RCPT,
		.exempt = r && r->exempt };

	return verdict_at(&w, e, observe_all);
}

static bool all_exempt(const struct envelope *e)
{
	for (const struct recipient *r = e->recipients; r; r = r->next)
		if (!r->exempt)
			return false;
	return e->recipients != NULL;
}

struct verdict verdict_of_message(const struct config *c, const struct domain_conf *d,
	struct envelope *e, bool observe_all)
{
	struct weighing w = { .config = c, .domain = d, .envelope = e, .moment = AT_END, .exempt = all_exempt(e) };

	return verdict_at(&w, e, observe_all);
}
