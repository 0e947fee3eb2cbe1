/*
 * `spurn`: the postmaster's tool. One table of commands; each stands in a file
 * of its group.
 *
 * Commands that ask a running daemon (status, observe, recipient) talk to its
 * control socket; the others read configuration and journal themselves, so that
 * they work while the daemon is down, which is when they are wanted most.
 */
#include "app/tool.h"

#include "base/log.h"

#include <stdio.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments;
	const char *help;	/* NULL: not shown */
} commands[] = {
	{ "check", tool_check, "[-c FILE] [--live]",
		"validates the configuration; --live also asks every backend, list, name and certificate" },
	{ "try", tool_try, "[-c FILE] --ip IP --helo NAME --from A --to B... [--json] [MESSAGE]",
		"plays a session through the real policy; nothing is delivered.\n"
		"      Exit status: 0 accepted, 1 rejected, 2 deferred" },
	{ "why", tool_why, "REF|MESSAGE-ID|ADDRESS|IP [-c FILE] [--since 2d] [--json]",
		"the record: every finding and the reply sent" },
	{ "report", tool_report, "[-c FILE] [--since 1d] [--json]",
		"what was refused and what would have been, by check and reply" },
	{ "status", tool_status, "[-c FILE] [--json] [--waits]",
		"the running daemon: workers, backends, lists, counters" },
	{ "observe", tool_observe, "on|off|show [-c FILE]",
		"on: refusals of checks are recorded and not given, at once and until off" },
	{ "recipient", tool_recipient, "show|probe|forget ADDRESS [-c FILE] [--json]",
		"what is known of a mailbox; probe asks its backend, forget clears the cache" },
	{ "doctor", tool_doctor, "[-c FILE]",
		"check --live and the state of the running daemon: only what needs attention" },
	{ "manual", tool_manual, "options|replies", NULL },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *out)
{
	fprintf(out, "usage: spurn COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		if (commands[i].help)
			fprintf(out, "  spurn %s %s\n      %s\n", commands[i].name, commands[i].arguments,
				commands[i].help);
	fprintf(out, "  spurn help | --version\n\nFILE is %s unless said otherwise.\n", TOOL_CONFIG);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

/* A full disk or a closed pipe behind us is a failure, too. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	return tool_fail(status ? status : EX_IOERR, "standard output: cannot be written");
}

int main(int argc, char **argv)
{
	const struct command *command;

	log_open("spurn", false, LOG_ALERT + 1);
	if (argc < 2) {
		usage(stderr);
		return EX_USAGE;
	}
	if (is_one_of(argv[1], "help", "--help", "-h")) {
		usage(stdout);
		return finish(0);
	}
	if (is_one_of(argv[1], "version", "--version", "-V")) {
		printf("spurn %s\n", SPURN_VERSION);
		return finish(0);
	}
	command = find_command(argv[1]);
	if (!command)
		return tool_fail(EX_USAGE, "there is no command %s; see spurn help", argv[1]);
	return finish(command->run(argc - 2, argv + 2));
}
