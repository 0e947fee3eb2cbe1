/* clamd's answer: a virus has a printable name, all else is "nothing found" or trouble with a reason. */
#include "net/clamd.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct slice text = slice_make((const char *)bytes, n);
	struct arena a = ARENA_INIT;
	struct clamd_answer answer = { 0 };
	const char *why = NULL;

	if (n > CLAMD_ANSWER_MOST)
		return 0;
	if (clamd_answer_parse(&answer, text, &a, &why)) {
		BUG_ON(answer.infected != (answer.virus != NULL));
		BUG_ON(!answer.infected && !slice_eq(text, SLICE("stream: OK")));
		for (const char *p = answer.virus; p && *p; p++)
			BUG_ON(*p < ' ' || *p >= 127);
	} else {
		BUG_ON(!why || answer.infected || answer.virus);
	}
	arena_drop(&a);
	return 0;
}
