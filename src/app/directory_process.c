/*
 * The directory process itself: accepts, watches over its threads, leaves when the
 * master lets go of the channel.
 *
 * It runs with the rights of a worker: no capability, the list of system calls. A thread that hangs in a library beyond
 * all time-outs cannot be ended from outside, so the whole process is: the master starts another, and workers
 * ask again.
 *
 * log_limited() and the loop's clock belong to one thread, this one; the others read the clock itself, and say what changed, not what
 * is.
 */
#include "app/directory.h"
#include "app/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANG (30 * NS_PER_SECOND)	/* beyond the longest time-out that there is */
#define LONGEST (60 * NS_PER_SECOND)
#define LEAVE_PATIENCE (65 * NS_PER_SECOND)
#define DOORS 17

static struct directory_set set;
static struct arena arena;

bool directory_is_needed(const struct config *c)
{
	for (size_t i = 0; i < c->directory_count; i++)
		if (directory_is_ours(&c->directories[i]))
			return true;
	return false;
}

static void open_sources(const struct directory_start *start)
{
	const struct config *c = start->config;
	size_t shown = 0;

	directory_libraries_init();
	set.sources = arena_array(&arena, struct directory_source *, c->directory_count);
	memset(start->health, 0, DIRECTORIES_SHOWN * sizeof(*start->health));
	for (size_t i = 0; i < c->directory_count; i++) {
		struct directory_health *health = shown < DIRECTORIES_SHOWN ? &start->health[shown] : NULL;

		if (!directory_is_ours(&c->directories[i]))
			continue;
		shown++;
		set.sources[set.count++] = directory_source_new(&arena, &c->directories[i], health);
	}
}

static void start_schedules(void)
{
	for (size_t i = 0; i < set.count; i++) {
		const struct directory_conf *conf = directory_source_conf(set.sources[i]);

		if (conf->copy && conf->copy_every > 0 && !directory_copy_schedule(set.sources[i]))
			log_error("directory %s: no thread for its copy", conf->name);
	}
}

static void set_signals(void)
{
	sigset_t none;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGTERM, SIG_IGN);	/* a service manager may tell all of us: the workers may have questions yet */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* On the workers' socket: our own user and root alone, also where somebody loosened the mode of the file. */
static bool peer_may(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void accept_one(int door, bool ours)
{
	int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (ours && !peer_may(fd)) {
		close(fd);
		return;
	}
	directory_serve(&set, fd, ours);
}

static void check_threads(void)
{
	nanoseconds oldest;

	directory_serve_busy(&oldest);
	if (oldest && clock_precise() - oldest > LONGEST + HANG) {
		log_alert("directories: a question hangs beyond its time-out; the process is replaced");
		_exit(1);
	}
}

/* What is under way is finished, what comes goes to our successor. */
static _Noreturn void leave(const struct pollfd *doors, nfds_t count)
{
	deadline until = clock_precise() + LEAVE_PATIENCE;
	nanoseconds oldest;

	for (nfds_t i = 1; i < count; i++)
		close(doors[i].fd);
	directory_serve_finish();
	while (directory_serve_busy(&oldest) > 0 && clock_precise() < until)
		usleep(20000);
	usleep(100000);		/* the reply behind the last question */
	_exit(0);
}

_Noreturn void directory_run(const struct directory_start *start)
{
	struct pollfd doors[DOORS + 1] = { { .fd = start->channel, .events = POLLIN } };
	nfds_t count = 1;
	const char *why = NULL;

	log_open("spurnd[directory]", !start->foreground && start->config->log_syslog, LOG_INFO);
	prctl(PR_SET_NAME, "spurnd-dir");
	set_signals();
	open_sources(start);
	doors[count++] = (struct pollfd){ .fd = start->own, .events = POLLIN };
	for (size_t i = 0; i < start->other_count && count < DOORS + 1; i++)
		doors[count++] = (struct pollfd){ .fd = start->others[i], .events = POLLIN };
	for (nfds_t i = 1; i < count; i++)
		fcntl(doors[i].fd, F_SETFL, O_NONBLOCK);
	if (!sandbox_enter(&why))
		log_warning("no sandbox: %s", why);
	start_schedules();
	for (;;) {
		int ready = poll(doors, count, 1000);

		if (ready < 0 && errno != EINTR)
			_exit(1);
		if (ready > 0 && doors[0].revents)
			leave(doors, count);
		for (nfds_t i = 1; i < count && ready > 0; i++)
			if (doors[i].revents)
				accept_one(doors[i].fd, i == 1);
		check_threads();
	}
}
