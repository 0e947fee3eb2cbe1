/*
 * Names in a ZIP archive (PKWARE APPNOTE.TXT sections 4.3.7 and 4.3.12), read as the octets go by.
 *
 * Nothing is unpacked and nothing is kept but the header at hand. Archives in mail are written as streams (sizes behind the
 * data), cut short, or made to be read in two ways; so it does not follow offsets, but looks for the signatures of local
 * and central headers wherever they stand. Each name is told as often as it stands there, mostly twice; a name that only one of
 * the two places has is told, too, whichever a program behind us will believe. Headers of an archive that is stored
 * within another without compression are found by the same token.
 */
#ifndef SPURN_WIRE_ZIP_H
#define SPURN_WIRE_ZIP_H

#include "base/str.h"

#define ZIP_NAME_MOST 512u	/* octets of a name; a longer one is told by its end */
#define ZIP_NAMES_MOST 4000u	/* of an archive, counted twice */

struct zip {
	/* A name, as it stands; locked: its data is encrypted. */
	void (*on_name)(void *arg, struct slice name, bool locked);
	void *arg;
	uint32_t names;
	uint8_t state, central;	/* private from here */
	uint32_t have, skip, left;
	uint8_t head[46];
	char name[ZIP_NAME_MOST];
};

void zip_begin(struct zip *z, void (*on_name)(void *, struct slice, bool), void *arg);
void zip_push(struct zip *z, struct slice piece);

#endif
