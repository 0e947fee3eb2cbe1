/*
 * Supervision of the directory process.
 *
 * Its sockets belong to the master and stay open over its death, a reload and an upgrade, so that a question asked just then waits in
 * the backlog for a moment instead of failing. The channel carries no words: that the master has closed its end
 * is all there is to say. An upgrade closes it by itself (close on exec), and the new image starts a process of its own
 * while the old one finishes; so does a reload.
 */
#include "app/directory_keeper.h"

#include "app/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDED "SPURN_DIRECTORY"
#define QUICK (2 * NS_PER_SECOND)
#define PAUSE (2 * NS_PER_SECOND)
#define OTHERS 16
#define STOP_STEPS 100		/* of 10 ms */

static struct keeper {
	pid_t pid;		/* 0: none */
	int channel;
	int own;		/* -1: not open */
	int others[OTHERS];
	size_t other_count;
	nanoseconds started, restart_at;
	unsigned quick_deaths;
} keeper = { .channel = -1, .own = -1 };

/* ---- sockets ---- */

static bool open_own(const struct config *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *why = NULL;
	mode_t before;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/" DIRECTORY_SOCKET, c->state_dir);
	before = umask(0177);		/* nobody may connect before the mode is set, either */
	keeper.own = listen_open((struct sockaddr *)&sun, sizeof(sun), false, &why);
	umask(before);
	if (keeper.own < 0) {
		log_error("directory socket %s: %s", sun.sun_path, why ? why : strerror(errno));
		return false;
	}
	chmod(sun.sun_path, 0600);
	fcntl(keeper.own, F_SETFD, FD_CLOEXEC);
	return true;
}

/* What cannot be opened is said; the workers' own socket does not depend on it. */
static void open_others(const struct config *c)
{
	for (size_t i = 0; i < c->directory_serve_count && keeper.other_count < OTHERS; i++) {
		const struct listen_address *a = &c->directory_serve[i];
		const char *why = NULL;
		int fd = listen_open((const struct sockaddr *)&a->address, a->length, false, &why);

		if (fd < 0) {
			log_error("directory-serve %s: %s", a->text, why ? why : strerror(errno));
			continue;
		}
		if (a->address.ss_family == AF_UNIX)
			chmod(((const struct sockaddr_un *)&a->address)->sun_path, 0666);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		keeper.others[keeper.other_count++] = fd;
	}
}

/* ---- the process ---- */

static _Noreturn void become_directory(const struct config *c, struct shared *shared, bool foreground, int channel)
{
	struct directory_start start = { .config = c, .own = keeper.own, .channel = channel,
		.health = shared->directories, .foreground = foreground, .other_count = keeper.other_count };

	memcpy(start.others, keeper.others, sizeof(start.others));
	directory_run(&start);
}

static bool start(const struct config *c, struct shared *shared, bool foreground, void (*before_child)(void))
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return false;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		before_child();
		become_directory(c, shared, foreground, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		log_error("fork: %s", strerror(errno));
		return false;
	}
	keeper.pid = pid;
	keeper.channel = pair[0];
	keeper.started = clock_now();
	return true;
}

void directory_keep(const struct config *c, struct shared *shared, bool foreground, void (*before_child)(void))
{
	if (keeper.pid || clock_now() < keeper.restart_at || !directory_is_needed(c))
		return;
	if (keeper.own < 0) {
		if (!open_own(c)) {
			keeper.restart_at = clock_now() + PAUSE;
			return;
		}
		open_others(c);
	}
	if (!start(c, shared, foreground, before_child))
		keeper.restart_at = clock_now() + PAUSE;
}

void directory_let_go(void)
{
	if (keeper.channel >= 0)
		close(keeper.channel);
	keeper.channel = -1;
	keeper.pid = 0;
	keeper.restart_at = 0;
}

bool directory_bury(pid_t pid, int status)
{
	if (pid != keeper.pid)
		return false;
	if (WIFSIGNALED(status))
		log_alert("directory process %d ended by signal %d (%s); another is started", (int)pid, WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		log_alert("directory process %d ended with status %d; another is started", (int)pid, WEXITSTATUS(status));
	keeper.quick_deaths = clock_now() - keeper.started < QUICK ? keeper.quick_deaths + 1 : 0;
	directory_let_go();
	keeper.restart_at = keeper.quick_deaths > 3 ? clock_now() + PAUSE : 0;
	return true;
}

void directory_stop(const struct config *c)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	pid_t pid = keeper.pid;
	int status;

	directory_let_go();
	for (int i = 0; pid && i < STOP_STEPS; i++) {
		if (waitpid(pid, &status, WNOHANG) != 0)
			pid = 0;
		else
			usleep(10000);
	}
	if (pid) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	if (keeper.own >= 0) {
		snprintf(path, sizeof(path), "%s/" DIRECTORY_SOCKET, c->state_dir);
		unlink(path);
	}
}

void directory_forget(void)
{
	if (keeper.channel >= 0)
		close(keeper.channel);
	if (keeper.own >= 0)
		close(keeper.own);
	for (size_t i = 0; i < keeper.other_count; i++)
		close(keeper.others[i]);
}

/* ---- upgrade ---- */

/* "own other other ..." */
void directory_hand_over(void)
{
	char text[16 * (OTHERS + 1)];
	int n;

	if (keeper.own < 0)
		return;
	n = snprintf(text, sizeof(text), "%d", keeper.own);
	fcntl(keeper.own, F_SETFD, 0);
	for (size_t i = 0; i < keeper.other_count; i++) {
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %d", keeper.others[i]);
		fcntl(keeper.others[i], F_SETFD, 0);
	}
	setenv(HANDED, text, 1);
}

void directory_inherit(void)
{
	struct slice text = slice_of(getenv(HANDED)), word;
	uint64_t fd;

	while ((word = slice_word(&text)).n > 0 && slice_number(word, INT32_MAX, &fd)) {
		fcntl((int)fd, F_SETFD, FD_CLOEXEC);
		if (keeper.own < 0)
			keeper.own = (int)fd;
		else if (keeper.other_count < OTHERS)
			keeper.others[keeper.other_count++] = (int)fd;
	}
	unsetenv(HANDED);
}
