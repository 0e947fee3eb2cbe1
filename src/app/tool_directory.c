/*
 * What the tool does with directories: spurn recipient sync and import, and the
 * directories of spurn check --live.
 *
 * It asks them by itself, with the code of the directory process and the rights of the daemon's user: all
 * of it works without a running daemon, before the first start and on the day when nothing else does.
 */
#include "app/directory.h"
#include "app/tool_check.h"
#include "base/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define IMPORT_MAX (512u * 1024u * 1024u)
#define QUESTION (10 * NS_PER_SECOND)

/* ---- sync ---- */

static bool is_named(const struct config *c, const struct directory_conf *d, struct slice name)
{
	const struct domain_conf *domain = config_domain(c, name);

	if (slice_eq(slice_of(d->name), name))
		return true;
	for (size_t i = 0; domain && i < domain->recipients.source_count; i++)
		if (domain->recipients.sources[i].directory == &d->source)
			return true;
	return false;
}

static bool sync_one(struct tool *t, const struct directory_conf *d, bool force)
{
	struct directory_source *s = directory_source_new(&t->arena, d, NULL);
	struct directory_copy copy;
	struct directory_why why;

	if (!directory_copy_make(s, force ? 100 : d->shrink_guard, &copy, &why)) {
		tool_fail(1, "directory %s: %s", d->name, why.text);
		return false;
	}
	tool_print(t, "%s: %zu addresses, %zu before\n", d->copy, copy.has, copy.had);
	if (copy.passed_over > 0)
		tool_print(t, "%s: %zu values that are no mail addresses were passed over\n", d->copy, copy.passed_over);
	return true;
}

/* Why a directory that was named cannot be synced; NULL: it can. */
static const char *cannot_sync(const struct directory_conf *d)
{
	if (d->kind == DIRECTORY_SOCKETMAP)
		return "a socketmap answers about one address at a time and cannot be listed";
	return d->copy ? NULL : "it has no copy FILE";
}

static int sync_all(struct tool *t, struct config *c, const char *name, bool force)
{
	size_t done = 0, failed = 0;

	directory_libraries_init();
	for (size_t i = 0; i < c->directory_count; i++) {
		const struct directory_conf *d = &c->directories[i];
		const char *why = cannot_sync(d);

		if (name && !is_named(c, d, slice_lower(&t->arena, slice_of(name))) && !is_named(c, d, slice_of(name)))
			continue;
		if (why && !name)
			continue;
		if (why)
			tool_fail(1, "directory %s: %s", d->name, why);
		failed += why || !sync_one(t, d, force);
		done++;
	}
	if (done == 0)
		return tool_fail(EX_DATAERR, name ? "there is no directory of this name, and no domain that asks one: %s" :
			"no directory has a copy%s", name ? name : "");
	return failed ? 1 : 0;
}

int tool_recipient_sync(struct tool *t, const char *name, bool force)
{
	const char *why = NULL;
	struct config *c;

	if (!tool_become_user(t, &why))
		return tool_fail(EX_NOPERM, "%s", why);
	c = tool_config(t);
	return c ? sync_all(t, c, name, force) : EX_CONFIG;
}

/* ---- import ---- */

static bool read_input(struct tool *t, struct slice *text)
{
	struct str all = STR_IN(&t->arena);
	char piece[65536];
	size_t n;

	while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0 && all.n < IMPORT_MAX)
		str_add(&all, slice_make(piece, n));
	*text = str_slice(&all);
	return !ferror(stdin) && all.n < IMPORT_MAX;
}

int tool_recipient_import(struct tool *t, const char *path, const char *column, bool force)
{
	struct directory_copy copy;
	struct directory_why why;
	const char *reason = NULL;
	struct slice text;

	if (!tool_become_user(t, &reason))
		return tool_fail(EX_NOPERM, "%s", reason);
	if (!read_input(t, &text))
		return tool_fail(EX_NOINPUT, "standard input cannot be read, or has more than %u MiB", IMPORT_MAX >> 20);
	if (!directory_copy_import(path, text, column, force ? 100 : 20, &copy, &why))
		return tool_fail(1, "%s", why.text);
	tool_print(t, "%s: %zu addresses, %zu before\n", path, copy.has, copy.had);
	if (copy.passed_over > 0)
		tool_print(t, "%s: %zu values that are no mail addresses were passed over\n", path, copy.passed_over);
	return 0;
}

/* ---- check --live ---- */

/* Of a domain that asks this directory. */
static const char *unlikely_address(const struct examination *x, const struct directory_conf *d)
{
	const struct config *c = x->config;
	uint32_t number;

	random_bytes(&number, sizeof(number));
	for (size_t i = 0; i < c->domain_count; i++)
		for (size_t k = 0; k < c->domains[i].recipients.source_count; k++)
			if (c->domains[i].recipients.sources[k].directory == &d->source)
				return arena_printf(&x->t->arena, "spurn-check-%08x@%s", number,
					c->domains[i].name);
	return arena_printf(&x->t->arena, "spurn-check-%08x@example.org", number);
}

static void judge(struct examination *x, const struct directory_conf *d, enum directory_answer canary,
	enum directory_answer unlikely, const char *why)
{
	if (canary == DIRECTORY_ABSENT)
		exam_error(x, "directory %s: does not know its canary %s", d->name, d->canary);
	else if (canary != DIRECTORY_FOUND || (unlikely != DIRECTORY_FOUND && unlikely != DIRECTORY_ABSENT))
		exam_error(x, "directory %s: %s", d->name, why);
	else if (unlikely == DIRECTORY_FOUND)
		exam_warning(x, "directory %s: knows an address that nobody has: it says yes to everything", d->name);
	else
		exam_fine(x, "ok  directory %s (%s)%s", d->name, directory_kind_name(d->kind),
			d->canary ? "" : ", answers; without a canary nobody knows whether it sees its data");
}

static void examine_ours(struct examination *x, const struct directory_conf *d)
{
	struct directory_source *s = directory_source_new(&x->t->arena, d, NULL);
	struct directory_why why = { "" };
	enum directory_answer canary = DIRECTORY_FOUND, unlikely = DIRECTORY_TROUBLE;
	struct stat st;
	bool late;

	if (d->password_file && stat(d->password_file, &st) == 0 && (st.st_mode & 077))
		exam_warning(x, "%s: others than its owner may read the password", d->password_file);
	if (d->canary)
		canary = directory_source_ask(s, slice_of(d->canary), &late, &why);
	if (canary == DIRECTORY_FOUND)
		unlikely = directory_source_ask(s, slice_of(unlikely_address(x, d)), &late, &why);
	judge(x, d, canary, unlikely, why.text);
}

static ASYNC void examine_socketmap(struct examination *x, const struct directory_conf *d)
{
	const char *why = NULL;
	enum recipient_answer answer = recipient_ask_directory(&d->source, slice_of(unlikely_address(x, d)), &x->t->arena, &why,
		deadline_in(QUESTION));

	judge(x, d, DIRECTORY_FOUND, answer == RECIPIENT_EXISTS ? DIRECTORY_FOUND :
		answer == RECIPIENT_NO_SUCH_USER ? DIRECTORY_ABSENT : DIRECTORY_TROUBLE, why);
}

/* On the stack of the scheduler: the libraries' frames are large. */
static void examine_all_ours(void *arg)
{
	struct examination *x = arg;

	directory_libraries_init();
	for (size_t i = 0; i < x->config->directory_count; i++)
		if (directory_is_ours(&x->config->directories[i]))
			examine_ours(x, &x->config->directories[i]);
}

void examine_directories(struct examination *x)
{
	fiber_hoist(examine_all_ours, x);
	for (size_t i = 0; i < x->config->directory_count; i++)
		if (x->config->directories[i].kind == DIRECTORY_SOCKETMAP)
			examine_socketmap(x, &x->config->directories[i]);
}
