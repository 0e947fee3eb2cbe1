/*
 * libunbound in our loop: its configuration, its events, its callback.
 *
 * What took reading its source (1.17) to know:
 *
 * - The configuration freezes with the first question, and with ub_ctx_zone_remove() too, which we call at
 *   the end of opening: so a mistake shows there and not at the first mail.
 * - ub_resolve_event() may call back before it returns (answer in the cache, local zone, or failure at once).
 *   rcode is then 0 even for NXDOMAIN, which stands in the packet; an rcode is given only where there is no packet.
 * - A name with a syntax error is refused, but what was allocated for it stays until the context is
 *   closed. So names are checked and escaped here, and nothing a peer sends can be one.
 * - ub_cancel() stops nothing: it forgets the callback, while the question runs to its end. So we
 *   do not use it (dns.c says what happens to a question that nobody waits for any more).
 * - ub_ctx_delete() calls back for what is under way, with SERVFAIL: `closing` keeps that from getting out.
 * - "test", "invalid", "onion", "home.arpa" and the reverse zones of private networks do not exist by default
 *   (RFC 6761, RFC 6303). That is right before the Internet and wrong before a site's own resolver.
 * - 16 UDP and 2 TCP questions at a time is the library's default; more wait in line inside it, the living behind
 *   the dead. A place costs half a KiB, and a descriptor while it is in use.
 * - A server that does not answer is asked again after 0.4, 0.8, 1.5 s and so on up to two minutes, then
 *   left alone for 15 minutes. A forwarder that was restarted must not cost a quarter of an hour of 4xx: with
 *   12 s as the longest wait and infra-keep-probing, one question in 13 s tries it, and it is back as soon as one
 *   succeeds (a short infra-host-ttl does as well, but forgets the good servers too).
 * - It logs to standard error unless told not to; its reasons reach us with the answer.
 *
 * Rejected: c-ares (a stub only: needs a resolver on the machine, no DNSSEC), getdns (unmaintained), systemd-resolved
 * (not everywhere, no useful errors), libunbound with its thread (a pipe, a lock and two switches per question).
 */
#include "net/dns_unbound.h"

#include "base/log.h"
#include "run/loop.h"

#include <unbound-event.h>
#include <unbound.h>

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#define ROOT_KEY_FILE "/usr/share/dns/root.key"	/* of Debian's dns-root-data */
#define CACHE_DEFAULT (32 * 1024 * 1024)
#define UDP_PLACES 2048

struct dns_unbound {
	struct ub_event_base base;	/* first: libunbound hands it back */
	struct ub_ctx *ctx;
	bool closing;
};

/* A question under way in libunbound. */
struct unbound_question {
	struct dns_unbound *unbound;
	unbound_heard *heard;
	void *arg;
};

/* ---- events ---- */

struct unbound_event {
	struct ub_event event;		/* first: libunbound hands it back */
	struct watch watch;
	struct timer timer;
	int fd;
	short bits;
	bool watched;
	nanoseconds span;		/* timeout, 0: none */
	void (*fn)(int fd, short bits, void *arg);
	void *arg;
};

static struct unbound_event *event_of(struct ub_event *e) { return container_of(e, struct unbound_event, event); }

static void event_stop(struct unbound_event *e)
{
	if (e->watched)
		watch_remove(&e->watch);
	e->watched = false;
	timer_clear(&e->timer);
}

/* As libevent has it: an event that does not persist ends when it fires, one that does begins its timeout
 * anew. Nothing may touch e after fn: it may have been freed. */
static void event_fire(struct unbound_event *e, short bits)
{
	if (!(e->bits & UB_EV_PERSIST))
		event_stop(e);
	else if (e->span)
		timer_set(&e->timer, deadline_in(e->span));
	e->fn(e->fd, bits, e->arg);
}

static void event_ready(struct watch *w, unsigned events)
{
	struct unbound_event *e = container_of(w, struct unbound_event, watch);
	short bits = 0;

	if (events & WATCH_READ)
		bits |= UB_EV_READ;
	if (events & WATCH_WRITE)
		bits |= UB_EV_WRITE;
	bits &= e->bits;
	if (bits)
		event_fire(e, bits);
}

static void event_expired(struct timer *t) { event_fire(container_of(t, struct unbound_event, timer), UB_EV_TIMEOUT); }

static struct ub_event_vmt event_functions;

static struct ub_event *event_new(struct ub_event_base *base, int fd, short bits, void (*fn)(int, short, void *),
	void *arg)
{
	struct unbound_event *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->event.magic = UB_EVENT_MAGIC;
	e->event.vmt = &event_functions;
	e->timer.fn = event_expired;
	e->watch.fd = -1;
	e->fd = fd;
	e->bits = bits;
	e->fn = fn;
	e->arg = arg;
	return &e->event;
}

static void event_free(struct ub_event *event)
{
	struct unbound_event *e = event_of(event);

	event_stop(e);
	free(e);
}

static void event_add_bits(struct ub_event *event, short bits) { event_of(event)->bits |= bits; }
static void event_del_bits(struct ub_event *event, short bits) { event_of(event)->bits &= (short)~bits; }
static void event_set_fd(struct ub_event *event, int fd) { event_of(event)->fd = fd; }

static nanoseconds span_of(const struct timeval *tv)
{
	nanoseconds span = tv ? tv->tv_sec * NS_PER_SECOND + tv->tv_usec * NS_PER_US : 0;

	return tv && span == 0 ? 1 : span;	/* at once is not never */
}

static int event_add(struct ub_event *event, struct timeval *tv)
{
	struct unbound_event *e = event_of(event);
	unsigned wants = WATCH_LEVEL;

	event_stop(e);
	if (e->bits & UB_EV_READ)
		wants |= WATCH_READ;
	if (e->bits & UB_EV_WRITE)
		wants |= WATCH_WRITE;
	if (e->fd >= 0 && wants != WATCH_LEVEL) {
		if (!watch_add(&e->watch, e->fd, wants, event_ready))
			return -1;
		e->watched = true;
	}
	e->span = span_of(tv);
	if (e->span)
		timer_set(&e->timer, deadline_in(e->span));
	return 0;
}

static int event_del(struct ub_event *event)
{
	event_stop(event_of(event));
	return 0;
}

static int timer_add(struct ub_event *event, struct ub_event_base *base, void (*fn)(int, short, void *), void *arg,
	struct timeval *tv)
{
	struct unbound_event *e = event_of(event);

	event_stop(e);
	e->fd = -1;
	e->bits = UB_EV_TIMEOUT;
	e->fn = fn;
	e->arg = arg;
	e->span = span_of(tv);
	timer_set(&e->timer, deadline_in(e->span));
	return 0;
}

/* Not called within a library; the table must be full all the same. */
static void base_free(struct ub_event_base *base) { (void)base; }
static int base_dispatch(struct ub_event_base *base) { return -1; }
static int base_loopexit(struct ub_event_base *base, struct timeval *tv) { return 0; }
static struct ub_event *signal_new(struct ub_event_base *base, int signo, void (*fn)(int, short, void *), void *arg)
{
	return NULL;
}
static int signal_add(struct ub_event *event, struct timeval *tv) { return -1; }
static int signal_del(struct ub_event *event) { return -1; }
static struct ub_event *windows_register(struct ub_event_base *base, void *wsaevent, void (*fn)(int, short, void *),
	void *arg)
{
	return NULL;
}
static void windows_unregister(struct ub_event *event) { (void)event; }
static void windows_would_block(struct ub_event *event, int bits) { (void)event; }

static struct ub_event_vmt event_functions = {
	event_add_bits, event_del_bits, event_set_fd, event_free, event_add, event_del, timer_add, event_del,
	signal_add, signal_del, windows_unregister, windows_would_block,
};
static struct ub_event_base_vmt base_functions = {
	base_free, base_dispatch, base_loopexit, event_new, signal_new, windows_register,
};

/* ---- configuration ---- */

static const struct unbound_option { const char *name, *value; } options[] = {
	{ "verbosity:", "0" },
	{ "use-syslog:", "no" },
	{ "so-reuseport:", "no" },
	{ "outgoing-num-tcp:", "64" },
	{ "num-queries-per-thread:", "4096" },
	{ "infra-cache-numhosts:", "20000" },
	{ "infra-cache-max-rtt:", "12000" },
	{ "infra-keep-probing:", "yes" },
	{ "target-fetch-policy:", "0 0 0 0 0" },
	{ "qname-minimisation:", "yes" },
	{ "harden-glue:", "yes" },
	{ "harden-below-nxdomain:", "yes" },
	{ "harden-short-bufsize:", "yes" },
	{ "harden-large-queries:", "yes" },
	{ "aggressive-nsec:", "yes" },
	{ "rrset-roundrobin:", "no" },
	{ "minimal-responses:", "yes" },
	{ "do-not-query-localhost:", "no" },
	{ "trust-anchor-signaling:", "no" },
};

static bool set_option(struct dns_unbound *u, struct arena *a, const char *name, const char *value, const char **why)
{
	int result = ub_ctx_set_option(u->ctx, name, value);

	if (result != 0)
		*why = arena_printf(a, "libunbound takes no %s %s: %s", name, value, ub_strerror(result));
	return result == 0;
}

static bool set_size(struct dns_unbound *u, struct arena *a, const char *name, size_t size, const char **why)
{
	return set_option(u, a, name, arena_printf(a, "%zu", size), why);
}

/* UDP questions at a time: many, but never more than a quarter of the descriptors we may have. */
static size_t udp_places(void)
{
	struct rlimit limit = { .rlim_cur = 1024 };

	getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur / 4 > UDP_PLACES ? UDP_PLACES : limit.rlim_cur / 4 + 1;
}

static bool set_options(struct dns_unbound *u, struct arena *a, const struct dns_conf *conf, const char **why)
{
	size_t cache = conf->cache_size ? conf->cache_size : CACHE_DEFAULT;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (!set_option(u, a, options[i].name, options[i].value, why))
			return false;
	if (!set_size(u, a, "outgoing-range:", udp_places(), why))
		return false;
	/* Records take about twice what messages do (unbound.conf(5)); keys and denials are few. */
	return set_size(u, a, "msg-cache-size:", cache / 16 * 5, why) &&
		set_size(u, a, "rrset-cache-size:", cache / 16 * 9, why) &&
		set_size(u, a, "key-cache-size:", cache / 16, why) &&
		set_size(u, a, "neg-cache-size:", cache / 16, why);
}

/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT" or "ADDRESS@PORT" to the last. port: if text names none. */
static const char *server_text(struct arena *a, const char *text, unsigned port, const char **why)
{
	struct slice address = slice_of(text), digits = SLICE_NULL;
	ptrdiff_t at = slice_rfind(address, '@');
	char shown[IP_TEXT];
	uint64_t number = port ? port : 53;
	struct ip ip;

	if (at < 0 && slice_rfind(address, ':') == slice_find(address, ':'))
		at = slice_find(address, ':');		/* one colon: no IPv6 address */
	else if (at < 0 && slice_search(address, SLICE("]:")) > 0)
		at = slice_rfind(address, ':');
	if (at >= 0) {
		digits = slice_from(address, (size_t)at + 1);
		address = slice_head(address, (size_t)at);
	}
	if (address.n > 2 && address.p[0] == '[' && address.p[address.n - 1] == ']')
		address = slice_make(address.p + 1, address.n - 2);
	if (!ip_parse(&ip, address) || (at >= 0 && !slice_number(digits, 65535, &number)) || number == 0) {
		*why = arena_printf(a, "resolver: no address: %s", text);
		return NULL;
	}
	return arena_printf(a, "%s@%u", ip_text(&ip, shown), (unsigned)number);
}

/* A site's own resolver knows zones that the Internet must not be asked about. */
static bool unblock_local(struct dns_unbound *u, struct arena *a, const char **why)
{
	return set_option(u, a, "unblock-lan-zones:", "yes", why) &&
		set_option(u, a, "insecure-lan-zones:", "yes", why);
}

static bool set_forwards(struct dns_unbound *u, struct arena *a, const struct dns_conf *conf, const char **why)
{
	for (size_t i = 0; i < conf->forward_count; i++) {
		const char *server = server_text(a, conf->forward[i], 0, why);
		int result = server ? ub_ctx_set_fwd(u->ctx, server) : 0;

		if (!server)
			return false;
		if (result != 0) {
			*why = arena_printf(a, "resolver: forward %s: %s", server, ub_strerror(result));
			return false;
		}
	}
	/* Many forwarders drop signatures. Then the root is taken for unsigned, not all of DNS for forged. */
	return set_option(u, a, "harden-dnssec-stripped:", conf->forward_count ? "no" : "yes", why);
}

static bool set_stubs(struct dns_unbound *u, struct arena *a, const struct dns_conf *conf, const char **why)
{
	for (size_t i = 0; i < conf->stub_count; i++) {
		const struct dns_stub *stub = &conf->stubs[i];
		const char *server = server_text(a, stub->address, stub->port, why);
		struct dns_name name;
		int result;

		if (!server)
			return false;
		if (!dns_name_parse(&name, slice_of(stub->zone))) {
			*why = arena_printf(a, "resolver: stub %s: not a name", stub->zone);
			return false;
		}
		result = ub_ctx_set_stub(u->ctx, stub->zone, server, 0);
		if (result != 0) {
			*why = arena_printf(a, "resolver: stub %s %s: %s", stub->zone, server, ub_strerror(result));
			return false;
		}
		/* Nothing in the public tree vouches for a zone of the site's own. */
		if (!set_option(u, a, "domain-insecure:", stub->zone, why))
			return false;
	}
	return true;
}

/* KSK-2017 and KSK-2024 of the root, https://data.iana.org/root-anchors/root-anchors.xml */
static const char *const root_anchors[] = {
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

static bool set_anchor(struct dns_unbound *u, struct arena *a, const struct dns_conf *conf, const char **why)
{
	const char *file = conf->trust_anchor_file;
	int result = 0;

	if (file && !*file)
		return true;
	if (!file && access(ROOT_KEY_FILE, R_OK) == 0)
		file = ROOT_KEY_FILE;
	if (file && access(file, R_OK) != 0) {
		*why = arena_printf(a, "%s: %s", file, strerror(errno));
		return false;
	}
	if (file)
		result = ub_ctx_add_ta_file(u->ctx, file);
	else
		for (size_t i = 0; i < sizeof(root_anchors) / sizeof(*root_anchors) && result == 0; i++)
			result = ub_ctx_add_ta(u->ctx, root_anchors[i]);
	if (result != 0)
		*why = arena_printf(a, "trust anchor: %s", ub_strerror(result));
	return result == 0;
}

/* Freezes the configuration: what libunbound cannot use shows now. */
static bool finish(struct dns_unbound *u, struct arena *a, const struct dns_conf *conf, const char **why)
{
	static const char *const special[] = { "test.", "invalid.", "home.arpa." };
	bool site = conf->forward_count > 0 || conf->stub_count > 0;
	int result = ub_ctx_zone_remove(u->ctx, "nothing.invalid.");

	for (size_t i = 0; site && result == 0 && i < sizeof(special) / sizeof(*special); i++)
		result = ub_ctx_zone_remove(u->ctx, special[i]);
	if (result != 0)
		*why = arena_printf(a, "libunbound: %s%s", ub_strerror(result),
			conf->trust_anchor_file && *conf->trust_anchor_file ? " (is the trust anchor file one?)" : "");
	return result == 0;
}

struct dns_unbound *dns_unbound_open(struct arena *a, const struct dns_conf *conf, const char **why)
{
	struct dns_unbound *u = calloc(1, sizeof(*u));

	*why = "out of memory";
	if (!u)
		return NULL;
	u->base.magic = UB_EVENT_MAGIC;
	u->base.vmt = &base_functions;
	u->ctx = ub_ctx_create_ub_event(&u->base);
	if (!u->ctx) {
		free(u);
		return NULL;
	}
	ub_ctx_debugout(u->ctx, NULL);
	if (set_options(u, a, conf, why) && set_forwards(u, a, conf, why) && set_stubs(u, a, conf, why) &&
	    set_anchor(u, a, conf, why) &&
	    (conf->forward_count + conf->stub_count == 0 || unblock_local(u, a, why)) && finish(u, a, conf, why))
		return u;
	dns_unbound_close(u);
	return NULL;
}

void dns_unbound_close(struct dns_unbound *u)
{
	if (!u)
		return;
	u->closing = true;
	ub_ctx_delete(u->ctx);
	free(u);
}

/* ---- questions ---- */

/* NOLINTNEXTLINE(readability-non-const-parameter): the signature is libunbound's */
static void unbound_answered(void *arg, int rcode, void *packet, int n, int security, char *bogus, int limited)
{
	struct unbound_question *q = arg;
	struct unbound_reply reply = { .rcode = rcode, .secure = security == 2 };

	if (rcode == 0 && packet && n > 0)
		reply.packet = slice_make(packet, (size_t)n);
	if (security == 1)
		reply.bogus = bogus ? bogus : "not validated";
	if (!q->unbound->closing)
		q->heard(q->arg, &reply);
	free(q);
}

bool dns_unbound_ask(struct dns_unbound *u, const struct dns_name *name, enum dns_type type,
	unbound_heard *heard, void *arg)
{
	struct unbound_question *q = malloc(sizeof(*q));
	char text[DNS_TEXT_MAX + 1];
	size_t n = dns_name_text(name, text);

	if (!q)
		return false;
	text[n] = '.';
	text[n + 1] = '\0';
	*q = (struct unbound_question){ u, heard, arg };
	if (ub_resolve_event(u->ctx, text, (int)type, 1, q, unbound_answered, NULL) == 0)
		return true;
	/* UB_SYNTAX cannot be, UB_INITFAIL and UB_NOMEM never call back. */
	free(q);
	return false;
}
