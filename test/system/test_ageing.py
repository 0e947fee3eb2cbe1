"""Old segments of the journal, aged by a worker inside its sandbox: packed, faded, deleted; and still found."""

import glob
import gzip
import json
import os
import stat
import time

from peers import FakeBackend, Spurn, wait_until

HOUR, DAY = 3600, 86400


def record(ref, when, sender):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(when))
    reply = {"number": 601, "code": 550, "enhanced": "5.1.1", "text": f"No such recipient here ref={ref}"}
    rcpt = {"address": "nobody@example.org", "code": 550, "enhanced": "5.1.1", "reply": reply["text"],
            "backend": "550 5.1.1 <nobody@example.org>: unknown"}
    return {"time": stamp, "ref": ref, "node": "mx.spurn.test", "listener": "inbound",
            "client": {"ip": "198.51.100.77", "port": 4000, "name": "mail.a.client.test", "helo": "mail.a.client.test",
                       "tls": ""}, "mail_from": sender, "rcpt": [rcpt], "findings": [], "disposition": "reject",
            "reply": reply, "backend": {"address": "", "reply": ""}, "times": {"total": 1.0}}


def segment(spurn, age, ref, sender):
    """A segment that another worker began so many seconds ago, without an index."""
    directory = os.path.join(spurn.state, "journal")
    when = time.time() - age
    stem = os.path.join(directory, time.strftime("%Y%m%dT%H%M%S", time.gmtime(when)) + "-000.9")
    with open(stem + ".jsonl", "w", encoding="utf-8") as stream:
        stream.write(json.dumps(record(ref, when, sender), separators=(",", ":")) + "\n")
        stream.write('{"time":"torn')
    os.chown(stem + ".jsonl", 65534, 65534)
    return stem


def found(spurn, key):
    done = spurn.tool("why", key, "--json")
    assert done.returncode in (0, 1), done
    return [json.loads(line)["ref"] for line in done.stdout.decode().splitlines()]


def test_segments_age(dns):
    with FakeBackend() as backend, Spurn(backend.url, dns=dns) as spurn:
        spurn.kill()
        old = segment(spurn, 100 * DAY, "AAAAAAAAAA", "gone@client.test")
        faded = segment(spurn, 20 * DAY, "BBBBBBBBBB", "faded@client.test")
        packed = segment(spurn, 2 * HOUR, "CCCCCCCCCC", "packed@client.test")
        spurn.restart()
        wait_until(lambda: not glob.glob(old + "*") and os.path.exists(faded + ".faded.jsonl.gz") and
                   not os.path.exists(packed + ".jsonl"), 20, "the journal to age")
        assert json.loads(gzip.open(packed + ".jsonl.gz").readline())["ref"] == "CCCCCCCCCC"
        text = gzip.open(faded + ".faded.jsonl.gz").read()
        for clear in (b"faded@", b"nobody@", b"198.51.100.77", b"mail.a.client"):
            assert clear not in text, text
        assert b"BBBBBBBBBB" in text and b"198.51.100.0/24" in text and b"5.1.1" in text
        assert not [path for path in glob.glob(faded + "*") if ".faded." not in path]
        mode = os.stat(os.path.join(spurn.state, "journal", "fade.key")).st_mode
        assert stat.S_IMODE(mode) == 0o600
        assert found(spurn, "packed@client.test") == ["CCCCCCCCCC"]
        assert found(spurn, "Faded@client.test") == ["BBBBBBBBBB"], "the key is hashed in the same way"
        assert found(spurn, "BBBBBBBBBB") == ["BBBBBBBBBB"]
        assert found(spurn, "nobody@example.org") == ["BBBBBBBBBB", "CCCCCCCCCC"]
        assert found(spurn, "198.51.100.77") == ["BBBBBBBBBB", "CCCCCCCCCC"]
        assert found(spurn, "gone@client.test") == []
        assert "journal" not in spurn.stderr()
