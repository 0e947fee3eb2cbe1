/*
 * `spurn try`: a session through the real policy, without a network client.
 *
 * The session is the daemon's own code: an edge is set up in this process, given
 * one end of a socket pair as if it had been accepted from the address in
 * question, and a client talks at the other end. DNS, DNS lists and the
 * backend's RCPT are asked for real; the message stops at the verdict
 * (edge.rehearsal), the store is opened for reading only, and the journal goes to a
 * directory that is removed.
 *
 * Rejected: a second implementation of the stages for the tool, which would
 * agree with the daemon until the day it matters.
 */
#include "app/tool_try.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RATE_ROOM 64
#define DKIM_KEYS 16
#define CLIENT_PORT 40000
#define LEARN_BUDGET (10 * NS_PER_SECOND)
#define MESSAGE_MAX (256u * 1024u * 1024u)

/* ---- the edge ---- */

static bool nobody_alive(unsigned slot, uint32_t generation)
{
	(void)slot;
	(void)generation;
	return false;
}

static const char *under(struct play *p, const char *name)
{
	const char *path = arena_printf(&p->arena, "%s/%s", p->directory, name);

	mkdir(path, 0700);
	return path;
}

/* Of the daemon, for reading; without one the cache knows nothing. */
static void open_store(struct play *p)
{
	struct store_conf conf = { .directory = arena_printf(&p->arena, "%s/store", p->config->state_dir),
		.slot = STORE_READ_ONLY, .map_size = p->config->store_map_size };
	const char *why = NULL;

	if (access(conf.directory, R_OK | X_OK) == 0)
		p->edge.services.store = store_open(&p->arena, &conf, &why);
}

static bool open_journal(struct play *p)
{
	struct journal_conf conf = { .directory = under(p, "journal"), .segment = UINT64_MAX,
		.keep = INT64_MAX / 2, .detail = INT64_MAX / 2 };
	const char *why = NULL;

	p->edge.journal = journal_open(&p->arena, &conf, &why);
	if (!p->edge.journal)
		tool_fail(EX_CANTCREAT, "%s", why);
	return p->edge.journal != NULL;
}

static bool open_edge(struct play *p)
{
	struct services *s = &p->edge.services;
	const char *why = NULL;
	void *rates = NULL;

	p->edge.rehearsal = true;
	p->edge.generation = 1;
	p->edge.worker_alive = nobody_alive;
	p->edge.counters = p->counters;
	p->edge.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	ring_init(&p->edge.all);
	p->observe = access(arena_printf(&p->arena, "%s/observe", p->config->state_dir), F_OK) == 0;
	s->observe_all = &p->observe;
	s->dkim_keys = dkim_keys_open(DKIM_KEYS);
	if (!open_journal(p))
		return false;
	spool_pool_init(&p->edge.spool, under(p, "spool"), p->config->spool_memory, p->config->spool_memory_total);
	open_store(p);
	s->dns = dns_open(&p->arena, &p->config->dns, &why);
	if (!s->dns) {
		tool_fail(EX_CONFIG, "%s: resolver: %s", p->config->path, why);
		return false;
	}
	s->pool = pool_open(s->dns, p->config->hostname);
	s->dnsbl = dnsbl_open();
	s->scanners = scanners_open();
	if (posix_memalign(&rates, 64, (rate_memory(RATE_ROOM) + 63) / 64 * 64) != 0)
		arena_exhausted(rate_memory(RATE_ROOM));
	memset(rates, 0, rate_memory(RATE_ROOM));
	rate_init(rates, RATE_ROOM);
	s->rates = rate_attach(rates, 0);
	p->rates = rates;
	dnsbl_configure(s->dnsbl, &p->config->dnsbl, s->dns);
	edge_configure(&p->edge, p->config);
	return true;
}

/* The listener as a client meets it that is in no hurry: nothing waits for the sake of waiting, and the address is
 * the one given, not that of a proxy. */
static struct listener_conf *listener_of(struct play *p)
{
	for (size_t i = 0; i < p->config->listener_count; i++) {
		struct listener_conf *l = &p->config->listeners[i];

		if (p->listener ? strcmp(l->name, p->listener) != 0 : l->outbound)
			continue;
		l->greet_wait = 0;
		l->error_delay = l->error_delay_max = 0;
		l->proxy_from = NULL;
		return l;
	}
	return NULL;
}

static bool is_wanted(struct play *p, const struct backend *b)
{
	for (size_t i = 0; i < p->recipient_count; i++) {
		struct slice address = p->recipients[i].address;
		struct slice name = domain_canonical(&p->arena, slice_from(address, (size_t)(slice_rfind(address, '@') + 1)));
		const struct domain_conf *d = name.n ? config_domain(p->config, name) : NULL;

		if (d && d->backend == b)
			return true;
	}
	return false;
}

/* What the backends of these recipients offer decides what EHLO offers. */
static ASYNC void learn_backends(void *arg)
{
	struct play *p = arg;

	for (size_t i = 0; i < p->config->backend_count; i++) {
		const struct backend *b = p->config->backends[i];
		const char *why = NULL;

		if (is_wanted(p, b) && !pool_learn(p->edge.services.pool, &p->arena, b, &why, deadline_in(LEARN_BUDGET)))
			tool_fail(0, "note: backend %s: %s", b->name, why ? why : "no answer");
	}
	p->edge.offers_at = 0;
}

/* ---- the message ---- */

/* Lines end in CRLF on the wire; a file that has none has LF alone, as files do. */
static struct slice message_on_wire(struct arena *a, struct slice file)
{
	struct str out = STR_IN(a);
	bool has_crlf = slice_search(file, SLICE("\r\n")) >= 0;

	if (has_crlf)
		return file;
	str_room(&out, file.n + file.n / 32 + 16);
	while (file.n > 0) {
		ptrdiff_t end = slice_find(file, '\n');

		str_add(&out, end < 0 ? file : slice_head(file, (size_t)end));
		str_puts(&out, "\r\n");
		file = end < 0 ? SLICE_NULL : slice_from(file, (size_t)end + 1);
	}
	return str_slice(&out);
}

static bool read_message(struct play *p, const char *path)
{
	int fd = strcmp(path, "-") == 0 ? 0 : open(path, O_RDONLY | O_CLOEXEC);
	struct str file = STR_IN(&p->arena);
	ssize_t n = -1;

	if (fd >= 0)
		while (file.n < MESSAGE_MAX && (n = read(fd, str_room(&file, 1u << 16), 1u << 16)) > 0)
			file.n += (size_t)n;
	if (n != 0)
		tool_fail(EX_NOINPUT, "%s: %s", path, n < 0 ? strerror(errno) : "too large for a rehearsal");
	if (fd > 0)
		close(fd);
	p->message = message_on_wire(&p->arena, str_slice(&file));
	p->has_message = true;
	return n == 0;
}

/* ---- the outcome ---- */

static const char *word_of(int status)
{
	return status == 0 ? "accepted" : status == 1 ? "rejected" : "deferred";
}

static int status_of(unsigned code)
{
	return code / 100 == 2 ? 0 : code / 100 == 5 ? 1 : 2;
}

/* The worst of the recipients' lots: a rejection that the sender will hear of, else a delay. */
static int outcome_of(const struct play *p)
{
	int outcome = 0;

	for (size_t i = 0; i < p->recipient_count; i++) {
		int status = status_of(p->recipients[i].code);

		if (status == 1)
			return 1;
		outcome = status ? status : outcome;
	}
	return outcome;
}

static bool keep_record(void *arg, struct slice text)
{
	json_t *record = json_loadb(text.p, text.n, JSON_ALLOW_NUL, NULL);

	if (record)
		json_array_append_new(arg, record);
	return true;
}

static void print_outcome(struct play *p, const json_t *records, int status)
{
	struct tool *t = p->tool;
	const json_t *one;
	size_t i;

	json_array_foreach(records, i, one) {
		tool_print(t, "\n");
		tool_show_record(t, one);
	}
	tool_print(t, "\n");
	for (i = 0; i < p->recipient_count; i++)
		tool_print(t, "%s  <%s>  %s\n", word_of(status_of(p->recipients[i].code)),
			tool_safe(t, p->recipients[i].address), tool_safe(t, slice_of(p->recipients[i].reply)));
	tool_print(t, "%s%s\n", word_of(status), p->has_message ? " (a rehearsal: nothing was delivered)" :
		status == 0 ? " up to RCPT (there was no message)" : "");
}

/* Strings that are no UTF-8 become so. */
static json_t *json_of(struct arena *a, struct slice text)
{
	json_t *value = json_stringn(text.p ? text.p : "", text.n);
	struct str safe = STR_IN(a);

	if (value)
		return value;
	str_escaped(&safe, text, text.n);
	return json_stringn(safe.p, safe.n);
}

static void print_json(struct play *p, json_t *records, int status)
{
	const json_t *last = json_array_get(records, json_array_size(records) - 1);
	json_t *list = json_array(), *out = json_object();
	char *text;

	for (size_t i = 0; i < p->recipient_count; i++)
		json_array_append_new(list, json_pack("{s:o,s:i,s:o}",
			"address", json_of(&p->arena, p->recipients[i].address), "code", (int)p->recipients[i].code,
			"reply", json_of(&p->arena, slice_of(p->recipients[i].reply))));
	json_object_set_new(out, "result", json_string(word_of(status)));
	json_object_set_new(out, "recipients", list);
	json_object_set(out, "findings", json_object_get(last, "findings"));
	json_object_set(out, "reply", json_object_get(last, "reply"));
	json_object_set(out, "dialogue", p->dialogue);
	json_object_set(out, "records", records);
	text = json_dumps(out, JSON_COMPACT | JSON_REAL_PRECISION(9));
	tool_print(p->tool, "%s\n", text ? text : "{}");
	free(text);
	json_decref(out);
}

static int tell_outcome(struct play *p)
{
	json_t *records = json_array();
	const char *why = NULL;
	int status = outcome_of(p);

	journal_flush(p->edge.journal);
	if (journal_each(under(p, "journal"), 0, keep_record, records, &why) < 0)
		tool_fail(0, "the record cannot be read: %s", why);
	if (p->json)
		print_json(p, records, status);
	else
		print_outcome(p, records, status);
	json_decref(records);
	return status;
}

/* ---- the whole ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int rehearse(struct play *p, const struct ip *ip)
{
	struct listener_conf *l = listener_of(p);
	int ends[2];

	if (!l)
		return tool_fail(EX_CONFIG, "%s: there is no such listener", p->config->path);
	tool_loop();
	if (!open_edge(p))
		return EX_CONFIG;
	tool_run_fiber("learn", learn_backends, p);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
		return tool_fail(EX_OSERR, "socket pair: %s", strerror(errno));
	p->fd = ends[1];
	session_start(&p->edge, l, ends[0], ip, CLIENT_PORT);
	tool_run_fiber("client", play_client, p);
	return tell_outcome(p);
}

/* As the daemon's user, so that files are seen as the daemon sees them; the message is the caller's. */
static int run_try(struct play *p, const struct ip *ip, const char *message)
{
	const char *temporary = getenv("TMPDIR"), *why = NULL;
	int status;

	if (message && !read_message(p, message))
		return EX_NOINPUT;
	if (!tool_become_user(p->tool, &why))
		return tool_fail(EX_CONFIG, "%s: %s", p->tool->config, why);
	p->config = tool_config(p->tool);
	if (!p->config)
		return EX_CONFIG;
	snprintf(p->directory, sizeof(p->directory), "%s/spurn-try-XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(p->directory))
		return tool_fail(EX_CANTCREAT, "%s: %s", p->directory, strerror(errno));
	p->dialogue = json_array();
	status = rehearse(p, ip);
	nftw(p->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	json_decref(p->dialogue);
	if (p->edge.services.store)
		store_close(p->edge.services.store);
	dkim_keys_close(p->edge.services.dkim_keys);
	free(p->rates);
	return status;
}

/* "<a@b>" and "a@b" are the same; "" and "<>" are the null sender. */
static struct slice plain_address(struct arena *a, const char *text)
{
	struct slice s = slice_of(text);

	if (s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = slice_make(s.p + 1, s.n - 2);
	return slice_copy(a, s);
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

/* "--to A B MESSAGE": words behind it that hold an @ and name no file are recipients, too. */
static int take_recipients(struct tool_words *to, int argc, char **argv)
{
	int taken = 0;

	while (taken < argc && strchr(argv[taken], '@') && access(argv[taken], F_OK) != 0 &&
	       to->count < sizeof(to->word) / sizeof(to->word[0]))
		to->word[to->count++] = argv[taken++];
	return taken;
}

static bool fill(struct play *p, const char *helo, const char *from, const struct tool_words *to)
{
	p->helo = helo;
	p->from = plain_address(&p->arena, from);
	p->recipients = arena_array(&p->arena, struct play_recipient, to->count);
	p->recipient_count = to->count;
	for (size_t i = 0; i < to->count; i++) {
		p->recipients[i].address = plain_address(&p->arena, to->word[i]);
		p->recipients[i].reply = "";
		if (has_control(to->word[i]))
			return false;
	}
	return !has_control(helo) && !has_control(from);
}

int tool_try(struct tool *t, int argc, char **argv)
{
	const char *ip_text = NULL, *helo = NULL, *from = NULL;
	static struct tool_words to;
	static struct play p;
	const struct tool_option wanted[] = { { "ip", &ip_text, NULL, NULL }, { "helo", &helo, NULL, NULL },
		{ "from", &from, NULL, NULL }, { "to", NULL, NULL, &to }, { "listener", &p.listener, NULL, NULL },
		{ "json", NULL, &p.json, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted), taken, status;
	struct ip ip;

	if (words < 0)
		return EX_USAGE;
	taken = to.count > 0 ? take_recipients(&to, words, argv) : 0;
	if (!ip_text || !helo || !from || to.count == 0)
		return tool_misused(t, "%s is missing", !ip_text ? "--ip" : !helo ? "--helo" : !from ? "--from" : "--to");
	if (!ip_parse(&ip, slice_of(ip_text)))
		return tool_misused(t, "--ip %s: not an IP address", tool_safe(t, slice_of(ip_text)));
	if (words - taken > 1)
		return tool_misused(t, "%s: one message at most", tool_safe(t, slice_of(argv[taken + 1])));
	p.tool = t;
	if (!fill(&p, helo, from, &to))
		return tool_misused(t, "control characters do not travel in commands");
	status = run_try(&p, &ip, words > taken ? argv[taken] : NULL);
	arena_drop(&p.arena);
	return status;
}
