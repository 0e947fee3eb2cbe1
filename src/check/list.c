/*
 * Lists of clients and addresses, and the files they come from.
 *
 * An address set is one hash table for all forms of entry: the kind of an entry
 * is part of its key, so `user@domain`, `@domain`, `@.domain`, `user@` and
 * `prefix*@domain` cost one probe each, and a form that nobody used costs
 * none. Patterns are looked up by prefix length, with a bitmap of the lengths that
 * occur, so a thousand patterns cost no more than one. Entries and buckets lie in the
 * arena of the version, about 48 bytes an address: a version is dropped as a whole.
 *
 * A file is never edited in memory. A changed file is read into a version of its
 * own beside the one in use; only when every line was understood and the shrink
 * guard is content does the pointer move. Nobody holds an entry across a wait, so the
 * old version goes at once.
 *
 * Files are polled by stat(2), once a second. Rejected: inotify, which does not see
 * a rename on a network mount, watches a name only through its directory, and
 * has a queue that overflows; a stat is one microsecond. Rejected: skipping lines that cannot be
 * read, since a list of recipients that is short by a few names refuses those names.
 */
#include "check/list.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "wire/address.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRY_MAX 384			/* RFC 5321 section 4.5.3.1: 64 + 1 + 255, and room for quoting */
#define PREFIX_MAX 64			/* a local part */
#define LIST_FILE_MAX (256u << 20)
#define SETTLE_MS 100			/* a file written more recently may still be written to */
#define POSTPONE_MAX 5			/* ... but one that never rests is read all the same */

/* ---- address sets ---- */

enum entry_kind {
	ENTRY_ADDRESS,	/* "local@domain" */
	ENTRY_DOMAIN,	/* "domain", written @domain or *@domain */
	ENTRY_BELOW,	/* "domain", written @.domain: its sub-domains, not itself */
	ENTRY_LOCAL,	/* "local", written local@ */
	ENTRY_PREFIX,	/* "domain@prefix", written prefix*@domain: turned round, so that one buffer serves all lengths */
	ENTRY_KINDS
};

struct entry {
	struct entry *next;
	uint32_t hash;
	uint16_t length;
	uint8_t kind;
	char text[];
};

struct address_set {
	struct arena *arena;
	struct entry **buckets;
	size_t size;			/* a power of two, 0 while empty */
	size_t count;
	size_t kinds[ENTRY_KINDS];
	uint64_t prefix_lengths;	/* bit n: a pattern with a prefix of n + 1 octets */
};

struct address_set *address_set_new(struct arena *a)
{
	struct address_set *set = arena_new(a, struct address_set);

	set->arena = a;
	return set;
}

static uint32_t entry_hash(enum entry_kind kind, struct slice text)
{
	uint64_t h = hash_bytes(text.p, text.n);

	return (uint32_t)(h ^ h >> 32) + (uint32_t)kind * UINT32_C(0x9E3779B1);
}

static bool set_has(const struct address_set *set, enum entry_kind kind, struct slice text)
{
	if (set->kinds[kind] == 0 || slice_empty(text))
		return false;

	uint32_t hash = entry_hash(kind, text);

	for (const struct entry *e = set->buckets[hash & (set->size - 1)]; e; e = e->next)
		if (e->hash == hash && e->kind == kind && slice_eq(slice_make(e->text, e->length), text))
			return true;
	return false;
}

/* Room for so many entries. Old buckets stay in the arena: doubling wastes at most as much again, and files are
 * sized before their first entry. */
static void set_reserve(struct address_set *set, size_t count)
{
	size_t size = set->size ? set->size : 8;

	while (size < count)
		size *= 2;
	if (size == set->size)
		return;

	struct entry **buckets = arena_array(set->arena, struct entry *, size);

	for (size_t i = 0; i < set->size; i++) {
		for (struct entry *e = set->buckets[i], *next; e; e = next) {
			next = e->next;
			e->next = buckets[e->hash & (size - 1)];
			buckets[e->hash & (size - 1)] = e;
		}
	}
	set->buckets = buckets;
	set->size = size;
}

static void set_insert(struct address_set *set, enum entry_kind kind, struct slice text)
{
	if (set_has(set, kind, text))
		return;
	set_reserve(set, set->count + 1);

	struct entry *e = arena_alloc(set->arena, offsetof(struct entry, text) + text.n);

	e->hash = entry_hash(kind, text);
	e->length = (uint16_t)text.n;
	e->kind = (uint8_t)kind;
	memcpy(e->text, text.p, text.n);
	e->next = set->buckets[e->hash & (set->size - 1)];
	set->buckets[e->hash & (set->size - 1)] = e;
	set->count++;
	set->kinds[kind]++;
}

/* A domain as the canonical form of addresses has it; a literal is only folded. */
static bool domain_fold(struct arena *scratch, struct slice domain, struct slice *out, const char **why)
{
	if (slice_find(domain, '*') >= 0) {
		*why = "no * in a domain: write @.example.org for its sub-domains";
		return false;
	}
	if (domain.n > 2 && domain.p[0] == '[' && domain.p[domain.n - 1] == ']') {
		*out = slice_lower(scratch, domain);
		return true;
	}
	*out = domain_valid(domain, true) ? domain_canonical(scratch, domain) : SLICE_NULL;
	if (slice_empty(*out))
		*why = "not a domain name";
	return !slice_empty(*out);
}

/* prefix*@domain. The detail of a sub-address is gone before a look-up: a pattern in it would never match. */
static bool set_add_prefix(struct address_set *set, struct arena *scratch, struct slice prefix,
	struct slice domain, struct slice separators, const char **why)
{
	struct slice folded;

	if (!domain_fold(scratch, domain, &folded, why))
		return false;
	if (slice_empty(prefix)) {
		set_insert(set, ENTRY_DOMAIN, folded);
		return true;
	}
	if (prefix.n > PREFIX_MAX) {
		*why = "the prefix is longer than a local part can be";
		return false;
	}
	for (size_t i = 1; i < prefix.n; i++) {
		if (slice_find(separators, prefix.p[i]) >= 0) {
			*why = "sub-addresses are removed before a look-up: write user@domain";
			return false;
		}
	}

	struct str key = STR_IN(scratch);

	str_add(&key, folded);
	str_addc(&key, '@');
	str_add(&key, slice_lower(scratch, prefix));
	set_insert(set, ENTRY_PREFIX, str_slice(&key));
	set->prefix_lengths |= UINT64_C(1) << (prefix.n - 1);
	return true;
}

/* user@domain, or user@ with a domain lent for the folding. */
static bool set_add_local(struct address_set *set, struct arena *scratch, struct slice text,
	bool any_domain, struct slice separators, const char **why)
{
	struct slice canonical;

	if (any_domain) {
		struct str lent = STR_IN(scratch);

		str_add(&lent, text);
		str_puts(&lent, "any.invalid");
		text = str_slice(&lent);
	}
	if (!address_canonical(scratch, text, separators, &canonical)) {
		*why = "not a valid address";
		return false;
	}
	if (any_domain)
		set_insert(set, ENTRY_LOCAL, slice_head(canonical, (size_t)slice_rfind(canonical, '@')));
	else
		set_insert(set, ENTRY_ADDRESS, canonical);
	return true;
}

static bool set_add(struct address_set *set, struct arena *scratch, struct slice e,
	struct slice separators, const char **why)
{
	ptrdiff_t at = slice_rfind(e, '@');
	struct slice folded;

	if (at < 0) {
		*why = "not an address: write user@domain, @domain, @.domain (its sub-domains), user@ or prefix*@domain";
		return false;
	}

	struct slice local = slice_head(e, (size_t)at), domain = slice_from(e, (size_t)at + 1);
	ptrdiff_t star = slice_find(local, '*');
	bool quoted = !slice_empty(local) && local.p[0] == '"';

	if (slice_empty(local)) {
		bool below = slice_starts(domain, SLICE("."));

		if (!domain_fold(scratch, slice_from(domain, below), &folded, why))
			return false;
		set_insert(set, below ? ENTRY_BELOW : ENTRY_DOMAIN, folded);
		return true;
	}
	if (star >= 0 && !quoted) {
		if ((size_t)star != local.n - 1 || slice_empty(domain)) {
			*why = "a * stands only at the end of a local part: prefix*@domain (quote a real one)";
			return false;
		}
		return set_add_prefix(set, scratch, slice_head(local, (size_t)star), domain, separators, why);
	}
	return set_add_local(set, scratch, e, slice_empty(domain), separators, why);
}

bool address_set_add_host(struct address_set *set, struct slice entry, const char **why)
{
	struct arena scratch = ARENA_INIT;
	struct slice folded;
	bool ok = domain_fold(&scratch, slice_trim(entry), &folded, why);

	if (ok) {
		set_insert(set, ENTRY_DOMAIN, folded);
		set_insert(set, ENTRY_BELOW, folded);
	}
	arena_drop(&scratch);
	return ok;
}

bool address_set_add_hash(struct address_set *set, struct slice entry, const char **why)
{
	struct arena scratch = ARENA_INIT;

	entry = slice_lower(&scratch, slice_trim(entry));
	*why = "a SHA-256 is 64 hexadecimal digits";
	for (size_t i = 0; i < entry.n; i++)
		if (ascii_hex(entry.p[i]) < 0)
			entry.n = 0;
	if (entry.n == 64)
		set_insert(set, ENTRY_LOCAL, entry);
	arena_drop(&scratch);
	return entry.n == 64;
}

bool address_set_add(struct address_set *set, struct slice entry, struct slice separators, const char **why)
{
	struct arena scratch = ARENA_INIT;

	entry = slice_trim(entry);
	/* What a directory's proxyAddresses say of mail; a colon is no part of an address. */
	if (slice_starts_nocase(entry, SLICE("smtp:")))
		entry = slice_from(entry, 5);
	if (entry.n > ENTRY_MAX) {
		*why = "longer than an address can be";
		return false;
	}

	bool ok = set_add(set, &scratch, entry, separators, why);

	arena_drop(&scratch);
	return ok;
}

static bool set_has_below(const struct address_set *set, struct slice domain)
{
	if (set->kinds[ENTRY_BELOW] == 0)
		return false;
	for (slice_split(&domain, '.'); !slice_empty(domain); slice_split(&domain, '.'))
		if (set_has(set, ENTRY_BELOW, domain))
			return true;
	return false;
}

static bool set_has_prefix(const struct address_set *set, struct slice local, struct slice domain)
{
	char key[ENTRY_MAX + 1];
	size_t from = domain.n + 1;

	if (set->prefix_lengths == 0 || local.n + from > sizeof(key))
		return false;
	memcpy(key, domain.p, domain.n);
	key[domain.n] = '@';
	memcpy(key + from, local.p, local.n);
	for (size_t n = 1; n <= local.n && n <= PREFIX_MAX; n++)
		if (set->prefix_lengths >> (n - 1) & 1 &&
			set_has(set, ENTRY_PREFIX, slice_make(key, from + n)))
			return true;
	return false;
}

bool address_set_contains(const struct address_set *set, struct slice canonical)
{
	ptrdiff_t at = slice_rfind(canonical, '@');

	if (at < 0)	/* <postmaster> */
		return set_has(set, ENTRY_LOCAL, canonical);

	struct slice local = slice_head(canonical, (size_t)at), domain = slice_from(canonical, (size_t)at + 1);

	return set_has(set, ENTRY_ADDRESS, canonical) || set_has(set, ENTRY_DOMAIN, domain) ||
		set_has(set, ENTRY_LOCAL, local) || set_has_below(set, domain) ||
		set_has_prefix(set, local, domain);
}

/* ---- files ---- */

/* What stat(2) says of one state of a file. */
struct imprint {
	dev_t device;
	ino_t inode;
	off_t size;
	int64_t modified;	/* ns */
};

/* What was read from one state of a file. Lies in its own arena. */
struct version {
	struct arena arena;
	struct ip_set *prefixes;
	struct address_set *addresses;
	size_t count;
};

struct list_file {
	struct list_file *next;
	char *path;
	enum list_kind kind;
	struct slice separators;
	unsigned shrink_guard;
	struct version *version;
	struct imprint seen;	/* the state last looked into, whatever came of it */
	bool unsettled;		/* look into it again, even if nothing changed */
	uint8_t postponed;
	char trouble[512];	/* empty: none */
};

/* Files stay for the life of the process: configurations come and go and name the same ones. */
static struct arena registry;
static struct list_file *files;

static struct imprint imprint_of(const struct stat *st)
{
	return (struct imprint){ st->st_dev, st->st_ino, st->st_size,
		(int64_t)st->st_mtim.tv_sec * NS_PER_SECOND + st->st_mtim.tv_nsec };
}

static bool imprint_eq(const struct imprint *a, const struct imprint *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
		a->modified == b->modified;
}

/* Written so recently that it may be written to again? Compared with the clock that stamps files, not with ours,
 * which tests move by hand; a stamp may be a tick ahead of it. One from the far future is no sign of anything. */
static bool imprint_is_fresh(const struct imprint *i)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);

	int64_t age = (int64_t)now.tv_sec * NS_PER_SECOND + now.tv_nsec - i->modified;

	return age > -SETTLE_MS * NS_PER_MS && age < SETTLE_MS * NS_PER_MS;
}

/* A line without its comment: # at the start or behind white space (# is a character of addresses), outside quotes. */
static struct slice line_content(struct slice line)
{
	bool quoted = false;

	for (size_t i = 0; i < line.n; i++) {
		quoted ^= line.p[i] == '"' && (i == 0 || line.p[i - 1] != '\\');
		if (line.p[i] == '#' && !quoted && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
			return slice_trim(slice_head(line, i));
	}
	return slice_trim(line);
}

static size_t count_lines(struct slice text)
{
	size_t lines = 1;

	for (const char *p = text.p, *end = text.p + text.n; p < end; lines++) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			break;
		p++;
	}
	return lines;
}

static struct version *version_new(void)
{
	struct arena a = ARENA_INIT;
	struct version *v = arena_new(&a, struct version);

	v->arena = a;
	return v;
}

static void version_drop(struct version *v)
{
	struct arena a;

	if (!v)
		return;
	a = v->arena;
	arena_drop(&a);
}

static bool entry_add(struct address_set *set, const struct list_file *f, struct slice entry, const char **why)
{
	if (f->kind == LIST_HOSTS)
		return address_set_add_host(set, entry, why);
	if (f->kind == LIST_HASHES)
		return address_set_add_hash(set, entry, why);
	return address_set_add(set, entry, f->separators, why);
}

/* On failure *line says where. */
static bool version_parse(struct version *v, const struct list_file *f, struct slice text,
	size_t *line, const char **why)
{
	struct ip_prefix prefix;

	*line = 0;
	if (slice_starts(text, SLICE("\xFF\xFE")) || slice_starts(text, SLICE("\xFE\xFF"))) {
		*why = "the file is UTF-16: save it as UTF-8";
		return false;
	}
	if (slice_starts(text, SLICE("\xEF\xBB\xBF")))
		text = slice_from(text, 3);
	if (f->kind == LIST_CLIENTS) {
		v->prefixes = ip_set_new(&v->arena);
	} else {
		v->addresses = address_set_new(&v->arena);
		set_reserve(v->addresses, count_lines(text));
	}
	while (!slice_empty(text)) {
		struct slice entry = line_content(slice_split(&text, '\n'));

		++*line;
		if (slice_empty(entry))
			continue;
		if (f->kind == LIST_CLIENTS) {
			if (!ip_prefix_parse(&prefix, entry, why))
				return false;
			ip_set_add(v->prefixes, &prefix);
		} else if (!entry_add(v->addresses, f, entry, why)) {
			return false;
		}
	}
	if (v->prefixes)
		ip_set_finish(v->prefixes);
	v->count = v->prefixes ? ip_set_count(v->prefixes) : v->addresses->count;
	return true;
}

/* The whole file as one slice in `a`. false with errno. */
static bool text_read(int fd, size_t size, struct arena *a, struct slice *text)
{
	char *p = arena_alloc(a, size + 1);
	size_t n = 0;

	while (n < size) {
		ssize_t got = read(fd, p + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*text = slice_make(p, n);
	return true;
}

/* Opens and reads; *imprint is what was read. false and f->trouble. */
static bool file_read(struct list_file *f, struct arena *a, struct slice *text, struct imprint *imprint)
{
	struct stat before, after;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool ok = false;

	if (fd < 0 || fstat(fd, &before) < 0) {
		snprintf(f->trouble, sizeof(f->trouble), "%s: %s", f->path, strerror(errno));
	} else if (!S_ISREG(before.st_mode)) {
		snprintf(f->trouble, sizeof(f->trouble), "%s: not a regular file", f->path);
	} else if (before.st_size > LIST_FILE_MAX) {
		snprintf(f->trouble, sizeof(f->trouble), "%s: larger than %u MiB", f->path, LIST_FILE_MAX >> 20);
	} else if (!text_read(fd, (size_t)before.st_size, a, text) || fstat(fd, &after) < 0) {
		snprintf(f->trouble, sizeof(f->trouble), "%s: %s", f->path, strerror(errno));
	} else {
		struct imprint later = imprint_of(&after);

		*imprint = imprint_of(&before);
		f->unsettled = imprint_is_fresh(imprint) || !imprint_eq(imprint, &later) ||
			text->n != (size_t)before.st_size;
		ok = true;
	}
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Would this version lose more entries than an accident-free day does? */
static bool version_shrinks(const struct list_file *f, const struct version *v)
{
	if (!f->version || f->shrink_guard == 0 || f->shrink_guard >= 100)
		return false;
	return v->count * 100 < f->version->count * (100 - f->shrink_guard);
}

/* One attempt: a new version takes the old one's place, or f->trouble says why not. */
static bool list_file_load(struct list_file *f)
{
	struct arena scratch = ARENA_INIT;
	struct version *next = version_new();
	struct slice text;
	size_t line;
	const char *why = "";
	bool ok = false;

	f->postponed = 0;
	if (!file_read(f, &scratch, &text, &f->seen)) {
		f->seen = (struct imprint){ 0 };	/* tried again at every poll */
	} else if (!version_parse(next, f, text, &line, &why)) {
		snprintf(f->trouble, sizeof(f->trouble), "%s:%zu: %s", f->path, line, why);
	} else if (version_shrinks(f, next)) {
		snprintf(f->trouble, sizeof(f->trouble), "%s: has %zu entries and had %zu: refused by "
			"shrink-guard %u (if this is meant, lower the guard or restart)",
			f->path, next->count, f->version->count, f->shrink_guard);
	} else {
		struct version *old = f->version;

		f->version = next;
		next = old;
		f->trouble[0] = '\0';
		ok = true;
	}
	version_drop(next);
	arena_drop(&scratch);
	return ok;
}

static void list_file_poll(struct list_file *f)
{
	struct stat st;
	struct imprint now = { 0 };
	char before[sizeof(f->trouble)];

	if (stat(f->path, &st) == 0) {
		now = imprint_of(&st);
		if (imprint_eq(&now, &f->seen) && !f->unsettled)
			return;
		if (imprint_is_fresh(&now) && f->postponed < POSTPONE_MAX) {
			f->postponed++;
			return;
		}
	}

	bool changed = !imprint_eq(&now, &f->seen);

	memcpy(before, f->trouble, sizeof(before));
	if (list_file_load(f)) {
		if (changed || before[0])
			log_info("list %s: %zu entries", f->path, f->version->count);
	} else if (strcmp(before, f->trouble) != 0) {
		log_alert("list %s; the old list of %zu entries stays in use", f->trouble, f->version->count);
	}
}

void list_files_poll(void)
{
	for (struct list_file *f = files; f; f = f->next)
		list_file_poll(f);
}

void list_files_each(void (*fn)(const struct list_file *f, void *arg), void *arg)
{
	for (const struct list_file *f = files; f; f = f->next)
		fn(f, arg);
}

static struct list_file *list_file_find(const char *path, enum list_kind kind, struct slice separators)
{
	for (struct list_file *f = files; f; f = f->next)
		if (f->kind == kind && strcmp(f->path, path) == 0 && slice_eq(f->separators, separators))
			return f;
	return NULL;
}

/* From now on it lives as long as the process. */
static struct list_file *list_file_register(const struct list_file *fresh)
{
	struct list_file *f = arena_alloc(&registry, sizeof(*f));

	*f = *fresh;
	f->path = arena_copy(&registry, fresh->path, strlen(fresh->path));
	f->separators = slice_copy(&registry, fresh->separators);
	f->next = files;
	files = f;
	return f;
}

struct list_file *list_file_open(const char *path, enum list_kind kind, struct slice separators,
	unsigned shrink_guard, struct arena *a, const char **why)
{
	if (kind == LIST_CLIENTS)
		separators = SLICE_NULL;

	struct list_file *f = list_file_find(path, kind, separators);

	if (f) {
		/* A reload: another guard may let in what the old one refused. */
		if (f->shrink_guard != shrink_guard)
			f->unsettled = true;
		f->shrink_guard = shrink_guard;
		list_file_poll(f);
		return f;
	}

	struct list_file fresh = { .path = arena_copy(a, path, strlen(path)), .kind = kind,
		.separators = separators, .shrink_guard = shrink_guard };

	if (!list_file_load(&fresh)) {
		*why = arena_copy(a, fresh.trouble, strlen(fresh.trouble));
		return NULL;
	}
	return list_file_register(&fresh);
}

struct list_file *list_file_expect(const char *path, enum list_kind kind, struct slice separators)
{
	struct list_file *f = list_file_find(path, kind, separators);
	struct list_file fresh = { .path = (char *)path, .kind = kind, .separators = separators };

	if (f)
		return f;
	if (!list_file_load(&fresh)) {
		fresh.version = version_new();
		fresh.version->addresses = address_set_new(&fresh.version->arena);
	}
	return list_file_register(&fresh);
}

size_t list_file_count(const struct list_file *f)
{
	return f->version->count;
}

const char *list_file_path(const struct list_file *f)
{
	return f->path;
}

const char *list_file_trouble(const struct list_file *f)
{
	return f->trouble[0] ? f->trouble : NULL;
}

bool list_file_contains_ip(const struct list_file *f, const struct ip *ip)
{
	return f->version->prefixes && ip_set_contains(f->version->prefixes, ip);
}

bool list_file_contains_address(const struct list_file *f, struct slice canonical)
{
	return f->version->addresses && address_set_contains(f->version->addresses, canonical);
}

/* ---- what the configuration says ---- */

bool client_list_contains(const struct client_list *l, const struct ip *ip, const char **where)
{
	if (l->prefixes && ip_set_contains(l->prefixes, ip)) {
		*where = "configuration";
		return true;
	}
	for (size_t i = 0; i < l->file_count; i++) {
		if (list_file_contains_ip(l->files[i], ip)) {
			*where = l->files[i]->path;
			return true;
		}
	}
	return false;
}

bool address_list_contains(const struct address_list *l, struct slice canonical, const char **where)
{
	if (l->entries && address_set_contains(l->entries, canonical)) {
		*where = "configuration";
		return true;
	}
	for (size_t i = 0; i < l->file_count; i++) {
		if (list_file_contains_address(l->files[i], canonical)) {
			*where = l->files[i]->path;
			return true;
		}
	}
	return false;
}
