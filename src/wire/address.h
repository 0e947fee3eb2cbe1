/*
 * Paths and mailboxes (RFC 5321 section 4.1.2, RFC 6531 section 3.3), and the
 * one canonical form under which an address is looked up.
 */
#ifndef SPURN_WIRE_ADDRESS_H
#define SPURN_WIRE_ADDRESS_H

#include "base/ip.h"
#include "base/str.h"

/* A parsed reverse- or forward-path. Slices point into the parsed line until path_copy(). */
struct path {
	struct slice text;	/* between the angle brackets, source route removed: local@domain as written */
	struct slice local;	/* as written, with quotes if quoted */
	struct slice domain;	/* as written; "[...]" for a literal; empty for <> and <postmaster> */
	bool null;		/* <> */
	bool quoted, literal, utf8;
};

static inline bool path_is_null(const struct path *p) { return p->null; }

/* "<...>" at the start of *rest, which is moved behind it. Source routes are taken and
 * dropped (RFC 5321 section 4.1.2 A-d-l; appendix C), limits of section 4.5.3.1 hold (64, 255, 256),
 * IP literals must be well formed. utf8: SMTPUTF8 was asked for. *why: a phrase, no address in it. */
bool path_parse(struct path *out, struct slice *rest, bool utf8, const char **why);
/* The same for RCPT, where <postmaster> without a domain is an address (section 4.1.1.3). */
bool path_parse_forward(struct path *out, struct slice *rest, bool utf8, const char **why);
struct path path_copy(struct arena *a, const struct path *p);
bool path_is_postmaster(const struct path *p);	/* <postmaster>, any case */

/* A domain name by RFC 5321 (letters, digits, hyphens, dots; underscores tolerated; UTF-8 labels if utf8). */
bool domain_valid(struct slice domain, bool utf8);
/* Folded: ASCII lower case, U-labels to A-labels (libidn2, non-transitional), no final dot. SLICE_NULL if
 * it cannot be. Pure ASCII takes no library call. */
struct slice domain_canonical(struct arena *a, struct slice domain);

/* What was wrapped around an address, outermost first. */
enum address_tag {
	ADDRESS_TAG_NONE,
	ADDRESS_TAG_PRVS,	/* prvs=KDDDHHHHHH=local, draft-levine-smtp-batv-01 */
	ADDRESS_TAG_PRVS_SWAPPED, /* prvs=local/KDDDHHHHHH, prvs=local=KDDDHHHHHH */
	ADDRESS_TAG_BTV1,	/* btv1==TAG==local (Barracuda) */
	ADDRESS_TAG_MSPRVS1,	/* msprvs1=TAG=local (SparkPost) */
	ADDRESS_TAG_SRS0,	/* SRS0=hash=tt=domain=local */
	ADDRESS_TAG_SRS1,
};

struct address_form {
	enum address_tag tag;
	struct slice tag_text;	/* the tag itself, e.g. KDDDHHHHHH; SRS: all behind "SRS0=" */
	struct slice plain;	/* local@domain with the outermost tag removed, otherwise as written (quotes kept) */
	struct slice detail;	/* sub-address without its separator, empty if none */
	struct slice srs_for;	/* SRS0, SRS1: local@domain that it was rewritten for; empty if it cannot be told */
	struct slice canonical;	/* the key for every look-up: tag and detail removed, local part unquoted where
				 * possible and lower-cased (ASCII), domain canonical */
};

/* The one function behind every look-up of recipients, lists, rates and ledgers. separators: characters that
 * begin a sub-address ("+"), empty for none; a separator at the start of a local part begins none.
 * SRS forms keep their own domain: `canonical` then is the SRS address itself, folded; who it was rewritten for
 * stands in `srs_for` when that can be told. false: the domain has no canonical form. */
bool address_form(struct arena *a, const struct path *p, struct slice separators,
	struct address_form *out);
/* "user@Example.ORG" from a file or configuration, same folding; no angle brackets. */
bool address_canonical(struct arena *a, struct slice text, struct slice separators, struct slice *out);
/* What stands behind the last @; empty if there is none. */
struct slice address_domain(struct slice address);

#endif
