/*
 * The store's front: table names, the site's secret, keys, and the way to the kind of store configured.
 *
 * A key is SipHash-2-4-128 under a secret of this site over the table and the
 * parts, each with its length. So what lies on the disk says nothing about
 * addresses to whoever has no secret, a peer cannot choose keys, and 16 bytes
 * are enough for any number of entries. Two parts never run into each other
 * ("ab","c" is not "a","bc").
 *
 * The secret is made once, under the lock of the directory, completely
 * written and synced before it gets its name; workers that start together
 * therefore read the same one. Losing it loses all tables, which makes no
 * wrong refusal; a damaged one is moved aside for that reason instead of
 * stopping the mail.
 *
 * Rejected: a secret in the configuration (one more to protect and to lose);
 * SHA-256 of the parts (guessable: whoever reads the disk tries addresses).
 */
#include "net/store.h"

#include "base/log.h"
#include "base/table.h"
#include "net/store_lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
	const char *name, *loss;
} tables[] = {
#define X(id, name, loss) { name, loss },
	STORE_TABLES(X)
#undef X
};

const char *store_table_name(enum store_table t)
{
	BUG_ON(t >= STORE_TABLE_COUNT);
	return tables[t].name;
}

const char *store_table_loss(enum store_table t)
{
	BUG_ON(t >= STORE_TABLE_COUNT);
	return tables[t].loss;
}

/* ---- keys ---- */

/* What is being hashed; when the next bytes do not fit, what there is becomes its own hash. */
struct key_text {
	uint8_t bytes[512];
	size_t n;
	const uint8_t *secret;
};

static void key_add(struct key_text *text, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n > 0) {
		size_t room = sizeof(text->bytes) - text->n, take = n < room ? n : room;
		memcpy(text->bytes + text->n, p, take);
		text->n += take;
		p += take;
		n -= take;
		if (text->n == sizeof(text->bytes)) {
			uint8_t digest[16];
			siphash128(digest, text->secret, text->bytes, text->n);
			memcpy(text->bytes, digest, sizeof(digest));
			text->n = sizeof(digest);
		}
	}
}

struct store_key store_key(const struct store *s, enum store_table t, const struct slice *parts, size_t count)
{
	struct key_text text = { .n = 0, .secret = s->secret };
	struct store_key key;
	uint8_t table = (uint8_t)t;

	BUG_ON(t >= STORE_TABLE_COUNT);
	key_add(&text, &table, 1);
	for (size_t i = 0; i < count; i++) {
		uint64_t length = parts[i].n;
		uint8_t prefix[8];
		for (int b = 0; b < 8; b++)
			prefix[b] = (uint8_t)(length >> (8 * b));
		key_add(&text, prefix, sizeof(prefix));
		key_add(&text, parts[i].p, parts[i].n);
	}
	siphash128(key.bytes, s->secret, text.bytes, text.n);
	return key;
}

/* ---- the secret ---- */

/* 1: read; 0: there is none; -1: damaged or unreadable (*why). */
static int secret_read(int directory, uint8_t out[16], const char **why)
{
	uint8_t bytes[17];
	int fd = openat(directory, "key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		*why = strerrordesc_np(errno);
		return -1;
	}
	ssize_t n = read(fd, bytes, sizeof(bytes));
	close(fd);
	if (n != 16) {
		*why = "store key is damaged";
		return -1;
	}
	memcpy(out, bytes, 16);
	return 1;
}

static bool secret_make(int directory, uint8_t out[16], const char **why)
{
	uint8_t bytes[16];
	int fd;

	random_bytes(bytes, sizeof(bytes));
	unlinkat(directory, "key.new", 0);
	fd = openat(directory, "key.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != sizeof(bytes) || fsync(fd) < 0 ||
	    renameat(directory, "key.new", directory, "key") < 0 || fsync(directory) < 0) {
		*why = strerrordesc_np(errno);
		if (fd >= 0)
			close(fd);
		return false;
	}
	close(fd);
	memcpy(out, bytes, sizeof(bytes));
	return true;
}

/* false: no secret, *why. true and *why: a damaged one was replaced. */
static bool secret_load(int directory, bool reader, uint8_t out[16], const char **why)
{
	struct stat st;
	int found = secret_read(directory, out, why);

	if (found == 1)
		return true;
	if (reader) {
		if (found == 0)
			*why = "no store here";
		return false;
	}
	/* Only a file that was read and is too short or too long is replaced. */
	if (found < 0 && (fstatat(directory, "key", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size == 16 ||
	    renameat(directory, "key", directory, "key.bad") < 0))
		return false;
	const char *trouble;
	if (secret_make(directory, out, &trouble))
		return true;
	*why = trouble;
	return false;
}

/* ---- opening ---- */

/* The open directory, locked against others that open; -1 and *why. */
static int directory_enter(const struct store_conf *conf, const char **why)
{
	bool reader = conf->slot == STORE_READ_ONLY;
	int fd;

	if (!reader && mkdir(conf->directory, 0700) < 0 && errno != EEXIST) {
		*why = strerrordesc_np(errno);
		return -1;
	}
	fd = open(conf->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (!reader && flock(fd, LOCK_EX) < 0)) {
		*why = strerrordesc_np(errno);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

struct store *store_open(struct arena *a, const struct store_conf *conf, const char **why)
{
	const char *secret_why = NULL, *trouble = NULL;
	uint8_t secret[16];
	struct store *s = NULL;
	int directory = directory_enter(conf, &trouble);

	if (directory >= 0 && secret_load(directory, conf->slot == STORE_READ_ONLY, secret, &secret_why)) {
		s = store_lmdb_open(a, conf, directory, &trouble);
		if (s)
			memcpy(s->secret, secret, sizeof(secret));
		if (secret_why && trouble)
			trouble = arena_printf(a, "%s; %s", secret_why, trouble);
	}
	if (directory >= 0) {
		flock(directory, LOCK_UN);
		if (!s)
			close(directory);
	}
	if (!trouble)
		trouble = secret_why;
	*why = trouble ? arena_printf(a, "%s: %s", conf->directory, trouble) : NULL;
	return s;
}

/* ---- the way to the kind of store ---- */

void store_close(struct store *s)
{
	if (s)
		s->methods->close(s);
}

bool store_flush(struct store *s)
{
	return s->methods->flush(s);
}

enum store_status store_put(struct store *s, enum store_table t, const struct store_key *key,
	const struct store_value *value)
{
	BUG_ON(t >= STORE_TABLE_COUNT || value->length > STORE_VALUE_MAX);
	return s->methods->put(s, t, key, value);
}

enum store_status store_delete(struct store *s, enum store_table t, const struct store_key *key)
{
	BUG_ON(t >= STORE_TABLE_COUNT);
	return s->methods->delete(s, t, key);
}

enum store_status store_get(struct store *s, enum store_table t, const struct store_key *key,
	struct store_value *out)
{
	BUG_ON(t >= STORE_TABLE_COUNT);
	return s->methods->get(s, t, key, out);
}

enum store_status store_claim(struct store *s, enum store_table t, const struct store_key *key,
	const struct store_value *value, bool *won, struct store_value *existing)
{
	BUG_ON(t >= STORE_TABLE_COUNT || value->length > STORE_VALUE_MAX);
	return s->methods->claim(s, t, key, value, won, existing);
}

void store_each(struct store *s, enum store_table t,
	bool (*fn)(void *arg, const struct store_key *key, const struct store_value *value), void *arg)
{
	BUG_ON(t >= STORE_TABLE_COUNT);
	s->methods->each(s, t, fn, arg);
}

void store_stats(struct store *s, struct store_stats *out)
{
	*out = (struct store_stats){ .slot = STORE_READ_ONLY };
	s->methods->stats(s, out);
}
