"""Recipients that disagree, and backends that do not tell the truth: between real servers."""

import pytest

from peers import CLIENT_DOMAIN, DovecotLmtp, EximBackend, EximClient, PostfixClient, Spurn, message, wait_until

SENDER = f"sender@{CLIENT_DOMAIN}"
ALICE, BOB, FULL = "alice@example.org", "bob@example.org", "full@example.org"


@pytest.fixture
def lmtp():
    """Dovecot, with a mailbox that has no room left."""
    with DovecotLmtp(full=["full"]) as server:
        yield server


# ---- PRDR --------------------------------------------------------------------------------


def test_exim_hears_each_recipient_at_once(dns, lmtp):
    """Exim asks for PRDR: one transaction tells it everything, and nobody tries again."""
    with Spurn(lmtp.url, dns=dns) as spurn, EximClient(spurn.port) as client:
        client.send(SENDER, [ALICE, FULL, BOB], message())
        assert b"552 5.2.2" in client.wait_bounce()
        client.wait_empty()
        assert len(lmtp.messages("alice")) == len(lmtp.messages("bob")) == 1
        record = spurn.transactions()[-1]
        assert [r["code"] for r in record["rcpt"]] == [250, 552, 250]
        assert record["reply"]["number"] == 115



def test_postfix_hears_each_recipient_by_a_retry(dns, lmtp):
    """Postfix does not ask for it: 451, and each comes back with an answer of its own."""
    with Spurn(lmtp.url, dns=dns) as spurn, PostfixClient(spurn.port) as client:
        client.send(SENDER, [ALICE, FULL, BOB], message())
        assert b"552 5.2.2" in client.wait_bounce()
        client.wait_empty()
        assert len(lmtp.messages("alice")) == len(lmtp.messages("bob")) == 1
        assert len(client.bounces()) == 1


def test_exim_behind_answers_each_recipient(dns):
    """An Exim backend speaks PRDR with us, and the Exim in front hears it."""
    acls = "acl_prdr:\n  deny local_parts = bob\n    message = not for bob\n  accept\n"
    with EximBackend(options="acl_smtp_data_prdr = acl_prdr", acls=acls) as backend, \
            Spurn(backend.url, dns=dns) as spurn, \
            EximClient(spurn.port) as client:
        client.send(SENDER, [ALICE, BOB], message())
        assert b"550 5.7.1" in client.wait_bounce()
        client.wait_empty()
        assert len(backend.messages("alice")) == 1 and backend.messages("bob") == []
        [record] = spurn.transactions()
        assert [r["code"] for r in record["rcpt"]] == [250, 550]


def test_mailbox_that_has_room_again(dns):
    """A refusal is never answered from memory: the next message is delivered as soon as there is room."""
    with DovecotLmtp(full=["full"]) as lmtp, Spurn(lmtp.url, dns=dns) as spurn:
        with spurn.session() as c:
            assert c.deliver(SENDER, [FULL], message(), 552).code == 552
        lmtp.stop()
        lmtp.full = ()
        lmtp.start()

        def taken():
            with spurn.session() as c:
                c.command(f"MAIL FROM:<{SENDER}>", 250)
                if c.command(f"RCPT TO:<{FULL}>", 250, 451).code == 451:
                    return False    # it has only just come back
                return c.data(message()).code == 250
        wait_until(taken, 10, "delivery to the emptied mailbox")
        assert len(lmtp.messages("full")) == 1
