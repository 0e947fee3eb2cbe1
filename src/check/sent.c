/*
 * The sent ledger on the store.
 *
 * A message is one entry under the hash of Message-ID and sender, with the hashes of up to nine recipients inside; so the ordinary
 * message costs 24 octets and one put, and a look-up one get. A message that comes in several transactions is
 * put together again. A second entry says that the sender wrote to the domain; it is renewed
 * once a day, so that correspondents cost nothing more. A third one counts what a sender sent on a day: a tag stands for all of that.
 *
 * Rejected: an entry per recipient (twice the puts for the ordinary message); a Bloom filter (it forgets nothing, and cannot
 * say when).
 */
#include "check/sent.h"

#include "base/log.h"
#include "wire/address.h"

#define DAY 86400
#define EXIT_STEP 60			/* seconds between two notes that a domain's mail leaves here */
#define EXIT_LIFE (400u * DAY)		/* a domain that is silent for so long begins anew */

static struct store_key key_of(const struct store *s, const char *kind, struct slice a, struct slice b, struct slice c)
{
	struct slice parts[] = { slice_of(kind), a, b, c };

	return store_key(s, STORE_SENT, parts, 4);
}

static uint64_t recipient_hash(const struct store *s, struct slice recipient)
{
	struct store_key key = key_of(s, "recipient", recipient, SLICE_NULL, SLICE_NULL);
	uint64_t hash;

	memcpy(&hash, key.bytes, sizeof(hash));
	return hash;
}

static uint32_t expiry(time_t now, uint32_t life)
{
	return (uint32_t)now + life;
}

/* ---- messages ---- */

struct message_row {
	uint32_t when;
	uint32_t recipients;
	uint64_t hashes[SENT_RECIPIENTS_INSIDE];
};
#define ROW_HEAD offsetof(struct message_row, hashes)

_Static_assert(sizeof(struct message_row) <= STORE_VALUE_MAX, "a message fits an entry");

enum store_status sent_find(struct store *s, struct slice message_id, struct slice sender, struct sent_entry *out)
{
	struct store_key key = key_of(s, "message", message_id, sender, SLICE_NULL);
	struct store_value value;
	struct message_row row = { 0 };
	enum store_status status = store_get(s, STORE_SENT, &key, &value);

	*out = (struct sent_entry){ .key = key };
	if (status != STORE_OK)
		return status;
	if (value.length < ROW_HEAD || value.length > sizeof(row) || (value.length - ROW_HEAD) % 8)
		return STORE_NOT_FOUND;
	memcpy(&row, value.bytes, value.length);
	out->when = (time_t)row.when;
	out->recipients = row.recipients;
	out->inside = (uint32_t)((value.length - ROW_HEAD) / 8);
	memcpy(out->hashes, row.hashes, sizeof(row.hashes));
	return STORE_OK;
}

static bool is_inside(const struct sent_entry *e, uint64_t hash)
{
	for (uint32_t i = 0; i < e->inside; i++)
		if (e->hashes[i] == hash)
			return true;
	return false;
}

static enum store_status put_row(struct store *s, const struct sent_entry *e, uint32_t expires)
{
	struct message_row row = { .when = (uint32_t)e->when, .recipients = e->recipients };
	struct store_value value = { .length = (uint8_t)(ROW_HEAD + 8 * e->inside), .expires = expires };

	memcpy(row.hashes, e->hashes, sizeof(row.hashes));
	memcpy(value.bytes, &row, sizeof(row));
	return store_put(s, STORE_SENT, &e->key, &value);
}

/* A recipient beyond those in the entry of its message. */
static enum store_status put_outside(struct store *s, struct slice message_id, struct slice sender, struct slice recipient,
	uint32_t expires)
{
	struct store_key key = key_of(s, "further", message_id, sender, recipient);
	struct store_value value = { .length = 1, .expires = expires };

	return store_put(s, STORE_SENT, &key, &value);
}

enum store_status sent_wrote_to(struct store *s, struct slice sender, struct slice domain, time_t *when)
{
	struct store_key key = key_of(s, "pair", sender, domain, SLICE_NULL);
	struct store_value value;
	uint32_t then;
	enum store_status status = store_get(s, STORE_SENT, &key, &value);

	if (status != STORE_OK)
		return status;
	memcpy(&then, value.bytes, sizeof(then));
	*when = (time_t)then;
	return STORE_OK;
}

static enum store_status put_pair(struct store *s, struct slice sender, struct slice domain, time_t now, uint32_t life)
{
	struct store_key key = key_of(s, "pair", sender, domain, SLICE_NULL);
	struct store_value value = { .length = 4, .expires = expiry(now, life) };
	uint32_t then = (uint32_t)now;
	time_t last;

	if (sent_wrote_to(s, sender, domain, &last) == STORE_OK && now - last < DAY)
		return STORE_OK;
	memcpy(value.bytes, &then, sizeof(then));
	return store_put(s, STORE_SENT, &key, &value);
}

static struct store_key day_key(const struct store *s, struct slice sender, uint32_t day)
{
	return key_of(s, "day", sender, slice_make((const char *)&day, sizeof(day)), SLICE_NULL);
}

enum store_status sent_on_day(struct store *s, struct slice sender, uint32_t day, struct sent_day *out)
{
	struct store_key key = day_key(s, sender, day);
	struct store_value value;
	enum store_status status = store_get(s, STORE_SENT, &key, &value);

	*out = (struct sent_day){ 0 };
	if (status != STORE_OK)
		return status;
	if (value.length != sizeof(*out))
		return STORE_NOT_FOUND;
	memcpy(out, value.bytes, sizeof(*out));
	return STORE_OK;
}

/* Workers that count at the same moment may lose one; the limits that this is for have room for it. Kept for as long as notices
 * are counted. */
static enum store_status add_to_day(struct store *s, struct slice sender, uint32_t messages, uint32_t recipients, time_t now,
	uint32_t life)
{
	uint32_t day = (uint32_t)(now / DAY);
	struct store_key key = day_key(s, sender, day);
	struct store_value value = { .length = sizeof(struct sent_day), .expires = expiry(now, 2 * life) };
	struct sent_day sums;

	if (sent_on_day(s, sender, day, &sums) == STORE_TROUBLE)
		return STORE_TROUBLE;
	sums.messages += messages;
	sums.recipients += recipients;
	memcpy(value.bytes, &sums, sizeof(sums));
	return store_put(s, STORE_SENT, &key, &value);
}

/* ---- tags of others ---- */

static struct store_key tag_key(const struct store *s, struct slice tag, struct slice sender)
{
	char folded[16];
	size_t n = tag.n < sizeof(folded) ? tag.n : sizeof(folded);

	for (size_t i = 0; i < n; i++)
		folded[i] = ascii_lower(tag.p[i]);
	return key_of(s, "tag", slice_make(folded, n), sender, SLICE_NULL);
}

enum store_status sent_tag_put(struct store *s, struct slice tag, struct slice sender, time_t now, uint32_t life)
{
	struct store_key key = tag_key(s, tag, sender);
	struct store_value value = { .length = 1, .expires = expiry(now, life) };

	return store_put(s, STORE_SENT, &key, &value);
}

enum store_status sent_tag_known(struct store *s, struct slice tag, struct slice sender)
{
	struct store_key key = tag_key(s, tag, sender);
	struct store_value value;

	return store_get(s, STORE_SENT, &key, &value);
}

/* ---- a transaction ---- */

enum store_status sent_put(struct store *s, struct slice message_id, struct slice sender, const struct slice *recipients,
	uint32_t count, time_t now, uint32_t life)
{
	uint32_t expires = expiry(now, life);
	enum store_status worst = STORE_OK, status;
	uint32_t before;
	struct sent_entry e;

	status = message_id.n ? sent_find(s, message_id, sender, &e) : STORE_NOT_FOUND;
	if (status == STORE_TROUBLE)
		return status;
	if (message_id.n == 0)
		e = (struct sent_entry){ .when = now };
	if (status == STORE_NOT_FOUND)
		e.when = now;
	before = e.recipients;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t hash = recipient_hash(s, recipients[i]);

		if (put_pair(s, sender, address_domain(recipients[i]), now, life) != STORE_OK)
			worst = STORE_TROUBLE;
		if (message_id.n == 0 || is_inside(&e, hash))
			continue;
		e.recipients++;
		if (e.inside < SENT_RECIPIENTS_INSIDE)
			e.hashes[e.inside++] = hash;
		else if (put_outside(s, message_id, sender, recipients[i], expires) != STORE_OK)
			worst = STORE_TROUBLE;
	}
	if (add_to_day(s, sender, status == STORE_NOT_FOUND, message_id.n ? e.recipients - before : count, now, life) != STORE_OK)
		worst = STORE_TROUBLE;
	return message_id.n == 0 || put_row(s, &e, expires) == STORE_OK ? worst : STORE_TROUBLE;
}

enum store_status sent_has_recipient(struct store *s, const struct sent_entry *e, struct slice message_id,
	struct slice sender, struct slice recipient)
{
	struct store_key key;
	struct store_value value;

	if (is_inside(e, recipient_hash(s, recipient)))
		return STORE_OK;
	if (e->recipients <= e->inside)
		return STORE_NOT_FOUND;
	key = key_of(s, "further", message_id, sender, recipient);
	return store_get(s, STORE_SENT, &key, &value);
}

/* ---- counts ---- */

enum store_status sent_count(struct store *s, struct slice what, bool foreign, bool add, time_t now, uint32_t life,
	struct sent_counts *out)
{
	struct store_key key = key_of(s, "count", what, SLICE_NULL, SLICE_NULL);
	struct store_value value;
	struct sent_counts counts = { 0 };
	enum store_status status = store_get(s, STORE_SENT, &key, &value);

	if (status == STORE_TROUBLE)
		return status;
	if (status == STORE_OK && value.length == sizeof(counts))
		memcpy(&counts, value.bytes, sizeof(counts));
	counts.all++;
	counts.foreign += foreign;
	*out = counts;
	if (!add)
		return STORE_OK;
	value = (struct store_value){ .length = sizeof(counts), .expires = expiry(now, life) };
	memcpy(value.bytes, &counts, sizeof(counts));
	return store_put(s, STORE_SENT, &key, &value);
}

/* ---- exits ---- */

struct exits_row {
	uint32_t since, last, elsewhere;
};

enum store_status sent_exits(struct store *s, struct slice domain, struct sent_exits *out)
{
	struct store_key key = key_of(s, "exits", domain, SLICE_NULL, SLICE_NULL);
	struct store_value value;
	struct exits_row row;
	enum store_status status = store_get(s, STORE_SENT, &key, &value);

	*out = (struct sent_exits){ .since = 0 };
	if (status != STORE_OK)
		return status;
	if (value.length != sizeof(row))
		return STORE_NOT_FOUND;
	memcpy(&row, value.bytes, sizeof(row));
	*out = (struct sent_exits){ .since = row.since, .last = row.last, .elsewhere = row.elsewhere };
	return STORE_OK;
}

static enum store_status put_exits(struct store *s, struct slice domain, const struct sent_exits *e, time_t now)
{
	struct store_key key = key_of(s, "exits", domain, SLICE_NULL, SLICE_NULL);
	struct exits_row row = { (uint32_t)e->since, (uint32_t)e->last, (uint32_t)e->elsewhere };
	struct store_value value = { .length = sizeof(row), .expires = expiry(now, EXIT_LIFE) };

	memcpy(value.bytes, &row, sizeof(row));
	return store_put(s, STORE_SENT, &key, &value);
}

enum store_status sent_exit_here(struct store *s, struct slice domain, time_t now)
{
	struct sent_exits e;
	enum store_status status = sent_exits(s, domain, &e);

	if (status == STORE_TROUBLE || (e.since && now - e.last < EXIT_STEP))
		return status;
	if (!e.since)
		e.since = now;
	e.last = now;
	return put_exits(s, domain, &e, now);
}

enum store_status sent_exit_elsewhere(struct store *s, struct slice domain, time_t now)
{
	struct sent_exits e;
	enum store_status status = sent_exits(s, domain, &e);

	if (status == STORE_TROUBLE)
		return status;
	e.elsewhere = now;
	return put_exits(s, domain, &e, now);
}

bool sent_exits_ready(const struct sent_exits *e, time_t now, uint32_t life)
{
	return e->since && now - e->since >= (time_t)life && (!e->elsewhere || now - e->elsewhere >= (time_t)life);
}
