"""Fixtures of the system tests; and the peers' logs in the report of a test that failed."""

import os
import pathlib
import shutil
import tempfile

import pytest

from peers import DnsServer, FakeBackend, Peer, REPOSITORY, Spurn, make_certificate
from sending import make_key, own

CLIENT_DOMAINS = ("client.example.net", "example.net", "example.com", "partner.example.com")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Adds the logs of every peer that runs to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for peer in list(Peer.live):
            report.sections.append((f"peer {peer.name}", peer.log_text()))


@pytest.fixture(scope="session")
def dns():
    """A DNS server that knows the domains which senders use in these tests. Tests add names of their own."""
    with DnsServer() as server:
        for domain in CLIENT_DOMAINS:
            server.mail_domain(domain)
        server.ptr("127.0.0.1", "localhost").a("localhost", "127.0.0.1")
        yield server


@pytest.fixture(scope="session")
def certificate():
    """(certificate, key) files for mx.spurn.test."""
    directory = tempfile.mkdtemp(prefix="spurn-certificate-")
    yield make_certificate(directory, "mx.spurn.test")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def public_dir():
    """A directory that servers which have dropped root can read: pytest's own tmp_path is root's alone."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="spurn-files-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def backend():
    """A FakeBackend that offers the usual extensions."""
    with FakeBackend() as fake:
        yield fake
        assert not fake.violations, fake.violations


@pytest.fixture
def spurn(backend, dns):
    """Spurn with its ordinary configuration in front of the FakeBackend `backend`."""
    with Spurn(backend.url, dns=dns) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def corpus():
    """The directory of shared test data, which stands beside the repository; skipped where it does not."""
    path = os.environ.get("SPURN_CORPUS", os.path.join(REPOSITORY, os.pardir, "shared", "corpus"))
    if not os.path.isdir(path):
        pytest.skip("no shared corpus beside the repository")
    return path


@pytest.fixture
def keys(public_dir):
    """A directory with a key that what leaves is marked with."""
    directory = public_dir / "keys"
    directory.mkdir(mode=0o700)
    make_key(str(directory))
    own(str(directory))
    return str(directory)
