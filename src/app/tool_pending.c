/*
 * Commands that are still to be written.
 */
#include "app/tool.h"

int tool_check(struct tool *t, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return tool_fail(EX_UNAVAILABLE, "%s: not written yet", t->command);
}
