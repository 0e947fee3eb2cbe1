/*
 * The edge as a worker sets it up (src/app/worker.c), without processes,
 * sockets of the network and real time.
 */
#include "talk.h"

#include "base/log.h"
#include "check/guard.h"
#include "policy/stage_guard.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define START INT64_C(1000) * NS_PER_SECOND
#define START_WALL INT64_C(1795392000) * NS_PER_SECOND	/* Monday, 23 November 2026 */

struct site site;

static struct dns_row {
	struct dns_row *next;
	struct slice name;
	enum dns_type type;
	enum dns_status status;
	bool timeout;
	struct dns_record record;
} *dns_rows;

/* ---- DNS ---- */

static bool type_of(struct slice word, enum dns_type *out)
{
	static const struct { const char *name; enum dns_type type; } types[] = {
		{ "A", DNS_A }, { "AAAA", DNS_AAAA }, { "MX", DNS_MX }, { "TXT", DNS_TXT }, { "PTR", DNS_PTR },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (slice_eq(word, slice_of(types[i].name))) {
			*out = types[i].type;
			return true;
		}
	return false;
}

static bool record_of(struct dns_row *row, struct slice value)
{
	uint64_t preference;

	switch (row->type) {
	case DNS_A:
	case DNS_AAAA:
		return ip_parse(&row->record.ip, value);
	case DNS_MX:
		if (!slice_number(slice_word(&value), 65535, &preference))
			return false;
		row->record.preference = (uint16_t)preference;
		row->record.text = slice_trim(value);
		if (slice_eq(row->record.text, SLICE(".")))
			row->record.text.n = 0;
		return true;
	default:
		row->record.text = value;
		return true;
	}
}

bool site_dns(struct slice name, struct slice type, struct slice value, struct arena *a)
{
	struct dns_row *row = arena_new(a, struct dns_row);
	struct dns_row **last = &dns_rows;

	if (!type_of(type, &row->type))
		return false;
	row->name = slice_lower(a, name);
	row->status = DNS_FOUND;
	if (slice_eq(value, SLICE("NXDOMAIN")))
		row->status = DNS_NXDOMAIN;
	else if (slice_eq(value, SLICE("NODATA")))
		row->status = DNS_NODATA;
	else if (slice_eq(value, SLICE("SERVFAIL")))
		row->status = DNS_TROUBLE;
	else if (slice_eq(value, SLICE("TIMEOUT")))
		row->timeout = true;
	else if (!record_of(row, value))
		return false;
	while (*last)
		last = &(*last)->next;
	*last = row;
	return true;
}

void site_dns_forget(struct slice name)
{
	struct dns_row **at = &dns_rows;

	while (*at) {
		if (slice_eq_nocase((*at)->name, name))
			*at = (*at)->next;
		else
			at = &(*at)->next;
	}
}

/* A name with a row of another type has no data; one without any does not exist. */
static bool answer_question(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	bool known = false;

	(void)arg;
	*out = (struct dns_answer){ .status = DNS_NXDOMAIN, .ttl = 300 };
	*delay = 0;
	out->records = arena_array(a, struct dns_record, 32);
	for (struct dns_row *row = dns_rows; row; row = row->next) {
		if (!slice_eq_nocase(row->name, name))
			continue;
		known = true;
		if (row->type != type)
			continue;
		out->status = row->status;
		if (row->status == DNS_TROUBLE)
			out->why = "SERVFAIL";
		if (row->timeout)
			*delay = 3600 * NS_PER_SECOND;
		if (row->status == DNS_FOUND && !row->timeout && out->count < 32)
			out->records[out->count++] = row->record;
	}
	if (known && out->status == DNS_NXDOMAIN && out->count == 0)
		for (struct dns_row *row = dns_rows; row; row = row->next)
			if (slice_eq_nocase(row->name, name) && row->status == DNS_FOUND)
				out->status = DNS_NODATA;
	return true;
}

/* ---- opening ---- */

static void say(void *arg, const char *message)
{
	(void)arg;
	/* A script may want what an administrator should not. */
	if (strstr(message, ": warning: ") && !getenv("TALK_LOG"))
		return;
	fprintf(stderr, "%s\n", message);
}

static struct config *parse(struct slice text)
{
	struct config *c = config_parse("talk", text, say, NULL);

	if (!c)
		exit(2);
	return c;
}

static const char *under(const char *name)
{
	const char *path = arena_printf(&site.arena, "%s/%s", site.directory, name);

	mkdir(path, 0700);
	return path;
}

static bool is_alive(unsigned slot, uint32_t generation)
{
	return slot == 0 && generation == site.edge.generation;
}

void site_worker_dies(void)
{
	site.edge.generation++;
}

/* What a worker does each second (src/app/worker.c). */
static void on_tick(struct timer *t)
{
	list_files_poll();
	timer_set(t, deadline_in(NS_PER_SECOND));
}

static struct timer tick = { .fn = on_tick };

static ASYNC void learn_backends(void *arg)
{
	struct config *c = arg;

	for (size_t i = 0; i < c->backend_count; i++) {
		const char *why = NULL;

		pool_learn(site.edge.services.pool, &site.arena, c->backends[i], &why,
			deadline_in(30 * NS_PER_SECOND));
	}
	site.edge.offers_at = 0;
	config_unref(c);
}

void site_learn(void)
{
	config_ref(site.config);
	fiber_detach("learn backends", learn_backends, site.config);
	site_settle();
}

static void load_certificates(struct config *c)
{
	const char *why = NULL;

	for (size_t i = 0; i < c->listener_count; i++) {
		struct listener_conf *l = &c->listeners[i];

		if (!l->tls_certificate)
			continue;
		l->tls = tls_server_context(&site.arena, l->tls_certificate, l->tls_key, &why);
		if (!l->tls) {
			fprintf(stderr, "talk: certificate: %s\n", why);
			exit(2);
		}
	}
}

static void open_store(void)
{
	struct store_conf conf = { .directory = under("store"), .slot = 0, .map_size = 16u << 20, .synchronous = true };
	const char *why = NULL;

	site.edge.services.store = store_open(&site.arena, &conf, &why);
	if (!site.edge.services.store) {
		fprintf(stderr, "talk: store: %s\n", why);
		exit(2);
	}
	site.store = site.edge.services.store;
	site.edge.services.guard = guard_open(&site.arena, site.store);
}

void site_store(bool there)
{
	site.edge.services.store = there ? site.store : NULL;
	site.edge.services.guard = guard_open(&site.arena, site.edge.services.store);
	guard_configure(site.edge.services.guard, stage_guard_wanted(site.config));
}

static void open_journal(void)
{
	struct journal_conf conf = { .directory = under("journal"), .segment = 1u << 30,
		.keep = INT64_MAX / 2, .detail = INT64_MAX / 2 };
	const char *why = NULL;

	site.edge.journal = journal_open(&site.arena, &conf, &why);
	if (!site.edge.journal) {
		fprintf(stderr, "talk: journal: %s\n", why);
		exit(2);
	}
}

static void open_dns(void)
{
	const char *why = NULL;

	site.edge.services.dns = dns_open(&site.arena, &site.config->dns, &why);
	if (!site.edge.services.dns) {
		fprintf(stderr, "talk: resolver: %s\n", why);
		exit(2);
	}
	dns_set_source(site.edge.services.dns, answer_question, NULL);
}

static void configure(struct config *c)
{
	load_certificates(c);
	dnsbl_configure(site.edge.services.dnsbl, &c->dnsbl, site.edge.services.dns);
	guard_configure(site.edge.services.guard, stage_guard_wanted(c));
	edge_configure(&site.edge, c);
}

void site_open(struct slice config_text)
{
	struct services *s = &site.edge.services;

	snprintf(site.directory, sizeof(site.directory), "/tmp/spurn-talk-XXXXXX");
	if (!mkdtemp(site.directory))
		exit(2);
	log_open("talk", false, getenv("TALK_LOG") ? LOG_DEBUG : LOG_ALERT + 1);
	clock_fake(START, START_WALL);
	loop_init();
	fiber_init(256, 64u * 1024u);
	site.config = parse(config_text);
	site.edge.generation = 1;
	site.edge.worker_alive = is_alive;
	site.edge.counters = site.counters;
	site.edge.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ring_init(&site.edge.all);
	open_store();
	open_journal();
	spool_pool_init(&site.edge.spool, under("spool"), site.config->spool_memory, site.config->spool_memory_total);
	open_dns();
	s->pool = pool_open(s->dns, site.config->hostname);
	s->dnsbl = dnsbl_open();
	s->scanners = scanners_open();
	s->dkim_keys = dkim_keys_open(16);
	site.rate_memory = aligned_alloc(64, (rate_memory(256) + 63) / 64 * 64);
	memset(site.rate_memory, 0, rate_memory(256));
	rate_init(site.rate_memory, 256);
	s->rates = rate_attach(site.rate_memory, 0);
	s->observe_all = &site.observe_all;
	configure(site.config);
	on_tick(&tick);
}

void site_reload(struct slice config_text)
{
	struct config *fresh = parse(config_text);

	config_unref(site.config);
	site.config = fresh;
	configure(fresh);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void site_close(void)
{
	edge_drain(&site.edge, true);
	site_settle();
	store_close(site.store);
	scanners_close(site.edge.services.scanners);
	dkim_keys_close(site.edge.services.dkim_keys);
	journal_close(site.edge.journal);
	nftw(site.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- time ---- */

void site_settle(void)
{
	bool busy = true;

	for (int quiet = 0; quiet < 3; quiet = busy ? 0 : quiet + 1) {
		const struct loop_stats *stats = loop_stats();
		uint64_t events = stats->events;

		loop_turn(clock_now());
		busy = backend_poll();
		busy = directory_poll() || busy;
		busy = scanner_poll() || busy || fiber_pending() || loop_stats()->events != events;
	}
}

void site_wait(nanoseconds span)
{
	deadline until = deadline_in(span);

	site_settle();
	while (clock_now() < until) {
		loop_turn(until);
		site_settle();
	}
	site_settle();
}

/* ---- the journal ---- */

static void add_file(struct str *out, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, str_room(out, 65536), 65536)) > 0)
		out->n += (size_t)n;
	close(fd);
}

struct slice site_journal(struct arena *a)
{
	struct str out = STR_IN(a);
	const char *path = under("journal");
	DIR *dir = opendir(path);
	struct dirent *entry;

	journal_flush(site.edge.journal);
	while (dir && (entry = readdir(dir)))
		if (slice_ends_nocase(slice_of(entry->d_name), SLICE(".jsonl")))
			add_file(&out, arena_printf(a, "%s/%s", path, entry->d_name));
	if (dir)
		closedir(dir);
	return str_slice(&out);
}
