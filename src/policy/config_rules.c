/*
 * The block content-rules.
 */
#include "policy/loader.h"
#include "policy/value.h"

#define WEIGHT_MOST 1000

static struct content_rule *new_rule(struct loader *l, const struct statement *st, enum rule_kind kind)
{
	struct rules_conf *conf = &l->c->rules;
	struct content_rule *rule;
	const char *why = "a weight is a number from -1000 to 1000";
	int64_t weight = 0;

	if (st->count < 2 || !value_integer(st->words[1].text, &weight, &why) || weight < -WEIGHT_MOST || weight > WEIGHT_MOST) {
		report_error(&l->report, &st->words[st->count > 1], "%.*s: %s", SLICE_ARG(st->words[0].text), why);
		return NULL;
	}
	if (conf->count >= RULES_MOST) {
		report_error(&l->report, &st->words[0], "more than %d rules", RULES_MOST);
		return NULL;
	}
	if (!conf->rules)
		conf->rules = arena_array(l->a, struct content_rule, RULES_MOST);
	rule = &conf->rules[conf->count++];
	rule->kind = kind;
	rule->weight = (int32_t)weight;
	return rule;
}

static void read_patterns(struct loader *l, const struct statement *st, struct content_rule *rule)
{
	rule->patterns = arena_array(l->a, struct slice, st->count);
	for (size_t i = 2; i < st->count; i++)
		rule->patterns[rule->count++] = slice_lower(l->a, st->words[i].text);
}

static void read_list(struct loader *l, const struct statement *st, struct content_rule *rule)
{
	bool hosts = rule->kind == RULE_HOST;
	const char *why = "";

	if (st->count == 4 && slice_eq(st->words[2].text, SLICE("file"))) {
		struct list_file *f = loader_list_file(l, st, 3, hosts ? LIST_HOSTS : LIST_HASHES, SLICE_NULL, 0);

		rule->list.files = arena_array(l->a, struct list_file *, 1);
		rule->list.files[0] = f;
		rule->list.file_count = f != NULL;
		return;
	}
	rule->list.entries = address_set_new(l->a);
	for (size_t i = 2; i < st->count; i++)
		if (!(hosts ? address_set_add_host : address_set_add_hash)(rule->list.entries, st->words[i].text, &why))
			report_error(&l->report, &st->words[i], "%.*s: %s", SLICE_ARG(st->words[i].text), why);
}

static void read_rule(struct loader *l, const struct option *o, const struct statement *st)
{
	enum rule_kind kind = (enum rule_kind)loader_choice("attachments|types|hosts|hashes|locked-archives|odd-header",
		slice_of(o->name));
	struct content_rule *rule = new_rule(l, st, kind);
	bool alone = kind == RULE_LOCKED || kind == RULE_HEADER;

	if (!rule)
		return;
	if (alone != (st->count == 2))
		report_error(&l->report, &st->words[0], "'%s' takes %s", o->name, o->argument);
	else if (kind == RULE_ATTACHMENT || kind == RULE_TYPE)
		read_patterns(l, st, rule);
	else if (!alone)
		read_list(l, st, rule);
}

void loader_read_rules(struct loader *l, const struct statement *block)
{
	if (block->count != 1 || !block->is_block) {
		report_error(&l->report, &block->words[0], "content-rules { ... }");
		return;
	}
	loader_defaults(l, "content-rules", &l->c->rules);
	for (const struct statement *st = block->children; st; st = st->next) {
		const struct option *o = loader_option(l, "content-rules", st, &l->c->rules);

		if (o)
			read_rule(l, o, st);
	}
}
