/* rsa_key: both frames of a key, and every way to be none. */
#include "unit.h"

#include "wire/rsa_key.h"

#define OID "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define NUMBERS "\x30\x0b\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01"

static bool parse(struct rsa_key *k, struct slice der)
{
	const char *why = NULL;
	bool good = rsa_key_parse(k, der, &why);

	assert_true(good || why);
	return good;
}

static void test_frames(void **state)
{
	static const struct slice good[] = {
		SLICE("\x30\x0c\x02\x04\0\xc1\x02\x03\x02\x04\0\x01\0\x01"),
		SLICE(NUMBERS),
		SLICE("\x30\x1f\x30\x0d" OID "\x05\0\x03\x0e\0" NUMBERS),
		SLICE("\x30\x1d\x30\x0b" OID "\x03\x0e\0" NUMBERS),
	};
	struct rsa_key k;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!parse(&k, good[i]))
			fail_msg("%zu", i);
		assert_slices(k.modulus, SLICE("\xc1\x02\x03"));
		assert_slices(k.exponent, SLICE("\x01\0\x01"));
		assert_int_equal(k.bits, 24);
	}
}

/* The longer forms of lengths. */
static void test_lengths(void **state)
{
	struct rsa_key k;

	assert_true(parse(&k, SLICE("\x30\x81\x0c\x02\x81\x04\0\xc1\x02\x03\x02\x03\x01\0\x01")));
	assert_int_equal(k.bits, 24);
	assert_true(parse(&k, SLICE("\x30\x82\0\x0d\x02\x82\0\x04\0\x01\x02\x03\x02\x03\x01\0\x01")));
	assert_int_equal(k.bits, 17);
}

static void test_none(void **state)
{
	static const struct slice bad[] = {
		SLICE(""),
		SLICE("\x30"),
		SLICE("\x30\0"),
		SLICE("\x31\x0b\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01"),	/* another tag */
		SLICE("\x30\x0c\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01"),	/* longer than it is */
		SLICE("\x30\x0b\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01\0"),	/* something behind it */
		SLICE("\x30\x0a\x02\x03\xc1\x02\x03\x02\x03\x01\0\x01"),	/* a negative modulus */
		SLICE("\x30\x09\x02\x02\0\0\x02\x03\x01\0\x01"),		/* zero */
		SLICE("\x30\x06\x02\x04\0\xc1\x02\x03"),			/* no exponent */
		SLICE("\x30\x0e\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01\x02\x01\x01"), /* a third number */
		SLICE("\x30\x80\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01\0\0"),	/* indefinite length */
		SLICE("\x30\x83\0\0\x0b\x02\x04\0\xc1\x02\x03\x02\x03\x01\0\x01"),
		SLICE("\x30\x1f\x30\x0d" OID "\x05\0\x03\x0e\x01" NUMBERS),	/* bits left over */
		SLICE("\x30\x11\x30\x0d" OID "\x05\0\x03\0"),
		SLICE("\x30\x1f\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x05\0\x03\x0e\0" NUMBERS), /* RSASSA-PSS */
	};
	struct rsa_key k = { .bits = 77 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(&k, bad[i]))
			fail_msg("%zu was taken", i);
	assert_int_equal(k.bits, 77);
}

UNIT_MAIN(T(test_frames), T(test_lengths), T(test_none))
