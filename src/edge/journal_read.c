/*
 * Reading the journal: by key through the indexes, or all of it.
 */
#include "edge/journal_file.h"

#include "base/table.h"

uint64_t journal_key_hash(struct slice key)
{
	static const uint8_t fixed[16] = "spurn journal 1";
	char folded[512];
	size_t n = key.n < sizeof(folded) ? key.n : sizeof(folded);
	uint64_t hash;

	for (size_t i = 0; i < n; i++)
		folded[i] = ascii_lower(key.p[i]);
	hash = siphash64(fixed, folded, n);
	return hash ? hash : 1;
}
