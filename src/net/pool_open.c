/*
 * A new connection of the pool: where the host is, TLS as asked, all its addresses in turn.
 */
#include "net/pool_host.h"

#include "base/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#define OPEN_BUDGET (30 * NS_PER_SECOND)	/* of one address: connect, greeting, EHLO, TLS */
#define FAIR_TRIAL (2 * NS_PER_SECOND)		/* a host that had less time is not to blame */
#define PLAIN_SPAN (600 * NS_PER_SECOND)	/* no new try of TLS after a failed handshake */
#define ADDRESSES_MOST 16

/* ---- TLS contexts ---- */

void context_free(struct pool_context *x)
{
	ring_remove(&x->link);
	tls_context_unref(x->tls);
	free(x->ca_file);
	free(x);
}


static struct pool_context *context_find(struct pool *p, bool verify, const char *ca_file)
{
	for (struct ring *at = p->contexts.next; at != &p->contexts; at = at->next) {
		struct pool_context *x = container_of(at, struct pool_context, link);

		if (x->verify == verify && text_same(x->ca_file, ca_file))
			return x;
	}
	return NULL;
}

/* One that is too old is made anew; if that fails the old one goes on. */
static struct tls_context *context_get(struct pool_host *h, struct arena *a, const char **why)
{
	bool verify = h->tls == BACKEND_TLS_VERIFY;
	struct pool_context *x = context_find(h->pool, verify, h->ca_file);
	struct tls_context *tls;

	if (x && !deadline_passed(x->made + CONTEXT_SPAN))
		return x->tls;
	tls = tls_client_context(a, verify, h->ca_file, why);
	if (!tls)
		return x ? x->tls : NULL;
	if (!x) {
		x = calloc(1, sizeof(*x));
		BUG_ON(!x);
		x->verify = verify;
		x->ca_file = h->ca_file ? strdup(h->ca_file) : NULL;
		ring_add_last(&h->pool->contexts, &x->link);
	} else {
		tls_context_unref(x->tls);
	}
	x->tls = tls;
	x->made = clock_now();
	return tls;
}

static void endpoint_of(struct endpoint *out, const struct ip *ip, uint16_t port)
{
	out->length = ip_to_sockaddr(ip, port, &out->address);
}

static bool endpoint_unix(struct endpoint *out, const char *path, const char **why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(un.sun_path)) {
		*why = "path of the socket is too long";
		return false;
	}
	memcpy(un.sun_path, path, strlen(path) + 1);
	memcpy(&out->address, &un, sizeof(un));
	out->length = sizeof(un);
	return true;
}

static bool is_localhost(struct slice name)
{
	return slice_eq_nocase(name, SLICE("localhost")) || slice_eq_nocase(name, SLICE("localhost."));
}

/* Where the host can be reached: 0 and *why if nowhere. RFC 6761 section 6.3: localhost is not asked for in DNS. */
ASYNC static size_t host_addresses(struct pool_host *h, struct arena *a, struct endpoint *out,
	const char **why, deadline d)
{
	struct slice name = slice_of(h->at.name);
	struct dns_answer answer = { .status = DNS_TROUBLE };
	struct ip ip;
	size_t n = 0;

	if (h->at.path)
		return endpoint_unix(out, h->at.path, why) ? 1 : 0;
	if (ip_parse(&ip, name)) {
		endpoint_of(out, &ip, h->at.port);
		return 1;
	}
	if (is_localhost(name)) {
		ip_parse(&ip, SLICE("127.0.0.1"));
		endpoint_of(&out[0], &ip, h->at.port);
		ip_parse(&ip, SLICE("::1"));
		endpoint_of(&out[1], &ip, h->at.port);
		return 2;
	}
	if (h->pool->dns)
		dns_addresses(h->pool->dns, a, name, &answer, d);
	for (; answer.status == DNS_FOUND && n < answer.count && n < ADDRESSES_MOST; n++)
		endpoint_of(&out[n], &answer.records[n].ip, h->at.port);
	if (n == 0)
		*why = arena_printf(a, "address of the host: %s", answer.status == DNS_TROUBLE && answer.why ?
			answer.why : dns_status_name(answer.status));
	return n;
}

/* One address, with TLS as asked. A backend whose handshake fails is spoken to in plaintext if TLS was
 * only opportunistic (RFC 7435), on a new connection, and for a while without another try. */
ASYNC static bool open_address(struct pooled *x, struct take *t, const struct endpoint *to, struct arena *a,
	struct reply *reply, const char **why)
{
	struct pool_host *h = x->host;
	deadline d = deadline_min(t->until, deadline_in(OPEN_BUDGET));
	struct tls_context *tls = NULL;
	bool plain = h->at.path || h->tls == BACKEND_TLS_NONE ||
		(h->tls == BACKEND_TLS_OPPORTUNISTIC && !deadline_passed(h->plain_until));

	if (!plain && !(tls = context_get(h, a, why)) && h->tls == BACKEND_TLS_VERIFY)
		return false;
	if (tls)
		tls_context_ref(tls);	/* it may be made anew while we wait */
	bool opened = smtp_client_open(&x->client, t->backend, &h->at, to, tls, h->pool->our_name, reply, why, d);
	if (tls)
		tls_context_unref(tls);
	if (opened)
		return true;
	if (x->client.tls_failed && h->tls == BACKEND_TLS_OPPORTUNISTIC && !fiber_cancelled()) {
		h->plain_until = deadline_in(PLAIN_SPAN);
		smtp_client_close(&x->client);
		return smtp_client_open(&x->client, t->backend, &h->at, to, NULL, h->pool->our_name, reply, why, d);
	}
	return false;
}

bool error_is_our_want(int error, int family)
{
	if (error == EADDRNOTAVAIL)	/* no port left; of IPv6 it is said where that is switched off */
		return family == AF_INET;
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* All addresses in turn. False: *why, *reply in `a`, of the last that says something of the host; *reached: one was tried;
 * *ours: none was, for want of something here. */
ASYNC static bool open_any(struct pooled *x, struct take *t, struct arena *a, struct reply *reply,
	const char **why, bool *reached, bool *ours)
{
	struct endpoint to[ADDRESSES_MOST];
	size_t n = host_addresses(x->host, a, to, why, t->until);

	for (size_t i = 0; i < n; i++) {
		struct reply said = { .name = REPLY_NONE };
		const char *reason = "";

		x->client.stream.watch.fd = -1;
		if (open_address(x, t, &to[i], a, &said, &reason))
			return true;
		*reached = true;
		bool want = error_is_our_want(x->client.stream.error, to[i].address.ss_family);
		*ours = want && (i == 0 || *ours);
		if (!want || *ours) {
			*why = arena_printf(a, "%s", reason);
			*reply = said;
			reply->text = slice_copy(a, said.text);
		}
		smtp_client_close(&x->client);
		if (fiber_cancelled() || deadline_passed(t->until))
			break;
	}
	return false;
}

/* A new connection in a place that is already counted. NULL: the place is free again, t's caller told why. */
ASYNC struct pooled *host_open(struct pool_host *h, struct take *t)
{
	struct pooled *x = pooled_new(h);
	struct arena scratch = ARENA_INIT;
	struct reply reply = { .name = REPLY_NONE };
	const char *why = "";
	nanoseconds began = clock_now();
	bool probe = h->retry_at != 0, reached = false, ours = false, ok;

	h->probing |= probe;
	ring_init(&x->client.link);
	ok = open_any(x, t, &scratch, &reply, &why, &reached, &ours);
	if (probe)
		h->probing = false;
	if (ok) {
		host_answered(h, &x->client);
		arena_drop(&scratch);
		return x;
	}
	if (ours || fiber_cancelled() || (deadline_passed(t->until) && clock_now() - began < FAIR_TRIAL)) {
		*t->why = arena_printf(t->arena, "%s: %s", h->at.url, why);
	} else {
		host_failed(h, began, reached && reply.code == 0, &reply, why);
		host_tell(h, t);
	}
	arena_drop(&scratch);
	free(x);
	place_free(h);
	return NULL;
}
