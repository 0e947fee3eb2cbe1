/*
 * What every unit test begins with: cmocka wants four headers in this order. And slices as
 * cmocka's assertions would have them.
 */
#ifndef SPURN_TEST_UNIT_H
#define SPURN_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The statement ends the process with SIGABRT, as BUG_ON does. Runs in a child. */
#define assert_aborts(statement) \
	do { \
		int unit_status; \
		pid_t unit_child = fork(); \
		assert_true(unit_child >= 0); \
		if (unit_child == 0) { \
			dup2(open("/dev/null", O_WRONLY), 2); \
			signal(SIGABRT, SIG_DFL); \
			statement; \
			_exit(0); \
		} \
		assert_int_equal(waitpid(unit_child, &unit_status, 0), unit_child); \
		assert_true(WIFSIGNALED(unit_status) && WTERMSIG(unit_status) == SIGABRT); \
	} while (0)

/* The slice holds exactly the bytes of the C string, and the failure shows both. */
#define assert_slice(slice, text) unit_slice((slice), slice_of(text), __FILE__, __LINE__)
/* The same with a slice on both sides, for text with NUL in it. */
#define assert_slices(slice, expected) unit_slice((slice), (expected), __FILE__, __LINE__)

static inline void unit_slice(struct slice got, struct slice expected, const char *file, int line)
{
	struct arena a = ARENA_INIT;
	struct str shown = STR_IN(&a);

	if (!slice_eq(got, expected)) {
		str_puts(&shown, "got \"");
		str_escaped(&shown, got, 2000);
		str_puts(&shown, "\", expected \"");
		str_escaped(&shown, expected, 2000);
		str_puts(&shown, "\"");
		print_error("%s\n", str_cstr(&shown));
		arena_drop(&a);
		_fail(file, line);
	}
	arena_drop(&a);
}

/* main() of a test program with one group. */
#define UNIT_MAIN(...) \
	int main(void) \
	{ \
		const struct CMUnitTest tests[] = { __VA_ARGS__ }; \
		return cmocka_run_group_tests(tests, NULL, NULL); \
	}

#define T(function) cmocka_unit_test(function)

#endif
