/*
 * From the facts of a notice to its finding.
 *
 * A signature of our own on the returned header section is looked at only if tag, mark and ledger do not prove anything: it costs a
 * question to DNS. One that proves alone tells something else besides: the message left by another door, so
 * the domain is not ready to have refused what is unproven.
 *
 * Tags and SRS hashes can be guessed at, so false ones are counted per client, and of a client that has shown many none is looked at. The
 * client may be a large provider whom somebody made to bounce to false tags: what would be refused for want of the tag is put off until
 * its count is down, so that its genuine bounces come in then.
 */
#include "policy/stage_bounce.h"

#include "base/log.h"
#include "check/finding.h"
#include "check/notice.h"
#include "check/returned.h"
#include "check/wave.h"

#define GUESSES 10u	/* false tags of a client before one that fits proves nothing: 10 in 2^24 */

struct bounce_stage {
	const struct message_view *view;
	const struct domain_conf *domain;
	struct bounce_question question;
	struct address_form form;
	struct bounce_proof proof;
	bool signature_trouble;
};

/* ---- RCPT ---- */

static bool has_our_form(const struct address_form *form)
{
	return (form->tag == ADDRESS_TAG_PRVS || form->tag == ADDRESS_TAG_PRVS_SWAPPED) && form->tag_text.n == 10;
}

bool bounce_tag_is_false(const struct config *c, const struct address_form *form, struct slice canonical)
{
	return has_our_form(form) && proof_tag_check(&c->bounces.keys, form->tag_text, canonical, c->bounces.life,
		clock_wall_seconds()) == PROOF_FALSE;
}

bool bounce_tag_comes_off(const struct config *c, struct store *store, const struct address_form *form, struct slice canonical)
{
	if (!has_our_form(form) || !proof_keys_find(&c->bounces.keys, form->tag_text.p[0]))
		return false;
	return !bounce_tag_is_false(c, form, canonical) || !store ||
		sent_tag_known(store, form->tag_text, canonical) != STORE_OK;
}

void bounce_stage_recipient(const struct config *c, const struct domain_conf *d, struct envelope *e, const struct recipient *r)
{
	const char *where;
	struct finding *f;

	if (!d || !path_is_null(&e->reverse_path) || config_mode(c, d, CHECK_BOUNCE, false) == MODE_OFF ||
	    !address_list_contains(&d->bounces.never_sends, r->canonical, &where))
		return;
	f = finding_add(&e->findings, e->arena, CHECK_BOUNCE, RESULT_NEVER_SENDS,
		"a notice for an address that never sends");
	f->evidence = where;
	f->recipient = r;
}

/* ---- MAIL ---- */

static bool returns_much(const struct services *s, const struct config *c, const struct client_facts *client, uint32_t *score)
{
	*score = s->rates && c->bounces.client_limit && client->class != CLIENT_TRUSTED ?
		rate_score(s->rates, &client->ip, RATE_UNPROVEN_NOTICE) : 0;
	return *score > c->bounces.client_limit;
}

void bounce_stage_client(const struct services *s, const struct config *c, struct envelope *e)
{
	char text[IP_TEXT];
	struct finding *f;
	uint32_t score;

	if (!returns_much(s, c, e->client, &score))
		return;
	f = finding_add(&e->findings, e->arena, CHECK_BOUNCE, RESULT_EXCEEDED,
		"this client returns much that was not sent from here");
	f->evidence = arena_printf(e->arena, "%u bounces of late (client-limit %u)", score, c->bounces.client_limit);
	f->weight = (int32_t)c->bounces.client_weight;
	f->detail = arena_printf(e->arena, "%s", ip_text(&e->client->ip, text));
}

/* ---- a signature of ours on what comes back ---- */

static bool is_our_domain(void *arg, struct slice name)
{
	const struct domain_conf *d = arg;
	struct slice ours = slice_of(d->name);

	/* d= is the domain of the addressee or stands above it. */
	return slice_find(name, '.') >= 0 && slice_ends_nocase(ours, name) &&
		(ours.n == name.n || ours.p[ours.n - name.n - 1] == '.');
}

struct returned *bounce_stage_returned(const struct message_view *view)
{
	struct returned_conf conf = { .dkim = &view->config->dkim, .ours = is_our_domain, .arg = (void *)view->domain,
		.life = (int64_t)view->config->bounces.life * 86400 };

	if (!view->domain || config_mode(view->config, view->domain, CHECK_BOUNCE, false) == MODE_OFF)
		return NULL;
	return returned_begin(view->envelope->arena, &conf);
}

/* Signatures say who is the author (From), and do not know the envelope. One over somebody else's message proves nothing to the
 * addressee, who may be the bounce address of a newsletter; but it shows the exit of that. */
static bool is_author(const struct bounce_stage *s, const struct notice_original *o)
{
	struct slice value = o->from, canonical;
	ptrdiff_t open = slice_rfind(value, '<'), close = slice_rfind(value, '>');

	if (open >= 0 && close > open)
		value = slice_make(value.p + open + 1, (size_t)(close - open - 1));
	return config_address(s->view->config, s->view->envelope->arena, slice_trim(value), &canonical) &&
		slice_eq(canonical, s->question.addressee);
}

static ASYNC void look_for_signature(struct bounce_stage *s, deadline until)
{
	const struct services *services = s->view->services;
	const struct notice_original *o = &s->question.notice->original;
	struct returned_answer answer;
	bool author;

	if (!s->view->returned)
		return;
	author = is_author(s, o);
	returned_verify(s->view->returned, o, services->dns, services->dkim_keys, clock_wall_seconds(), &answer, until);
	s->question.signed_for_other = !author && answer.result == RESULT_PASS;
	if (!author)
		return;
	s->question.signed_by = answer.domain;
	s->question.signature = answer.signature;
	s->question.signed_other_body = answer.other_body;
	s->question.signed_long_ago = answer.too_old;
	s->signature_trouble = answer.result == RESULT_TEMPERROR;
}

/* ---- the notice ---- */

/* A tag that is not ours while there is no ledger, which would know whether mail left here under it. */
static bool is_past_telling(const struct message_view *view, const struct address_form *form, struct slice canonical)
{
	return !view->services->store && bounce_tag_is_false(view->config, form, canonical);
}

void *bounce_stage_begin(const struct message_view *view)
{
	const struct recipient *r = view->envelope->recipients;
	struct bounce_stage *s;

	if (!r || !view->domain)
		return NULL;
	s = arena_new(view->envelope->arena, struct bounce_stage);
	s->view = view;
	s->domain = view->domain;
	s->question = (struct bounce_question){ .conf = &view->config->bounces, .store = view->services->store,
		.addressee = r->canonical };
	if (address_form(view->envelope->arena, &r->path, view->domain->separators, &s->form)) {
		s->question.form = &s->form;
		if (has_our_form(&s->form) && !is_past_telling(view, &s->form, r->canonical))
			s->question.tag = s->form.tag_text;
	}
	return s;
}

/* A bounce answers one message of one sender (RFC 5321 section 6.1: it is sent to the address of the reverse-path). After the null
 * reverse-path nobody may name several; with another sender the first must not open the door for the others. */
static void look_at_others(struct bounce_stage *s, const struct envelope *e)
{
	struct bounce_proof *p = &s->proof;

	if (e->recipient_count < 2 || !notice_is_bounce(e->notice->kind) ||
	    (p->result != RESULT_PROVEN && p->result != RESULT_PLAUSIBLE))
		return;
	p->result = RESULT_UNPROVEN;
	p->reason = "it is for several, and proves itself for one of them at most";
}

static ASYNC void judge(struct bounce_stage *s, deadline until)
{
	const struct services *services = s->view->services;
	struct envelope *e = s->view->envelope;
	struct bounce_question *q = &s->question;

	q->notice = e->notice;
	q->now = clock_wall_seconds();
	q->guesser = services->rates && rate_score(services->rates, &e->client->ip, RATE_FALSE_TAG) >= GUESSES;
	q->remember = false;
	bounce_judge(&s->proof, q, e->arena);
	if (s->proof.result == RESULT_UNPROVEN)
		look_for_signature(s, until);
	q->remember = true;
	bounce_judge(&s->proof, q, e->arena);
	s->proof.store_trouble |= !q->store;	/* it could not be opened */
	look_at_others(s, e);
}

static void learn(struct bounce_stage *s)
{
	const struct services *services = s->view->services;
	const struct ip *client = &s->view->envelope->client->ip;

	if (s->proof.tag_failed && services->rates)
		rate_count(services->rates, client, RATE_FALSE_TAG);
	if (s->proof.elsewhere && services->store)
		sent_exit_elsewhere(services->store, slice_of(s->domain->name), clock_wall_seconds());
}

/* Waves are counted where they are seen; begin and end stand in the record and in the log. An end that nobody's notice shows is
 * told by the clock (bounce_stage_tick()). */
static bool look_for_wave(struct bounce_stage *s, struct findings *found, struct slice name, uint32_t least)
{
	struct arena *a = s->view->envelope->arena;
	struct wave w;
	const char *what;
	bool news;

	if (!s->view->services->store ||
	    wave_look(s->view->services->store, name, least, true, clock_wall_seconds(), &w) != STORE_OK)
		return false;
	news = waves_note(s->view->services->waves, name, least, &w);
	if (w.news == WAVE_BEGINS || w.news == WAVE_ENDS) {
		what = arena_printf(a, "a wave of notices about mail that we did not send %s: %.*s, %u in this hour, usually %u",
			w.news == WAVE_BEGINS ? "begins" : "is over", SLICE_ARG(name), w.this_hour, w.usual);
		finding_add(found, a, CHECK_BOUNCE, RESULT_POLICY, what);
		if (news)
			log_alert("%s", what);
	}
	return w.since != 0;
}

static void say_over(void *arg, struct slice name, const struct wave *w)
{
	(void)arg;
	log_alert("a wave of notices about mail that we did not send is over: %.*s, %u in this hour, usually %u",
		SLICE_ARG(name), w->this_hour, w->usual);
}

void bounce_stage_tick(const struct services *s)
{
	if (s->store && s->waves)
		waves_end(s->waves, s->store, clock_wall_seconds(), say_over, NULL);
}

/* For the address or the whole domain. */
static bool in_wave(struct bounce_stage *s, struct findings *found)
{
	bool address = look_for_wave(s, found, s->question.addressee, WAVE_FLOOR_ADDRESS);

	return look_for_wave(s, found, slice_of(s->domain->name), WAVE_FLOOR_DOMAIN) || address;
}

static const char *evidence_of(const struct bounce_stage *s, uint32_t unproven)
{
	const struct envelope *e = s->view->envelope;
	struct str text = STR_IN(e->arena);

	str_printf(&text, "%s by %s", notice_kind_name(e->notice->kind), bounce_method_name(s->proof.method));
	if (s->proof.message_id.n > 0) {
		str_puts(&text, "; about ");
		str_escaped(&text, s->proof.message_id, 200);
	}
	if (unproven > 1)
		str_printf(&text, "; this client's unproven notice number %u of late", unproven);
	return str_cstr(&text);
}

static void report(struct bounce_stage *s, struct findings *found, nanoseconds began)
{
	const struct rates *rates = s->view->services->rates;
	struct envelope *e = s->view->envelope;
	const struct bounce_proof *p = &s->proof;
	enum result result = p->result;
	bool bounce = notice_is_bounce(e->notice->kind), wave = false;
	uint32_t unproven = 0, score;
	struct finding *f;

	if (bounce && (result == RESULT_UNPROVEN || result == RESULT_REFUTED))
		wave = in_wave(s, found);
	if (result == RESULT_UNPROVEN && rates && bounce)
		unproven = rate_count(s->view->services->rates, &e->client->ip, RATE_UNPROVEN_NOTICE);
	/* A question without an answer is no "no". */
	if (result == RESULT_UNPROVEN && (p->store_trouble || s->signature_trouble))
		result = RESULT_TEMPERROR;
	else if (result == RESULT_UNPROVEN && p->not_looked_at)
		result = RESULT_TRY_LATER;
	f = finding_timed(found, e->arena, CHECK_BOUNCE, result, began, result != RESULT_TEMPERROR ? p->reason :
		p->store_trouble ? "no proof, and the sent ledger cannot be asked" :
		"no proof, and the key of our own signature cannot be asked for");
	f->evidence = evidence_of(s, unproven);
	f->weight = (result == RESULT_UNPROVEN || result == RESULT_TRY_LATER) && bounce &&
		(wave || returns_much(s->view->services, s->view->config, e->client, &score));
	header_change_add(&e->changes, e->arena, HEADER_PREPEND, 0, slice_of(arena_printf(e->arena,
		"Spurn-Notice: %s; proof=%s\r\n", notice_kind_name(e->notice->kind),
		result_name(result == RESULT_TRY_LATER ? RESULT_UNPROVEN : result))));
}

/* Mail under a null reverse-path that is no notice: posts of some mailing lists, and spam that dodges SPF. */
static void look_at_null_sender(struct bounce_stage *s, struct findings *found)
{
	const struct envelope *e = s->view->envelope;

	if (!path_is_null(&e->reverse_path) || e->auth.spf.result == RESULT_PASS || e->auth.dmarc.result == RESULT_PASS ||
	    dkim_best(&e->auth) == RESULT_PASS || e->auth.spf.result == RESULT_TEMPERROR ||
	    dkim_best(&e->auth) == RESULT_TEMPERROR)
		return;
	finding_add(found, e->arena, CHECK_BOUNCE, RESULT_NULL_SENDER,
		"the reverse-path is null, the message is no notice, and nothing stands behind it");
}

ASYNC void bounce_stage_finish(void *state, struct findings *found, deadline until)
{
	struct bounce_stage *s = state;
	const struct notice *notice = s->view->envelope->notice;
	nanoseconds began = clock_precise();

	if (!notice)
		return;
	if (notice->kind == NOTICE_MESSAGE) {
		look_at_null_sender(s, found);
		return;
	}
	judge(s, until);
	learn(s);
	report(s, found, began);
}
