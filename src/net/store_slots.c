/*
 * Slots: who has which, what the others have, and the memory all workers share.
 *
 * A worker holds its slot by a lock on the slot's pending table, which the
 * kernel ends with the process. If another living process has it (a predecessor
 * that drains its sessions after an upgrade), the worker takes a slot of 128 and above
 * instead: readers look at all slots, so it does not matter which.
 *
 * Others' slots are opened for reading when the generation in the shared memory has
 * changed, which is one load a look-up as long as it has not. Then each slot
 * below the high mark is probed by name, and reopened if its files are not the
 * same any more. No directory is listed: nothing for seccomp to allow.
 *
 * What is damaged is moved aside, one generation of it kept (*.bad), and made anew with
 * a warning. An environment in which processes have crashed twice is damaged too.
 *
 * All opening is done under the lock of the store's directory (store.c), so
 * that of workers that start together each sees what the one before has made.
 */
#include "net/store_lmdb.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char format_name[16] = "spurn store 1";

static struct shared *crash_notes;

void store_crashed(void)
{
	int slot = environment_inside - 1;

	environment_inside_clear();
	if (crash_notes && slot >= 0 && slot < (int)STORE_SLOTS)
		atomic_fetch_add(&crash_notes->suspect[slot], 1);
}

/* ---- the slots of others ---- */

static bool file_is(int directory, const char *name, bool open, dev_t device, ino_t inode)
{
	struct stat st;

	return open && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == device &&
		st.st_ino == inode;
}

static void slot_refresh_environment(struct lmdb_store *s, struct slot *slot)
{
	char name[32];
	struct stat st;
	int rc;

	snprintf(name, sizeof(name), "%u/data.mdb", slot->number);
	if (file_is(s->directory, name, slot->environment.env != NULL, slot->environment.device, slot->environment.inode) &&
	    atomic_load(&s->shared->suspect[slot->number]) < STORE_SUSPECT)
		return;
	environment_close(&slot->environment);
	if (fstatat(s->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			slot->trouble = strerrordesc_np(errno);
		return;
	}
	if (atomic_load(&s->shared->suspect[slot->number]) >= STORE_SUSPECT) {
		slot->trouble = "shut out after crashes while it was read";
		return;
	}
	slot->environment.device = st.st_dev;
	slot->environment.inode = st.st_ino;
	rc = environment_open(&slot->environment, s->conf.directory, 0, false);
	/* Without tables it is being made at this moment; there is nothing in it. */
	if (rc && rc != MDB_NOTFOUND && rc != ENOENT)
		slot->trouble = environment_error(rc);
}

static void slot_refresh(struct lmdb_store *s, struct slot *slot)
{
	char name[32];
	const char *why = NULL;

	slot->trouble = NULL;
	snprintf(name, sizeof(name), "%u/pending", slot->number);
	if (!file_is(s->pending_directory, name, slot->pending.map != NULL, slot->pending.device, slot->pending.inode)) {
		pending_close(&slot->pending);
		if (pending_open(&slot->pending, s->pending_directory, slot->number, false, &why) == PENDING_FAILED)
			slot->trouble = why;
	}
	slot_refresh_environment(s, slot);
}

void slots_refresh(struct lmdb_store *s)
{
	uint32_t generation = atomic_load(&s->shared->generation), high = atomic_load(&s->shared->high);

	s->count = 0;
	s->trouble = NULL;
	for (unsigned i = 0; i < STORE_SLOTS && i < high; i++) {
		struct slot *slot = &s->slots[i];
		if (slot != s->own)
			slot_refresh(s, slot);
		if (slot->pending.map || slot->environment.env || slot->trouble)
			s->present[s->count++] = (uint8_t)i;
		if (slot->trouble)
			s->trouble = slot->trouble;
	}
	s->generation = generation;
}

/* ---- who holds a slot ---- */

bool slot_word_lives(struct lmdb_store *s, uint64_t word)
{
	uint64_t number = (word >> 32) - 1;
	struct slot *slot;
	pid_t holder;

	if (number >= STORE_SLOTS)
		return false;
	slot = &s->slots[number];
	if (slot == s->own)	/* a predecessor: we hold that slot, and do not ask about ourselves */
		return false;
	if (!slot->pending.map)
		slots_refresh(s);
	holder = pending_holder(&slot->pending);
	/* A process of another name space has no number here. */
	return holder != 0 && (holder < 0 || (uint32_t)holder == (uint32_t)word);
}

/* ---- opening and closing ---- */

static struct shared *shared_map(int directory, bool reader)
{
	int fd = openat(directory, "shared", (reader ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW);
	void *map = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size == sizeof(struct shared))
		map = mmap(NULL, sizeof(struct shared), reader ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return NULL;
	if (memcmp(((struct shared *)map)->format, format_name, sizeof(format_name)) == 0)
		return map;
	munmap(map, sizeof(struct shared));
	return NULL;
}

/* Nothing in it is lost by making it anew: stamps are raised from what is found, locks are free. */
/* Slots from here on were never used. */
static uint32_t high_found(int directory)
{
	uint32_t high = 0;

	for (uint32_t i = 0; i < STORE_SLOTS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%u", i);
		if (faccessat(directory, name, F_OK, 0) == 0)
			high = i + 1;
	}
	return high;
}

static bool shared_open(struct lmdb_store *s, struct arena *a, bool reader, const char **why)
{
	int directory = s->pending_directory, fd;
	struct shared *fresh;

	s->shared = shared_map(directory, reader);
	s->shared_mapped = s->shared != NULL;
	if (s->shared)
		return true;
	fresh = arena_new(a, struct shared);
	memcpy(fresh->format, format_name, sizeof(format_name));
	fresh->high = high_found(s->directory);
	if (reader) {
		s->shared = fresh;
		return true;
	}
	fd = openat(directory, "shared.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, fresh, sizeof(*fresh)) == (ssize_t)sizeof(*fresh) &&
	    renameat(directory, "shared.new", directory, "shared") == 0)
		s->shared = shared_map(directory, false);
	s->shared_mapped = s->shared != NULL;
	if (!s->shared)
		*why = strerrordesc_np(errno);
	if (fd >= 0)
		close(fd);
	return s->shared_mapped;
}

/* Our environment, moved aside and made anew if it is damaged. */
static bool own_environment(struct lmdb_store *s, const char **warning, const char **why)
{
	static const char *const parts[] = { "data.mdb", "lock.mdb" };
	struct slot *slot = s->own;
	_Atomic uint32_t *suspect = &s->shared->suspect[slot->number];
	int rc = MDB_CORRUPTED;

	if (atomic_load(suspect) < STORE_SUSPECT)
		rc = environment_open(&slot->environment, s->conf.directory, s->conf.map_size,
			s->conf.synchronous);
	if (environment_error_is_damage(rc)) {
		*warning = rc == MDB_CORRUPTED ? "environment was damaged, moved aside to data.mdb.bad" :
			"environment was damaged or of another version, moved aside to data.mdb.bad";
		for (size_t i = 0; i < 2; i++) {
			char from[40], to[40];
			snprintf(from, sizeof(from), "%u/%s", slot->number, parts[i]);
			snprintf(to, sizeof(to), "%u/%s.bad", slot->number, parts[i]);
			renameat(s->directory, from, s->directory, to);
		}
		atomic_store(suspect, 0);
		rc = environment_open(&slot->environment, s->conf.directory, s->conf.map_size,
			s->conf.synchronous);
	}
	if (rc)
		*why = environment_error(rc);
	return rc == 0;
}

/* The slot of this worker, or one that stands in for it. */
static bool own_pending(struct lmdb_store *s, const char **warning, const char **why)
{
	unsigned number = s->conf.slot;

	for (;;) {
		struct slot *slot = &s->slots[number];
		char name[16];
		snprintf(name, sizeof(name), "%u", number);
		if ((mkdirat(s->directory, name, 0700) < 0 && errno != EEXIST) ||
		    (mkdirat(s->pending_directory, name, 0700) < 0 && errno != EEXIST)) {
			*why = strerrordesc_np(errno);
			return false;
		}
		switch (pending_open(&slot->pending, s->pending_directory, number, true, why)) {
		case PENDING_NEW:
			*warning = "pending table was damaged or of another version, moved aside to pending.bad";
			/* fall through */
		case PENDING_OPEN:
			s->own = slot;
			s->word = ((uint64_t)(number + 1) << 32) | (uint32_t)getpid();
			return true;
		case PENDING_BUSY:
			number = number < STORE_STAND_IN ? STORE_STAND_IN : number + 1;
			if (number < STORE_SLOTS)
				continue;
			*why = "no free slot";
			return false;
		default:
			return false;
		}
	}
}

static void stamp_raise(struct lmdb_store *s, uint64_t least)
{
	uint64_t last = atomic_load(&s->shared->stamp);

	while (last < least && !atomic_compare_exchange_weak(&s->shared->stamp, &last, least))
		;
}

static bool own_open(struct lmdb_store *s, struct arena *a, const char **warning, const char **why)
{
	struct writer *w = &s->writer;
	const char *damage = NULL;
	uint32_t high;
	int dead;

	if (!own_pending(s, warning, why) || !own_environment(s, &damage, why))
		return false;
	if (damage)
		*warning = *warning ? "pending table and environment were damaged, moved aside to *.bad" : damage;
	mdb_reader_check(s->own->environment.env, &dead);
	stamp_raise(s, pending_newest(&s->own->pending));
	stamp_raise(s, environment_newest(&s->own->environment));

	w->pending = &s->own->pending;
	w->env = s->own->environment.env;
	w->main = s->own->environment.main;
	memcpy(w->tables, s->own->environment.tables, sizeof(w->tables));
	w->slot = s->own->number;
	w->linger = (s->conf.linger_ms ? s->conf.linger_ms : 500) * NS_PER_MS;
	w->running = !s->conf.synchronous;
	store_seconds(s);
	if (!writer_start(w, a, why))
		return false;

	high = atomic_load(&s->shared->high);
	while (high < w->slot + 1 && !atomic_compare_exchange_weak(&s->shared->high, &high, w->slot + 1))
		;
	atomic_fetch_add(&s->shared->generation, 1);
	return true;
}

static bool pending_enter(struct lmdb_store *s, const char **why)
{
	const char *path = s->conf.pending_directory;

	s->pending_directory = s->directory;
	if (!path)
		return true;
	if (s->conf.slot != STORE_READ_ONLY && mkdir(path, 0700) < 0 && errno != EEXIST) {
		*why = strerrordesc_np(errno);
		return false;
	}
	s->pending_directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->pending_directory < 0)
		*why = strerrordesc_np(errno);
	return s->pending_directory >= 0;
}

bool slots_open(struct lmdb_store *s, struct arena *a, const char **warning, const char **why)
{
	bool reader = s->conf.slot == STORE_READ_ONLY;

	for (unsigned i = 0; i < STORE_SLOTS; i++) {
		s->slots[i].number = s->slots[i].environment.slot = i;
		s->slots[i].pending.fd = -1;
	}
	s->pending_directory = s->directory;
	if (!pending_enter(s, why) || !shared_open(s, a, reader, why))
		return false;
	crash_notes = reader ? NULL : s->shared;
	if (!reader && !own_open(s, a, warning, why))
		return false;
	slots_refresh(s);
	return true;
}

void slots_close(struct lmdb_store *s)
{
	for (size_t i = 0; i < STORE_SLOTS; i++) {
		environment_close(&s->slots[i].environment);
		pending_close(&s->slots[i].pending);
	}
	if (crash_notes == s->shared)
		crash_notes = NULL;
	if (s->shared_mapped)
		munmap(s->shared, sizeof(*s->shared));
	if (s->pending_directory >= 0 && s->pending_directory != s->directory)
		close(s->pending_directory);
}
