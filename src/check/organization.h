/*
 * Organizational domains (RFC 7489 section 3.2): the name that its owner registered.
 */
#ifndef SPURN_CHECK_ORGANIZATION_H
#define SPURN_CHECK_ORGANIZATION_H

#include "base/str.h"

/* Reads the public suffix list now and not at the first question: it is a file. */
void organization_prepare(void);
/* By the public suffix list. domain: canonical (lower case, A-labels, no final dot); what is returned is its end. A public
 * suffix, and a name of one label, is its own organizational domain. */
struct slice organization_of(struct slice domain);
/* The same, but empty for a public suffix and for what is no name. */
struct slice organization_registered(struct slice domain);

#endif
