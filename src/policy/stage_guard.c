/*
 * The guard in the stage MESSAGE. It comes last: on the outbound side when the recogniser has said what kind of notice it is, on the
 * inbound side when all is known about the sender, and writes that down behind the verdict.
 *
 * A report that may leave is reduced here, before it is signed.
 *
 * The mark for inner servers (X-Auto-Response-Suppress, [MS-OXCMAIL]) asks for no out-of-office and no other automatic replies, so that
 * most of what the guard would have to destroy is never written. It never asks for DR or NDR: that would hide late failures. A field
 * of the sender stays below ours (signed bytes stay as they were); readers take the first.
 */
#include "policy/stage_guard.h"

#include "check/dkim_sign.h"
#include "check/guard.h"
#include "check/notice_reduce.h"
#include "wire/mailbox.h"

#define SUPPRESS "X-Auto-Response-Suppress"

struct guard_part {
	const struct message_view *view;
	const struct header *header;
};

bool stage_guard_wanted(const struct config *c)
{
	bool outbound = false, wanted = config_mode(c, NULL, CHECK_NOTICE, false) != MODE_OFF;

	for (size_t i = 0; i < c->listener_count; i++)
		outbound = outbound || c->listeners[i].outbound;
	for (size_t i = 0; i < c->domain_count && !wanted; i++)
		wanted = config_mode(c, &c->domains[i], CHECK_NOTICE, false) != MODE_OFF;
	return outbound && wanted;
}

void *stage_guard_begin(const struct message_view *view)
{
	struct guard_part *part;

	if (!view->services->guard)
		return NULL;
	part = arena_new(view->envelope->arena, struct guard_part);
	part->view = view;
	return part;
}

void stage_guard_header(void *state, const struct header *h)
{
	struct guard_part *part = state;

	part->header = h;
}

/* It was asked who the sender is, and there was an answer, and it was not "proven". */
static bool is_unproven(const struct envelope *e)
{
	const struct auth_facts *auth = &e->auth;

	if (!auth->spf.asked || !auth->dkim_asked || guard_sender_proven(e))
		return false;
	for (const struct dkim_facts *s = auth->dkim; s; s = s->next)
		if (s->result == RESULT_TEMPERROR)
			return false;
	return auth->spf.result != RESULT_TEMPERROR;
}

/* The sender has asked for as much himself. A forger may ask for less, or for something that does not exist. */
static bool is_suppressed(const struct header *h)
{
	bool oof = false, reply = false;
	const struct field *f;

	for (uint32_t i = 0; (f = header_field(h, SLICE(SUPPRESS), i)); i++) {
		struct slice rest = f->value;

		while (rest.n > 0) {
			struct slice word = slice_trim(slice_split(&rest, ','));
			bool all = slice_eq_nocase(word, SLICE("All"));

			oof = oof || all || slice_eq_nocase(word, SLICE("OOF"));
			reply = reply || all || slice_eq_nocase(word, SLICE("AutoReply"));
		}
	}
	return oof && reply;
}

static void mark_for_inner_servers(const struct guard_part *part)
{
	const struct message_view *view = part->view;
	struct envelope *e = view->envelope;

	if (!view->config->guard.suppress ||
	    config_mode(view->config, view->domain, CHECK_NOTICE, *view->services->observe_all) != MODE_ENFORCE)
		return;
	if (path_is_null(&e->reverse_path) || (e->notice && e->notice->kind != NOTICE_MESSAGE) || !is_unproven(e) ||
	    is_suppressed(part->header))
		return;
	header_change_add(&e->changes, e->arena, HEADER_PREPEND, 0, SLICE(SUPPRESS ": OOF, AutoReply\r\n"));
}

static bool is_own(void *arg, struct arena *a, struct slice address, struct slice *canonical)
{
	return config_address(arg, a, address, canonical) != NULL;
}

/* Whose notice it is: of the domain that sends it, or, under the null reverse-path, writes it. NULL: of none of ours. */
static const struct domain_conf *author_domain(const struct guard_part *part)
{
	const struct message_view *view = part->view;
	struct envelope *e = view->envelope;
	struct slice canonical;
	const struct domain_conf *d = config_address(view->config, e->arena, e->reverse_canonical, &canonical);
	const struct mailbox *author = d ? NULL : header_authors(e->arena, part->header, 1, NULL);

	return author ? config_address(view->config, e->arena, author->address, &canonical) : d;
}

/* Somebody has signed it, and nobody here can sign it again: a broken signature may be worse than none. */
static const char *held_by_signature(const struct guard_part *part)
{
	const struct config *c = part->view->config;
	struct envelope *e = part->view->envelope;
	const struct header *h = header_changed(e->arena, part->header, &e->changes);
	struct slice domain;

	if (!header_field(h, SLICE("DKIM-Signature"), 0))
		return NULL;
	domain = dkim_author_domain(e->arena, h);
	for (size_t i = 0; i < c->signer_count; i++)
		if (slice_eq(c->signers[i].domain, domain))
			return NULL;
	return "it is signed, and there is no key here to sign it anew";
}

static ASYNC void reduce(const struct guard_part *part, bool apply, struct findings *found, deadline until)
{
	const struct message_view *view = part->view;

	if (view->config->guard.reduce)
		notice_reduce(view->envelope, part->header, &view->source, &view->sink,
			apply && !*view->services->observe_all, held_by_signature(part), found, until);
}

static ASYNC void judge(const struct guard_part *part, struct findings *found, deadline until)
{
	const struct message_view *view = part->view;
	const struct domain_conf *domain = author_domain(part);
	enum check_mode mode = config_mode(view->config, domain, CHECK_NOTICE, false);
	struct guard_site site = { .own = is_own, .arg = (void *)view->config };
	struct findings mine = { .first = NULL };

	if (mode == MODE_OFF)
		return;
	if (guard_judge(view->services->guard, &view->config->guard, view->envelope, part->header, &site, &mine))
		reduce(part, mode == MODE_ENFORCE, &mine, until);
	for (struct finding *f = mine.first; f; f = f->next)
		f->domain = domain;
	findings_join(found, &mine);
}

/* What comes in is written down for whatever domain: its people may answer under another name. */
ASYNC void stage_guard_finish(void *state, struct findings *found, deadline until)
{
	struct guard_part *part = state;
	const struct message_view *view = part->view;

	if (view->listener->outbound) {
		judge(part, found, until);
		return;
	}
	mark_for_inner_servers(part);
}

/* What was refused did not come in: nothing answers it. And so nobody fills the ledger with what is not even taken. */
void stage_guard_relay(void *state, struct findings *found)
{
	struct guard_part *part = state;
	const struct message_view *view = part->view;

	if (!view->listener->outbound)
		guard_record(view->services->guard, &view->config->guard, view->envelope, part->header, found);
}
