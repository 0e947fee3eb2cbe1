/*
 * Bounces in the configuration: the keys of the site, the secrets of its SRS, and what each domain does with what notices
 * prove.
 *
 * Key files are read with the configuration, so that a reload takes new ones and a mistake in one of them refuses the reload
 * like any other mistake. The line of a secret is never shown.
 */
#include "policy/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORD_SHOWN 20u	/* octets: a time is no longer, half a secret is */

/* ---- keys ---- */

struct key_report {
	struct loader *l;
	const struct word *dir;
};

/* The text of a key file without what may be its secret, also where the word before it is mistyped. */
static struct slice without_secret(struct arena *a, struct slice text)
{
	struct str out = STR_IN(a);

	while (text.n > 0) {
		struct slice rest = slice_split(&text, '\n'), word;

		while ((word = slice_word(&rest)).n > 0) {
			str_add(&out, word.n > WORD_SHOWN ? SLICE("...") : word);
			str_addc(&out, ' ');
		}
		str_addc(&out, '\n');
	}
	return out.n ? str_slice(&out) : SLICE_NULL;
}

static void report_key(void *arg, const char *path, struct slice text, const struct proof_key_error *error)
{
	struct key_report *r = arg;
	struct source *source;
	struct word at;

	if (error->line == 0) {
		report_error(&r->l->report, r->dir, "%s: %s", path, error->why);
		return;
	}
	source = arena_new(r->l->a, struct source);
	*source = (struct source){ .path = path, .text = without_secret(r->l->a, text) };
	at = (struct word){ .source = source, .line = error->line, .column = error->column, .length = error->length };
	report_error(&r->l->report, &at, "%s", error->why);
}

void loader_read_keys(struct loader *l, const struct statement *block)
{
	struct config *c = l->c;
	struct key_report r = { .l = l };

	if (block->count != 1 || !block->is_block) {
		report_error(&l->report, &block->words[0], "keys { dir DIRECTORY; }");
		return;
	}
	for (const struct statement *st = block->children; st; st = st->next) {
		loader_option(l, "keys", st, c);
		if (slice_eq(st->words[0].text, SLICE("dir")) && st->count == 2)
			r.dir = &st->words[1];
	}
	if (!c->keys_dir || !r.dir) {
		report_error(&l->report, &block->words[0], "keys without dir");
		return;
	}
	proof_keys_load(&c->bounces.keys, l->a, c->keys_dir, report_key, &r);
	if (c->bounces.keys.count == 0)
		report_warning(&l->report, r.dir, "no key in %s: nothing that leaves can be proved by tag or mark "
			"(spurn keys new)", c->keys_dir);
}

/* A file of secrets, one a line, as postsrsd has it. */
void loader_read_srs(struct loader *l, const struct statement *st)
{
	char bytes[SRS_FILE_MAX];
	const char *path, *why = NULL;
	struct stat about;
	ssize_t n = -1;
	int fd;

	if (!loader_option(l, "", st, l->c))
		return;
	if (st->count != 2) {
		report_error(&l->report, &st->words[0], "srs-secret FILE");
		return;
	}
	path = slice_cstr(l->a, st->words[1].text);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 && fstat(fd, &about) == 0) {
		why = secret_file_unsafe(&about);
		n = why ? -1 : read(fd, bytes, sizeof(bytes));
	}
	if (n < 0)
		report_error(&l->report, &st->words[1], "%s: %s", path, why ? why : strerrordesc_np(errno));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return;
	srs_secrets_parse(&l->c->bounces.srs, slice_make(arena_copy(l->a, bytes, (size_t)n), (size_t)n));
	if (l->c->bounces.srs.count == 0)
		report_error(&l->report, &st->words[1], "%s: no secret in it", path);
}

/* ---- a domain ---- */

void loader_read_bounces(struct loader *l, const struct statement *block, struct domain_conf *d)
{
	if (block->count != 1 || !block->is_block) {
		report_error(&l->report, &block->words[0], "bounces { ... }");
		return;
	}
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "bounces", st, &d->bounces);

		if (o)
			loader_addresses(l, st, &d->bounces.never_sends, d->separators);
	}
}
