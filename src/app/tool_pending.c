/*
 * Commands that are still to be written.
 */
#include "app/tool.h"

static int pending(const char *name)
{
	return tool_fail(EX_UNAVAILABLE, "%s: not written yet", name);
}

int tool_check(int argc, char **argv) { (void)argc; (void)argv; return pending("check"); }
int tool_doctor(int argc, char **argv) { (void)argc; (void)argv; return pending("doctor"); }
int tool_try(int argc, char **argv) { (void)argc; (void)argv; return pending("try"); }
