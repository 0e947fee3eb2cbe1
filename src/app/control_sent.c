/*
 * The control socket's questions to the sent ledger: "sent SENDER WHAT", and what status says of keys and sender domains.
 */
#include "app/control.h"

#include "check/sent.h"
#include "check/wave.h"

static void add_age(struct str *out, time_t when)
{
	json_signed(out, "age_s", clock_wall_seconds() - when);
}

static void answer_message(struct str *out, struct store *store, struct slice sender, struct slice id)
{
	struct arena scratch = ARENA_INIT;
	struct slice counted = slice_of(arena_printf(&scratch, "message %.*s %.*s", SLICE_ARG(sender), SLICE_ARG(id)));
	struct sent_counts n = { 0 };
	struct sent_entry e;
	enum store_status status = sent_find(store, id, sender, &e);

	if (status == STORE_TROUBLE) {
		control_error(out, "the store is in trouble");
	} else {
		str_addc(out, '{');
		json_bool(out, "found", status == STORE_OK);
		json_bool(out, "is_message", true);
		json_text(out, "sender", sender);
		if (status == STORE_OK) {
			add_age(out, e.when);
			json_number(out, "recipients", e.recipients);
			/* With the one that this look pretends to be. */
			if (sent_count(store, counted, false, false, clock_wall_seconds(), 0, &n) == STORE_OK) {
				json_number(out, "notices", n.all - 1);
				json_number(out, "foreign", n.foreign);
			}
		}
		str_puts(out, "}\n");
	}
	arena_drop(&scratch);
}

static void answer_domain(struct str *out, struct store *store, struct slice sender, struct slice domain)
{
	time_t when = 0;
	enum store_status status = sent_wrote_to(store, sender, domain, &when);

	if (status == STORE_TROUBLE) {
		control_error(out, "the store is in trouble");
		return;
	}
	str_addc(out, '{');
	json_bool(out, "found", status == STORE_OK);
	json_bool(out, "is_message", false);
	json_text(out, "sender", sender);
	json_text(out, "domain", domain);
	if (status == STORE_OK)
		add_age(out, when);
	str_puts(out, "}\n");
}

/* The sender under which the ledger has it: sub-addresses are those of its domain. */
static bool canonical_sender(struct arena *a, struct slice text, struct slice *out)
{
	const struct domain_conf *d;
	ptrdiff_t at;

	if (!address_canonical(a, text, SLICE_NULL, out))
		return false;
	at = slice_rfind(*out, '@');
	d = config_domain(worker.edge.config, slice_from(*out, (size_t)at + 1));
	return !d || address_canonical(a, text, d->separators, out);
}

void control_sent(struct str *out, struct slice arguments)
{
	struct arena scratch = ARENA_INIT;
	struct store *store = worker.edge.services.store;
	struct slice from = slice_word(&arguments), what = slice_word(&arguments), sender, domain;
	ptrdiff_t at = slice_rfind(what, '@');

	if (!store) {
		control_error(out, "the store is not open");
	} else if (what.n == 0 || !canonical_sender(&scratch, from, &sender)) {
		control_error(out, "no address of a sender, or nothing to look for");
	} else if (what.p[0] == '<') {
		answer_message(out, store, sender, what);
	} else {
		domain = domain_canonical(&scratch, at < 0 ? what : slice_from(what, (size_t)at + 1));
		if (domain.n > 0)
			answer_domain(out, store, sender, domain);
		else
			control_error(out, "no Message-ID in angle brackets, address or domain");
	}
	arena_drop(&scratch);
}

static void add_domain(struct str *out, struct store *store, const struct config *c, const struct domain_conf *d)
{
	time_t now = clock_wall_seconds();
	struct sent_exits e = { 0 };
	enum store_status status = store ? sent_exits(store, slice_of(d->name), &e) : STORE_TROUBLE;

	/* Thousands of domains that send nothing are not worth a line. */
	if (status != STORE_OK && !d->bounces.enrolled)
		return;
	json_open(out, NULL, '{');
	json_cstr(out, "name", d->name);
	json_bool(out, "enrolled", d->bounces.enrolled);
	json_bool(out, "ready", sent_exits_ready(&e, now, c->bounces.life * 86400));
	json_signed(out, "marked_since_s", e.since ? now - e.since : -1);
	json_signed(out, "last_s", e.last ? now - e.last : -1);
	json_signed(out, "elsewhere_s", e.elsewhere ? now - e.elsewhere : -1);
	str_addc(out, '}');
}

static void add_wave(void *arg, struct slice name, const struct wave *w)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_text(out, "name", name);
	json_signed(out, "since_s", clock_wall_seconds() - w->since);
	json_number(out, "this_hour", w->this_hour);
	json_number(out, "usual", w->usual);
	str_addc(out, '}');
}

void control_proofs(struct str *out)
{
	const struct config *c = worker.edge.config;
	const struct proof_key *key = proof_keys_signing(&c->bounces.keys, clock_wall_seconds());

	json_open(out, "proofs", '{');
	json_bool(out, "keys_configured", c->keys_dir != NULL);
	json_number(out, "keys", c->bounces.keys.count);
	json_text(out, "key_in_use", key ? slice_make(&key->id, 1) : SLICE_NULL);
	json_number(out, "lifetime_s", (uint64_t)c->bounces.life * 86400);
	json_open(out, "domains", '[');
	for (size_t i = 0; i < c->domain_count; i++)
		add_domain(out, worker.edge.services.store, c, &c->domains[i]);
	str_addc(out, ']');
	json_open(out, "waves", '[');
	if (worker.edge.services.store)
		waves_each(worker.edge.services.waves, worker.edge.services.store, clock_wall_seconds(), add_wave, out);
	str_puts(out, "]}");
}
