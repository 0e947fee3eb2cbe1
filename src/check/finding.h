/*
 * What every check says: a finding with its cost, and a peer's text made harmless.
 */
#ifndef SPURN_CHECK_FINDING_H
#define SPURN_CHECK_FINDING_H

#include "wire/envelope.h"

/* finding_add(), with the time since `began` (clock_precise()) as its cost. */
struct finding *finding_timed(struct findings *findings, struct arena *a, enum check check, enum result result,
	nanoseconds began, const char *reason);
/* Printable ASCII, at most max octets of text (str_escaped()), as a string in `a`. */
const char *finding_escaped(struct arena *a, struct slice text, size_t max);

#endif
