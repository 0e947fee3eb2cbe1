"""spurn bounce: files, directories, Maildirs, mboxes, standard input; for people and for scripts; and the corpus."""

import json
import os
import subprocess

import pytest

from process import REPOSITORY
from spurn import BUILD, built

SPURN = os.path.join(BUILD, "spurn")
CORPUS = os.path.join(REPOSITORY, "..", "shared", "corpus")
FIELDS = {"file", "kind", "recipients", "original", "proof", "why"}

BOUNCE = """From: MAILER-DAEMON@mx.example.net
To: alice@example.org
Subject: failure notice

Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.

<bob@example.net>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <alice@example.org>
Message-ID: <1@example.org>
From: Alice <alice@example.org>
To: bob@example.net
Subject: hello

hi
"""
LETTER = "From: carol@example.net\nTo: alice@example.org\nSubject: hello\n\nHow are you?\n"

pytestmark = pytest.mark.skipif(not built(), reason="spurn has not been built")


def bounce(*arguments, stdin=b"", status=0):
    done = subprocess.run([SPURN, "bounce", *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert b"Sanitizer" not in done.stderr and b"runtime error" not in done.stderr, done.stderr
    return done.stdout.decode("utf-8"), done.stderr.decode("utf-8")


def judged(*arguments, **keywords):
    return [json.loads(line) for line in bounce("--json", *map(str, arguments), **keywords)[0].splitlines()]


def test_fields(tmp_path):
    (tmp_path / "a.eml").write_text(BOUNCE)
    (one,) = judged(tmp_path / "a.eml")
    assert set(one) == FIELDS
    assert one["file"] == str(tmp_path / "a.eml")
    assert one["kind"] == "bounce"
    (recipient,) = one["recipients"]
    assert recipient == {"address": "bob@example.net", "action": "failed", "status": "5.1.1",
                         "diagnostic": "<bob@example.net>: Sorry, no mailbox here by that name. (#5.1.1)"}
    assert one["original"] == {"message_id": "<1@example.org>", "from": "Alice <alice@example.org>",
                               "to": "bob@example.net", "return_path": "alice@example.org", "subject": "hello",
                               "form": "text"}
    assert "bob@example.net" in one["why"]


def test_ordinary_mail(tmp_path):
    (tmp_path / "a.eml").write_text(LETTER)
    (one,) = judged(tmp_path / "a.eml")
    assert one["kind"] == "message" and one["recipients"] == [] and one["original"]["form"] == "none"
    text, _ = bounce(str(tmp_path / "a.eml"))
    assert "ordinary message" in text


def test_words_for_people(tmp_path):
    (tmp_path / "a.eml").write_text(BOUNCE)
    text, _ = bounce(str(tmp_path / "a.eml"))
    assert "This is a bounce" in text and "bob@example.net  failed  5.1.1" in text and "<1@example.org>" in text


def test_hostile_bytes_are_harmless(tmp_path):
    (tmp_path / "a.eml").write_bytes(BOUNCE.replace("hello\n\nhi", "he\x1b[31mllo\n\nhi").encode() + b"\xff\x00")
    text, _ = bounce(str(tmp_path / "a.eml"))
    assert "\x1b" not in text and "\\x1B" in text
    judged(tmp_path / "a.eml")


def test_standard_input():
    (one,) = judged("-", stdin=BOUNCE.encode())
    assert one["file"] == "-" and one["kind"] == "bounce"
    (one,) = judged("-", stdin=BOUNCE.replace("\n", "\r\n").encode())
    assert one["original"]["message_id"] == "<1@example.org>"
    (one,) = judged("-", stdin=b"")
    assert one["kind"] == "message"


def test_mbox(tmp_path):
    """"From " begins a message behind a blank line alone, and wherever a block of the file ends."""
    text = "From a@b Mon Nov 23 00:00:00 2026\n" + BOUNCE + "\nFrom c@d Mon Nov 23 00:00:01 2026\n" + LETTER + \
        "\nNo blank line above this:\nFrom here on.\n" + "x" * 70000 + "\n\nFrom e@f Mon\n" + BOUNCE
    (tmp_path / "box").write_text(text)
    kinds = [(os.path.basename(one["file"]), one["kind"]) for one in judged(tmp_path / "box")]
    assert kinds == [("box", "bounce"), ("box#2", "message"), ("box#3", "bounce")]


def test_directories(tmp_path):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    (tmp_path / "in" / "b.eml").write_text(BOUNCE)
    (tmp_path / "in" / "deeper" / "a.eml").write_text(LETTER)
    (tmp_path / "in" / ".hidden").write_text(BOUNCE)
    names = [os.path.relpath(one["file"], tmp_path) for one in judged(tmp_path / "in")]
    assert names == ["in/b.eml", "in/deeper/a.eml"]


def test_maildir(tmp_path):
    for name in ("cur", "new", "tmp", ".Junk/cur", ".Junk/new", ".Junk/tmp"):
        (tmp_path / "Maildir" / name).mkdir(parents=True)
    for name in ("cur/1:2,S", "new/2", "tmp/3", ".Junk/new/4", "dovecot.index"):
        (tmp_path / "Maildir" / name).write_text(BOUNCE)
    names = {os.path.relpath(one["file"], tmp_path / "Maildir") for one in judged(tmp_path / "Maildir")}
    assert names == {"cur/1:2,S", "new/2", ".Junk/new/4"}


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "a.eml").write_text(BOUNCE)
    out, errors = bounce("--json", str(tmp_path / "none"), str(tmp_path / "a.eml"), status=66)
    assert errors == f"spurn: {tmp_path / 'none'}: No such file or directory\n"
    assert json.loads(out)["kind"] == "bounce"
    assert "spurn: bounce:" in bounce(status=64)[1]


@pytest.mark.skipif(not os.path.isdir(CORPUS), reason="no corpus beside the repository")
def test_corpus():
    """The goals: notice against ordinary mail, kind, failed recipient, returned Message-ID."""
    done = subprocess.run([os.path.join(REPOSITORY, "tools", "corpus")], stdout=subprocess.PIPE, timeout=120)
    assert done.returncode == 0, done.stdout.decode()
