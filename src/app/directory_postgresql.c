/*
 * PostgreSQL through libpq, by its non-blocking calls and poll(): they alone keep to a
 * deadline of milliseconds.
 *
 * A question that is late is not cancelled on the server (that takes another connection): the connection
 * is closed, and the server notices. Parameters have no type given, so that `WHERE address = $1` means
 * what it would mean with a literal (citext stays citext).
 */
#include "app/directory.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>

struct session {
	PGconn *pg;
	const struct directory_conf *conf;
};

static bool wait_for(PGconn *pg, short events, deadline d)
{
	struct pollfd p = { .fd = PQsocket(pg), .events = events };
	nanoseconds left = d - clock_precise();

	if (left <= 0 || p.fd < 0)
		return false;
	return poll(&p, 1, (int)(left / NS_PER_MS) + 1) > 0;
}

static void say(struct directory_why *why, const char *text)
{
	struct slice first = slice_of(text);

	directory_why(why, "%.*s", SLICE_ARG(slice_split(&first, '\n')));
}

/* ---- opening ---- */

static bool finish_connect(PGconn *pg, deadline d)
{
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	while (state != PGRES_POLLING_OK) {
		if (state == PGRES_POLLING_FAILED)
			return false;
		if (!wait_for(pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, d))
			return false;
		state = PQconnectPoll(pg);
	}
	return true;
}

static void *session_open(const struct directory_conf *conf, struct slice password, deadline d,
	struct directory_why *why)
{
	struct arena a = ARENA_INIT;
	const char *secret = slice_cstr(&a, password);
	const char *const names[] = { "dbname", "password", "fallback_application_name", "client_encoding", NULL };
	const char *const values[] = { conf->connection, password.n ? secret : NULL, "spurn", "UTF8", NULL };
	struct session *s = calloc(1, sizeof(*s));
	PGconn *pg = PQconnectStartParams(names, values, 1);

	if (!s || !pg)
		arena_exhausted(sizeof(*s));
	if (PQstatus(pg) == CONNECTION_BAD || !finish_connect(pg, d)) {
		say(why, PQstatus(pg) == CONNECTION_BAD ? PQerrorMessage(pg) : "no connection within the time allowed");
		PQfinish(pg);
		free(s);
		s = NULL;
	} else {
		PQsetnonblocking(pg, 1);
		s->pg = pg;
		s->conf = conf;
	}
	arena_drop(&a);
	return s;
}

static void session_close(void *connection)
{
	struct session *s = connection;

	PQfinish(s->pg);
	free(s);
}

/* ---- questions ---- */

/* The next result; NULL: no more. false: it did not come. */
static bool next_result(PGconn *pg, PGresult **result, deadline d)
{
	int flushed;

	while ((flushed = PQflush(pg)) > 0)
		if (!wait_for(pg, POLLIN | POLLOUT, d) || !PQconsumeInput(pg))
			return false;
	if (flushed < 0)
		return false;
	while (PQisBusy(pg))
		if (!wait_for(pg, POLLIN, d) || !PQconsumeInput(pg))
			return false;
	*result = PQgetResult(pg);
	return true;
}

static enum directory_answer no_answer(PGconn *pg, deadline d, struct directory_why *why)
{
	if (clock_precise() >= d) {
		directory_why(why, "no answer within the time allowed");
		return DIRECTORY_LATE;
	}
	say(why, PQerrorMessage(pg));
	return DIRECTORY_BROKEN;
}

static bool send_query(struct session *s, const struct sql_query *q, const struct directory_key *key, struct arena *a)
{
	const char *values[SQL_PARAMETERS];

	for (size_t i = 0; i < q->count; i++)
		values[i] = slice_cstr(a, sql_parameter(key, q->parameter[i]));
	return PQsendQueryParams(s->pg, slice_cstr(a, q->text), (int)q->count, NULL, values, NULL, NULL, 0) == 1;
}

static enum directory_answer judge_row(const PGresult *result, int row, struct directory_why *why)
{
	bool null = PQnfields(result) == 0 || PQgetisnull(result, row, 0);
	struct slice value = null ? SLICE_NULL : slice_make(PQgetvalue(result, row, 0),
		(size_t)PQgetlength(result, row, 0));

	switch (sql_value_of(value, null)) {
	case SQL_VALUE_YES:
		return DIRECTORY_FOUND;
	case SQL_VALUE_NO:
		return DIRECTORY_ABSENT;
	case SQL_VALUE_UNCLEAR:
		break;
	}
	directory_why(why, "the query gives a row with 0, false or nothing in it: it has to give none for who does not exist");
	return DIRECTORY_TROUBLE;
}

static enum directory_answer judge(const PGresult *result, struct directory_why *why)
{
	enum directory_answer answer = DIRECTORY_ABSENT;

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		say(why, PQresultStatus(result) == PGRES_COMMAND_OK ? "the query gives no rows at all: it is no SELECT" :
			PQresultErrorMessage(result));
		return DIRECTORY_TROUBLE;
	}
	for (int i = 0; i < PQntuples(result); i++) {
		enum directory_answer row = judge_row(result, i, why);

		if (row == DIRECTORY_FOUND)
			return row;
		if (row == DIRECTORY_TROUBLE)
			answer = row;
	}
	return answer;
}

static enum directory_answer session_ask(void *connection, const struct directory_key *key, deadline d,
	struct directory_why *why)
{
	struct session *s = connection;
	struct arena a = ARENA_INIT;
	enum directory_answer answer = DIRECTORY_TROUBLE;
	PGresult *result = NULL;
	bool sent = send_query(s, &s->conf->asks, key, &a), first = true;

	arena_drop(&a);
	if (!sent)
		return no_answer(s->pg, d, why);
	for (;;) {
		if (!next_result(s->pg, &result, d))
			return no_answer(s->pg, d, why);
		if (!result)
			break;
		if (first)
			answer = judge(result, why);
		first = false;
		PQclear(result);
	}
	return PQstatus(s->pg) == CONNECTION_OK ? answer : DIRECTORY_BROKEN;
}

static bool session_list(void *connection, struct directory_sink *sink, deadline d, struct directory_why *why)
{
	struct session *s = connection;
	struct arena a = ARENA_INIT;
	PGresult *result;
	bool ok = send_query(s, &s->conf->lists, NULL, &a) && PQsetSingleRowMode(s->pg), done = false;

	arena_drop(&a);
	while (ok && next_result(s->pg, &result, d) && result) {
		ExecStatusType status = PQresultStatus(result);

		done = status == PGRES_TUPLES_OK;
		if (status != PGRES_SINGLE_TUPLE && !done) {
			say(why, PQresultErrorMessage(result));
			ok = false;
		}
		for (int i = 0; ok && PQnfields(result) > 0 && i < PQntuples(result); i++)
			ok = PQgetisnull(result, i, 0) || sink->take(sink, slice_make(PQgetvalue(result, i, 0),
				(size_t)PQgetlength(result, i, 0)));
		PQclear(result);
	}
	if (ok && !done)
		no_answer(s->pg, d, why);
	return ok && done;
}

const struct directory_driver directory_postgresql = { session_open, session_ask, session_list, session_close };
