/*
 * The pages made from the option table and from replies.def: every key has its help
 * and stands in the manual; so does every reply.
 */
#include "unit.h"

#include "policy/option.h"
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
		cmocka_unit_test(the_manual_has_every_option),
		cmocka_unit_test(the_manual_has_every_reply),
		cmocka_unit_test(no_text_is_a_macro),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
