"""The short form of exactly_once.py, and the judgement by itself."""

import exactly_once
from exactly_once import fate, judge


def test_exactly_once_while_both_are_killed(dns, tmp_path):
    wrong, seen = exactly_once.run(100, 2.5, dns, str(tmp_path))
    assert not wrong, "\n".join(wrong)
    assert seen["recipients"] == 300 and seen["refusals"] > 0
    assert seen["spurn"] + seen["server"] > 0


def test_judge_sees_what_is_wrong():
    taken = next((str(n), "a") for n in range(99) if fate(str(n), "a") == "taken")
    refused = next((str(n), "a") for n in range(99) if fate(str(n), "a") == "refused")
    assert judge({taken, refused}, [taken], {refused}, set()) == []
    assert "lost" in judge({taken}, [], set(), set())[0]
    assert "2 times" in judge({taken}, [taken, taken], set(), set())[0]
    assert judge({taken}, [taken, taken], set(), {taken}) == []
    assert "has not heard" in judge({refused}, [], set(), set())[0]
    assert "stored" in judge({refused}, [refused], {refused}, set())[0]
    assert "told otherwise" in judge({taken}, [taken], {taken}, set())[0]
    assert "never sent" in judge(set(), [taken], set(), set())[0]
