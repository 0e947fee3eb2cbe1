/*
 * spurnd: arguments, privileges, configuration, then the master.
 *
 * Started as root, it becomes its user before the configuration is parsed. The
 * one word it must know for that, `user`, is looked for without the parser: a
 * line that begins with it.
 */
#include "app/master.h"
#include "app/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define EX_USAGE 64
#define EX_CONFIG 78
#define DEFAULT_USER "spurn"

#ifndef SPURN_VERSION
#define SPURN_VERSION "unknown"
#endif

static void usage(FILE *to)
{
	fprintf(to, "usage: spurnd -c FILE [-f] [-t] [-u USER]\n"
		"  -c FILE  the configuration\n"
		"  -f       stay in the foreground and log to standard error\n"
		"  -t       check the configuration and exit\n"
		"  -u USER  become USER when started as root (else: the directive `user`)\n"
		"  -V       print the version\n");
}

static void say(void *arg, const char *message)
{
	(void)arg;
	fprintf(stderr, "%s\n", message);
}

/* "user NAME;" at the start of a line of the file. */
static bool user_from_file(const char *path, char *out, size_t size)
{
	FILE *f = fopen(path, "re");
	char line[1024];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		struct slice rest = slice_of(line);

		if (!slice_eq(slice_word(&rest), SLICE("user")))
			continue;
		struct slice name = slice_trim(slice_split(&rest, ';'));

		if (name.n > 1 && name.p[0] == '"')
			name = slice_make(name.p + 1, name.n - 2);
		if (name.n > 0 && name.n < size) {
			snprintf(out, size, "%.*s", SLICE_ARG(name));
			found = true;
		}
	}
	if (f)
		fclose(f);
	return found;
}

static bool become_user(const char *given, const char *path)
{
	char name[64] = DEFAULT_USER;
	const char *why = NULL;

	if (geteuid() != 0)
		return true;
	if (given)
		snprintf(name, sizeof(name), "%s", given);
	else
		user_from_file(path, name, sizeof(name));
	if (privileges_drop(name, &why))
		return true;
	fprintf(stderr, "spurnd: user %s: %s\n", name, why);
	return false;
}

static bool go_to_background(void)
{
	pid_t pid = fork();
	int null;

	if (pid < 0) {
		fprintf(stderr, "spurnd: fork: %s\n", strerror(errno));
		return false;
	}
	if (pid > 0)
		_exit(0);
	setsid();
	null = open("/dev/null", O_RDWR);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		if (null > 2)
			close(null);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct master_options o = { .argv = argv };
	const char *user = NULL;
	bool test = false, examine = false;
	int option;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		usage(stdout);
		return 0;
	}
	while ((option = getopt(argc, argv, "c:ftTu:Vh")) != -1) {
		switch (option) {
		case 'c': o.config_path = optarg; break;
		case 'f': o.foreground = true; break;
		case 't': test = examine = true; break;
		case 'T': test = true; break;	/* a master asks the binary that is to take its place: would it start? */
		case 'u': user = optarg; break;
		case 'V': printf("spurnd %s\n", SPURN_VERSION); return 0;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return EX_USAGE;
		}
	}
	if (!o.config_path || optind != argc) {
		usage(stderr);
		return EX_USAGE;
	}
	if (access(o.config_path, R_OK) != 0) {
		fprintf(stderr, "spurnd: %s: %s\n", o.config_path, strerror(errno));
		return EX_CONFIG;
	}
	if (!become_user(user, o.config_path))
		return EX_CONFIG;
	struct config *c = examine ? config_check(o.config_path, say, NULL) : config_load(o.config_path, say, NULL);
	if (!c)
		return EX_CONFIG;
	if (test) {
		config_unref(c);
		return 0;
	}
	bool inherited = getenv("SPURN_INHERIT") != NULL;
	if (!o.foreground && !inherited && !go_to_background())
		return 71;
	log_open("spurnd", !o.foreground && c->log_syslog, LOG_INFO);
	return master_run(&o, c);
}
