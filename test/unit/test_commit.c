/* The commit ledger: what each entry says to the next try. */
#include "turns.h"

#include "edge/transaction.h"
#include "net/store_methods.h"

#include <ftw.h>

static struct edge edge;
static struct config conf = { .commit_retention = 72 * 3600 * NS_PER_SECOND };
static struct session session;
static struct arena arena;
static uint64_t counters[EDGE_COUNTER_COUNT];
static char directory[] = "/tmp/spurn-commit-XXXXXX";

struct try {
	struct transaction tx;
	struct recipient bob, carol;
};

static bool same_generation(unsigned slot, uint32_t generation)
{
	return slot == edge.slot && generation == edge.generation;
}

static int setup(void **state)
{
	struct store_conf store = { .directory = directory, .map_size = 16u << 20, .synchronous = true };
	const char *why = NULL;

	turns_setup(state);
	memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(directory));
	edge = (struct edge){ .generation = 7, .worker_alive = same_generation, .counters = counters };
	edge.services.store = store_open(&arena, &store, &why);
	assert_non_null(edge.services.store);
	memset(&session, 0, sizeof(session));
	session.edge = &edge;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	store_close(edge.services.store);
	free(session.unheard);
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	arena_drop(&arena);
	return turns_teardown(state);
}

static void begin(struct try *t, const char *message_id)
{
	static unsigned transactions;

	memset(t, 0, sizeof(*t));
	t->bob.identity = SLICE("bob@example.org");
	t->carol.identity = SLICE("carol@example.org");
	t->bob.next = &t->carol;
	t->tx.session = &session;
	t->tx.config = &conf;
	t->tx.envelope = (struct envelope){ .arena = &t->tx.arena, .recipients = &t->bob, .recipient_count = 2,
		.reverse_canonical = SLICE("a@sender.example"), .message.id = slice_of(message_id) };
	snprintf(t->tx.envelope.ref, sizeof(t->tx.envelope.ref), "REF%07u", ++transactions % 10000000);
}

static void answer(struct try *t, uint16_t bob, uint16_t carol)
{
	t->bob.backend_reply.code = bob;
	t->carol.backend_reply.code = carol;
}

static void end(struct try *t)
{
	arena_drop(&t->tx.arena);
}

static void an_unheard_delivery_is_not_sent_again(void **state)
{
	struct try t;

	begin(&t, "<1@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	answer(&t, 250, 250);
	commit_settle(&t.tx, false);
	assert_int_equal(session.unheard_count, 2);
	commit_unheard(&session);
	end(&t);
	begin(&t, "<1@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_ALL_HAVE_IT);
	assert_true(t.bob.has_it && t.carol.has_it && !t.tx.in_doubt);
	/* Heard this time: forgotten. */
	commit_settle(&t.tx, false);
	commit_heard(&session);
	end(&t);
	begin(&t, "<1@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	commit_abort(&t.tx);
	end(&t);
}

static void of_a_mixed_outcome_only_the_refused_is_sent_again(void **state)
{
	struct try t;

	begin(&t, "<2@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	answer(&t, 250, 452);
	commit_settle(&t.tx, false);
	assert_int_equal(session.unheard_count, 0);
	end(&t);
	begin(&t, "<2@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	assert_true(t.bob.has_it && !t.carol.has_it && !t.tx.in_doubt);
	commit_abort(&t.tx);
	end(&t);
}

static void a_living_session_holds_it_and_a_dead_one_leaves_a_doubt(void **state)
{
	struct try first, second;

	begin(&first, "<3@s>");
	assert_int_equal(commit_begin(&first.tx), COMMIT_GO);
	begin(&second, "<3@s>");
	assert_int_equal(commit_begin(&second.tx), COMMIT_BUSY);
	end(&second);
	edge.generation++;
	begin(&second, "<3@s>");
	assert_int_equal(commit_begin(&second.tx), COMMIT_GO);
	assert_true(second.tx.in_doubt && second.bob.in_doubt && second.carol.in_doubt);
	assert_string_equal(second.tx.earlier_ref, first.tx.envelope.ref);
	/* No dot was sent: the doubt about the first try stays. */
	commit_abort(&second.tx);
	end(&second);
	begin(&second, "<3@s>");
	assert_int_equal(commit_begin(&second.tx), COMMIT_GO);
	assert_true(second.tx.in_doubt);
	end(&second);
	end(&first);
}

static void a_lost_answer_is_a_doubt(void **state)
{
	struct try t;

	begin(&t, "<4@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	answer(&t, 250, 250);
	t.bob.final_answered = true;	/* LMTP: one was answered, then the line broke */
	commit_lose(&t.tx);
	end(&t);
	begin(&t, "<4@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	assert_true(t.bob.has_it && !t.bob.in_doubt && t.carol.in_doubt);
	end(&t);
}

static void without_identity_there_is_no_ledger(void **state)
{
	struct try t;

	begin(&t, "");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	assert_null(t.tx.commit_keys);
	answer(&t, 250, 250);
	commit_settle(&t.tx, false);
	assert_int_equal(session.unheard_count, 0);
	end(&t);
}

static void a_hint_is_about_sender_and_recipient(void **state)
{
	struct try t;

	begin(&t, "<5@s>");
	assert_false(commit_hinted(&t.tx, &t.bob));
	commit_hint(&t.tx, &t.bob);
	assert_true(commit_hinted(&t.tx, &t.bob));
	assert_false(commit_hinted(&t.tx, &t.carol));
	t.tx.envelope.reverse_canonical = SLICE("other@sender.example");
	assert_false(commit_hinted(&t.tx, &t.bob));
	end(&t);
}

static void without_a_store_mail_flows_and_says_so(void **state)
{
	struct store *store = edge.services.store;
	struct try t;

	edge.services.store = NULL;
	begin(&t, "<6@s>");
	assert_int_equal(commit_begin(&t.tx), COMMIT_GO);
	assert_true(t.tx.ledger_trouble);
	assert_non_null(t.tx.envelope.findings.first);
	assert_false(commit_hinted(&t.tx, &t.bob));
	answer(&t, 250, 250);
	commit_settle(&t.tx, false);
	end(&t);
	edge.services.store = store;
}

static enum store_status claims_nothing(struct store *s, enum store_table t, const struct store_key *key,
	const struct store_value *value, bool *won, struct store_value *existing)
{
	return STORE_TROUBLE;
}

/* Where it could not be seen whose entry stands there, it is not ours to delete. */
static void a_claim_that_failed_takes_nothing_away(void **state)
{
	const struct store_methods *methods = edge.services.store->methods;
	struct store_methods failing = *methods;
	struct try first, second;

	failing.claim = claims_nothing;
	begin(&first, "<7@s>");
	assert_int_equal(commit_begin(&first.tx), COMMIT_GO);
	for (int refused = 0; refused < 2; refused++) {
		begin(&second, "<7@s>");
		edge.services.store->methods = &failing;
		assert_int_equal(commit_begin(&second.tx), COMMIT_GO);
		assert_true(second.tx.ledger_trouble);
		edge.services.store->methods = methods;
		answer(&second, 550, 452);
		if (refused)
			commit_settle(&second.tx, false);
		else
			commit_abort(&second.tx);
		end(&second);
		begin(&second, "<7@s>");
		assert_int_equal(commit_begin(&second.tx), COMMIT_BUSY);
		end(&second);
	}
	/* Nor is what it says of a delivery taken back by a doubt. */
	answer(&first, 250, 250);
	commit_settle(&first.tx, false);
	commit_unheard(&session);
	begin(&second, "<7@s>");
	edge.services.store->methods = &failing;
	assert_int_equal(commit_begin(&second.tx), COMMIT_GO);
	edge.services.store->methods = methods;
	commit_lose(&second.tx);
	end(&second);
	begin(&second, "<7@s>");
	assert_int_equal(commit_begin(&second.tx), COMMIT_ALL_HAVE_IT);
	end(&second);
	end(&first);
}

#define S(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

UNIT_MAIN(S(an_unheard_delivery_is_not_sent_again), S(of_a_mixed_outcome_only_the_refused_is_sent_again),
	S(a_living_session_holds_it_and_a_dead_one_leaves_a_doubt), S(a_lost_answer_is_a_doubt),
	S(without_identity_there_is_no_ledger), S(a_hint_is_about_sender_and_recipient),
	S(without_a_store_mail_flows_and_says_so), S(a_claim_that_failed_takes_nothing_away))
