/*
 * What findings lead to: the table of rules, and the few that depend on more than a check and its result.
 *
 * A finding that no rule names is knowledge, not an argument. Weights of DNS lists are added up over all findings first; the sum
 * then speaks as one LISTED at the first zone that was hit. A DNS list that could not be asked is unknown: no finding
 * argues for it.
 */
#include "policy/verdict_rules.h"

#include "check/notice.h"

static enum disposition listed(const struct weighing *w, const struct finding *f)
{
	if (w->client_allowed || w->sender_allowed || f->weight <= 0 || w->score < w->config->dnsbl.threshold)
		return DISPOSITION_ACCEPT;
	return DISPOSITION_REJECT;
}

/* Where it is only watched it has no weight for others, but would have had this one for itself. */
static enum disposition client_returns(const struct weighing *w, const struct finding *f)
{
	struct weighing with = *w;

	if (config_mode(w->config, w->domain, CHECK_BOUNCE, false) != MODE_ENFORCE)
		with.score += f->weight;
	return listed(&with, f);
}

static enum disposition put_off(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->client_allowed || w->sender_allowed ? DISPOSITION_ACCEPT : DISPOSITION_DEFER;
}

static enum disposition sender_denied(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->sender_allowed ? DISPOSITION_ACCEPT : DISPOSITION_REJECT;
}

/* Whoever wrote it, a refusal would lose what one of ours waits for: he is told that his message failed. The text of
 * others that it returns may look as bad as ours did to them, and few hosts sign their bounces. */
static enum disposition mark_if_proven(const struct weighing *w, enum disposition d)
{
	return w->proven && (d == DISPOSITION_REJECT || d == DISPOSITION_DEFER) ? DISPOSITION_MARK : d;
}

/* ---- SPF ---- */

/* The signer is the domain itself or stands above it. */
static bool signs_for(struct slice signer, struct slice domain)
{
	if (slice_find(signer, '.') < 0 || !slice_ends_nocase(domain, signer))
		return false;
	return domain.n == signer.n || domain.p[domain.n - signer.n - 1] == '.';
}

/* Whether something stands behind a message whose SPF does not: an aligned DKIM signature, DMARC, a trusted forwarder or
 * sealer. BACKING_UNKNOWN: one of these could not be looked up. */
enum backing { BACKING_NONE, BACKING_UNKNOWN, BACKING_GOOD };

static enum backing backing_of(const struct auth_facts *auth)
{
	enum backing backing = BACKING_NONE;

	if (auth->dmarc.result == RESULT_PASS || auth->dmarc.overridden_by ||
	    (auth->dmarc.aligned_by && strstr(auth->dmarc.aligned_by, "dkim")) ||
	    (auth->arc.result == RESULT_PASS && auth->arc.trusted))
		return BACKING_GOOD;
	if (auth->arc.result == RESULT_TEMPERROR && auth->arc.trusted)
		backing = BACKING_UNKNOWN;
	for (const struct dkim_facts *s = auth->dkim; s; s = s->next) {
		bool aligned = signs_for(s->domain, auth->spf.domain) || signs_for(s->domain, auth->dmarc.from_domain);

		if (aligned && s->result == RESULT_PASS)
			return BACKING_GOOD;
		if ((aligned && s->result == RESULT_TEMPERROR) ||
		    (s->result == RESULT_PASS && auth->dmarc.result == RESULT_TEMPERROR))
			backing = BACKING_UNKNOWN;
	}
	return backing;
}

/* choice: of "accept|mark|reject". The null reverse-path must not be worse off than others on its client, whose HELO
 * nobody asks about; so the HELO identity is marked at most. */
static enum disposition spf_disposition(const struct weighing *w, uint8_t choice)
{
	static const enum disposition chosen[] = { DISPOSITION_ACCEPT, DISPOSITION_MARK, DISPOSITION_REJECT };
	const struct auth_facts *auth = &w->envelope->auth;
	enum backing backing = backing_of(auth);

	if (backing == BACKING_GOOD)
		return DISPOSITION_ACCEPT;
	if (chosen[choice] != DISPOSITION_REJECT)
		return chosen[choice];
	if (w->client_allowed || w->proven || auth->spf.helo)
		return DISPOSITION_MARK;
	return backing == BACKING_UNKNOWN ? DISPOSITION_DEFER : DISPOSITION_REJECT;
}

/* A domain that never sends has nothing that could overrule it. */
static enum disposition spf_never_sends(const struct weighing *w, const struct finding *f)
{
	(void)f;
	if (!w->envelope->auth.spf.never_sends || spf_disposition(w, w->config->spf.fail) != DISPOSITION_REJECT)
		return DISPOSITION_ACCEPT;
	return DISPOSITION_REJECT;
}

static enum disposition spf_fail(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return spf_disposition(w, w->config->spf.fail);
}

static enum disposition spf_softfail(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return spf_disposition(w, w->config->spf.softfail);
}

static enum disposition spf_permerror(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return spf_disposition(w, w->config->spf.permerror);
}

static enum disposition spf_temperror(const struct weighing *w, const struct finding *f)
{
	static const enum disposition chosen[] = { DISPOSITION_ACCEPT, DISPOSITION_MARK, DISPOSITION_DEFER };

	enum disposition d = chosen[w->config->spf.temperror];

	(void)f;
	if (backing_of(&w->envelope->auth) == BACKING_GOOD)
		return DISPOSITION_ACCEPT;
	return d == DISPOSITION_DEFER && (w->client_allowed || w->proven || w->envelope->auth.spf.helo) ? DISPOSITION_MARK : d;
}

/* ---- DMARC ---- */

/* choice: of "accept|mark|reject". */
static enum disposition dmarc_choice(const struct weighing *w, uint8_t choice)
{
	static const enum disposition chosen[] = { DISPOSITION_ACCEPT, DISPOSITION_MARK, DISPOSITION_REJECT };

	return chosen[choice] == DISPOSITION_REJECT && w->client_allowed ? DISPOSITION_MARK : mark_if_proven(w, chosen[choice]);
}

/* What the policy of the author's domain leads to. */
static enum disposition dmarc_disposition(const struct weighing *w)
{
	const struct dmarc_facts *facts = &w->envelope->auth.dmarc;

	if (facts->overridden_by || (facts->policy != 'r' && facts->policy != 'q'))
		return DISPOSITION_ACCEPT;
	return dmarc_choice(w, facts->policy == 'r' ? w->config->dmarc.reject : w->config->dmarc.quarantine);
}

static enum disposition dmarc_fail(const struct weighing *w, const struct finding *f)
{
	const struct arc_facts *arc = &w->envelope->auth.arc;
	enum disposition d = dmarc_disposition(w);

	(void)f;
	return d == DISPOSITION_REJECT && arc->result == RESULT_TEMPERROR && arc->trusted ? DISPOSITION_DEFER : d;
}

static enum disposition dmarc_temperror(const struct weighing *w, const struct finding *f)
{
	static const enum disposition chosen[] = { DISPOSITION_ACCEPT, DISPOSITION_MARK, DISPOSITION_DEFER };
	enum disposition d = dmarc_disposition(w);

	(void)f;
	if (w->envelope->auth.dmarc.policy)
		return d == DISPOSITION_REJECT ? DISPOSITION_DEFER : d;
	d = w->envelope->auth.dmarc.overridden_by ? DISPOSITION_ACCEPT : chosen[w->config->dmarc.temperror];
	return d == DISPOSITION_DEFER && w->client_allowed ? DISPOSITION_MARK : mark_if_proven(w, d);
}

/* What machines write is often sloppy, and whoever answers with a null reverse-path is not to fare worse for it. */
static enum disposition bad_from(const struct weighing *w, const struct finding *f)
{
	const struct envelope *e = w->envelope;
	enum disposition d = dmarc_choice(w, w->config->dmarc.bad_from);
	bool notice = path_is_null(&e->reverse_path) || (e->notice && e->notice->kind != NOTICE_MESSAGE);

	(void)f;
	return d == DISPOSITION_REJECT && (notice || e->client->class == CLIENT_TRUSTED) ? DISPOSITION_MARK : d;
}

/* ---- content ---- */

/* A refusal of ours would make our own other MX, or a forwarder of ours, bounce: it gets a mark instead. */
static enum disposition mark_if_trusted(const struct weighing *w, enum disposition d)
{
	return w->envelope->client->class == CLIENT_TRUSTED ? DISPOSITION_MARK : d;
}

static enum disposition virus_refused(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return mark_if_trusted(w, DISPOSITION_REJECT);
}

static enum disposition content_refused(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return mark_if_proven(w, mark_if_trusted(w, DISPOSITION_REJECT));
}

static enum disposition content_put_off(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return mark_if_proven(w, mark_if_trusted(w, DISPOSITION_DEFER));
}

/* ---- bounces ---- */

#define BOUNCE_REJECT 2	/* the place of reject among accept|mark|reject */

static enum disposition chosen(uint8_t choice)
{
	static const enum disposition of[] = { DISPOSITION_ACCEPT, DISPOSITION_MARK, DISPOSITION_REJECT };

	return of[choice];
}

/* What the domain says of a bounce that proves so much. Other notices are marked with their kind and let in, and so is what a person
 * may have written. */
static enum disposition bounce_disposition(const struct weighing *w, uint8_t choice)
{
	const struct notice *n = w->envelope->notice;
	enum disposition d = chosen(choice);

	if (!n || !notice_is_bounce(n->kind))
		return DISPOSITION_ACCEPT;
	return d == DISPOSITION_REJECT && n->guess ? DISPOSITION_MARK : mark_if_trusted(w, d);
}

static enum disposition bounce_proven(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->domain ? bounce_disposition(w, w->domain->bounces.proven) : DISPOSITION_ACCEPT;
}

static enum disposition bounce_plausible(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->domain ? bounce_disposition(w, w->domain->bounces.plausible) : DISPOSITION_ACCEPT;
}

/* Refused only where all mail leaves through here, by the word of the postmaster. */
static enum disposition bounce_unproven(const struct weighing *w, const struct finding *f)
{
	enum disposition d;

	if (!w->domain)
		return DISPOSITION_ACCEPT;
	/* weight: in the middle of a wave, or of a client that returns much. */
	d = bounce_disposition(w, f->weight && w->domain->bounces.wave_tightens ? BOUNCE_REJECT : w->domain->bounces.unproven);
	return d == DISPOSITION_REJECT && !w->domain->bounces.enrolled ? DISPOSITION_MARK : d;
}

/* It may have a proof, and cannot be asked for it now. */
static enum disposition bounce_put_off(const struct weighing *w, const struct finding *f)
{
	enum disposition d = bounce_unproven(w, f);

	return d == DISPOSITION_REJECT ? DISPOSITION_DEFER : d;
}

static enum disposition bounce_refuted(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->domain ? bounce_disposition(w, w->domain->bounces.refuted) : DISPOSITION_ACCEPT;
}

/* The ledger, or the key of a signature, could not be asked. */
static enum disposition bounce_unknown(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->domain ? bounce_disposition(w, 1) : DISPOSITION_ACCEPT;
}

static enum disposition null_sender(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->domain ? mark_if_trusted(w, chosen(w->domain->bounces.null_sender)) : DISPOSITION_ACCEPT;
}

/* ---- notices that go out ---- */

static enum disposition destroyed(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->config->guard.action == GUARD_DESTROY ? DISPOSITION_DESTROY : DISPOSITION_ACCEPT;
}

/* Of the inbound side: the ledger is the worse for it, the message is not. */
static enum disposition ledger_trouble(const struct weighing *w, const struct finding *f)
{
	(void)f;
	return w->domain ? DISPOSITION_ACCEPT : DISPOSITION_DEFER;
}

const struct rule verdict_rules[] = {
	{ CHECK_CLIENT, RESULT_DENIED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_CLIENT_DENIED, NULL },
	{ CHECK_DNSBL, RESULT_LISTED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_CLIENT_LISTED, listed },
	{ CHECK_SENDER, RESULT_DENIED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SENDER_DENIED,
		sender_denied },
	{ CHECK_SENDER_DOMAIN, RESULT_NXDOMAIN, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_NO_SENDER_DOMAIN, NULL },
	{ CHECK_SENDER_DOMAIN, RESULT_NULL_MX, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_SENDER_NULL_MX, NULL },
	{ CHECK_SENDER_DOMAIN, RESULT_BAD_MX, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_SENDER_BAD_MX, NULL },
	{ CHECK_SENDER_DOMAIN, RESULT_TEMPERROR, AT_RCPT, KIND_FACT, DISPOSITION_DEFER, REPLY_SENDER_DNS_TROUBLE, NULL },
	{ CHECK_SPF, RESULT_FAIL, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SPF_NEVER_SENDS, spf_never_sends },
	{ CHECK_SPF, RESULT_FAIL, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SPF_FAIL, spf_fail },
	{ CHECK_SPF, RESULT_SOFTFAIL, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SPF_FAIL, spf_softfail },
	{ CHECK_SPF, RESULT_PERMERROR, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SPF_BROKEN, spf_permerror },
	{ CHECK_SPF, RESULT_TEMPERROR, AT_END, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_SPF_TROUBLE, spf_temperror },
	{ CHECK_DMARC, RESULT_FAIL, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_DMARC_REFUSED, dmarc_fail },
	{ CHECK_DMARC, RESULT_TEMPERROR, AT_END, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_DMARC_TROUBLE,
		dmarc_temperror },
	{ CHECK_DMARC, RESULT_BAD_FROM, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_BAD_FROM, bad_from },
	{ CHECK_DMARC, RESULT_NO_FROM, AT_END, KIND_REPUTATION, DISPOSITION_MARK, REPLY_NONE, NULL },
	{ CHECK_RATE, RESULT_EXCEEDED, AT_RCPT, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_RATE_EXCEEDED, put_off },
	{ CHECK_GREYLIST, RESULT_FIRST_CONTACT, AT_END, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_GREYLISTED, put_off },
	{ CHECK_RECIPIENT, RESULT_NO_SUCH_USER, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_NO_SUCH_USER, NULL },
	{ CHECK_RECIPIENT, RESULT_UNCONFIRMED, AT_RCPT, KIND_FACT, DISPOSITION_DEFER, REPLY_RECIPIENT_UNCONFIRMED,
		NULL },
	{ CHECK_NOTICE, RESULT_UNSOLICITED, AT_END, KIND_FACT, DISPOSITION_DESTROY, REPLY_NOTICE_DESTROYED, destroyed },
	{ CHECK_NOTICE, RESULT_UNSOLICITED, AT_END, KIND_FACT, DISPOSITION_REJECT, REPLY_NOTICE_REFUSED, NULL },
	{ CHECK_NOTICE, RESULT_REPEATED, AT_END, KIND_FACT, DISPOSITION_DESTROY, REPLY_NOTICE_DESTROYED, destroyed },
	{ CHECK_NOTICE, RESULT_REPEATED, AT_END, KIND_FACT, DISPOSITION_REJECT, REPLY_NOTICE_REFUSED, NULL },
	{ CHECK_NOTICE, RESULT_TEMPERROR, AT_END, KIND_FACT, DISPOSITION_DEFER, REPLY_NOTICE_UNDECIDED, ledger_trouble },
	{ CHECK_RECIPIENT, RESULT_UNKNOWN, AT_RCPT, KIND_FACT, DISPOSITION_DEFER, REPLY_RECIPIENT_UNKNOWN, NULL },
	{ CHECK_BOUNCE, RESULT_EXCEEDED, AT_RCPT, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_CLIENT_RETURNS, client_returns },
	{ CHECK_BOUNCE, RESULT_NEVER_SENDS, AT_RCPT, KIND_FACT, DISPOSITION_REJECT, REPLY_NEVER_SENDS, NULL },
	{ CHECK_BOUNCE, RESULT_PROVEN, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_BOUNCE_UNWANTED, bounce_proven },
	{ CHECK_BOUNCE, RESULT_PLAUSIBLE, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_BOUNCE_UNWANTED,
		bounce_plausible },
	{ CHECK_BOUNCE, RESULT_UNPROVEN, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_BOUNCE_UNPROVEN,
		bounce_unproven },
	{ CHECK_BOUNCE, RESULT_TRY_LATER, AT_END, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_BOUNCE_LATER, bounce_put_off },
	{ CHECK_BOUNCE, RESULT_REFUTED, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_BOUNCE_REFUTED, bounce_refuted },
	{ CHECK_BOUNCE, RESULT_TEMPERROR, AT_END, KIND_REPUTATION, DISPOSITION_MARK, REPLY_NONE, bounce_unknown },
	{ CHECK_BOUNCE, RESULT_NULL_SENDER, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_NULL_SENDER, null_sender },
	{ CHECK_CONTENT, RESULT_VIRUS, AT_END, KIND_FACT, DISPOSITION_REJECT, REPLY_VIRUS_FOUND, virus_refused },
	{ CHECK_CONTENT, RESULT_SPAM, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_SPAM_CONTENT, content_refused },
	{ CHECK_CONTENT, RESULT_REFUSED, AT_END, KIND_REPUTATION, DISPOSITION_REJECT, REPLY_CONTENT_UNWANTED,
		content_refused },
	{ CHECK_CONTENT, RESULT_TRY_LATER, AT_END, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_CONTENT_LATER,
		content_put_off },
	{ CHECK_CONTENT, RESULT_DISAGREED, AT_END, KIND_REPUTATION, DISPOSITION_DEFER, REPLY_MIXED_OUTCOME,
		content_put_off },
	{ CHECK_CONTENT, RESULT_SUSPECT, AT_END, KIND_FACT, DISPOSITION_MARK, REPLY_NONE, NULL },
	{ CHECK_CONTENT, RESULT_UNCHECKED, AT_END, KIND_FACT, DISPOSITION_MARK, REPLY_NONE, NULL },
	{ CHECK_CONTENT, RESULT_TEMPERROR, AT_END, KIND_FACT, DISPOSITION_DEFER, REPLY_SCANNER_TROUBLE, NULL },
};
const size_t verdict_rule_count = sizeof(verdict_rules) / sizeof(verdict_rules[0]);
