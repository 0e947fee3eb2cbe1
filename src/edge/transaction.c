/*
 * The envelope's life. A transaction is one malloc'd struct with an arena; it is
 * begun by MAIL and ended by whatever comes first: the answer to the end of
 * data, RSET, EHLO, STARTTLS, QUIT, or the client's disappearance. Its end
 * gives the backend connection back and writes the one record.
 */
#include "edge/transaction.h"

#include <stdlib.h>

static void hold_over(struct timer *t)
{
	struct transaction *tx = container_of(t, struct transaction, relay.hold);

	/* The fiber that uses the lease right now keeps it. */
	if (tx->relay.at_rest || !fiber_job_active(&tx->session->job))
		relay_release(tx);
}

struct transaction *transaction_begin(struct session *s)
{
	struct transaction *tx = calloc(1, sizeof(*tx));

	if (!tx)
		return NULL;
	tx->session = s;
	tx->config = s->config;
	config_ref(tx->config);
	tx->relay.hold.fn = hold_over;
	tx->times.began = clock_now();
	tx->last_refused = &tx->refused;
	tx->envelope.arena = &tx->arena;
	tx->envelope.client = &s->client;
	tx->envelope.client_findings = s->findings;
	tx->envelope.last_recipient = &tx->envelope.recipients;
	edge_reference(s->edge, tx->envelope.ref);
	spool_init(&tx->spool, &s->edge->spool);
	s->tx = tx;
	if (s->transactions < UINT16_MAX)
		s->transactions++;
	edge_count(s->edge, EDGE_TRANSACTIONS, 1);
	return tx;
}

void transaction_end(struct session *s)
{
	struct transaction *tx = s->tx;

	if (!tx)
		return;
	s->tx = NULL;
	relay_release(tx);
	timer_clear(&tx->relay.hold);
	record_transaction(tx);
	s->recorded = true;
	stage_message_drop(tx->stage);
	spool_drop(&tx->spool);
	EVP_MD_CTX_free(tx->body_hash);
	config_unref(tx->config);
	arena_drop(&tx->arena);
	free(tx);
}

void transaction_decide(struct transaction *tx, enum disposition d, const struct reply *r)
{
	tx->disposition = d;
	tx->final = *r;
	tx->final.text = slice_copy(&tx->arena, r->text);
	tx->decided = true;
}

struct reply transaction_reply(struct transaction *tx, enum reply_name name, struct slice detail)
{
	bool refusal = reply_definition(name)->code >= 400;

	return reply_make(&tx->arena, name, detail, refusal ? tx->envelope.ref : NULL,
		refusal ? tx->config->help_url : NULL);
}

void transaction_add(struct transaction *tx, struct recipient *r)
{
	struct envelope *e = &tx->envelope;

	*e->last_recipient = r;
	e->last_recipient = &r->next;
	e->recipient_count++;
}

void transaction_refuse(struct transaction *tx, struct recipient *r)
{
	*tx->last_refused = r;
	tx->last_refused = &r->next;
	tx->envelope.refused_count++;
}
