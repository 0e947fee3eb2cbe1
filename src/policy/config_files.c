/*
 * The files that a configuration names and that are opened by others: each is looked at here, so that what is wrong with it is
 * said beside the directive that names it, and before a process depends on it.
 *
 * Without its zone files and its trust anchor a resolver does not open: mistakes in them refuse a configuration. A certificate is
 * another matter. It may go bad while all else is well, and a mail server that then does not start loses more than TLS: only who
 * asks whether a configuration is right (`spurnd -t`, `spurn check`) is told here; workers say so themselves, and keep the one they have.
 */
#include "policy/loader.h"

#include "net/dns_zone.h"
#include "run/tls.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The word that names the file in which the mistake is. */
static const struct word *word_of_file(const struct statement *block, const char *why)
{
	for (const struct statement *st = block->children; st; st = st->next)
		for (size_t i = 1; i < st->count; i++)
			if (slice_eq(st->words[0].text, SLICE("zone-file")) && slice_starts(slice_of(why), st->words[i].text) &&
			    why[st->words[i].text.n] == ':')
				return &st->words[i];
	return &block->words[0];
}

/* All of them together, as they will be used: what one has another must not have. */
void loader_check_zone_files(struct loader *l, const struct statement *block)
{
	const struct dns_conf *dns = &l->c->dns;
	const char *why = NULL;
	struct dns_zones *zones;

	if (dns->zone_file_count == 0)
		return;
	zones = dns_zone_open(l->a, dns->zone_files, dns->zone_file_count, &why);
	if (zones)
		dns_zone_close(zones);
	else
		report_error(&l->report, word_of_file(block, why), "%s", why);
}

void loader_check_anchor(struct loader *l)
{
	const char *path = l->c->dns.trust_anchor_file;

	if (path && *path && access(path, R_OK) != 0)
		report_error(&l->report, loader_given(l, l->c, "resolver", "trust-anchor"), "%s: %s", path, strerrordesc_np(errno));
}

static void examine_state_directory(struct loader *l)
{
	const struct word *w = loader_given(l, l->c, "", "state-dir");
	const char *path = l->c->state_dir;
	struct stat st;

	if (strlen(path) + strlen("/control") >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		report_error(&l->report, w, "state-dir %s: too long for the control socket in it", path);
	if (stat(path, &st) != 0)
		report_error(&l->report, w, "state-dir %s: %s (it must exist and belong to user %s)", path, strerrordesc_np(errno),
			l->c->user);
	else if (!S_ISDIR(st.st_mode))
		report_error(&l->report, w, "state-dir %s: not a directory", path);
}

static void examine_certificate(struct loader *l, const struct listener_conf *listener)
{
	const struct word *w = loader_given(l, listener, "listener", "tls-certificate");
	struct tls_context *context;
	const char *why = NULL;

	if (!listener->tls_certificate || !listener->tls_key)
		return;
	context = tls_server_context(l->a, listener->tls_certificate, listener->tls_key, &why);
	if (!context)
		report_error(&l->report, w, "listener %s: %s", listener->name, why);
	else if (why)
		report_warning(&l->report, w, "listener %s: %s", listener->name,
			strncmp(why, "warning: ", 9) == 0 ? why + 9 : why);
	if (context)
		tls_context_unref(context);
}

void loader_examine(struct loader *l)
{
	examine_state_directory(l);
	for (size_t i = 0; i < l->c->listener_count; i++)
		examine_certificate(l, &l->c->listeners[i]);
}
