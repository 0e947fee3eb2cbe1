/*
 * Local rules about content: names, types and digests of attachments, hosts in links, oddities of the header.
 *
 * A rule that hits adds its weight, once a message; the sum refuses or marks. Rules look at everything that a reader
 * could open: all parts, the parts of enclosed messages, so that of the message returned in a bounce too, and names
 * within ZIP archives. Nothing is unpacked, nothing is asked of the network.
 */
#ifndef SPURN_CHECK_CONTENT_RULES_H
#define SPURN_CHECK_CONTENT_RULES_H

#include "check/list.h"
#include "wire/envelope.h"
#include "wire/message.h"

enum rule_kind {
	RULE_ATTACHMENT,	/* a pattern of file names, in archives too */
	RULE_TYPE,		/* a pattern of media types */
	RULE_HOST,		/* hosts of links in text */
	RULE_HASH,		/* SHA-256 of a decoded part */
	RULE_LOCKED,		/* encrypted archives */
	RULE_HEADER,		/* a header section that no mail program writes */
};

struct content_rule {
	enum rule_kind kind;
	int32_t weight;
	struct slice *patterns;	/* lower case, with * and ? */
	uint32_t count;
	struct address_list list;
};

struct rules_conf {
	struct content_rule *rules;
	uint32_t count;
	int64_t reject_weight, mark_weight;
};

#define RULES_MOST 64

struct rules;

/* NULL: there are no rules. */
struct rules *rules_begin(const struct rules_conf *conf, struct envelope *e);
void rules_header(struct rules *r, const struct header *h);
void rules_body(struct rules *r, struct slice piece);
/* One finding for each rule that hit, and one for what their sum leads to. */
void rules_finish(struct rules *r, struct findings *found);
void rules_drop(struct rules *r);

/* Without regard to case; * stands for any octets, ? for one. pattern is lower case. */
bool rules_match(struct slice pattern, struct slice text);

#endif
