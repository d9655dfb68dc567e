"""The sequence number protocol, decided number by number."""

from __future__ import annotations

import pytest

from adapters.hl7.sequence import AHEAD, NO_NUMBER, PASSED, decide, number


@pytest.mark.parametrize(
    ("found", "stored", "fault", "told", "following", "kept"),
    [
        pytest.param(5, 5, None, 6, 6, True, id="the expected one is taken"),
        pytest.param(7, None, None, 8, 8, True, id="a link begins where its sender does"),
        pytest.param(4, 5, PASSED, 5, 5, True, id="one that was passed is refused and kept aside"),
        pytest.param(6, 5, AHEAD, 5, 5, False, id="one that is ahead is refused and not kept"),
        pytest.param(0, 5, None, 1, 1, True, id="0 begins anew"),
        pytest.param(0, None, None, 1, 1, True, id="0 begins"),
        pytest.param(-1, 5, None, 5, 5, True, id="-1 asks, and is taken"),
        pytest.param(-1, None, None, 1, None, True, id="-1 on a new link"),
        pytest.param(None, 5, NO_NUMBER, 5, 5, True, id="no number"),
    ],
)
def test_what_becomes_of_a_message(
    found: int | None, stored: int | None, fault: object, told: int, following: int | None, kept: bool
) -> None:
    verdict, after = decide(found, stored)
    assert (verdict.fault, verdict.expected, verdict.is_kept, after) == (fault, told, kept, following)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", 1),
        (" 12 ", 12),
        ("-1", -1),
        ("0", 0),
        ("-2", None),
        ("1.5", None),
        ("x", None),
        ("٣", None),
        ("9" * 16, None),
    ],
)
def test_a_number_is_read(text: str, found: int | None) -> None:
    assert number(text) == found
