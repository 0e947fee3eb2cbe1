/*
 * `spurn check --live`: what only the network can tell. Name and reverse name
 * of this host, certificates, every host of every backend, every DNS list.
 *
 * A backend is asked what a transaction will ask it: EHLO, a null sender, a
 * recipient that cannot exist. One that takes such a recipient takes everybody, and then
 * refuses after we are gone or, worse, bounces. Nothing is sent to anybody but
 * the servers that the configuration names.
 */
#include "app/tool_check.h"

#include "check/backend_truth.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <unistd.h>

#define QUESTION (10 * NS_PER_SECOND)
#define BACKEND_BUDGET (20 * NS_PER_SECOND)
#define DAYS_LEFT 14

struct live {
	struct examination *x;
	struct dns *dns;
	struct pool *pool;
};

/* ---- our own name ---- */

static ASYNC void examine_reverse(struct live *l, const struct ip *ip)
{
	struct arena *a = &l->x->t->arena;
	struct str name = STR_IN(a);
	struct dns_answer answer;
	char text[IP_TEXT];

	ip_text(ip, text);
	if (ip_is_special(ip)) {
		exam_warning(l->x, "hostname %s: its address %s is not one of the Internet", l->x->config->hostname, text);
		return;
	}
	ip_ptr_name(&name, ip);
	dns_ask(l->dns, a, str_slice(&name), DNS_PTR, &answer, deadline_in(QUESTION));
	for (size_t i = 0; i < answer.count; i++)
		if (slice_eq_nocase(answer.records[i].text, slice_of(l->x->config->hostname))) {
			exam_fine(l->x, "ok  hostname %s, %s and back", l->x->config->hostname, text);
			return;
		}
	if (answer.status == DNS_TROUBLE)
		exam_warning(l->x, "reverse name of %s: %s", text, answer.why);
	else
		exam_warning(l->x, "reverse name of %s is %s, not %s: others will look askance at mail from here", text,
			answer.count ? tool_safe(l->x->t, answer.records[0].text) : "missing", l->x->config->hostname);
}

static ASYNC void examine_name(struct live *l)
{
	struct dns_answer answer;
	const char *hostname = l->x->config->hostname;

	dns_addresses(l->dns, &l->x->t->arena, slice_of(hostname), &answer, deadline_in(QUESTION));
	if (answer.status == DNS_TROUBLE)
		exam_error(l->x, "resolver: hostname %s: %s", hostname, answer.why);
	else if (answer.status != DNS_FOUND)
		exam_warning(l->x, "hostname %s: has no address (%s)", hostname, dns_status_name(answer.status));
	for (size_t i = 0; i < answer.count; i++)
		examine_reverse(l, &answer.records[i].ip);
}

/* ---- certificates ---- */

static void examine_certificate(struct live *l, const struct listener_conf *listener)
{
	const char *hostname = l->x->config->hostname;
	BIO *file = BIO_new_file(listener->tls_certificate, "r");
	X509 *certificate = file ? PEM_read_bio_X509(file, NULL, NULL, NULL) : NULL;
	int days = 0, seconds = 0;

	BIO_free(file);
	if (!certificate)
		return;		/* said already */
	if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)))
		exam_error(l->x, "%s: its end of validity cannot be read", listener->tls_certificate);
	else if (days < DAYS_LEFT)
		exam_warning(l->x, "%s: %s", listener->tls_certificate, days < 0 || seconds < 0 ? "has expired" :
			arena_printf(&l->x->t->arena, "expires in %d days", days));
	else
		exam_fine(l->x, "ok  certificate of listener %s, for %d days", listener->name, days);
	if (X509_check_host(certificate, hostname, 0, 0, NULL) != 1)
		exam_warning(l->x, "%s: is not for hostname %s", listener->tls_certificate, hostname);
	X509_free(certificate);
}

static void examine_certificates_on_stack(void *arg)
{
	struct live *l = arg;

	for (size_t i = 0; i < l->x->config->listener_count; i++)
		if (l->x->config->listeners[i].tls_certificate)
			examine_certificate(l, &l->x->config->listeners[i]);
}

/* ---- backends ---- */

static const char *said(struct live *l, const struct reply *r)
{
	return r->code ? arena_printf(&l->x->t->arena, "%u %s", r->code, tool_safe(l->x->t, r->text)) : "no answer";
}

static const char *offers_of(struct live *l, const struct smtp_client *c)
{
	static const struct { unsigned bit; const char *name; } names[] = {
		{ CAP_PIPELINING, "PIPELINING" }, { CAP_8BITMIME, "8BITMIME" }, { CAP_SMTPUTF8, "SMTPUTF8" },
		{ CAP_DSN, "DSN" }, { CAP_ENHANCED, "ENHANCEDSTATUSCODES" }, { CAP_STARTTLS, "STARTTLS" },
		{ CAP_XFORWARD, "XFORWARD" }, { CAP_XCLIENT, "XCLIENT" },
	};
	struct str out = STR_IN(&l->x->t->arena);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (c->capabilities & names[i].bit)
			str_printf(&out, "%s%s", out.n ? " " : "", names[i].name);
	if (c->size_limit)
		str_printf(&out, "%sSIZE %llu", out.n ? " " : "", (unsigned long long)c->size_limit);
	return str_cstr(&out);
}

static void judge_offers(struct live *l, const struct smtp_client *c, const char *url)
{
	exam_fine(l->x, "ok  backend %s: %s", url, offers_of(l, c));
	if (!(c->capabilities & CAP_ENHANCED))
		exam_warning(l->x, "backend %s: no ENHANCEDSTATUSCODES: a bare 550 has to be taken for an unknown recipient",
			url);
	for (size_t i = 0; i < l->x->config->listener_count; i++) {
		const struct listener_conf *listener = &l->x->config->listeners[i];

		if (!listener->outbound && c->size_limit && (listener->size_limit == 0 ||
				listener->size_limit > c->size_limit))
			exam_warning(l->x, "backend %s: takes %llu octets at most, listener %s %llu: what lies between is "
				"refused by the backend only", url, (unsigned long long)c->size_limit, listener->name,
				(unsigned long long)listener->size_limit);
	}
}

/* A name that nobody has: letters from 64 random bits. */
static const char *random_name(struct arena *a)
{
	uint64_t bits = 0;
	struct str name = STR_IN(a);

	random_bytes(&bits, sizeof(bits));
	str_puts(&name, "spurn-check-");
	str_hex(&name, slice_make((const char *)&bits, sizeof(bits)));
	return str_cstr(&name);
}

/* A null sender, and a recipient of this domain that cannot exist. */
static ASYNC bool ask_unknown(struct live *l, struct smtp_client *c, const char *domain, const char *url)
{
	struct arena *a = &l->x->t->arena;
	struct reply mail = { 0 }, rcpt = { 0 };
	const char *why = NULL;
	deadline until = deadline_in(BACKEND_BUDGET);

	smtp_client_queue(c, "MAIL FROM:<>");
	smtp_client_queue(c, "RCPT TO:<%s@%s>", random_name(a), domain);
	if (!smtp_client_reply(c, a, &mail, &why, "MAIL", until) || c->broken ||
	    !smtp_client_reply(c, a, &rcpt, &why, "RCPT", until)) {
		exam_error(l->x, "backend %s: %s", url, why ? why : said(l, &mail));
		return false;
	}
	if (!reply_is_positive(&mail))
		exam_error(l->x, "backend %s: refuses the null sender (%s): bounces and probes of others cannot pass", url,
			said(l, &mail));
	else if (reply_is_positive(&rcpt))
		exam_warning(l->x, "backend %s: takes any recipient of %s: unknown ones cannot be refused in the session; "
			"give it a recipients file", url, domain);
	else if (reply_is_transient(&rcpt))
		exam_warning(l->x, "backend %s: defers an unknown recipient of %s (%s): is there greylisting behind us?", url,
			domain, said(l, &rcpt));
	else if (recipient_answer_of(&rcpt, c->capabilities & CAP_ENHANCED) != RECIPIENT_NO_SUCH_USER)
		exam_warning(l->x, "backend %s: its refusal of an unknown recipient of %s (%s) does not say 5.1.1", url, domain,
			said(l, &rcpt));
	else
		exam_fine(l->x, "ok  backend %s refuses unknown recipients of %s", url, domain);
	return !c->broken;
}

/* One host alone, so that each is asked. */
static ASYNC void examine_host(struct live *l, const struct backend *b, const struct backend_host *host)
{
	struct arena *a = &l->x->t->arena;
	struct backend alone = *b;
	const struct config *config = l->x->config;
	const char *why = NULL;
	struct reply reply = { 0 };
	struct smtp_client *c;
	bool usable = true;

	alone.hosts = host;
	alone.host_count = 1;
	alone.name = host->url;
	c = pool_take(l->pool, a, &alone, true, &reply, &why, deadline_in(BACKEND_BUDGET));
	if (!c) {
		exam_error(l->x, "backend %s: %s%s%s", host->url, why, reply.code ? ": " : "",
			reply.code ? said(l, &reply) : "");
		return;
	}
	judge_offers(l, c, host->url);
	for (size_t i = 0; i < config->domain_count && usable; i++)
		if (config->domains[i].backend == b && config->domains[i].recipients.callforward) {
			const char *ignored = NULL;

			usable = ask_unknown(l, c, config->domains[i].name, host->url);
			if (usable) {
				smtp_client_queue(c, "RSET");
				usable = smtp_client_reply(c, a, &reply, &ignored, "RSET", deadline_in(BACKEND_BUDGET)) &&
					!c->broken;
			}
		}
	pool_discard(l->pool, c, false);
}

/* What the daemon has learnt from deliveries. Without a store that can be read nothing is said. */
static void examine_truth(struct live *l)
{
	const struct config *c = l->x->config;
	struct arena *a = &l->x->t->arena;
	struct store_conf conf = { .directory = arena_printf(a, "%s/store", c->state_dir), .slot = STORE_READ_ONLY };
	const char *why = NULL;
	struct store *store = access(conf.directory, R_OK | X_OK) == 0 ? store_open(a, &conf, &why) : NULL;
	struct truth t;

	for (size_t i = 0; store && i < c->domain_count; i++)
		if (truth_get(store, c->domains[i].backend->name, c->domains[i].name, &t) && t.late > 0)
			exam_warning(l->x, "backend %s: took %u unknown recipients of %s at RCPT and refused them after the "
				"message: its RCPT does not tell who exists", c->domains[i].backend->name, t.late,
				c->domains[i].name);
	if (store)
		store_close(store);
}

static ASYNC void examine_backends(struct live *l)
{
	const struct config *c = l->x->config;

	l->pool = pool_open(l->dns, c->hostname);
	for (size_t i = 0; i < c->backend_count; i++)
		for (size_t k = 0; k < c->backends[i]->host_count; k++)
			examine_host(l, c->backends[i], &c->backends[i]->hosts[k]);
	examine_truth(l);
}

/* ---- DNS lists ---- */

static ASYNC void examine_lists(struct live *l)
{
	const struct dnsbl_conf *d = &l->x->config->dnsbl;

	for (size_t i = 0; i < d->zone_count; i++) {
		const char *why = NULL, *label = d->zones[i].label;

		if (!label)
			label = dnsbl_default_label(&l->x->t->arena, d->zones[i].zone);
		if (dnsbl_self_test(&d->zones[i], l->dns, &l->x->t->arena, &why, deadline_in(QUESTION)))
			exam_fine(l->x, "ok  dnsbl %s", label);
		else
			exam_error(l->x, "dnsbl %s: %s", label, why);
	}
}

/* ---- keys that sign ---- */

struct published {
	const struct dkim_signer *signer;
	const struct dns_answer *answer;
	bool matches;
	const char *error;	/* of the last record that is no key of ours */
};

static void compare_on_stack(void *arg)
{
	struct published *p = arg;

	for (size_t i = 0; i < p->answer->count && !p->matches; i++) {
		struct dkim_key k;

		dkim_key_parse(&k, p->answer->records[i].text);
		p->matches = dkim_signer_matches(p->signer, &k);
		p->error = k.error ? k.error : "it is another key";
		dkim_key_drop(&k);
	}
}

/* As it stands in a zone file: strings of up to 255 octets (RFC 1035 section 3.3). */
static const char *zone_text(struct arena *a, struct slice text)
{
	struct str out = STR_IN(a);

	while (text.n > 0) {
		str_printf(&out, "%s\"%.*s\"", out.n > 0 ? " " : "", SLICE_ARG(slice_head(text, 250)));
		text = slice_from(text, 250);
	}
	return str_cstr(&out);
}

/* Others look for the public half; without it a signature is worth nothing. */
static ASYNC void examine_signer(struct live *l, const struct dkim_signer *s)
{
	struct arena *a = &l->x->t->arena;
	struct slice name = dkim_key_name(a, s->selector, s->domain), record = dkim_signer_record(a, s);
	struct dns_answer answer;
	struct published p = { .signer = s, .answer = &answer, .error = "there is none" };

	if (name.n == 0) {
		exam_error(l->x, "sign %.*s: selector and domain are no name that DNS can have", SLICE_ARG(s->domain));
		return;
	}
	dns_ask(l->dns, a, name, DNS_TXT, &answer, deadline_in(QUESTION));
	fiber_hoist(compare_on_stack, &p);
	if (answer.status == DNS_TROUBLE)
		exam_error(l->x, "sign %.*s: %.*s: %s", SLICE_ARG(s->domain), SLICE_ARG(name), answer.why);
	else if (p.matches)
		exam_fine(l->x, "ok  sign %.*s selector %.*s", SLICE_ARG(s->domain), SLICE_ARG(s->selector));
	else
		exam_error(l->x, "sign %.*s: the key in DNS is not that of %s: %s; publish %.*s. TXT %s",
			SLICE_ARG(s->domain), s->key_file, p.error, SLICE_ARG(name), zone_text(a, record));
}

static ASYNC void examine_signers(struct live *l)
{
	for (size_t i = 0; i < l->x->config->signer_count; i++)
		examine_signer(l, &l->x->config->signers[i]);
}

/* ---- scanners ---- */

static ASYNC void examine_scanners(struct live *l)
{
	const struct content_conf *c = &l->x->config->content;

	for (uint32_t i = 0; i < c->count; i++) {
		const struct scanner_conf *s = &c->scanners[i];
		const char *what = "", *why = NULL;

		if (scanner_greet(s, &l->x->t->arena, &what, &why, deadline_in(QUESTION)))
			exam_fine(l->x, "ok  scanner %s (%s %s): %s", s->name, scanner_kind_name(s->kind), s->address, what);
		else
			exam_error(l->x, "scanner %s (%s %s): %s", s->name, scanner_kind_name(s->kind), s->address, why);
	}
}

void examine_live(void *arg)
{
	struct live l = { .x = arg };
	const char *why = NULL;

	fiber_hoist(examine_certificates_on_stack, &l);
	l.dns = dns_open(&l.x->t->arena, &l.x->config->dns, &why);
	if (!l.dns)
		return;		/* said already */
	examine_name(&l);
	examine_lists(&l);
	examine_signers(&l);
	examine_backends(&l);
	examine_directories(l.x);
	examine_scanners(&l);
}
