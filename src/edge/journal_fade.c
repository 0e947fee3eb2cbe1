/*
 * Fading: what a record loses when it is older than the horizon of detail.
 *
 * Addresses and Message-IDs become keyed hashes, so that two can still be told
 * apart and a known one found again; IP addresses become their /24 or /48; host
 * names that speak of one client lose their left part. Not only the fields
 * that are made for addresses hold them: backends quote them in replies, and so do findings. So
 * every string is gone through, and whatever looks like an address is taken for
 * one. What is kept (references, times, codes, what was decided) tells no person.
 *
 * The key lies beside the journal, readable for nobody else: without it the hashes of
 * all addresses of a directory could be computed by anybody. Rejected: dropping the fields (who was
 * refused most last month?), and a new key for each segment (the same address would be another every day).
 */
#include "edge/journal_file.h"

#include "base/ip.h"
#include "base/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SALT_FILE "fade.key"
#define HASH_DIGITS 20

/* ---- the key ---- */

static bool salt_load(const char *path, struct journal_salt *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = read(fd, out->bytes, sizeof(out->bytes)) == (ssize_t)sizeof(out->bytes);
	close(fd);
	return ok;
}

static bool salt_make(const char *path, struct journal_salt *out)
{
	char fresh[JOURNAL_PATH + 8];
	int fd;
	bool ok;

	snprintf(fresh, sizeof(fresh), "%s.tmp", path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	random_bytes(out->bytes, sizeof(out->bytes));
	ok = write(fd, out->bytes, sizeof(out->bytes)) == (ssize_t)sizeof(out->bytes) && fsync(fd) == 0;
	close(fd);
	return ok && rename(fresh, path) == 0;
}

bool journal_salt_read(const char *directory, bool make, struct journal_salt *out)
{
	char path[JOURNAL_PATH];

	snprintf(path, sizeof(path), "%s/" SALT_FILE, directory);
	if (salt_load(path, out))
		return true;
	/* One that is there and cannot be read is not replaced: what was hashed with it would be lost. */
	return make && (errno == ENOENT || access(path, R_OK) == 0) && salt_make(path, out);
}

/* ---- single things ---- */

void journal_fade_address(struct str *out, const struct journal_salt *salt, struct slice address)
{
	struct arena scratch = ARENA_INIT;
	struct slice folded = slice_lower(&scratch, journal_key_bare(address));
	uint8_t hash[16];

	siphash128(hash, salt->bytes, folded.p, folded.n);
	str_puts(out, "hash:");
	str_hex(out, slice_make((const char *)hash, HASH_DIGITS / 2));
	arena_drop(&scratch);
}

bool journal_fade_ip(struct str *out, struct slice text)
{
	struct ip ip;
	char shown[IP_TEXT];
	bool v4;

	if (!ip_parse(&ip, text))
		return false;
	v4 = ip_is_v4(&ip);
	memset(ip.bytes + (v4 ? 15 : 6), 0, v4 ? 1 : 10);
	str_printf(out, "%s/%d", ip_text(&ip, shown), v4 ? 24 : 48);
	return true;
}

/* "mail.a.example.net" is "*.example.net" from now on; a literal loses its host bits. */
static void fade_name(struct str *out, struct slice name)
{
	size_t dots = 0;

	if (name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']') {
		struct slice inner = slice_make(name.p + 1, name.n - 2);

		if (slice_starts_nocase(inner, SLICE("IPv6:")))
			inner = slice_from(inner, 5);
		if (!journal_fade_ip(out, inner))
			str_addc(out, '*');
		return;
	}
	if (name.n == 0 || journal_fade_ip(out, name))
		return;
	for (size_t i = name.n; i > 0; i--) {
		dots += name.p[i - 1] == '.' && i < name.n;
		if (dots == 2) {
			str_addc(out, '*');
			str_add(out, slice_from(name, i - 1));
			return;
		}
	}
	if (dots == 0)
		str_addc(out, '*');
	else
		str_add(out, name);
}

/* ---- running text ---- */

struct fade {
	struct str *out;
	const struct journal_salt *salt;
	struct arena *arena;
	const char *copied;		/* so far of the record */
	struct slice name, helo;	/* of the client: no finding may keep them */
};

static bool is_separator(char c)
{
	return (unsigned char)c <= ' ' || c == 0x7f || strchr("<>()[]{},;\"'`|\\", c) != NULL;
}

static bool is_name_char(char c)
{
	return ascii_digit(c) || ascii_alpha(c) || c == '.' || c == '-' || c == ':' || c == '_' || (c & 0x80);
}

/* How many labels at the start are single hexadecimal digits: a reversed IPv6 address has 32. */
static size_t nibble_labels(struct slice s)
{
	size_t n = 0;

	while (2 * n + 1 < s.n && ascii_hex(s.p[2 * n]) >= 0 && s.p[2 * n + 1] == '.')
		n++;
	return n;
}

/* The length of "d.d.d.d" at the start; 0: it does not stand there. */
static size_t quad_length(struct slice s)
{
	size_t i = 0;

	for (int part = 0; part < 4; part++) {
		size_t begin = i;

		while (i < s.n && ascii_digit(s.p[i]) && i - begin < 3)
			i++;
		if (i == begin || (i < s.n && ascii_digit(s.p[i])))
			return 0;
		if (part < 3 && (i == s.n || s.p[i++] != '.'))
			return 0;
	}
	return i;
}

static size_t digit_groups(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ascii_digit(s.p[i]) && (i == 0 || !ascii_digit(s.p[i - 1]));
	return n;
}

/* Letters, digits, dots, colons: an IP address in one of its disguises, or a word. */
static void fade_word(struct fade *f, struct slice word)
{
	size_t quad = quad_length(word), nibbles = nibble_labels(word);

	if (journal_fade_ip(f->out, word))
		return;
	if (slice_starts_nocase(word, SLICE("IPv6:")) && journal_fade_ip(f->out, slice_from(word, 5)))
		return;
	if (nibbles >= 16) {						/* reversed, in a zone: the host comes first */
		str_addc(f->out, '*');
		str_add(f->out, slice_from(word, 2 * nibbles - 1));
	} else if (quad > 0 && quad < word.n && word.p[quad] == '.') {
		str_addc(f->out, '*');
		str_add(f->out, slice_from(word, (size_t)slice_find(word, '.')));
	} else if (quad > 0) {						/* with a port */
		journal_fade_ip(f->out, slice_head(word, quad));
		str_add(f->out, slice_from(word, quad));
	} else if (slice_find(word, '.') >= 0 && (digit_groups(word) >= 4 ||
			slice_eq_nocase(word, f->name) || slice_eq_nocase(word, f->helo))) {
		fade_name(f->out, word);
	} else {
		str_add(f->out, word);
	}
}

/* Without '@' in it. */
static void fade_words(struct fade *f, struct slice token)
{
	while (token.n > 0) {
		size_t n = 0, end;

		while (n < token.n && is_name_char(token.p[n]))
			n++;
		/* A full stop or colon behind it is punctuation. */
		for (end = n; end > 0 && (token.p[end - 1] == '.' || token.p[end - 1] == ':'); end--)
			;
		if (end > 1 && token.p[end] == ':' && token.p[end - 1] == ':' )
			end = n;
		if (end > 0)
			fade_word(f, slice_head(token, end));
		str_add(f->out, slice_make(token.p + end, n - end));
		if (n < token.n)
			str_addc(f->out, token.p[n++]);
		token = slice_from(token, n);
	}
}

/* The length of what may be an address: up to a separator, a quoted local part included. */
static size_t token_length(struct slice text)
{
	size_t n = 0;

	if (text.p[0] == '"') {
		const char *quote = text.n > 1 ? memchr(text.p + 1, '"', text.n - 1) : NULL;

		if (!quote || (size_t)(quote - text.p) + 1 >= text.n || quote[1] != '@')
			return 0;
		n = (size_t)(quote - text.p) + 1;
	}
	while (n < text.n && !is_separator(text.p[n]))
		n++;
	return n;
}

static void fade_text(struct fade *f, struct slice text)
{
	while (text.n > 0) {
		size_t n = token_length(text);
		struct slice token = slice_head(text, n);

		if (n == 0) {
			str_addc(f->out, text.p[0]);
			n = 1;
		} else if (slice_find(token, '@') >= 0) {
			while (token.n > 1 && strchr(".:!?", token.p[token.n - 1]))
				token.n--;
			journal_fade_address(f->out, f->salt, token);
			str_add(f->out, slice_make(token.p + token.n, n - token.n));
		} else {
			fade_words(f, token);
		}
		text = slice_from(text, n);
	}
}

/* A From field: of every mailbox only its hash; display names are gone. */
static void fade_from(struct fade *f, struct slice text)
{
	bool first = true;

	for (size_t i = 0; i < text.n;) {
		size_t n = token_length(slice_from(text, i));
		struct slice token = slice_make(text.p + i, n);

		if (n > 0 && slice_find(token, '@') >= 0) {
			if (!first)
				str_puts(f->out, ", ");
			first = false;
			journal_fade_address(f->out, f->salt, token);
		}
		i += n ? n : 1;
	}
}

/* ---- records ---- */

enum fading { FADE_TEXT, FADE_NOT, FADE_ADDRESS, FADE_IP, FADE_NAME, FADE_FROM };

static enum fading fading_of(const char *path)
{
	static const struct { const char *path; enum fading fading; } paths[] = {
		{ "time", FADE_NOT }, { "ref", FADE_NOT }, { "node", FADE_NOT }, { "listener", FADE_NOT },
		{ "disposition", FADE_NOT }, { "in_doubt", FADE_NOT }, { "client.tls", FADE_NOT },
		{ "message.body_sha256", FADE_NOT }, { "findings[].check", FADE_NOT },
		{ "findings[].result", FADE_NOT }, { "findings[].mode", FADE_NOT }, { "findings[].led", FADE_NOT },
		{ "findings[].would", FADE_NOT }, { "rcpt[].enhanced", FADE_NOT }, { "reply.enhanced", FADE_NOT },
		{ "backend.address", FADE_NOT }, { "mail_from", FADE_ADDRESS }, { "rcpt[].address", FADE_ADDRESS },
		{ "findings[].rcpt", FADE_ADDRESS }, { "message.id", FADE_ADDRESS }, { "client.ip", FADE_IP },
		{ "client.name", FADE_NAME }, { "client.helo", FADE_NAME }, { "message.from", FADE_FROM },
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(paths[i].path, path) == 0)
			return paths[i].fading;
	return FADE_TEXT;
}

static bool learn_names(void *arg, const char *path, struct slice raw)
{
	struct fade *f = arg;
	struct str plain = STR_IN(f->arena);

	if (strcmp(path, "client.name") != 0 && strcmp(path, "client.helo") != 0)
		return true;
	journal_unescape(&plain, raw);
	if (path[7] == 'n')
		f->name = str_slice(&plain);
	else
		f->helo = str_slice(&plain);
	return true;
}

static void fade_value(struct fade *f, enum fading how, struct slice plain)
{
	switch (how) {
	case FADE_ADDRESS:
		journal_fade_address(f->out, f->salt, plain);
		break;
	case FADE_IP:
		if (!journal_fade_ip(f->out, plain))
			str_addc(f->out, '*');
		break;
	case FADE_NAME:
		fade_name(f->out, plain);
		break;
	case FADE_FROM:
		fade_from(f, plain);
		break;
	case FADE_NOT:
	case FADE_TEXT:
		fade_text(f, plain);
		break;
	}
}

static bool fade_string(void *arg, const char *path, struct slice raw)
{
	struct fade *f = arg;
	enum fading how = fading_of(path);
	struct str plain = STR_IN(f->arena), faded = STR_IN(f->arena), quoted = STR_IN(f->arena), *out = f->out;

	if (how == FADE_NOT || raw.n == 0)
		return true;
	journal_unescape(&plain, raw);
	f->out = &faded;
	fade_value(f, how, str_slice(&plain));
	f->out = out;
	str_json(&quoted, str_slice(&faded));
	str_add(out, slice_make(f->copied, (size_t)(raw.p - f->copied)));
	str_add(out, slice_make(quoted.p + 1, quoted.n - 2));
	f->copied = raw.p + raw.n;
	return true;
}

bool journal_fade(struct str *out, const struct journal_salt *salt, struct slice record)
{
	struct arena scratch = ARENA_INIT;
	struct fade f = { .out = out, .salt = salt, .arena = &scratch, .copied = record.p };
	bool ok = journal_each_text(record, learn_names, &f) && journal_each_text(record, fade_string, &f);

	if (ok)
		str_add(out, slice_make(f.copied, (size_t)(record.p + record.n - f.copied)));
	arena_drop(&scratch);
	return ok;
}
