/*
 * libspf2 beside Spurn, for bench/spf_peers.py: the same evaluation with its own zone in memory and its cache.
 *
 *   spf_libspf2 CLIENT DOMAIN EVALUATIONS < lines "NAME TXT-RECORD"
 */
#include <netinet/in.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <spf2/spf.h>
#include <spf2/spf_dns_zone.h>
#include <spf2/spf_dns_cache.h>

#define RUNS 10

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static SPF_result_t evaluate(SPF_server_t *server, const char *ip, const char *from)
{
	SPF_request_t *request = SPF_request_new(server);
	SPF_response_t *response = NULL;
	SPF_result_t result;

	SPF_request_set_ipv4_str(request, ip);
	SPF_request_set_helo_dom(request, "mx.client.example");
	SPF_request_set_env_from(request, from);
	SPF_request_query_mailfrom(request, &response);
	result = SPF_response_result(response);
	SPF_response_free(response);
	SPF_request_free(request);
	return result;
}

int main(int argc, char **argv)
{
	SPF_dns_server_t *zone = SPF_dns_zone_new(NULL, "zone", 0);
	SPF_server_t *server;
	char line[4096], from[300];
	double times[RUNS];
	SPF_result_t result = SPF_RESULT_INVALID;
	int n;

	if (argc != 4)
		return 2;
	n = atoi(argv[3]);
	snprintf(from, sizeof(from), "user@%s", argv[2]);
	while (fgets(line, sizeof(line), stdin)) {
		char *text = strchr(line, ' ');

		line[strcspn(line, "\n")] = '\0';
		if (text)
			*text++ = '\0';
		if (text)
			SPF_dns_zone_add_str(zone, line, ns_t_txt, NETDB_SUCCESS, text);
	}
	server = SPF_server_new_dns(SPF_dns_cache_new(zone, "cache", 0, 10), 0);
	SPF_server_set_rec_dom(server, "mx.example.org");
	for (int i = 0; i < RUNS; i++) {
		double began = now_us();

		for (int k = 0; k < n; k++)
			result = evaluate(server, argv[1], from);
		times[i] = (now_us() - began) / n;
	}
	qsort(times, RUNS, sizeof(*times), order);
	printf("{\"name\":\"libspf2, zone in memory and its cache\",\"us\":%.2f,\"least\":%.2f,\"result\":\"%s\"}\n",
		times[RUNS / 2], times[0], SPF_strresult(result));
	return 0;
}
