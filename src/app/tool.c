/*
 * What all commands of the tool need.
 *
 * Arguments are read by hand: getopt_long() knows no option that takes several
 * words, and its messages have a form of their own.
 */
#include "app/tool.h"

#include "run/fiber.h"
#include "run/loop.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (16u * 1024u * 1024u)
#define ANSWER_PATIENCE 90	/* seconds; the daemon's own is 60 */

/* ---- errors ---- */

int tool_fail(int status, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("spurn: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return status;
}

int tool_misuse(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "spurn: %s: ", command);
	vfprintf(stderr, format, args);
	fputs("; see spurn help\n", stderr);
	va_end(args);
	return EX_USAGE;
}

/* ---- arguments ---- */

static const struct tool_flag *find_flag(const struct tool_flag *flags, size_t count, const char *word, size_t n)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(flags[i].name) == n && memcmp(flags[i].name, word, n) == 0)
			return &flags[i];
	return NULL;
}

/* One word for it, and for a list those behind that look like addresses. Returns the words used. */
static int take_value(const struct tool_flag *flag, const char *value, int argc, char **argv)
{
	int used = 0;

	if (flag->value) {
		*flag->value = value;
		return 0;
	}
	flag->words->words[flag->words->count++] = value;
	while (used < argc && argv[used][0] != '-' && strchr(argv[used], '@') && access(argv[used], F_OK) != 0)
		flag->words->words[flag->words->count++] = argv[used++];
	return used;
}

bool tool_arguments(const char *command, int argc, char **argv, const struct tool_flag *flags, size_t count,
	struct tool_words *rest)
{
	bool open = true;

	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *equals = strchr(word, '=');
		size_t n = equals && word[1] == '-' ? (size_t)(equals - word) : strlen(word);
		const struct tool_flag *flag = NULL;

		if (open && strcmp(word, "--") == 0) {
			open = false;
			continue;
		}
		if (!open || word[0] != '-' || word[1] == '\0') {
			rest->words[rest->count++] = word;
			continue;
		}
		flag = find_flag(flags, count, word, n);
		if (!flag) {
			tool_misuse(command, "there is no option %.*s", (int)n, word);
			return false;
		}
		bool inside = word[n] == '=';
		if (flag->given) {
			*flag->given = true;
		} else if (!inside && i + 1 == argc) {
			tool_misuse(command, "%s needs a value", word);
			return false;
		} else {
			const char *value = inside ? word + n + 1 : argv[++i];

			i += take_value(flag, value, argc - i - 1, argv + i + 1);
		}
	}
	return true;
}

/* ---- the configuration ---- */

static void say_mistake(void *arg, const char *message)
{
	const char *text = strchr(message, ' ');

	(void)arg;
	if (!text || strncmp(text, " warning:", 9) != 0)
		fprintf(stderr, "%s\n", message);
}

struct config *tool_config(const char *path)
{
	struct config *c;

	if (access(path, R_OK) != 0) {
		tool_fail(0, "%s: %s", path, strerror(errno));
		return NULL;
	}
	c = config_load(path, say_mistake, NULL);
	if (!c)
		tool_fail(0, "%s: this configuration cannot be used", path);
	return c;
}

/* ---- the daemon ---- */

static int connect_control(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = ANSWER_PATIENCE };
	int fd;

	if (strlen(path) >= sizeof(sun.sun_path)) {
		tool_fail(0, "%s: the path is too long for a socket", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		return fd;
	}
	if (errno == ENOENT || errno == ECONNREFUSED)
		tool_fail(0, "%s: the daemon does not run", path);
	else
		tool_fail(0, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_line(int fd, struct arena *a, const char *request)
{
	struct slice line = slice_of(arena_printf(a, "%s\r\n", request));

	while (line.n > 0) {
		ssize_t n = send(fd, line.p, line.n, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		line = slice_from(line, (size_t)n);
	}
	return true;
}

struct slice tool_ask(struct arena *a, const struct config *c, const char *request)
{
	const char *path = arena_printf(a, "%s/control", c->state_dir);
	int fd = connect_control(path);
	struct str answer = STR_IN(a);
	ssize_t n = -1;

	if (fd < 0)
		return SLICE_NULL;
	if (send_line(fd, a, request))
		while (answer.n < ANSWER_MAX && (n = recv(fd, str_room(&answer, 65536), 65536, 0)) > 0)
			answer.n += (size_t)n;
	if (n < 0)
		tool_fail(0, "%s: %s", path, errno == EAGAIN ? "no answer" : strerror(errno));
	else if (answer.n == 0)
		tool_fail(0, "%s: the daemon hung up without an answer", path);
	close(fd);
	return n < 0 || answer.n == 0 ? SLICE_NULL : str_slice(&answer);
}

json_t *tool_ask_json(struct arena *a, const struct config *c, const char *request)
{
	struct slice answer = tool_ask(a, c, request);
	json_error_t error;
	json_t *object;

	if (!answer.p)
		return NULL;
	object = json_loadb(answer.p, answer.n, 0, &error);
	if (!object) {
		tool_fail(0, "%s/control: the answer is no JSON: %s", c->state_dir, error.text);
		return NULL;
	}
	if (json_object_get(object, "error")) {
		tool_fail(0, "%s/control: %s", c->state_dir, tool_text(object, "error"));
		json_decref(object);
		return NULL;
	}
	return object;
}

/* ---- JSON ---- */

const json_t *tool_member(const json_t *object, const char *path)
{
	while (object) {
		size_t n = strcspn(path, ".");
		char name[64];

		if (n >= sizeof(name))
			return NULL;
		memcpy(name, path, n);
		name[n] = '\0';
		object = json_object_get(object, name);
		if (path[n] == '\0')
			break;
		path += n + 1;
	}
	return object;
}

const char *tool_text(const json_t *object, const char *path)
{
	const char *text = json_string_value(tool_member(object, path));

	return text ? text : "";
}

int64_t tool_number(const json_t *object, const char *path)
{
	return (int64_t)json_number_value(tool_member(object, path));
}

/* ---- output ---- */

void tool_print_safe(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		/* C1 controls, which some terminals obey, are C2 80 to C2 9F in UTF-8. */
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

		if (*p >= 0x20 && *p != 0x7f && !c1) {
			putchar(*p);
			continue;
		}
		printf("\\x%02x", c1 ? p[1] : *p);
		p += c1;
	}
}

void tool_print(const char *before, const char *text, const char *after)
{
	fputs(before, stdout);
	tool_print_safe(text);
	fputs(after, stdout);
}

/* ---- the loop ---- */

struct errand {
	struct fiber_job job;
	void (*fn)(void *arg);
	void *arg;
	bool done;
};

static ASYNC void run_errand(void *arg)
{
	struct errand *e = arg;

	e->fn(e->arg);
	e->done = true;
}

void tool_run(void (*fn)(void *), void *arg)
{
	struct errand e = { .fn = fn, .arg = arg };

	clock_turn();
	loop_init();
	fiber_init(256, 64u * 1024u);
	fiber_start(&e.job, "tool", run_errand, &e);
	while (!e.done)
		loop_turn(deadline_in(NS_PER_SECOND));
}
