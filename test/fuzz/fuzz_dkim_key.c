/* Key records: an error or a key that can be used, and its bits are those that the numbers have. */
#include "check/dkim_key.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice record = slice_make((const char *)bytes, n);
	const uint8_t hash[32] = { 1 }, signature[256] = { 2 };
	struct dkim_key k;

	dkim_key_parse(&k, record);
	if (k.error) {
		BUG_ON(k.pkey || k.rsa);
		return 0;
	}
	BUG_ON(!k.pkey || k.bits == 0 || k.bits > DKIM_KEY_MAX_BITS);
	if (k.type == DKIM_KEY_RSA) {
		BUG_ON(EVP_PKEY_get_bits(k.pkey) != (int)k.bits);
		BUG_ON(EVP_PKEY_verify(k.rsa, signature, (k.bits + 7) / 8 % 257, hash, sizeof(hash)) == 1);
	}
	dkim_key_drop(&k);
	return 0;
}
