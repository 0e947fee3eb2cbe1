/*
 * Reading, checking and choosing of proof keys.
 *
 * A file is lines of a word and a value; an unknown word is a mistake, since it may be a misspelt `until`. Each
 * use of a secret has a key of its own, derived from it (HMAC-SHA-256 over the name of the use, as RFC 5869
 * section 2.3 expands): a tag has 24 bits and is guessed at in public.
 */
#include "check/proof_key.h"

#include "base/table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

/* ---- times ---- */

void proof_time_write(time_t t, char out[21])
{
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

bool proof_time_parse(struct slice text, time_t *out)
{
	char copy[21], again[21];
	struct tm tm = { 0 };
	const char *end;
	time_t t;

	if (text.n != 20)
		return false;
	memcpy(copy, text.p, 20);
	copy[20] = '\0';
	end = strptime(copy, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end || *end || tm.tm_year < 70 || tm.tm_year > 8000)
		return false;
	t = timegm(&tm);
	/* The 30th of February is not the second of March. */
	proof_time_write(t, again);
	if (t <= 0 || strcmp(copy, again) != 0)
		return false;
	*out = t;
	return true;
}

/* ---- one key ---- */

static void derive(uint8_t out[32], const uint8_t secret[PROOF_SECRET], const char *use)
{
	unsigned n = 32;

	HMAC(EVP_sha256(), secret, PROOF_SECRET, (const uint8_t *)use, strlen(use), out, &n);
}

static void finish_key(struct proof_key *key)
{
	uint8_t print[32];

	derive(key->tag_secret, key->secret, "spurn bounce tag\x01");
	derive(key->trace_secret, key->secret, "spurn bounce trace\x01");
	derive(print, key->secret, "spurn key fingerprint\x01");
	snprintf(key->fingerprint, sizeof(key->fingerprint), "%02x%02x%02x%02x", print[0], print[1], print[2],
		print[3]);
}

void proof_key_make(struct proof_key *out, char id, time_t created, time_t from)
{
	*out = (struct proof_key){ .id = id, .created = created, .from = from };
	random_bytes(out->secret, sizeof(out->secret));
	finish_key(out);
}

static void write_time(struct str *out, const char *name, time_t t)
{
	char text[21];

	if (t == 0)
		return;
	proof_time_write(t, text);
	str_printf(out, "%s %s\n", name, text);
}

void proof_key_write(struct str *out, const struct proof_key *key)
{
	str_puts(out, "# A key of bounce proofs (spurn keys). Keep it secret; the same file belongs on every node.\n");
	str_printf(out, "version 1\nid %c\n", key->id);
	write_time(out, "created", key->created);
	write_time(out, "from", key->from);
	write_time(out, "retired", key->retired);
	write_time(out, "until", key->until);
	str_puts(out, "secret ");
	str_base64(out, slice_make((const char *)key->secret, sizeof(key->secret)));
	str_addc(out, '\n');
}

/* ---- its file ---- */

enum key_word { WORD_VERSION = 1, WORD_ID = 2, WORD_CREATED = 4, WORD_FROM = 8, WORD_RETIRED = 16, WORD_UNTIL = 32,
	WORD_SECRET = 64 };

static const char *take_secret(struct proof_key *key, struct slice value)
{
	struct arena scratch = ARENA_INIT;
	struct str bytes = STR_IN(&scratch);
	bool good = value.n < 100 && str_base64_decode(&bytes, value) && bytes.n == PROOF_SECRET;

	if (good)
		memcpy(key->secret, bytes.p, PROOF_SECRET);
	if (bytes.p)
		OPENSSL_cleanse(bytes.p, bytes.n);
	arena_drop(&scratch);
	return good ? NULL : "a secret is 32 octets in base64";
}

/* NULL, or what is wrong with the value. */
static const char *take_value(struct proof_key *key, enum key_word word, struct slice value)
{
	time_t *const times[] = { &key->created, &key->from, &key->retired, &key->until };

	switch (word) {
	case WORD_VERSION:
		return slice_eq(value, SLICE("1")) ? NULL : "this version of Spurn reads key files of version 1";
	case WORD_ID:
		if (value.n != 1 || !ascii_digit(value.p[0]))
			return "an id is one digit";
		key->id = value.p[0];
		return NULL;
	case WORD_SECRET:
		return take_secret(key, value);
	default:
		return proof_time_parse(value, times[__builtin_ctz(word) - 2]) ? NULL :
			"a time is written 2026-11-23T07:47:10Z";
	}
}

static enum key_word word_of(struct slice name)
{
	static const char *const names[] = { "version", "id", "created", "from", "retired", "until", "secret" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_eq(name, slice_of(names[i])))
			return (enum key_word)(1 << i);
	return 0;
}

static bool is_wrong(struct proof_key_error *error, struct slice line, struct slice at, const char *why)
{
	error->column = (uint32_t)(at.p - line.p) + 1;
	error->length = (uint32_t)at.n;
	error->why = why;
	return false;
}

static bool take_line(struct proof_key *key, unsigned *seen, struct slice line, struct proof_key_error *error)
{
	struct slice rest = line, name = slice_word(&rest), value = slice_word(&rest);
	enum key_word word;
	const char *why;

	if (name.n == 0 || name.p[0] == '#')
		return true;
	word = word_of(name);
	if (!word)
		return is_wrong(error, line, name, "version, id, created, from, retired, until or secret is wanted");
	if (*seen & word)
		return is_wrong(error, line, name, "stands twice");
	*seen |= word;
	if (value.n == 0)
		return is_wrong(error, line, name, "has no value");
	rest = slice_trim(rest);
	if (rest.n > 0)
		return is_wrong(error, line, rest, "one value is wanted");
	why = take_value(key, word, value);
	return !why || is_wrong(error, line, value, why);
}

static const char *what_is_missing(const struct proof_key *key, unsigned seen)
{
	if (!(seen & WORD_VERSION))
		return "version is missing";
	if (!(seen & WORD_ID))
		return "id is missing";
	if (!(seen & WORD_SECRET))
		return "secret is missing";
	if (!(seen & WORD_FROM))
		return "from is missing";
	return key->retired && !key->until ? "until is missing: a retired key is believed for a while, not for ever" : NULL;
}

bool proof_key_parse(struct proof_key *out, struct slice text, struct proof_key_error *error)
{
	struct proof_key key = { .id = 0 };
	unsigned seen = 0;
	const char *why;

	*error = (struct proof_key_error){ .line = 0 };
	if (text.n > PROOF_KEY_FILE_MAX) {
		error->why = "too long for a key";
		return false;
	}
	while (text.n > 0) {
		struct slice line = slice_split(&text, '\n');

		error->line++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (!take_line(&key, &seen, line, error))
			return false;
	}
	why = what_is_missing(&key, seen);
	if (why) {
		*error = (struct proof_key_error){ .why = why };
		return false;
	}
	finish_key(&key);
	*out = key;
	return true;
}

/* ---- the directory ---- */

struct loading {
	struct proof_keys *keys;
	struct arena *a;
	void (*say)(void *arg, const char *path, struct slice text, const struct proof_key_error *error);
	void *arg;
	bool failed;
};

static void say(struct loading *l, const char *path, struct slice text, const struct proof_key_error *error)
{
	l->failed = true;
	l->say(l->arg, path, text, error);
}

static void say_whole(struct loading *l, const char *path, const char *why)
{
	struct proof_key_error error = { .why = why };

	say(l, path, SLICE_NULL, &error);
}

const char *secret_file_unsafe(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "not a plain file";
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return "others than its owner can write it: chmod go-w";
	if (st->st_mode & S_IROTH)
		return "everybody can read it: chmod o-rwx";
	return NULL;
}

static void add_key(struct loading *l, const char *path, struct slice text)
{
	struct proof_key_error error;
	struct proof_key key;
	uint32_t at = l->keys->count;

	if (!proof_key_parse(&key, text, &error)) {
		say(l, path, text, &error);
		return;
	}
	if (proof_keys_find(l->keys, key.id)) {
		say_whole(l, path, arena_printf(l->a, "id %c is that of %s, too", key.id,
			proof_keys_find(l->keys, key.id)->path));
		return;
	}
	key.path = path;
	for (; at > 0 && l->keys->keys[at - 1].id > key.id; at--)
		l->keys->keys[at] = l->keys->keys[at - 1];
	l->keys->keys[at] = key;
	l->keys->count++;
}

static void load_file(struct loading *l, int dir, const char *name, const char *path)
{
	char bytes[PROOF_KEY_FILE_MAX + 1];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	const char *why;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) != 0) {
		say_whole(l, path, strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
		return;
	}
	why = secret_file_unsafe(&st);
	n = why ? 0 : read(fd, bytes, sizeof(bytes));
	if (why || n < 0)
		say_whole(l, path, why ? why : strerrordesc_np(errno));
	else
		add_key(l, path, slice_make(arena_copy(l->a, bytes, (size_t)n), (size_t)n));
	OPENSSL_cleanse(bytes, sizeof(bytes));
	close(fd);
}

static int is_key_file(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 4 && e->d_name[0] != '.' && strcmp(e->d_name + n - 4, ".key") == 0;
}

bool proof_keys_load(struct proof_keys *out, struct arena *a, const char *dir,
	void (*say_to)(void *arg, const char *path, struct slice text, const struct proof_key_error *error), void *arg)
{
	struct loading l = { .keys = out, .a = a, .say = say_to, .arg = arg };
	struct dirent **names = NULL;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;

	out->count = 0;
	n = fd < 0 ? -1 : scandir(dir, &names, is_key_file, alphasort);
	if (n < 0)
		say_whole(&l, dir, strerrordesc_np(errno));
	for (int i = 0; i < n; i++) {
		load_file(&l, fd, names[i]->d_name, arena_printf(a, "%s/%s", dir, names[i]->d_name));
		free(names[i]);
	}
	free(names);
	if (fd >= 0)
		close(fd);
	return !l.failed;
}

/* ---- choosing ---- */

const struct proof_key *proof_keys_signing(const struct proof_keys *keys, time_t now)
{
	const struct proof_key *best = NULL;

	for (uint32_t i = 0; i < keys->count; i++) {
		const struct proof_key *k = &keys->keys[i];

		if (k->from > now || (k->retired && k->retired <= now) || !proof_key_is_valid(k, now))
			continue;
		if (!best || k->from > best->from || (k->from == best->from && k->created > best->created))
			best = k;
	}
	return best;
}

const struct proof_key *proof_keys_find(const struct proof_keys *keys, char id)
{
	for (uint32_t i = 0; i < keys->count; i++)
		if (keys->keys[i].id == id)
			return &keys->keys[i];
	return NULL;
}

bool proof_key_is_valid(const struct proof_key *key, time_t now)
{
	return key->until == 0 || now < key->until;
}
