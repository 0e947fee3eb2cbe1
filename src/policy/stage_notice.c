/*
 * The recogniser of notices as a check of the message: the fact goes into the envelope for proofs, marks and the guard, and
 * a finding into the record. The finding argues for nothing: that a message is a bounce is no fault of it.
 */
#include "policy/stage_notice.h"

#include "check/notice.h"

struct stage_notice {
	const struct message_view *view;
	struct notice_reader *reader;
	nanoseconds cost;
	bool told;		/* the header section has come; of a message that ends before it nothing is known */
};

/* Proofs of bounces, DMARC and scanners have to know as well. */
static bool anybody_asks(const struct message_view *view)
{
	static const enum check askers[] = { CHECK_NOTICE, CHECK_BOUNCE, CHECK_DMARC, CHECK_CONTENT };

	for (size_t i = 0; i < sizeof(askers) / sizeof(askers[0]); i++)
		if (config_mode(view->config, view->domain, askers[i], false) != MODE_OFF)
			return true;
	return false;
}

void *stage_notice_begin(const struct message_view *view)
{
	struct stage_notice *n;

	if (!anybody_asks(view))
		return NULL;
	n = arena_new(view->envelope->arena, struct stage_notice);
	n->view = view;
	n->reader = notice_begin(view->envelope->arena, &view->envelope->reverse_path,
		view->returned ? returned_watch(view->returned) : NULL);
	return n;
}

void stage_notice_header(void *state, const struct header *h)
{
	struct stage_notice *n = state;
	nanoseconds began = clock_precise();

	notice_header(n->reader, h);
	n->told = true;
	n->cost += clock_precise() - began;
}

void stage_notice_body(void *state, struct slice piece)
{
	struct stage_notice *n = state;
	nanoseconds began = clock_precise();

	if (n->told)
		notice_body(n->reader, piece);
	n->cost += clock_precise() - began;
}

static enum result result_of(enum notice_kind k)
{
	static const enum result results[NOTICE_KIND_COUNT] = {
		[NOTICE_MESSAGE] = RESULT_NONE, [NOTICE_DSN] = RESULT_DSN, [NOTICE_BOUNCE] = RESULT_BOUNCE,
		[NOTICE_DELAY] = RESULT_DELAY, [NOTICE_SUCCESS] = RESULT_SUCCESS, [NOTICE_MDN] = RESULT_MDN,
		[NOTICE_AUTO_REPLY] = RESULT_AUTO_REPLY, [NOTICE_CHALLENGE] = RESULT_CHALLENGE,
		[NOTICE_VIRUS_NOTICE] = RESULT_VIRUS_NOTICE, [NOTICE_FEEDBACK_REPORT] = RESULT_FEEDBACK_REPORT,
		[NOTICE_REPORT] = RESULT_REPORT, [NOTICE_COMPLAINT] = RESULT_COMPLAINT, [NOTICE_NOTICE] = RESULT_NOTICE,
	};

	return results[k];
}

void stage_notice_finish(void *state, struct findings *found, deadline until)
{
	struct stage_notice *n = state;
	struct envelope *e = n->view->envelope;
	nanoseconds began = clock_precise();
	const struct notice *notice;
	struct finding *f;

	(void)until;
	if (!n->told)
		return;
	notice = notice_finish(n->reader);
	e->notice = notice;
	if (notice->kind == NOTICE_MESSAGE ||
	    config_mode(n->view->config, n->view->domain, CHECK_NOTICE, false) == MODE_OFF)
		return;
	f = finding_add(found, e->arena, CHECK_NOTICE, result_of(notice->kind), notice->guess ?
		"an automatic answer, as far as its wording tells" : "an automatic answer");
	f->evidence = notice->evidence;
	f->cost_us = (uint32_t)((n->cost + clock_precise() - began) / 1000);
}
