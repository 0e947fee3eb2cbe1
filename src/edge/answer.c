/*
 * The answer to the end of the data: what was decided here, or what the backend said.
 *
 * The backend's answer is ours where it is the same for everybody. Where its recipients disagree there is no reply that is true for all (RFC
 * 5321 section 4.2.5): the client hears each under PRDR, and else a 4xx, with a hint that lets those who were refused come alone and hear
 * their own refusal. Nobody's refusal is taken from a hint.
 */
#include "edge/transaction.h"

#include "check/backend_truth.h"

void answer_end(struct transaction *tx, enum disposition d, enum reply_name name, struct slice detail)
{
	struct session *s = tx->session;
	struct reply r = transaction_reply(tx, name, detail);

	transaction_decide(tx, d, &r);
	session_reply(s, &r);
	if (r.code >= 400)
		s->rejected++;
	edge_count(s->edge, d == DISPOSITION_REJECT ? EDGE_MESSAGES_REFUSED :
		d == DISPOSITION_DESTROY ? EDGE_NOTICES_DESTROYED : d == DISPOSITION_DEFER ? EDGE_MESSAGES_DEFERRED : EDGE_MESSAGES_ACCEPTED, 1);
}

static void answer_plain(struct transaction *tx, enum disposition d, enum reply_name name)
{
	answer_end(tx, d, name, SLICE_NULL);
}

struct outcome {
	uint32_t positive, transient, permanent;
	const struct recipient *refused;	/* the first whose answer is not positive */
};

static struct outcome outcome_of(const struct transaction *tx)
{
	struct outcome o = { 0 };

	for (const struct recipient *r = tx->envelope.recipients; r; r = r->next) {
		if (r->has_it || reply_is_positive(&r->backend_reply)) {
			o.positive++;
			continue;
		}
		if (r->kept_back ? !r->later : reply_is_permanent(&r->backend_reply))
			o.permanent++;
		else
			o.transient++;
		if (!o.refused)
			o.refused = r;
	}
	return o;
}

/* Those who refused come back alone next time, and then hear the backend's own live answer. */
static void hint_refusals(struct transaction *tx)
{
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (!r->has_it && !reply_is_positive(&r->backend_reply))
			commit_hint(tx, r);
}

void answer_hint_disagreed(struct transaction *tx)
{
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (r->alone)
			commit_hint(tx, r);
}

void answer_keep_back(struct transaction *tx)
{
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next) {
		if (!r->alone)
			continue;
		r->kept_back = true;
		r->backend_reply = (struct reply){ 0 };		/* what was said to RCPT holds no more */
	}
}

static bool anybody_left(const struct transaction *tx)
{
	for (const struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (!r->has_it && !r->kept_back)
			return true;
	return false;
}

static enum reply_name refusal_of_content(const struct reply *said)
{
	bool permanent = reply_is_permanent(said);

	if (enhanced_code_is(said->enhanced, 5, 1, 1))
		return REPLY_NO_SUCH_USER;
	if (said->enhanced.subject == 2 && said->enhanced.detail == 2)
		return permanent ? REPLY_MAILBOX_FULL : REPLY_MAILBOX_FULL_NOW;
	return permanent ? REPLY_CONTENT_REFUSED : REPLY_CONTENT_DEFERRED;
}

/* What a recipient without the message is told: a scanner's word on it alone, or the backend's. */
static enum reply_name refusal_of(const struct recipient *r)
{
	if (r->kept_back)
		return r->later ? REPLY_CONTENT_LATER : REPLY_CONTENT_UNWANTED;
	return refusal_of_content(&r->backend_reply);
}

/* Each recipient hears its own answer, in the order of RCPT, between a 353 and the last reply (draft-hall-prdr-00). */
static void answer_each(struct transaction *tx, enum disposition accepted)
{
	session_say(tx->session, REPLY_EACH_FOLLOWS, SLICE_NULL);
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next) {
		bool has = r->has_it || reply_is_positive(&r->backend_reply);

		r->reply = has ? reply_make(&tx->arena, REPLY_RECIPIENT_HAS, SLICE_NULL, NULL, NULL) :
			transaction_reply(tx, refusal_of(r), SLICE_NULL);
		session_reply(tx->session, &r->reply);
		commit_unhint(tx, r);
	}
	answer_end(tx, accepted, REPLY_EACH_ANSWERED, slice_of(tx->envelope.ref));
}

/* Recipients that the backend took at RCPT and does not know after the message. */
static void learn_late_refusals(struct transaction *tx)
{
	for (struct recipient *r = tx->envelope.recipients; r && tx->domain; r = r->next) {
		if (!r->final_answered || !truth_refused_late(tx->session->edge->services.store, tx->relay.backend,
				tx->domain->name, &r->backend_reply))
			continue;
		finding_add(&tx->envelope.findings, &tx->arena, CHECK_RECIPIENT, RESULT_LATE_REFUSAL,
			"The backend took the recipient at RCPT and refused it as unknown after the message.")->recipient = r;
	}
}

/* The backend has answered for every recipient: its answer is ours. */
static void answer_outcome(struct transaction *tx, enum disposition accepted)
{
	struct outcome o = outcome_of(tx);
	bool mixed = (o.positive > 0) + (o.transient > 0) + (o.permanent > 0) > 1;

	learn_late_refusals(tx);
	commit_settle(tx, mixed && tx->envelope.prdr);
	if (tx->envelope.recipient_count == 1)
		commit_unhint(tx, tx->envelope.recipients);
	if (o.positive > 0)
		edge_count(tx->session->edge, EDGE_OCTETS_RELAYED, (int64_t)tx->envelope.message.size);
	if (!o.refused) {
		answer_end(tx, accepted, REPLY_ACCEPTED, slice_of(tx->envelope.ref));
	} else if (mixed && tx->envelope.prdr) {
		answer_each(tx, accepted);
	} else if (mixed) {
		hint_refusals(tx);
		answer_plain(tx, DISPOSITION_DEFER, REPLY_MIXED_OUTCOME);
	} else {
		answer_plain(tx, o.permanent > 0 ? DISPOSITION_REJECT : DISPOSITION_DEFER, refusal_of(o.refused));
	}
}

static void answer_trouble(struct transaction *tx, bool sent_dot, const char *why, deadline until)
{
	finding_add(&tx->envelope.findings, &tx->arena, CHECK_RECIPIENT, RESULT_TEMPERROR,
		arena_printf(&tx->arena, "backend: %s", why ? why : "no answer"));
	if (sent_dot) {
		tx->in_doubt = true;
		commit_lose(tx);
		edge_count(tx->session->edge, EDGE_MESSAGES_IN_DOUBT, 1);
	} else {
		commit_abort(tx);
	}
	answer_plain(tx, DISPOSITION_DEFER, deadline_passed(until) ? REPLY_BUDGET_SPENT :
		sent_dot ? REPLY_BACKEND_TROUBLE : REPLY_BACKEND_DOWN);
}

ASYNC void answer_relay(struct transaction *tx, enum disposition accepted, deadline until)
{
	const char *why = NULL;
	bool sent_dot = false;
	nanoseconds began = clock_precise();

	switch (commit_begin(tx)) {
	case COMMIT_BUSY:
		answer_plain(tx, DISPOSITION_DEFER, REPLY_IN_DOUBT);
		return;
	case COMMIT_ALL_HAVE_IT:
		edge_count(tx->session->edge, EDGE_MESSAGES_REPEATED, 1);
		commit_settle(tx, false);
		answer_end(tx, accepted, REPLY_ALREADY_HAS, slice_of(tx->envelope.ref));
		return;
	case COMMIT_GO:
		break;
	}
	stage_message_relay(tx->stage);
	bool answered = !anybody_left(tx) || relay_message(tx, &sent_dot, &why, until);
	tx->times.relay += clock_precise() - began;
	if (answered)
		answer_outcome(tx, accepted);
	else
		answer_trouble(tx, sent_dot, why, until);
}
