/* spamd's answer: a score is in bounds and its rules are printable, or nothing is believed. */
#include "net/spamd.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct spamd_answer answer = { .score = 7, .symbols = "" };
	struct arena a = ARENA_INIT;
	const char *why = NULL;

	if (n > SPAMD_ANSWER_MOST)
		return 0;
	if (spamd_answer_parse(&answer, slice_make((const char *)bytes, n), &a, &why)) {
		BUG_ON(answer.score > 1000000 || answer.score < -1000000 || answer.threshold > 1000000);
		for (const char *p = answer.symbols; *p; p++)
			BUG_ON(*p < ' ' || *p >= 127);
	} else {
		BUG_ON(!why || answer.score != 7);
	}
	arena_drop(&a);
	return 0;
}
