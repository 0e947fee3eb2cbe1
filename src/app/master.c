/*
 * Supervision.
 *
 * Listening sockets: for every address one SO_REUSEPORT socket per seat (a seat
 * is a worker's place, 0 to workers-1). The master never closes one that is
 * wanted, so connections that wait in its backlog survive the worker's death, a
 * reload and an upgrade.
 *
 * Upgrade (SIGUSR2): the new binary first checks the configuration, then takes
 * this process over by execve(): the process id, the children and every
 * descriptor stay. What the new image needs to know travels in the environment.
 * It starts workers of its own and lets the old ones serve out their sessions.
 * (A second master beside the old one was rejected: the process id changes, and
 * service managers lose track.)
 */
#include "app/master.h"

#include "app/directory_keeper.h"
#include "app/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define INHERIT "SPURN_INHERIT"
#define STOP_TIME (30 * NS_PER_SECOND)
#define CHECK_TIME (10 * NS_PER_SECOND)	/* of the new binary, for the configuration */
#define CONTROL_TRIES 50
#define CONTROL_PAUSE 100000	/* microseconds */

struct listening {
	char text[128];
	unsigned seat;
	int fd;
};

struct child {
	pid_t pid;		/* 0: none */
	int channel;
	unsigned seat;
	bool leaving;		/* told to go: not replaced */
	nanoseconds started;
};

static struct master {
	const struct master_options *options;
	struct config *config;
	struct shared *shared;
	int shared_fd, control_fd;
	struct listening sockets[2 * LISTEN_SOCKETS_MOST];	/* a reload opens before it closes */
	size_t socket_count;
	struct child children[RATE_WORKERS];	/* by worker slot */
	unsigned seats;
	nanoseconds restart_at[RATE_WORKERS];	/* by seat: when a dead one is replaced; 0: at once */
	unsigned quick_deaths;
	nanoseconds stop_at;			/* 0: not stopping */
} m;

/* ---- listening sockets ---- */

static struct listening *find_socket(const char *text, unsigned seat)
{
	for (size_t i = 0; i < m.socket_count; i++)
		if (m.sockets[i].seat == seat && strcmp(m.sockets[i].text, text) == 0)
			return &m.sockets[i];
	return NULL;
}

static bool remember_socket(const char *text, unsigned seat, int fd)
{
	struct listening *s = &m.sockets[m.socket_count];

	if (m.socket_count == sizeof(m.sockets) / sizeof(m.sockets[0]) || strlen(text) >= sizeof(s->text)) {
		close(fd);
		return false;
	}
	snprintf(s->text, sizeof(s->text), "%s", text);
	s->seat = seat;
	s->fd = fd;
	m.socket_count++;
	return true;
}

static bool open_socket(const struct listen_address *a, unsigned seat, const char **why)
{
	bool local = a->address.ss_family == AF_UNIX;
	int fd;

	/* A Unix socket has one backlog: all seats share it. */
	if (local && seat > 0) {
		struct listening *first = find_socket(a->text, 0);

		fd = first ? dup(first->fd) : -1;
	} else {
		fd = listen_open((const struct sockaddr *)&a->address, a->length, !local, why);
	}
	if (fd < 0)
		return false;
	*why = "too many sockets";
	return remember_socket(a->text, seat, fd);
}

/* Opens what the configuration names and is not open yet. */
static bool open_sockets(const struct config *c)
{
	for (size_t i = 0; i < c->listener_count; i++)
		for (size_t k = 0; k < c->listeners[i].address_count; k++)
			for (unsigned seat = 0; seat < m.seats; seat++) {
				const struct listen_address *a = &c->listeners[i].addresses[k];
				const char *why = NULL;

				if (find_socket(a->text, seat))
					continue;
				if (!open_socket(a, seat, &why)) {
					log_error("listen on %s: %s", a->text, why ? why : strerror(errno));
					return false;
				}
			}
	return true;
}

static bool is_named(const struct config *c, const char *text)
{
	for (size_t i = 0; i < c->listener_count; i++)
		for (size_t k = 0; k < c->listeners[i].address_count; k++)
			if (strcmp(c->listeners[i].addresses[k].text, text) == 0)
				return true;
	return false;
}

/* What the configuration does not name is refused by the kernel from now on, and not left to wait. */
static void close_dropped(const struct config *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < m.socket_count; i++) {
		if (is_named(c, m.sockets[i].text))
			m.sockets[kept++] = m.sockets[i];
		else
			close(m.sockets[i].fd);
	}
	m.socket_count = kept;
}

static bool open_control(const struct config *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *why = NULL;

	if (snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control", c->state_dir) >= (int)sizeof(sun.sun_path)) {
		log_error("state-dir: the path of the control socket is too long");
		return false;
	}
	/* The last workers of a master that was killed give it back when they see that it is gone. */
	for (int tries = 0; tries < CONTROL_TRIES; tries++) {
		if (tries > 0)
			usleep(CONTROL_PAUSE);
		m.control_fd = listen_open((struct sockaddr *)&sun, sizeof(sun), false, &why);
		if (m.control_fd >= 0 || errno != EADDRINUSE)
			break;
	}
	if (m.control_fd < 0) {
		log_error("control socket %s: %s%s", sun.sun_path, why,
			errno == EADDRINUSE ? " (does another spurnd run with this state-dir?)" : "");
		return false;
	}
	chmod(sun.sun_path, 0660);
	return true;
}

static bool make_directories(const struct config *c)
{
	static const char *const names[] = { "", "/store", "/journal", "/spool" };
	char path[512];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", c->state_dir, names[i]);
		if (mkdir(path, 0750) != 0 && errno != EEXIST) {
			log_error("state-dir %s: %s", path, strerror(errno));
			return false;
		}
		if (access(path, W_OK | X_OK) != 0) {
			log_error("state-dir %s: %s (it must belong to the user that Spurn runs as)", path,
				strerror(errno));
			return false;
		}
	}
	return true;
}

/* ---- workers ---- */

static void send_order(const struct child *child, enum worker_order kind, const char *text, int fd)
{
	struct order order = { .kind = (char)kind };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &order, sizeof(order) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	snprintf(order.text, sizeof(order.text), "%s", text ? text : "");
	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (child->pid && sendmsg(child->channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_warning("worker %d does not listen: %s", (int)child->pid, strerror(errno));
}

static void order_all(enum worker_order kind)
{
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid)
			send_order(&m.children[slot], kind, NULL, -1);
}

static void tell_opened(const struct listening *s)
{
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid && !m.children[slot].leaving && m.children[slot].seat == s->seat)
			send_order(&m.children[slot], ORDER_LISTEN, s->text, s->fd);
}

static _Noreturn void become_worker(unsigned slot, unsigned seat, int channel)
{
	struct worker_start start = { .shared = m.shared, .config = m.config, .slot = slot, .channel = channel,
		.control = m.control_fd, .foreground = m.options->foreground };

	for (size_t i = 0; i < m.socket_count; i++) {
		if (m.sockets[i].seat != seat) {
			close(m.sockets[i].fd);
		} else if (start.listener_count < sizeof(start.listeners) / sizeof(start.listeners[0])) {
			start.listeners[start.listener_count].text = m.sockets[i].text;
			start.listeners[start.listener_count++].fd = m.sockets[i].fd;
		}
	}
	for (unsigned other = 0; other < RATE_WORKERS; other++)
		if (m.children[other].pid)
			close(m.children[other].channel);
	directory_forget();
	worker_run(&start);
}

static bool start_worker(unsigned seat)
{
	unsigned slot = 0;
	int pair[2];
	pid_t pid;

	while (slot < RATE_WORKERS && m.children[slot].pid)
		slot++;
	if (slot == RATE_WORKERS || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return false;
	struct worker_slot *shared = &m.shared->slots[slot];

	clock_turn();
	shared->generation = ++m.shared->generations;
	shared->heartbeat = clock_now() + 10 * NS_PER_SECOND;	/* time to start */
	shared->state = WORKER_STARTING;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		become_worker(slot, seat, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		shared->generation = 0;
		log_error("fork: %s", strerror(errno));
		return false;
	}
	shared->pid = pid;
	m.children[slot] = (struct child){ .pid = pid, .channel = pair[0], .seat = seat, .started = clock_now() };
	/* It must survive the execve() of an upgrade. */
	fcntl(pair[0], F_SETFD, 0);
	return true;
}

static bool seat_is_taken(unsigned seat)
{
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid && m.children[slot].seat == seat && !m.children[slot].leaving)
			return true;
	return false;
}

static void fill_seats(void)
{
	for (unsigned seat = 0; seat < m.seats && !m.stop_at; seat++)
		if (!seat_is_taken(seat) && clock_now() >= m.restart_at[seat] && !start_worker(seat))
			m.restart_at[seat] = clock_now() + NS_PER_SECOND;
}

static void describe_death(const struct child *child, int status)
{
	if (WIFSIGNALED(status))
		log_alert("worker %d ended by signal %d (%s); its sessions are lost, their senders try again",
			(int)child->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_alert("worker %d ended with status %d", (int)child->pid, WEXITSTATUS(status));
}

static void bury_child(unsigned slot, int status)
{
	struct child *child = &m.children[slot];
	struct worker_slot *shared = &m.shared->slots[slot];
	bool quick = clock_now() - child->started < 2 * NS_PER_SECOND;

	/* SIGKILL at the end of its time is ours. */
	if (!child->leaving || (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL))
		describe_death(child, status);
	if (!child->leaving) {
		m.shared->crashes++;
		m.quick_deaths = quick ? m.quick_deaths + 1 : 0;
		m.restart_at[child->seat] = m.quick_deaths > 3 ? clock_now() + 2 * NS_PER_SECOND : 0;
	}
	rate_worker_gone(m.shared->rates, slot);
	shared->pid = 0;
	shared->generation = 0;
	shared->sessions = 0;
	shared->state = WORKER_NONE;
	shared->counters[EDGE_SESSIONS_OPEN] = 0;
	close(child->channel);
	*child = (struct child){ 0 };
}

/* The directory process is no worker: what it must not hold open. */
static void before_directory(void)
{
	for (size_t i = 0; i < m.socket_count; i++)
		close(m.sockets[i].fd);
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid)
			close(m.children[slot].channel);
	close(m.control_fd);
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (directory_bury(pid, status))
			continue;
		for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
			if (m.children[slot].pid == pid)
				bury_child(slot, status);
	}
}

/* A loop that has not turned is stuck: its sessions are lost anyway. */
static void watch_over(void)
{
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++) {
		nanoseconds silent = clock_now() - m.shared->slots[slot].heartbeat;

		if (!m.children[slot].pid || silent < m.config->watchdog)
			continue;
		log_alert("worker %d has not turned for %lld s: replaced", (int)m.children[slot].pid,
			(long long)(silent / NS_PER_SECOND));
		kill(m.children[slot].pid, SIGKILL);
	}
}

/* ---- reload ---- */

/* A mistake is shown in three lines, the last of which points into the second: they stay lines. */
static void say_config(void *arg, const char *message)
{
	struct slice rest = slice_of(message);

	(void)arg;
	while (rest.n > 0) {
		struct slice line = slice_split(&rest, '\n');

		log_error("%.*s", SLICE_ARG(line));
	}
}

static void reload(void)
{
	struct config *fresh = config_load(m.options->config_path, say_config, NULL);
	size_t known = m.socket_count;

	m.shared->reload_failed = 1;
	if (!fresh) {
		log_error("reload refused, the old configuration stays");
		return;
	}
	if (strcmp(fresh->state_dir, m.config->state_dir) != 0 || fresh->workers != m.config->workers)
		log_warning("state-dir and workers change at the next start only");
	if (!open_sockets(fresh)) {
		log_error("reload refused, the old configuration stays");
		close_dropped(m.config);
		config_unref(fresh);
		return;
	}
	for (size_t i = known; i < m.socket_count; i++)
		tell_opened(&m.sockets[i]);
	config_unref(m.config);
	m.config = fresh;
	m.shared->reload_failed = 0;
	m.shared->reloaded = clock_wall();
	directory_let_go();
	directory_keep(fresh, m.shared, m.options->foreground, before_directory);
	order_all(ORDER_RELOAD);
	close_dropped(fresh);
	log_info("configuration reloaded");
}

/* ---- upgrade ---- */

/* "shared control seats;slot:pid:channel:seat ...;fd:seat:text ..." */
static char *describe_inheritance(struct arena *a)
{
	struct str out = STR_IN(a);

	str_printf(&out, "%d %d %u;", m.shared_fd, m.control_fd, m.seats);
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid)
			str_printf(&out, "%u:%d:%d:%u ", slot, (int)m.children[slot].pid,
				m.children[slot].channel, m.children[slot].seat);
	str_addc(&out, ';');
	for (size_t i = 0; i < m.socket_count; i++)
		str_printf(&out, "%d:%u:%s ", m.sockets[i].fd, m.sockets[i].seat, m.sockets[i].text);
	return (char *)str_cstr(&out);
}

/* The number up to `end`, or to the end of the text. */
static bool take_number(struct slice *rest, char end, int *out)
{
	uint64_t number;

	if (!slice_number(slice_split(rest, end), INT32_MAX, &number))
		return false;
	*out = (int)number;
	return true;
}

static void inherit_child(struct slice text)
{
	int slot, pid, channel, seat;

	if (!take_number(&text, ':', &slot) || !take_number(&text, ':', &pid) || !take_number(&text, ':', &channel) ||
	    !take_number(&text, ':', &seat) || slot >= RATE_WORKERS)
		return;
	m.children[slot] = (struct child){ .pid = pid, .channel = channel, .seat = (unsigned)seat, .leaving = true,
		.started = clock_now() };
	if (m.shared->slots[slot].pid != pid) {		/* a new shared memory: it must know them, too */
		m.shared->slots[slot].pid = pid;
		m.shared->slots[slot].heartbeat = INT64_MAX / 2;
	}
}

static void inherit_socket(struct slice text)
{
	char address[sizeof(m.sockets[0].text)];
	int fd, seat;

	if (!take_number(&text, ':', &fd) || !take_number(&text, ':', &seat) || text.n >= sizeof(address))
		return;
	snprintf(address, sizeof(address), "%.*s", SLICE_ARG(text));
	remember_socket(address, (unsigned)seat, fd);
}

static void inherit_list(struct slice list, void (*one)(struct slice))
{
	struct slice item;

	while ((item = slice_word(&list)).n > 0)
		one(item);
}

static bool inherit_shared(void)
{
	m.shared = shared_map(m.shared_fd);
	if (m.shared)
		return true;
	log_warning("upgrade: another layout of shared memory, rates begin anew");
	m.shared_fd = shared_create();
	m.shared = m.shared_fd >= 0 ? shared_map(m.shared_fd) : NULL;
	return m.shared != NULL;
}

/* Takes over what the image before us left. false: there is nothing, this is a first start. */
static bool inherit(void)
{
	const char *given = getenv(INHERIT);
	struct arena a = ARENA_INIT;
	struct slice text = given ? slice_copy(&a, slice_of(given)) : SLICE_NULL;
	struct slice numbers = slice_split(&text, ';'), children = slice_split(&text, ';');
	int seats;
	bool ok = take_number(&numbers, ' ', &m.shared_fd) && take_number(&numbers, ' ', &m.control_fd) &&
		take_number(&numbers, ' ', &seats) && inherit_shared();

	unsetenv(INHERIT);
	if (ok) {
		inherit_list(children, inherit_child);
		inherit_list(text, inherit_socket);
	}
	arena_drop(&a);
	return ok;
}

/* The new binary must be able to read the configuration before it gets our place. */
static bool new_binary_agrees(void)
{
	deadline until = clock_precise() + CHECK_TIME;
	pid_t pid = fork(), ended = 0;
	int status = 0;

	if (pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execl(m.options->argv[0], m.options->argv[0], "-T", "-c", m.options->config_path, (char *)NULL);
		_exit(127);
	}
	if (pid < 0)
		return false;
	/* It may hang over a file of the configuration: supervision waits for it, but not for ever. */
	while ((ended = waitpid(pid, &status, WNOHANG)) == 0 && clock_precise() < until)
		usleep(20000);
	if (ended == 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return false;
	}
	return ended == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void upgrade(void)
{
	struct arena a = ARENA_INIT;

	if (!new_binary_agrees()) {
		log_error("upgrade refused: %s cannot be run with this configuration", m.options->argv[0]);
		return;
	}
	for (size_t i = 0; i < m.socket_count; i++)
		fcntl(m.sockets[i].fd, F_SETFD, 0);
	fcntl(m.shared_fd, F_SETFD, 0);
	fcntl(m.control_fd, F_SETFD, 0);
	directory_hand_over();
	setenv(INHERIT, describe_inheritance(&a), 1);
	log_info("upgrade: executing %s", m.options->argv[0]);
	execv(m.options->argv[0], m.options->argv);
	log_error("upgrade failed: %s: %s", m.options->argv[0], strerror(errno));
	unsetenv(INHERIT);
	arena_drop(&a);
}

/* ---- the loop ---- */

static void begin_stop(void)
{
	if (m.stop_at)
		return;
	log_info("stopping");
	service_tell("STOPPING=1");
	m.stop_at = clock_now() + STOP_TIME;
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		m.children[slot].leaving = true;
	order_all(ORDER_DRAIN);
}

static bool any_child(void)
{
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid)
			return true;
	return false;
}

static void kill_all(void)
{
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid)
			kill(m.children[slot].pid, SIGKILL);
}

static void on_signal(int signo)
{
	switch (signo) {
	case SIGHUP:
		reload();
		break;
	case SIGUSR2:
		upgrade();
		break;
	case SIGTERM:
	case SIGINT:
		begin_stop();
		break;
	default:
		break;
	}
}

static int signal_descriptor(void)
{
	static const int signals[] = { SIGHUP, SIGUSR2, SIGTERM, SIGINT, SIGCHLD };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void supervise(int signals)
{
	struct signalfd_siginfo info;

	for (;;) {
		struct pollfd p = { .fd = signals, .events = POLLIN };

		poll(&p, 1, 500);
		clock_turn();
		while (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
			on_signal((int)info.ssi_signo);
		reap();
		watch_over();
		if (m.stop_at && !any_child())
			return;
		if (m.stop_at && clock_now() >= m.stop_at)
			kill_all();
		fill_seats();
		directory_keep(m.config, m.shared, m.options->foreground, before_directory);
	}
}

static bool first_start(void)
{
	m.shared_fd = shared_create();
	m.shared = m.shared_fd >= 0 ? shared_map(m.shared_fd) : NULL;
	if (!m.shared) {
		log_error("shared memory: %s", strerror(errno));
		return false;
	}
	fcntl(m.shared_fd, F_SETFD, FD_CLOEXEC);
	return open_control(m.config);
}

int master_run(const struct master_options *o, struct config *c)
{
	int signals = signal_descriptor();

	clock_turn();
	m.options = o;
	m.config = c;
	m.seats = c->workers;
	m.control_fd = -1;
	if (!make_directories(c))
		return 73;
	if (!inherit() && !first_start())
		return 71;
	directory_inherit();
	m.shared->master_pid = getpid();
	m.shared->started = clock_wall();
	/* `spurn observe on` holds until it is switched off, over restarts, too. */
	m.shared->observe_all = access(arena_printf(&c->arena, "%s/observe", c->state_dir), F_OK) == 0;
	if (!open_sockets(c))
		return 69;
	for (unsigned slot = 0; slot < RATE_WORKERS; slot++)
		if (m.children[slot].pid)
			send_order(&m.children[slot], ORDER_QUIESCE, NULL, -1);
	/* Before the workers: their first question finds its socket. */
	directory_keep(c, m.shared, o->foreground, before_directory);
	fill_seats();
	log_info("started, %u workers", m.seats);
	service_tell("READY=1");
	supervise(signals);
	directory_stop(m.config);
	unlink(arena_printf(&m.config->arena, "%s/control", m.config->state_dir));	/* c may be gone since a reload */
	log_info("stopped");
	return 0;
}
