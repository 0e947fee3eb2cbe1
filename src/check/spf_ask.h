/*
 * What SPF asks DNS: the questions of mechanisms, their limits, and questions ahead of their time.
 * Used by spf.c alone.
 */
#ifndef SPURN_CHECK_SPF_ASK_H
#define SPURN_CHECK_SPF_ASK_H

#include "check/spf.h"
#include "wire/spf_macro.h"
#include "wire/spf_record.h"

#define SPF_NAMES_MAX 10		/* mail hosts, reverse names (section 4.6.4) */

/* One run of check_host(), with all records that it leads to. */
struct spf_run {
	struct dns *dns;
	struct arena *arena;
	deadline until;
	struct spf_macro_values values;	/* domain: of the record under evaluation */
	struct spf_answer *answer;	/* counts, and reason once there is an error */
	bool reverse_known, reverse_void;	/* the client's reverse names were asked for; there are none */
	bool waited;				/* a question was not answered from a cache */
	struct slice validated[SPF_NAMES_MAX];	/* reverse names that lead back to the client, sorted */
	size_t validated_count;
};

enum spf_match { SPF_NO_MATCH, SPF_MATCH, SPF_TEMPERROR, SPF_PERMERROR };

/* The name that a term is about: its domain-spec expanded, or the domain under evaluation. Empty: one that cannot be
 * asked for. false: %{p} was one look-up too many, and the reason is set. */
ASYNC bool spf_target(struct spf_run *run, struct slice spec, struct slice *target);

/* a, mx, ptr, exists: asks and compares. An error has its reason in the answer. */
ASYNC enum spf_match spf_match_a(struct spf_run *run, const struct spf_term *term, struct slice target);
ASYNC enum spf_match spf_match_mx(struct spf_run *run, const struct spf_term *term, struct slice target);
ASYNC enum spf_match spf_match_ptr(struct spf_run *run, struct slice target);
ASYNC enum spf_match spf_match_exists(struct spf_run *run, struct slice target);

/* Sets %{p} for the domain under evaluation. false: it was one look-up too many, and the reason is set. */
ASYNC bool spf_choose_name(struct spf_run *run);

/* Counts a term that asks. false: one too many, and the reason is set (section 4.6.4). */
bool spf_count_lookup(struct spf_run *run);
/* temperror: "TYPE of NAME could not be looked up (why)". */
enum spf_match spf_trouble(struct spf_run *run, enum dns_type type, struct slice name, const struct dns_answer *answer);
/* Asks ahead what the terms from `first` on will ask, and the redirect. */
void spf_ask_ahead(struct spf_run *run, const struct spf_record *record, size_t first);

/* The network of a term contains the client; ip: the address that the term gives. */
bool spf_network_contains(const struct spf_run *run, const struct spf_term *term, const struct ip *ip);
static inline bool spf_is_v4(const struct spf_run *run) { return ip_is_v4(run->values.ip); }

#endif
