/* Configurations: defaults, and every mistake with its place. */
#include "unit.h"

#include "policy/config.h"
#include "policy/option.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct arena arena;
static struct str said;
static unsigned messages;

static void say(void *arg, const char *message)
{
	(void)arg;
	messages++;
	str_puts(&said, message);
	str_puts(&said, "\n");
}

static struct config *parse(const char *text)
{
	said = STR_IN(&arena);
	messages = 0;
	return config_parse("conf", slice_of(text), say, NULL);
}

#define HEAD "hostname mx.example.org;\nlistener inbound { address 127.0.0.1:25; }\n"
#define DOMAIN "domain example.org { backend smtp://127.0.0.1:26; recipients callforward; }\n"

static struct config *parse_good(const char *text)
{
	struct config *c = parse(text);

	if (!c)
		fail_msg("%s", str_cstr(&said));
	return c;
}

static void a_small_configuration_has_the_defaults_of_the_table(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN);
	const struct listener_conf *l = &c->listeners[0];
	const struct domain_conf *d = config_domain(c, SLICE("example.org"));

	assert_int_equal(messages, 0);
	assert_string_equal(c->state_dir, "/var/lib/spurn");
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_int_equal(c->answer_budget, 480 * NS_PER_SECOND);
	assert_int_equal(c->commit_retention, 72 * 3600 * NS_PER_SECOND);
	assert_int_equal(c->dnsbl.threshold, 3);
	assert_true(c->workers >= 1);
	assert_true(c->dns.recurse);
	assert_int_equal(l->greet_wait, 2 * NS_PER_SECOND);
	assert_int_equal(l->max_sessions, 100000);
	assert_int_equal(l->max_sessions_per_client, 50);
	assert_int_equal(l->connection_rate.count, 1200);
	assert_int_equal(l->size_limit, 50 << 20);
	assert_int_equal(l->max_hops, 50);
	assert_non_null(d);
	assert_true(d->recipients.callforward);
	assert_int_equal(d->recipients.negative_ttl, 600 * NS_PER_SECOND);
	assert_int_equal(d->backend->max_connections, 50);
	assert_int_equal(d->backend->tls, BACKEND_TLS_OPPORTUNISTIC);
	assert_int_equal(c->check_mode[CHECK_RDNS], MODE_OBSERVE);
	assert_int_equal(c->check_mode[CHECK_SENDER_DOMAIN], MODE_ENFORCE);
	config_unref(c);
}

static void domains_of_one_backend_share_it(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN
		"domain EXAMPLE.net { backend smtp://127.0.0.1:26; recipients callforward; }\n"
		"domain b\303\274cher.example { backend smtp://127.0.0.1:27; recipients callforward; }\n");
	const struct domain_conf *one = config_domain(c, SLICE("example.org"));
	const struct domain_conf *two = config_domain(c, SLICE("example.net"));
	const struct domain_conf *three = config_domain(c, SLICE("xn--bcher-kva.example"));

	assert_ptr_equal(one->backend, two->backend);
	assert_non_null(three);
	assert_ptr_not_equal(one->backend, three->backend);
	assert_null(config_domain(c, SLICE("example.com")));
	config_unref(c);
}

static void modes(void **state)
{
	struct config *c = parse_good(HEAD "mode observe;\ncheck helo { mode off; }\ncheck rdns { mode enforce; }\n"
		"domain example.org { backend smtp://127.0.0.1:26; recipients callforward; check sender { mode off; } }\n");
	const struct domain_conf *d = config_domain(c, SLICE("example.org"));

	assert_int_equal(config_mode(c, d, CHECK_HELO, false), MODE_OFF);
	assert_int_equal(config_mode(c, d, CHECK_RDNS, false), MODE_OBSERVE);
	assert_int_equal(config_mode(c, d, CHECK_SENDER, false), MODE_OFF);
	assert_int_equal(config_mode(c, NULL, CHECK_SENDER, false), MODE_OBSERVE);
	config_unref(c);
}

/* ---- mistakes ---- */

static const struct {
	const char *text, *says;
} mistakes[] = {
	{ "hostnam mx;", "conf:3:1: error: unknown directive 'hostnam'; did you mean 'hostname'?" },
	{ "listner inbound { }", "did you mean 'listener'?" },
	{ "nothing like it;", "conf:3:1: error: unknown directive 'nothing'\n" },
	{ "workers many;", "conf:3:9: error: workers: a number is wanted" },
	{ "workers 65;", "conf:3:9: error: workers: too large: at most 64\n" },
	{ "workers 1 2;", "'workers' takes one value: N" },
	{ "workers { }", "'workers' is a directive, not a block" },
	{ "mode sometimes;", "conf:3:6: error: mode: off|observe|enforce" },
	{ "answer-budget 10;", "a duration needs a unit" },
	{ "answer-budget 1ms;", "answer-budget: too small: at least " },
	{ "help-url \"a b\";", "help-url" },
	{ "keys { }", "conf:3:1: error: keys without dir" },
	{ "keys { dir /nonexistent/keys; }", "conf:3:12: error: /nonexistent/keys: No such file or directory" },
	{ "keys { dir /; liftime 3d; }", "did you mean 'lifetime'?" },
	{ "srs-secret /etc/passwd;", "conf:3:12: error: /etc/passwd: everybody can read it" },
	{ "srs-secret /nonexistent/secret;", "conf:3:12: error: /nonexistent/secret: No such file or directory" },
	{ "listener inbound two { address 127.0.0.1:1; no-tag-to @example.com; }", "no-tag-to belongs to an outbound" },
	{ "listener sideways { address 127.0.0.1:1; }", "conf:3:10: error: listener: inbound|outbound\n" },
	{ "listener inbuond { address 127.0.0.1:1; }", "did you mean 'inbound'?" },
	{ "listener inbound two { }", "conf:3:1: error: listener without an address" },
	{ "listener inbound { address 127.0.0.1:1; }", "a second listener 'inbound'" },
	{ "listener inbound two { address localhost:25; }", "conf:3:32: error: localhost:25: " },
	{ "listener inbound two { address 127.0.0.1:1; greet-wiat 1s; }",
		"conf:3:45: error: unknown directive 'greet-wiat' in listener; did you mean 'greet-wait'?" },
	{ "listener inbound two { address 127.0.0.1:1; tls-key /k; }", "tls-certificate and tls-key go together" },
	{ "listener outbound { address 127.0.0.1:1; }", "outbound listener without next-hop" },
	{ "listener outbound { address 127.0.0.1:1; next-hop smtp://127.0.0.1:9; }", "without allow" },
	{ "listener inbound two { address 127.0.0.1:1; next-hop smtp://127.0.0.1:9; }", "next-hop belongs" },
	{ "listener inbound two { address 127.0.0.1:1; proxy-from 10.0.0.0/33; }", "conf:3:56: error: 10.0.0.0/33: " },
	{ "listener inbound two { address 127.0.0.1:1; connection-rate 5; }", "1200/1m" },
	{ "sign { selector s; key /k; }", "sign DOMAIN { selector NAME; key FILE; }" },
	{ "sign example.org { selector s; key /nonexistent/k; }", "conf:3:36: error: /nonexistent/k: No such file or directory" },
	{ "sign a..b { selector s; key /nonexistent/k; }", "conf:3:6: error: a..b is no domain" },
	{ "sign example.org { selector s s; key /nonexistent/k; }", "selector takes one word" },
	{ "sign example.org { selector a; selector b; key /nonexistent/k; }", "a second selector" },
	{ "check arc { seal example.org; }", "conf:3:18: error: there is no sign example.org { ... } with its key" },
	{ "check arc { seal ex..org; }", "conf:3:18: error: ex..org is no domain name" },
	{ "check arc { seal a.example b.example; }", "seal DOMAIN;" },
	{ "check arc { seal a.example; seal b.example; }", "a second seal" },
	{ "sign example.org { selector s; }", "sign without a key" },
	{ "sign example.org { key /nonexistent/k; }", "sign without a selector" },
	{ "sign example.org { selector s; key /nonexistent/k; }\nsign Example.org { selector S; key /nonexistent/k; }",
		"a second key with this selector for example.org" },
	{ "sign example.org { selectro s; key /nonexistent/k; }", "did you mean 'selector'?" },
	{ "clients { allow; }", "'allow' takes at least one value" },
	{ "clients { deny file /nonexistent/list; }", "/nonexistent/list" },
	{ "clients { deny file; }", "'file' takes one file name" },
	{ "senders { deny a@@b; }", "conf:3:16: error: a@@b: " },
	{ "resolver { recurse; forward 127.0.0.1; }", "recurse and forward exclude each other" },
	{ "resolver { forward name; }", "name: an address, or ADDRESS:PORT, is wanted" },
	{ "resolver { stub x; }", "stub takes a zone and an address" },
	{ "dnsbl;", "dnsbl takes a zone and a block" },
	{ "dnsbl a..b { }", "a zone is a domain name" },
	{ "dnsbl a.b { key nothing; }", "key is client, sender-domain or helo" },
	{ "dnsbl a.b { answers 127.0.0.300; }", "conf:3:21: error: 127.0.0.300: " },
	{ "dnsbl a.b { weight 1001; }", "weight: too large" },
	{ "domain example.org { backend smtp://127.0.0.1:1; recipients callforward; }",
		"conf:4:8: error: domain example.org stands twice" },
	{ "domain x.example { }", "domain x.example has no backend" },
	{ "domain x.example { backend smtp://127.0.0.1:1; }", "domain x.example has no recipients directive" },
	{ "domain x.example { backend smtp://a:1; backend smtp://b:1 smtp://c:1; recipients callforward; }",
		"a second backend" },
	{ "domain x.example { backend nonsense; recipients callforward; }", "conf:3:28: error: nonsense: a backend is" },
	{ "domain x.example { backend smtp://a:1 lmtp://b:2; recipients callforward; }", "speak one protocol" },
	{ "domain x.example { backend smtp://a:1 tls=maybe; recipients callforward; }", "tls is verify" },
	{ "domain x.example { backend smtp://a:1; recipients ldap x; }", "there is no directory x { ... }" },
	{ "domain x.example { backend smtp://a:1; recipients file /nonexistent/users; }", "/nonexistent/users" },
	{ "domain x.example { backend smtp://a:1; recipients callforward; shrink-guard 200; }", "0 to 100" },
	{ "domain -x.example { backend smtp://a:1; recipients callforward; }", "is no domain name" },
	{ "domain { }", "domain NAME { ... }" },
	{ "clients deny 203.0.113.0/24;", "conf:3:1: error: 'clients' is a block: clients { ... }" },
	{ "senders deny @x.example;", "conf:3:1: error: 'senders' is a block" },
	{ "resolver forward 127.0.0.1;", "conf:3:1: error: 'resolver' is a block" },
	{ "listener inbound two { address 192.0.2.9:25 [::1]:25; } listener inbound three { address [0:0:0:0:0:0:0:1]:25; }",
		"conf:3:57: error: [0:0:0:0:0:0:0:1]:25: a listener has this address already" },
	{ "listener inbound two { address 192.0.2.9:25 192.0.2.9:25; }", "192.0.2.9:25: a listener has this address already" },
	{ "check nothing { mode off; }", "conf:3:7: error: no such check" },
	{ "check sender { mode maybe; }", "conf:3:21: error: mode: off|observe|enforce\n" },
	{ "check spf { mode enfroce; }", "mode: off|observe|enforce; did you mean 'enforce'?" },
	{ "check spff { mode off; }", "conf:3:7: error: no such check; did you mean 'spf'?" },
	{ "mode observ;", "conf:3:6: error: mode: off|observe|enforce; did you mean 'observe'?" },
	{ "foo;", "conf:3:1: error: unknown directive 'foo'\n" },
	{ "workers 1\nuser x;", "conf:3:1: error: 'workers' takes one value: N; is a ';' missing behind it?" },
	{ "help-url \"http://x /\";", "conf:3:10: error: help-url: it has to be printable" },
	{ "check;", "check NAME { ... }" },
	{ "check dkim { max-signatures 51; }", "max-signatures" },
	{ "check dkim { partial-body refuse; }", "partial-body: pass|policy" },
	{ "check spf { fail defer; }", "fail: accept|mark|reject" },
	{ "check spf { sofftail mark; }", "did you mean 'softfail'?" },
	{ "check spf { positive 1d; }", "unknown directive 'positive' in check" },
	{ "check helo { fail mark; }", "unknown directive 'fail' in check" },
	{ "domain x.example { backend smtp://a:1; recipients callforward; check spf { fail mark; } }",
		"unknown directive 'fail' in check" },
	{ "store redis redis://x;", "store redis is not part of this version" },
	{ "store file;", "store lmdb;" },
	{ "workers 1", "'workers' is a directive, not a block; is a ';' missing behind it?" },
	{ "workers 1;\nworkers 2;", "conf:4:1: error: 'workers' stands twice; first in conf:3:1\n" },
	{ "hostname mx2.example.org;", "conf:3:1: error: 'hostname' stands twice; first in conf:1:1\n" },
	{ "listener inbound two { address 127.0.0.1:1; greet-wait 1s; greet-wait 2s; }", "conf:3:60: error: 'greet-wait' stands twice" },
	{ "listener outbound { address 127.0.0.1:1; allow 10.0.0.1; next-hop smtp://a:1; next-hop smtp://b:1; }", "'next-hop' stands twice" },
	{ "check spf { fail mark; }\ncheck spf { fail accept; }", "conf:4:13: error: 'fail' stands twice; first in conf:3:13" },
	{ "check spf { mode off; }\ncheck spf { mode observe; }", "conf:4:13: error: 'mode' stands twice; first in conf:3:13" },
	{ "check helo { mode off; mode observe; }", "conf:3:24: error: 'mode' stands twice" },
	{ "domain x.example { backend smtp://a:1; recipients callforward; check spf { mode off; } check spf { mode observe; } }",
		"conf:3:100: error: 'mode' stands twice; first in conf:3:76" },
	{ "domain x.example { backend smtp://a:1; recipients callforward; sub-address +; sub-address -; }", "'sub-address' stands twice" },
	{ "domain x.example { backend smtp://a:1; recipients callforward; bounces { unproven mark; unproven reject; } }",
		"'unproven' stands twice" },
	{ "store lmdb { map-size 1G; } store lmdb { map-size 2G; }", "'map-size' stands twice" },
	{ "srs-secret /nonexistent/a; srs-secret /nonexistent/b;", "'srs-secret' stands twice" },
	{ "dnsbl bl.example { }\ndnsbl BL.example { }", "conf:4:7: error: dnsbl bl.example stands twice" },
	{ "directory d { sql sqlite /x; query \"a\"; query \"b\"; }", "'query' stands twice" },
	{ "scanner s { clamd unix:/x; size-limit 1M; size-limit 2M; }", "'size-limit' stands twice" },
	{ "listener outbound { address 127.0.0.1:1; allow 10.0.0.1; next-hop smtp://a:1; content none; content none; }",
		"'content' stands twice" },
	{ "domain x.example { backend smtp://a:1; recipients callforward; recipients callforward; recipients callforward; "
		"recipients callforward; recipients callforward; recipients callforward; recipients callforward; recipients callforward; "
		"recipients callforward; recipients callforward; recipients callforward; recipients callforward; recipients callforward; "
		"recipients callforward; recipients callforward; recipients callforward; recipients callforward; }", "16" },
	{ "include /nonexistent/file;", "/nonexistent/file: No such file or directory" },
};

static void every_mistake_is_said_with_its_place(void **state)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const char *text = arena_printf(&arena, HEAD "%s\n" DOMAIN, mistakes[i].text);
		struct config *c = parse(text);

		if (c)
			fail_msg("taken: %s", mistakes[i].text);
		if (!strstr(str_cstr(&said), mistakes[i].says))
			fail_msg("%s\nwanted: %s\nsaid: %s", mistakes[i].text, mistakes[i].says, str_cstr(&said));
	}
}

static void all_mistakes_are_said_in_one_run(void **state)
{
	assert_null(parse("hostnam mx.example.org;\nworkers x;\nlistener inbound { adress 1.2.3.4:25; }\nmode on;\n"));
	assert_non_null(strstr(str_cstr(&said), "conf:1:1: error: "));
	assert_non_null(strstr(str_cstr(&said), "conf:2:9: error: "));
	assert_non_null(strstr(str_cstr(&said), "conf:3:20: error: unknown directive 'adress' in listener; did you mean "
		"'address'?\n    listener inbound { adress 1.2.3.4:25; }\n                       ^~~~~~\n"));
	assert_non_null(strstr(str_cstr(&said), "conf:4:6: error: "));
	assert_non_null(strstr(str_cstr(&said), "conf: error: hostname is missing"));
}

static void what_is_missing_is_said(void **state)
{
	assert_null(parse(""));
	assert_non_null(strstr(str_cstr(&said), "conf: error: hostname is missing"));
	assert_non_null(strstr(str_cstr(&said), "conf: error: no listener"));
	assert_null(parse(HEAD));
	assert_non_null(strstr(str_cstr(&said), "no domain: the inbound listener would refuse everybody"));
	assert_null(parse("hostname nodots;"));
	assert_non_null(strstr(str_cstr(&said), "conf:1:10: error: hostname 'nodots' is no full domain name"));
}

static void addresses_are_counted(void **state)
{
	struct str text = STR_IN(&arena);

	str_puts(&text, HEAD DOMAIN "workers 64;\nlistener inbound two { address");
	for (int i = 1; i < 9; i++)
		str_printf(&text, " 127.0.0.1:%d", i);
	str_puts(&text, "; }\n");
	assert_null(parse(str_cstr(&text)));
	assert_non_null(strstr(str_cstr(&said), "9 addresses to listen on, for 64 workers each: at most 512 sockets"));
	str_puts(&text, "listener inbound three { address");
	for (int i = 1; i < 57; i++)
		str_printf(&text, " 127.0.0.2:%d", i);
	str_puts(&text, "; }\n");
	assert_null(parse(str_cstr(&text)));
	assert_non_null(strstr(str_cstr(&said), "65 addresses to listen on: at most 64"));
}

/* Zone files and trust anchors refuse a configuration; certificates and the state directory do when it is examined. */
static void files_that_are_named(void **state)
{
	char path[] = "/tmp/spurn-config-XXXXXX";
	const char *text = HEAD "resolver { zone-file /nonexistent/zone; trust-anchor /nonexistent/anchor; }\n"
		"state-dir /nonexistent/state; workers many;\n"
		"listener inbound two { address 127.0.0.1:1; tls-certificate /nonexistent/c; tls-key /nonexistent/k; }\n" DOMAIN;
	int fd = mkstemp(path);
	struct config *c;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	said = STR_IN(&arena);
	assert_null(config_load(path, say, NULL));
	assert_non_null(strstr(str_cstr(&said), ":3:22: error: /nonexistent/zone"));
	assert_non_null(strstr(str_cstr(&said), ":3:54: error: /nonexistent/anchor: No such file or directory"));
	assert_null(strstr(str_cstr(&said), "state-dir /nonexistent/state: "));
	assert_null(strstr(str_cstr(&said), "/nonexistent/c"));
	said = STR_IN(&arena);
	c = config_check(path, say, NULL);
	unlink(path);
	assert_null(c);
	assert_non_null(strstr(str_cstr(&said), ":4:11: error: state-dir /nonexistent/state: No such file or directory"));
	assert_non_null(strstr(str_cstr(&said), ":5:61: error: listener two: /nonexistent/c"));
}

static void blocks_of_later_versions_are_warned_about(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN "console { address 127.0.0.1:8025; }\n");

	assert_int_equal(messages, 1);
	assert_non_null(strstr(str_cstr(&said), "conf:4:1: warning: 'console' is not part of this version: ignored"));
	config_unref(c);
}

static void a_guard_that_forgets_before_servers_give_up_is_warned_about(void **state)
{
	config_unref(parse_good(HEAD DOMAIN "check notice { keep 5d; warm-after 5d; }\n"));
	assert_int_equal(messages, 0);
	config_unref(parse_good(HEAD DOMAIN "check notice { keep 4d; }\n"));
	assert_non_null(strstr(str_cstr(&said), "conf:4:7: warning: keep is shorter than mail servers keep trying"));
	config_unref(parse_good(HEAD DOMAIN "check notice { warm-after 0s; }\n"));
	assert_non_null(strstr(str_cstr(&said), "conf:4:7: warning: warm-after is shorter than mail servers keep trying"));
}

static void checks_have_options_of_their_own(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN);

	assert_int_equal(c->check_mode[CHECK_DKIM], MODE_ENFORCE);
	assert_int_equal(c->dkim.max_signatures, 10);
	assert_false(c->dkim.partial_is_policy);
	assert_int_equal(c->check_mode[CHECK_SPF], MODE_ENFORCE);
	assert_int_equal(c->spf.fail, 2);
	assert_int_equal(c->spf.softfail, 1);
	assert_int_equal(c->spf.permerror, 1);
	assert_int_equal(c->spf.temperror, 0);
	config_unref(c);
	c = parse_good(HEAD DOMAIN "check dkim { mode observe; max-signatures 3; partial-body policy; }\n"
		"check spf { mode observe; fail mark; softfail reject; permerror accept; temperror defer; }\n"
		"check recipient { negative 1m; }\n");
	assert_int_equal(c->check_mode[CHECK_SPF], MODE_OBSERVE);
	assert_int_equal(c->check_mode[CHECK_DKIM], MODE_OBSERVE);
	assert_int_equal(c->dkim.max_signatures, 3);
	assert_true(c->dkim.partial_is_policy);
	assert_int_equal(c->spf.fail, 1);
	assert_int_equal(c->spf.softfail, 2);
	assert_int_equal(c->spf.permerror, 0);
	assert_int_equal(c->spf.temperror, 2);
	assert_int_equal(c->domains[0].recipients.negative_ttl, 60 * NS_PER_SECOND);
	config_unref(c);
}

static void scanners_and_who_wants_them(void **state)
{
	struct config *c = parse_good(HEAD "domain a.example { backend smtp://127.0.0.1:26; recipients callforward; content sa; }\n"
		"domain b.example { backend smtp://127.0.0.1:26; recipients callforward; content none; }\n"
		"domain c.example { backend smtp://127.0.0.1:26; recipients callforward; }\n"
		"scanner clamav { clamd unix:/run/clamd; budget 5s; }\n"
		"scanner sa { spamd inet:localhost:783; on-error mark; size-limit 0; reject-score 8; }\n"
		"scanner rspamd { milter inet:127.0.0.1:11332; quarantine mark; finds viruses; skip-clients 192.0.2.0/24; }\n");
	const struct scanner_conf *s = c->content.scanners;

	assert_int_equal(messages, 0);
	assert_int_equal(c->content.count, 3);
	assert_int_equal(config_domain(c, SLICE("a.example"))->content, 2);
	assert_int_equal(config_domain(c, SLICE("b.example"))->content, 0);
	assert_int_equal(config_domain(c, SLICE("c.example"))->content, 7);
	assert_int_equal(c->listeners[0].content, 0);
	assert_int_equal(s[0].kind, SCANNER_CLAMD);
	assert_int_equal(s[0].finds, FINDS_VIRUSES);
	assert_int_equal(s[0].budget, 5 * NS_PER_SECOND);
	assert_int_equal(s[0].size_limit, 25 << 20);
	assert_int_equal(s[0].on_error, TROUBLE_DEFERS);
	assert_int_equal(s[1].on_error, TROUBLE_MARKS);
	assert_int_equal(s[1].size_limit, 0);
	assert_int_equal(s[1].reject_score, 8);
	assert_int_equal(s[2].quarantine, QUARANTINE_MARKS);
	assert_int_equal(s[2].finds, FINDS_VIRUSES);
	config_unref(c);
}

static void rules_about_content(void **state)
{
	struct config *c = parse_good(HEAD DOMAIN "content-rules { attachments 10 *.EXE *.scr; hosts -3 fine.example; "
		"hashes 7 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824; odd-header 2; mark-weight 0; }\n");

	assert_int_equal(messages, 0);
	assert_int_equal(c->rules.count, 4);
	assert_int_equal(c->rules.rules[0].kind, RULE_ATTACHMENT);
	assert_int_equal(c->rules.rules[0].count, 2);
	assert_slice(c->rules.rules[0].patterns[0], "*.exe");
	assert_int_equal(c->rules.rules[1].weight, -3);
	assert_int_equal(c->rules.rules[2].kind, RULE_HASH);
	assert_int_equal(c->rules.rules[3].kind, RULE_HEADER);
	assert_int_equal(c->rules.reject_weight, 10);
	assert_int_equal(c->rules.mark_weight, 0);
	config_unref(c);
	assert_null(parse(HEAD DOMAIN "content-rules { attachments *.exe; hosts 3; hashes 3 abc; locked-archives 3 x; }\n"));
	assert_non_null(strstr(str_cstr(&said), "attachments: "));
	assert_non_null(strstr(str_cstr(&said), "'hosts' takes WEIGHT HOST"));
	assert_non_null(strstr(str_cstr(&said), "a SHA-256 is 64 hexadecimal digits"));
	assert_non_null(strstr(str_cstr(&said), "'locked-archives' takes WEIGHT"));
}

static void mistakes_about_scanners(void **state)
{
	assert_null(parse(HEAD DOMAIN "scanner a { }\nscanner b { clamd unix:/x; milter unix:/y; }\n"
		"scanner c { milter inet:filter.example:1; }\nscanner b { clamd unix:/x; }\n"
		"domain d.example { backend smtp://127.0.0.1:26; recipients callforward; content a zz; }\n"
		"scanner e { clamd unix:/x; on-error accept; }\n"));
	assert_non_null(strstr(str_cstr(&said), "scanner a names no clamd, spamd or milter"));
	assert_non_null(strstr(str_cstr(&said), "a scanner is one of clamd, spamd, milter, and once"));
	assert_non_null(strstr(str_cstr(&said), "a name is not an address"));
	assert_non_null(strstr(str_cstr(&said), "scanner b stands twice"));
	assert_non_null(strstr(str_cstr(&said), "there is no scanner zz"));
	assert_non_null(strstr(str_cstr(&said), "on-error: defer|mark"));
}

static void bounces_and_keys(void **state)
{
	const struct bounce_policy *b;
	struct config *c;

	(void)state;
	c = parse_good(HEAD "check bounce { mode enforce; foreign-limit 3; }\n"
		"domain a.example { backend smtp://127.0.0.1; recipients callforward; sub-address \"+\";"
		" bounces { unproven reject; enrolled yes; wave tighten; tag off; never-sends noreply@a.example; } }\n" DOMAIN);
	assert_non_null(c);
	b = &config_domain(c, SLICE("a.example"))->bounces;
	assert_true(b->enrolled && b->wave_tightens && !b->tag);
	assert_int_equal(b->unproven, 2);
	assert_int_equal(b->refuted, 2);
	assert_int_equal(b->plausible, 0);
	assert_true(address_list_contains(&b->never_sends, SLICE("noreply@a.example"), &(const char *){ NULL }));
	assert_int_equal(c->check_mode[CHECK_BOUNCE], MODE_ENFORCE);
	assert_int_equal(c->bounces.foreign_limit, 3);
	assert_int_equal(c->bounces.replay_limit, 50);
	assert_int_equal(c->bounces.client_limit, 20);
	assert_int_equal(c->bounces.client_weight, 1);
	assert_int_equal(c->bounces.life, 14);
	config_unref(c);
}

/* Whatever is wrong with a key file, its secret is not said. */
static void a_key_file_with_a_mistake(void **state)
{
	static const char *const names[] = { "secret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=x", "sekret AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"secret=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" };
	char dir[] = "/tmp/spurn-test-keys-XXXXXX", path[64];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/1.key", dir);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		FILE *f = fopen(path, "w");

		fprintf(f, "version 1\nid 1\nfrom 2026-11-23T07:47:10Z\n%s\n", names[i]);
		fchmod(fileno(f), 0600);
		fclose(f);
		said = STR_IN(&arena);
		assert_null(parse(arena_printf(&arena, HEAD "keys { dir %s; }\n" DOMAIN, dir)));
		assert_true(slice_search(str_slice(&said), slice_of(arena_printf(&arena, "%s:4:", path))) >= 0);
		assert_true(slice_search(str_slice(&said), SLICE("AAECAwQ")) < 0);
	}
	unlink(path);
	rmdir(dir);
}

static void a_file_that_is_not_there(void **state)
{
	said = STR_IN(&arena);
	assert_null(config_load("/nonexistent/spurn.conf", say, NULL));
	assert_string_equal(str_cstr(&said), "/nonexistent/spurn.conf: error: No such file or directory\n");
}

UNIT_MAIN(T(a_small_configuration_has_the_defaults_of_the_table), T(domains_of_one_backend_share_it), T(modes),
	T(every_mistake_is_said_with_its_place), T(all_mistakes_are_said_in_one_run), T(what_is_missing_is_said), T(files_that_are_named), T(addresses_are_counted),
	T(blocks_of_later_versions_are_warned_about), T(bounces_and_keys),
	T(a_guard_that_forgets_before_servers_give_up_is_warned_about), T(checks_have_options_of_their_own),
	T(blocks_of_later_versions_are_warned_about), T(scanners_and_who_wants_them), T(mistakes_about_scanners), T(rules_about_content),
	T(a_key_file_with_a_mistake), T(a_file_that_is_not_there))
