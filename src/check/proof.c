/*
 * Making and checking of tags, traces and SRS hashes.
 *
 * A tag has 24 bits, as the draft gives it: good against whoever writes at random, not against a guesser, who has to be
 * counted by the caller. The field Spurn-Sent has 128 and is bound to Message-ID, sender and time; it does not name the
 * recipients, since each of them sees it.
 *
 * Identifiers of keys are single digits, and nearly every site begins with the same one. So the field names the fingerprint of its key,
 * too: the mark of another Spurn that handled the message on its way is not one of ours that fails. (A tag has no room for it.
 * One of another host of the same domain is known by the ledger: bounce.h.)
 *
 * The day of a tag is modulo 1000, so it comes round after less than three years: what lies more than one life ahead or behind is
 * old. A key that was renewed meanwhile fails it anyway.
 */
#include "check/proof.h"

#include "wire/taglist.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define DAY 86400
#define TAG_LENGTH 10u
#define SENDER_OCTETS 8u
#define TRACE_OCTETS 16u
#define CLOCKS_DIFFER (6 * 3600)	/* of the nodes of a site */

/* ---- tags ---- */

/* draft-levine-smtp-batv-01 section 4:
 *   SSSSSS = first three octets of the SHA-1 HMAC of "hash-source" under the key
 *   hash-source = K DDD orig-mailfrom
 * orig-mailfrom here is the canonical form, so that a host that changes case on the way changes nothing. */
static void tag_hash(const struct proof_key *key, struct slice head, struct slice canonical, char out[7])
{
	struct arena scratch = ARENA_INIT;
	struct str source = STR_IN(&scratch);
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	str_add(&source, head);
	str_add(&source, canonical);
	HMAC(EVP_sha1(), key->tag_secret, sizeof(key->tag_secret), (const uint8_t *)source.p, source.n, mac, &n);
	for (int i = 0; i < 3; i++) {
		out[2 * i] = "0123456789abcdef"[mac[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[mac[i] & 15];
	}
	out[6] = '\0';
	arena_drop(&scratch);
}

struct slice proof_tag_make(struct arena *a, const struct proof_keys *keys, const struct path *sender, struct slice canonical,
	uint32_t life, time_t now)
{
	const struct proof_key *key = proof_keys_signing(keys, now);
	struct address_form form;
	char head[5], hash[7];

	if (!key || path_is_null(sender) || sender->quoted || sender->utf8 || sender->literal ||
	    !address_form(a, sender, SLICE_NULL, &form) || form.tag != ADDRESS_TAG_NONE ||
	    sender->local.n + sizeof("prvs==") - 1 + TAG_LENGTH > PROOF_LOCAL_MAX ||
	    sender->text.n + sizeof("prvs==") - 1 + TAG_LENGTH > PROOF_PATH_MAX)
		return SLICE_NULL;
	head[0] = key->id;
	for (int i = 3, day = (int)((now / DAY + life) % 1000); i > 0; i--, day /= 10)
		head[i] = (char)('0' + day % 10);
	head[4] = '\0';
	tag_hash(key, slice_make(head, 4), canonical, hash);
	return slice_of(arena_printf(a, "prvs=%s%s=%.*s", head, hash, SLICE_ARG(sender->text)));
}

static bool hash_matches(struct slice hash, const char expected[7])
{
	char folded[6];

	for (int i = 0; i < 6; i++)
		folded[i] = ascii_lower(hash.p[i]);
	return CRYPTO_memcmp(folded, expected, 6) == 0;
}

enum proof_answer proof_tag_check(const struct proof_keys *keys, struct slice tag, struct slice canonical, uint32_t life,
	time_t now)
{
	const struct proof_key *key;
	uint64_t day;
	char expected[7];
	int left;

	if (tag.n != TAG_LENGTH || !slice_number(slice_head(tag, 4), 9999, &day))
		return PROOF_ABSENT;
	key = proof_keys_find(keys, tag.p[0]);
	if (!key)
		return PROOF_ABSENT;
	tag_hash(key, slice_head(tag, 4), canonical, expected);
	if (!hash_matches(slice_from(tag, 4), expected))
		return PROOF_FALSE;
	if (!proof_key_is_valid(key, now))
		return PROOF_RETIRED;
	left = (int)((day % 1000 + 1000 - (uint64_t)(now / DAY) % 1000) % 1000);
	/* One day more: the clocks of two nodes may differ at midnight. */
	if (left <= (int)life + 1)
		return PROOF_VALID;
	return left >= 1000 - (int)life ? PROOF_EXPIRED : PROOF_OLD;
}

uint32_t proof_tag_day(struct slice tag, uint32_t life, time_t now)
{
	uint64_t today = (uint64_t)(now / DAY), day;

	if (tag.n != TAG_LENGTH || !slice_number(slice_head(tag, 4), 9999, &day))
		return 0;
	/* The tag says until when it is good: at most life days and one, behind today. */
	day = today + (day % 1000 + 1000 - today % 1000) % 1000;
	return day > today + life + 1 ? 0 : (uint32_t)(day - life);
}

/* ---- traces ---- */

static void add_part(struct str *text, struct slice part)
{
	str_number(text, part.n);
	str_addc(text, ':');
	str_add(text, part);
}

/* HMAC-SHA-256 over the parts, each with its length, cut to n octets, as hexadecimal digits. */
static void trace_hash(const struct proof_key *key, const struct slice *parts, size_t count, size_t n, char *out)
{
	struct arena scratch = ARENA_INIT;
	struct str text = STR_IN(&scratch);
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned length = 0;

	for (size_t i = 0; i < count; i++)
		add_part(&text, parts[i]);
	HMAC(EVP_sha256(), key->trace_secret, sizeof(key->trace_secret), (const uint8_t *)text.p, text.n, mac, &length);
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = "0123456789abcdef"[mac[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[mac[i] & 15];
	}
	out[2 * n] = '\0';
	arena_drop(&scratch);
}

struct trace {
	struct slice key, time, sender, hash;
	struct slice fingerprint;	/* empty: not said */
};

static void hash_trace(const struct proof_key *key, const struct trace *t, struct slice message_id, char *out)
{
	const struct slice parts[] = { SLICE("sent"), t->key, t->time, t->sender, message_id };

	trace_hash(key, parts, sizeof(parts) / sizeof(parts[0]), TRACE_OCTETS, out);
}

static void hash_sender(const struct proof_key *key, struct slice canonical, char *out)
{
	const struct slice parts[] = { SLICE("sender"), canonical };

	trace_hash(key, parts, 2, SENDER_OCTETS, out);
}

struct slice proof_trace_make(struct arena *a, const struct proof_keys *keys, struct slice canonical, struct slice message_id,
	time_t now)
{
	const struct proof_key *key = proof_keys_signing(keys, now);
	char sender[2 * SENDER_OCTETS + 1], hash[2 * TRACE_OCTETS + 1];
	struct trace t;

	if (!key)
		return SLICE_NULL;
	hash_sender(key, canonical, sender);
	t = (struct trace){ .key = slice_make(&key->id, 1), .sender = slice_of(sender),
		.time = slice_of(arena_printf(a, "%lld", (long long)now)) };
	hash_trace(key, &t, message_id, hash);
	return slice_of(arena_printf(a, "v=1; k=%c; t=%lld; s=%s; h=%s; f=%s", key->id, (long long)now, sender, hash,
		key->fingerprint));
}

/* false: not a trace of this version. */
static bool trace_parse(struct trace *out, struct arena *a, struct slice value)
{
	struct taglist list;
	const char *why;

	if (value.n > 512 || !taglist_parse(&list, a, value, &why) ||
	    !slice_eq(taglist_value(&list, SLICE("v")), SLICE("1")))
		return false;
	out->key = taglist_value(&list, SLICE("k"));
	out->time = taglist_value(&list, SLICE("t"));
	out->sender = taglist_value(&list, SLICE("s"));
	out->hash = taglist_value(&list, SLICE("h"));
	out->fingerprint = taglist_value(&list, SLICE("f"));
	return out->key.n == 1;
}

static bool digits_match(struct arena *a, struct slice given, const char *expected)
{
	struct slice folded = slice_lower(a, given);

	return folded.n == strlen(expected) && CRYPTO_memcmp(folded.p, expected, folded.n) == 0;
}

static enum proof_answer age_of(time_t sent, uint32_t life, time_t now)
{
	time_t age = now - sent, limit = (time_t)life * DAY;

	if (age < -CLOCKS_DIFFER || age > 2 * limit)
		return PROOF_OLD;
	return age > limit ? PROOF_EXPIRED : PROOF_VALID;
}

static enum proof_answer judge_trace(struct arena *a, const struct proof_key *key, const struct trace *t,
	struct slice canonical, struct slice message_id, uint32_t life, time_t now, time_t *sent)
{
	char sender[2 * SENDER_OCTETS + 1], hash[2 * TRACE_OCTETS + 1];
	enum proof_answer age;
	uint64_t when;

	hash_trace(key, t, message_id, hash);
	if (!digits_match(a, t->hash, hash) || !slice_number(t->time, UINT64_C(1) << 40, &when))
		return PROOF_FALSE;
	*sent = (time_t)when;
	if (!proof_key_is_valid(key, now))
		return PROOF_RETIRED;
	age = age_of(*sent, life, now);
	if (age != PROOF_VALID)
		return age;
	hash_sender(key, canonical, sender);
	return digits_match(a, t->sender, sender) ? PROOF_VALID : PROOF_OTHER_SENDER;
}

enum proof_answer proof_trace_check(const struct proof_keys *keys, struct slice value, struct slice canonical,
	struct slice message_id, uint32_t life, time_t now, time_t *sent)
{
	struct arena scratch = ARENA_INIT;
	enum proof_answer answer = PROOF_ABSENT;
	const struct proof_key *key;
	struct trace t;

	if (trace_parse(&t, &scratch, value)) {
		key = proof_keys_find(keys, t.key.p[0]);
		if (key && (t.fingerprint.n == 0 || slice_eq_nocase(t.fingerprint, slice_of(key->fingerprint))))
			answer = judge_trace(&scratch, key, &t, canonical, message_id, life, now, sent);
	}
	arena_drop(&scratch);
	return answer;
}

/* ---- SRS ---- */

#define SRS_LIFE 21	/* days, as its implementations have it */
#define SRS_DAYS 1024	/* two digits of base 32 */

void srs_secrets_parse(struct srs_secrets *out, struct slice text)
{
	out->count = 0;
	while (text.n > 0 && out->count < sizeof(out->secrets) / sizeof(out->secrets[0])) {
		struct slice line = slice_trim(slice_split(&text, '\n'));

		if (line.n > 0)
			out->secrets[out->count++] = line;
	}
}

/* The first letters of the base64 of HMAC-SHA-1 over the parts in lower case, run together. Letters are compared
 * without regard to case, since hosts on the way change it. At least four are wanted. */
static bool srs_hash_matches(struct slice secret, struct slice hash, const struct slice *parts, size_t count)
{
	struct arena scratch = ARENA_INIT;
	struct str text = STR_IN(&scratch), digits = STR_IN(&scratch);
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned n = 0, differ = 0;

	for (size_t i = 0; i < count; i++)
		str_add(&text, slice_lower(&scratch, parts[i]));
	HMAC(EVP_sha1(), secret.p, (int)secret.n, (const uint8_t *)text.p, text.n, mac, &n);
	str_base64(&digits, slice_make((const char *)mac, n));
	if (hash.n < 4 || hash.n > digits.n)
		differ = 1;
	for (size_t i = 0; !differ && i < hash.n; i++)
		differ |= (unsigned)(ascii_lower(hash.p[i]) ^ ascii_lower(digits.p[i]));
	arena_drop(&scratch);
	return differ == 0;
}

static int srs_digit(char c)
{
	if (ascii_alpha(c))
		return ascii_lower(c) - 'a';
	return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* Days; -1: no stamp. */
static int srs_days_ago(struct slice stamp, time_t now)
{
	int high, low;

	if (stamp.n != 2 || (high = srs_digit(stamp.p[0])) < 0 || (low = srs_digit(stamp.p[1])) < 0)
		return -1;
	return ((int)(now / DAY % SRS_DAYS) - (high * 32 + low) + SRS_DAYS) % SRS_DAYS;
}

uint32_t srs_day(const struct address_form *form, time_t now)
{
	struct slice rest = form->tag_text;
	int age;

	slice_split(&rest, '=');
	age = form->tag == ADDRESS_TAG_SRS0 ? srs_days_ago(slice_split(&rest, '='), now) : -1;
	return age < 0 || age > SRS_LIFE ? 0 : (uint32_t)(now / DAY - age);
}

static enum proof_answer srs_age(struct slice stamp, time_t now)
{
	int age = srs_days_ago(stamp, now);

	if (age < 0)
		return PROOF_FALSE;
	if (age <= SRS_LIFE || age == SRS_DAYS - 1)
		return PROOF_VALID;
	return age <= 2 * SRS_LIFE ? PROOF_EXPIRED : PROOF_OLD;
}

static bool srs_hash_is_ours(const struct srs_secrets *s, struct slice hash, const struct slice *parts, size_t count)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (srs_hash_matches(s->secrets[i], hash, parts, count))
			return true;
	return false;
}

enum proof_answer srs_check(const struct srs_secrets *s, const struct address_form *form, time_t now)
{
	struct slice rest = form->tag_text, hash, parts[3];

	if (s->count == 0 || (form->tag != ADDRESS_TAG_SRS0 && form->tag != ADDRESS_TAG_SRS1))
		return PROOF_ABSENT;
	hash = slice_split(&rest, '=');
	if (form->tag == ADDRESS_TAG_SRS1) {
		/* SRS1=hash=first-forwarder=rest: over forwarder and rest; of what age it is, only the first one knows. */
		parts[0] = slice_split(&rest, '=');
		parts[1] = rest;
		return srs_hash_is_ours(s, hash, parts, 2) ? PROOF_VALID : PROOF_FALSE;
	}
	for (int i = 0; i < 2; i++)
		parts[i] = slice_split(&rest, '=');
	parts[2] = rest;
	if (!srs_hash_is_ours(s, hash, parts, 3))
		return PROOF_FALSE;
	return srs_age(parts[0], now);
}
