/*
 * Ageing: what becomes of segments that nobody writes any more.
 *
 * A thread of whichever worker comes first goes through the directory once a
 * minute and does for every segment what its age asks for: pack, fade,
 * delete. It is a thread, because packing 64 MiB takes seconds and mail must not wait for
 * that; it touches nothing of the worker's, takes no signals and runs at a low
 * priority. The lock file keeps other workers away, the writer's lock on its
 * own segment keeps us away from that. Killed at any moment it leaves the form before or the next one, and perhaps
 * temporary files, which the next pass removes.
 *
 * Age is counted from the beginning of a segment, which its name tells, so a
 * promise of at most so many days is kept to the hour, and a segment is ended after a fourteenth of the
 * horizon of detail even if it is not full (journal.c). Rejected: a process of its own (one
 * more to start and to watch), and logrotate (knows neither index nor horizon).
 */
#include "edge/journal_file.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_FILE "age.lock"
#define LEFT_OVER (10 * 60 * NS_PER_SECOND)	/* a segment that its writer left before it was full is packed after this */
#define STACK_SIZE (256u * 1024u)
#define NICENESS 10

struct ageing {
	struct journal_conf conf;
	char directory[512];
	char current[JOURNAL_PATH];	/* file name of the stem being written by this worker; empty: none */
	nanoseconds wall;
	struct journal_salt salt;
	bool has_salt;
	char why[256];			/* the first trouble; empty: none */
};

static void trouble(struct ageing *g, const char *stem, const char *what)
{
	if (!g->why[0])
		snprintf(g->why, sizeof(g->why), "%.100s: %s: %.64s", stem, what, strerror(errno));
}

/* ---- one segment ---- */

static bool exists(const struct ageing *g, const char *stem, const char *ending)
{
	char path[JOURNAL_PATH];

	journal_file_path(path, g->directory, stem, ending);
	return access(path, F_OK) == 0;
}

/* A writer holds the lock as long as it lives. *fd is the one to close when all is done; -1: there is no such file. */
static bool is_being_written(const struct ageing *g, const char *stem, int *fd)
{
	char path[JOURNAL_PATH];

	*fd = -1;
	if (strcmp(stem, g->current) == 0)
		return true;
	journal_file_path(path, g->directory, stem, ".jsonl");
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return errno != ENOENT;
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return false;
	close(*fd);
	*fd = -1;
	return true;
}

static void rewrite(struct ageing *g, const char *stem, bool fade)
{
	struct journal_segment segment;

	if (fade && !g->has_salt)
		g->has_salt = journal_salt_read(g->directory, true, &g->salt);
	if (fade && !g->has_salt) {
		trouble(g, stem, "no key to hash addresses with");
		return;
	}
	if (!journal_segment_open(&segment, g->directory, stem)) {
		trouble(g, stem, "cannot be read");
		return;
	}
	if (!journal_pack(&segment, g->directory, stem, fade ? &g->salt : NULL))
		trouble(g, stem, fade ? "addresses cannot be hashed" : "cannot be compressed");
	journal_segment_close(&segment);
}

static void age_plain(struct ageing *g, const char *stem, int fd, nanoseconds age)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return;
	if (st.st_size == 0) {
		if (age > LEFT_OVER)
			journal_remove(g->directory, stem, false);
	} else if ((uint64_t)st.st_size >= g->conf.segment || age > LEFT_OVER) {
		rewrite(g, stem, false);
	}
}

static void age_segment(struct ageing *g, const char *stem)
{
	nanoseconds age = g->wall - journal_stem_begun(stem);
	int fd;

	if (is_being_written(g, stem, &fd))
		return;
	if (age > g->conf.keep) {
		journal_remove(g->directory, stem, true);
	} else if (exists(g, stem, ".faded.jsonl.gz")) {
		journal_remove(g->directory, stem, false);	/* what a crash has left */
	} else if (age > g->conf.detail) {
		rewrite(g, stem, true);
	} else if (fd >= 0 && exists(g, stem, ".jsonl.gz")) {
		char path[JOURNAL_PATH];

		journal_file_path(path, g->directory, stem, ".jsonl");
		unlink(path);
	} else if (fd >= 0) {
		age_plain(g, stem, fd, age);
	}
	if (fd >= 0)
		close(fd);
}

/* ---- the directory ---- */

static bool ends(const char *name, const char *ending)
{
	size_t n = strlen(name), k = strlen(ending);

	return n > k && strcmp(name + n - k, ending) == 0;
}

/* An index or table whose data is gone. Looked at anew: the list may be older than the segment. */
static bool is_orphan(const struct ageing *g, const char *name)
{
	char stem[JOURNAL_PATH];
	char *dot;

	if ((!ends(name, ".idx") && !ends(name, ".gzi")) || journal_stem_begun(name) < 0)
		return false;
	snprintf(stem, sizeof(stem), "%s", name);
	dot = strrchr(stem, '.');
	*dot = '\0';
	if (ends(stem, ".faded"))
		stem[strlen(stem) - strlen(".faded")] = '\0';
	return !exists(g, stem, ".jsonl") && !exists(g, stem, ".jsonl.gz") && !exists(g, stem, ".faded.jsonl.gz");
}

/* Whoever writes temporary files holds the lock, that is we. */
static void tidy(const struct ageing *g)
{
	DIR *d = opendir(g->directory);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (ends(e->d_name, ".tmp") || is_orphan(g, e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static bool age_all(struct ageing *g)
{
	char path[JOURNAL_PATH];
	struct arena a = ARENA_INIT;
	const char **stems = NULL;
	size_t count = 0;
	int lock;

	snprintf(path, sizeof(path), "%s/" LOCK_FILE, g->directory);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (lock < 0) {
		trouble(g, LOCK_FILE, "cannot be opened");
		return false;
	}
	if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
		close(lock);
		return false;
	}
	tidy(g);
	if (journal_stems(&a, g->directory, &stems, &count))
		for (size_t i = 0; i < count; i++)
			age_segment(g, stems[i]);
	else
		trouble(g, g->directory, "cannot be read");
	arena_drop(&a);
	close(lock);
	return !g->why[0];
}

static void ageing_fill(struct ageing *g, const struct journal_conf *conf, const char *current, nanoseconds wall)
{
	const char *name = current ? strrchr(current, '/') : NULL;

	*g = (struct ageing){ .conf = *conf, .wall = wall };
	snprintf(g->directory, sizeof(g->directory), "%s", conf->directory);
	snprintf(g->current, sizeof(g->current), "%s", name ? name + 1 : "");
}

bool journal_age_run(const struct journal_conf *conf, const char *current, nanoseconds wall, const char **why)
{
	static char text[256];
	struct ageing g;
	bool ok;

	ageing_fill(&g, conf, current, wall);
	ok = age_all(&g);
	snprintf(text, sizeof(text), "%s", g.why[0] ? g.why : "another process is at it");
	*why = ok ? NULL : text;
	return ok;
}

/* ---- the thread ---- */

static bool busy;	/* a thread is at it */

static void *thread_main(void *arg)
{
	static char last[256];		/* of this process; only the one thread touches it */
	struct ageing *g = arg;

	/* Of this thread alone. */
	setpriority(PRIO_PROCESS, 0, NICENESS);
	age_all(g);
	if (g->why[0] && strcmp(g->why, last) != 0)
		log_alert("journal: %s", g->why);
	snprintf(last, sizeof(last), "%s", g->why);
	free(g);
	__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
	return NULL;
}

void journal_age_start(const struct journal_conf *conf, const char *current, nanoseconds wall)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	struct ageing *g;

	if (__atomic_exchange_n(&busy, true, __ATOMIC_ACQUIRE))
		return;
	g = malloc(sizeof(*g));
	if (!g) {
		__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
		return;
	}
	ageing_fill(g, conf, current, wall);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* It reports to nobody in the loop: a fake clock need not wait for it. */
	if (pthread_create(&thread, &attributes, thread_main, g) != 0) {
		free(g);
		__atomic_store_n(&busy, false, __ATOMIC_RELEASE);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
}
