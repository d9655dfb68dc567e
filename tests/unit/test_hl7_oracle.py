"""hl7apy as oracle: messages that it parses whole have the same segments and fields for our tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from adapters.hl7.tokens import tokenize
from tests.hl7_messages import adt, obx, oru, pid, pv1

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "hl7v2_pairs"
CHOSEN = ("cwe", "dtm", "msh", "obx", "pv1pv2", "xtn")

OWN = (
    adt(),
    adt(person=pid(id="1^^^A&1.2.3&ISO~2^^^B&1.2.4&ISO", f13="^PRN^PH^^^^^^^^^1~^PRS^CP^^^^^^^^^2")),
    adt("A03", stay=pv1(f45="20261121")),
    oru(obx(), obx("718-7^Hb^LN", "12.40", "g/dL", f7="12-16"), obx("1^x^L", "a~b", "", "ST")),
)


def pairs() -> list[str]:
    """Return the messages of some folders; hl7apy takes no fifth encoding character before 2.7."""
    paths = [path for folder in CHOSEN for path in sorted((FOLDER / folder).rglob("*.hl7"))]
    return [path.read_text("utf-8").replace("\n", "\r").replace("^~\\&#", "^~\\&") for path in paths]


def trimmed(text: str) -> list[str]:
    """Return the segments without empty fields at their ends."""
    return [line.rstrip("|") for line in text.split("\r") if line.strip()]


def parsed(text: str) -> Any:
    """Return hl7apy's message where it wrote back what it read, else None."""
    found = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
    named = all(field.name for segment in found.children for field in segment.children)
    return found if named and trimmed(found.to_er7()) == trimmed(text) else None


def fields_of(segment: Any) -> dict[int, str]:
    """Return hl7apy's fields by number, repetitions joined; MSH-1 and MSH-2 are no fields to it."""
    made: dict[int, list[str]] = {}
    for field in segment.children:
        made.setdefault(int(field.name.rpartition("_")[2]), []).append(field.to_er7())
    return {n: "~".join(f) for n, f in made.items() if any(f) and not (segment.name == "MSH" and n < 3)}


def check(text: str, theirs: Any) -> None:
    ours = tokenize(text)
    assert [s.name for s in ours.segments] == [s.name for s in theirs.children]
    for own, other in zip(ours.segments, theirs.children, strict=True):
        skipped = 3 if own.name == "MSH" else 1
        assert {n: raw for n, raw in enumerate(own.fields) if raw and n >= skipped} == fields_of(other)


@pytest.mark.parametrize("text", OWN)
def test_our_own_messages_are_read_as_hl7apy_reads_them(text: str) -> None:
    theirs = parsed(text)
    assert theirs is not None
    check(text, theirs)


@pytest.mark.skipif(not FOLDER.exists(), reason=f"the message pairs are not at {FOLDER}")
def test_messages_that_hl7apy_reads_whole_are_read_the_same() -> None:
    whole = [(text, theirs) for text in pairs() if (theirs := parsed(text)) is not None]
    assert len(whole) >= 20
    for text, theirs in whole:
        check(text, theirs)
