"""spurn keys and spurn sent: the keys of bounce proofs, and what the sent ledger knows."""

import json
import os
import re
import stat
import time

import pytest

from bouncers import crlf
from peers import BUILD, CLIENT_DOMAIN, FakeBackend
from process import run
from sending import ANN, BOB, DEAD, MOVED, Site, original, own, tag

SPURN = os.path.join(BUILD, "spurn")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def keys_tool(*arguments, status=0):
    done = run([SPURN, "keys", *map(str, arguments)])
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr, done.stderr
    return (done.stderr if status else done.stdout).decode()


@pytest.fixture(name="room")
def fixture_room(public_dir):
    directory = public_dir / "room"
    directory.mkdir(mode=0o700)
    return directory


def listed(room):
    return {key["id"]: key for key in map(json.loads, keys_tool("list", "--dir", room, "--json").splitlines())}


# ---- keys --------------------------------------------------------------------------------


def test_a_key_is_made_listed_and_retired(room):
    assert "no key in" in keys_tool("list", "--dir", room)
    said = keys_tool("new", "--dir", room)
    assert re.search(rf"{room}/1.key: key 1, fingerprint [0-9a-f]{{8}}, makes proofs from {TIME}\n", said)
    text = (room / "1.key").read_text()
    secret = re.search(r"^secret (\S+)$", text, re.MULTILINE).group(1)
    [row] = keys_tool("list", "--dir", room).splitlines()[1:]
    assert re.fullmatch(rf"1 +[0-9a-f]{{8}} +in use +{TIME} +- +-", row.strip()), row
    one = listed(room)["1"]
    assert set(one) == {"id", "fingerprint", "state", "created", "from", "retired", "until", "file"}
    assert (one["state"], one["retired"], one["file"]) == ("in use", None, str(room / "1.key"))

    keys_tool("new", "--dir", room, "--after", "2h")
    assert [key["state"] for key in listed(room).values()] == ["in use", "to come"]
    time.sleep(1.01)  # the youngest is in use, to a second
    keys_tool("new", "--dir", room)
    assert [key["state"] for key in listed(room).values()] == ["proves", "to come", "in use"]
    assert "makes no proofs any more, and is believed until" in keys_tool("retire", "1", "--dir", room)
    assert listed(room)["1"]["state"] == "retired"
    # A second time changes only how long it is believed.
    retired = listed(room)["1"]["retired"]
    keys_tool("retire", "1", "--dir", room, "--overlap", "0s")
    assert listed(room)["1"]["state"] == "over" and listed(room)["1"]["retired"] == retired
    assert "No key is in use now" in keys_tool("retire", "3", "--dir", room)
    assert secret not in said + keys_tool("list", "--dir", room) + keys_tool("list", "--dir", room, "--json")
    assert (room / "1.key").read_text().count(secret) == 1


def test_ten_digits_are_all_there_are(room):
    for _ in range(10):
        keys_tool("new", "--dir", room)
    assert sorted(os.listdir(room)) == [f"{i}.key" for i in range(10)]
    assert "all ten digits are in use" in keys_tool("new", "--dir", room, status=69)
    before = (room / "4.key").read_text()
    keys_tool("retire", "4", "--dir", room, "--overlap", "0s")
    assert "4.key: key 4" in keys_tool("new", "--dir", room)
    assert (room / "4.key").read_text() != before and listed(room)["4"]["state"] != "over"


def test_a_key_has_the_rights_of_its_directory(room):
    keys_tool("new", "--dir", room)
    room.chmod(0o750)
    os.chown(room, 0, 65534)
    keys_tool("new", "--dir", room)
    keys_tool("retire", "1", "--dir", room)
    for name, mode, group in (("1.key", 0o640, 65534), ("2.key", 0o640, 65534)):
        found = (room / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, 0, group), name
    assert sorted(os.listdir(room)) == ["1.key", "2.key"]


def test_a_secret_that_others_can_read_is_refused(room):
    keys_tool("new", "--dir", room)
    (room / "1.key").chmod(0o644)
    text = keys_tool("list", "--dir", room, status=78)
    assert f"spurn: {room}/1.key: " in text and "secret" not in text


@pytest.mark.parametrize("arguments", [[], ["make"], ["new", "2"], ["retire"], ["retire", "1", "2"], ["new", "--after", "soon"],
                                       ["retire", "1", "--overlap", "x"]], ids=" ".join)
def test_wrong_use(room, arguments):
    keys_tool("new", "--dir", room)
    assert keys_tool(*arguments, "--dir", room, status=64).startswith("spurn: ")
    assert os.listdir(room) == ["1.key"]


def test_what_is_not_there(room):
    assert "no key 7 in" in keys_tool("retire", "7", "--dir", room, status=66)
    assert f"spurn: {room}/none" in keys_tool("new", "--dir", room / "none", status=78)
    assert f"spurn: {room}/none" in keys_tool("list", "-c", room / "none", status=78)
    (room / "3.key").write_text("version 1\nid 12\n")
    (room / "3.key").chmod(0o600)
    assert f"{room}/3.key:2:4: " in keys_tool("list", "--dir", room, status=78)


# ---- sent --------------------------------------------------------------------------------


def sent(spurn, *arguments, status=0):
    done = spurn.tool("sent", *arguments)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return (done.stdout if status in (0, 1) else done.stderr).decode()


def returned(message, recipient=DEAD):
    return crlf(f"From: MAILER-DAEMON@mx.remote.example\nTo: {BOB}\nSubject: failure notice\n\n"
                f"Hi. This is the qmail-send program.\n\n<{recipient}>:\nNo such user. (#5.1.1)\n\n"
                "--- Below this line is a copy of the message.\n\n".encode()) + message


def test_what_the_sent_ledger_knows(keys):
    with FakeBackend() as backend, FakeBackend() as next_hop, Site(backend.url, next_hop.url, keys) as spurn:
        assert "nothing is known of it" in sent(spurn, BOB, "remote.example", status=1)
        spurn.send_out(BOB, DEAD, original(1))
        message_id = f"<1@{CLIENT_DOMAIN}>"
        assert re.match(rf"{BOB} has sent it, \d+ m?s ago, to 1 recipient\n$", sent(spurn, BOB, message_id))
        assert sent(spurn, BOB.upper(), message_id) == sent(spurn, f"prvs={tag(keys, 1, BOB)}={BOB}", message_id)
        for what in ("remote.example", "REMOTE.example", "somebody.else@remote.example"):
            assert f"{BOB} has written to remote.example, last about" in sent(spurn, BOB, what)
        for sender, what in ((ANN, message_id), (ANN, "remote.example"), (BOB, "<2@x>"), (BOB, "sub.remote.example")):
            assert "nothing is known of it" in sent(spurn, sender, what, status=1)
            assert not json.loads(sent(spurn, "--json", sender, what, status=1))["found"]

        [mail] = next_hop.messages
        spurn.comes_in(BOB, returned(mail.octets), 250)
        spurn.comes_in(BOB, returned(mail.octets, MOVED), 250)
        assert "notices about it: 2, of them 1 for somebody it was not sent to" in sent(spurn, BOB, message_id)
        said = json.loads(sent(spurn, "--json", BOB, message_id))
        assert (said["found"], said["recipients"], said["notices"], said["foreign"]) == (True, 1, 2, 1)

        # A second transaction of the same message adds its recipients.
        spurn.send_out(BOB, MOVED, original(1))
        assert "to 2 recipients" in sent(spurn, BOB, message_id)


def test_wrong_questions_to_the_ledger(keys):
    with FakeBackend() as backend, Site(backend.url, backend.url, keys) as spurn:
        for arguments in ([], [BOB], [BOB, "a", "b"], [BOB, "a b"]):
            assert sent(spurn, *arguments, status=64).startswith("spurn: sent: ")
        for arguments in (["nobody", "x.example"], [BOB, "@"], [BOB, "a@"]):
            assert sent(spurn, *arguments, status=65).startswith("spurn: no ")
        spurn.child.stop()
        assert sent(spurn, BOB, "x.example", status=69).startswith("spurn: ")


def test_keys_of_the_configuration(keys):
    """Without --dir they are those of the daemon, with its lifetime."""
    with FakeBackend() as backend, Site(backend.url, backend.url, keys) as spurn:
        assert b"in use" in spurn.tool("keys", "list").stdout
        spurn.configure(top=spurn.values["top"].replace("dir " + keys, f"lifetime 3d; dir {keys}"))
        assert spurn.tool("keys", "new").returncode == 0
        assert spurn.tool("keys", "retire", "1").returncode == 0
        own(keys)
        one = json.loads(spurn.tool("keys", "list", "--json").stdout.splitlines()[0])
        days = [int(text[8:10]) + 31 * int(text[5:7]) for text in (one["retired"], one["until"])]
        assert (days[1] - days[0]) % 31 in (4, 3, 5), one
        spurn.reload()
        status = json.loads(spurn.tool("status", "--json").stdout)["proofs"]
        assert (status["keys"], status["key_in_use"], status["lifetime_s"]) == (2, "2", 3 * 86400)


# ---- bounce ------------------------------------------------------------------------------


def test_a_user_is_told_what_to_do_with_a_bounce(keys, public_dir):
    """From wherever it lies: a file, a Maildir, an mbox, standard input."""
    def advice(message, *arguments):
        done = spurn.tool("bounce", *(arguments or ("-",)), data=message.replace(b"\r\n", b"\n"))
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    with FakeBackend() as backend, FakeBackend() as next_hop, Site(backend.url, next_hop.url, keys) as spurn:
        spurn.send_out(BOB, DEAD, original(1))
        [mail] = next_hop.messages
        true = returned(mail.octets)
        tagged = true.replace(f"To: {BOB}\r\nSubject: failure".encode(), f"To: {mail.sender}\r\nSubject: failure".encode())
        false = tagged.replace(mail.sender.encode(), f"prvs=1{mail.sender[6:9]}000000={BOB}".encode())
        attached = (f"From: MAILER-DAEMON@x.example\r\nTo: {BOB}\r\nMIME-Version: 1.0\r\nSubject: failure notice\r\n"
                    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nIt failed.\r\n--b\r\n"
                    "Content-Type: message/rfc822\r\n\r\n").encode() + original(9) + b"\r\n--b--\r\n"
        assert "This bounce is genuine" in advice(true) and "This bounce is genuine" in advice(tagged)
        assert "This bounce is false: it shows a proof that is not ours. Ignore it, do not open" in advice(false)
        assert "This bounce is false: it returns a message that was never sent from here. Ignore it" in advice(attached)
        assert "Nothing shows that this message left here" in advice(returned(original(9)))
        # Where not all mail leaves through here, nothing more can be said of it.
        spurn.configure(domains={CLIENT_DOMAIN: f"backend {backend.url}; recipients callforward;"})
        assert "Nothing shows that this message left here" in advice(attached)

        for name in ("box/cur", "box/new", "box/tmp"):
            (public_dir / name).mkdir(parents=True, exist_ok=True)
        (public_dir / "box/cur/1:2,S").write_bytes(tagged.replace(b"\r\n", b"\n"))
        (public_dir / "box/new/2").write_bytes(false.replace(b"\r\n", b"\n"))
        (public_dir / "mbox").write_bytes(b"From a@b Mon\n" + tagged.replace(b"\r\n", b"\n") + b"\nFrom a@b Mon\n"
                                          + false.replace(b"\r\n", b"\n"))
        for path in ("box", "mbox"):
            said = [json.loads(line) for line in spurn.tool("bounce", "--json", str(public_dir / path)).stdout.splitlines()]
            assert [one["proof"]["result"] for one in said] == ["proven", "refuted"], said
