/*
 * The commit ledger: who has a message, and of which it cannot be said.
 *
 * An entry per recipient is written before the backend's dot ("open"), turned
 * into "delivered" by its 250, and deleted as soon as the client has shown that
 * it heard ours. So nearly every entry lives for milliseconds in shared memory
 * (net/store.h) and costs no disk. What remains is what a retry must know:
 *
 *   delivered   the client did not hear us, or the outcome was mixed: the retry
 *               is answered 250 for this recipient and not sent again
 *   lost        the backend took the dot and gave no answer: the retry is sent;
 *               a possible double, named in both records
 *   open        the same, of a worker that was killed in between; of a living
 *               worker: another session is at it right now, come back later
 *
 * The key holds what does not differ between two tries: reverse-path,
 * recipient (as delivered to: two sub-addresses are two), Message-ID, Date, From, Subject, body. Trace, DKIM and ARC fields
 * do differ. A message without Message-ID and Date could be a second one that
 * only looks the same: it is never answered from here.
 *
 * Rejected: one entry per message (splits and partial deliveries cannot be told),
 * and a key over all header fields (no retry would ever match).
 */
#include "edge/transaction.h"

#include "base/log.h"

#include <stdlib.h>

enum commit_state { COMMIT_OPEN = 1, COMMIT_DELIVERED = 2, COMMIT_LOST = 3 };

struct commit_entry {
	uint8_t state;
	uint8_t slot;
	uint16_t zero;
	uint32_t generation;
	char ref[10];
};

static void trouble(struct transaction *tx)
{
	edge_count(tx->session->edge, EDGE_STORE_TROUBLE, 1);
	if (tx->ledger_trouble)
		return;
	tx->ledger_trouble = true;
	finding_add(&tx->envelope.findings, &tx->arena, CHECK_RECIPIENT, RESULT_TEMPERROR,
		"commit ledger not usable: a lost answer may double this message");
}

static struct store *store_of(const struct transaction *tx)
{
	return tx->session->edge->services.store;
}

static struct store_value entry_value(const struct transaction *tx, enum commit_state state)
{
	struct store_value value = { .length = sizeof(struct commit_entry) };
	struct commit_entry entry = { .state = (uint8_t)state, .slot = (uint8_t)tx->session->edge->slot,
		.generation = tx->session->edge->generation };

	memcpy(entry.ref, tx->envelope.ref, sizeof(entry.ref));
	memcpy(value.bytes, &entry, sizeof(entry));
	value.expires = (uint32_t)(clock_wall_seconds() + tx->config->commit_retention / NS_PER_SECOND);
	return value;
}

static bool entry_read(struct commit_entry *out, const struct store_value *value)
{
	if (value->length != sizeof(*out))
		return false;
	memcpy(out, value->bytes, sizeof(*out));
	return out->state >= COMMIT_OPEN && out->state <= COMMIT_LOST;
}

static struct store_key entry_key(const struct transaction *tx, const struct recipient *r)
{
	const struct message_facts *m = &tx->envelope.message;
	struct slice parts[] = {
		tx->envelope.reverse_canonical, r->identity, m->id, m->date, m->from, m->subject,
		slice_make((const char *)m->body_sha256, sizeof(m->body_sha256)),
	};

	return store_key(store_of(tx), STORE_COMMIT, parts, sizeof(parts) / sizeof(parts[0]));
}

static void put(struct transaction *tx, const struct store_key *key, enum commit_state state)
{
	struct store_value value = entry_value(tx, state);

	if (store_put(store_of(tx), STORE_COMMIT, key, &value) != STORE_OK)
		trouble(tx);
}

/* Nothing was delivered by this try. A doubt left by an earlier one stays, and so does what may be another session's. */
static void drop(struct transaction *tx, const struct recipient *r, const struct store_key *key)
{
	if (!r->claimed)
		return;
	if (r->in_doubt)
		put(tx, key, COMMIT_LOST);
	else if (store_delete(store_of(tx), STORE_COMMIT, key) == STORE_TROUBLE)
		trouble(tx);
}

/* Somebody's entry stands in the way. true: his session still lives. */
static bool entry_is_held(const struct transaction *tx, const struct commit_entry *entry)
{
	const struct edge *e = tx->session->edge;

	return entry->state == COMMIT_OPEN && e->worker_alive && e->worker_alive(entry->slot, entry->generation);
}

enum claim { CLAIM_OURS, CLAIM_DELIVERED, CLAIM_HELD, CLAIM_FAILED };

static enum claim claim(struct transaction *tx, struct recipient *r, const struct store_key *key)
{
	struct store_value value = entry_value(tx, COMMIT_OPEN), existing;
	struct commit_entry entry;
	bool won = true;

	if (store_claim(store_of(tx), STORE_COMMIT, key, &value, &won, &existing) != STORE_OK) {
		trouble(tx);
		return CLAIM_FAILED;
	}
	if (won)
		return CLAIM_OURS;
	if (!entry_read(&entry, &existing)) {
		put(tx, key, COMMIT_OPEN);
		return CLAIM_OURS;
	}
	if (entry.state == COMMIT_DELIVERED)
		return CLAIM_DELIVERED;
	if (memcmp(entry.ref, tx->envelope.ref, sizeof(entry.ref)) == 0)
		return CLAIM_OURS;
	if (entry_is_held(tx, &entry))
		return CLAIM_HELD;
	r->in_doubt = tx->in_doubt = true;
	tx->earlier_ref = arena_copy(&tx->arena, entry.ref, sizeof(entry.ref));
	put(tx, key, COMMIT_OPEN);
	return CLAIM_OURS;
}

/* The entries written for the recipients before `end` are taken back. */
static void take_back(struct transaction *tx, const struct store_key *keys, const struct recipient *end)
{
	for (struct recipient *r = tx->envelope.recipients; r != end; r = r->next, keys++)
		if (!r->has_it)
			drop(tx, r, keys);
}

enum commit_answer commit_begin(struct transaction *tx)
{
	const struct message_facts *m = &tx->envelope.message;
	uint32_t i = 0, delivered = 0;
	struct store_key *keys;

	if (m->id.n == 0 && m->date.n == 0)
		return COMMIT_GO;
	if (!store_of(tx)) {
		trouble(tx);
		return COMMIT_GO;
	}
	keys = arena_array(&tx->arena, struct store_key, tx->envelope.recipient_count);
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next, i++) {
		keys[i] = entry_key(tx, r);
		switch (claim(tx, r, &keys[i])) {
		case CLAIM_OURS:
			r->claimed = true;
			break;
		case CLAIM_FAILED:
			break;
		case CLAIM_DELIVERED:
			r->has_it = true;
			delivered++;
			break;
		case CLAIM_HELD:
			take_back(tx, keys, r);
			return COMMIT_BUSY;
		}
	}
	tx->commit_keys = keys;
	return delivered == tx->envelope.recipient_count ? COMMIT_ALL_HAVE_IT : COMMIT_GO;
}

/* The client will hear a 250 for whoever has it: these entries go as soon as it has. */
static void expect_to_be_heard(struct transaction *tx)
{
	struct session *s = tx->session;
	uint32_t i = 0, n = 0;
	struct store_key *keys;

	/* Of the message before: a body that was waited for is a sign, too. */
	if (s->unheard_count > 0 && s->waited)
		commit_heard(s);
	keys = realloc(s->unheard, tx->envelope.recipient_count * sizeof(*keys));
	if (!keys)
		return;		/* they stay until they expire: harmless */
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next, i++)
		if (r->has_it || reply_is_positive(&r->backend_reply))
			keys[n++] = tx->commit_keys[i];
	s->unheard = keys;
	s->unheard_count = n;
	s->waited = false;
}

void commit_settle(struct transaction *tx, bool told_each)
{
	bool all = true;
	uint32_t i = 0;

	if (!tx->commit_keys)
		return;
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next, i++) {
		if (r->has_it)
			continue;
		if (reply_is_positive(&r->backend_reply)) {
			put(tx, &tx->commit_keys[i], COMMIT_DELIVERED);
		} else {
			drop(tx, r, &tx->commit_keys[i]);
			all = false;
		}
	}
	if (all || told_each)
		expect_to_be_heard(tx);
}

void commit_abort(struct transaction *tx)
{
	uint32_t i = 0;

	if (!tx->commit_keys)
		return;
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next, i++)
		if (!r->has_it)
			drop(tx, r, &tx->commit_keys[i]);
}

void commit_lose(struct transaction *tx)
{
	uint32_t i = 0;

	if (!tx->commit_keys)
		return;
	for (struct recipient *r = tx->envelope.recipients; r; r = r->next, i++) {
		if (r->has_it)
			continue;
		/* Under LMTP some may have been answered before the rest was lost. */
		if (r->final_answered && reply_is_positive(&r->backend_reply))
			put(tx, &tx->commit_keys[i], COMMIT_DELIVERED);
		else if (r->final_answered || r->kept_back)
			drop(tx, r, &tx->commit_keys[i]);
		else if (r->claimed)
			put(tx, &tx->commit_keys[i], COMMIT_LOST);
	}
}

void commit_heard(struct session *s)
{
	for (uint32_t i = 0; i < s->unheard_count; i++)
		if (store_delete(s->edge->services.store, STORE_COMMIT, &s->unheard[i]) == STORE_TROUBLE)
			edge_count(s->edge, EDGE_STORE_TROUBLE, 1);
	s->unheard_count = 0;
}

void commit_unheard(struct session *s)
{
	s->unheard_count = 0;
}

/* ---- hints ---- */

#define HINT_RETENTION (24 * 3600)

static struct store_key hint_key(const struct transaction *tx, const struct recipient *r)
{
	struct slice parts[] = { tx->envelope.reverse_canonical, r->identity };

	return store_key(store_of(tx), STORE_HINT, parts, 2);
}

bool commit_hinted(struct transaction *tx, const struct recipient *r)
{
	struct store_value value;
	struct store_key key;

	if (!store_of(tx))
		return false;
	key = hint_key(tx, r);
	return store_get(store_of(tx), STORE_HINT, &key, &value) == STORE_OK;
}

void commit_hint(struct transaction *tx, const struct recipient *r)
{
	struct store_value value = { .length = 1, .bytes = { 1 },
		.expires = (uint32_t)(clock_wall_seconds() + HINT_RETENTION) };
	struct store_key key;

	if (!store_of(tx))
		return;
	key = hint_key(tx, r);
	if (store_put(store_of(tx), STORE_HINT, &key, &value) != STORE_OK)
		trouble(tx);
}

void commit_unhint(struct transaction *tx, const struct recipient *r)
{
	struct store_key key;

	if (!commit_hinted(tx, r))
		return;
	key = hint_key(tx, r);
	if (store_delete(store_of(tx), STORE_HINT, &key) == STORE_TROUBLE)
		trouble(tx);
}
