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
