/*
 * The greylist: one small record for each sender in the cache of the store. Its loss puts somebody off once more.
 */
#include "check/greylist.h"

#include "base/log.h"

struct contact {
	uint32_t first;		/* wall clock */
	uint32_t passed;	/* wall clock of its last message that was let in; 0: none yet */
};

static struct ip network_of(const struct ip *client)
{
	struct ip net = ip_client_net(client);

	if (ip_is_v4(&net))
		net.bytes[15] = 0;	/* /24 */
	return net;
}

/* Who sends, as far as it proves: *proven is how, for the operator. */
static struct slice sender_of(const struct envelope *e, const char **proven)
{
	const struct spf_facts *spf = &e->auth.spf;

	*proven = "SPF";
	if (spf->result == RESULT_PASS && !spf->helo && spf->domain.n > 0)
		return spf->domain;
	*proven = "DKIM";
	for (const struct dkim_facts *s = e->auth.dkim; s; s = s->next)
		if (s->result == RESULT_PASS && s->domain.n > 0)
			return s->domain;
	*proven = NULL;
	return SLICE_NULL;
}

static struct store_key contact_key(struct store *store, struct slice proven, const struct envelope *e, struct arena *a)
{
	struct ip net = network_of(&e->client->ip);
	struct slice from = address_domain(e->reverse_canonical);
	struct slice by_domain[] = { SLICE("greylist domain"), domain_canonical(a, proven) };
	struct slice by_network[] = { SLICE("greylist network"),
		slice_make((const char *)net.bytes, sizeof(net.bytes)), from };

	return proven.n > 0 ? store_key(store, STORE_CACHE, by_domain, 2) : store_key(store, STORE_CACHE, by_network, 3);
}

static void contact_put(struct store *store, const struct store_key *key, const struct contact *c, nanoseconds life)
{
	struct store_value v = { .length = sizeof(*c),
		.expires = (uint32_t)(clock_wall_seconds() + life / NS_PER_SECOND) };

	memcpy(v.bytes, c, sizeof(*c));
	store_put(store, STORE_CACHE, key, &v);
}

static void say(struct findings *found, struct arena *a, enum result result, const char *reason, struct slice proven,
	const char *by, uint32_t wait)
{
	struct finding *f = finding_add(found, a, CHECK_GREYLIST, result, reason);

	f->evidence = by ? arena_printf(a, "%.*s by %s", SLICE_ARG(proven), by) : "by its network";
	if (wait > 0)
		f->detail = arena_printf(a, "%u", wait);
}

void greylist_check(const struct greylist_conf *conf, struct store *store, const struct envelope *e,
	struct findings *found, struct arena *a)
{
	uint32_t now = (uint32_t)clock_wall_seconds(), delay = (uint32_t)(conf->delay / NS_PER_SECOND);
	struct contact c = { 0 };
	struct store_value v;
	const char *by;

	if (path_is_null(&e->reverse_path) || !store)
		return;

	struct slice proven = sender_of(e, &by);
	struct store_key key = contact_key(store, proven, e, a);
	enum store_status status = store_get(store, STORE_CACHE, &key, &v);

	if (status == STORE_TROUBLE)
		return;
	if (status == STORE_OK && v.length == sizeof(c))
		memcpy(&c, v.bytes, sizeof(c));
	if (c.first == 0 || c.first > now) {
		c = (struct contact){ .first = now };
		contact_put(store, &key, &c, conf->window);
	} else if (c.passed != 0 || now - c.first >= delay) {
		/* Once a day is enough to keep it. */
		if (c.passed == 0 || now - c.passed > 86400) {
			c.passed = now;
			contact_put(store, &key, &c, conf->keep);
		}
		say(found, a, RESULT_PASS, "The sender has come back before.", proven, by, 0);
		return;
	}
	say(found, a, RESULT_FIRST_CONTACT, "The sender is not known yet.", proven, by,
		now - c.first < delay ? delay - (now - c.first) : 1);
}
