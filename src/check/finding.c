/*
 * Findings are made in every check in the same way. They stand here and not in
 * wire/, since a cost needs a clock, and that floor has none.
 */
#include "check/finding.h"

struct finding *finding_timed(struct findings *findings, struct arena *a, enum check check, enum result result,
	nanoseconds began, const char *reason)
{
	struct finding *f = finding_add(findings, a, check, result, reason);

	f->cost_us = (uint32_t)((clock_precise() - began) / NS_PER_US);
	return f;
}

const char *finding_escaped(struct arena *a, struct slice text, size_t max)
{
	struct str out = STR_IN(a);

	str_escaped(&out, text, max);
	return str_cstr(&out);
}
