/*
 * Findings to one disposition and one reply: the only place where Spurn
 * decides.
 *
 * What each finding argues for stands in verdict_rules.c. Here they are weighed together: who is allowed
 * skips reputation, postmaster@ and abuse@ are exempt from it, a proven bounce is not refused for it, the mode of a check says whether it
 * may bite, and the worst disposition speaks.
 */
#include "policy/verdict_rules.h"

#include "check/notice.h"

/* A sender address is anybody's to write: an exception for one does not hold where its domain disowns the client. (What is
 * only observed changes nothing.) */
static bool is_forged(const struct weighing *w)
{
	const struct spf_facts *spf = &w->envelope->auth.spf;

	return spf->asked && !spf->helo && (spf->result == RESULT_FAIL || spf->result == RESULT_SOFTFAIL) &&
		config_mode(w->config, w->domain, CHECK_SPF, false) == MODE_ENFORCE;
}

/* Zones of DNS lists have weights, and so has a client that returns what was never sent, where that is enforced. */
static bool has_weight(const struct weighing *w, const struct finding *f)
{
	return (f->check == CHECK_DNSBL && f->result == RESULT_LISTED) ||
		(f->check == CHECK_BOUNCE && f->result == RESULT_EXCEEDED &&
		 config_mode(w->config, w->domain, CHECK_BOUNCE, false) == MODE_ENFORCE);
}

static void weigh(struct weighing *w, const struct findings *list)
{
	for (const struct finding *f = list->first; f; f = f->next) {
		if (has_weight(w, f))
			w->score += f->weight;
		if (f->check == CHECK_SENDER && f->result == RESULT_ALLOWED)
			w->sender_allowed = !is_forged(w);
		if (f->check == CHECK_BOUNCE && f->result == RESULT_PROVEN && w->envelope->notice)
			w->proven = notice_is_bounce(w->envelope->notice->kind);
	}
}

/* What a finding argues for under one rule. DISPOSITION_ACCEPT: for nothing. */
static struct verdict apply(const struct rule *rule, const struct weighing *w, const struct finding *f)
{
	struct verdict v = { .disposition = DISPOSITION_ACCEPT };

	if (rule->check != f->check || rule->result != f->result || rule->moment != w->moment ||
	    (rule->kind == KIND_REPUTATION && w->exempt))
		return v;
	v.disposition = rule->choose ? rule->choose(w, f) : rule->disposition;
	if (v.disposition == DISPOSITION_ACCEPT)
		return v;
	v.because = f;
	if (v.disposition != DISPOSITION_MARK) {
		v.reply = rule->reply;
		v.detail = slice_of(f->detail);
	}
	if (v.disposition == DISPOSITION_DEFER && rule->disposition == DISPOSITION_REJECT) {
		v.reply = REPLY_AUTH_TROUBLE;	/* what could overrule it is not known now */
		v.detail = SLICE_NULL;
	}
	return v;
}

/* The first rule under which it argues for something speaks. */
static struct verdict argue(const struct weighing *w, const struct finding *f)
{
	struct verdict v = { .disposition = DISPOSITION_ACCEPT };

	for (size_t i = 0; i < verdict_rule_count && v.disposition == DISPOSITION_ACCEPT; i++)
		v = apply(&verdict_rules[i], w, f);
	return v;
}

static void judge(struct verdict *worst, const struct weighing *w, const struct findings *list, bool observe_all)
{
	for (struct finding *f = list->first; f; f = f->next) {
		enum check_mode mode = config_mode(w->config, f->domain ? f->domain : w->domain, f->check, observe_all);
		struct verdict v;

		if (f->only_observed && mode == MODE_ENFORCE)
			mode = MODE_OBSERVE;
		f->mode = (uint8_t)mode;
		if (f->recipient && f->recipient != w->recipient)
			continue;
		v = argue(w, f);
		if (v.disposition == DISPOSITION_ACCEPT || mode == MODE_OFF)
			continue;
		f->would = (uint8_t)v.disposition;
		if (v.reply == REPLY_MIXED_OUTCOME && w->envelope->prdr) {
			worst->split = worst->split || mode == MODE_ENFORCE;
			continue;
		}
		v.split = worst->split;
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
