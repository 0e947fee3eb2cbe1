/*
 * What `spurn status` and `spurn waits` show: how the workers are, what they
 * have counted, and how backends, zones, lists, store and journal do.
 *
 * Counters are summed over all slots, those of workers that have ended included:
 * they never run backwards while the daemon lives.
 */
#include "app/control.h"

#include "check/backend_truth.h"
#include "check/guard.h"
#include "check/recipient_turn.h"
#include "policy/stage_guard.h"

static int64_t in_ms(nanoseconds span)
{
	return span / NS_PER_MS;
}

static void add_state(struct str *out, const struct shared *s)
{
	char when[25];

	json_cstr(out, "version", SPURN_VERSION);
	json_signed(out, "master_pid", s->master_pid);
	json_signed(out, "uptime_s", (clock_wall() - s->started) / NS_PER_SECOND);
	if (s->reloaded)
		clock_rfc3339(s->reloaded, when);
	json_cstr(out, "reloaded", s->reloaded ? when : NULL);
	json_bool(out, "reload_failed", s->reload_failed != 0);
	json_bool(out, "observe", s->observe_all);
	json_number(out, "crashes", s->crashes);
	json_number(out, "answered_by", worker.slot);
}

static void add_workers(struct str *out, const struct shared *s)
{
	static const char *const states[] = { [WORKER_NONE] = "none", [WORKER_STARTING] = "starting",
		[WORKER_RUNNING] = "running", [WORKER_QUIESCED] = "quiesced", [WORKER_DRAINING] = "draining" };

	json_open(out, "workers", '[');
	for (unsigned i = 0; i < RATE_WORKERS; i++) {
		const struct worker_slot *slot = &s->slots[i];
		int state = slot->state;

		if (slot->pid == 0)
			continue;
		json_open(out, NULL, '{');
		json_number(out, "slot", i);
		json_signed(out, "pid", slot->pid);
		json_cstr(out, "state", state >= WORKER_NONE && state <= WORKER_DRAINING ? states[state] : "unknown");
		json_number(out, "sessions", slot->sessions);
		json_signed(out, "heartbeat_age_ms", in_ms(clock_now() - slot->heartbeat));
		str_addc(out, '}');
	}
	str_addc(out, ']');
}

/* {"text":...,"value":...} under the identifier in lower case. */
static void add_count(struct str *out, const char *identifier, const char *text, uint64_t value)
{
	char name[64];
	size_t n = 0;

	for (; identifier[n] && n < sizeof(name) - 1; n++)
		name[n] = ascii_lower(identifier[n]);
	name[n] = '\0';
	json_open(out, name, '{');
	json_cstr(out, "text", text);
	json_number(out, "value", value);
	str_addc(out, '}');
}

static uint64_t sum_of(const struct shared *s, enum edge_counter c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < RATE_WORKERS; i++)
		sum += __atomic_load_n(&s->slots[i].counters[c], __ATOMIC_RELAXED);
	return sum;
}

static void add_counters(struct str *out, const struct shared *s)
{
	json_open(out, "counters", '{');
#define X(id, text) add_count(out, #id, text, sum_of(s, EDGE_##id));
	EDGE_COUNTERS(X)
#undef X
	str_addc(out, '}');
	json_open(out, "glitches", '{');
#define X(id, text) add_count(out, #id, text, __atomic_load_n(&s->glitches[GLITCH_##id], __ATOMIC_RELAXED));
	GLITCHES(X)
#undef X
	str_addc(out, '}');
}

static void add_turns(struct str *out)
{
	struct fiber_stats fibers = fiber_stats();
	const struct loop_stats *loop = loop_stats();

	json_open(out, "fibers", '{');
	json_number(out, "stacks", fibers.stacks);
	json_number(out, "in_use", fibers.in_use);
	json_number(out, "in_line", fibers.in_line);
	json_number(out, "most_used", fibers.most_used);
	str_addc(out, '}');
	json_open(out, "loop", '{');
	json_number(out, "turns", loop->turns);
	json_number(out, "events", loop->events);
	json_number(out, "timers", loop->timers);
	json_signed(out, "longest_turn_us", loop->longest_turn / NS_PER_US);
	str_addc(out, '}');
}

static void add_capabilities(struct str *out, unsigned capabilities)
{
	static const struct { unsigned bit; const char *name; } names[] = {
		{ CAP_PIPELINING, "PIPELINING" }, { CAP_SIZE, "SIZE" }, { CAP_8BITMIME, "8BITMIME" },
		{ CAP_SMTPUTF8, "SMTPUTF8" }, { CAP_DSN, "DSN" }, { CAP_CHUNKING, "CHUNKING" },
		{ CAP_ENHANCED, "ENHANCEDSTATUSCODES" }, { CAP_STARTTLS, "STARTTLS" },
		{ CAP_XFORWARD, "XFORWARD" }, { CAP_XCLIENT, "XCLIENT" }, { CAP_PRDR, "PRDR" },
	};

	json_open(out, "capabilities", '[');
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (capabilities & names[i].bit)
			json_cstr(out, NULL, names[i].name);
	str_addc(out, ']');
}

static void add_host(const struct pool_host_info *host, void *arg)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_cstr(out, "url", host->url);
	json_bool(out, "up", host->up);
	json_bool(out, "known", host->known);
	json_number(out, "idle", host->idle);
	json_number(out, "out", host->out);
	json_number(out, "opened", host->opened);
	json_number(out, "failed", host->failed);
	json_number(out, "transactions", host->transactions);
	add_capabilities(out, host->capabilities);
	json_number(out, "size_limit", host->size_limit);
	json_cstr(out, "last_error", host->last_error);
	json_signed(out, "retry_in_ms", host->up ? 0 : in_ms(deadline_left(host->retry_at)));
	str_addc(out, '}');
}

static void add_zone(const struct dnsbl_zone_info *zone, void *arg)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_cstr(out, "label", zone->label);
	json_bool(out, "on", zone->on);
	json_bool(out, "tested", zone->tested);
	json_cstr(out, "reason", zone->reason);
	json_number(out, "asked", zone->asked);
	json_number(out, "listed", zone->listed);
	json_number(out, "errors", zone->errors);
	json_number(out, "trouble", zone->trouble);
	str_addc(out, '}');
}

static void add_scanner(const struct scanner_info *scanner, void *arg)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_cstr(out, "name", scanner->name);
	json_cstr(out, "kind", scanner->kind);
	json_cstr(out, "address", scanner->address);
	json_bool(out, "up", !scanner->open);
	json_number(out, "asked", scanner->asked);
	json_number(out, "refused", scanner->refused);
	json_number(out, "failures", scanner->failures);
	json_signed(out, "average_us", scanner->average_us);
	json_number(out, "out", scanner->out);
	json_number(out, "idle", scanner->idle);
	json_cstr(out, "last_error", scanner->last_error);
	json_signed(out, "retry_in_ms", scanner->open ? in_ms(deadline_left(scanner->retry_at)) : 0);
	str_addc(out, '}');
}

static void add_truth(const char *backend, const char *domain, const struct truth *t, void *arg)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_cstr(out, "backend", backend);
	json_cstr(out, "domain", domain);
	json_bool(out, "accept_all", t->state == TRUTH_ACCEPTS_ALL);
	json_number(out, "tested", (uint64_t)t->tested);
	json_number(out, "late_refusals", t->late);
	json_number(out, "last_late_refusal", (uint64_t)t->last_late);
	str_addc(out, '}');
}

static void add_questions(const struct recipient_turn_info *turn, void *arg)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_cstr(out, "backend", turn->backend);
	json_number(out, "asking", turn->asking);
	json_number(out, "most_asking", turn->most_asking);
	json_number(out, "waiting", turn->waiting);
	json_number(out, "asked", turn->asked);
	json_number(out, "joined", turn->joined);
	json_number(out, "refused", turn->refused);
	str_addc(out, '}');
}

static void add_recipients(struct str *out, struct store *store)
{
	json_bool(out, "recipient_alarm", recipient_flip_alarm());
	json_open(out, "backend_truth", '[');
	truth_each(store, add_truth, out);
	str_addc(out, ']');
	json_open(out, "backend_questions", '[');
	recipient_turn_each(add_questions, out);
	str_addc(out, ']');
}

static void add_dns(struct str *out, const struct services *services)
{
	const struct dns_stats *dns = dns_stats(services->dns);

	json_open(out, "backends", '[');
	pool_each_host(services->pool, add_host, out);
	str_addc(out, ']');
	json_open(out, "dnsbl", '[');
	dnsbl_each_zone(services->dnsbl, add_zone, out);
	str_addc(out, ']');
	json_open(out, "scanners", '[');
	scanners_each(services->scanners, add_scanner, out);
	str_addc(out, ']');
	json_open(out, "dns", '{');
	json_number(out, "questions", dns->questions);
	json_number(out, "joined", dns->joined);
	json_number(out, "answered", dns->answered);
	json_number(out, "trouble", dns->trouble);
	json_number(out, "timeouts", dns->timeouts);
	json_cstr(out, "last_error", worker.dns_trouble);
	str_addc(out, '}');
}

static void add_store(struct str *out, struct store *store)
{
	struct store_stats stats;

	if (!store) {
		json_cstr(out, "store", NULL);
		return;
	}
	store_stats(store, &stats);
	json_open(out, "store", '{');
	json_open(out, "entries", '{');
	for (int t = 0; t < STORE_TABLE_COUNT; t++)
		json_number(out, store_table_name((enum store_table)t), stats.entries[t]);
	str_addc(out, '}');
	json_number(out, "puts", stats.puts);
	json_number(out, "deletes", stats.deletes);
	json_number(out, "saved", stats.saved);
	json_number(out, "commits", stats.commits);
	json_number(out, "evicted", stats.evicted);
	json_number(out, "expired", stats.expired);
	json_number(out, "failures", stats.failures);
	json_number(out, "pending", stats.pending);
	json_number(out, "map_used", stats.map_used);
	json_number(out, "map_size", stats.map_size);
	json_cstr(out, "last_error", stats.last_error);
	str_addc(out, '}');
}

static void add_journal(struct str *out, const struct journal *journal)
{
	struct journal_stats stats;

	journal_stats(journal, &stats);
	json_open(out, "journal", '{');
	json_number(out, "records", stats.records);
	json_number(out, "bytes", stats.bytes);
	json_number(out, "failures", stats.failures);
	json_cstr(out, "last_error", stats.last_error);
	str_addc(out, '}');
}

static void add_list(const struct list_file *f, void *arg)
{
	struct str *out = arg;

	json_open(out, NULL, '{');
	json_cstr(out, "path", list_file_path(f));
	json_number(out, "count", list_file_count(f));
	json_cstr(out, "trouble", list_file_trouble(f));
	str_addc(out, '}');
}

/* The outbound guard: since when its ledger is complete, and from when on it judges. */
static void add_guard(struct str *out, struct store *store, const struct config *c)
{
	time_t since = store ? guard_complete_since(store) : 0, warm;
	char when[25];

	json_open(out, "guard", '{');
	json_bool(out, "wanted", stage_guard_wanted(c));
	if (since)
		clock_rfc3339(since * NS_PER_SECOND, when);
	json_cstr(out, "complete_since", since ? when : NULL);
	warm = since + (time_t)(c->guard.warm_after / NS_PER_SECOND);
	json_bool(out, "warm", c->guard.warm_after == 0 || (since && warm <= clock_wall_seconds()));
	if (since)
		clock_rfc3339(warm * NS_PER_SECOND, when);
	json_cstr(out, "warm_at", since ? when : NULL);
	json_cstr(out, "mode", check_mode_name(config_mode(c, NULL, CHECK_NOTICE, worker.shared->observe_all)));
	json_cstr(out, "action", c->guard.action == GUARD_DESTROY ? "destroy" : "refuse");
	str_addc(out, '}');
}

void control_status(struct str *out)
{
	str_addc(out, '{');
	add_state(out, worker.shared);
	add_workers(out, worker.shared);
	add_counters(out, worker.shared);
	add_turns(out);
	add_dns(out, &worker.edge.services);
	add_store(out, worker.edge.services.store);
	add_journal(out, worker.edge.journal);
	control_directories(out);
	json_open(out, "lists", '[');
	list_files_each(add_list, out);
	str_addc(out, ']');
	control_proofs(out);
	add_guard(out, worker.edge.services.store, worker.edge.config);
	add_recipients(out, worker.edge.services.store);
	str_puts(out, "}\n");
}

static void add_wait(const struct fiber_wait_info *wait, void *arg)
{
	struct str *out = arg;

	str_addc(out, '{');
	json_cstr(out, "name", wait->name);
	json_cstr(out, "label", wait->label);
	json_signed(out, "since_ms", in_ms(clock_now() - wait->since));
	json_key(out, "deadline_in_ms");
	if (wait->until == DEADLINE_NONE)
		str_puts(out, "null");
	else
		str_printf(out, "%lld", (long long)in_ms(deadline_left(wait->until)));
	str_puts(out, "}\n");
}

void control_waits(struct str *out)
{
	fiber_each_wait(add_wait, out);
}
