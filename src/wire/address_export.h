/*
 * Exports of user lists: CSV as Microsoft 365 and Google Workspace write it (RFC 4180, with commas,
 * semicolons or tabs), or plain lists of addresses.
 *
 * Pure and push-free: the text is in memory, values come one after another.
 */
#ifndef SPURN_WIRE_ADDRESS_EXPORT_H
#define SPURN_WIRE_ADDRESS_EXPORT_H

#include "base/str.h"

#define EXPORT_COLUMNS 256	/* of a table; an export that has more is none */

struct address_export {
	struct slice rest;		/* what has not been read */
	struct slice cell;		/* what is left of the cell that values are taken from */
	char separator;			/* '\0': no table, one address or list of them a line */
	bool wanted[EXPORT_COLUMNS];
	int status;			/* column of "Status", -1: none */
	struct slice cells[EXPORT_COLUMNS];	/* of this row */
	size_t count, at;
};

/* Looks at the head of the text. column: the name of the one column to take; empty: those that usually hold addresses.
 * false: *why (a table without such a column, a column asked for in a list that has none). Cells live in `a`. */
bool address_export_open(struct address_export *e, struct arena *a, struct slice text, struct slice column,
	const char **why);
/* The next value that may be an address ("smtp:" before it and all). false: the end, or *why. Rows of suspended
 * accounts give none. */
bool address_export_next(struct address_export *e, struct arena *a, struct slice *value, const char **why);

#endif
