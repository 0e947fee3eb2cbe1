/*
 * The judgement over a notice: every proof is looked at, then one result is drawn from all.
 *
 * What is false outweighs what is true: whoever holds a message of ours holds its tag, too, and a field that fails beside it
 * shows that he changed the rest. A returned message that is not ours under a tag that is good is let in as plausible, a few times:
 * some hosts return the header section without fields that they do not know.
 *
 * The ledger alone knows recipients of the envelope. Where it has no entry (another node sent it), those that
 * the returned header section names are taken for them: a forger can write what he likes there, and is
 * held by the count of notices per message.
 *
 * A tag stands for all that a sender sent on a day, and so does an SRS address. A notice that shows nothing else is counted by it, against
 * as many as that many messages may have. Where the ledger does not know the day, another node sent them.
 */
#include "check/bounce.h"

#include "base/table.h"

#define DAY 86400u
#define RETURNED_FIELDS 1000u
#define TRACES_MAX 4u
#define REFERENCES_MAX 20u
#define NAMED_MAX 2000u	/* addresses in the recipient fields of the returned header section */
#define UNKNOWN_DAY 10u	/* messages that a tag stands for, where nobody here knows what its sender sent on its day */
#define PER_RECIPIENT 3u

const char *bounce_method_name(enum bounce_method m)
{
	static const char *const names[] = {
#define X(id, name) name,
		BOUNCE_METHODS(X)
#undef X
	};

	return names[m];
}

enum proof_answer bounce_tag_check(const struct bounce_conf *conf, struct store *store, struct slice tag, struct slice addressee,
	time_t now)
{
	enum proof_answer answer = tag.n == 0 ? PROOF_ABSENT : proof_tag_check(&conf->keys, tag, addressee, conf->life, now);

	if (answer != PROOF_FALSE || !store)
		return answer;
	/* What the ledger cannot say is no accusation. */
	return sent_tag_known(store, tag, addressee) == STORE_NOT_FOUND ? PROOF_FALSE : PROOF_ABSENT;
}

/* All that is known before the result is drawn. */
struct examination {
	const struct bounce_question *q;
	struct arena *a;
	struct bounce_proof *out;
	struct header header;		/* returned */
	struct slice message_id;	/* of the returned message; empty: not told */
	enum proof_answer tag, trace, srs;
	uint32_t trace_day;		/* of a good trace, since 1970 */
	struct sent_entry entry;
	struct slice entry_id;
	bool in_ledger;
	bool recipients_named, recipient_known, recipient_told;	/* told: the ledger or the header section could say */
	uint64_t *named;		/* hashes of the addresses that the header section names; NULL: not read yet */
	uint32_t named_count;
};

static uint32_t life_seconds(const struct bounce_question *q)
{
	return q->conf->life * DAY;
}

/* ---- the returned message ---- */

static void read_returned(struct examination *x)
{
	const struct notice_original *o = &x->q->notice->original;

	header_init(&x->header, x->a, NOTICE_ORIGINAL_MAX + 1024, RETURNED_FIELDS);
	header_push(&x->header, o->header);
	header_finish(&x->header);
	x->message_id = header_message_id(x->a, &x->header);
	if (x->message_id.n == 0)
		x->message_id = o->message_id;
}

/* *unnamed: it was made for a message without Message-ID, which a later host has added. */
static enum proof_answer check_trace(const struct examination *x, struct slice trace, struct slice id, bool *unnamed,
	time_t *sent)
{
	const struct bounce_question *q = x->q;
	enum proof_answer answer, without;

	*unnamed = false;
	answer = proof_trace_check(&q->conf->keys, trace, q->addressee, id, q->conf->life, q->now, sent);
	if (answer != PROOF_FALSE || id.n == 0)
		return answer;
	without = proof_trace_check(&q->conf->keys, trace, q->addressee, SLICE_NULL, q->conf->life, q->now, sent);
	*unnamed = without != PROOF_FALSE;
	return without;
}

/* Such a Message-ID is whatever the notice says: notices are not counted by it. */
static void check_traces(struct examination *x)
{
	struct slice id = header_message_id(x->a, &x->header);
	const struct field *f;
	bool unnamed;
	time_t sent;

	for (uint32_t i = 0; i < TRACES_MAX && (f = header_field(&x->header, SLICE(PROOF_TRACE_NAME), i)); i++) {
		enum proof_answer answer = check_trace(x, field_unfolded(x->a, f), id, &unnamed, &sent);

		if (x->trace != PROOF_ABSENT && (answer != PROOF_VALID || x->trace == PROOF_VALID))
			continue;
		x->trace = answer;
		if (answer == PROOF_VALID)
			x->trace_day = (uint32_t)(sent / DAY);
		if (answer == PROOF_VALID && unnamed)
			x->message_id = SLICE_NULL;
	}
}

/* ---- whom the returned header section names ---- */

static bool ends_word(char c)
{
	return memchr(" \t<>:,;\"()", c, 10) != NULL;
}

/* The words of a recipient field that may be addresses, as hashes. */
static void name_all(struct examination *x, struct slice text)
{
	while (text.n > 0 && x->named_count < NAMED_MAX) {
		size_t n = 0;

		while (n < text.n && !ends_word(text.p[n]))
			n++;
		if (slice_find(slice_head(text, n), '@') > 0)
			x->named[x->named_count++] = hash_nocase(slice_head(text, n));
		text = slice_from(text, n + 1);
	}
}

/* Once: both the fields and the failed recipients are as many and as long as the writer of the notice likes. */
static void read_names(struct examination *x)
{
	static const char *const fields[] = { "To", "Cc", "Bcc", "Resent-To", "Resent-Cc" };
	const struct field *f;

	x->named = arena_array(x->a, uint64_t, NAMED_MAX);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		for (uint32_t n = 0; n < TRACES_MAX && (f = header_field(&x->header, slice_of(fields[i]), n)); n++) {
			x->recipient_told = true;
			name_all(x, field_unfolded(x->a, f));
		}
}

static bool is_named(const struct examination *x, struct slice address)
{
	uint64_t hash = hash_nocase(address);

	for (uint32_t i = 0; i < x->named_count; i++)
		if (x->named[i] == hash)
			return true;
	return false;
}

/* ---- the ledger ---- */

static bool found_in_ledger(struct examination *x, struct slice id)
{
	enum store_status status;

	if (id.n == 0 || !x->q->store || x->in_ledger)
		return false;
	status = sent_find(x->q->store, id, x->q->addressee, &x->entry);
	x->out->store_trouble |= status == STORE_TROUBLE;
	x->in_ledger = status == STORE_OK;
	if (x->in_ledger)
		x->entry_id = id;
	return x->in_ledger;
}

/* The message ids in a field, in their order. */
static struct slice next_id(struct slice *rest)
{
	ptrdiff_t open = slice_find(*rest, '<'), close;
	struct slice id;

	if (open < 0)
		return SLICE_NULL;
	id = slice_from(*rest, (size_t)open);
	close = slice_find(id, '>');
	if (close < 0)
		return SLICE_NULL;
	*rest = slice_from(id, (size_t)close + 1);
	return slice_head(id, (size_t)close + 1);
}

static void ask_ledger(struct examination *x)
{
	struct slice fields[] = { x->q->notice->in_reply_to, x->q->notice->references };
	struct slice id;
	unsigned n = 0;

	if (found_in_ledger(x, x->message_id))
		return;
	/* A notice that returns a message is about that one, whatever it refers to besides. */
	for (size_t i = 0; i < 2 && x->message_id.n == 0; i++)
		while (n++ < REFERENCES_MAX && (id = next_id(&fields[i])).n > 0)
			if (found_in_ledger(x, id))
				return;
}

/* ---- the failed recipients ---- */

/* Has the addressee written to the domain of this one lately? */
static bool wrote_to_domain_of(struct examination *x, struct slice canonical)
{
	enum store_status status;
	time_t when;

	if (!x->q->store)
		return false;
	status = sent_wrote_to(x->q->store, x->q->addressee, address_domain(canonical), &when);
	x->out->store_trouble |= status == STORE_TROUBLE;
	return status == STORE_OK;
}

static bool is_known(struct examination *x, struct slice address)
{
	struct slice canonical;
	enum store_status status;

	if (!address_canonical(x->a, address, SLICE_NULL, &canonical))
		return false;
	x->recipients_named = true;
	if (x->in_ledger) {
		x->recipient_told = true;
		status = sent_has_recipient(x->q->store, &x->entry, x->entry_id, x->q->addressee, canonical);
		x->out->store_trouble |= status == STORE_TROUBLE;
		return status == STORE_OK;
	}
	if (!x->named)
		read_names(x);
	if (is_named(x, address) || is_named(x, canonical))
		return true;
	return x->message_id.n == 0 && wrote_to_domain_of(x, canonical);
}

static void look_at_recipients(struct examination *x)
{
	for (const struct notice_recipient *r = x->q->notice->recipients; r && !x->recipient_known; r = r->next)
		x->recipient_known = is_known(x, r->address) || is_known(x, r->original);
}

/* ---- guessers ---- */

/* Of a client that has tried many, a tag or SRS address that fits tells as little as one that fails, and gets the same answer: else the answer
 * would tell the guesser which one fits. */
static void ignore_guesses(struct examination *x)
{
	if (x->tag == PROOF_FALSE || x->srs == PROOF_FALSE)
		x->out->tag_failed = true;
	if (!x->q->guesser)
		return;
	x->out->not_looked_at = x->tag != PROOF_ABSENT || x->srs != PROOF_ABSENT;
	x->tag = x->srs = PROOF_ABSENT;
}

/* ---- results ---- */

static void conclude(struct examination *x, enum result result, enum bounce_method method, const char *reason)
{
	x->out->result = result;
	x->out->method = method;
	x->out->reason = reason;
}

/* NULL: nothing is wrong with it. */
static const char *wrong_with(enum proof_answer answer, const char *const reasons[3])
{
	switch (answer) {
	case PROOF_FALSE:
		return reasons[0];
	case PROOF_RETIRED:
		return reasons[1];
	case PROOF_OLD:
		return reasons[2];
	default:
		return NULL;
	}
}

static bool is_refuted(struct examination *x)
{
	static const char *const tag[] = { "the tag in its address is false", "the key of the tag in its address is over",
		"the tag in its address is far too old" };
	static const char *const trace[] = { "the returned message bears our mark, and was changed",
		"the key of the mark in the returned message is over", "the mark in the returned message is far too old" };
	static const char *const srs[] = { "its SRS address is false", "", "its SRS address is far too old" };
	const char *why;

	if ((why = wrong_with(x->trace, trace)))
		conclude(x, RESULT_REFUTED, BOUNCE_BY_TRACE, why);
	else if ((why = wrong_with(x->tag, tag)))
		conclude(x, RESULT_REFUTED, BOUNCE_BY_TAG, why);
	else if ((why = wrong_with(x->srs, srs)))
		conclude(x, RESULT_REFUTED, BOUNCE_BY_SRS, why);
	return why != NULL;
}

/* The strongest of the valid proofs. */
static enum bounce_method best_method(const struct examination *x)
{
	if (x->tag == PROOF_VALID)
		return BOUNCE_BY_TAG;
	if (x->trace == PROOF_VALID)
		return BOUNCE_BY_TRACE;
	if (x->q->signed_by.n > 0)
		return BOUNCE_BY_SIGNATURE;
	if (x->in_ledger)
		return BOUNCE_BY_LEDGER;
	return x->srs == PROOF_VALID ? BOUNCE_BY_SRS : BOUNCE_BY_NONE;
}

/* The returned message is told apart by its Message-ID, comes whole in its header section, and does not bear our mark. */
static bool is_a_strangers(const struct examination *x)
{
	const struct notice_original *o = &x->q->notice->original;

	return x->message_id.n > 0 && x->trace == PROOF_ABSENT && !x->in_ledger && x->q->signed_by.n == 0 &&
		(o->form == NOTICE_FORM_FULL || o->form == NOTICE_FORM_HEADERS) && !o->header_truncated;
}

/* What the count of notices goes by, and how many there may be. */
struct measure {
	struct slice what;
	uint64_t messages, recipients;	/* that it stands for */
};

/* What the sender sent on the day of the tag, the SRS address, or of a mark without Message-ID. */
static void measure_day(struct examination *x, struct measure *m, uint32_t day)
{
	enum store_status status = STORE_NOT_FOUND;
	struct sent_day sums;

	if (day)
		status = sent_on_day(x->q->store, x->q->addressee, day, &sums);
	x->out->store_trouble |= status == STORE_TROUBLE;
	m->messages = m->recipients = UNKNOWN_DAY;
	if (status != STORE_OK)
		return;
	m->messages = sums.messages > 0 ? sums.messages : 1;	/* none is new of a message that went on after midnight */
	m->recipients = sums.recipients;
}

static struct measure measure_of(struct examination *x, enum bounce_method method)
{
	const struct bounce_question *q = x->q;
	bool by_message = x->trace == PROOF_VALID || x->in_ledger;
	struct slice id = x->in_ledger ? x->entry_id : x->message_id;
	struct measure m = { .messages = 1, .recipients = x->in_ledger ? x->entry.recipients : 1 };
	struct slice mark;
	uint32_t day;

	/* Not by the Message-ID, which such a signature need not cover. */
	if (method == BOUNCE_BY_SIGNATURE && !by_message) {
		m.what = slice_of(arena_printf(x->a, "signature %.*s %.*s", SLICE_ARG(q->addressee), SLICE_ARG(q->signature)));
		return m;
	}
	if (by_message && id.n > 0) {
		m.what = slice_of(arena_printf(x->a, "message %.*s %.*s", SLICE_ARG(q->addressee), SLICE_ARG(id)));
		return m;
	}
	if (method == BOUNCE_BY_TRACE) {
		day = x->trace_day;
		mark = slice_of(arena_printf(x->a, "%u", day));
	} else if (method == BOUNCE_BY_SRS && q->form) {
		day = srs_day(q->form, q->now);
		mark = q->form->tag_text;
	} else {
		day = proof_tag_day(q->tag, q->conf->life, q->now);
		mark = q->tag;
	}
	m.what = slice_of(arena_printf(x->a, "%s %.*s %.*s", bounce_method_name(method), SLICE_ARG(q->addressee),
		SLICE_ARG(slice_lower(x->a, mark))));
	measure_day(x, &m, day);
	return m;
}

/* true: over its limit, and concluded. */
static bool is_over_limit(struct examination *x, enum bounce_method method, bool foreign)
{
	const struct bounce_question *q = x->q;
	struct sent_counts n;
	struct measure m;

	if (!q->store)
		return false;
	m = measure_of(x, method);
	if (sent_count(q->store, m.what, foreign, q->remember, q->now, 2 * life_seconds(q), &n) != STORE_OK) {
		x->out->store_trouble = true;
		return false;
	}
	if (foreign && n.foreign > q->conf->foreign_limit * m.messages) {
		conclude(x, RESULT_REFUTED, method, arena_printf(x->a,
			"the proof is ours, and this is notice number %u for somebody the message was not sent to", n.foreign));
		return true;
	}
	if (n.all > q->conf->replay_limit * m.messages + PER_RECIPIENT * m.recipients) {
		conclude(x, RESULT_REFUTED, method, arena_printf(x->a,
			"the proof is ours, and this is notice number %u that shows it", n.all));
		return true;
	}
	return false;
}

static void conclude_valid(struct examination *x, enum bounce_method method)
{
	static const char *const proven[] = { [BOUNCE_BY_TAG] = "the tag in its address is ours",
		[BOUNCE_BY_TRACE] = "the returned message bears our mark",
		[BOUNCE_BY_SIGNATURE] = "the returned message bears a good signature of ours",
		[BOUNCE_BY_LEDGER] = "it answers a message that this address has sent",
		[BOUNCE_BY_SRS] = "its address was made by our own forwarding" };
	/* SRS: who the forwarded message went to is not in our ledger. */
	bool foreign = x->recipients_named && !x->recipient_known && method != BOUNCE_BY_SRS;
	bool stranger = method == BOUNCE_BY_TAG && is_a_strangers(x);

	if (is_over_limit(x, method, foreign || stranger))
		return;
	if (stranger)
		conclude(x, RESULT_PLAUSIBLE, method, arena_printf(x->a,
			"%s, and the returned message does not bear our mark", proven[method]));
	else if (foreign)
		conclude(x, RESULT_PLAUSIBLE, method, arena_printf(x->a, x->recipient_told ?
			"%s, and the failed recipient is nobody it was sent to: an alias or a forwarder, perhaps" :
			"%s, and who it was sent to is not known here", proven[method]));
	else
		conclude(x, RESULT_PROVEN, method, proven[method]);
}

/* Nothing proves it. Has the addressee at least written to that domain? */
static bool is_plausible_by_domain(struct examination *x)
{
	const struct bounce_question *q = x->q;
	struct slice canonical;

	if (x->message_id.n > 0 || x->tag == PROOF_EXPIRED)
		return false;
	for (const struct notice_recipient *r = q->notice->recipients; r; r = r->next) {
		struct slice what;
		struct sent_counts n;
		enum store_status status;

		if (!address_canonical(x->a, r->address, SLICE_NULL, &canonical) || !wrote_to_domain_of(x, canonical))
			continue;
		what = slice_of(arena_printf(x->a, "pair %.*s %.*s", SLICE_ARG(q->addressee),
			SLICE_ARG(address_domain(canonical))));
		status = sent_count(q->store, what, true, q->remember, q->now, life_seconds(q), &n);
		x->out->store_trouble |= status == STORE_TROUBLE;
		if (status == STORE_OK && n.foreign <= q->conf->foreign_limit) {
			conclude(x, RESULT_PLAUSIBLE, BOUNCE_BY_LEDGER, arena_printf(x->a,
				"it proves nothing, and this address has written to %.*s lately",
				SLICE_ARG(address_domain(canonical))));
			return true;
		}
	}
	return false;
}

static const char *why_unproven(const struct examination *x)
{
	if (x->trace == PROOF_OTHER_SENDER)
		return "the returned message was sent by another address of this site";
	if (x->trace == PROOF_EXPIRED)
		return "the mark in the returned message is too old";
	if (x->tag == PROOF_EXPIRED)
		return "the tag in its address is too old";
	if (x->out->not_looked_at)
		return "its client has tried so many tags that this one is not looked at";
	if (x->q->signed_long_ago)
		return "the returned message bears our signature, and is too old";
	if (x->q->signed_other_body)
		return "the returned message bears our signature, over another body";
	if (x->q->signed_for_other)
		return "the returned message bears our signature, and another address is its author";
	if (x->message_id.n > 0)
		return "the returned message was not sent from here";
	return x->q->notice->original.form == NOTICE_FORM_NONE ? "no proof, and it returns no message" :
		"no proof, and nothing of the returned message tells which one it is";
}

void bounce_judge(struct bounce_proof *out, const struct bounce_question *q, struct arena *a)
{
	struct examination x = { .q = q, .a = a, .out = out };
	enum bounce_method method;

	*out = (struct bounce_proof){ .result = RESULT_UNPROVEN };
	read_returned(&x);
	check_traces(&x);
	x.tag = bounce_tag_check(q->conf, q->store, q->tag, q->addressee, q->now);
	if (q->form)
		x.srs = srs_check(&q->conf->srs, q->form, q->now);
	ignore_guesses(&x);
	ask_ledger(&x);
	out->message_id = x.in_ledger ? x.entry_id : x.message_id;
	out->elsewhere = (q->signed_by.n > 0 || q->signed_for_other) && x.trace == PROOF_ABSENT && x.tag == PROOF_ABSENT && !x.in_ledger;
	if (is_refuted(&x))
		return;
	look_at_recipients(&x);
	method = x.trace == PROOF_OTHER_SENDER ? BOUNCE_BY_NONE : best_method(&x);
	if (method != BOUNCE_BY_NONE)
		conclude_valid(&x, method);
	else if (!is_plausible_by_domain(&x))
		conclude(&x, RESULT_UNPROVEN, BOUNCE_BY_NONE, why_unproven(&x));
}
