/*
 * The ground that all commands of `spurn` stand on.
 *
 * Output is collected and written at the end, so a command that fails half way
 * has printed nothing that looks like an answer; only long lists of records
 * leave in pieces. Errors are one line each on standard error.
 *
 * Rejected: getopt_long() (its messages name argv[0], its state is global, and a
 * value that may be repeated needs code at every place anyway).
 */
#include "app/tool.h"

#include "app/privileges.h"
#include "policy/option.h"
#include "policy/syntax.h"
#include "policy/value.h"

#include <errno.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define RELIEF (1024u * 1024u)
#define COLUMN_MAX 60
#define FIBERS 256
#define FIBER_STACK (64u * 1024u)

/* ---- output ---- */

void tool_print(struct tool *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	str_vprintf(&t->out, format, args);
	va_end(args);
}

static void write_out(struct tool *t)
{
	if (t->out.n > 0 && !t->failed && fwrite(t->out.p, 1, t->out.n, stdout) != t->out.n)
		t->failed = errno;
	t->out.n = 0;
}

void tool_relieve(struct tool *t)
{
	if (t->out.n > RELIEF)
		write_out(t);
}

int tool_end(struct tool *t, int status)
{
	errno = 0;
	write_out(t);
	if (!t->failed && (fflush(stdout) != 0 || ferror(stdout)))
		t->failed = errno ? errno : EIO;
	if (t->failed == EPIPE)
		return status;		/* whoever read it, head(1) perhaps, has seen enough */
	return t->failed ? tool_fail(EX_IOERR, "standard output: %s", strerror(t->failed)) : status;
}

int tool_fail(int status, const char *format, ...)
{
	struct arena scratch = ARENA_INIT;
	struct str line = STR_IN(&scratch);
	va_list args;

	va_start(args, format);
	str_vprintf(&line, format, args);
	va_end(args);
	fprintf(stderr, "spurn: %s\n", str_cstr(&line));
	arena_drop(&scratch);
	return status;
}

int tool_misused(const struct tool *t, const char *format, ...)
{
	struct arena scratch = ARENA_INIT;
	struct str line = STR_IN(&scratch);
	va_list args;

	va_start(args, format);
	str_vprintf(&line, format, args);
	va_end(args);
	fprintf(stderr, "spurn: %s: %s (see: spurn help %s)\n", t->command, str_cstr(&line), t->command);
	arena_drop(&scratch);
	return EX_USAGE;
}

/* ---- tables ---- */

void tool_row(struct tool *t, struct tool_table *table, ...)
{
	va_list cells;
	const char **row;

	if (table->count == table->cap) {
		size_t cap = table->cap ? table->cap * 2 : 16;
		void *more = arena_zero(&t->arena, arena_times(sizeof(*table->rows), cap));

		if (table->count)
			memcpy(more, table->rows, table->count * sizeof(*table->rows));
		table->rows = more;
		table->cap = cap;
	}
	row = table->rows[table->count++];
	va_start(cells, table);
	for (size_t i = 0; i < TOOL_COLUMNS; i++) {
		row[i] = va_arg(cells, const char *);
		if (!row[i])
			break;
	}
	va_end(cells);
}

/* A cell wider than this does not push the others of its column away. */
static size_t column_width(const struct tool_table *table, size_t column)
{
	size_t width = 0;

	for (size_t i = 0; i < table->count; i++) {
		const char *cell = table->rows[i][column];
		size_t n = cell ? strlen(cell) : 0;

		if (n > width)
			width = n < COLUMN_MAX ? n : COLUMN_MAX;
	}
	return width;
}

void tool_rows(struct tool *t, const struct tool_table *table)
{
	size_t width[TOOL_COLUMNS];

	for (size_t c = 0; c < TOOL_COLUMNS; c++)
		width[c] = column_width(table, c);
	for (size_t i = 0; i < table->count; i++) {
		const char **row = table->rows[i];

		for (size_t c = 0; c < TOOL_COLUMNS && row[c]; c++)
			tool_print(t, "  %-*s", c + 1 < TOOL_COLUMNS && row[c + 1] ? (int)width[c] : 0, row[c]);
		while (t->out.n > 0 && t->out.p[t->out.n - 1] == ' ')
			t->out.n--;
		str_addc(&t->out, '\n');
	}
}

const char *tool_span(struct tool *t, int64_t ms)
{
	int64_t s = ms / 1000;

	if (s < 1)
		return arena_printf(&t->arena, "%lld ms", (long long)ms);
	if (s < 120)
		return arena_printf(&t->arena, "%lld s", (long long)s);
	if (s < 7200)
		return arena_printf(&t->arena, "%lld min", (long long)(s / 60));
	if (s < 2 * 86400)
		return arena_printf(&t->arena, "%lld h %lld min", (long long)(s / 3600), (long long)(s % 3600 / 60));
	return arena_printf(&t->arena, "%lld d %lld h", (long long)(s / 86400), (long long)(s % 86400 / 3600));
}

const char *tool_safe(struct tool *t, struct slice text)
{
	struct str safe = STR_IN(&t->arena);

	str_escaped(&safe, text, 1024);
	return str_cstr(&safe);
}

/* ---- arguments ---- */

static const struct tool_option *find_option(const struct tool_option *wanted, struct slice name)
{
	for (; wanted->name; wanted++)
		if (slice_eq(slice_of(wanted->name), name))
			return wanted;
	return NULL;
}

/* One option at argv[*at]; its value may be the next word. false: misused. */
static bool read_option(struct tool *t, int argc, char **argv, int *at, const struct tool_option *wanted)
{
	struct slice word = slice_of(argv[*at]), name = slice_from(word, 2);
	ptrdiff_t equals = slice_find(name, '=');
	const char *value = equals >= 0 ? name.p + equals + 1 : NULL;
	struct tool_option config = { "-c", &t->config, NULL, NULL };
	const struct tool_option *o;

	name = equals >= 0 ? slice_head(name, (size_t)equals) : name;
	o = word.p[1] == 'c' ? &config : word.p[1] == '-' ? find_option(wanted, name) : NULL;
	if (word.p[1] == 'c')
		value = word.n > 2 ? word.p + 2 : NULL;
	if (!o || (o->flag && value)) {
		tool_misused(t, o ? "%s takes no value" : "unknown option %s", tool_safe(t, word));
		return false;
	}
	if (o->flag) {
		*o->flag = true;
		return true;
	}
	if (!value && *at + 1 >= argc) {
		tool_misused(t, "%s takes a value", tool_safe(t, word));
		return false;
	}
	value = value ? value : argv[++*at];
	if (o->value) {
		*o->value = value;
	} else if (o->words && o->words->count == sizeof(o->words->word) / sizeof(o->words->word[0])) {
		tool_misused(t, "--%s: %zu at most", o->name, o->words->count);
		return false;
	} else if (o->words) {
		o->words->word[o->words->count++] = value;
	}
	return true;
}

int tool_arguments(struct tool *t, int argc, char **argv, const struct tool_option *wanted)
{
	bool only_words = false;
	int count = 0;

	for (int i = 1; i < argc; i++) {
		if (only_words || argv[i][0] != '-' || argv[i][1] == '\0')
			argv[count++] = argv[i];
		else if (strcmp(argv[i], "--") == 0)
			only_words = true;
		else if (!read_option(t, argc, argv, &i, wanted))
			return -1;
	}
	return count;
}

bool tool_since(const struct tool *t, const char *text, nanoseconds *out)
{
	const char *why = NULL;
	int64_t span = 0;

	*out = 0;
	if (!text)
		return true;
	if (!value_duration(slice_of(text), &span, &why)) {
		tool_misused(t, "--since %s: %s", text, why);
		return false;
	}
	clock_turn();
	*out = span < clock_wall() ? clock_wall() - span : 0;
	return true;
}

/* ---- configuration ---- */

static void hear_nothing(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static void say_mistake(void *arg, const char *message)
{
	(void)arg;
	fprintf(stderr, "%s\n", message);
}

bool tool_reads_config(const struct tool *t)
{
	struct stat st;

	if (stat(t->config, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return false;
	}
	return access(t->config, R_OK) == 0;
}

const char *tool_directive(struct tool *t, const char *name)
{
	struct report report = { .arena = &t->arena, .say = hear_nothing };
	const struct statement *st;
	const struct option *o = option_find("", name, &(const char *){ NULL });
	const char *value = o && o->fallback ? o->fallback : "";

	if (!tool_reads_config(t)) {
		tool_fail(EX_CONFIG, "%s: %s", t->config, strerror(errno));
		return NULL;
	}
	for (st = syntax_read_file(&report, t->config); st; st = st->next)
		if (st->count == 2 && !st->is_block && slice_eq(st->words[0].text, slice_of(name)))
			value = slice_cstr(&t->arena, st->words[1].text);
	return value;
}

struct config *tool_config(struct tool *t)
{
	if (!tool_reads_config(t)) {
		tool_fail(EX_CONFIG, "%s: %s", t->config, strerror(errno));
		return NULL;
	}
	if (!t->loaded)
		t->loaded = config_load(t->config, say_mistake, NULL);
	return t->loaded;
}

const char *tool_state(struct tool *t, const char *name)
{
	const char *directory = tool_directive(t, "state-dir");

	return directory ? arena_printf(&t->arena, "%s/%s", directory, name) : NULL;
}

bool tool_become_user(struct tool *t, const char **why)
{
	const char *user;

	if (geteuid() != 0)
		return true;
	if (access(t->config, R_OK) != 0)
		return true;	/* whoever needs the file will say so */
	user = tool_directive(t, "user");
	if (!getpwnam(user)) {
		*why = arena_printf(&t->arena, "user %s: no such user", user);
		return false;
	}
	return privileges_drop(user, why);
}

/* ---- JSON ---- */

json_t *tool_parse(const char *text, size_t n)
{
	json_error_t error;
	json_t *value = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);

	if (!value)
		tool_fail(EX_DATAERR, "not JSON: %s", error.text);
	return value;
}

const char *tool_text(struct tool *t, const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_string(value))
		return "";
	return tool_safe(t, slice_make(json_string_value(value), json_string_length(value)));
}

int64_t tool_number(const json_t *object, const char *name)
{
	return (int64_t)json_number_value(json_object_get(object, name));
}

bool tool_is(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* ---- fibers ---- */

void tool_loop(void)
{
	static bool ready;

	if (ready)
		return;
	ready = true;
	clock_turn();
	loop_init();
	fiber_init(FIBERS, FIBER_STACK);
}

struct one_fiber {
	struct fiber_job job;
	void (*fn)(void *);
	void *arg;
};

static void run_one(void *arg)
{
	const struct one_fiber *one = arg;

	one->fn(one->arg);
}

void tool_run_fiber(const char *name, void (*fn)(void *), void *arg)
{
	struct one_fiber one = { .fn = fn, .arg = arg };

	fiber_start(&one.job, name, run_one, &one);
	while (fiber_job_active(&one.job))
		loop_turn(deadline_in(NS_PER_SECOND));
}
