/*
 * SQLite: a file, opened for reading alone.
 *
 * A file that was replaced (a new database moved over the old one) is noticed before each question: the
 * connection would go on reading the one that has no name any more. The deadline is kept by a
 * progress handler; a database that is locked is waited for as long.
 */
#include "app/directory.h"

#include <sqlite3.h>
#include <stdlib.h>

#define STEPS 1000	/* of the virtual machine between two looks at the clock */

struct session {
	sqlite3 *db;
	sqlite3_stmt *statement;
	const struct directory_conf *conf;
	deadline until;
};

static int is_late(void *arg)
{
	const struct session *s = arg;

	return clock_precise() >= s->until;
}

static void *session_open(const struct directory_conf *conf, struct slice password, deadline d,
	struct directory_why *why)
{
	struct session *s = calloc(1, sizeof(*s));
	int rc;

	(void)password;
	(void)d;
	if (!s)
		arena_exhausted(sizeof(*s));
	rc = sqlite3_open_v2(conf->connection, &s->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
	s->conf = conf;
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(s->db, (int)(conf->timeout / NS_PER_MS));
		sqlite3_progress_handler(s->db, STEPS, is_late, s);
		return s;
	}
	directory_why(why, "%s: %s", conf->connection, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
	sqlite3_close(s->db);
	free(s);
	return NULL;
}

static void session_close(void *connection)
{
	struct session *s = connection;

	sqlite3_finalize(s->statement);
	sqlite3_close(s->db);
	free(s);
}

static enum directory_answer trouble(struct session *s, struct directory_why *why)
{
	if (clock_precise() >= s->until) {
		directory_why(why, "no answer within the time allowed");
		return DIRECTORY_LATE;
	}
	directory_why(why, "%s", sqlite3_errmsg(s->db));
	return DIRECTORY_BROKEN;
}

static bool has_moved(struct session *s)
{
	int moved = 0;

	return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK || moved;
}

static sqlite3_stmt *prepare(struct session *s, struct slice text)
{
	sqlite3_stmt *statement = NULL;

	sqlite3_prepare_v3(s->db, text.p, (int)text.n, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
	return statement;
}

static struct slice first_column(sqlite3_stmt *statement, bool *null)
{
	*null = sqlite3_column_count(statement) == 0 || sqlite3_column_type(statement, 0) == SQLITE_NULL;
	if (*null)
		return SLICE_NULL;

	const char *text = (const char *)sqlite3_column_text(statement, 0);

	return slice_make(text, (size_t)sqlite3_column_bytes(statement, 0));
}

/* Rows until one says yes. */
static enum directory_answer step(struct session *s, struct directory_why *why)
{
	enum directory_answer answer = DIRECTORY_ABSENT;
	int rc;

	while ((rc = sqlite3_step(s->statement)) == SQLITE_ROW) {
		bool null;
		struct slice value = first_column(s->statement, &null);

		switch (sql_value_of(value, null)) {
		case SQL_VALUE_YES:
			return DIRECTORY_FOUND;
		case SQL_VALUE_NO:
			break;
		case SQL_VALUE_UNCLEAR:
			directory_why(why, "the query gives a row with 0, false or nothing in it: it has to give none for who "
				"does not exist");
			answer = DIRECTORY_TROUBLE;
		}
	}
	return rc == SQLITE_DONE ? answer : trouble(s, why);
}

static enum directory_answer session_ask(void *connection, const struct directory_key *key, deadline d,
	struct directory_why *why)
{
	struct session *s = connection;
	const struct sql_query *q = &s->conf->asks;
	enum directory_answer answer;

	s->until = d;
	if (has_moved(s)) {
		directory_why(why, "%s was replaced", s->conf->connection);
		return DIRECTORY_BROKEN;
	}
	if (!s->statement)
		s->statement = prepare(s, q->text);
	if (!s->statement)
		return trouble(s, why);
	if (sqlite3_column_count(s->statement) == 0 || !sqlite3_stmt_readonly(s->statement)) {
		directory_why(why, "the query gives no rows at all: it is no SELECT");
		return DIRECTORY_TROUBLE;
	}
	for (size_t i = 0; i < q->count; i++) {
		struct slice value = sql_parameter(key, q->parameter[i]);

		sqlite3_bind_text(s->statement, (int)i + 1, value.p, (int)value.n, SQLITE_TRANSIENT);
	}
	answer = step(s, why);
	sqlite3_reset(s->statement);
	sqlite3_clear_bindings(s->statement);
	return answer;
}

static bool session_list(void *connection, struct directory_sink *sink, deadline d, struct directory_why *why)
{
	struct session *s = connection;
	sqlite3_stmt *statement = prepare(s, s->conf->lists.text);
	int rc = SQLITE_ERROR;
	bool ok = statement != NULL;

	s->until = d;
	while (ok && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
		bool null;
		struct slice value = first_column(statement, &null);

		ok = null || sink->take(sink, value);
	}
	if (ok && rc != SQLITE_DONE) {
		trouble(s, why);
		ok = false;
	} else if (!ok) {
		directory_why(why, "list: %s", statement ? "too many addresses" : sqlite3_errmsg(s->db));
	}
	sqlite3_finalize(statement);
	return ok;
}

const struct directory_driver directory_sqlite = { session_open, session_ask, session_list, session_close };
