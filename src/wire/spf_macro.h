/*
 * Macros of SPF: their syntax and their expansion. (RFC 7208 section 7, RFC 8616 section 4)
 *
 * Pure text. What a macro needs of DNS, the validated name of %{p}, is found out by the caller, who asks
 * first whether a text uses it.
 */
#ifndef SPURN_WIRE_SPF_MACRO_H
#define SPURN_WIRE_SPF_MACRO_H

#include "base/ip.h"

#include <time.h>

enum spf_macro_kind {
	SPF_MACRO_DOMAIN,	/* domain-spec: ends in a top label or a macro; no %{c} %{r} %{t}, no spaces */
	SPF_MACRO_STRING,	/* macro-string, as in a modifier that is not known */
	SPF_MACRO_EXPLANATION,	/* explain-string: spaces and all letters */
};

/* False and *why if the text does not follow the grammar. */
bool spf_macro_valid(struct slice text, enum spf_macro_kind kind, const char **why);
/* True if a valid text uses this letter (given in lower case). */
bool spf_macro_uses(struct slice text, char letter);

/* What letters stand for. Domains without final dot, as A-labels. */
struct spf_macro_values {
	struct slice local, sender_domain;	/* %{l}, %{o}; %{s} is both */
	struct slice domain;			/* %{d} */
	const struct ip *ip;			/* %{i}, %{c}, %{v} */
	struct slice validated;			/* %{p}; empty: "unknown" */
	struct slice helo;			/* %{h} */
	struct slice receiver;			/* %{r}; empty: "unknown" */
	time_t now;				/* %{t} */
};

#define SPF_EXPANSION_MAX 8192	/* octets of one expansion */

/* Expands a valid text. False if it would be longer than SPF_EXPANSION_MAX: out then holds its beginning. */
bool spf_macro_expand(struct str *out, struct slice text, const struct spf_macro_values *values);
/* Expands a valid domain-spec to the name to ask for: without final dot, cut from the left, label by label, to the 253
 * characters of section 7.3. SLICE_NULL if what comes out cannot be asked for: an empty or overlong label, nothing at
 * all. Lives in `a`, or where the text does if it has no macro. */
struct slice spf_macro_domain(struct arena *a, struct slice text, const struct spf_macro_values *values);

#endif
