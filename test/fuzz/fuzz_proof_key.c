/*
 * Key files: what was read writes and reads back to itself; a mistake has its place inside the text.
 */
#include "check/proof_key.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct arena a = ARENA_INIT;
	struct str text = STR_IN(&a);
	struct proof_key_error error;
	struct proof_key key, again;

	if (proof_key_parse(&key, slice_make((const char *)bytes, n), &error)) {
		BUG_ON(!ascii_digit(key.id) || (key.retired && !key.until));
		proof_key_write(&text, &key);
		BUG_ON(!proof_key_parse(&again, str_slice(&text), &error));
		BUG_ON(memcmp(&key, &again, sizeof(key)) != 0);
	} else {
		BUG_ON(!error.why || error.line > n + 1 || error.column > n + 1 || error.length > n);
	}
	arena_drop(&a);
	return 0;
}
