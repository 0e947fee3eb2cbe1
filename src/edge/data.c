/*
 * The body: bytes from the client into the spool, and what is decided at their
 * end.
 *
 * While data arrives nothing waits: the framing machine hands its pieces to the
 * header parser, the body hash and the spool, on the scheduler's stack. Only
 * the end borrows a fiber: the checks, the verdict, and the answer (answer.c). A message that is refused already (framing, size) is still read to its
 * true end, since only there may the dialogue go on.
 */
#include "edge/transaction.h"

#include "base/log.h"

#define PROGRESS_LOOK (15 * NS_PER_SECOND)
#define RATE_GRACE (60 * NS_PER_SECOND)
/* What is refused is read to its end, so that the sender hears why; but not any amount, and not for ever. */
#define DRAIN_OCTETS (64u * 1024u * 1024u)	/* beyond the size limit */
#define DRAIN_RATE (64u * 1024u)		/* octets a second, at least, of a refused chunk */

/* ---- while it arrives ---- */

static void on_wire(void *arg, struct slice piece)
{
	struct transaction *tx = arg;

	if (!tx->discard && !spool_add(&tx->spool, piece))
		tx->discard = true;
}

static void add_body(struct transaction *tx, struct slice piece)
{
	if (piece.n == 0)
		return;
	EVP_DigestUpdate(tx->body_hash, piece.p, piece.n);
	stage_message_body(tx->stage, piece);
}

/* The header section is complete. A line that is no field began before it could be told: its beginning is body, too. */
static void end_header(struct transaction *tx)
{
	if (!tx->header.done || tx->header_seen)
		return;
	tx->header_seen = true;
	stage_message_header(tx->stage, &tx->header);
	add_body(tx, tx->header.body_lead);
}

static void on_content(void *arg, struct slice piece)
{
	struct transaction *tx = arg;

	if (tx->discard)
		return;
	if (!tx->header.done) {
		piece = slice_from(piece, header_push(&tx->header, piece));
		end_header(tx);
	}
	add_body(tx, piece);
}

static struct message_stage *begin_stage(struct session *s)
{
	struct transaction *tx = s->tx;

	return stage_message_begin(&(struct message_view){ .services = &s->edge->services, .config = tx->config,
		.domain = tx->domain, .listener = s->listener, .envelope = &tx->envelope,
		.source = content_of(tx), .sink = content_sink_of(tx),
		.received = tx->config->content.count > 0 ? trace_received(tx) : SLICE_NULL });
}

bool data_begin(struct session *s)
{
	struct transaction *tx = s->tx;
	const struct listener_conf *l = s->listener;

	tx->body_hash = EVP_MD_CTX_new();
	if (!tx->body_hash || EVP_DigestInit_ex(tx->body_hash, s->edge->sha256, NULL) != 1)
		return false;
	smtp_data_init(&tx->framing, on_wire, on_content, tx);
	tx->framing.repair = l->broken_peers && ip_set_contains(l->broken_peers, &s->client.ip);
	header_init(&tx->header, &tx->arena, l->header_limit, l->max_fields);
	tx->stage = begin_stage(s);
	tx->times.data_began = clock_now();
	s->chunk_refusal = REPLY_NONE;	/* of a chunk before */
	s->last_data = clock_now();
	s->silent_until = deadline_min(deadline_in(PROGRESS_LOOK), deadline_in(s->listener->data_timeout));
	if (tx->relay.client)
		timer_set(&tx->relay.hold, deadline_in(tx->config->hold_backend));
	return true;
}

static bool over_limit(const struct session *s, uint64_t size)
{
	return s->listener->size_limit && size > s->listener->size_limit;
}

static struct slice limit_text(struct session *s)
{
	return slice_of(arena_printf(s->tx ? &s->tx->arena : &s->scratch, "%llu",
		(unsigned long long)s->listener->size_limit));
}

static struct slice refusal_detail(struct session *s)
{
	return s->chunk_refusal == REPLY_TOO_BIG ? limit_text(s) :
		s->chunk_refusal == REPLY_BAD_SEQUENCE ? SLICE("MAIL") : SLICE_NULL;
}

struct reply data_begin_chunk(struct session *s, uint64_t size, bool last)
{
	struct transaction *tx = s->tx;

	s->chunk_left = size;
	s->chunk_last = last;
	s->chunk_refusal = REPLY_NONE;
	if (!tx)
		s->chunk_refusal = REPLY_BAD_SEQUENCE;
	else if (tx->envelope.recipient_count == 0)
		s->chunk_refusal = REPLY_NO_RECIPIENTS;
	else if (!tx->chunking && !data_begin(s))
		s->chunk_refusal = REPLY_LOCAL_TROUBLE;
	else if (over_limit(s, size) || over_limit(s, tx->framing.content_size + size))
		s->chunk_refusal = REPLY_TOO_BIG;
	if (tx && s->chunk_refusal == REPLY_NONE)
		tx->chunking = true;
	s->mode = SESSION_CHUNK;
	s->last_data = clock_now();
	if (s->chunk_refusal != REPLY_NONE) {
		if (size > s->listener->size_limit + DRAIN_OCTETS)
			session_hang_up(s, s->chunk_refusal, refusal_detail(s));
		else	/* nothing that arrives puts the end of its time off */
			s->last_data += (nanoseconds)(size / DRAIN_RATE) * NS_PER_SECOND;
	}
	s->silent_until = deadline_min(deadline_in(PROGRESS_LOOK), deadline_in(s->listener->data_timeout));
	return (struct reply){ 0 };
}

static void look_at_size(struct session *s)
{
	struct transaction *tx = s->tx;

	if (over_limit(s, tx->framing.content_size) && !tx->too_big) {
		tx->too_big = true;
		tx->discard = true;
	}
	if (tx->too_big && tx->framing.content_size > s->listener->size_limit + DRAIN_OCTETS)
		session_hang_up(s, REPLY_TOO_BIG, limit_text(s));
	if (tx->header.too_large)
		tx->discard = true;
	if (tx->discard && tx->spool.size > 0 && !tx->spool.error)
		spool_drop(&tx->spool);
	/* The backend's transaction does not wait for a long body. */
	if (tx->relay.client && tx->framing.content_size > tx->config->hold_bytes)
		relay_release(tx);
}

static bool push_chunk(struct session *s)
{
	struct slice in = slice_head(stream_input(&s->stream), s->chunk_left);

	if (s->chunk_refusal == REPLY_NONE && in.n > 0) {
		smtp_data_push_chunk(&s->tx->framing, in);
		look_at_size(s);
	}
	stream_consume(&s->stream, in.n);
	s->chunk_left -= in.n;
	return s->chunk_left == 0;
}

bool data_push(struct session *s)
{
	size_t used = 0;
	bool end;

	if (s->mode == SESSION_DATA || s->chunk_refusal == REPLY_NONE)
		s->last_data = clock_now();
	if (s->mode == SESSION_CHUNK)
		return push_chunk(s);
	end = smtp_data_push(&s->tx->framing, stream_input(&s->stream), &used);
	stream_consume(&s->stream, used);
	look_at_size(s);
	return end;
}

enum reply_name data_progress(struct session *s)
{
	const struct listener_conf *l = s->listener;
	nanoseconds spent = s->tx ? clock_now() - s->tx->times.data_began : 0;

	if (clock_now() - s->last_data >= l->data_timeout)
		return REPLY_TIMEOUT;
	if (s->tx && l->min_data_rate && spent > RATE_GRACE && s->chunk_refusal == REPLY_NONE &&
	    s->tx->framing.content_size / (uint64_t)(spent / NS_PER_SECOND) < l->min_data_rate)
		return REPLY_TOO_SLOW;
	s->silent_until = deadline_min(deadline_in(PROGRESS_LOOK), s->last_data + l->data_timeout);
	return REPLY_NONE;
}

/* ---- at the end ---- */

static void learn_facts(struct transaction *tx)
{
	struct message_facts *m = &tx->envelope.message;
	const struct header *h = &tx->header;
	const struct field *f;
	unsigned length = 0;

	if (!tx->header.done) {
		header_finish(&tx->header);
		end_header(tx);
	}
	m->id = header_message_id(&tx->arena, h);
	if ((f = header_field(h, SLICE("Date"), 0)))
		m->date = field_unfolded(&tx->arena, f);
	if ((f = header_field(h, SLICE("From"), 0)))
		m->from = field_unfolded(&tx->arena, f);
	if ((f = header_field(h, SLICE("Subject"), 0)))
		m->subject = field_unfolded(&tx->arena, f);
	m->size = tx->framing.content_size;
	m->received_count = header_count(h, SLICE("Received"));
	m->bare_newline = tx->framing.bare_cr || tx->framing.bare_lf;
	m->eight_bit = tx->framing.eight_bit;
	m->header_malformed = h->malformed;
	EVP_DigestFinal_ex(tx->body_hash, m->body_sha256, &length);
	COUNT_IF(tx->framing.bare_lf, BARE_LF);
	COUNT_IF(tx->framing.bare_cr, BARE_CR);
}

/* What the limits and the framing say, whatever any policy thinks. true: refused. */
static bool refused_by_form(struct transaction *tx)
{
	const struct listener_conf *l = tx->session->listener;
	enum reply_name name = REPLY_NONE;

	if (tx->too_big) {
		answer_end(tx, DISPOSITION_REJECT, REPLY_TOO_BIG, limit_text(tx->session));
		return true;
	}
	if (tx->header.too_large)
		name = REPLY_HEADER_TOO_LARGE;
	else if (tx->envelope.message.bare_newline && !tx->framing.repair)
		name = REPLY_BARE_NEWLINE;
	else if (tx->framing.nul)
		name = REPLY_NUL_IN_MESSAGE;
	else if (tx->envelope.message.received_count > l->max_hops)
		name = REPLY_MAIL_LOOP;
	if (name != REPLY_NONE) {
		answer_end(tx, DISPOSITION_REJECT, name, SLICE_NULL);
		return true;
	}
	if (tx->spool.error) {
		log_limited(LOG_ALERT, "spool", "spool: %s", strerror(tx->spool.error));
		answer_end(tx, DISPOSITION_DEFER, REPLY_SPOOL_FULL, SLICE_NULL);
		return true;
	}
	return false;
}

/* The checks of the message. The backend's transaction waits for them no longer than it would for a slow client. */
static ASYNC struct verdict judge_message(struct transaction *tx, deadline until)
{
	nanoseconds began = clock_precise();

	tx->client_left = session_client_gone(tx->session);
	if (tx->client_left)
		return (struct verdict){ 0 };
	tx->relay.at_rest = true;
	if (tx->relay.client)
		timer_set(&tx->relay.hold, deadline_in(tx->config->hold_backend));
	stage_message_finish(tx->stage, until);
	timer_clear(&tx->relay.hold);
	tx->relay.at_rest = false;
	tx->times.scan = clock_precise() - began;
	return verdict_of_message(tx->config, tx->domain, &tx->envelope, *tx->session->edge->services.observe_all);
}

void data_watch_client(struct session *s)
{
	struct transaction *tx = s->tx;

	if (!tx || !tx->relay.at_rest || tx->client_left || !session_client_gone(s))
		return;
	tx->client_left = true;
	stage_message_abandon(tx->stage);
}

/* Gone before the verdict: nothing is delivered, and nothing is in the way of its return. */
static void answer_nobody(struct transaction *tx)
{
	answer_end(tx, DISPOSITION_DEFER, REPLY_CLIENT_LEFT, SLICE_NULL);
}

static ASYNC void act_on_verdict(struct transaction *tx, const struct verdict *v, deadline until)
{
	tx->because = v->because;
	tx->disposition = v->disposition;	/* the trace fields say so */
	if (v->reply == REPLY_MIXED_OUTCOME)
		answer_hint_disagreed(tx);
	if (v->split)
		answer_keep_back(tx);
	if (v->reply != REPLY_NONE) {
		answer_end(tx, v->disposition, v->reply, v->detail);
		return;
	}
	stage_message_sign(tx->stage, until);
	if (tx->session->edge->rehearsal)
		answer_end(tx, v->disposition, REPLY_ACCEPTED, slice_of(tx->envelope.ref));
	else
		answer_relay(tx, v->disposition, until);
}

static ASYNC void finish_message(struct session *s)
{
	struct transaction *tx = s->tx;
	deadline until = deadline_in(tx->config->answer_budget);

	tx->times.data = clock_now() - tx->times.data_began;
	timer_clear(&tx->relay.hold);
	learn_facts(tx);
	if (!refused_by_form(tx)) {
		struct verdict v = judge_message(tx, until);

		if (tx->client_left)
			answer_nobody(tx);
		else
			act_on_verdict(tx, &v, until);
	}
	transaction_end(s);
}

static void answer_chunk(struct session *s)
{
	struct str octets = STR_IN(&s->scratch);

	str_number(&octets, s->tx->framing.content_size);
	session_say(s, REPLY_CHUNK_OK, str_slice(&octets));
	arena_drop(&s->scratch);
}

static void refuse_chunk(struct session *s)
{
	if (s->tx && s->chunk_refusal != REPLY_NO_RECIPIENTS) {
		struct reply r = transaction_reply(s->tx, s->chunk_refusal, refusal_detail(s));

		transaction_decide(s->tx, r.code >= 500 ? DISPOSITION_REJECT : DISPOSITION_DEFER, &r);
		session_reply(s, &r);
		transaction_end(s);
		return;
	}
	session_say(s, s->chunk_refusal, refusal_detail(s));
	s->errors++;
}

ASYNC void data_finish(struct session *s)
{
	bool chunk = s->mode == SESSION_CHUNK;

	s->mode = SESSION_COMMAND;
	if (chunk && s->chunk_refusal != REPLY_NONE) {
		refuse_chunk(s);
		return;
	}
	if (chunk && !s->chunk_last) {
		answer_chunk(s);
		return;
	}
	if (chunk)
		smtp_data_finish_chunks(&s->tx->framing);
	finish_message(s);
}
