/*
 * RCPT: who is meant, what is known of him, what his backend says.
 *
 * The order is that of cost: the name, the class of the transaction, what was found at connect and MAIL, what the backend can
 * take, sources in memory and directories, and only then the live question. Who is not known waits for his turn
 * (check/recipient_turn.h), so that guesses do not take the backend away from those who exist.
 */
#include "edge/transaction.h"

#include "base/log.h"
#include "check/backend_truth.h"
#include "check/recipient_turn.h"
#include "policy/stage_bounce.h"
#include "policy/stage_sent.h"

static struct reply say(struct session *s, enum reply_name name)
{
	return reply_make(&s->scratch, name, SLICE_NULL, NULL, NULL);
}

static struct reply refuse(struct transaction *tx, struct recipient *r, enum reply_name name, struct slice detail)
{
	r->reply = transaction_reply(tx, name, detail);
	transaction_refuse(tx, r);
	tx->session->rejected++;
	edge_count(tx->session->edge, r->reply.code >= 500 ? EDGE_RECIPIENTS_REFUSED :
		EDGE_RECIPIENTS_DEFERRED, 1);
	return r->reply;
}

/* A guess: the answer comes later each time, and then not at all. */
static void slow_down_guesser(struct session *s)
{
	const struct listener_conf *l = s->listener;
	nanoseconds delay = l->error_delay;
	uint32_t score = ++s->unknown_recipients;

	if (s->edge->services.rates && s->client.class == CLIENT_STRANGER) {
		uint32_t shared = rate_unknown_recipient(s->edge->services.rates, &s->client.ip);

		if (shared > score)
			score = shared;
	}
	if (score >= l->max_unknown_recipients) {
		session_hang_up(s, REPLY_HARVESTING, SLICE_NULL);
		return;
	}
	/* The first is a typing error. */
	for (uint32_t i = 2; i < score && delay < l->error_delay_max; i++)
		delay *= 2;
	if (score > 1 && delay > 0)
		session_pause(s, delay < l->error_delay_max ? delay : l->error_delay_max);
}

static bool is_role_account(struct slice canonical)
{
	return slice_starts(canonical, SLICE("postmaster@")) || slice_starts(canonical, SLICE("abuse@"));
}

/* Who is meant, in all the forms that are needed later. NULL domain with name REPLY_NONE: outbound. */
static const struct domain_conf *identify(struct transaction *tx, struct recipient *r, enum reply_name *refusal)
{
	const struct config *c = tx->config;
	const struct domain_conf *d;
	struct address_form form;
	struct slice name;
	bool own;		/* inbound: the address is one of ours */

	*refusal = REPLY_NONE;
	if (path_is_postmaster(&r->path)) {
		d = &c->domains[0];
		r->canonical = slice_of(arena_printf(&tx->arena, "postmaster@%s", d->name));
		r->for_backend = r->identity = r->canonical;
		r->exempt = true;
		return d;
	}
	name = domain_canonical(&tx->arena, r->path.domain);
	d = name.n > 0 ? config_domain(c, name) : NULL;
	if (!d && !tx->session->listener->outbound) {
		*refusal = REPLY_RELAY_DENIED;
		return NULL;
	}
	if (!address_form(&tx->arena, &r->path, d ? d->separators : SLICE_NULL, &form)) {
		*refusal = REPLY_BAD_RECIPIENT;
		return NULL;
	}
	own = d && !tx->session->listener->outbound;
	r->canonical = own ? config_own_name(d, &tx->arena, form.canonical) : form.canonical;
	/* Our own tags come off; all else stays as it was written. */
	r->for_backend = d && bounce_tag_comes_off(c, tx->session->edge->services.store, &form,
		config_own_name(d, &tx->arena, form.canonical)) ? form.plain : r->path.text;
	r->identity = slice_of(arena_printf(&tx->arena, "%.*s@%.*s", (int)slice_rfind(r->for_backend, '@'), r->for_backend.p,
		SLICE_ARG(name.n > 0 ? name : r->path.domain)));
	/* An address under an alias of the domain is one of the domain. */
	if (own && !slice_eq(name, slice_of(d->name))) {
		r->identity = config_own_name(d, &tx->arena, r->identity);
		r->for_backend = config_own_name(d, &tx->arena, r->for_backend);
	}
	r->exempt = is_role_account(form.canonical);
	return tx->session->listener->outbound ? NULL : d;
}

/* A notice answers one message for one address (RFC 3464 section 2.1, RFC 5321 section 4.5.5); what it proves is judged for one. */
static bool is_several_notices(const struct transaction *tx)
{
	const struct envelope *e = &tx->envelope;

	return path_is_null(&e->reverse_path) && !tx->session->listener->outbound &&
		e->client->class == CLIENT_STRANGER && config_mode(tx->config, tx->domain, CHECK_BOUNCE, false) != MODE_OFF;
}

/* Who the backend hears as the sender of a transaction with this recipient. */
static struct slice reverse_path_for(const struct transaction *tx, const struct recipient *r)
{
	return tx->session->listener->outbound ?
		sent_reverse_path(tx->config, tx->session->listener, &tx->envelope, r) : tx->envelope.reverse_for_backend;
}

/* One backend and one policy class a transaction: others come back in their own. */
static bool same_class(const struct transaction *tx, const struct domain_conf *d, const struct recipient *r,
	struct slice reverse_path)
{
	const struct recipient *first = tx->envelope.recipients;

	if (!first)
		return true;
	if (!slice_eq(reverse_path, tx->envelope.reverse_for_backend) || is_several_notices(tx))
		return false;
	if (!d || !tx->domain)
		return d == tx->domain;
	return config_backend(d, r->canonical) == tx->relay.backend && r->exempt == first->exempt &&
		d->content == tx->domain->content && bounce_policy_same(&d->bounces, &tx->domain->bounces) &&
		memcmp(d->mode, tx->domain->mode, sizeof(d->mode)) == 0;
}

/* What this backend cannot take is refused here, never accepted and lost later. */
static enum reply_name backend_cannot(const struct transaction *tx, const struct backend *b)
{
	const struct envelope *e = &tx->envelope;
	uint64_t limit = 0;
	unsigned has;

	if (!pool_capabilities(tx->session->edge->services.pool, b, &has, &limit))
		return REPLY_NONE;
	if (limit && e->declared_size > limit)
		return REPLY_TOO_BIG_FOR_RECIPIENT;
	if (e->smtputf8 && !(has & CAP_SMTPUTF8))
		return REPLY_NEEDS_SMTPUTF8;
	if (e->eight_bit_mime && !(has & CAP_8BITMIME))
		return REPLY_NEEDS_8BITMIME;
	return REPLY_NONE;
}

/* The backend's refusal, in our words: its own go to the record. */
static enum reply_name refusal_of_backend(const struct reply *said, enum recipient_answer answer)
{
	struct enhanced_code e = said->enhanced;

	if (answer == RECIPIENT_NO_SUCH_USER)
		return enhanced_code_is(e, 5, 2, 1) ? REPLY_MAILBOX_DISABLED : REPLY_NO_SUCH_USER;
	if (e.subject == 2 && e.detail == 2)
		return reply_is_permanent(said) ? REPLY_MAILBOX_FULL : REPLY_MAILBOX_FULL_NOW;
	return reply_is_permanent(said) ? REPLY_RECIPIENT_REFUSED : REPLY_RECIPIENT_DEFERRED;
}

/* No answer to RCPT. What the backend said before tells which kind of trouble it is. */
static enum reply_name refusal_of_silence(const struct reply *last)
{
	if (last->code == 0)
		return REPLY_BACKEND_DOWN;
	return last->code >= 400 ? REPLY_RECIPIENT_DEFERRED : REPLY_BACKEND_TROUBLE;
}

static struct verdict judge(struct transaction *tx, const struct domain_conf *d, const struct recipient *r)
{
	const struct session *s = tx->session;

	if (s->listener->outbound)
		return (struct verdict){ .disposition = DISPOSITION_ACCEPT };
	return verdict_of_recipient(tx->config, d, &tx->envelope, r, *s->edge->services.observe_all);
}

/* Half of the unknown recipients that end its session. */
static bool is_harvester(const struct session *s)
{
	return s->client.class == CLIENT_STRANGER && s->edge->services.rates &&
		rate_unknown_score(s->edge->services.rates, &s->client.ip) * 2 >= s->listener->max_unknown_recipients;
}

static struct reply refuse_by(struct transaction *tx, struct recipient *r, const struct verdict *v)
{
	tx->because = v->because;
	/* Answered from the cache alone, a guesser still guesses; that a directory is down is nobody's guess. */
	if (v->reply == REPLY_NO_SUCH_USER || (v->reply == REPLY_RECIPIENT_UNKNOWN && is_harvester(tx->session)))
		slow_down_guesser(tx->session);
	return refuse(tx, r, v->reply, v->detail);
}

/* What the backend's answer says about the mailbox; remembered where it says anything. */
static enum recipient_answer learn_answer(struct transaction *tx, const struct domain_conf *d, struct recipient *r)
{
	/* This reply counts, not what EHLO offered: some offer enhanced codes and then give none. */
	bool enhanced = r->backend_reply.enhanced.class != 0, accepts_all;
	const struct services *services = &tx->session->edge->services;
	enum recipient_answer answer;

	/* An answer to MAIL says nothing about a mailbox, whatever its code. */
	if (tx->relay.mail_refused)
		return RECIPIENT_CANNOT_TELL;
	answer = recipient_answer_of(&r->backend_reply, enhanced);
	if (!d)
		return answer;
	accepts_all = answer == RECIPIENT_EXISTS && d->recipients.callforward && truth_accepted(services->store,
		services->pool, tx->relay.backend, d->name, d->recipients.accept_all_test);
	recipient_learn(&d->recipients, accepts_all ? NULL : services->store, r, answer, &r->backend_reply,
		&tx->envelope.findings, &tx->arena);
	if (accepts_all)
		recipient_proves_nothing(&tx->envelope.findings, r);
	return answer;
}

static ASYNC struct reply ask_backend(struct transaction *tx, const struct domain_conf *d, struct recipient *r,
	deadline until)
{
	struct session *s = tx->session;
	const char *why = NULL;
	enum recipient_answer answer;
	struct verdict v;

	if (!relay_rcpt(tx, r, &why, until)) {
		struct finding *f = finding_add(&tx->envelope.findings, &tx->arena, CHECK_RECIPIENT,
			RESULT_TEMPERROR, arena_printf(&tx->arena, "backend: %s", why ? why : "no answer"));

		f->recipient = r;
		judge(tx, d, r);
		return refuse(tx, r, refusal_of_silence(&tx->relay.reply), SLICE_NULL);
	}
	answer = learn_answer(tx, d, r);
	v = judge(tx, d, r);
	if (reply_is_positive(&r->backend_reply)) {
		transaction_add(tx, r);
		edge_count(s->edge, EDGE_RECIPIENTS_OK, 1);
		return say(s, REPLY_RECIPIENT_OK);
	}
	if (v.reply == REPLY_RECIPIENT_UNCONFIRMED)
		return refuse_by(tx, r, &v);
	if (answer == RECIPIENT_NO_SUCH_USER)
		slow_down_guesser(s);
	return refuse(tx, r, refusal_of_backend(&r->backend_reply, answer), SLICE_NULL);
}

/* Directories, sources in memory and the cache add their finding. */
static ASYNC enum recipient_answer look_up(struct transaction *tx, const struct domain_conf *d, struct recipient *r,
	deadline until)
{
	if (!d || (r->exempt && slice_starts(r->canonical, SLICE("postmaster@"))))
		return RECIPIENT_EXISTS;
	return recipient_look_up(&d->recipients, tx->session->edge->services.store, r, is_harvester(tx->session),
		&tx->envelope.findings, &tx->arena, until);
}

static struct reply tell_unknown(struct transaction *tx, const struct domain_conf *d, struct recipient *r)
{
	struct finding *f = finding_add(&tx->envelope.findings, &tx->arena, CHECK_RECIPIENT, RESULT_TEMPERROR,
		"Too many questions about recipients that nothing is known of wait for their backend.");

	f->recipient = r;
	judge(tx, d, r);
	return refuse(tx, r, REPLY_RECIPIENT_UNKNOWN, SLICE_NULL);
}

/* Our turn: the question, and if it brought nobody, the connection is for others at once. */
static ASYNC struct reply ask_now(struct transaction *tx, const struct domain_conf *d, struct recipient *r,
	deadline until)
{
	struct reply reply = ask_backend(tx, d, r, until);

	if (tx->relay.client && tx->relay.open_recipients == 0)
		relay_release(tx);
	return reply;
}

/* Nothing is known of the recipient: a guess, or the first mail to somebody. */
static ASYNC struct reply ask_in_turn(struct transaction *tx, const struct domain_conf *d, struct recipient *r,
	deadline until)
{
	const struct backend *b = tx->relay.backend;
	uint32_t most = b->max_connections > 1 ? b->max_connections - 1 : 1;
	struct recipient_turn *turn;
	struct verdict v;
	struct reply reply;

	for (;;) {
		switch (recipient_turn_take(slice_of(b->name), r->canonical, b->questions < most ? b->questions : most,
				&turn, until)) {
		case TURN_OURS:
			reply = ask_now(tx, d, r, until);
			recipient_turn_end(turn);
			return reply;
		case TURN_NONE:
			return tell_unknown(tx, d, r);
		case TURN_ASKED:
			break;
		}
		if (look_up(tx, d, r, until) == RECIPIENT_ASK)
			continue;
		v = judge(tx, d, r);
		return v.reply != REPLY_NONE ? refuse_by(tx, r, &v) : ask_backend(tx, d, r, until);
	}
}

static bool is_repeated(const struct envelope *e, const struct recipient *r)
{
	for (const struct recipient *known = e->recipients; known; known = known->next)
		if (slice_eq(known->identity, r->identity))
			return true;
	return false;
}

/* Without a store nothing remembers who has a message and who refused it: recipients who disagree, and cannot be told so, would do so again
 * with each retry, and those who have it would get it each time. */
static bool nothing_remembers(const struct transaction *tx)
{
	const struct edge *e = tx->session->edge;

	return !e->services.store && !e->rehearsal && !tx->envelope.prdr;
}

/* Who disagreed with others last time comes alone, whether he is named first or later. */
static bool must_come_alone(struct transaction *tx, const struct recipient *r)
{
	const struct recipient *first = tx->envelope.recipients;

	return first && (nothing_remembers(tx) || commit_hinted(tx, first) || commit_hinted(tx, r));
}

static void exceeds(struct transaction *tx, const struct recipient *r, const char *by)
{
	struct finding *f = finding_add(&tx->envelope.findings, &tx->arena, CHECK_RATE, RESULT_EXCEEDED,
		arena_printf(&tx->arena, "More mail %s than its limit allows.", by));

	f->recipient = r;
	f->detail = by;
}

/* Limits are looked at before anybody is asked: a flood costs no directory and no backend anything. */
static void count_rates(struct transaction *tx, const struct recipient *r)
{
	const struct rate_conf *limits = &tx->config->rate;
	const struct envelope *e = &tx->envelope;
	struct rates *rates = tx->session->edge->services.rates;
	struct ip net = ip_client_net(&e->client->ip);
	struct slice sender = address_domain(e->reverse_canonical);

	if (!rates || tx->session->listener->outbound || e->client->class != CLIENT_STRANGER ||
	    tx->config->check_mode[CHECK_RATE] == MODE_OFF)
		return;
	if (!rate_mail(rates, RATE_OF_CLIENT, slice_make((const char *)net.bytes, sizeof(net.bytes)), limits->client))
		exceeds(tx, r, "from your network");
	else if (sender.n > 0 && !rate_mail(rates, RATE_OF_SENDER_DOMAIN, sender, limits->sender_domain))
		exceeds(tx, r, "from the sender's domain");
	else if (!rate_mail(rates, RATE_OF_RECIPIENT, r->canonical, limits->recipient))
		exceeds(tx, r, "to this recipient");
	else if (path_is_null(&e->reverse_path) &&
		 !rate_mail(rates, RATE_OF_NULL_SENDER, r->canonical, limits->null_sender))
		exceeds(tx, r, "with a null sender to this recipient");
}

static ASYNC struct reply judge_recipient(struct transaction *tx, struct recipient *r)
{
	const struct backend *b;
	enum reply_name refusal;
	struct verdict v;
	enum recipient_answer known;
	deadline until = deadline_in(tx->config->rcpt_budget);
	const struct domain_conf *d = identify(tx, r, &refusal);
	struct slice reverse_path;

	if (refusal == REPLY_BAD_RECIPIENT)
		return refuse(tx, r, refusal, SLICE("the domain cannot be looked up"));
	if (refusal != REPLY_NONE)
		return refuse(tx, r, refusal, SLICE_NULL);
	if (is_repeated(&tx->envelope, r))
		return say(tx->session, REPLY_RECIPIENT_OK);
	bounce_stage_recipient(tx->config, d, &tx->envelope, r);
	reverse_path = reverse_path_for(tx, r);
	if (!same_class(tx, d, r, reverse_path))
		return refuse(tx, r, REPLY_SPLIT_TRANSACTION, SLICE_NULL);
	count_rates(tx, r);
	v = judge(tx, d, r);
	if (v.reply != REPLY_NONE)
		return refuse_by(tx, r, &v);
	b = d ? config_backend(d, r->canonical) : tx->session->listener->next_hop;
	refusal = backend_cannot(tx, b);
	if (refusal != REPLY_NONE)
		return refuse(tx, r, refusal, SLICE_NULL);
	known = look_up(tx, d, r, until);
	if (tx->session->closing)
		return (struct reply){ 0 };
	v = judge(tx, d, r);
	if (v.reply != REPLY_NONE)
		return refuse_by(tx, r, &v);
	if (must_come_alone(tx, r))
		return refuse(tx, r, REPLY_SPLIT_TRANSACTION, SLICE_NULL);
	/* Held for one who was refused: another backend's connection is of no use. */
	if (tx->relay.client && tx->relay.backend != b)
		relay_release(tx);
	tx->relay.backend = b;
	if (!tx->envelope.recipients) {
		tx->domain = d;
		tx->envelope.reverse_for_backend = reverse_path;
	}
	return known == RECIPIENT_ASK ? ask_in_turn(tx, d, r, until) : ask_backend(tx, d, r, until);
}

ASYNC struct reply rcpt_command_run(struct session *s, const struct command *c)
{
	struct transaction *tx = s->tx;
	struct rcpt_command rcpt;
	enum reply_name refusal;
	const char *why = NULL;
	nanoseconds began = clock_precise();

	if (!rcpt_command_parse(&rcpt, c->argument, edge_offers(s->edge), tx->envelope.smtputf8, &refusal, &why))
		return reply_make(&s->scratch, refusal, slice_of(why), NULL, NULL);
	if (tx->envelope.recipient_count >= s->listener->max_recipients)
		return say(s, REPLY_TOO_MANY_RCPTS);
	struct recipient *r = arena_new(&tx->arena, struct recipient);
	r->path = path_copy(&tx->arena, &rcpt.forward_path);
	r->notify = rcpt.notify;
	r->orcpt = slice_copy(&tx->arena, rcpt.orcpt);
	struct reply reply = judge_recipient(tx, r);
	r->reply = reply;
	r->reply.text = slice_copy(&tx->arena, reply.text);
	tx->times.rcpt += clock_precise() - began;
	return s->closing ? (struct reply){ 0 } : reply;
}
