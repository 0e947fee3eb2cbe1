/*
 * `spurn check`: everything that is wrong with a configuration, and what is
 * right by the letter and wrong in practice.
 *
 * The parser reports what it knows; here follow the files and rights that the
 * daemon will need, seen as its user, and warnings of those mistakes that postmasters
 * make most: asking DNS lists through a public resolver, trusting the address of
 * a container network's gateway, an outbound listener open to everybody.
 * Warnings do not change the exit status, for a configuration may have its reasons.
 */
#include "app/tool_check.h"

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const struct examination *x, const char *kind, const char *format, va_list args)
{
	struct arena scratch = ARENA_INIT;
	struct str text = STR_IN(&scratch);

	str_vprintf(&text, format, args);
	tool_fail(0, "%s: %s%s", x->t->config, kind, str_cstr(&text));
	arena_drop(&scratch);
}

void exam_error(struct examination *x, const char *format, ...)
{
	va_list args;

	x->errors++;
	va_start(args, format);
	say(x, "", format, args);
	va_end(args);
}

void exam_warning(struct examination *x, const char *format, ...)
{
	va_list args;

	x->warnings++;
	va_start(args, format);
	say(x, "warning: ", format, args);
	va_end(args);
}

void exam_fine(struct examination *x, const char *format, ...)
{
	va_list args;

	if (x->quiet)
		return;
	va_start(args, format);
	str_vprintf(&x->t->out, format, args);
	va_end(args);
	str_addc(&x->t->out, '\n');
}

/* ---- files ---- */

static bool is_daemon_user(const struct examination *x)
{
	const struct passwd *user = getpwnam(x->config->user);

	return user && user->pw_uid == geteuid();
}

/* That it is there the loader has seen. */
static void examine_state_directory(struct examination *x)
{
	const char *path = x->config->state_dir;
	struct stat st;

	if (access(path, R_OK | W_OK | X_OK) != 0 && is_daemon_user(x))
		exam_error(x, "state-dir %s: %s (it must belong to user %s)", path, strerror(errno), x->config->user);
	else if (!is_daemon_user(x))
		exam_warning(x, "files are seen as you see them: whether user %s may read them, only root can tell",
			x->config->user);
	else if (stat(path, &st) == 0 && (st.st_mode & 0007))
		exam_warning(x, "state-dir %s: others may enter it; addresses and keys are kept there", path);
}

static void warn_of_certificates(struct examination *x)
{
	for (size_t i = 0; i < x->config->listener_count; i++)
		if (!x->config->listeners[i].tls_certificate && !x->config->listeners[i].outbound)
			exam_warning(x, "listener %s: no tls-certificate: STARTTLS is not offered", x->config->listeners[i].name);
}

static void examine_list(const struct list_file *f, void *arg)
{
	struct examination *x = arg;

	if (list_file_trouble(f))
		exam_error(x, "%s", list_file_trouble(f));
	else if (list_file_count(f) == 0)
		exam_warning(x, "%s: the list is empty", list_file_path(f));
}

/* Opens it once for what only libunbound sees. */
static void examine_resolver(struct examination *x)
{
	const char *why = NULL;
	struct dns *dns;

	tool_loop();
	dns = dns_open(&x->t->arena, &x->config->dns, &why);
	if (!dns)
		exam_error(x, "resolver: %s", why);
	else
		dns_close(dns);
}

/* ---- what users get wrong ---- */

static const char *const public_resolvers[] = {
	"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112", "208.67.222.222", "208.67.220.220",
	"2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111", "2606:4700:4700::1001", "2620:fe::fe",
	"2620:fe::9",
};

/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT" or "ADDRESS@PORT". */
static bool forwards_to(const char *forward, const char *resolver)
{
	size_t n = strlen(resolver);

	if (forward[0] == '[')
		forward++;
	return strncmp(forward, resolver, n) == 0 && (forward[n] == '\0' || strchr("]@", forward[n]) ||
		(forward[n] == ':' && !strchr(resolver, ':')));
}

static void warn_of_resolver(struct examination *x)
{
	const struct dns_conf *dns = &x->config->dns;

	for (size_t i = 0; i < dns->forward_count && x->config->dnsbl.zone_count > 0; i++)
		for (size_t k = 0; k < sizeof(public_resolvers) / sizeof(public_resolvers[0]); k++)
			if (forwards_to(dns->forward[i], public_resolvers[k]))
				exam_warning(x, "resolver: forward %s is a public resolver: DNS lists refuse its questions; "
					"say recurse, or forward to a resolver of your own that recurses itself",
					dns->forward[i]);
}

static void warn_of_lists(struct examination *x)
{
	const struct dnsbl_conf *d = &x->config->dnsbl;
	int most = 0;

	for (size_t i = 0; i < d->zone_count; i++)
		most += d->zones[i].weight > 0 ? d->zones[i].weight : 0;
	if (d->zone_count > 0 && most < d->threshold)
		exam_warning(x, "dnsbl-threshold %d: all lists together weigh %d, so none can refuse", d->threshold, most);
}

static bool covers_internet(const struct ip_set *set)
{
	struct ip a, b;

	return set && ip_parse(&a, SLICE("8.8.8.8")) && ip_parse(&b, SLICE("193.0.6.139")) &&
		ip_set_contains(set, &a) && ip_set_contains(set, &b);
}

static bool is_wide_open(const struct listen_address *a)
{
	struct ip ip;

	return ip_from_sockaddr(&ip, NULL, (const struct sockaddr *)&a->address) && !ip_is_loopback(&ip);
}

static void warn_of_listener(struct examination *x, const struct listener_conf *l)
{
	if (covers_internet(l->proxy_from))
		exam_error(x, "listener %s: proxy-from names the whole Internet: everybody may claim any address", l->name);
	if (!l->outbound)
		return;
	if (covers_internet(l->allow))
		exam_error(x, "listener %s: allow names the whole Internet: an open relay", l->name);
	for (size_t i = 0; i < l->address_count && !l->allow; i++)
		if (is_wide_open(&l->addresses[i]))
			exam_error(x, "listener %s: %s without allow: everybody who reaches it may relay", l->name,
				l->addresses[i].text);
}

/* Behind the gateway of a container network every client has the gateway's address. */
static void warn_of_clients(struct examination *x)
{
	static const char *const gateways[] = { "172.17.0.1", "172.18.0.1", "10.88.0.1", "10.42.0.1", "10.244.0.1" };
	const struct client_conf *c = &x->config->clients;
	const char *where = NULL;
	struct ip ip;

	for (size_t i = 0; i < sizeof(gateways) / sizeof(gateways[0]); i++)
		if (ip_parse(&ip, slice_of(gateways[i])) && (client_list_contains(&c->allow, &ip, &where) ||
				client_list_contains(&c->trust, &ip, &where))) {
			exam_warning(x, "clients: %s is allowed or trusted: behind the gateway of a container network "
				"every client looks like that; use proxy-from or the host's network", gateways[i]);
			return;
		}
}

/* A backend that is one of our own listeners: a loop that ends at the hop count. */
static void warn_of_loops(struct examination *x)
{
	const struct config *c = x->config;

	for (size_t i = 0; i < c->backend_count; i++)
		for (size_t h = 0; h < c->backends[i]->host_count; h++)
			for (size_t l = 0; l < c->listener_count; l++)
				for (size_t k = 0; k < c->listeners[l].address_count; k++) {
					const struct backend_host *host = &c->backends[i]->hosts[h];
					struct ip ours, theirs;
					uint16_t port;

					if (host->name && ip_parse(&theirs, slice_of(host->name)) &&
					    ip_from_sockaddr(&ours, &port, (const struct sockaddr *)
						&c->listeners[l].addresses[k].address) &&
					    port == host->port && (ip_eq(&ours, &theirs) ||
						(ip_is_loopback(&theirs) && !ip_is_loopback(&ours) && ip_is_special(&ours))))
						exam_error(x, "backend %s is listener %s itself: mail would go in circles",
							host->url, c->listeners[l].name);
				}
}

/* "@domain" lets every local part in: then only the backend knows, as without a file. */
static void warn_of_wildcards(struct examination *x, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[1024];

	for (unsigned n = 1; f && fgets(line, sizeof(line), f); n++) {
		struct slice entry = slice_trim(slice_of(line));

		if (entry.n == 0 || entry.p[0] != '@')
			continue;
		exam_warning(x, "%s:%u: %s takes every recipient of the domain: unknown ones are refused by the "
			"backend only, if at all", path, n, tool_safe(x->t, entry));
		break;
	}
	if (f)
		fclose(f);
}

static void warn_of_recipients(struct examination *x)
{
	const struct config *c = x->config;

	for (size_t i = 0; i < c->domain_count; i++)
		for (size_t k = 0; k < c->domains[i].recipients.source_count; k++)
			if (c->domains[i].recipients.sources[k].file)
				warn_of_wildcards(x, list_file_path(c->domains[i].recipients.sources[k].file));
}

/* A key that others can read is theirs, too. */
static void warn_of_key(struct examination *x, const char *path)
{
	struct stat st;

	if (path && stat(path, &st) == 0 && (st.st_mode & 0004))
		exam_warning(x, "%s: everybody on this machine can read the key", path);
}

static void warn_of_site(struct examination *x)
{
	const struct config *c = x->config;

	if (c->mode == MODE_OBSERVE)
		exam_warning(x, "mode observe: no check refuses anything");
	else if (access(arena_printf(&x->t->arena, "%s/observe", c->state_dir), F_OK) == 0)
		exam_warning(x, "spurn observe is on: no check refuses anything");
	warn_of_resolver(x);
	warn_of_lists(x);
	warn_of_clients(x);
	warn_of_loops(x);
	warn_of_recipients(x);
	for (size_t i = 0; i < c->listener_count; i++) {
		warn_of_listener(x, &c->listeners[i]);
		warn_of_key(x, c->listeners[i].tls_key);
	}
}

/* ---- the commands ---- */

static void say_mistake(void *arg, const char *message)
{
	(void)arg;
	fprintf(stderr, "%s\n", message);
}

/* false: there is nothing to examine further. */
static bool load(struct examination *x)
{
	const char *why = NULL;

	if (!tool_reads_config(x->t)) {
		tool_fail(0, "%s: %s", x->t->config, strerror(errno));
		return false;
	}
	if (!tool_become_user(x->t, &why))
		exam_error(x, "%s", why);
	x->config = config_check(x->t->config, say_mistake, NULL);
	return x->config != NULL;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void tell_sum(struct examination *x)
{
	const struct config *c = x->config;
	struct arena *a = &x->t->arena;
	const char *warnings = x->warnings ? arena_printf(a, ", %u warning%s", x->warnings, plural(x->warnings)) : "";

	if (x->errors)
		exam_fine(x, "%s: %u mistake%s%s", x->t->config, x->errors, plural(x->errors), warnings);
	else
		exam_fine(x, "%s: ok, %zu listener%s, %zu domain%s, %zu backend%s, %zu DNS list%s%s", x->t->config,
			c->listener_count, plural(c->listener_count), c->domain_count, plural(c->domain_count),
			c->backend_count, plural(c->backend_count), c->dnsbl.zone_count, plural(c->dnsbl.zone_count), warnings);
}

static int examine(struct examination *x, bool live)
{
	if (!load(x))
		return 1;
	examine_state_directory(x);
	warn_of_certificates(x);
	list_files_each(examine_list, x);
	examine_resolver(x);
	warn_of_site(x);
	if (live)
		tool_run_fiber("check", examine_live, x);
	tell_sum(x);
	return x->errors > 0;
}

int tool_check(struct tool *t, int argc, char **argv)
{
	bool live = false;
	const struct tool_option wanted[] = { { "live", NULL, &live, NULL }, { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted), status;
	struct examination x = { .t = t };

	if (words < 0)
		return EX_USAGE;
	if (words == 1 && strcmp(t->config, TOOL_CONFIG) == 0)
		t->config = argv[0];
	else if (words > 0)
		return tool_misused(t, "%s: not expected", tool_safe(t, slice_of(argv[0])));
	status = examine(&x, live);
	if (x.config)
		config_unref(x.config);
	return status;
}

int tool_doctor(struct tool *t, int argc, char **argv)
{
	const struct tool_option wanted[] = { { NULL, NULL, NULL, NULL } };
	int words = tool_arguments(t, argc, argv, wanted), status = 0;
	struct examination x = { .t = t, .quiet = true };

	if (words < 0)
		return EX_USAGE;
	if (words > 0)
		return tool_misused(t, "%s: not expected", tool_safe(t, slice_of(argv[0])));
	if (examine(&x, true) != 0 || !x.config)
		status = 1;
	if (x.config && !tool_attention(t))
		status = 1;
	if (status == 0 && x.warnings == 0)
		tool_print(t, "nothing needs attention\n");
	if (x.config)
		config_unref(x.config);
	return status;
}
