/*
 * The records of the recipient cache, as they stand in the store.
 *
 * A record carries its own checksum: what was not written whole was never there.
 */
#include "check/recipient_record.h"

#include "base/log.h"

/* magic, state, length of the reply, 0, first, last, turned, reply, checksum */
#define RECORD_MAGIC 0xA7
#define RECORD_HEAD 16
#define RECORD_SUM 4
#define RECORD_FUTURE 86400	/* a stamp further ahead is no stamp */

_Static_assert(RECORD_HEAD + sizeof(((struct recipient_record *)0)->reply) + RECORD_SUM <= STORE_VALUE_MAX,
	"a record fits a store value");

static void u32_put(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t u32_get(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Against torn writes, not against forgers: the key may be known. */
static uint32_t record_sum(const uint8_t *p, size_t n)
{
	static const uint8_t key[16] = "spurn recipient";

	return (uint32_t)siphash64(key, p, n);
}

static void record_pack(const struct recipient_record *r, uint32_t expires, struct store_value *v)
{
	size_t n = strnlen(r->reply, sizeof(r->reply) - 1);

	memset(v, 0, sizeof(*v));
	v->bytes[0] = RECORD_MAGIC;
	v->bytes[1] = (uint8_t)r->state;
	v->bytes[2] = (uint8_t)n;
	u32_put(v->bytes + 4, r->first);
	u32_put(v->bytes + 8, r->last);
	u32_put(v->bytes + 12, r->turned);
	memcpy(v->bytes + RECORD_HEAD, r->reply, n);
	u32_put(v->bytes + RECORD_HEAD + n, record_sum(v->bytes, RECORD_HEAD + n));
	v->length = (uint8_t)(RECORD_HEAD + n + RECORD_SUM);
	v->expires = expires;
}

/* false: not a record that we wrote whole. */
static bool record_unpack(const struct store_value *v, uint32_t now, struct recipient_record *r)
{
	size_t n = v->bytes[2];

	if (v->length < RECORD_HEAD + RECORD_SUM || v->bytes[0] != RECORD_MAGIC || n >= sizeof(r->reply) ||
		v->length != RECORD_HEAD + n + RECORD_SUM)
		return false;
	if (u32_get(v->bytes + RECORD_HEAD + n) != record_sum(v->bytes, RECORD_HEAD + n))
		return false;
	if (v->bytes[1] < STATE_KNOWN || v->bytes[1] > STATE_GONE)
		return false;
	*r = (struct recipient_record){ .state = v->bytes[1], .first = u32_get(v->bytes + 4),
		.last = u32_get(v->bytes + 8), .turned = u32_get(v->bytes + 12) };
	memcpy(r->reply, v->bytes + RECORD_HEAD, n);
	return r->last <= now + RECORD_FUTURE && r->first <= r->last;
}

struct store_key recipient_record_key(struct store *store, struct slice canonical)
{
	return store_key(store, STORE_RECIPIENT, &canonical, 1);
}

/* STORE_NOT_FOUND for garbage, too: it was never there. */
enum store_status recipient_record_get(struct store *store, struct slice canonical, struct recipient_record *r,
	uint32_t *expires)
{
	struct store_value value;

	if (!store)
		return STORE_TROUBLE;

	struct store_key key = recipient_record_key(store, canonical);
	enum store_status status = store_get(store, STORE_RECIPIENT, &key, &value);

	if (status != STORE_OK)
		return status;
	if (!record_unpack(&value, wall_now(), r))
		return STORE_NOT_FOUND;
	*expires = value.expires;
	return STORE_OK;
}

/* A cache: what cannot be written is not remembered, and nobody is told. */
void recipient_record_put(struct store *store, struct slice canonical, const struct recipient_record *r,
	uint32_t expires)
{
	struct store_value value;
	struct store_key key = recipient_record_key(store, canonical);

	record_pack(r, expires, &value);
	store_put(store, STORE_RECIPIENT, &key, &value);
}
