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
		s->client.tls_bits = (uint16_t)facts.bits;
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
	{ VERB_RCPT,     PHASE_MAIL | PHASE_RCPT,              "MAIL", rcpt_command_run },
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
