/*
 * spurn keys: the keys of bounce proofs, made, listed and retired.
 *
 * A key is made with its file complete before it gets its name, and never written over. A retired one keeps its
 * file, since what it made has to be believed while bounces of it may come; when that time is over, its digit may be used again.
 * The daemon takes changes at its next reload; a fleet copies the file first, which --after gives time for.
 */
#include "app/tool.h"

#include "check/proof_key.h"
#include "policy/value.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

struct key_room {
	struct tool *t;
	const char *dir;
	struct proof_keys keys;
	time_t now;
	nanoseconds lifetime;	/* of what they make */
};

static void say_mistake(void *arg, const char *path, struct slice text, const struct proof_key_error *error)
{
	(void)arg;
	(void)text;
	if (error->line)
		tool_fail(0, "%s:%u:%u: %s", path, error->line, error->column, error->why);
	else
		tool_fail(0, "%s: %s", path, error->why);
}

/* false: said so. */
static bool enter(struct key_room *k, const char *dir)
{
	struct config *c;

	k->now = time(NULL);
	k->dir = dir;
	k->lifetime = 14 * 86400 * NS_PER_SECOND;
	if (!dir) {
		c = tool_config(k->t);
		if (!c)
			return false;
		k->dir = c->keys_dir;
		k->lifetime = c->proof_life;
	}
	if (!k->dir) {
		tool_fail(0, "no keys in %s: keys { dir DIRECTORY; }, or --dir DIRECTORY", k->t->config);
		return false;
	}
	return proof_keys_load(&k->keys, &k->t->arena, k->dir, say_mistake, NULL);
}

/* ---- list ---- */

static const char *state_of(const struct key_room *k, const struct proof_key *key)
{
	if (!proof_key_is_valid(key, k->now))
		return "over";
	if (proof_keys_signing(&k->keys, k->now) == key)
		return "in use";
	if (key->retired && key->retired <= k->now)
		return "retired";
	return key->from > k->now ? "to come" : "proves";
}

static const char *time_of(struct tool *t, time_t when, const char *none)
{
	char text[21];

	if (when == 0)
		return none;
	proof_time_write(when, text);
	return arena_copy(&t->arena, text, 20);
}

static void list_json(struct key_room *k)
{
	for (uint32_t i = 0; i < k->keys.count; i++) {
		const struct proof_key *key = &k->keys.keys[i];
		char id[2] = { key->id, '\0' };
		json_t *out = json_pack("{s:s, s:s, s:s, s:s?, s:s, s:s?, s:s?, s:s}", "id", id, "fingerprint",
			key->fingerprint, "state", state_of(k, key), "created", time_of(k->t, key->created, NULL),
			"from", time_of(k->t, key->from, ""), "retired", time_of(k->t, key->retired, NULL), "until",
			time_of(k->t, key->until, NULL), "file", key->path);
		char *text = json_dumps(out, JSON_COMPACT);

		tool_print(k->t, "%s\n", text);
		free(text);
		json_decref(out);
	}
}

static int list(struct key_room *k, bool json)
{
	struct tool_table table = { 0 };

	if (json) {
		list_json(k);
		return 0;
	}
	if (k->keys.count == 0)
		tool_print(k->t, "no key in %s (spurn keys new)\n", k->dir);
	else
		tool_row(k->t, &table, "id", "fingerprint", "state", "makes proofs from", "until", "believed until", NULL);
	for (uint32_t i = 0; i < k->keys.count; i++) {
		const struct proof_key *key = &k->keys.keys[i];

		tool_row(k->t, &table, arena_printf(&k->t->arena, "%c", key->id), key->fingerprint, state_of(k, key),
			time_of(k->t, key->from, ""), time_of(k->t, key->retired, "-"), time_of(k->t, key->until, "-"), NULL);
	}
	tool_rows(k->t, &table);
	return 0;
}

/* ---- writing ---- */

/* The rights of a key: its owner's, and its group's to read where the directory is the group's to read (root:spurn 0750). */
static bool give_rights(int fd, const struct stat *dir)
{
	mode_t mode = 0600 | (dir->st_mode & S_IRGRP);

	return (geteuid() != 0 || fchown(fd, dir->st_uid, dir->st_gid) == 0) && fchmod(fd, mode) == 0;
}

/* Writes the file of a key; replace: of one that is there. false: errno. */
static bool write_key(const struct key_room *k, const char *name, const struct proof_key *key, bool replace)
{
	struct str text = STR_IN(&k->t->arena);
	int dir = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat st;
	bool done = false;

	proof_key_write(&text, key);
	if (dir >= 0 && fstat(dir, &st) == 0) {
		unlinkat(dir, ".new", 0);
		fd = openat(dir, ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (fd >= 0 && give_rights(fd, &st) && write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0)
		done = replace ? renameat(dir, ".new", dir, name) == 0 :
			linkat(dir, ".new", dir, name, 0) == 0 && unlinkat(dir, ".new", 0) == 0;
	done = done && fsync(dir) == 0;
	OPENSSL_cleanse(text.p, text.n);
	int trouble = errno;
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	errno = trouble;
	return done;
}

/* The digit after the newest key's that no key has. A key that is over gives its digit back. '\0': none. */
static char free_digit(struct key_room *k, const char **over)
{
	const struct proof_key *newest = NULL;
	char start = '0';

	for (uint32_t i = 0; i < k->keys.count; i++)
		if (!newest || k->keys.keys[i].from >= newest->from)
			newest = &k->keys.keys[i];
	if (newest)
		start = newest->id;
	for (int i = 1; i <= 10; i++) {
		char digit = (char)('0' + (start - '0' + i) % 10);
		const struct proof_key *taken = proof_keys_find(&k->keys, digit);

		*over = taken ? taken->path : NULL;
		if (!taken || !proof_key_is_valid(taken, k->now))
			return digit;
	}
	return '\0';
}

static int make(struct key_room *k, const char *after)
{
	const char *over, *why, *name;
	struct proof_key key;
	int64_t wait = 0;
	char digit;

	if (after && !value_duration(slice_of(after), &wait, &why))
		return tool_misused(k->t, "--after %s: %s", tool_safe(k->t, slice_of(after)), why);
	digit = free_digit(k, &over);
	if (!digit)
		return tool_fail(EX_UNAVAILABLE, "all ten digits are in use: retire a key, and wait until it is over");
	proof_key_make(&key, digit, k->now, k->now + (time_t)(wait / NS_PER_SECOND));
	name = arena_printf(&k->t->arena, "%c.key", digit);
	if (over && unlink(over) != 0)
		return tool_fail(EX_CANTCREAT, "%s: %s", over, strerror(errno));
	if (!write_key(k, name, &key, false))
		return tool_fail(EX_CANTCREAT, "%s/%s: %s", k->dir, name, strerror(errno));
	tool_print(k->t, "%s/%s: key %c, fingerprint %s, makes proofs from %s\n"
		"Copy the file to every node, then reload each (SIGHUP).\n", k->dir, name, digit, key.fingerprint,
		time_of(k->t, key.from, ""));
	OPENSSL_cleanse(&key, sizeof(key));
	return 0;
}

static int retire(struct key_room *k, const char *id, const char *overlap)
{
	const struct proof_key *found = id[0] && !id[1] ? proof_keys_find(&k->keys, id[0]) : NULL;
	struct proof_key key;
	int64_t believed = k->lifetime + 86400 * NS_PER_SECOND;
	const char *why;

	if (!found)
		return tool_fail(EX_NOINPUT, "no key %s in %s", tool_safe(k->t, slice_of(id)), k->dir);
	if (overlap && !value_duration(slice_of(overlap), &believed, &why))
		return tool_misused(k->t, "--overlap %s: %s", tool_safe(k->t, slice_of(overlap)), why);
	key = *found;
	if (!key.retired || key.retired > k->now)
		key.retired = k->now;
	key.until = k->now + (time_t)(believed / NS_PER_SECOND);
	if (!write_key(k, strrchr(found->path, '/') + 1, &key, true))
		return tool_fail(EX_CANTCREAT, "%s: %s", found->path, strerror(errno));
	tool_print(k->t, "%s: key %c makes no proofs any more, and is believed until %s\n"
		"Copy the file to every node, then reload each (SIGHUP).\n", found->path, key.id, time_of(k->t, key.until, ""));
	k->keys.keys[found - k->keys.keys] = key;
	if (!proof_keys_signing(&k->keys, k->now))
		tool_print(k->t, "No key is in use now: what leaves is not marked (spurn keys new).\n");
	return 0;
}

int tool_keys(struct tool *t, int argc, char **argv)
{
	const char *dir = NULL, *after = NULL, *overlap = NULL;
	bool json = false;
	const struct tool_option options[] = { { "dir", &dir, NULL, NULL }, { "after", &after, NULL, NULL },
		{ "overlap", &overlap, NULL, NULL }, { "json", NULL, &json, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, options);
	struct key_room k = { .t = t };

	if (words < 0)
		return EX_USAGE;
	if (words == 0 || (strcmp(argv[0], "new") != 0 && strcmp(argv[0], "list") != 0 && strcmp(argv[0], "retire") != 0))
		return tool_misused(t, "new, list or retire is wanted");
	if (words != (argv[0][0] == 'r' ? 2 : 1))
		return tool_misused(t, argv[0][0] == 'r' ? "retire takes the id of a key" : "%s takes no word", argv[0]);
	if (!enter(&k, dir))
		return EX_CONFIG;
	if (argv[0][0] == 'l')
		return list(&k, json);
	return argv[0][0] == 'n' ? make(&k, after) : retire(&k, argv[1], overlap);
}
