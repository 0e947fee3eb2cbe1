"""GMime as an oracle: over the corpus both parsers of MIME see the same entities with the same octets. Where they differ, the message is
damaged (lost folds, missing blank lines, delimiters that are not quite), and each reads it in its own way: of ordinary mail and
notices at most one in thirty, of what is malformed on purpose at most two in five."""

import glob
import os
import subprocess

import pytest

from process import REPOSITORY
from spurn import BUILD, built

CORPUS = os.path.join(REPOSITORY, "..", "shared", "corpus")

pytestmark = [pytest.mark.skipif(not built(), reason="spurn has not been built"),
              pytest.mark.skipif(not os.path.isdir(CORPUS), reason="no corpus beside the repository")]


def views(program, files):
    done = subprocess.run([os.path.join(BUILD, program), "--show", *files], stdout=subprocess.PIPE, check=True, timeout=120)
    seen, name = {}, None
    for line in done.stdout.decode("latin-1").split("\n"):
        if line.startswith("file "):
            name = line[5:]
            seen[name] = []
        elif line:
            seen[name].append(line)
    return seen


@pytest.fixture(scope="module")
def programs():
    done = subprocess.run(["ninja", "-C", BUILD, "mime_bench", "gmime_peer"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        pytest.skip("GMime's development files are not installed")


@pytest.mark.parametrize("group, differ", [("bounces", 1 / 30), ("ordinary", 1 / 30), ("autoreply", 1 / 10),
                                           ("reports", 1 / 10), ("malformed", 2 / 5)])
def test_structure(programs, group, differ):
    files = sorted(f for f in glob.glob(os.path.join(CORPUS, group, "*", "**"), recursive=True) if os.path.isfile(f))
    assert files
    ours, theirs = views("mime_bench", files), views("gmime_peer", files)

    def entities(view):
        return [line for line in view if "=" not in line]

    odd = [f for f in files if entities(ours[f]) != entities(theirs[f])]
    assert len(odd) <= differ * len(files), odd
