/*
 * The table of checks of the message, and its walk.
 *
 * Findings of parallel checks are kept apart and joined in the order of the table, so that a record does not depend on
 * which answer came first. A check that is off for these recipients is not begun.
 */
#include "policy/stage_message.h"

#include "policy/stage_auth.h"
#include "policy/stage_bounce.h"
#include "policy/stage_content.h"
#include "policy/stage_dkim.h"
#include "policy/stage_greylist.h"
#include "policy/stage_guard.h"
#include "policy/stage_notice.h"
#include "policy/stage_seal.h"
#include "policy/stage_sent.h"
#include "policy/stage_sign.h"

/* In the order in which findings stand in the record, those from behind the verdict last; the last row has no begin(). */
static const struct message_check checks[] = {
	{ CHECK_DKIM, SIDE_INBOUND, 1, false, stage_dkim_begin, stage_dkim_header, NULL, stage_dkim_finish, NULL, NULL, NULL },
	{ CHECK_NOTICE, SIDE_BOTH, 0, true, stage_notice_begin, stage_notice_header, stage_notice_body,
		stage_notice_finish, NULL, NULL, NULL },
	{ CHECK_CONTENT, SIDE_INBOUND, 1, false, stage_rules_begin, stage_rules_header, stage_rules_body, stage_rules_finish,
		NULL, stage_rules_drop, NULL },
	{ CHECK_ARC, SIDE_INBOUND, 1, false, stage_arc_begin, stage_arc_header, NULL, stage_arc_finish, NULL, NULL, NULL },
	{ CHECK_DMARC, SIDE_INBOUND, 2, false, stage_dmarc_begin, stage_dmarc_header, NULL, stage_dmarc_finish, NULL, NULL,
		NULL },
	{ CHECK_DMARC, SIDE_INBOUND, 3, true, stage_authres_begin, NULL, NULL, stage_authres_finish, NULL, NULL, NULL },
	{ CHECK_CONTENT, SIDE_BOTH, 1, false, stage_content_begin, stage_content_header, stage_content_body,
		stage_content_finish, NULL, stage_content_drop, stage_content_abandon },
	{ CHECK_BOUNCE, SIDE_INBOUND, 3, false, bounce_stage_begin, NULL, NULL, bounce_stage_finish, NULL, NULL, NULL },
	{ CHECK_BOUNCE, SIDE_OUTBOUND, 3, false, sent_begin, sent_header, NULL, sent_finish, sent_relay, NULL, NULL },
	{ CHECK_DKIM, SIDE_OUTBOUND, STAGE_SIGN_WAVE, true, stage_sign_begin, stage_sign_header, NULL, stage_sign_finish,
		NULL, stage_sign_drop, NULL },
	{ CHECK_ARC, SIDE_INBOUND, STAGE_SIGN_WAVE, false, stage_seal_begin, stage_seal_header, NULL, stage_seal_finish,
		NULL, stage_seal_drop, NULL },
	{ CHECK_GREYLIST, SIDE_INBOUND, 4, false, stage_greylist_begin, NULL, NULL, stage_greylist_finish, NULL, NULL, NULL },
	{ CHECK_NOTICE, SIDE_BOTH, 4, true, stage_guard_begin, stage_guard_header, NULL, stage_guard_finish,
		stage_guard_relay, NULL, NULL },
	{ .begin = NULL },
};

#define CHECK_ROWS (sizeof(checks) / sizeof(checks[0]))

struct message_part {
	struct group_member member;
	const struct message_check *check;
	void *state;			/* NULL: does not take part */
	struct findings found;
	deadline until;
};

struct message_stage {
	struct message_view view;
	struct message_part parts[CHECK_ROWS];
	bool abandoned;
};

static bool takes_part(const struct message_check *check, const struct message_view *view)
{
	unsigned side = view->listener->outbound ? SIDE_OUTBOUND : SIDE_INBOUND;

	return (check->sides & side) &&
		(check->always || config_mode(view->config, view->domain, check->check, false) != MODE_OFF);
}

struct message_stage *stage_message_begin(const struct message_view *view)
{
	struct message_stage *m = arena_new(view->envelope->arena, struct message_stage);

	m->view = *view;
	m->view.hashes = body_hashes_new(view->envelope->arena);
	m->view.returned = bounce_stage_returned(&m->view);
	for (size_t i = 0; checks[i].begin; i++) {
		m->parts[i].check = &checks[i];
		if (takes_part(&checks[i], view))
			m->parts[i].state = checks[i].begin(&m->view);
	}
	return m;
}

void stage_message_header(struct message_stage *m, const struct header *h)
{
	for (struct message_part *p = m->parts; p->check; p++)
		if (p->state && p->check->header)
			p->check->header(p->state, h);
}

void stage_message_body(struct message_stage *m, struct slice piece)
{
	body_hashes_push(m->view.hashes, piece);
	for (struct message_part *p = m->parts; p->check; p++)
		if (p->state && p->check->body)
			p->check->body(p->state, piece);
}

static ASYNC void run_part(void *arg)
{
	struct message_part *p = arg;

	p->check->finish(p->state, &p->found, p->until);
}

/* Runs the checks of one wave; true: there is a later one. */
static ASYNC bool run_wave(struct message_stage *m, unsigned wave, deadline until)
{
	struct message_part *wanted[CHECK_ROWS] = { NULL };
	struct group g;
	size_t n = 0;
	bool later = false;

	for (struct message_part *p = m->parts; p->check; p++) {
		if (!p->state || !p->check->finish)
			continue;
		p->until = until;
		if (p->check->wave == wave)
			wanted[n++] = p;
		later = later || p->check->wave > wave;
	}
	if (n == 1) {
		run_part(wanted[0]);
	} else if (n > 1) {
		group_init(&g);
		for (size_t i = 0; i < n; i++)
			group_start(&g, &wanted[i]->member, "check", run_part, wanted[i]);
		group_wait(&g, "checks of the message", until);
	}
	return later;
}

ASYNC void stage_message_finish(struct message_stage *m, deadline until)
{
	unsigned wave = 0;

	body_hashes_finish(m->view.hashes);
	while (run_wave(m, wave, until) && wave + 1 < STAGE_SIGN_WAVE && !m->abandoned)
		wave++;
	for (struct message_part *p = m->parts; p->check; p++)
		findings_join(&m->view.envelope->findings, &p->found);
}

/* Findings from behind the verdict, which gives the others their mode. */
static void join_late(struct message_stage *m, struct findings *found)
{
	for (struct finding *f = found->first; f; f = f->next)
		f->mode = (uint8_t)config_mode(m->view.config, m->view.domain, f->check, *m->view.services->observe_all);
	findings_join(&m->view.envelope->findings, found);
}

ASYNC void stage_message_sign(struct message_stage *m, deadline until)
{
	run_wave(m, STAGE_SIGN_WAVE, until);
	for (struct message_part *p = m->parts; p->check; p++)
		if (p->check->wave == STAGE_SIGN_WAVE)
			join_late(m, &p->found);
}

void stage_message_relay(struct message_stage *m)
{
	for (struct message_part *p = m->parts; p->check; p++) {
		struct findings found = { .first = NULL };

		if (!p->state || !p->check->relay)
			continue;
		p->check->relay(p->state, &found);
		join_late(m, &found);
	}
}

void stage_message_abandon(struct message_stage *m)
{
	m->abandoned = true;
	for (struct message_part *p = m->parts; p->check; p++)
		if (p->state && p->check->abandon)
			p->check->abandon(p->state);
}

void stage_message_drop(struct message_stage *m)
{
	if (!m)
		return;
	for (struct message_part *p = m->parts; p->check; p++) {
		if (p->state && p->check->drop)
			p->check->drop(p->state);
		p->state = NULL;
	}
	body_hashes_drop(m->view.hashes);
	returned_drop(m->view.returned);
}
