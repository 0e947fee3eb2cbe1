/* organization: what was registered, by the public suffix list of the machine. */
#include "unit.h"

#include "check/organization.h"

static void registered_names(void **state)
{
	assert_slice(organization_of(SLICE("a.b.example.com")), "example.com");
	assert_slice(organization_of(SLICE("example.com")), "example.com");
	assert_slice(organization_of(SLICE("mail.example.co.uk")), "example.co.uk");
	assert_slice(organization_of(SLICE("co.uk")), "co.uk");
	assert_slice(organization_of(SLICE("com")), "com");
	assert_slice(organization_of(SLICE("a.b.nosuchsuffix")), "b.nosuchsuffix");
	assert_slice(organization_of(SLICE("a.xn--85x722f.com.cn")), "xn--85x722f.com.cn");
	assert_int_equal(organization_registered(SLICE("co.uk")).n, 0);
	assert_int_equal(organization_registered(SLICE("")).n, 0);
	assert_int_equal(organization_registered(SLICE("a\0b.com")).n, 0);
}

UNIT_MAIN(cmocka_unit_test(registered_names))
