/*
 * Keys and entries of the received ledger.
 *
 * An address or a Message-ID never stands in it, only keyed hashes of them: whoever steals the store learns
 * nothing that he does not know already.
 */
#include "check/guard_ledger.h"

#include "base/clock.h"

struct store_key guard_key(const struct store *s, enum guard_entry kind, struct slice first, struct slice second)
{
	char letter = (char)kind;
	struct slice parts[] = { slice_make(&letter, 1), first, second };

	return store_key(s, STORE_RECEIVED, parts, sizeof(parts) / sizeof(parts[0]));
}

enum store_status guard_get(struct store *s, const struct store_key *key, struct guard_note *out)
{
	struct store_value value;
	enum store_status status = store_get(s, STORE_RECEIVED, key, &value);

	if (status != STORE_OK)
		return status;
	if (value.length != sizeof(*out))
		return STORE_NOT_FOUND;		/* of another version */
	memcpy(out, value.bytes, sizeof(*out));
	return STORE_OK;
}

enum store_status guard_put(struct store *s, const struct store_key *key, const struct guard_note *note,
	nanoseconds keep)
{
	struct store_value value = { .length = sizeof(*note),
		.expires = (uint32_t)(clock_wall_seconds() + (time_t)(keep / NS_PER_SECOND)) };

	_Static_assert(sizeof(*note) <= STORE_VALUE_MAX, "a note fits an entry");
	memcpy(value.bytes, note, sizeof(*note));
	return store_put(s, STORE_RECEIVED, key, &value);
}
