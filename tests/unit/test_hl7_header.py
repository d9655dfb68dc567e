"""The header of a message: read quickly or slowly it says the same, and its answers are those of `ack.write`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7 import ack, tokens
from adapters.hl7.channels import Channel
from adapters.hl7.header import Header, Headers, read_header
from adapters.hl7.times import stamp
from tests.hl7_messages import CHANNEL, adt, header, message, obx, oru, pid, segment

NOW = 1_700_000_000_123_456


def said(found: Header) -> tuple[object, ...]:
    faults = (found.fault,) if found.fault else ()
    return (
        found.key, found.control_id, found.sha256, found.codec, found.fault, found.sender, found.name, found.label,
        found.sequence, found.is_answer, [found.answers(code, kept=True, now=NOW) for code in ("AA", "AE", "AR")],
        found.answers("AE", kept=True, now=NOW, faults=faults, expected=7),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(adt(), "", id="an admission"),
        pytest.param(oru(), "", id="results"),
        pytest.param(oru(control="1|2"), "103", id="a field too many, so that nothing is known of its character set"),
        pytest.param(message(header("ADT^A04", f15="AL", f16="AL"), pid()), "", id="enhanced mode"),
        pytest.param(message(header("ADT^A04", f13="12"), pid()), "", id="a sequence number"),
        pytest.param(message(header("ADT^A04", f12="7.7"), pid()), "203", id="an unknown version"),
        pytest.param(message(header("ZZZ^Z99"), pid()), "200", id="an unknown type"),
        pytest.param(message(header("ADT^Z77"), pid()), "201", id="an unknown event"),
        pytest.param(message(header("ADT^A04", f11="T"), pid()), "202", id="a test"),
        pytest.param(message(header("ADT^A04"), segment("NK1", f2="X")), "100", id="nobody"),
        pytest.param(message(header("ADT^A04"), pid(id="")), "101", id="a patient without identifier"),
        pytest.param(message(header("ADT^A04"), pid(id='""')), "101", id="a patient whose identifier is deleted"),
        pytest.param(message(header("ADT^A04"), pid(id="", f2="OLD")), "", id="an identifier in PID-2"),
        pytest.param(message(header("ORU^R01"), obx()), "100", id="results of nobody"),
        pytest.param(message(header("ORU^R01", f21="IHE_PCD_001"), obx()), "", id="a profile that may have nobody"),
        pytest.param(message(header("ADT^A04"), pid(), header("ADT^A04"), pid()), "100", id="two messages"),
        pytest.param(adt().replace("\r", "\r\n"), "", id="CRLF"),
        pytest.param(adt().replace("\r", "\n"), "", id="LF"),
        pytest.param(adt().replace("^~\\&", "^~\\&#"), "", id="five encoding characters"),
        pytest.param(adt().replace("|", "!"), "", id="another delimiter"),
        pytest.param("MSH|^~\\&|A", "101", id="a header's beginning"),
        pytest.param("hello", "100", id="no message"),
        pytest.param("", "100", id="nothing"),
        pytest.param(message(header("ACK^A01", "X"), "MSA|AA|1"), "200", id="an acknowledgement"),
    ],
)
def test_a_header_says_the_same_quickly_and_slowly(text: str, fault: str) -> None:
    headers, raw = Headers(), text.encode()
    first, again, slow = headers.read(CHANNEL, raw), headers.read(CHANNEL, raw), read_header(CHANNEL, raw)
    assert said(first) == said(again) == said(slow)
    assert (slow.fault.code if slow.fault else "") == fault


FORMS = Headers()


@given(
    control=st.text("ABCabc0123456789-_./ ", min_size=1, max_size=30).filter(str.strip),
    when=st.sampled_from(["20261120083000", "202611200830+0100", "", "nonsense"]),
    code=st.sampled_from(["AA", "AE", "AR"]),
    accept=st.sampled_from(["", "AL", "NE", "ER", "SU"]),
    respond=st.sampled_from(["", "AL", "NE", "ER", "SU"]),
)
def test_an_answer_from_parts_is_the_one_that_is_written_whole(
    control: str, when: str, code: str, accept: str, respond: str
) -> None:
    text = message(header("ADT^A08", control, when, f15=accept, f16=respond), pid())
    found = FORMS.read(CHANNEL, text.encode())
    to = ack.sender(_header_of(text))
    whole = [
        ack.write(to, each, at=stamp(NOW // 1_000_000 * 1_000_000), own_id=found._own_id(found.key, each))
        for each in ack.due(to, code, kept=True)
    ]
    assert list(found.answers(code, kept=True, now=NOW)) == whole


def _header_of(text: str) -> tokens.Segment:
    return tokens.tokenize(text).header


@pytest.mark.parametrize(
    ("label", "codec", "body"),
    [
        pytest.param("UNICODE UTF-8", "utf-8", "Amélie", id="UTF-8"),
        pytest.param("8859/1", "iso8859-1", "Amélie", id="Latin-1"),
        pytest.param("8859/15", "iso8859-15", "Amélie €", id="Latin-9"),
        pytest.param("", "cp1252", "Amélie", id="nothing declared, neither ASCII nor UTF-8"),
        pytest.param("", "utf-8", "Amélie", id="nothing declared, UTF-8"),
        pytest.param("", "ascii", "Amelie", id="nothing declared, ASCII"),
        pytest.param("UNICODE UTF-16", "utf-16", "Amélie", id="UTF-16"),
    ],
)
def test_the_character_set_is_that_of_the_whole_message(label: str, codec: str, body: str) -> None:
    text = message(header("ADT^A04", f18=label), pid(name=f"{body}^X"))
    raw = text.encode("utf-16" if codec == "utf-16" else codec)
    headers = Headers()
    for _ in range(2):
        found = headers.read(CHANNEL, raw)
        assert (found.codec, found.fault) == (codec, None)
    assert said(found) == said(read_header(CHANNEL, raw))


def test_bytes_that_are_not_in_the_declared_set_are_told_at_once() -> None:
    raw = message(header("ADT^A04"), pid(name="Amélie^X")).encode("latin-1")
    found = Headers().read(CHANNEL, raw)
    assert found.fault is not None
    assert (found.fault.code, found.control_id) == ("102", "C1")


@pytest.mark.parametrize(
    ("how", "key"),
    [
        pytest.param({}, "mllp|DPI|CHU TEST|C1", id="channel, application, facility, control id"),
        pytest.param({"key_by_day": True}, "mllp|DPI|CHU TEST|C1|20261120", id="and the day, where ids come again"),
        pytest.param({"name": "labo"}, "labo|DPI|CHU TEST|C1", id="the channel's name"),
    ],
)
def test_what_a_message_is_known_by(how: dict[str, object], key: str) -> None:
    channel: Channel = replace(CHANNEL, **how)  # type: ignore[arg-type]
    assert Headers().read(channel, adt().encode()).key == key
    assert read_header(channel, adt().encode()).key == key


def test_one_sender_s_forms_are_not_another_channel_s() -> None:
    """A header that was learned on a channel for tests is refused on one that takes none."""
    headers, raw = Headers(), message(header("ADT^A04", f11="T"), pid()).encode()
    assert headers.read(replace(CHANNEL, test=True), raw).fault is None
    assert headers.read(CHANNEL, raw).fault is not None


def test_a_thousand_senders_do_not_fill_the_memory() -> None:
    headers = Headers()
    for number in range(2_500):
        headers.read(CHANNEL, message(header("ADT^A04", f3=f"A{number}"), pid()).encode())
    assert len(headers._forms) <= 1_000
