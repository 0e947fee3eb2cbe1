/*
 * spurn: the postmaster's tool. One table of commands is the dispatcher, the
 * usage and the help, so that they cannot disagree.
 */
#include "app/tool.h"

#include "base/log.h"

#include <signal.h>

static const struct command {
	const char *name;
	int (*run)(struct tool *t, int argc, char **argv);
	const char *arguments, *summary, *text;
} commands[] = {
	{ "check", tool_check, "[-c FILE] [--live]",
	  "says everything that is wrong with a configuration",
	  "Reads the configuration and all that it names (lists, zone files, certificates, state-dir) as the\n"
	  "daemon's user would. --live also asks: resolver, name of this host, every backend, every DNS list.\n"
	  "Exit status: 0 in order, 1 mistakes.\n" },
	{ "try", tool_try, "[-c FILE] --ip IP --helo NAME --from A --to B... [--listener NAME] [--json] [MESSAGE|-]",
	  "plays a session through the real policy, without a network client",
	  "The backend is asked RCPT; no data is sent to it and nothing is remembered. Prints the dialogue and\n"
	  "every finding. --from '' is the null sender. --to may be repeated. Without MESSAGE it ends after RCPT.\n"
	  "Exit status: 0 accepted, 1 rejected, 2 deferred.\n" },
	{ "why", tool_why, "REF|MESSAGE-ID|ADDRESS|IP [-c FILE] [--since 2d] [--json]",
	  "tells what became of a message, and why",
	  "REF is what stands behind ref= in a reply. --json prints the records as they are, one a line.\n"
	  "Exit status: 0 found, 1 nothing found.\n" },
	{ "report", tool_report, "[-c FILE] [--since 7d] [--json]",
	  "counts what was accepted, refused and deferred, and what observe mode would have refused",
	  "From the journal; works without the daemon.\n" },
	{ "status", tool_status, "[-c FILE] [--waits] [--json]",
	  "tells how the running daemon is; what needs attention first",
	  "--waits lists what fibers of a worker wait for.\n" },
	{ "observe", tool_observe, "on|off|show [-c FILE]",
	  "turns all refusals by judgement off at once, and on again",
	  "While it is on, what would have been refused is recorded (spurn report) and accepted. Broken\n"
	  "protocol, limits, and recipients that the backend refuses are refused in any case. It stays over\n"
	  "a restart.\n" },
	{ "recipient", tool_recipient, "show|probe|forget ADDRESS [-c FILE] [--json]\n"
	  "       spurn recipient sync [DIRECTORY|DOMAIN] [--force] [-c FILE]\n"
	  "       spurn recipient import FILE [--column NAME] [--force] [-c FILE]",
	  "tells what each source says about an address; keeps copies of directories and imports lists",
	  "show asks what is known, probe also asks directories and the backend now, forget drops the remembered\n"
	  "answer. sync lists a directory (all of them, or those that a domain asks) into its copy. import reads a\n"
	  "list of addresses, or a CSV export of Microsoft 365 or Google Workspace, from standard input into a\n"
	  "recipients file. Both refuse a list that lost more than shrink-guard of its entries (import: 20 per\n"
	  "cent), unless --force; an empty list never replaces another.\n" },
	{ "spf", tool_spf, "--ip IP --helo NAME --from ADDRESS|DOMAIN [--zone FILE | -c FILE] [--json]",
	  "asks SPF whether a client may send for a domain, and tells why",
	  "Needs no daemon and no configuration. The first line is the result. --zone answers from a zone file\n"
	  "alone; -c uses the resolver of that configuration, else it is this machine's. --from '' asks about HELO.\n"
	  "Exit status: 0, or 75 if DNS was in trouble.\n" },
	{ "auth", tool_auth, "--ip IP --helo NAME --from ADDRESS [--zone FILE] [-c FILE] [--time EPOCH] [--json] [MESSAGE]",
	  "tells what SPF, DKIM, DMARC and ARC say of a message, and why",
	  "Needs no daemon. MESSAGE is a file; without it standard input is read. --zone and -c as for spf; -c also gives\n"
	  "trusted sealers and the other options of these checks. --time: as of then, in seconds since 1970.\n"
	  "Exit status: 0, or 75 if DNS was in trouble.\n" },
	{ "bounce", tool_bounce, "[-c FILE] [--json] PATH...",
	  "tells what kind of automatic mail a message is, whom it says failed, what it returns",
	  "PATH is a file, a directory, a Maildir, an mbox, or - for standard input. --json prints one object a\n"
	  "line. What cannot be read is named on standard error. With -c (or as root), what the keys of the\n"
	  "configuration prove of it, for the address that it was delivered to; the ledger is asked by spurn sent.\n" },
	{ "keys", tool_keys, "list [--json] | new [--after 1h] | retire ID [--overlap 15d] [--dir DIRECTORY] [-c FILE]",
	  "the keys under which mail that leaves is marked: lists them, makes one, retires one",
	  "new makes a key that is in use at once, or after the time given: copy its file to every node before. A\n"
	  "retired key makes no proofs any more, and is believed for the overlap (lifetime and a day). The daemon takes\n"
	  "changes at its next reload. Without --dir, keys { dir } of the configuration.\n" },
	{ "sent", tool_sent, "ADDRESS MESSAGE-ID|ADDRESS|DOMAIN [-c FILE] [--json]",
	  "asks the sent ledger: has ADDRESS sent this message, or written to them lately?",
	  "The running daemon is asked. Exit status: 0 it has, 1 nothing is known of it.\n" },
	{ "doctor", tool_doctor, "[-c FILE]",
	  "check --live and the state of the running daemon: only what needs attention",
	  "Exit status: 0 nothing wrong, 1 something is.\n" },
	{ NULL, NULL, NULL, NULL, NULL },
};

static const struct command *command_of(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static void usage(FILE *to)
{
	fprintf(to, "usage: spurn COMMAND [ARGUMENT...]\n\n");
	for (const struct command *c = commands; c->name; c++)
		fprintf(to, "  %-10s %s\n", c->name, c->summary);
	fprintf(to, "  %-10s %s\n\n-c FILE is the configuration, by default %s.\n", "help",
		"[COMMAND] shows the arguments of a command", TOOL_CONFIG);
}

static int help(struct tool *t, int argc, char **argv)
{
	const struct command *c = argc > 1 ? command_of(argv[1]) : NULL;

	if (argc > 2 || (argc > 1 && !c))
		return tool_fail(EX_USAGE, "help: no such command: %s", argv[argc - 1]);
	if (c)
		printf("usage: spurn %s %s\n\n%s.\n%s", c->name, c->arguments, c->summary, c->text);
	else
		usage(stdout);
	return tool_end(t, 0);
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv)
{
	static struct tool t = { .config = TOOL_CONFIG };
	const struct command *c;

	t.out = STR_IN(&t.arena);
	log_open("spurn", false, LOG_ALERT + 1);
	signal(SIGPIPE, SIG_IGN);
	/* "spurn -c FILE COMMAND" is what people type, too. */
	if (argc > 3 && strcmp(argv[1], "-c") == 0) {
		t.config = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc < 2) {
		usage(stderr);
		return EX_USAGE;
	}
	argc--;
	argv++;
	t.command = argv[0];
	if (is_one_of(argv[0], "help", "--help") || strcmp(argv[0], "-h") == 0)
		return help(&t, argc, argv);
	if (is_one_of(argv[0], "--version", "-V")) {
		printf("spurn %s\n", SPURN_VERSION);
		return tool_end(&t, 0);
	}
	c = command_of(argv[0]);
	if (!c) {
		tool_fail(EX_USAGE, "no such command: %s", tool_safe(&t, slice_of(argv[0])));
		usage(stderr);
		return EX_USAGE;
	}
	if (argc > 1 && is_one_of(argv[1], "--help", "-h"))
		return help(&t, 2, (char *[]){ argv[0], argv[0], NULL });
	return tool_end(&t, c->run(&t, argc, argv));
}
