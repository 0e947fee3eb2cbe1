/* TLS over a pair of sockets: handshakes, records, ends, certificates made on the spot. */
#include "turns.h"

#include "run/tls.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define NAME "mx.example.org"

static struct arena arena;
static char certificate_file[64], key_file[64], other_key_file[64];

/* ---- certificates ---- */

static void file_of(char path[64], EVP_PKEY *key, X509 *certificate)
{
	FILE *f;
	int fd;

	snprintf(path, 64, "/tmp/spurn-test-tls-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	if (key)
		PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	if (certificate)
		PEM_write_X509(f, certificate);
	fclose(f);
}

/* Self-signed for NAME, valid so many days from WALL on. */
static X509 *certificate_for(EVP_PKEY *key, int days)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	X509_EXTENSION *alt;
	time_t wall = WALL / NS_PER_SECOND;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_time_adj_ex(X509_getm_notBefore(x), -1000, 0, &wall);
	X509_time_adj_ex(X509_getm_notAfter(x), days, 0, &wall);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)NAME, -1, -1, 0);
	X509_set_issuer_name(x, name);
	X509_set_pubkey(x, key);
	alt = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:" NAME ",IP:192.0.2.1");
	X509_add_ext(x, alt, -1);
	X509_EXTENSION_free(alt);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static int certificates_make(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	X509 *x = certificate_for(key, 365);

	file_of(certificate_file, NULL, x);
	file_of(key_file, key, NULL);
	file_of(other_key_file, other, NULL);
	X509_free(x);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	return 0;
}

static int certificates_drop(void **state)
{
	unlink(certificate_file);
	unlink(key_file);
	unlink(other_key_file);
	return 0;
}

/* ---- both ends ---- */

struct end {
	struct stream stream;
	struct tls_context *context;
	const char *host, *why;
	bool shook;
	struct fiber_job job;
	void (*then)(struct end *);
};

static struct end server, client;

static int tls_setup(void **state)
{
	const char *why = NULL;
	int fd[2];

	turns_setup(state);
	socket_pair(fd);
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	assert_true(stream_open(&server.stream, fd[0], NULL, NULL));
	assert_true(stream_open(&client.stream, fd[1], NULL, NULL));
	server.context = tls_server_context(&arena, certificate_file, key_file, &why);
	assert_null(why);
	client.context = tls_client_context(&arena, false, NULL, &why);
	assert_null(why);
	return 0;
}

static int tls_teardown(void **state)
{
	stream_limit_io(0);
	stream_abort(&server.stream);
	stream_abort(&client.stream);
	turns();		/* until what lingers has ended */
	tls_context_unref(server.context);
	tls_context_unref(client.context);
	arena_drop(&arena);
	return turns_teardown(state);
}

#define tls_test(f) cmocka_unit_test_setup_teardown(f, tls_setup, tls_teardown)

static void serves(void *arg)
{
	server.shook = tls_accept(&server.stream, server.context, &server.why, deadline_in(30 * NS_PER_SECOND));
	if (server.shook && server.then)
		server.then(&server);
}

static void calls(void *arg)
{
	client.shook = tls_connect(&client.stream, client.context, client.host, &client.why,
		deadline_in(30 * NS_PER_SECOND));
	if (client.shook && client.then)
		client.then(&client);
}

static void shake(void)
{
	fiber_start(&server.job, "server", serves, NULL);
	fiber_start(&client.job, "client", calls, NULL);
	turns_now();
}

static void test_handshake(void **state)
{
	struct tls_facts facts;

	assert_false(tls_facts(&server.stream, &facts));
	shake();
	assert_true(server.shook);
	assert_true(client.shook);
	assert_true(tls_facts(&server.stream, &facts));
	assert_string_equal(facts.version, "TLSv1.3");
	assert_string_equal(facts.cipher, "TLS_AES_256_GCM_SHA384");
	assert_int_equal(facts.bits, 256);
}

static void test_handshake_byte_by_byte(void **state)
{
	stream_limit_io(1);
	shake();
	assert_true(server.shook);
	assert_true(client.shook);
}

static void verify_as(const char *host)
{
	const char *why = NULL;

	tls_context_unref(client.context);
	client.context = tls_client_context(&arena, true, certificate_file, &why);
	assert_non_null(client.context);
	client.host = host;
	shake();
}

/* The peer's certificate is judged by the real clock; ours is valid from years ago on. */
static void test_verified_name(void **state)
{
	verify_as(NAME);
	assert_true(client.shook);
	assert_true(server.shook);
}

static void test_verified_address(void **state)
{
	verify_as("192.0.2.1");
	assert_true(client.shook);
}

static void test_wrong_name(void **state)
{
	verify_as("mx.example.net");
	assert_false(client.shook);
	assert_int_equal(client.stream.state, STREAM_FAILED);
	assert_string_equal(client.why, "hostname mismatch");
	assert_false(server.shook);
	assert_non_null(server.why);
}

static void test_unknown_issuer(void **state)
{
	const char *why = NULL;

	tls_context_unref(client.context);
	client.context = tls_client_context(&arena, true, NULL, &why);
	client.host = NAME;
	shake();
	assert_false(client.shook);
	assert_non_null(strstr(client.why, "self-signed"));
}

static void test_peer_speaks_no_tls(void **state)
{
	stream_write(&client.stream, SLICE("EHLO client.example\r\n"));
	stream_flush(&client.stream);
	fiber_start(&server.job, "server", serves, NULL);
	turns_now();
	assert_false(server.shook);
	assert_int_equal(server.stream.state, STREAM_FAILED);
	assert_non_null(server.why);
	assert_string_not_equal(server.why, "unknown TLS error");
}

static void test_handshake_takes_too_long(void **state)
{
	fiber_start(&server.job, "server", serves, NULL);
	turns();
	assert_false(server.shook);
	assert_string_equal(server.why, "the handshake took too long");
	assert_true(clock_now() >= EPOCH + 30 * NS_PER_SECOND);
}

static void test_handshake_with_a_peer_that_goes(void **state)
{
	fiber_start(&server.job, "server", serves, NULL);
	stream_abort(&client.stream);
	turns_now();
	assert_false(server.shook);
	assert_non_null(server.why);
}

static void test_handshake_cancelled(void **state)
{
	fiber_start(&server.job, "server", serves, NULL);
	fiber_job_cancel(&server.job);
	turns_now();
	assert_false(server.shook);
	assert_string_equal(server.why, "cancelled");
}

/* CVE-2011-0411: commands pipelined behind STARTTLS must not survive it. */
static void injects(void *arg)
{
	assert_true(stream_fill(&server.stream) > 0);
	serves(arg);
}

static void test_buffered_plaintext_is_a_bug(void **state)
{
	struct rlimit none = { 0, 0 };
	int status;
	pid_t child = fork();

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		stream_write(&client.stream, SLICE("MAIL FROM:<evil@example.com>\r\n"));
		stream_flush(&client.stream);
		loop_turn(clock_now());
		fiber_start(&server.job, "server", injects, NULL);
		_exit(0);
	}
	waitpid(child, &status, 0);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- records ---- */

static char *large;
static size_t heard;
enum { LARGE = 3000000 };

static void sends_large(struct end *e)
{
	struct iovec iov[3] = { { large, 10 }, { large + 10, 100000 }, { large + 100010, LARGE - 100010 } };

	assert_int_equal(stream_send(&e->stream, iov, 3, "large", DEADLINE_NONE), WAIT_READY);
	stream_close(&e->stream);
}

static void hears_large(struct end *e)
{
	for (;;) {
		struct slice in;

		assert_int_equal(stream_read(&e->stream, "large", DEADLINE_NONE), WAIT_READY);
		if (e->stream.state != STREAM_OPEN)
			break;
		in = stream_input(&e->stream);
		assert_memory_equal(in.p, large + heard, in.n);
		heard += in.n;
		stream_consume(&e->stream, in.n);
	}
	assert_int_equal(e->stream.state, STREAM_EOF);
}

static void large_make(void)
{
	large = malloc(LARGE);
	heard = 0;
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i * 13 + i / 241);
}

static void transfer(void)
{
	large_make();
	shake();
	assert_int_equal(heard, LARGE);
	assert_false(fiber_job_active(&server.job));
	assert_false(fiber_job_active(&client.job));
	free(large);
}

static void test_large_to_the_server(void **state)
{
	client.then = sends_large;
	server.then = hears_large;
	transfer();
}

static void test_large_from_the_server(void **state)
{
	client.then = hears_large;
	server.then = sends_large;
	transfer();
}

static void test_large_in_odd_pieces(void **state)
{
	stream_limit_io(9973);
	client.then = sends_large;
	server.then = hears_large;
	transfer();
}

static void sends_large_file(struct end *e)
{
	FILE *f = tmpfile();

	assert_int_equal(fwrite(large, 1, LARGE, f), LARGE);
	fflush(f);
	stream_write(&e->stream, slice_make(large, 3));
	assert_int_equal(stream_send_file(&e->stream, fileno(f), 3, LARGE - 3, "file", DEADLINE_NONE), WAIT_READY);
	stream_close(&e->stream);
	fclose(f);
}

static void test_large_file(void **state)
{
	client.then = hears_large;
	server.then = sends_large_file;
	transfer();
}

static char dialogue[200];

static void answers(struct end *e)
{
	struct slice line;

	for (;;) {
		stream_read_line(&e->stream, &line, 100, "command", DEADLINE_NONE);
		if (!line.p)
			break;
		stream_printf(&e->stream, "250 %.*s\r\n", SLICE_ARG(line));
		stream_flush(&e->stream);
	}
}

static void asks(struct end *e)
{
	struct slice line;

	/* Pipelined: what OpenSSL decrypted ahead must be found without another event. */
	stream_write(&e->stream, SLICE("one\r\ntwo\r\n"));
	stream_flush(&e->stream);
	stream_write(&e->stream, SLICE("three\r\n"));
	stream_flush(&e->stream);
	for (int i = 0; i < 3; i++) {
		stream_read_line(&e->stream, &line, 100, "reply", deadline_in(NS_PER_SECOND));
		strncat(dialogue, line.p, line.n);
		strcat(dialogue, ";");
	}
	stream_close(&e->stream);
}

static void dialogue_with_limit(size_t limit)
{
	dialogue[0] = '\0';
	stream_limit_io(limit);
	client.then = asks;
	server.then = answers;
	shake();
	assert_string_equal(dialogue, "250 one;250 two;250 three;");
	assert_int_equal(server.stream.state, STREAM_EOF);	/* close_notify came */
	assert_false(fiber_job_active(&server.job));
}

static void test_dialogue(void **state) { dialogue_with_limit(0); }
static void test_dialogue_byte_by_byte(void **state) { dialogue_with_limit(1); }

/* The owner parks between the handshake and what comes later; on_ready tells it. */
static int told;

static void counts_ready(struct stream *s) { told++; }

static void test_parked_tls_stream_is_told(void **state)
{
	struct slice line;

	told = 0;
	shake();
	server.stream.on_ready = counts_ready;
	assert_int_equal(stream_fill(&server.stream), 0);
	assert_true(stream_park(&server.stream));
	assert_null(server.stream.in);
	stream_write(&client.stream, SLICE("NOOP\r\n"));
	assert_true(stream_flush(&client.stream));
	turns_now();
	assert_int_equal(told, 1);
	assert_int_equal(stream_fill(&server.stream), 6);
	assert_true(stream_line(&server.stream, &line));
	assert_slice(line, "NOOP");
	assert_true(stream_park(&server.stream));
}

static void test_end_without_close_notify_is_an_end(void **state)
{
	shake();
	stream_abort(&client.stream);
	turns_now();
	assert_int_equal(stream_fill(&server.stream), -1);
	assert_int_equal(server.stream.state, STREAM_EOF);
}

static void test_garbage_after_the_handshake(void **state)
{
	shake();
	assert_int_equal(write(client.stream.watch.fd, "this is no record at all", 24), 24);
	turns_now();
	assert_int_equal(stream_fill(&server.stream), -1);
	assert_int_equal(server.stream.state, STREAM_FAILED);
	assert_int_equal(server.stream.error, EPROTO);
}

/* A lingering close takes the TLS session along. */
static void test_unsent_output_survives_close(void **state)
{
	int size = 1;

	large_make();
	setsockopt(server.stream.watch.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	shake();
	stream_write(&server.stream, slice_make(large, 500000));
	stream_close(&server.stream);
	assert_false(stream_is_open(&server.stream));
	for (int i = 0; i < 10000 && client.stream.state == STREAM_OPEN; i++) {
		int n = stream_fill(&client.stream);

		if (n > 0) {
			assert_memory_equal(stream_input(&client.stream).p, large + heard, (size_t)n);
			heard += (size_t)n;
			stream_consume(&client.stream, (size_t)n);
		}
		loop_turn(clock_now());
	}
	assert_int_equal(heard, 500000);
	assert_int_equal(client.stream.state, STREAM_EOF);
	stream_close(&client.stream);
	turns_now();
	free(large);
}

/* ---- contexts ---- */

static void test_context_outlives_its_owner(void **state)
{
	tls_context_ref(server.context);
	tls_context_unref(server.context);
	shake();
	assert_true(server.shook);
	tls_context_unref(server.context);
	server.context = NULL;
	stream_write(&server.stream, SLICE("220 still here\r\n"));
	assert_true(stream_flush(&server.stream));
	turns_now();
	assert_int_equal(stream_fill(&client.stream), 16);
}

static void refused(const char *certificate, const char *key, const char *said)
{
	const char *why = NULL;
	struct tls_context *c = tls_server_context(&arena, certificate, key, &why);

	assert_null(c);
	assert_non_null(why);
	if (!strstr(why, said))
		fail_msg("\"%s\" does not say \"%s\"", why, said);
}

static void test_files_that_will_not_do(void **state)
{
	refused("/nonexistent/cert.pem", key_file, "No such file");
	refused(certificate_file, "/nonexistent/key.pem", "/nonexistent/key.pem");
	refused(key_file, key_file, "cannot read the certificate");
	refused(certificate_file, certificate_file, "cannot use the key");
	refused(certificate_file, other_key_file, "mismatch");
}

static void test_certificates_that_end(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *expired = certificate_for(key, -1), *soon = certificate_for(key, 3);
	struct tls_context *c;
	const char *why = NULL;
	char expired_file[64], soon_file[64], key_here[64];

	file_of(expired_file, NULL, expired);
	file_of(soon_file, NULL, soon);
	file_of(key_here, key, NULL);
	refused(expired_file, key_here, "the certificate has expired");
	c = tls_server_context(&arena, soon_file, key_here, &why);
	assert_non_null(c);
	assert_non_null(why);
	assert_memory_equal(why, "warning:", 8);
	tls_context_unref(c);
	unlink(expired_file);
	unlink(soon_file);
	unlink(key_here);
	X509_free(expired);
	X509_free(soon);
	EVP_PKEY_free(key);
}

static void test_missing_ca_file(void **state)
{
	const char *why = NULL;

	assert_null(tls_client_context(&arena, true, "/nonexistent/ca.pem", &why));
	assert_non_null(strstr(why, "/nonexistent/ca.pem"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tls_test(test_handshake),
		tls_test(test_handshake_byte_by_byte),
		tls_test(test_verified_name),
		tls_test(test_verified_address),
		tls_test(test_wrong_name),
		tls_test(test_unknown_issuer),
		tls_test(test_peer_speaks_no_tls),
		tls_test(test_handshake_takes_too_long),
		tls_test(test_handshake_with_a_peer_that_goes),
		tls_test(test_handshake_cancelled),
		tls_test(test_buffered_plaintext_is_a_bug),
		tls_test(test_large_to_the_server),
		tls_test(test_large_from_the_server),
		tls_test(test_large_in_odd_pieces),
		tls_test(test_large_file),
		tls_test(test_dialogue),
		tls_test(test_dialogue_byte_by_byte),
		tls_test(test_parked_tls_stream_is_told),
		tls_test(test_end_without_close_notify_is_an_end),
		tls_test(test_garbage_after_the_handshake),
		tls_test(test_unsent_output_survives_close),
		tls_test(test_context_outlives_its_owner),
		tls_test(test_files_that_will_not_do),
		tls_test(test_certificates_that_end),
		tls_test(test_missing_ca_file),
	};

	return cmocka_run_group_tests(tests, certificates_make, certificates_drop);
}
