/*
 * The worker. It inherits the parsed configuration and its listening sockets
 * from the master, opens its services, gives up what rights are left, and turns
 * the loop.
 *
 * A reload is done in place: the file is parsed into a new tree, services are
 * told, the tree is swapped; sessions in a transaction keep the old one. So a
 * reload costs no cache, no warm connection and no session. (A new generation of
 * workers for every reload was rejected: it drops all of that.)
 */
#include "app/worker.h"

#include "check/guard.h"
#include "check/organization.h"
#include "policy/stage_bounce.h"
#include "policy/stage_guard.h"
#include "wire/charset.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIBERS 4096
#define FIBER_STACK (64u * 1024u)
#define TICK NS_PER_SECOND
#define DKIM_KEYS 1024u
#define DRAIN_PATIENCE (3 * NS_PER_SECOND)	/* for a client between two commands of a transaction */
#define LEARN_BUDGET (30 * NS_PER_SECOND)

struct worker worker;

/* One address that this worker accepts on. */
struct door {
	struct acceptor acceptor;
	const struct listener_conf *conf;	/* of the current configuration */
	const char *text;
	int fd;		/* -1: the place is free */
	bool open;
};

static struct door doors[2 * LISTEN_ADDRESSES_MOST];	/* the new ones come before the old ones go */
static size_t door_count;
static struct acceptor control_acceptor;
static struct watch channel_watch;
static struct timer tick_timer;
static nanoseconds drain_began;		/* 0: not draining */
static struct arena arena;		/* of the process */

/* ---- doors ---- */

static void on_accept(struct acceptor *a, int fd, const struct ip *peer, uint16_t port)
{
	struct door *door = a->owner;

	session_start(&worker.edge, door->conf, fd, peer, port);
}

static const struct listener_conf *listener_of(const struct config *c, const char *text)
{
	for (size_t i = 0; i < c->listener_count; i++)
		for (size_t k = 0; k < c->listeners[i].address_count; k++)
			if (strcmp(c->listeners[i].addresses[k].text, text) == 0)
				return &c->listeners[i];
	return NULL;
}

/* A door that a reload has closed gives its place to a new one. */
static struct door *free_door(void)
{
	for (size_t i = 0; i < door_count; i++)
		if (doors[i].fd < 0)
			return &doors[i];
	return door_count < sizeof(doors) / sizeof(doors[0]) ? &doors[door_count++] : NULL;
}

/* fd -1: this process had no descriptor left to receive it in. */
static void add_door(const char *text, int fd)
{
	struct door *door = fd >= 0 ? free_door() : NULL;

	if (!door) {
		log_alert("%s: %s; this worker does not listen there", text,
			fd < 0 ? "no descriptor left for it (see LimitNOFILE)" : "more addresses than a worker can have");
		if (fd >= 0)
			close(fd);
		return;
	}
	*door = (struct door){ .text = arena_copy(&arena, text, strlen(text)), .fd = fd };
}

static void close_door(struct door *door)
{
	if (door->open)
		acceptor_stop(&door->acceptor);
	door->open = false;
	if (door->fd >= 0)
		close(door->fd);
	door->fd = -1;
}

/* Opens the doors that the configuration names. The others are closed for good (the master does the same): a socket
 * that is kept and not accepted from would let clients connect and wait for nothing. */
static void set_doors(const struct config *c)
{
	for (size_t i = 0; i < door_count; i++) {
		struct door *door = &doors[i];

		if (door->fd < 0)
			continue;
		door->conf = listener_of(c, door->text);
		if (!door->conf) {
			close_door(door);
		} else if (!door->open) {
			door->acceptor = (struct acceptor){ .on_accept = on_accept, .owner = door };
			door->open = acceptor_start(&door->acceptor, door->fd);
		}
	}
}

static void close_doors(void)
{
	for (size_t i = 0; i < door_count; i++)
		close_door(&doors[i]);
}

/* ---- certificates ---- */

static struct tls_files {
	struct timespec certificate, key;
} tls_seen[LISTEN_ADDRESSES_MOST];

static struct timespec changed(const char *path)
{
	struct stat st;

	return path && stat(path, &st) == 0 ? st.st_mtim : (struct timespec){ 0 };
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Of the listener of this name in the configuration at hand, with a reference. NULL: none. */
static struct tls_context *tls_in_use(const char *name)
{
	const struct config *c = worker.edge.config;

	for (size_t i = 0; c && i < c->listener_count; i++)
		if (c->listeners[i].tls && strcmp(c->listeners[i].name, name) == 0) {
			tls_context_ref(c->listeners[i].tls);
			return c->listeners[i].tls;
		}
	return NULL;
}

/* A bad new certificate keeps the old one, across a reload, too, and is said aloud. */
static void load_certificate(struct listener_conf *l)
{
	struct arena scratch = ARENA_INIT;
	const char *why = NULL;
	struct tls_context *fresh = tls_server_context(&scratch, l->tls_certificate, l->tls_key, &why);

	if (why)
		log_alert("listener %s: %s", l->name, why);
	if (!fresh && !l->tls)
		fresh = tls_in_use(l->name);
	if (fresh) {
		if (l->tls)
			tls_context_unref(l->tls);
		l->tls = fresh;
	}
	arena_drop(&scratch);
}

static void load_certificates(struct config *c, bool only_changed)
{
	for (size_t i = 0; i < c->listener_count && i < LISTEN_ADDRESSES_MOST; i++) {
		struct listener_conf *l = &c->listeners[i];
		struct tls_files now = { changed(l->tls_certificate), changed(l->tls_key) };

		if (!l->tls_certificate)
			continue;
		if (only_changed && same_time(now.certificate, tls_seen[i].certificate) &&
		    same_time(now.key, tls_seen[i].key))
			continue;
		tls_seen[i] = now;
		if (only_changed)
			log_info("listener %s: certificate files changed", l->name);
		load_certificate(l);
	}
}

/* ---- services ---- */

static ASYNC void learn_backends(void *arg)
{
	struct config *c = arg;

	for (size_t i = 0; i < c->backend_count; i++) {
		struct arena scratch = ARENA_INIT;
		const char *why = NULL;

		if (!pool_learn(worker.edge.services.pool, &scratch, c->backends[i], &why, deadline_in(LEARN_BUDGET)))
			log_warning("backend %s: %s", c->backends[i]->name, why ? why : "no answer");
		arena_drop(&scratch);
	}
	worker.edge.offers_at = 0;
	config_unref(c);
}

static bool open_dns(const struct config *c)
{
	struct arena scratch = ARENA_INIT;
	const char *why = NULL;
	struct dns **dns = &worker.edge.services.dns;
	bool ok = true;

	if (*dns)
		ok = dns_reload(*dns, &scratch, &c->dns, &why);
	else
		ok = (*dns = dns_open(&scratch, &c->dns, &why)) != NULL;
	if (!ok)
		log_alert("resolver: %s", why);
	arena_drop(&scratch);
	return ok;
}

static struct journal_conf journal_conf(const struct config *c)
{
	return (struct journal_conf){ .directory = arena_printf(&arena, "%s/journal", c->state_dir),
		.slot = worker.slot, .segment = c->journal_segment, .keep = c->journal_keep,
		.detail = c->journal_detail };
}

static void open_state(const struct config *c)
{
	struct store_conf store = { .directory = arena_printf(&arena, "%s/store", c->state_dir),
		.slot = worker.slot, .map_size = c->store_map_size };
	struct journal_conf journal = journal_conf(c);
	const char *why = NULL;

	worker.edge.services.store = store_open(&arena, &store, &why);
	if (!worker.edge.services.store)
		log_alert("store: %s; mail flows without ledger", why);
	else if (why)
		log_warning("store: %s", why);
	worker.edge.services.guard = guard_open(&arena, worker.edge.services.store);
	why = NULL;
	worker.edge.journal = journal_open(&arena, &journal, &why);
	if (!worker.edge.journal) {
		log_alert("journal: %s", why);
		_exit(1);
	}
	spool_pool_init(&worker.edge.spool, arena_printf(&arena, "%s/spool", c->state_dir),
		c->spool_memory, c->spool_memory_total);
}

static bool worker_alive(unsigned slot, uint32_t generation)
{
	return slot < RATE_WORKERS && worker.shared->slots[slot].generation == generation;
}

static void apply_config(struct config *c)
{
	struct services *s = &worker.edge.services;

	load_certificates(c, false);
	dnsbl_configure(s->dnsbl, &c->dnsbl, s->dns);
	pool_set_dns(s->pool, s->dns);
	if (s->guard)
		guard_configure(s->guard, stage_guard_wanted(c));
	edge_configure(&worker.edge, c);
	set_doors(c);
	config_ref(c);
	fiber_detach("learn backends", learn_backends, c);
}

static void open_services(struct config *c)
{
	struct edge *e = &worker.edge;

	e->slot = worker.slot;
	e->generation = worker.shared->slots[worker.slot].generation;
	e->worker_alive = worker_alive;
	e->counters = worker.shared->slots[worker.slot].counters;
	e->references = shared_references(c->state_dir, worker.slot);
	e->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ring_init(&e->all);
	open_state(c);
	if (!open_dns(c))
		_exit(1);
	e->services.pool = pool_open(e->services.dns, c->hostname);
	e->services.dnsbl = dnsbl_open();
	e->services.scanners = scanners_open();
	e->services.dkim_keys = dkim_keys_open(DKIM_KEYS);
	organization_prepare();
	e->services.rates = rate_attach(worker.shared->rates, worker.slot);
	e->services.waves = &worker.shared->waves;
	e->services.observe_all = &worker.shared->observe_all;
}

/* ---- orders ---- */

static void say_config(void *arg, const char *message)
{
	(void)arg;
	log_warning("%s", message);
}

static void reload(void)
{
	struct config *c = config_load(worker.edge.config->path, say_config, NULL);
	struct journal_conf journal;

	if (!c)
		return;		/* the master has said so; the old one stays */
	open_dns(c);
	journal = journal_conf(c);
	journal_configure(worker.edge.journal, &journal);
	apply_config(c);
	config_unref(c);
}

static void quiesce(enum worker_state state)
{
	worker.quiesced = true;
	worker.shared->slots[worker.slot].state = (int)state;
	close_doors();
	if (control_acceptor.on_accept) {
		int fd = control_acceptor.watch.fd;

		/* A new master takes the path when nobody listens at it any more. */
		acceptor_stop(&control_acceptor);
		control_acceptor.on_accept = NULL;
		close(fd);
	}
}

static void drain(void)
{
	quiesce(WORKER_DRAINING);
	drain_began = clock_now();
	edge_drain(&worker.edge, false);
	timer_set(&tick_timer, clock_now());	/* without sessions: gone at once */
}

/* A service manager may tell every process of ours. */
static void on_terminate(int signo)
{
	(void)signo;
	if (!drain_began)
		drain();
}

static void obey(const struct order *order, int fd)
{
	switch ((enum worker_order)order->kind) {
	case ORDER_LISTEN:
		add_door(order->text, fd);
		break;
	case ORDER_RELOAD:
		reload();
		break;
	case ORDER_QUIESCE:
		quiesce(WORKER_QUIESCED);
		break;
	case ORDER_DRAIN:
		drain();
		break;
	}
}

/* One message with at most one descriptor. false: nothing more. */
static bool read_order(int channel, struct order *order, int *fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { order, sizeof(*order) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	*fd = -1;
	if (n != (ssize_t)sizeof(*order))
		return false;
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	order->text[sizeof(order->text) - 1] = '\0';
	return true;
}

/* The master is gone: so are we, as soon as the last session is. */
static void on_channel(struct watch *w, unsigned events)
{
	struct order order;
	int fd;

	(void)events;
	while (read_order(w->fd, &order, &fd))
		obey(&order, fd);
	if (recv(w->fd, &order, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
		watch_remove(w);
		drain();
	}
}

/* ---- time ---- */

static void end(void)
{
	store_close(worker.edge.services.store);
	journal_close(worker.edge.journal);
	worker.shared->slots[worker.slot].sessions = 0;
	_exit(0);
}

static void on_tick(struct timer *t)
{
	struct worker_slot *slot = &worker.shared->slots[worker.slot];

	slot->heartbeat = clock_now();
	slot->sessions = worker.edge.sessions;
	list_files_poll();
	load_certificates(worker.edge.config, true);
	journal_tick(worker.edge.journal);
	bounce_stage_tick(&worker.edge.services);
	if (drain_began && clock_now() - drain_began > DRAIN_PATIENCE)
		edge_drain(&worker.edge, true);
	if (worker.quiesced && worker.edge.sessions == 0)
		end();
	timer_set(t, deadline_in(TICK));
}

static void on_control(struct acceptor *a, int fd, const struct ip *peer, uint16_t port)
{
	(void)a;
	(void)peer;
	(void)port;
	control_accept(fd);
}

/* Says what it can, lets the store know, and dies of the same signal. */
static void on_crash(int signo)
{
	static const char text[] = "spurnd: worker crashed\n";

	store_crashed();
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(128 + signo);
	signal(signo, SIG_DFL);
	raise(signo);
}

static void catch_crashes(void)
{
	struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_ONSTACK };
	static char stack[65536];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };

	/* The stack at hand may be the fiber's that ran over. */
	sigaltstack(&alternate, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGABRT, &action, NULL);
}

static void set_signals(void)
{
	sigset_t none;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);	/* a shell's; orders come over the channel */
	signal(SIGINT, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn void worker_run(const struct worker_start *start)
{
	struct worker_slot *slot = &start->shared->slots[start->slot];
	char name[32];
	const char *why = NULL;

	snprintf(name, sizeof(name), "spurnd[%u]", start->slot);
	log_open(name, !start->foreground && start->config->log_syslog, LOG_INFO);
	set_signals();
	catch_crashes();
	worker.shared = start->shared;
	worker.slot = start->slot;
	glitch_counters = start->shared->glitches;
	clock_turn();
	loop_init();
	fiber_init(FIBERS, FIBER_STACK);
	open_services(start->config);
	for (size_t i = 0; i < start->listener_count; i++)
		add_door(start->listeners[i].text, start->listeners[i].fd);
	charset_load();
	if (!sandbox_enter(&why))
		log_warning("no sandbox: %s", why);
	loop_signal(SIGTERM, on_terminate);
	apply_config(start->config);
	if (start->control >= 0) {
		control_acceptor.on_accept = on_control;
		acceptor_start(&control_acceptor, start->control);
	}
	fcntl(start->channel, F_SETFL, O_NONBLOCK);
	watch_add(&channel_watch, start->channel, WATCH_READ | WATCH_LEVEL, on_channel);
	tick_timer.fn = on_tick;
	on_tick(&tick_timer);
	slot->state = WORKER_RUNNING;
	loop_run();
	end();
	_exit(0);
}
