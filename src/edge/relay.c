/*
 * The mirror dialogue: a transaction with the backend beside the one with the
 * client, reply by reply.
 *
 * RCPT is asked on a warm connection, together with MAIL where the backend
 * pipelines. If the body follows at once, the same backend transaction takes it;
 * if it is slow, the lease was given back meanwhile (transaction.c, data.c),
 * and the envelope is replayed here. A warm connection that turns out to be dead
 * before its first answer is replaced once by a fresh one: that failure was ours.
 *
 * Rejected: one backend connection per client connection (the baseline of every
 * other proxy: it costs a connection set-up per message and holds the backend's
 * processes for slow clients).
 */
#include "edge/transaction.h"

#include "base/log.h"

#define WHOLE_SEND (64u * 1024u)	/* a spool up to this size is sent with its dot in one go */
#define DEAD_WARM "backend closed a kept connection"

static struct pool *pool_of(const struct transaction *tx)
{
	return tx->session->edge->services.pool;
}

/* Closes it. That a connection broke says nothing about the host: only the pool, when it cannot connect, backs off. */
static void drop_lease(struct transaction *tx)
{
	struct relay *relay = &tx->relay;

	if (relay->client)
		pool_discard(pool_of(tx), relay->client, false);
	relay->client = NULL;
	relay->mailed = false;
	relay->open_recipients = 0;
}

void relay_release(struct transaction *tx)
{
	struct relay *relay = &tx->relay;

	timer_clear(&relay->hold);
	if (!relay->client)
		return;
	if (!relay->client->broken && (relay->mailed || relay->client->unread > 0))
		pool_reset_and_give(pool_of(tx), relay->client);
	else
		pool_give(pool_of(tx), relay->client);
	relay->client = NULL;
	relay->mailed = false;
	relay->open_recipients = 0;
}

static bool to_send(const struct recipient *r)
{
	return !r->has_it && !r->kept_back;
}

#define NO_REPORTS "this host of the backend does not offer DSN"

/* It wants a report of success, or none at all: who drops that in silence would have to write one, or to stop one (RFC 3461 section
 * 5.2.2). All else that a client says about reports is what happens anyway. */
static bool needs_dsn(const struct recipient *r)
{
	return r->notify & (NOTIFY_SUCCESS | NOTIFY_NEVER);
}

static bool lacks_reports(const struct smtp_client *c, const struct recipient *r, const char **why)
{
	if (!needs_dsn(r) || (c->capabilities & CAP_DSN))
		return false;
	*why = NO_REPORTS;
	return true;
}

/* What this host of the backend cannot carry, though others can, who were asked when the recipient was taken. NULL: it can. */
static const char *host_cannot(const struct smtp_client *c, const struct envelope *e)
{
	uint64_t size = e->message.size > e->declared_size ? e->message.size : e->declared_size;

	if (e->smtputf8 && !(c->capabilities & CAP_SMTPUTF8))
		return "this host of the backend does not offer SMTPUTF8";
	if (e->eight_bit_mime && !(c->capabilities & CAP_8BITMIME))
		return "this host of the backend does not offer 8BITMIME";
	for (const struct recipient *r = e->recipients; r && !(c->capabilities & CAP_DSN); r = r->next)
		if (to_send(r) && needs_dsn(r))
			return NO_REPORTS;
	return c->size_limit > 0 && size > c->size_limit ? "this host of the backend takes no message of that size" : NULL;
}

static ASYNC bool take_lease(struct transaction *tx, bool fresh, const char **why, deadline d)
{
	struct relay *relay = &tx->relay;
	struct session *s = tx->session;

	relay->reply = (struct reply){ 0 };
	relay->lease++;
	relay->client = pool_take(pool_of(tx), &tx->arena, relay->backend, fresh, &relay->reply, why, d);
	if (!relay->client)
		return false;
	relay->host = arena_copy(&tx->arena, relay->client->host->url, strlen(relay->client->host->url));
	*why = host_cannot(relay->client, &tx->envelope);
	if (*why) {
		relay_release(tx);
		return false;
	}
	if (!smtp_client_present(relay->client, relay->backend, &s->client, tx->envelope.ref,
			tx->config->hostname, why, d)) {
		drop_lease(tx);
		return false;
	}
	return true;
}

/* 500, 502, 503 to MAIL, RCPT or DATA: the backend and we have lost the thread. That is no answer about a
 * sender, a recipient or a message, and the connection is of no more use. */
static bool is_confused(const struct reply *r)
{
	return r->code == 500 || r->code == 502 || r->code == 503;
}

static bool give_up_on_confusion(const struct reply *r, const char **why)
{
	if (is_confused(r))
		*why = "backend did not understand the dialogue";
	return is_confused(r);
}

/* Reads one reply into *out and remembers it as the last. */
static ASYNC bool read_reply(struct transaction *tx, struct reply *out, const char **why, const char *label, deadline d)
{
	struct relay *relay = &tx->relay;

	if (!smtp_client_reply(relay->client, &tx->arena, out, why, label, d))
		return false;
	relay->reply = *out;
	return true;
}

/* MAIL and one RCPT together, or one RCPT after an accepted MAIL. */
static ASYNC bool ask_recipient(struct transaction *tx, struct recipient *r, const char **why, deadline d)
{
	struct relay *relay = &tx->relay;
	struct reply mail = { .code = 250 };

	if (!relay->mailed)
		smtp_client_queue_mail(relay->client, &tx->envelope, tx->envelope.declared_size);
	smtp_client_queue_rcpt(relay->client, r);
	if (!relay->mailed && !read_reply(tx, &mail, why, "backend MAIL", d))
		return false;
	if (give_up_on_confusion(&mail, why))
		return false;
	relay->mail_refused = !reply_is_positive(&mail);
	if (relay->mail_refused && relay->client->broken)
		r->backend_reply = mail;	/* 421: there will be no second answer */
	else if (!read_reply(tx, &r->backend_reply, why, "backend RCPT", d))
		return false;
	if (relay->mail_refused)
		r->backend_reply = mail;
	else if (give_up_on_confusion(&r->backend_reply, why))
		return false;
	relay->mailed = true;
	relay->mailed_as = tx->envelope.reverse_for_backend;
	return true;
}

ASYNC bool relay_rcpt(struct transaction *tx, struct recipient *r, const char **why, deadline d)
{
	struct relay *relay = &tx->relay;

	for (int attempt = 0; attempt < 2; attempt++) {
		bool warm;

		/* The lease is of use to those who have it: the time for which it is held goes on. */
		if (relay->client && lacks_reports(relay->client, r, why))
			return false;
		timer_clear(&relay->hold);
		if (relay->mailed && !slice_eq(relay->mailed_as, tx->envelope.reverse_for_backend))
			relay_release(tx);	/* for a recipient that was refused */
		if (!relay->client && !take_lease(tx, attempt > 0, why, d))
			return false;
		if (lacks_reports(relay->client, r, why)) {
			relay_release(tx);
			return false;
		}
		warm = !relay->client->fresh;
		if (ask_recipient(tx, r, why, d)) {
			if (reply_is_positive(&r->backend_reply)) {
				relay->open_recipients++;
				r->lease = relay->lease;
			}
			if (relay->mail_refused || relay->client->broken)
				relay_release(tx);
			else
				timer_set(&relay->hold, deadline_in(tx->config->hold_backend));
			return true;
		}
		COUNT_IF(true, BACKEND_GONE);
		drop_lease(tx);
		/* Only a kept connection may have died before we came. */
		if (!warm)
			return false;
	}
	*why = DEAD_WARM;
	return false;
}

/* ---- the message ---- */

/* The backend's envelope on the held lease names exactly those who are to get the message. */
static bool lease_fits(const struct transaction *tx)
{
	if (!tx->relay.mailed || !slice_eq(tx->relay.mailed_as, tx->envelope.reverse_for_backend))
		return false;
	for (const struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (to_send(r) != (r->lease == tx->relay.lease))
			return false;
	return true;
}

/* Nobody has an answer yet. */
static void clear_answers(struct transaction *tx)
{
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next)
		r->backend_reply = (struct reply){ 0 };
}

/* The envelope again, on a new lease. true: it was answered; open_recipients may be 0. */
static ASYNC bool replay_envelope(struct transaction *tx, bool fresh, const char **why, deadline d)
{
	struct relay *relay = &tx->relay;
	struct reply mail;

	if (!take_lease(tx, fresh, why, d))
		return false;
	clear_answers(tx);
	smtp_client_queue_mail(relay->client, &tx->envelope, tx->envelope.message.size);
	for (const struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (to_send(r))
			smtp_client_queue_rcpt(relay->client, r);
	if (!read_reply(tx, &mail, why, "backend MAIL", d) || give_up_on_confusion(&mail, why))
		return false;
	relay->mailed = true;
	relay->mailed_as = tx->envelope.reverse_for_backend;
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next) {
		if (!to_send(r))
			continue;
		if (!relay->client->broken && !read_reply(tx, &r->backend_reply, why, "backend RCPT", d))
			return false;
		if (!reply_is_positive(&mail))
			r->backend_reply = mail;
		else if (give_up_on_confusion(&r->backend_reply, why))
			return false;
		if (!reply_is_positive(&r->backend_reply))
			continue;
		relay->open_recipients++;
		r->lease = relay->lease;
	}
	return true;
}

/* What a backend says between its 354 and our dot is no answer to the message: believed, an early 250 would lose it. Looked at right behind
 * the 354, and once more before the dot of a message that does not leave in one piece with it; what comes while that piece is on its way
 * looks like an answer. */
static bool is_still_listening(struct transaction *tx, const char **why)
{
	struct smtp_client *client = tx->relay.client;

	if (!client->broken && smtp_client_is_quiet(client))
		return true;
	*why = arena_copy(&tx->arena, client->reason, strlen(client->reason));
	return false;
}

/* DATA on a lease whose envelope stands. *go: 354 came; else the answer is everybody's. */
static ASYNC bool ask_data(struct transaction *tx, bool *go, const char **why, deadline d)
{
	struct reply said;

	smtp_client_queue(tx->relay.client, "DATA");
	if (!read_reply(tx, &said, why, "backend DATA", d))
		return false;
	*go = said.code == 354;
	if (*go)
		return is_still_listening(tx, why);
	if (give_up_on_confusion(&said, why))
		return false;
	if (said.code / 100 != 4 && said.code / 100 != 5) {
		*why = "backend answered DATA with neither 354 nor a refusal";
		return false;
	}
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (to_send(r) && (r->backend_reply.code == 0 || reply_is_positive(&r->backend_reply)))
			r->backend_reply = said;
	return true;
}

/* Brings a backend to the point where it waits for the message: the held lease, or a replay, or a replay on a
 * fresh connection after a kept one turned out dead. */
static ASYNC bool open_data(struct transaction *tx, bool *go, const char **why, deadline d)
{
	struct relay *relay = &tx->relay;

	*go = false;
	if (relay->client && !lease_fits(tx))
		relay_release(tx);
	for (int attempt = 0; attempt < 3; attempt++) {
		bool warm = true, held = relay->client != NULL;

		if (held || replay_envelope(tx, attempt > 1, why, d)) {
			if (relay->open_recipients == 0)
				return true;
			if (ask_data(tx, go, why, d))
				return true;
		}
		if (!relay->client)
			return false;
		warm = held || !relay->client->fresh;
		drop_lease(tx);
		if (!warm || deadline_passed(d))
			return false;
	}
	*why = DEAD_WARM;
	return false;
}

/* Sends the message and its dot. A client that is gone before the dot ends it here, and so does a backend that does not wait for it. */
static ASYNC bool send_message(struct transaction *tx, bool *sent_dot, const char **why, deadline d)
{
	struct session *s = tx->session;
	struct stream *to = &tx->relay.client->stream;
	struct slice dot = SLICE(".\r\n");
	bool whole = tx->spool.fd < 0 && tx->spool.size <= WHOLE_SEND;
	uint64_t from = 0;
	struct slice lead = trace_lead(tx, &from);

	*why = "client is gone";
	if (session_client_gone(s))
		return false;
	*sent_dot = whole;
	*why = "backend takes no data";
	if (spool_send(&tx->spool, from, lead, whole ? dot : SLICE_NULL, to, "backend body", d) != WAIT_READY ||
	    to->state == STREAM_FAILED)
		return false;
	if (whole)
		return true;
	if (!is_still_listening(tx, why))
		return false;
	*why = "client is gone";
	if (session_client_gone(s))
		return false;
	*why = "backend takes no data";
	*sent_dot = true;
	stream_write(to, dot);
	return stream_drain(to, "backend dot", d) == WAIT_READY && to->state != STREAM_FAILED;
}

static ASYNC bool read_answer(struct transaction *tx, struct reply *said, const char **why, deadline d)
{
	if (!read_reply(tx, said, why, "backend final reply", d))
		return false;
	if (said->code / 100 != 3 && !is_confused(said))
		return true;
	*why = "backend answered the final dot with what is no answer to it";
	return false;
}

/* The last reply under PRDR is about the message: a refusal is everybody's, whatever was said of each. */
static ASYNC bool read_last_answer(struct transaction *tx, const char **why, deadline d)
{
	struct reply said;

	if (!read_answer(tx, &said, why, d))
		return false;
	if (reply_is_positive(&said))
		return true;
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next)
		if (r->final_answered && reply_is_positive(&r->backend_reply))
			r->backend_reply = said;
	return true;
}

/* One answer for all, or one for each recipient that RCPT had accepted: under LMTP always (RFC 2033 section 4.2), under
 * PRDR behind a 353 (draft-hall-prdr-00). */
static ASYNC bool read_answers(struct transaction *tx, const char **why, deadline d)
{
	struct smtp_client *client = tx->relay.client;
	bool each = client->lmtp, prdr = false;
	struct reply said = { 0 };

	if (!each) {
		if (!read_reply(tx, &said, why, "backend final reply", d))
			return false;
		prdr = each = client->prdr && said.code == 353;
		if (!each && (said.code / 100 == 3 || is_confused(&said))) {
			*why = "backend answered the final dot with what is no answer to it";
			return false;
		}
	}
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next) {
		if (!to_send(r) || (r->backend_reply.code != 0 && !reply_is_positive(&r->backend_reply)))
			continue;
		if (each && !read_answer(tx, &said, why, d))
			return false;
		r->backend_reply = said;
		r->final_answered = true;
	}
	return !prdr || read_last_answer(tx, why, d);
}

ASYNC bool relay_message(struct transaction *tx, bool *sent_dot, const char **why, deadline d)
{
	struct relay *relay = &tx->relay;
	bool go;

	*sent_dot = false;
	if (!open_data(tx, &go, why, d)) {
		drop_lease(tx);
		return false;
	}
	if (!go) {
		relay_release(tx);
		return true;
	}
	if (!send_message(tx, sent_dot, why, d)) {
		drop_lease(tx);
		return false;
	}
	if (relay->client->prdr)
		smtp_client_expect_prdr(relay->client, relay->open_recipients);
	else
		smtp_client_expect(relay->client, relay->client->lmtp ? relay->open_recipients : 1);
	if (!read_answers(tx, why, d)) {
		COUNT_IF(true, BACKEND_GONE);
		drop_lease(tx);
		return false;
	}
	relay->mailed = false;
	relay_release(tx);
	return true;
}
