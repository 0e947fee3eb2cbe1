/*
 * What DKIM-Signature and the fields of ARC have in common when they are written: a folded list of tags, the names of
 * the fields that are covered, and the signature itself. For check/dkim_sign.c and check/arc_seal.c.
 */
#ifndef SPURN_CHECK_SIGNATURE_WRITE_H
#define SPURN_CHECK_SIGNATURE_WRITE_H

#include "check/dkim_sign.h"

#define SIGNATURE_MAX (DKIM_KEY_MAX_BITS / 8)	/* octets */

/* A line that grows and is folded where it may be. */
struct folding {
	struct str *out;
	size_t line;		/* where it began */
};

/* A piece that is not torn apart; `space` before it unless it begins a line. */
void fold_add(struct folding *f, const char *space, struct slice piece);
/* Base64, which may be torn apart anywhere. */
void fold_base64(struct folding *f, struct slice octets, struct arena *a);
/* A value of h=. */
void fold_names(struct folding *f, struct slice names);

/* The value of h= for a header section; `also`: a name of which every field is covered, too, or NULL. */
struct slice signature_names(struct arena *a, const struct header *h, const char *also);
/* Signs; *n: the room, then the length (at most SIGNATURE_MAX). false: the library failed. Not for fibers (fiber_hoist). */
bool signature_make(const struct dkim_signer *s, struct slice octets, uint8_t *out, size_t *n);

#endif
