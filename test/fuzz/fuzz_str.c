/*
 * The encoders of the builder on any bytes, and the decoders on what claims to be encoded. Escapes
 * must be printable; jansson must read our JSON, and give back the bytes where they were
 * UTF-8; xtext and base64 must come back, and OpenSSL must decode as we do.
 */
#include "base/log.h"
#include "base/str.h"

#include <jansson.h>
#include <openssl/evp.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void escapes(struct arena *a, struct slice s)
{
	struct str b = STR_IN(a);

	str_escaped(&b, s, s.n / 2 + 1);
	for (size_t i = 0; i < b.n; i++)
		BUG_ON(b.p[i] < ' ' || b.p[i] > '~');
	BUG_ON(b.n > 4 * (s.n / 2 + 1) + 3);
}

static void json_is_read(struct arena *a, struct slice s)
{
	struct str b = STR_IN(a);
	json_t *value;

	str_json(&b, s);
	BUG_ON(!utf8_valid(str_slice(&b)));
	value = json_loadb(b.p, b.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	BUG_ON(!value);
	if (utf8_valid(s))
		BUG_ON(!slice_eq(s, slice_make(json_string_value(value), json_string_length(value))));
	json_decref(value);
}

static void xtext_returns(struct arena *a, struct slice s)
{
	struct str coded = STR_IN(a), back = STR_IN(a), decoded = STR_IN(a);

	str_xtext(&coded, s);
	BUG_ON(!str_xtext_decode(&back, str_slice(&coded)));
	BUG_ON(!slice_eq(s, str_slice(&back)));
	if (!str_xtext_decode(&decoded, s)) {
		BUG_ON(decoded.n);
		return;
	}
	coded.n = 0;
	str_xtext(&coded, str_slice(&decoded));
	/* The same text again, but for hexadecimal digits in lower case and needless escapes. */
	BUG_ON(coded.n > s.n);
}

static void base64_returns(struct arena *a, struct slice s)
{
	struct str coded = STR_IN(a), back = STR_IN(a), decoded = STR_IN(a), theirs = STR_IN(a);

	str_base64(&coded, s);
	BUG_ON(!str_base64_decode(&back, str_slice(&coded)));
	BUG_ON(!slice_eq(s, str_slice(&back)));
	if (!str_base64_decode(&decoded, s)) {
		BUG_ON(decoded.n);
		return;
	}
	if (s.n > 100000)
		return;
	str_room(&theirs, s.n + 1);
	/* OpenSSL counts the padding as zero bytes. */
	BUG_ON(EVP_DecodeBlock((unsigned char *)theirs.p, (const unsigned char *)s.p, (int)s.n) !=
		(int)(s.n / 4 * 3));
	BUG_ON(decoded.n && memcmp(theirs.p, decoded.p, decoded.n) != 0);
}

static void searches(struct arena *a, struct slice s)
{
	struct slice needle = slice_split(&s, '\n'), lower = slice_lower(a, s);
	struct slice low_needle = slice_lower(a, needle);

	BUG_ON(slice_search_nocase(s, needle) != slice_search(lower, low_needle));
	BUG_ON(slice_eq_nocase(s, needle) != slice_eq(lower, low_needle));
	while (s.n)
		slice_word(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice s = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;

	escapes(&a, s);
	json_is_read(&a, s);
	xtext_returns(&a, s);
	base64_returns(&a, s);
	searches(&a, s);
	arena_drop(&a);
	return 0;
}
