/*
 * A resolver for commands that need no daemon: of a zone file alone, of a configuration that was named, else of this
 * machine's resolv.conf, else recursion of our own.
 *
 * A zone file stands for the whole world: what it lacks does not exist. So a record can be tried before it is
 * published, and a message judged by records that are gone.
 */
#include "app/tool.h"

#include <stdio.h>

#define RESOLV_CONF "/etc/resolv.conf"
#define FORWARDERS 3		/* as resolver(5) */

static bool nothing_else(void *arg, struct arena *a, struct slice name, enum dns_type type, struct dns_answer *out,
	nanoseconds *delay)
{
	(void)arg, (void)a, (void)name, (void)type;
	*out = (struct dns_answer){ .status = DNS_NXDOMAIN };
	*delay = 0;
	return true;
}

/* The servers of resolv.conf, as addresses; how many. */
static size_t machine_servers(struct tool *t, const char *servers[FORWARDERS])
{
	FILE *file = fopen(RESOLV_CONF, "re");
	char line[512], text[IP_TEXT];
	size_t count = 0;
	struct ip ip;

	while (file && count < FORWARDERS && fgets(line, sizeof(line), file)) {
		struct slice rest = slice_trim(slice_of(line));

		if (slice_eq(slice_word(&rest), SLICE("nameserver")) && ip_parse(&ip, slice_word(&rest)))
			servers[count++] = slice_cstr(&t->arena, slice_of(ip_text(&ip, text)));
	}
	if (file)
		fclose(file);
	return count;
}

static struct dns *open_and_say(struct tool *t, const struct dns_conf *conf, const char *what)
{
	const char *why = NULL;
	struct dns *dns = dns_open(&t->arena, conf, &why);

	if (!dns)
		tool_fail(0, "%s%s%s", what, what[0] ? ": " : "", why);
	return dns;
}

struct dns *tool_resolver(struct tool *t, const char *zone, int *status)
{
	const char *servers[FORWARDERS];
	struct dns_conf conf = { .recurse = false };
	struct config *config;
	struct dns *dns;

	tool_loop();
	*status = EX_CONFIG;
	if (zone) {
		conf.zone_files = &zone;
		conf.zone_file_count = 1;
		dns = open_and_say(t, &conf, "");
		if (dns)
			dns_set_source(dns, nothing_else, NULL);
		else
			*status = EX_NOINPUT;
		return dns;
	}
	if (strcmp(t->config, TOOL_CONFIG) != 0) {
		config = tool_config(t);
		return config ? open_and_say(t, &config->dns, "resolver") : NULL;
	}
	conf.forward = servers;
	conf.forward_count = machine_servers(t, servers);
	conf.recurse = conf.forward_count == 0;
	conf.trust_anchor_file = conf.recurse ? NULL : "";	/* who forwards believes */
	return open_and_say(t, &conf, "resolver");
}
