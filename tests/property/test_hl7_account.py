"""Whatever is sent: every segment and every valued field is in the lines, in the tree and in the account."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7.arrival import read
from adapters.hl7.codes import read as read_maps
from adapters.hl7.local import Local
from adapters.hl7.log import detail
from adapters.hl7.log.profile import Learner, drift
from adapters.hl7.tokens import Message
from tests.hl7_messages import CHANNEL, adt, header, obx, oru, pid, pv1

NAMES = st.sampled_from(["ZZZ", "ZBE", "OBX", "NTE", "NK1", "DG1", "AL1", "PV2", "PD1", "XYZ", "ROL", "SPM"])
TEXTS = st.text(st.sampled_from('AB1 é.^&~\\"-'), max_size=12)
SEGMENTS = st.builds(lambda name, fields: "|".join([name, *fields]), NAMES, st.lists(TEXTS, min_size=1, max_size=20))
BASES = st.sampled_from([adt(), oru(), oru(obx("FC^x^L"), obx("1-8^y^LN", unit="zz"))])


@st.composite
def messages(draw: st.DrawFn) -> str:
    """A message that can be read, with any segments put in anywhere after the header."""
    lines = draw(BASES).rstrip("\r").split("\r")
    for segment in draw(st.lists(SEGMENTS, max_size=8)):
        lines.insert(draw(st.integers(1, len(lines))), segment)
    return "\r".join(lines) + "\r"


def valued(message: Message) -> set[tuple[str, int]]:
    return {(s.name, n) for s in message.segments for n, text in enumerate(s.fields) if n and text}


@given(messages())
def test_every_segment_and_field_is_accounted_for(text: str) -> None:
    arrival = read(CHANNEL, text.encode())
    message = detail.message_of(text.encode())
    assert message is not None
    if arrival.draft is None:
        return  # its fault says why; nothing of it was carried over
    used = {(name, number) for name, numbers in arrival.used.items() for number in numbers}
    for name, number in valued(message):
        assert (name, number) in used or f"{name}-{number}" in arrival.unused or name in arrival.unused
    assert {segment.name for segment in message.segments} <= set(arrival.used) | set(arrival.unused)


@given(messages())
def test_every_segment_is_in_the_lines_and_in_the_tree(text: str) -> None:
    message = detail.message_of(text.encode())
    assert message is not None
    lines, tree = detail.lines_of(message, detail.Marks()), detail.tree_of(message, detail.Marks())
    assert [line.name for line in lines] == [segment.name for segment in message.segments]
    assert [branch.name for branch in tree] == [segment.name for segment in message.segments]
    for line, segment in zip(lines, message.segments, strict=True):
        first = 2 if segment.name == "MSH" else 1
        assert [piece.text for piece in line.pieces] == segment.fields[first:]
    for branch, segment in zip(tree, message.segments, strict=True):
        assert len(branch.leaves) == sum(bool(field) for field in segment.fields[1:])


@given(messages())
def test_a_message_never_drifts_from_a_profile_learned_of_it(text: str) -> None:
    message = detail.message_of(text.encode())
    assert message is not None
    learner = Learner()
    learner.see(message)
    assert drift(learner.profile("x|y", learned=""), message) == []


SOURCES = st.sampled_from(["L", "99LAB", "urn:predmp:facility:CHU-TEST", "urn:predmp:facility:CHU-TEST:codes", ""])
MAPS = st.builds(
    lambda source, code, system, to, equivalence: {
        "resourceType": "ConceptMap", "status": "active", "id": f"{source}{code}{to}",
        "group": [{"source": source, "target": system, "element": [
            {"code": code, "target": [{"code": to, "equivalence": equivalence}]}]}],
    },
    SOURCES, st.sampled_from(["FC", "F", "I", "VITALS"]), st.sampled_from(["http://loinc.org", "urn:x", ""]),
    st.sampled_from(["8867-4", "1-8", ""]), st.sampled_from(["equal", "wider", "inexact", "narrower", "unmatched"]),
)  # fmt: skip


@given(st.lists(MAPS, max_size=4), st.sampled_from(["FC^x^L", "FC^x^99LAB", "FC", "FC^x^L^8867-4^y^LN"]))
def test_maps_only_add(maps: list[dict[str, object]], field: str) -> None:
    """The sender's codings stay, in their order; whatever the maps say."""
    text = oru(obx(field), person=pid(), order="OBR|||L1|VITALS^x^L").encode()
    plain = read(CHANNEL, text)
    mapped = read(replace(CHANNEL, local=Local(read_maps(maps))), text)
    assert plain.draft is not None and mapped.draft is not None
    before, after = (
        [
            one["code"]["coding"]
            for person in arrival.draft.people
            for report in person.reports
            for one in report.observations
        ]
        for arrival in (plain, mapped)
        if arrival.draft is not None
    )
    assert [codings[: len(own)] for codings, own in zip(after, before, strict=True)] == before


def test_the_base_messages_are_read() -> None:
    for text in (adt(), oru(), header() + "\r" + pid() + "\r" + pv1() + "\r"):
        assert read(CHANNEL, text.encode()).draft is not None
