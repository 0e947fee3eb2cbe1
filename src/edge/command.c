/*
 * The commands: one table of verb, phases and handler, which is the picture of
 * the state machine, and the handlers in the order of a dialogue.
 *
 * A handler is linear code on a borrowed fiber. It returns the reply to give;
 * what must end the session is said with session_hang_up() and answered with
 * no reply. Findings about client and sender are collected and spoken at RCPT,
 * where the record knows whom they kept from whom.
 */
#include "edge/transaction.h"
#include "policy/stage_sent.h"

#include "base/log.h"

#include <sys/socket.h>

#define MAIL_BUDGET (20 * NS_PER_SECOND)
#define TLS_BUDGET (60 * NS_PER_SECOND)
#define OFFERS_FRESH NS_PER_SECOND
#define NO_REPLY ((struct reply){ 0 })

enum phase {
	PHASE_START = 1,	/* no EHLO yet */
	PHASE_READY = 2,	/* between transactions */
	PHASE_MAIL = 4,		/* a sender, no recipient */
	PHASE_RCPT = 8,		/* at least one recipient */
	PHASE_CHUNKS = 16,	/* after the first BDAT */
	PHASE_ANY = 31,
	PHASE_GREETED = 30,
};

static enum phase phase_of(const struct session *s)
{
	if (s->tx)
		return s->tx->chunking ? PHASE_CHUNKS :
			s->tx->envelope.recipient_count > 0 ? PHASE_RCPT : PHASE_MAIL;
	return s->client.helo.n > 0 ? PHASE_READY : PHASE_START;
}

static struct reply say(struct session *s, enum reply_name name)
{
	return reply_make(&s->scratch, name, SLICE_NULL, NULL, NULL);
}

static struct reply say_detail(struct session *s, enum reply_name name, struct slice detail)
{
	return reply_make(&s->scratch, name, detail, NULL, NULL);
}

/* ---- EHLO, HELO ---- */

unsigned edge_offers(struct edge *e)
{
	const struct config *c = e->config;
	unsigned some = 0, all = ~0u;

	if (e->offers_at != 0 && clock_now() - e->offers_at < OFFERS_FRESH)
		return e->offers;
	for (size_t i = 0; i < c->backend_count; i++) {
		unsigned has = 0;
		uint64_t limit;

		if (!pool_capabilities(e->services.pool, c->backends[i], &has, &limit))
			has = 0;
		some |= has;
		all &= has;
	}
	e->offers = OFFER_SIZE | OFFER_PRDR;
	if (some & CAP_8BITMIME)
		e->offers |= OFFER_8BITMIME;
	if (some & CAP_SMTPUTF8)
		e->offers |= OFFER_SMTPUTF8;
	/* DSN without every backend behind it would oblige us to write reports (RFC 3461 section 5.2). */
	if (c->backend_count > 0 && (all & CAP_DSN))
		e->offers |= OFFER_DSN;
	e->offers_at = clock_now();
	return e->offers;
}

static void forget_helo_findings(struct session *s)
{
	struct finding **at = &s->findings.first;

	s->findings.last = NULL;
	while (*at) {
		if ((*at)->check == CHECK_HELO) {
			*at = (*at)->next;
			continue;
		}
		s->findings.last = &(*at)->next;
		at = &(*at)->next;
	}
}

static bool take_helo(struct session *s, const struct command *c)
{
	struct slice name;
	struct ip ours, *our_ip = NULL;
	struct sockaddr_storage local;
	socklen_t length = sizeof(local);

	if (!helo_argument_parse(c->argument, &name))
		return false;
	transaction_end(s);
	forget_helo_findings(s);
	s->client.helo = slice_copy(&s->arena, name);
	/* Only an address literal is compared with our own address. */
	if (name.p[0] == '[' && getsockname(s->stream.watch.fd, (struct sockaddr *)&local, &length) == 0 &&
	    ip_from_sockaddr(&ours, NULL, (struct sockaddr *)&local))
		our_ip = &ours;
	stage_helo(s->config, &s->client, our_ip, &s->findings, &s->arena);
	return true;
}

static struct reply cmd_helo(struct session *s, const struct command *c)
{
	if (!take_helo(s, c))
		return say_detail(s, REPLY_BAD_ARGUMENT, SLICE("HELO domain"));
	s->client.esmtp = false;
	return (struct reply){ .code = 250, .text = slice_copy(&s->scratch, slice_of(s->config->hostname)) };
}

static struct reply cmd_ehlo(struct session *s, const struct command *c)
{
	const struct listener_conf *l = s->listener;
	struct str text = STR_IN(&s->scratch);
	unsigned offers = edge_offers(s->edge);

	if (!take_helo(s, c))
		return say_detail(s, REPLY_BAD_ARGUMENT, SLICE("EHLO domain"));
	s->client.esmtp = true;
	str_puts(&text, s->config->hostname);
	str_puts(&text, "\nPIPELINING\nENHANCEDSTATUSCODES\nCHUNKING");
	if (l->size_limit)
		str_printf(&text, "\nSIZE %llu", (unsigned long long)l->size_limit);
	else
		str_puts(&text, "\nSIZE");
	if (offers & OFFER_8BITMIME)
		str_puts(&text, "\n8BITMIME");
	if (offers & OFFER_SMTPUTF8)
		str_puts(&text, "\nSMTPUTF8");
	if (offers & OFFER_DSN)
		str_puts(&text, "\nDSN");
	if (offers & OFFER_PRDR)
		str_puts(&text, "\nPRDR");
	if (l->tls && !s->stream.tls)
		str_puts(&text, "\nSTARTTLS");
	str_printf(&text, "\nLIMITS MAILMAX=%u RCPTMAX=%u", l->max_transactions, l->max_recipients);
	return (struct reply){ .code = 250, .text = str_slice(&text) };
}

/* ---- STARTTLS (RFC 3207) ---- */

static void forget_all_said(struct session *s)
{
	transaction_end(s);
	forget_helo_findings(s);
	s->client.helo = SLICE_NULL;
	s->client.esmtp = false;
}

static ASYNC struct reply cmd_starttls(struct session *s, const struct command *c)
{
	const char *why = NULL;
	struct tls_facts facts;
	struct tls_context *tls = s->listener->tls;

	if (c->argument.n > 0)
		return say_detail(s, REPLY_BAD_ARGUMENT, SLICE("STARTTLS"));
	if (!tls || s->stream.tls)
		return say(s, REPLY_NOT_IMPLEMENTED);
	/* CVE-2011-0411: commands smuggled in plaintext would be taken for encrypted ones. */
	if (stream_input(&s->stream).n > 0) {
		COUNT_IF(true, PIPELINED_STARTTLS);
		session_hang_up(s, REPLY_TLS_INJECTION, SLICE_NULL);
		return NO_REPLY;
	}
	session_say(s, REPLY_READY_TLS, SLICE_NULL);
	session_flush(s);
	forget_all_said(s);
	tls_context_ref(tls);	/* the listener may get another while we wait */
	bool done = stream_drain(&s->stream, "starttls reply", deadline_in(TLS_BUDGET)) == WAIT_READY &&
		tls_accept(&s->stream, tls, &why, deadline_in(TLS_BUDGET));
	tls_context_unref(tls);
	if (!done) {
		COUNT_IF(true, TLS_HANDSHAKE);
		s->closing = true;
		return NO_REPLY;
	}
	if (tls_facts(&s->stream, &facts)) {
		s->client.tls_version = facts.version;
		s->client.tls_cipher = facts.cipher;
		s->client.tls_bits = facts.bits;
	}
	s->client.tls = true;
	edge_count(s->edge, EDGE_TLS_SESSIONS, 1);
	return NO_REPLY;
}

/* ---- MAIL ---- */

/* A new transaction takes the configuration of now, unless it lacks our listener. */
static void renew_config(struct session *s)
{
	struct config *now = s->edge->config;

	if (now == s->config)
		return;
	for (size_t i = 0; i < now->listener_count; i++) {
		if (strcmp(now->listeners[i].name, s->listener->name) != 0)
			continue;
		config_ref(now);
		config_unref(s->config);
		s->config = now;
		s->listener = &now->listeners[i];
		return;
	}
}

static bool envelope_from_mail(struct envelope *e, const struct mail_command *mail)
{
	struct address_form form;

	e->reverse_path = path_copy(e->arena, &mail->reverse_path);
	e->has_sender = true;
	e->eight_bit_mime = mail->eight_bit_mime;
	e->smtputf8 = mail->smtputf8;
	e->prdr = mail->prdr;
	e->declared_size = mail->size;
	e->ret = mail->ret;
	e->envid = slice_copy(e->arena, mail->envid);
	if (path_is_null(&e->reverse_path))
		return true;
	e->reverse_for_backend = e->reverse_path.text;
	if (!address_form(e->arena, &e->reverse_path, SLICE_NULL, &form))
		return false;
	e->reverse_canonical = form.canonical;
	return true;
}

static struct reply mail_too_big(struct session *s)
{
	struct str limit = STR_IN(&s->scratch);

	str_number(&limit, s->listener->size_limit);
	return say_detail(s, REPLY_TOO_BIG, str_slice(&limit));
}

static ASYNC struct reply cmd_mail(struct session *s, const struct command *c)
{
	struct mail_command mail;
	enum reply_name refusal;
	const char *why = NULL;
	nanoseconds began = clock_precise();

	if (s->edge->draining) {
		session_hang_up(s, REPLY_SHUTTING_DOWN, SLICE_NULL);
		return NO_REPLY;
	}
	if (s->transactions >= s->listener->max_transactions) {
		session_hang_up(s, REPLY_TOO_MANY_MAILS, SLICE_NULL);
		return NO_REPLY;
	}
	renew_config(s);
	if (!mail_command_parse(&mail, c->argument, edge_offers(s->edge), &refusal, &why))
		return say_detail(s, refusal, slice_of(why));
	if (s->listener->size_limit && mail.size > s->listener->size_limit)
		return mail_too_big(s);
	session_join_connect(s, deadline_in(MAIL_BUDGET));
	struct transaction *tx = transaction_begin(s);
	if (!tx)
		return say(s, REPLY_LOCAL_TROUBLE);
	if (!envelope_from_mail(&tx->envelope, &mail)) {
		transaction_end(s);
		return say_detail(s, REPLY_BAD_SENDER, SLICE("the domain cannot be looked up"));
	}
	if (!s->listener->outbound)
		stage_mail(&s->edge->services, tx->config, &tx->envelope, deadline_in(MAIL_BUDGET));
	tx->times.mail += clock_precise() - began;
	return say(s, REPLY_SENDER_OK);
}

/* ---- RCPT ---- */

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
	r->canonical = form.canonical;
	r->for_backend = r->path.text;
	r->identity = slice_of(arena_printf(&tx->arena, "%.*s@%.*s", SLICE_ARG(r->path.local),
		SLICE_ARG(name.n > 0 ? name : r->path.domain)));
	r->exempt = is_role_account(form.canonical);
	return tx->session->listener->outbound ? NULL : d;
}

/* A notice answers one message for one address (RFC 3464 section 2.1, RFC 5321 section 4.5.5); what it proves is judged for one. */
static bool is_several_notices(const struct transaction *tx)
{
	const struct envelope *e = &tx->envelope;

	return path_is_null(&e->reverse_path) && !tx->session->listener->outbound &&
		e->client->class == CLIENT_STRANGER && tx->config->check_mode[CHECK_BOUNCE] != MODE_OFF;
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
	return d->backend == tx->domain->backend && r->exempt == first->exempt &&
		d->content == tx->domain->content &&
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
	bool enhanced = r->backend_reply.enhanced.class != 0;
	enum recipient_answer answer;

	/* An answer to MAIL says nothing about a mailbox, whatever its code. */
	if (tx->relay.mail_refused)
		return RECIPIENT_CANNOT_TELL;
	answer = recipient_answer_of(&r->backend_reply, enhanced);
	if (d)
		recipient_learn(&d->recipients, tx->session->edge->services.store, r, answer, &r->backend_reply,
			&tx->envelope.findings, &tx->arena);
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
static ASYNC void look_up(struct transaction *tx, const struct domain_conf *d, struct recipient *r, deadline until)
{
	if (d && !(r->exempt && slice_starts(r->canonical, SLICE("postmaster@"))))
		recipient_look_up(&d->recipients, tx->session->edge->services.store, r, is_harvester(tx->session),
			&tx->envelope.findings, &tx->arena, until);
}

static bool is_repeated(const struct envelope *e, const struct recipient *r)
{
	for (const struct recipient *known = e->recipients; known; known = known->next)
		if (slice_eq(known->identity, r->identity))
			return true;
	return false;
}

/* Who disagreed with others last time comes alone, whether he is named first or later. */
static bool must_come_alone(struct transaction *tx, const struct recipient *r)
{
	const struct recipient *first = tx->envelope.recipients;

	return first && (commit_hinted(tx, first) || commit_hinted(tx, r));
}

static ASYNC struct reply judge_recipient(struct transaction *tx, struct recipient *r)
{
	const struct backend *b;
	enum reply_name refusal;
	struct verdict v;
	deadline until = deadline_in(tx->config->rcpt_budget);
	const struct domain_conf *d = identify(tx, r, &refusal);
	struct slice reverse_path;

	if (refusal == REPLY_BAD_RECIPIENT)
		return refuse(tx, r, refusal, SLICE("the domain cannot be looked up"));
	if (refusal != REPLY_NONE)
		return refuse(tx, r, refusal, SLICE_NULL);
	if (is_repeated(&tx->envelope, r))
		return say(tx->session, REPLY_RECIPIENT_OK);
	reverse_path = reverse_path_for(tx, r);
	if (!same_class(tx, d, r, reverse_path))
		return refuse(tx, r, REPLY_SPLIT_TRANSACTION, SLICE_NULL);
	v = judge(tx, d, r);
	if (v.reply != REPLY_NONE)
		return refuse_by(tx, r, &v);
	b = d ? d->backend : tx->session->listener->next_hop;
	refusal = backend_cannot(tx, b);
	if (refusal != REPLY_NONE)
		return refuse(tx, r, refusal, SLICE_NULL);
	look_up(tx, d, r, until);
	if (tx->session->closing)
		return NO_REPLY;
	v = judge(tx, d, r);
	if (v.reply != REPLY_NONE)
		return refuse_by(tx, r, &v);
	if (must_come_alone(tx, r))
		return refuse(tx, r, REPLY_SPLIT_TRANSACTION, SLICE_NULL);
	tx->relay.backend = b;
	if (!tx->envelope.recipients) {
		tx->domain = d;
		tx->envelope.reverse_for_backend = reverse_path;
	}
	return ask_backend(tx, d, r, until);
}

static ASYNC struct reply cmd_rcpt(struct session *s, const struct command *c)
{
	struct transaction *tx = s->tx;
	struct rcpt_command rcpt;
	enum reply_name refusal;
	const char *why = NULL;
	nanoseconds began = clock_precise();

	if (!rcpt_command_parse(&rcpt, c->argument, edge_offers(s->edge), tx->envelope.smtputf8, &refusal, &why))
		return say_detail(s, refusal, slice_of(why));
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
	return s->closing ? NO_REPLY : reply;
}

/* ---- DATA, BDAT ---- */

static struct reply cmd_data(struct session *s, const struct command *c)
{
	if (c->argument.n > 0)
		return say_detail(s, REPLY_BAD_ARGUMENT, SLICE("DATA"));
	if (s->tx->chunking)
		return say(s, REPLY_CHUNK_AFTER_DATA);
	if (s->tx->envelope.recipient_count == 0)
		return say(s, REPLY_NO_RECIPIENTS);
	if (!data_begin(s))
		return say(s, REPLY_LOCAL_TROUBLE);
	s->mode = SESSION_DATA;
	return say(s, REPLY_START_DATA);
}

/* The octets of a chunk follow whatever we think of it: they are read in any case (RFC 3030 section 2). */
static struct reply cmd_bdat(struct session *s, const struct command *c)
{
	uint64_t size;
	bool last;

	if (!bdat_command_parse(c->argument, &size, &last)) {
		session_hang_up(s, REPLY_CHUNK_SIZE, SLICE_NULL);
		return NO_REPLY;
	}
	COUNT_IF(size < 16 && !last, BDAT_TINY);
	return data_begin_chunk(s, size, last);
}

/* ---- the rest ---- */

static struct reply cmd_rset(struct session *s, const struct command *c)
{
	(void)c;
	transaction_end(s);
	return say(s, REPLY_OK);
}

static struct reply cmd_noop(struct session *s, const struct command *c)
{
	(void)c;
	return say(s, REPLY_OK);
}

static struct reply cmd_help(struct session *s, const struct command *c)
{
	(void)c;
	return say(s, REPLY_HELP);
}

static struct reply cmd_vrfy(struct session *s, const struct command *c)
{
	(void)c;
	return say(s, REPLY_CANNOT_VRFY);
}

static struct reply cmd_quit(struct session *s, const struct command *c)
{
	(void)c;
	transaction_end(s);
	s->closing = true;
	return say(s, REPLY_BYE);
}

/* ---- the table ---- */

static const struct handler {
	enum verb verb;
	unsigned phases;	/* enum phase bits in which it may be said */
	const char *first;	/* what should have come before, for "503 %s first" */
	struct reply (*run)(struct session *s, const struct command *c);
} handlers[] = {
	{ VERB_EHLO,     PHASE_ANY,                            "",     cmd_ehlo },
	{ VERB_HELO,     PHASE_ANY,                            "",     cmd_helo },
	{ VERB_STARTTLS, PHASE_READY,                          "EHLO", cmd_starttls },
	{ VERB_MAIL,     PHASE_READY,                          "EHLO", cmd_mail },
	{ VERB_RCPT,     PHASE_MAIL | PHASE_RCPT,              "MAIL", cmd_rcpt },
	{ VERB_DATA,     PHASE_MAIL | PHASE_RCPT | PHASE_CHUNKS, "MAIL", cmd_data },
	{ VERB_BDAT,     PHASE_ANY,                            "",     cmd_bdat },
	{ VERB_RSET,     PHASE_ANY,                            "",     cmd_rset },
	{ VERB_NOOP,     PHASE_ANY,                            "",     cmd_noop },
	{ VERB_HELP,     PHASE_ANY,                            "",     cmd_help },
	{ VERB_VRFY,     PHASE_ANY,                            "",     cmd_vrfy },
	{ VERB_EXPN,     PHASE_ANY,                            "",     cmd_vrfy },
	{ VERB_QUIT,     PHASE_ANY,                            "",     cmd_quit },
};

static const struct handler *handler_of(enum verb v)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (handlers[i].verb == v)
			return &handlers[i];
	return NULL;
}

static ASYNC struct reply dispatch(struct session *s, struct slice line)
{
	struct command c;
	const char *why = NULL;
	const struct handler *h;
	enum phase phase = phase_of(s);

	if (line.n > s->listener->line_limit) {
		COUNT_IF(true, LONG_LINE);
		return say(s, REPLY_LINE_TOO_LONG);
	}
	command_parse(&c, line, &why);
	if (why) {
		COUNT_IF(true, NUL_IN_COMMAND);
		return say(s, REPLY_CONTROL_CHAR);
	}
	if (c.verb == VERB_UNKNOWN)
		return say(s, REPLY_SYNTAX);
	h = handler_of(c.verb);
	if (!h)
		return say(s, REPLY_NOT_IMPLEMENTED);
	if (!(h->phases & phase)) {
		bool nested = s->tx && (c.verb == VERB_MAIL || c.verb == VERB_STARTTLS);
		const char *first = nested ? "RSET" : phase == PHASE_START ? "EHLO" :
			phase == PHASE_CHUNKS ? "BDAT LAST" : h->first;

		return say_detail(s, REPLY_BAD_SEQUENCE, slice_of(first));
	}
	return h->run(s, &c);
}

ASYNC void command_run(struct session *s, struct slice line)
{
	struct reply r;

	if (s->unheard_count > 0 && session_client_heard(s))
		commit_heard(s);
	if (s->commands < UINT16_MAX)
		s->commands++;
	if (s->commands > s->listener->max_commands) {
		session_hang_up(s, REPLY_TOO_MANY_COMMANDS, SLICE_NULL);
		return;
	}
	r = dispatch(s, line);
	if (r.code != 0)
		session_reply(s, &r);
	if (r.code >= 400) {
		s->rejected++;
		if (++s->errors > s->listener->max_errors && !s->closing)
			session_hang_up(s, REPLY_TOO_MANY_ERRORS, SLICE_NULL);
	}
	arena_drop(&s->scratch);
}
