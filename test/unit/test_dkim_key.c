/* dkim_key: every tag of a record, what a key may be, and keys that are kept. */
#include "unit.h"

#include "../rfc8463.h"
#include "check/dkim_key.h"

#define P "p=" RFC8463_RSA_P

static void read_key(struct dkim_key *k, const char *record)
{
	dkim_key_parse(k, slice_of(record));
	assert_true((k->pkey != NULL) == (k->error == NULL));
}

static void test_good(void **state)
{
	static const char *const records[] = { P, "v=DKIM1; " P, RFC8463_RSA_KEY ";", "k=RSA; " P, "k=rsa ;s=* ; " P,
		"s=other:email; n=a note; x_y=z; " P, "v=DKIM1; s=email; h=sha256; t=y:s; " P };
	struct dkim_key k;

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		read_key(&k, records[i]);
		if (k.error)
			fail_msg("%s: %s", records[i], k.error);
		assert_int_equal(k.type, DKIM_KEY_RSA);
		assert_int_equal(k.bits, 1024);
		assert_non_null(k.rsa);
		assert_true(k.sha256);
		assert_int_equal(k.sha1, i != 6);
		assert_int_equal(k.testing, i == 6);
		assert_int_equal(k.strict, i == 6);
		dkim_key_drop(&k);
	}
	read_key(&k, RFC8463_ED25519_KEY);
	assert_int_equal(k.type, DKIM_KEY_ED25519);
	assert_int_equal(k.bits, 256);
	assert_null(k.rsa);
	dkim_key_drop(&k);
}

static void refused(const char *record, const char *error)
{
	struct dkim_key k;

	read_key(&k, record);
	if (!k.error)
		fail_msg("%s was taken", record);
	assert_string_equal(k.error, error);
}

static void test_bad(void **state)
{
	refused("", "the key record is not a list of tags");
	refused("v=spf1 -all", "the key record has another version than DKIM1");
	refused("some text", "the key record is not a list of tags");
	refused("v=DKIM1; " P "; " P, "the key record is not a list of tags");
	refused("v=DKIM2; " P, "the key record has another version than DKIM1");
	refused("v=dkim1; " P, "the key record has another version than DKIM1");
	refused("k=rsa; v=DKIM1; " P, "the key record has another version than DKIM1");
	refused("v=DKIM1; k=ed448; " P, "the key is of an unknown type");
	refused("v=DKIM1; s=tlsrpt; " P, "the key is not for mail");
	refused("v=DKIM1; s=; " P, "the key is not for mail");
	refused("v=DKIM1; k=rsa", "the key record has no p=");
	refused("v=DKIM1; p=", "the key has been revoked");
	refused("v=DKIM1; p= ;", "the key has been revoked");
	refused("v=DKIM1; p=!", "the key is not base64");
	refused("v=DKIM1; p=AAAA", "the key is not an RSA public key in DER");
	refused("v=DKIM1; k=ed25519; p=AAAA", "the Ed25519 key has not 32 octets");
	refused("v=DKIM1; k=ed25519; " P, "the Ed25519 key has not 32 octets");
	refused("v=DKIM1; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "the key is not an RSA public key in DER");
}

/* Numbers of a size that would cost us more than an answer is worth. */
static void test_sizes(void **state)
{
	struct arena a = ARENA_INIT;
	struct str der = STR_IN(&a), record = STR_IN(&a);
	struct dkim_key k;

	str_add(&der, SLICE("\x30\x82\x04\x88\x02\x82\x04\x81"));
	for (int i = 0; i < 1153; i++)
		str_addc(&der, 0x55);
	str_add(&der, SLICE("\x02\x01\x03"));
	der.p[2] = 0x04;
	der.p[3] = (char)0x88;
	str_puts(&record, "p=");
	str_base64(&record, str_slice(&der));
	refused(str_cstr(&record), "the RSA key is longer than 8192 bits");
	dkim_key_parse(&k, str_slice(&record));
	assert_int_equal(k.bits, 9223);
	der = record = STR_IN(&a);
	str_add(&der, SLICE("\x30\x0f\x02\x02\x55\x55\x02\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01"));
	str_puts(&record, "p=");
	str_base64(&record, str_slice(&der));
	refused(str_cstr(&record), "the exponent of the RSA key is longer than 64 bits");
	arena_drop(&a);
}

static void test_kept(void **state)
{
	struct dkim_keys *keys = dkim_keys_open(0);
	const struct dkim_key *first = dkim_keys_read(keys, SLICE(RFC8463_RSA_KEY));
	EVP_PKEY *pkey = first->pkey;
	char text[] = "v=DKIM1; n=0; p=";

	assert_null(first->error);
	assert_ptr_equal(dkim_keys_read(keys, SLICE(RFC8463_RSA_KEY))->pkey, pkey);
	assert_int_equal(dkim_keys_stats(keys).known, 1);
	assert_int_equal(dkim_keys_stats(keys).read, 1);
	/* Three others fit beside it, the fourth takes the place of the one used longest ago. */
	for (int i = 0; i < 3; i++) {
		text[11] = (char)('0' + i);
		assert_string_equal(dkim_keys_read(keys, slice_of(text))->error, "the key has been revoked");
	}
	assert_ptr_equal(dkim_keys_read(keys, SLICE(RFC8463_RSA_KEY))->pkey, pkey);
	dkim_keys_read(keys, SLICE("p=;"));
	assert_ptr_equal(dkim_keys_read(keys, SLICE(RFC8463_RSA_KEY))->pkey, pkey);
	assert_int_equal(dkim_keys_stats(keys).read, 5);
	text[11] = '0';
	dkim_keys_read(keys, slice_of(text));
	assert_int_equal(dkim_keys_stats(keys).read, 6);
	assert_string_equal(dkim_keys_read(keys, SLICE_NULL)->error, "the key record is not a list of tags");
	dkim_keys_close(keys);
	dkim_keys_close(NULL);
}

static void test_name(void **state)
{
	struct arena a = ARENA_INIT;
	char *label = arena_alloc(&a, 130);

	assert_slice(dkim_key_name(&a, SLICE("a.b"), SLICE("example.org")), "a.b._domainkey.example.org");
	memset(label, 'x', 130);
	assert_int_equal(dkim_key_name(&a, slice_make(label, 120), slice_make(label, 120)).n, 252);
	assert_int_equal(dkim_key_name(&a, slice_make(label, 120), slice_make(label, 122)).n, 0);
	arena_drop(&a);
}

UNIT_MAIN(T(test_good), T(test_bad), T(test_sizes), T(test_kept), T(test_name))
