/*
 * Tag lists (RFC 6376 section 3.2): "tag=value; tag=value", the form of DKIM and ARC fields, of DKIM
 * keys and of DMARC records.
 */
#ifndef SPURN_WIRE_TAGLIST_H
#define SPURN_WIRE_TAGLIST_H

#include "base/str.h"

#define TAGLIST_MAX_TAGS 64u	/* the standards name fifteen at most; over it the list is an error */

struct tag {
	struct slice name;	/* as written: tag names are case-sensitive */
	struct slice value;	/* without white space around it, folds within as written; may be empty */
	struct slice raw;	/* all between "=" and ";" or the end, white space included */
};

struct taglist {
	struct tag *tags;	/* in the order written */
	uint32_t count;
};

/* Slices point into text, the array lives in `a`. false and *why (a static phrase): not a tag list, a tag given
 * twice, or more than TAGLIST_MAX_TAGS; *out is untouched then. An empty text is an error, too. */
bool taglist_parse(struct taglist *out, struct arena *a, struct slice text, const char **why);
/* NULL if the tag is not there. */
const struct tag *taglist_find(const struct taglist *list, struct slice name);
/* Its value, or SLICE_NULL; an empty value has a pointer. */
struct slice taglist_value(const struct taglist *list, struct slice name);

/* Next item of a value that is a list with colons ("h=", "s=", "t="), white space around it removed; moves *rest
 * behind it, to SLICE_NULL after the last. Begin with the value; stop when rest->p is NULL. */
struct slice taglist_item(struct slice *rest);
/* True if the value, a list with colons, has the item (ASCII case folded). */
bool taglist_has_item(struct slice value, struct slice item);
/* A base64 value with white space and folds anywhere in it, decoded into `a`. false: not base64, or empty. */
bool taglist_base64(struct arena *a, struct slice value, struct slice *out);

#endif
