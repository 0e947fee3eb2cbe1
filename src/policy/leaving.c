/*
 * The body is hashed while it arrives. Only where it was replaced is the whole content read again.
 */
#include "policy/leaving.h"

void leaving_body_want(struct leaving_body *b, const struct message_view *view)
{
	b->view = view;
	b->hash = body_hashes_want(view->hashes, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
}

/* On the scheduler's stack. */
static void hash_again(void *arg)
{
	struct leaving_body *b = arg;
	struct arena *a = b->view->envelope->arena;
	const struct content_source *source = &b->view->source;
	struct content_cursor at = { 0 };
	struct header h;
	char buffer[4096];
	ptrdiff_t n;

	b->again = body_hashes_new(a);
	b->hash = body_hashes_want(b->again, CANON_RELAXED, DIGEST_SHA256, BODY_LENGTH_ALL);
	header_init(&h, a, UINT32_MAX, UINT32_MAX);
	while ((n = source->read(source->arg, &at, buffer, sizeof(buffer))) > 0) {
		struct slice piece = slice_make(buffer, (size_t)n);
		bool was_done = h.done;

		piece = slice_from(piece, header_push(&h, piece));
		if (h.done && !was_done)
			body_hashes_push(b->again, h.body_lead);
		body_hashes_push(b->again, piece);
	}
	body_hashes_finish(b->again);
	if (n < 0)
		b->hash = NULL;
}

ASYNC struct slice leaving_body_hash(struct leaving_body *b)
{
	if (b->view->envelope->message.body_replaced && !b->read_again) {
		b->read_again = true;
		fiber_hoist(hash_again, b);
	}
	return b->hash ? b->hash->value : SLICE_NULL;
}

void leaving_body_drop(struct leaving_body *b)
{
	body_hashes_drop(b->again);
}
