/*
 * PROXY header, whatever a declared peer sends. Beyond not crashing: the verdict on a whole
 * input must agree with the one reached by feeding it byte by byte, and what is
 * used lies within the input and the 536 bytes of the specification.
 */
#include "run/listen.h"

#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct ip whole = { { 0 } }, stepwise = { { 0 } };
	enum proxy_result result, step = PROXY_MORE;
	uint16_t whole_port = 0, stepwise_port = 0;
	size_t used = 0, step_used = 0;

	result = proxy_parse(slice_make((const char *)bytes, n), &used, &whole, &whole_port);
	BUG_ON(used > n || used > 536);
	for (size_t i = 0; i <= n && step == PROXY_MORE; i++)
		step = proxy_parse(slice_make((const char *)bytes, i), &step_used, &stepwise, &stepwise_port);
	BUG_ON(step != result || step_used != used);
	BUG_ON(!ip_eq(&whole, &stepwise) || whole_port != stepwise_port);
	BUG_ON(result == PROXY_MORE && n >= 536);
	return 0;
}
