/* The table of options: it must agree with itself. */
#include "unit.h"

#include "policy/option.h"
#include "policy/value.h"

static bool block_is_known(const char *name)
{
	for (size_t i = 0; i < option_block_count; i++)
		if (strcmp(option_blocks[i].name, name) == 0)
			return true;
	return false;
}

static void each_option_is_named_once_in_a_known_block(void **state)
{
	for (size_t i = 0; i < option_count; i++) {
		assert_true(block_is_known(options[i].block));
		assert_true(options[i].help[0] != '\0');
		for (size_t k = 0; k < i; k++)
			if (strcmp(options[i].block, options[k].block) == 0)
				assert_string_not_equal(options[i].name, options[k].name);
	}
}

static bool number_of(const struct option *o, int64_t *out, const char **why)
{
	struct slice text = slice_of(o->fallback);

	switch (o->type) {
	case OPTION_COUNT_NUMBER: return value_count(text, out, why);
	case OPTION_SIZE: return value_size(text, out, why);
	case OPTION_DURATION: return value_duration(text, out, why);
	case OPTION_INTEGER: return value_integer(text, out, why);
	default: *out = o->least; return true;
	}
}

static void defaults_are_within_their_ranges(void **state)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &options[i];
		const char *why = NULL;
		int64_t value;

		if (!o->fallback)
			continue;
		if (!number_of(o, &value, &why))
			fail_msg("%s %s: %s", o->name, o->fallback, why);
		if ((o->least || o->most) && (value < o->least || value > o->most))
			fail_msg("%s: the default %s is out of range", o->name, o->fallback);
	}
}

static void a_near_name_is_meant(void **state)
{
	const char *near;

	assert_non_null(option_find("listener", "greet-wait", &near));
	assert_null(option_find("listener", "greet-wiat", &near));
	assert_string_equal(near, "greet-wait");
	assert_null(option_find("", "hostnam", &near));
	assert_string_equal(near, "hostname");
	/* At the top level a block may be meant. */
	assert_null(option_find("", "listner", &near));
	assert_string_equal(near, "listener");
	assert_null(option_find("listener", "completely-different", &near));
	assert_null(near);
	assert_null(option_find("", "a-name-that-is-far-too-long-for-any-option-of-ours", &near));
	assert_null(near);
}

UNIT_MAIN(T(each_option_is_named_once_in_a_known_block), T(defaults_are_within_their_ranges),
	T(a_near_name_is_meant))
