/*
 * The option table and the pages made from it: every key has its help, its
 * default is a value that the parser takes, and it stands in the manual; so does
 * every reply.
 */
#include "unit.h"

#include "policy/config.h"
#include "policy/option.h"
#include "policy/value.h"
#include "wire/smtp_reply.h"

#include <stdio.h>

/* What a function prints. */
static const char *printed(struct arena *a, void (*print)(void))
{
	FILE *file = tmpfile();
	int keep = dup(STDOUT_FILENO);
	char *text;
	long size;

	assert_non_null(file);
	fflush(stdout);
	assert_true(dup2(fileno(file), STDOUT_FILENO) >= 0);
	print();
	fflush(stdout);
	dup2(keep, STDOUT_FILENO);
	close(keep);
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	assert_true(size > 0);
	rewind(file);
	text = arena_zero(a, (size_t)size + 1);
	assert_int_equal(fread(text, 1, (size_t)size, file), size);
	fclose(file);
	return text;
}

static void every_option_has_help(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &options[i];

		assert_non_null(o->help);
		if (strlen(o->help) < 5 || o->help[strlen(o->help) - 1] != '.')
			fail_msg("%s %s: the help is no sentence: %s", o->block, o->name, o->help);
		if (o->type != OPTION_FLAG && !o->argument)
			fail_msg("%s %s: no argument for the manual", o->block, o->name);
		if (o->type == OPTION_CHOICE && !o->choices)
			fail_msg("%s %s: a choice of nothing", o->block, o->name);
	}
}

static void every_option_has_a_block(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		bool found = false;

		for (size_t b = 0; b < option_block_count; b++)
			found = found || strcmp(option_blocks[b].name, options[i].block) == 0;
		if (!found)
			fail_msg("%s: no block %s", options[i].name, options[i].block);
	}
	for (size_t b = 0; b < option_block_count; b++)
		assert_true(option_blocks[b].help && option_blocks[b].help[0]);
}

static void no_option_stands_twice(void **state)
{
	const char *near;

	(void)state;
	for (size_t i = 0; i < option_count; i++)
		assert_ptr_equal(option_find(options[i].block, options[i].name, &near), &options[i]);
}

/* The default, read as the parser reads it, is inside the range. */
static void every_default_is_in_its_range(void **state)
{
	const char *why = NULL;
	int64_t value;

	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &options[i];
		struct slice text = slice_of(o->fallback);
		bool read = true;

		if (!o->fallback)
			continue;
		switch (o->type) {
		case OPTION_COUNT_NUMBER:
			read = value_count(text, &value, &why);
			break;
		case OPTION_SIZE:
			read = value_size(text, &value, &why);
			break;
		case OPTION_DURATION:
			read = value_duration(text, &value, &why);
			break;
		case OPTION_INTEGER:
			read = value_integer(text, &value, &why);
			break;
		default:
			continue;
		}
		if (!read)
			fail_msg("%s %s: default %s: %s", o->block, o->name, o->fallback, why);
		if ((o->least || o->most) && (value < o->least || value > o->most))
			fail_msg("%s %s: default %s is out of range", o->block, o->name, o->fallback);
	}
}

static void the_manual_has_every_option(void **state)
{
	struct arena a = ARENA_INIT;
	struct slice rest = slice_of(printed(&a, option_write_manual)), line;
	size_t at = 0;

	(void)state;
	/* Blocks in their order, in each the options in theirs. */
	for (size_t b = 0; b < option_block_count; b++)
		for (at = 0; at < option_count; at++) {
			struct slice item;

			if (strcmp(options[at].block, option_blocks[b].name) != 0)
				continue;
			item = slice_of(arena_printf(&a, ".It Ic %s", options[at].name));
			do {
				if (rest.n == 0)
					fail_msg("%s %s is not in the manual", options[at].block, options[at].name);
				line = slice_split(&rest, '\n');
			} while (!slice_starts(line, item));
		}
	arena_drop(&a);
}

static void the_manual_has_every_reply(void **state)
{
	struct arena a = ARENA_INIT;
	struct slice text = slice_of(printed(&a, replies_write_manual));

	(void)state;
	for (enum reply_name name = REPLY_NONE + 1; name < REPLY_COUNT; name++) {
		const struct reply_definition *d = reply_definition(name);

		assert_true(d->operator_text[0] != '\0');
		if (slice_search(text, slice_of(arena_printf(&a, ".It %u %s : %u", d->number, d->name, d->code))) < 0)
			fail_msg("reply %u is not in the manual", d->number);
	}
	arena_drop(&a);
}

/* A line that begins with a dot is a macro of ours; no text of the tables may look like one. */
static void no_text_is_a_macro(void **state)
{
	static const char *const macros[] = { ".Ss ", ".Bl ", ".El", ".It ", ".Ql ", ".Pp", NULL };
	void (*const tables[])(void) = { option_write_manual, replies_write_manual };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct arena a = ARENA_INIT;
		struct slice rest = slice_of(printed(&a, tables[i]));

		while (rest.n > 0) {
			struct slice line = slice_split(&rest, '\n');
			bool known = line.n == 0 || (line.p[0] != '.' && line.p[0] != '\'');

			for (size_t m = 0; macros[m]; m++)
				known = known || slice_starts(line, slice_of(macros[m]));
			if (!known)
				fail_msg("not one of our macros: %.*s", SLICE_ARG(line));
		}
		arena_drop(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_option_has_help),
		cmocka_unit_test(every_option_has_a_block),
		cmocka_unit_test(no_option_stands_twice),
		cmocka_unit_test(every_default_is_in_its_range),
		cmocka_unit_test(the_manual_has_every_option),
		cmocka_unit_test(the_manual_has_every_reply),
		cmocka_unit_test(no_text_is_a_macro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
