/*
 * Text in the character sets of the world beyond UTF-8 and Latin, in UTF-8: what mail servers and people of Japan, China,
 * Korea, Russia and central Europe write in.
 *
 * libc converts (iconv). It is asked for the sets of a list of ours only, since its rarer ones had holes, and a peer
 * names the set.
 */
#ifndef SPURN_WIRE_CHARSET_H
#define SPURN_WIRE_CHARSET_H

#include "base/str.h"

/* Whether a set is one of the list. Its text is converted as a whole: a character has several octets, or there is a shift state. */
bool charset_is_known(struct slice charset);
/* Octets that are no character of the set become "?". false: unknown set, or libc does not have it; *out is left. */
bool charset_convert(struct arena *a, struct slice charset, struct slice text, struct slice *out);
/* Opens all converters, which else are opened at their first use: before a process locks itself in, and where there is stack
 * to load modules of libc. */
void charset_load(void);

#endif
