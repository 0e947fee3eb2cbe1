/*
 * manual options|replies FILE.in: writes a manual page, the text of FILE.in with the line
 * "@TABLE@" replaced by what the table says: the options (policy/option.c) or the
 * replies (wire/replies.def). For the build only; so a key or a reply cannot be without its entry.
 *
 * Rejected: a script that reads the C source (it would parse C), and pages that are written by
 * hand (they lag behind).
 */
#include "policy/option.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void (*table_of(const char *name))(void)
{
	if (strcmp(name, "options") == 0)
		return option_write_manual;
	if (strcmp(name, "replies") == 0)
		return replies_write_manual;
	return NULL;
}

int main(int argc, char **argv)
{
	void (*write_table)(void) = argc == 3 ? table_of(argv[1]) : NULL;
	FILE *in = write_table ? fopen(argv[2], "re") : NULL;
	bool written = false;
	char line[4096];

	if (!in) {
		fprintf(stderr, "usage: manual options|replies FILE.in > PAGE\n");
		return 64;
	}
	while (fgets(line, sizeof(line), in)) {
		if (strcmp(line, "@TABLE@\n") != 0) {
			fputs(line, stdout);
			continue;
		}
		write_table();
		written = true;
	}
	if (ferror(in) || !written || fclose(in) != 0 || fflush(stdout) != 0) {
		fprintf(stderr, "manual: %s: %s\n", argv[2], written ? "cannot be read or written" : "no line @TABLE@");
		return 1;
	}
	return 0;
}
