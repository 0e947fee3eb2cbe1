/*
 * ARC sets of a header section: which fields belong together, whether the chain is well formed, and what its seals cover.
 */
#ifndef SPURN_CHECK_ARC_SET_H
#define SPURN_CHECK_ARC_SET_H

#include "check/dkim_signature.h"

struct arc_set {
	const struct field *results, *message_field, *seal_field;
	struct slice said;			/* of ARC-Authentication-Results, behind "i=N;" */
	struct dkim_signature message, seal;	/* read where arc_sets_read() got so far */
};

struct arc_sets {
	struct arc_set *set;	/* set[0] has instance 1 */
	uint32_t count;		/* the highest instance */
	bool failed_before;	/* the newest seal says so itself (cv=fail) */
};

/* i= of a field of a set. 0: it is none, or has no instance from 1 to ARC_MAX_INSTANCE. */
uint32_t arc_field_instance(struct arena *a, const struct field *f);
/* Collects them. false and *why (in `a`): it is no chain that could be valid. count is 0 if there are none. */
bool arc_sets_read(struct arc_sets *out, struct arena *a, const struct header *h, const char **why);
/* What the seal of instance n covers (section 5.1.1), added to *out; the seal's own field is `seal`, with b= emptied.
 * from: the first instance that is covered: 1, or n for a chain that failed. */
void arc_sealed_octets(struct str *out, const struct arc_sets *sets, uint32_t from, uint32_t n,
	const struct field *seal, struct slice emptied);

#endif
