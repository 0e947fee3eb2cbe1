/*
 * MariaDB and MySQL through libmariadb: a prepared statement per connection.
 *
 * The library counts its time-outs in whole seconds, so a question may be late by one. Truncation of the
 * first column is no matter: a yes is a yes, and what could be unclear is short.
 */
#include "app/directory.h"

#include <errmsg.h>
#include <mysql.h>
#include <stdlib.h>

struct session {
	MYSQL *my;
	MYSQL_STMT *statement;		/* of the question; NULL until it was asked */
	const struct directory_conf *conf;
};

static unsigned seconds_left(deadline d)
{
	nanoseconds left = d - clock_precise();

	return left < NS_PER_SECOND ? 1 : (unsigned)((left + NS_PER_SECOND - 1) / NS_PER_SECOND);
}

/* ---- opening ---- */

static void set_options(MYSQL *my, const struct directory_conf *conf, const struct sql_connection *to, deadline d)
{
	unsigned patience = seconds_left(d);
	my_bool verify = to->tls && strcmp(to->tls, "verify") == 0, enforce = to->tls && strcmp(to->tls, "none") != 0;
	my_bool reconnect = 0;
	unsigned local_files = 0;

	/* A server may ask for any file of ours (LOAD DATA LOCAL), where a build of the library says yes by default. */
	mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &local_files);
	mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &patience);
	mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &patience);
	mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &patience);
	mysql_options(my, MYSQL_OPT_RECONNECT, &reconnect);
	mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	if (enforce)
		mysql_options(my, MYSQL_OPT_SSL_ENFORCE, &enforce);
	mysql_options(my, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
	if (conf->ca_file)
		mysql_options(my, MYSQL_OPT_SSL_CA, conf->ca_file);
}

static void *session_open(const struct directory_conf *conf, struct slice password, deadline d,
	struct directory_why *why)
{
	struct arena a = ARENA_INIT;
	struct sql_connection to;
	const char *reason = "connection";
	struct session *s = calloc(1, sizeof(*s));
	MYSQL *my = mysql_init(NULL);
	bool ok;

	if (!s || !my)
		arena_exhausted(sizeof(*s));
	ok = sql_connection_parse(&a, slice_of(conf->connection), &to, &reason);
	if (!ok) {
		directory_why(why, "%s", reason);
	} else {
		set_options(my, conf, &to, d);
		ok = mysql_real_connect(my, to.host, to.user, password.n ? slice_cstr(&a, password) : NULL, to.dbname, to.port,
			to.socket, 0) != NULL;
		if (!ok)
			directory_why(why, "%s", mysql_error(my));
		/* The library goes on without TLS where the server has none. */
		if (ok && to.tls && strcmp(to.tls, "none") != 0 && !mysql_get_ssl_cipher(my)) {
			directory_why(why, "the server offers no TLS");
			ok = false;
		}
	}
	arena_drop(&a);
	if (!ok) {
		mysql_close(my);
		free(s);
		return NULL;
	}
	s->my = my;
	s->conf = conf;
	return s;
}

static void session_close(void *connection)
{
	struct session *s = connection;

	if (s->statement)
		mysql_stmt_close(s->statement);
	mysql_close(s->my);
	free(s);
}

/* ---- questions ---- */

static enum directory_answer trouble(MYSQL_STMT *statement, deadline d, struct directory_why *why)
{
	unsigned code = mysql_stmt_errno(statement);

	directory_why(why, "%s", mysql_stmt_error(statement));
	if (code < CR_MIN_ERROR || code > CR_MAX_ERROR)
		return DIRECTORY_TROUBLE;
	return clock_precise() >= d ? DIRECTORY_LATE : DIRECTORY_BROKEN;
}

static MYSQL_STMT *prepare(struct session *s, struct slice text)
{
	MYSQL_STMT *statement = mysql_stmt_init(s->my);

	if (!statement)
		arena_exhausted(0);
	mysql_stmt_prepare(statement, text.p, text.n);
	return statement;
}

/* The first column, as text. */
struct column {
	MYSQL_BIND bind;
	char text[1024];
	unsigned long length;
	my_bool null, error;
};

/* Only the first column is bound; the others, however many, go nowhere. */
static bool bind_first(MYSQL_STMT *statement, struct column *c)
{
	unsigned count = mysql_stmt_field_count(statement);
	MYSQL_BIND *binds = count ? calloc(count, sizeof(*binds)) : NULL;
	bool ok;

	if (!binds)
		return false;
	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < count; i++)
		binds[i].buffer_type = MYSQL_TYPE_NULL;
	binds[0] = (MYSQL_BIND){ .buffer_type = MYSQL_TYPE_STRING, .buffer = c->text, .buffer_length = sizeof(c->text),
		.length = &c->length, .is_null = &c->null, .error = &c->error };
	ok = mysql_stmt_bind_result(statement, binds) == 0;
	free(binds);
	return ok;
}

static struct slice column_text(const struct column *c)
{
	return slice_make(c->text, c->length < sizeof(c->text) ? c->length : sizeof(c->text));
}

/* Executes with the key bound. false: mysql_stmt_error(). */
static bool execute(MYSQL_STMT *statement, const struct sql_query *q, const struct directory_key *key)
{
	MYSQL_BIND binds[SQL_PARAMETERS];
	unsigned long lengths[SQL_PARAMETERS];

	memset(binds, 0, sizeof(binds));
	for (size_t i = 0; i < q->count; i++) {
		struct slice value = sql_parameter(key, q->parameter[i]);

		lengths[i] = value.n;
		binds[i].buffer_type = MYSQL_TYPE_STRING;
		binds[i].buffer = (char *)value.p;
		binds[i].buffer_length = value.n;
		binds[i].length = &lengths[i];
	}
	if (q->count && mysql_stmt_bind_param(statement, binds) != 0)
		return false;
	return mysql_stmt_execute(statement) == 0;
}

static enum directory_answer fetch_answer(MYSQL_STMT *statement, deadline d, struct directory_why *why)
{
	enum directory_answer answer = DIRECTORY_ABSENT;
	struct column c;
	int rc;

	if (!bind_first(statement, &c)) {
		directory_why(why, "the query gives no rows at all: it is no SELECT");
		return DIRECTORY_TROUBLE;
	}
	while ((rc = mysql_stmt_fetch(statement)) == 0 || rc == MYSQL_DATA_TRUNCATED) {
		enum sql_value value = sql_value_of(column_text(&c), c.null);

		if (value == SQL_VALUE_YES)
			return DIRECTORY_FOUND;
		if (value == SQL_VALUE_UNCLEAR) {
			directory_why(why, "the query gives a row with 0, false or nothing in it: it has to give none for who "
				"does not exist");
			answer = DIRECTORY_TROUBLE;
		}
	}
	return rc == MYSQL_NO_DATA ? answer : trouble(statement, d, why);
}

static enum directory_answer session_ask(void *connection, const struct directory_key *key, deadline d,
	struct directory_why *why)
{
	struct session *s = connection;
	enum directory_answer answer;

	if (!s->statement)
		s->statement = prepare(s, s->conf->asks.text);
	if (mysql_stmt_errno(s->statement) || !execute(s->statement, &s->conf->asks, key))
		answer = trouble(s->statement, d, why);
	else
		answer = fetch_answer(s->statement, d, why);
	mysql_stmt_free_result(s->statement);
	/* An error stays in the statement: the next question begins with another one. */
	if (answer == DIRECTORY_TROUBLE) {
		mysql_stmt_close(s->statement);
		s->statement = NULL;
	}
	return answer;
}

static bool session_list(void *connection, struct directory_sink *sink, deadline d, struct directory_why *why)
{
	struct session *s = connection;
	MYSQL_STMT *statement = prepare(s, s->conf->lists.text);
	struct column c;
	bool ok = !mysql_stmt_errno(statement) && execute(statement, &s->conf->lists, NULL) && bind_first(statement, &c);
	int rc = 1;

	while (ok && ((rc = mysql_stmt_fetch(statement)) == 0 || rc == MYSQL_DATA_TRUNCATED)) {
		ok = c.null || c.length > sizeof(c.text) || sink->take(sink, column_text(&c));
		if (ok && clock_precise() > d)
			break;
	}
	ok = ok && rc == MYSQL_NO_DATA;
	if (!ok)
		directory_why(why, "list: %s", mysql_stmt_errno(statement) ? mysql_stmt_error(statement) : "it did not end");
	mysql_stmt_close(statement);
	return ok;
}

const struct directory_driver directory_mariadb = { session_open, session_ask, session_list, session_close };
