/*
 * A message as scanners are sent it: piece by piece, read without waiting, from wherever it lies.
 */
#ifndef SPURN_NET_PIECES_H
#define SPURN_NET_PIECES_H

#include "base/str.h"

struct pieces {
	/* The next piece, valid until the next call; empty: the end. false: it cannot be read, which is our own trouble. */
	bool (*next)(struct pieces *p, struct slice *piece);
};

#endif
