/*
 * The pending table: puts that are not yet in LMDB, in a file mapped shared by all workers.
 *
 * A put must survive the kill of its process the moment it returns, must be
 * seen by every other process, and must not wait. The page cache gives the
 * first two for nothing; the rest is the layout. A slot has a word and two
 * halves. The word (tag of the key, sequence, flags) says which half is the
 * current one. A new value is written into the other half and becomes the
 * value by one store of the word. So there is no moment in which a killed
 * process leaves half an entry: before that store the old value stands,
 * after it the new one. Readers copy the half and look at the word again;
 * they hold nothing and make nobody wait.
 *
 * One writer allocates (the main thread of the owning worker), and one more
 * frees (its writer thread); both change a slot only by compare-and-swap of
 * its word. A slot keeps its key until it is freed, so a reader that scans
 * while the key is updated never falls between an old and a new place.
 *
 * The words lie together, 16 to two cache lines: a look-up touches four lines
 * and then only slots whose 32-bit tag fits. A key has two groups and goes
 * into the emptier one: full at about nine tenths, where one group a key
 * would be full at half.
 *
 * A power cut leaves pages of different ages. Each half carries a checksum over
 * key, sequence and value; what does not fit is not there.
 *
 * Ordering: every word of a body is stored with release and loaded with
 * acquire. A reader that sees any byte of a later use therefore also sees
 * that the slot's word has moved on. No fences, which the thread sanitizer
 * would not understand; plain moves on x86.
 *
 * Rejected: a sequence that is odd while the slot is being written (a kill
 * there loses the value that stood before, which was acknowledged); an
 * append-only log (readers would need an index, and an entry deleted at once
 * would still be read); out-of-place updates (a reader can miss both).
 */
#include "net/store_pending.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_WORDS 14
#define WORD_SEQUENCE UINT64_C(0xfffffff0)
#define SEQUENCE_STEP 16u
#define GROUPS (PENDING_SLOTS / PENDING_GROUP)
#define HEADER_SIZE 4096u

static const char format_name[16] = "spurn pending 1";

union half {
	struct store_entry entry;
	uint64_t words[ENTRY_WORDS];
};
_Static_assert(sizeof(struct store_entry) == ENTRY_WORDS * 8, "an entry fills its words");

struct pending_slot {
	_Atomic uint64_t key[2];
	_Atomic uint64_t half[2][ENTRY_WORDS];
	uint64_t spare[2];
};
_Static_assert(sizeof(struct pending_slot) == 256, "four cache lines");

struct pending_map {
	char format[16];
	uint32_t slots, slot_size;
	char spare[HEADER_SIZE - 24];
	_Atomic uint64_t word[PENDING_SLOTS];
	struct pending_slot slot[PENDING_SLOTS];
};

/* ---- words, keys, checksums ---- */

static uint64_t tag_of(const struct store_key *key)
{
	uint32_t tag;

	memcpy(&tag, key->bytes, sizeof(tag));
	return (uint64_t)tag << 32;
}

static void groups_of(const struct store_key *key, uint32_t first[2])
{
	uint32_t a, b;

	memcpy(&a, key->bytes + 4, sizeof(a));
	memcpy(&b, key->bytes + 8, sizeof(b));
	first[0] = a % GROUPS * PENDING_GROUP;
	first[1] = b % GROUPS * PENDING_GROUP;
}

static uint32_t checksum_of(const uint64_t key[2], union half h, uint64_t word)
{
	uint64_t sum = (word & WORD_SEQUENCE) ^ (key[0] + key[1]) ^ UINT64_C(0x2545f4914f6cdd1d);

	h.entry.checksum = 0;
	for (int i = 0; i < ENTRY_WORDS; i++) {
		sum = (sum ^ h.words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 32;
	}
	return (uint32_t)sum;
}

static void key_words(const struct store_key *key, uint64_t out[2])
{
	memcpy(out, key->bytes, 16);
}

/* Reads slot `at` as it stands under `word`. 1: out is valid; 0: nothing valid there; -1: it changed. */
static int slot_read(const struct pending *p, uint32_t at, uint64_t word, struct store_key *key,
	struct store_entry *out)
{
	const struct pending_slot *slot = &p->map->slot[at];
	int current = word & WORD_HALF ? 1 : 0;
	uint64_t k[2];
	union half h;

	for (int i = 0; i < 2; i++)
		k[i] = atomic_load_explicit(&slot->key[i], memory_order_acquire);
	for (int i = 0; i < ENTRY_WORDS; i++)
		h.words[i] = atomic_load_explicit(&slot->half[current][i], memory_order_acquire);
	if (atomic_load_explicit(&p->map->word[at], memory_order_relaxed) != word)
		return -1;
	if (h.entry.checksum != checksum_of(k, h, word) || h.entry.length > STORE_VALUE_MAX)
		return 0;
	memcpy(key->bytes, k, 16);
	*out = h.entry;
	return 1;
}

/* ---- looking ---- */

uint64_t pending_word(const struct pending *p, uint32_t at)
{
	return atomic_load_explicit(&p->map->word[at], memory_order_acquire);
}

bool pending_at(const struct pending *p, uint32_t at, struct store_key *key, struct store_entry *out)
{
	for (;;) {
		uint64_t word = pending_word(p, at);
		if (!(word & WORD_LIVE))
			return false;
		int found = slot_read(p, at, word, key, out);
		if (found >= 0)
			return found == 1;
	}
}

static bool word_fits(uint64_t word, uint64_t tag)
{
	return (word & WORD_LIVE) && (word & ~UINT64_C(0xffffffff)) == tag;
}

bool pending_find(const struct pending *p, enum store_table t, const struct store_key *key,
	struct store_entry *out, uint32_t *at, uint64_t *word)
{
	uint64_t tag = tag_of(key);
	uint32_t first[2];

	groups_of(key, first);
	for (int g = 0; g < 2; g++) {
		for (uint32_t i = first[g]; i < first[g] + PENDING_GROUP; i++) {
			struct store_key other;
			struct store_entry entry;
			uint64_t w;
			int found = 0;

			/* Each repetition means that the owner has moved on in between. */
			while (word_fits(w = pending_word(p, i), tag) && (found = slot_read(p, i, w, &other, &entry)) < 0)
				;
			if (!word_fits(w, tag) || found != 1 || entry.table != t || memcmp(&other, key, sizeof(other)) != 0)
				continue;
			*out = entry;
			*at = i;
			*word = w;
			return true;
		}
	}
	return false;
}

bool pending_may_have(const struct pending *p, const struct store_key *key)
{
	uint64_t tag = tag_of(key);
	uint32_t first[2];

	groups_of(key, first);
	for (int g = 0; g < 2; g++)
		for (uint32_t i = first[g]; i < first[g] + PENDING_GROUP; i++)
			if (word_fits(pending_word(p, i), tag))
				return true;
	return false;
}

size_t pending_count(const struct pending *p)
{
	size_t n = 0;

	for (uint32_t i = 0; i < PENDING_SLOTS; i++)
		n += pending_word(p, i) & WORD_LIVE;
	return n;
}

uint64_t pending_newest(const struct pending *p)
{
	uint64_t newest = 0;

	for (uint32_t i = 0; i < PENDING_SLOTS; i++) {
		struct store_key key;
		struct store_entry entry;
		if (pending_at(p, i, &key, &entry) && entry.stamp > newest)
			newest = entry.stamp;
	}
	return newest;
}

/* ---- changing ---- */

static void half_write(struct pending_slot *slot, int which, const struct store_key *key,
	const struct store_entry *entry, uint64_t word)
{
	union half h = { .entry = *entry };
	uint64_t k[2];

	key_words(key, k);
	h.entry.checksum = checksum_of(k, h, word);
	for (int i = 0; i < ENTRY_WORDS; i++)
		atomic_store_explicit(&slot->half[which][i], h.words[i], memory_order_release);
}

/* The next word of a slot: the other half, the next sequence. */
static uint64_t word_after(uint64_t word)
{
	uint64_t next = (word & ~WORD_SEQUENCE) | ((word + SEQUENCE_STEP) & WORD_SEQUENCE);

	return next ^ WORD_HALF;
}

/* Gives a slot that holds the key a new value. false: the writer thread has freed it. */
static bool slot_update(struct pending *p, uint32_t at, uint64_t word, const struct store_key *key,
	const struct store_entry *entry)
{
	uint64_t next = word_after(word);

	half_write(&p->map->slot[at], next & WORD_HALF ? 1 : 0, key, entry, next);
	/* The other thread may mark it (again with the same half and sequence) or free it. */
	while (!atomic_compare_exchange_strong(&p->map->word[at], &word, next)) {
		if (!(word & WORD_LIVE))
			return false;
		next = word_after(word);
	}
	return true;
}

/* The first free slot of the emptier group. */
static bool slot_choose(const struct pending *p, const struct store_key *key, uint32_t *at)
{
	uint32_t first[2], free_at[2] = { 0, 0 }, free[2] = { 0, 0 };

	groups_of(key, first);
	for (int g = 0; g < 2; g++) {
		for (uint32_t i = first[g] + PENDING_GROUP; i-- > first[g];) {
			if (pending_word(p, i) & WORD_LIVE)
				continue;
			free[g]++;
			free_at[g] = i;
		}
	}
	*at = free_at[free[1] > free[0]];
	return free[0] || free[1];
}

bool pending_put(struct pending *p, const struct store_key *key, const struct store_entry *entry, bool alone,
	bool *added)
{
	struct store_entry old;
	uint64_t word, k[2];
	uint32_t at;

	*added = false;
	if (pending_find(p, entry->table, key, &old, &at, &word) && slot_update(p, at, word, key, entry))
		return true;
	if (!slot_choose(p, key, &at))
		return false;
	word = (pending_word(p, at) & WORD_SEQUENCE) | tag_of(key) | WORD_LIVE | (alone ? WORD_ALONE : 0);
	word = word_after(word);
	key_words(key, k);
	for (int i = 0; i < 2; i++)
		atomic_store_explicit(&p->map->slot[at].key[i], k[i], memory_order_release);
	half_write(&p->map->slot[at], word & WORD_HALF ? 1 : 0, key, entry, word);
	/* Before the word: who sees the entry sees it counted. */
	atomic_fetch_add(&p->used, 1);
	atomic_store_explicit(&p->map->word[at], word, memory_order_release);
	*added = true;
	return true;
}

bool pending_free(struct pending *p, uint32_t at, uint64_t word)
{
	/* The sequence stays, so that the next use has another word. */
	if (!atomic_compare_exchange_strong(&p->map->word[at], &word, word & WORD_SEQUENCE))
		return false;
	atomic_fetch_sub(&p->used, 1);
	return true;
}

bool pending_take(struct pending *p, uint32_t at, uint64_t *word, struct store_key *key, struct store_entry *out)
{
	uint64_t marked = *word | WORD_WRITING;

	if (!(*word & WORD_LIVE) || !atomic_compare_exchange_strong(&p->map->word[at], word, marked))
		return false;
	*word = marked;
	return slot_read(p, at, marked, key, out) == 1;
}

/* ---- opening ---- */

static bool write_zeros(int fd, size_t n)
{
	static const char zeros[16384];

	while (n > 0) {
		ssize_t done = write(fd, zeros, n < sizeof(zeros) ? n : sizeof(zeros));
		if (done <= 0)
			return false;
		n -= (size_t)done;
	}
	return true;
}

/* Every block is written, not reserved: a page of a hole on a full disk would be a SIGBUS, and the first
 * touch of a reserved one a wait for the journal. Then renamed: nobody meets half a file. */
static bool pending_make(int directory, const char *name, const char **why)
{
	struct { char format[16]; uint32_t slots, slot_size; } head = { "", PENDING_SLOTS, sizeof(struct pending_slot) };
	char fresh[64];
	int fd;

	snprintf(fresh, sizeof(fresh), "%s.new", name);
	fd = openat(directory, fresh, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		memcpy(head.format, format_name, sizeof(format_name));
		if (write_zeros(fd, sizeof(struct pending_map)) && pwrite(fd, &head, sizeof(head), 0) == sizeof(head) &&
		    renameat(directory, fresh, directory, name) == 0) {
			close(fd);
			return true;
		}
	}
	*why = strerrordesc_np(errno);
	if (fd >= 0)
		close(fd);
	unlinkat(directory, fresh, 0);
	return false;
}

/* Maps what is open. false: not a pending table of this version (*why). */
static bool pending_map(struct pending *p, bool ours, const char **why)
{
	struct stat st;
	void *map;

	if (fstat(p->fd, &st) < 0 || (size_t)st.st_size != sizeof(struct pending_map)) {
		*why = "pending table of another size";
		return false;
	}
	map = mmap(NULL, sizeof(struct pending_map), ours ? PROT_READ | PROT_WRITE : PROT_READ,
		MAP_SHARED | (ours ? MAP_POPULATE : 0), p->fd, 0);
	if (map == MAP_FAILED) {
		*why = strerrordesc_np(errno);
		return false;
	}
	p->map = map;
	p->device = st.st_dev;
	p->inode = st.st_ino;
	if (memcmp(p->map->format, format_name, sizeof(format_name)) == 0 && p->map->slots == PENDING_SLOTS &&
	    p->map->slot_size == sizeof(struct pending_slot))
		return true;
	munmap(map, sizeof(struct pending_map));
	p->map = NULL;
	*why = "pending table of another version, or damaged";
	return false;
}

/* Drops what a power cut has torn, counts the rest. */
static void pending_adopt(struct pending *p)
{
	atomic_store(&p->used, (uint32_t)pending_count(p));
	for (uint32_t i = 0; i < PENDING_SLOTS; i++) {
		struct store_key key;
		struct store_entry entry;
		uint64_t word = pending_word(p, i);
		if ((word & WORD_LIVE) &&
		    (slot_read(p, i, word, &key, &entry) != 1 || tag_of(&key) != (word & ~UINT64_C(0xffffffff))))
			pending_free(p, i, word);
	}
}

/* The lock of the process, not of the descriptor: a forked child does not keep it. */
static bool pending_lock(const struct pending *p)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };

	return fcntl(p->fd, F_SETLK, &lock) == 0;
}

pid_t pending_holder(const struct pending *p)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };

	if (!p->map || fcntl(p->fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

static enum pending_open pending_open_own(struct pending *p, int directory, const char *name, const char **why)
{
	bool made = false;

	for (;;) {
		p->fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (p->fd < 0 && (errno != ENOENT || made)) {
			*why = strerrordesc_np(errno);
			return PENDING_FAILED;
		}
		if (p->fd < 0) {
			if (!pending_make(directory, name, why))
				return PENDING_FAILED;
			made = true;
			continue;
		}
		if (!pending_lock(p)) {
			pending_close(p);
			return PENDING_BUSY;
		}
		if (pending_map(p, true, why))
			break;
		char aside[64];
		snprintf(aside, sizeof(aside), "%s.bad", name);
		bool moved = !made && renameat(directory, name, directory, aside) == 0;
		pending_close(p);
		if (!moved || !pending_make(directory, name, why))
			return PENDING_FAILED;
		made = true;
	}
	pending_adopt(p);
	return made && *why ? PENDING_NEW : PENDING_OPEN;
}

enum pending_open pending_open(struct pending *p, int directory, unsigned slot, bool ours, const char **why)
{
	char name[32];

	*p = (struct pending){ .fd = -1 };
	*why = NULL;
	snprintf(name, sizeof(name), "%u/pending", slot);
	if (ours)
		return pending_open_own(p, directory, name, why);
	p->fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (p->fd >= 0 && pending_map(p, false, why))
		return PENDING_OPEN;
	if (p->fd < 0 && errno == ENOENT)
		return PENDING_ABSENT;
	if (p->fd < 0)
		*why = strerrordesc_np(errno);
	pending_close(p);
	return PENDING_FAILED;
}

void pending_close(struct pending *p)
{
	if (p->map)
		munmap(p->map, sizeof(struct pending_map));
	if (p->fd >= 0)
		close(p->fd);
	*p = (struct pending){ .fd = -1 };
}
