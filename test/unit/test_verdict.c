/* The verdict: each rule, in each mode, with each exemption. */
#include "unit.h"

#include "check/notice.h"
#include "policy/verdict.h"

static struct arena arena;
static struct config conf;
static struct domain_conf domain;
static struct envelope envelope;
static struct client_facts client;
static struct recipient bob, role;

static void begin(enum check_mode mode)
{
	conf = (struct config){ .mode = MODE_ENFORCE, .dnsbl.threshold = 3 };
	for (int i = 0; i < CHECK_COUNT; i++)
		conf.check_mode[i] = (uint8_t)mode;
	domain = (struct domain_conf){ .name = "example.org" };
	client = (struct client_facts){ .class = CLIENT_STRANGER };
	envelope = (struct envelope){ .arena = &arena, .client = &client };
	bob = (struct recipient){ .exempt = false };
	role = (struct recipient){ .exempt = true };
}

static struct finding *found(enum check check, enum result result)
{
	return finding_add(&envelope.findings, &arena, check, result, "reason");
}

static struct verdict judge(const struct recipient *r, bool observe_all)
{
	return verdict_of_recipient(&conf, &domain, &envelope, r, observe_all);
}

static const struct {
	enum check check;
	enum result result;
	enum disposition disposition;
	enum reply_name reply;
	bool reputation;
} rules[] = {
	{ CHECK_CLIENT, RESULT_DENIED, DISPOSITION_REJECT, REPLY_CLIENT_DENIED, true },
	{ CHECK_DNSBL, RESULT_LISTED, DISPOSITION_REJECT, REPLY_CLIENT_LISTED, true },
	{ CHECK_SENDER, RESULT_DENIED, DISPOSITION_REJECT, REPLY_SENDER_DENIED, true },
	{ CHECK_BOUNCE, RESULT_EXCEEDED, DISPOSITION_REJECT, REPLY_CLIENT_RETURNS, true },
	{ CHECK_SENDER_DOMAIN, RESULT_NXDOMAIN, DISPOSITION_REJECT, REPLY_NO_SENDER_DOMAIN, false },
	{ CHECK_SENDER_DOMAIN, RESULT_NULL_MX, DISPOSITION_REJECT, REPLY_SENDER_NULL_MX, false },
	{ CHECK_SENDER_DOMAIN, RESULT_BAD_MX, DISPOSITION_REJECT, REPLY_SENDER_BAD_MX, false },
	{ CHECK_SENDER_DOMAIN, RESULT_TEMPERROR, DISPOSITION_DEFER, REPLY_SENDER_DNS_TROUBLE, false },
	{ CHECK_RECIPIENT, RESULT_NO_SUCH_USER, DISPOSITION_REJECT, REPLY_NO_SUCH_USER, false },
	{ CHECK_RECIPIENT, RESULT_UNCONFIRMED, DISPOSITION_DEFER, REPLY_RECIPIENT_UNCONFIRMED, false },
	{ CHECK_RECIPIENT, RESULT_UNKNOWN, DISPOSITION_DEFER, REPLY_RECIPIENT_UNKNOWN, false },
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

static struct finding *find_rule(size_t i, enum check_mode mode)
{
	struct finding *f;

	begin(mode);
	f = found(rules[i].check, rules[i].result);
	f->weight = rules[i].check == CHECK_DNSBL || rules[i].check == CHECK_BOUNCE ? 3 : 0;
	return f;
}

static void each_rule_bites_when_enforced(void **state)
{
	for (size_t i = 0; i < RULES; i++) {
		struct finding *f = find_rule(i, MODE_ENFORCE);
		struct verdict v = judge(&bob, false);

		assert_int_equal(v.disposition, rules[i].disposition);
		assert_int_equal(v.reply, rules[i].reply);
		assert_ptr_equal(v.because, f);
		assert_int_equal(f->would, rules[i].disposition);
	}
}

static void observed_it_is_noted_and_changes_nothing(void **state)
{
	for (size_t i = 0; i < RULES; i++) {
		struct finding *f = find_rule(i, MODE_OBSERVE);

		assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
		assert_int_equal(f->mode, MODE_OBSERVE);
		assert_int_equal(f->would, rules[i].disposition);
		f = find_rule(i, MODE_OFF);
		assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
		assert_int_equal(f->would, DISPOSITION_ACCEPT);
	}
}

static void observe_on_turns_every_rule_off(void **state)
{
	for (size_t i = 0; i < RULES; i++) {
		struct finding *f = find_rule(i, MODE_ENFORCE);

		assert_int_equal(judge(&bob, true).reply, REPLY_NONE);
		assert_int_equal(f->would, rules[i].disposition);
		conf.mode = MODE_OBSERVE;
		assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	}
}

static void a_domain_has_its_own_mode(void **state)
{
	for (size_t i = 0; i < RULES; i++) {
		find_rule(i, MODE_ENFORCE);
		domain.mode[rules[i].check] = MODE_OFF + 1;
		assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	}
}

/* A filter's word on some of the recipients: all come again, or under PRDR each hears his own. */
static void what_is_said_of_some_recipients(void **state)
{
	struct verdict v;

	(void)state;
	begin(MODE_ENFORCE);
	found(CHECK_CONTENT, RESULT_DISAGREED);
	v = verdict_of_message(&conf, &domain, &envelope, false);
	assert_true(v.reply == REPLY_MIXED_OUTCOME && !v.split);
	envelope.prdr = true;
	v = verdict_of_message(&conf, &domain, &envelope, false);
	assert_true(v.disposition == DISPOSITION_ACCEPT && v.reply == REPLY_NONE && v.split);
	v = verdict_of_message(&conf, &domain, &envelope, true);
	assert_true(v.disposition == DISPOSITION_ACCEPT && !v.split);
	client.class = CLIENT_TRUSTED;
	v = verdict_of_message(&conf, &domain, &envelope, false);
	assert_true(v.disposition == DISPOSITION_MARK && !v.split);
	client.class = CLIENT_STRANGER;
	found(CHECK_CONTENT, RESULT_SUSPECT);
	v = verdict_of_message(&conf, &domain, &envelope, false);
	assert_true(v.disposition == DISPOSITION_MARK && v.split);
	found(CHECK_CONTENT, RESULT_VIRUS);
	v = verdict_of_message(&conf, &domain, &envelope, false);
	assert_true(v.disposition == DISPOSITION_REJECT && v.reply == REPLY_VIRUS_FOUND);
}

static void role_accounts_are_exempt_from_reputation_alone(void **state)
{
	for (size_t i = 0; i < RULES; i++) {
		find_rule(i, MODE_ENFORCE);
		assert_int_equal(judge(&role, false).reply, rules[i].reputation ? REPLY_NONE : rules[i].reply);
	}
}

static void weights_are_added_up(void **state)
{
	begin(MODE_ENFORCE);
	found(CHECK_DNSBL, RESULT_LISTED)->weight = 2;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	finding_add(&envelope.client_findings, &arena, CHECK_DNSBL, RESULT_LISTED, "r")->weight = 1;
	assert_int_equal(judge(&bob, false).reply, REPLY_CLIENT_LISTED);
	found(CHECK_DNSBL, RESULT_LISTED)->weight = -1;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
}

/* It weighs with the zones where it is enforced; where it is watched, the record says what it would do. */
static void a_client_that_returns_much_has_weight(void **state)
{
	struct finding *f;

	(void)state;
	begin(MODE_ENFORCE);
	found(CHECK_DNSBL, RESULT_LISTED)->weight = 2;
	f = found(CHECK_BOUNCE, RESULT_EXCEEDED);
	f->weight = 1;
	assert_int_equal(judge(&bob, false).reply, REPLY_CLIENT_LISTED);
	conf.check_mode[CHECK_BOUNCE] = MODE_OBSERVE;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	assert_int_equal(f->would, DISPOSITION_REJECT);
	client.class = CLIENT_ALLOWED;
	f->would = DISPOSITION_ACCEPT;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	assert_int_equal(f->would, DISPOSITION_ACCEPT);
}

static void an_allow_list_alone_refuses_nobody(void **state)
{
	begin(MODE_ENFORCE);
	conf.dnsbl.threshold = -5;
	found(CHECK_DNSBL, RESULT_LISTED)->weight = -2;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
}

static void who_is_allowed_skips_lists(void **state)
{
	begin(MODE_ENFORCE);
	found(CHECK_DNSBL, RESULT_LISTED)->weight = 9;
	client.class = CLIENT_ALLOWED;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	client.class = CLIENT_STRANGER;
	found(CHECK_SENDER, RESULT_ALLOWED);
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	/* Not if it is forged. */
	envelope.auth.spf = (struct spf_facts){ .asked = true, .result = RESULT_SOFTFAIL };
	assert_int_equal(judge(&bob, false).reply, REPLY_CLIENT_LISTED);
	envelope.auth.spf.result = RESULT_NEUTRAL;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	/* But never what is known about the recipient. */
	found(CHECK_RECIPIENT, RESULT_NO_SUCH_USER)->recipient = &bob;
	assert_int_equal(judge(&bob, false).reply, REPLY_NO_SUCH_USER);
}

static void a_finding_about_another_recipient_is_not_ours(void **state)
{
	struct recipient other = { .exempt = false };

	begin(MODE_ENFORCE);
	found(CHECK_RECIPIENT, RESULT_NO_SUCH_USER)->recipient = &other;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	assert_int_equal(judge(&other, false).reply, REPLY_NO_SUCH_USER);
}

static void the_worst_speaks_and_the_first_of_equals(void **state)
{
	begin(MODE_ENFORCE);
	found(CHECK_RECIPIENT, RESULT_UNKNOWN);
	found(CHECK_SENDER_DOMAIN, RESULT_NULL_MX);
	found(CHECK_SENDER, RESULT_DENIED);
	assert_int_equal(judge(&bob, false).reply, REPLY_SENDER_NULL_MX);
}

static void knowledge_is_no_argument(void **state)
{
	begin(MODE_ENFORCE);
	found(CHECK_HELO, RESULT_IMPLAUSIBLE);
	found(CHECK_RDNS, RESULT_FAIL);
	found(CHECK_RDNS, RESULT_TEMPERROR);
	found(CHECK_DNSBL, RESULT_TEMPERROR);
	found(CHECK_RECIPIENT, RESULT_EXISTS);
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
}

/* ---- SPF ---- */

enum { ACCEPT, MARK, REFUSE };		/* places of the choices in a configuration */

static struct verdict judge_end(void)
{
	return verdict_of_message(&conf, &domain, &envelope, false);
}

/* A message whose SPF came to this. */
static void spf_is(enum result result)
{
	begin(MODE_ENFORCE);
	conf.spf = (struct spf_conf){ .fail = REFUSE, .softfail = MARK, .permerror = MARK, .temperror = ACCEPT };
	envelope.recipients = &bob;
	envelope.auth.spf = (struct spf_facts){ .asked = true, .result = result, .domain = SLICE("news.example.net") };
	found(CHECK_SPF, result)->detail = "words";
}

#define assert_end(disposition_, reply_) \
	do { \
		struct verdict end = judge_end(); \
		assert_int_equal(end.disposition, DISPOSITION_##disposition_); \
		assert_int_equal(end.reply, REPLY_##reply_); \
	} while (0)

static void spf_results_at_the_end(void **state)
{
	static const struct {
		enum result result;
		uint8_t choice;
		enum disposition disposition;
		enum reply_name reply;
	} rows[] = {
		{ RESULT_FAIL, REFUSE, DISPOSITION_REJECT, REPLY_SPF_FAIL },
		{ RESULT_FAIL, MARK, DISPOSITION_MARK, REPLY_NONE },
		{ RESULT_FAIL, ACCEPT, DISPOSITION_ACCEPT, REPLY_NONE },
		{ RESULT_SOFTFAIL, REFUSE, DISPOSITION_REJECT, REPLY_SPF_FAIL },
		{ RESULT_SOFTFAIL, MARK, DISPOSITION_MARK, REPLY_NONE },
		{ RESULT_PERMERROR, REFUSE, DISPOSITION_REJECT, REPLY_SPF_BROKEN },
		{ RESULT_PERMERROR, MARK, DISPOSITION_MARK, REPLY_NONE },
		{ RESULT_TEMPERROR, ACCEPT, DISPOSITION_ACCEPT, REPLY_NONE },
		{ RESULT_TEMPERROR, MARK, DISPOSITION_MARK, REPLY_NONE },
		{ RESULT_TEMPERROR, REFUSE, DISPOSITION_DEFER, REPLY_SPF_TROUBLE },
		{ RESULT_PASS, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
		{ RESULT_NEUTRAL, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
		{ RESULT_NONE, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict v;

		spf_is(rows[i].result);
		conf.spf = (struct spf_conf){ rows[i].choice, rows[i].choice, rows[i].choice, rows[i].choice };
		assert_int_equal(judge(&bob, false).disposition, DISPOSITION_ACCEPT);	/* nothing yet at RCPT */
		v = judge_end();
		assert_int_equal(v.disposition, rows[i].disposition);
		assert_int_equal(v.reply, rows[i].reply);
	}
}

static void who_never_sends_hears_it_at_rcpt(void **state)
{
	spf_is(RESULT_FAIL);
	envelope.auth.spf.never_sends = true;
	assert_int_equal(judge(&bob, false).reply, REPLY_SPF_NEVER_SENDS);
	assert_int_equal(judge(&role, false).reply, REPLY_NONE);
	envelope.auth.spf.helo = true;		/* a null path is not refused for its HELO */
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	assert_end(MARK, NONE);
	envelope.auth.spf.helo = false;
	conf.spf.fail = MARK;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	conf.spf.fail = REFUSE;
	client.class = CLIENT_ALLOWED;
	assert_int_equal(judge(&bob, false).reply, REPLY_NONE);
	assert_end(MARK, NONE);
}

/* A signature of this domain, with this result. */
static void signature_is(const char *d, enum result result)
{
	static struct dkim_facts signature;

	signature = (struct dkim_facts){ .domain = slice_of(d), .result = result };
	envelope.auth.dkim = &signature;
}

static void what_stands_behind_a_message(void **state)
{
	spf_is(RESULT_FAIL);
	signature_is("news.example.net", RESULT_PASS);
	assert_end(ACCEPT, NONE);
	signature_is("Example.NET", RESULT_PASS);
	assert_end(ACCEPT, NONE);
	signature_is("net", RESULT_PASS);
	assert_end(REJECT, SPF_FAIL);
	signature_is("ample.net", RESULT_PASS);
	assert_end(REJECT, SPF_FAIL);
	signature_is("evil.news.example.net", RESULT_PASS);
	assert_end(REJECT, SPF_FAIL);
	signature_is("other.example", RESULT_PASS);
	assert_end(REJECT, SPF_FAIL);
	envelope.auth.dmarc.from_domain = SLICE("shop.other.example");
	assert_end(ACCEPT, NONE);
	envelope.auth.dmarc.from_domain = SLICE_NULL;
	envelope.auth.dmarc.aligned_by = "spf";
	assert_end(REJECT, SPF_FAIL);
	envelope.auth.dmarc.aligned_by = "dkim";
	assert_end(ACCEPT, NONE);
	envelope.auth.dmarc = (struct dmarc_facts){ .result = RESULT_PASS };
	assert_end(ACCEPT, NONE);
	envelope.auth.dmarc = (struct dmarc_facts){ .overridden_by = "arc" };
	assert_end(ACCEPT, NONE);
	envelope.auth.dmarc = (struct dmarc_facts){ .asked = false };
	envelope.auth.arc = (struct arc_facts){ .result = RESULT_PASS };
	assert_end(REJECT, SPF_FAIL);
	envelope.auth.arc.trusted = true;
	assert_end(ACCEPT, NONE);
	spf_is(RESULT_SOFTFAIL);
	signature_is("example.net", RESULT_PASS);
	assert_end(ACCEPT, NONE);
}

/* What could have overruled it is not known: a refusal would be a guess. */
static void trouble_of_what_could_overrule_defers(void **state)
{
	spf_is(RESULT_FAIL);
	signature_is("example.net", RESULT_TEMPERROR);
	assert_end(DEFER, AUTH_TROUBLE);
	signature_is("other.example", RESULT_TEMPERROR);
	assert_end(REJECT, SPF_FAIL);
	signature_is("other.example", RESULT_PASS);
	envelope.auth.dmarc.result = RESULT_TEMPERROR;
	assert_end(DEFER, AUTH_TROUBLE);
	envelope.auth.dmarc.result = RESULT_FAIL;
	envelope.auth.arc.result = RESULT_TEMPERROR;
	assert_end(REJECT, SPF_FAIL);
	envelope.auth.arc.trusted = true;
	assert_end(DEFER, AUTH_TROUBLE);
	conf.spf.fail = MARK;
	assert_end(MARK, NONE);
}

/* ---- a proven bounce ---- */

static struct notice notice;

/* It answers what was sent from here: it is told from all else by its proof alone, in whatever mode that is looked for. */
static void bounce_is(enum result proof, enum notice_kind kind, enum check_mode mode)
{
	notice = (struct notice){ .kind = kind };
	envelope.notice = &notice;
	envelope.recipients = &bob;
	conf.check_mode[CHECK_BOUNCE] = (uint8_t)mode;
	domain.bounces.proven = domain.bounces.plausible = domain.bounces.unproven = ACCEPT;
	found(CHECK_BOUNCE, proof);
}

static const struct {
	enum check check;
	enum result result;
	enum disposition disposition;
	bool lets_proven_in;
} losses[] = {
	{ CHECK_CONTENT, RESULT_SPAM, DISPOSITION_REJECT, true },
	{ CHECK_CONTENT, RESULT_REFUSED, DISPOSITION_REJECT, true },
	{ CHECK_CONTENT, RESULT_TRY_LATER, DISPOSITION_DEFER, true },
	{ CHECK_CONTENT, RESULT_VIRUS, DISPOSITION_REJECT, false },
	{ CHECK_CONTENT, RESULT_TEMPERROR, DISPOSITION_DEFER, false },
	{ CHECK_SPF, RESULT_FAIL, DISPOSITION_REJECT, true },
	{ CHECK_SPF, RESULT_TEMPERROR, DISPOSITION_DEFER, true },
	{ CHECK_DMARC, RESULT_FAIL, DISPOSITION_REJECT, true },
	{ CHECK_DMARC, RESULT_TEMPERROR, DISPOSITION_DEFER, true },
};
#define LOSSES (sizeof(losses) / sizeof(losses[0]))

static enum disposition end_of_loss(size_t i, enum result proof, enum notice_kind kind, enum check_mode mode)
{
	begin(MODE_ENFORCE);
	conf.spf = (struct spf_conf){ .fail = REFUSE, .temperror = REFUSE };
	conf.dmarc.reject = REFUSE;
	envelope.auth.dmarc.policy = losses[i].check == CHECK_DMARC ? 'r' : 0;
	found(losses[i].check, losses[i].result);
	bounce_is(proof, kind, mode);
	return judge_end().disposition;
}

static void a_proven_bounce_is_not_lost_for_how_it_looks(void **state)
{
	for (size_t i = 0; i < LOSSES; i++) {
		enum disposition proven = losses[i].lets_proven_in ? DISPOSITION_MARK : losses[i].disposition;

		assert_int_equal(end_of_loss(i, RESULT_PROVEN, NOTICE_DSN, MODE_ENFORCE), proven);
		assert_int_equal(end_of_loss(i, RESULT_PROVEN, NOTICE_DSN, MODE_OBSERVE), proven);
		assert_int_equal(end_of_loss(i, RESULT_PLAUSIBLE, NOTICE_DSN, MODE_ENFORCE), losses[i].disposition);
		assert_int_equal(end_of_loss(i, RESULT_UNPROVEN, NOTICE_DSN, MODE_ENFORCE), losses[i].disposition);
		assert_int_equal(end_of_loss(i, RESULT_PROVEN, NOTICE_AUTO_REPLY, MODE_ENFORCE), losses[i].disposition);
	}
}

/* ---- DMARC ---- */

/* What one author's domain asks for, and what became of it. */
static const struct {
	enum result result;
	char policy;
	uint8_t reject, quarantine, temperror;
	enum disposition disposition;
	enum reply_name reply;
} dmarc_rows[] = {
	{ RESULT_FAIL, 'r', REFUSE, MARK, ACCEPT, DISPOSITION_REJECT, REPLY_DMARC_REFUSED },
	{ RESULT_FAIL, 'r', MARK, MARK, ACCEPT, DISPOSITION_MARK, REPLY_NONE },
	{ RESULT_FAIL, 'r', ACCEPT, MARK, ACCEPT, DISPOSITION_ACCEPT, REPLY_NONE },
	{ RESULT_FAIL, 'q', REFUSE, MARK, ACCEPT, DISPOSITION_MARK, REPLY_NONE },
	{ RESULT_FAIL, 'q', REFUSE, REFUSE, ACCEPT, DISPOSITION_REJECT, REPLY_DMARC_REFUSED },
	{ RESULT_FAIL, 'n', REFUSE, REFUSE, ACCEPT, DISPOSITION_ACCEPT, REPLY_NONE },
	{ RESULT_FAIL, 0, REFUSE, REFUSE, ACCEPT, DISPOSITION_ACCEPT, REPLY_NONE },
	{ RESULT_PASS, 'r', REFUSE, REFUSE, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
	{ RESULT_NONE, 0, REFUSE, REFUSE, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
	{ RESULT_PERMERROR, 0, REFUSE, REFUSE, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
	/* The policy is known, SPF or a key is not: a good answer could have made it a pass. */
	{ RESULT_TEMPERROR, 'r', REFUSE, MARK, ACCEPT, DISPOSITION_DEFER, REPLY_DMARC_TROUBLE },
	{ RESULT_TEMPERROR, 'r', MARK, MARK, REFUSE, DISPOSITION_MARK, REPLY_NONE },
	{ RESULT_TEMPERROR, 'q', REFUSE, MARK, REFUSE, DISPOSITION_MARK, REPLY_NONE },
	{ RESULT_TEMPERROR, 'n', REFUSE, REFUSE, REFUSE, DISPOSITION_ACCEPT, REPLY_NONE },
	/* The policy itself is not. */
	{ RESULT_TEMPERROR, 0, REFUSE, REFUSE, ACCEPT, DISPOSITION_ACCEPT, REPLY_NONE },
	{ RESULT_TEMPERROR, 0, REFUSE, REFUSE, MARK, DISPOSITION_MARK, REPLY_NONE },
	{ RESULT_TEMPERROR, 0, REFUSE, REFUSE, REFUSE, DISPOSITION_DEFER, REPLY_DMARC_TROUBLE },
	{ RESULT_NO_FROM, 0, REFUSE, REFUSE, REFUSE, DISPOSITION_MARK, REPLY_NONE },
};
#define DMARC_ROWS (sizeof(dmarc_rows) / sizeof(dmarc_rows[0]))

static void dmarc_is(size_t i)
{
	begin(MODE_ENFORCE);
	conf.dmarc.reject = dmarc_rows[i].reject;
	conf.dmarc.quarantine = dmarc_rows[i].quarantine;
	conf.dmarc.temperror = dmarc_rows[i].temperror;
	envelope.recipients = &bob;
	envelope.auth.dmarc = (struct dmarc_facts){ .result = dmarc_rows[i].result, .policy = dmarc_rows[i].policy };
	found(CHECK_DMARC, dmarc_rows[i].result);
}

static void dmarc_results_at_the_end(void **state)
{
	for (size_t i = 0; i < DMARC_ROWS; i++) {
		struct verdict v;

		dmarc_is(i);
		v = judge_end();
		assert_int_equal(v.disposition, dmarc_rows[i].disposition);
		assert_int_equal(v.reply, dmarc_rows[i].reply);
		conf.mode = MODE_OBSERVE;
		assert_int_equal(judge_end().disposition, DISPOSITION_ACCEPT);
	}
}

/* Whoever is allowed or trusted hears no refusal, and neither postmaster@; a forwarder or a sealer that vouches ends the matter. */
static void who_is_not_measured_by_dmarc(void **state)
{
	for (size_t i = 0; i < DMARC_ROWS; i++) {
		enum disposition d = dmarc_rows[i].disposition;

		dmarc_is(i);
		client.class = CLIENT_ALLOWED;
		assert_int_equal(judge_end().disposition, d == DISPOSITION_REJECT || d == DISPOSITION_DEFER ? DISPOSITION_MARK : d);
		dmarc_is(i);
		envelope.recipients = &role;
		assert_int_equal(judge_end().disposition, DISPOSITION_ACCEPT);
		dmarc_is(i);
		envelope.auth.dmarc.overridden_by = "arc";
		assert_int_equal(judge_end().disposition, dmarc_rows[i].result == RESULT_NO_FROM ? DISPOSITION_MARK :
			DISPOSITION_ACCEPT);
	}
}

/* A sealer who may speak for the message could not be asked. */
static void a_trusted_seal_in_doubt_defers(void **state)
{
	dmarc_is(0);
	envelope.auth.arc.result = RESULT_TEMPERROR;
	assert_end(REJECT, DMARC_REFUSED);
	envelope.auth.arc.trusted = true;
	assert_int_equal(judge_end().disposition, DISPOSITION_DEFER);
	conf.dmarc.reject = MARK;
	assert_end(MARK, NONE);
}

static void a_from_that_defeats_dmarc(void **state)
{
	begin(MODE_ENFORCE);
	conf.dmarc.bad_from = REFUSE;
	envelope.recipients = &bob;
	found(CHECK_DMARC, RESULT_BAD_FROM);
	envelope.reverse_path.domain = SLICE("example.net");
	envelope.reverse_path.local = SLICE("a");
	assert_end(REJECT, BAD_FROM);
	client.class = CLIENT_TRUSTED;
	assert_end(MARK, NONE);
	client.class = CLIENT_STRANGER;
	notice = (struct notice){ .kind = NOTICE_AUTO_REPLY };
	envelope.notice = &notice;
	assert_end(MARK, NONE);
	notice.kind = NOTICE_MESSAGE;
	assert_end(REJECT, BAD_FROM);
	envelope.reverse_path = (struct path){ .null = true };
	assert_end(MARK, NONE);
}

UNIT_MAIN(T(each_rule_bites_when_enforced), T(observed_it_is_noted_and_changes_nothing),
	T(observe_on_turns_every_rule_off), T(a_domain_has_its_own_mode),
	T(role_accounts_are_exempt_from_reputation_alone), T(what_is_said_of_some_recipients), T(weights_are_added_up),
	T(a_client_that_returns_much_has_weight),
	T(an_allow_list_alone_refuses_nobody), T(who_is_allowed_skips_lists),
	T(a_finding_about_another_recipient_is_not_ours), T(the_worst_speaks_and_the_first_of_equals),
	T(knowledge_is_no_argument), T(spf_results_at_the_end), T(who_never_sends_hears_it_at_rcpt),
	T(what_stands_behind_a_message), T(trouble_of_what_could_overrule_defers),
	T(a_proven_bounce_is_not_lost_for_how_it_looks), T(dmarc_results_at_the_end), T(who_is_not_measured_by_dmarc),
	T(a_trusted_seal_in_doubt_defers), T(a_from_that_defeats_dmarc))
