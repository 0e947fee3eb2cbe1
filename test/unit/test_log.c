/* The log: what a line looks like, what is held back, and that nothing a peer sent gets through. */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <sys/stat.h>

#define NOON (INT64_C(1795402199) * NS_PER_SECOND)

static char text[65536];

/* Standard error goes to a pipe while `statement` runs; what came is in `text`. */
#define CAPTURE(statement) \
	do { \
		int capture_pipe[2], capture_saved = dup(2); \
		ssize_t capture_n; \
		assert_int_equal(pipe(capture_pipe), 0); \
		dup2(capture_pipe[1], 2); \
		statement; \
		dup2(capture_saved, 2); \
		close(capture_saved); \
		close(capture_pipe[1]); \
		capture_n = read(capture_pipe[0], text, sizeof(text) - 1); \
		assert_true(capture_n >= 0); \
		text[capture_n] = '\0'; \
		close(capture_pipe[0]); \
	} while (0)

static int setup(void **state)
{
	clock_fake(NS_PER_SECOND, NOON);
	log_open("spurnd[2]", false, LOG_INFO);
	return 0;
}

static void line_form(void **state)
{
	CAPTURE(log_info("hello %d", 5));
	assert_string_equal(text, "2026-11-23T02:49:59.000Z spurnd[2]: info: hello 5\n");
	CAPTURE(log_alert("fire"));
	assert_string_equal(text, "2026-11-23T02:49:59.000Z spurnd[2]: alert: fire\n");
}

/* As systemd starts a service: the environment names the stream that standard error is. */
static void open_beside(ino_t more)
{
	char stream[64];
	struct stat st;

	assert_int_equal(fstat(2, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)(st.st_ino + more));
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("spurnd[2]", false, LOG_INFO);
	log_warning("slow");
}

static void journal_of_systemd_keeps_time_and_level(void **state)
{
	CAPTURE(open_beside(0));
	assert_string_equal(text, "<4>spurnd[2]: warning: slow\n");
	CAPTURE(open_beside(1));	/* standard error was led elsewhere since */
	assert_string_equal(text, "2026-11-23T02:49:59.000Z spurnd[2]: warning: slow\n");
	setenv("JOURNAL_STREAM", "nonsense", 1);
	CAPTURE((log_open("spurnd[2]", false, LOG_INFO), log_warning("slow")));
	assert_string_equal(text, "2026-11-23T02:49:59.000Z spurnd[2]: warning: slow\n");
	unsetenv("JOURNAL_STREAM");
	log_open("spurnd[2]", false, LOG_INFO);
}

static void levels_filter(void **state)
{
	CAPTURE(log_debug("no"));
	assert_string_equal(text, "");
	log_level_set(LOG_DEBUG);
	CAPTURE(log_debug("yes"));
	assert_non_null(strstr(text, "debug: yes\n"));
	log_level_set(LOG_ERROR);
	CAPTURE(log_warning("no"));
	assert_string_equal(text, "");
	CAPTURE(log_error("yes"));
	assert_non_null(strstr(text, "error: yes\n"));
	assert_string_equal(log_level_name(LOG_WARNING), "warning");
	assert_aborts(log_level_name((enum log_level)9));
}

static void control_characters_are_harmless(void **state)
{
	CAPTURE(log_info("a\r\n2026 spurnd: alert: forged\033[31m\x7f \xc3\xa4"));
	assert_string_equal(text, "2026-11-23T02:49:59.000Z spurnd[2]: info: "
		"a??2026 spurnd: alert: forged?[31m? \xc3\xa4\n");
}

static void long_lines_are_cut(void **state)
{
	static char big[5000];

	memset(big, 'x', sizeof(big) - 1);
	CAPTURE(log_info("%s", big));
	assert_true(strlen(text) < 2200);
	assert_true(strlen(text) > 2000);
	assert_int_equal(text[strlen(text) - 1], '\n');
	memset(text, 0, sizeof(text));
	log_open(big, false, LOG_INFO);
	CAPTURE(log_info("short"));
	assert_non_null(strstr(text, "x: info: short\n"));
}

static void errno_survives(void **state)
{
	errno = ENOENT;
	CAPTURE(log_info("%m"));
	assert_int_equal(errno, ENOENT);
	assert_non_null(strstr(text, "No such file"));
}

static void say(const char *key)
{
	log_limited(LOG_WARNING, key, "trouble with %s", key);
}

static void limited_once_a_minute(void **state)
{
	CAPTURE(say("one"));
	assert_non_null(strstr(text, "warning: trouble with one\n"));
	CAPTURE(say("one"); say("one"); clock_fake_advance(60 * NS_PER_SECOND - 1); say("one"));
	assert_string_equal(text, "");
	CAPTURE(say("two"));
	assert_non_null(strstr(text, "trouble with two\n"));
	clock_fake_advance(1);
	CAPTURE(say("one"));
	assert_non_null(strstr(text, "trouble with one (3 like this held back)\n"));
	CAPTURE(say("one"));
	assert_string_equal(text, "");
	clock_fake_advance(61 * NS_PER_SECOND);
	CAPTURE(say("one"));
	assert_non_null(strstr(text, "trouble with one (1 like this held back)\n"));
	clock_fake_advance(61 * NS_PER_SECOND);
	CAPTURE(say("one"));
	assert_non_null(strstr(text, "trouble with one\n"));
}

/* The key is its text, not its address; a level that is off holds nothing back. */
static void limited_keys(void **state)
{
	char key[] = "three", same[] = "three";

	log_level_set(LOG_ERROR);
	CAPTURE(say(key); say(key));
	assert_string_equal(text, "");
	log_level_set(LOG_INFO);
	CAPTURE(say(key); say(same));
	assert_non_null(strstr(text, "trouble with three\n"));
	assert_null(strstr(strchr(text, '\n') + 1, "trouble"));
}

static void limited_by_thousands_of_keys(void **state)
{
	char key[32];
	int lines = 0;

	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof(key), "key %d", i);
		CAPTURE(say(key));
		lines += strstr(text, key) != NULL;
	}
	assert_int_equal(lines, 3000);
	CAPTURE(say(key));
	assert_string_equal(text, "");
}

static void glitches(void **state)
{
	static uint64_t shared[GLITCH_COUNT];
	uint64_t before = glitch_counters[GLITCH_BARE_LF];

	COUNT_IF(1 + 1 == 2, BARE_LF);
	COUNT_IF(1 + 1 == 3, BARE_LF);
	assert_int_equal(glitch_counters[GLITCH_BARE_LF], before + 1);
	glitch_counters = shared;
	glitch_count(GLITCH_BDAT_TINY);
	assert_int_equal(shared[GLITCH_BDAT_TINY], 1);
	for (int g = 0; g < GLITCH_COUNT; g++)
		assert_true(strlen(glitch_text((enum glitch)g)) > 5);
	assert_string_equal(glitch_text(GLITCH_BARE_CR), "bare CR in message data");
	assert_aborts(glitch_text(GLITCH_COUNT));
}

static void bugs_abort(void **state)
{
	int zero = 0;

	BUG_ON(zero);
	assert_aborts(BUG_ON(zero == 0));
	CAPTURE(if (fork() == 0) bug_abort("x.c", 7, "a < b"); wait(NULL));
	assert_non_null(strstr(text, "alert: bug: x.c:7: a < b\n"));
}

/* One line is one write: the lines of many processes do not mix. */
static void lines_do_not_mix(void **state)
{
	int lines = 0;
	char *next;

	log_open("p", false, LOG_INFO);
	CAPTURE({
		for (int child = 0; child < 4; child++) {
			if (fork() == 0) {
				for (int i = 0; i < 100; i++)
					log_info("child %d says that this is its line", child);
				_exit(0);
			}
		}
		while (wait(NULL) > 0)
			;
	});
	for (char *line = text; *line; line = next + 1) {
		next = strchr(line, '\n');
		assert_non_null(next);
		assert_int_equal(next - line, strlen("2026-11-23T02:49:59.000Z p: info: "
			"child 0 says that this is its line"));
		lines++;
	}
	assert_int_equal(lines, 400);
}

#define TS(function) cmocka_unit_test_setup(function, setup)

UNIT_MAIN(TS(line_form), TS(journal_of_systemd_keeps_time_and_level), TS(levels_filter), TS(control_characters_are_harmless),
	TS(long_lines_are_cut), TS(errno_survives), TS(limited_once_a_minute), TS(limited_keys),
	TS(limited_by_thousands_of_keys), TS(glitches), TS(bugs_abort), TS(lines_do_not_mix))
