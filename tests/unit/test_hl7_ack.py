"""Which acknowledgements are due, and what they say."""

from __future__ import annotations

import pytest

from adapters.hl7.ack import Sender, due, sender, write
from adapters.hl7.faults import Fault, Place
from adapters.hl7.tokens import tokenize
from tests.hl7_messages import header

AT, ID = "20261120083001+0000", "ABC"


def test_sender_and_receiver_change_places_and_the_rest_is_echoed() -> None:
    to = sender(tokenize(header(control="C1", f12="2.5^FRA^2.11")).header)
    assert write(to, "AA", at=AT, own_id=ID).split("\r") == [
        "MSH|^~\\&|HUB|REGION|DPI|CHU TEST|20261120083001+0000||ACK^A01^ACK|ABC|P|2.5^FRA^2.11||||||UNICODE UTF-8",
        "MSA|AA|C1",
        "",
    ]


def test_the_answer_uses_the_usual_delimiters_whatever_the_message_used() -> None:
    to = sender(tokenize("MSH!*%\\@!A*1.2*ISO!B!C|x!D!2026!!ADT*A01!7!P!2.5").header)
    text = write(to, "AE", at=AT, own_id=ID, fault=Fault("101", Place("PID", 1, 3)))
    assert text.split("\r")[:3] == [
        "MSH|^~\\&|C\\F\\x|D|A^1.2^ISO|B|20261120083001+0000||ACK^A01^ACK|ABC|P|2.5",
        "MSA|AE|7",
        "ERR||PID^1^3|101^Required field missing^HL70357|E",
    ]


@pytest.mark.parametrize(
    ("version", "line"),
    [
        pytest.param(
            "2.5", "ERR||OBX^2^5^1^3|102^Data type error^HL70357|E|||our own words", id="place, code and detail"
        ),
        pytest.param("2.4", "ERR|OBX^2^5^102", id="before 2.5 all in the first field"),
    ],
)
def test_the_error_segment(version: str, line: str) -> None:
    fault = Fault("102", Place("OBX", 2, 5, 1, 3), "our own words")
    assert write(Sender(version=version), "AE", at=AT, own_id=ID, fault=fault).split("\r")[2] == line


def test_an_answer_to_nothing_readable_is_still_an_acknowledgement() -> None:
    text = write(Sender(), "AR", at=AT, own_id=ID, fault=Fault("100", Place("MSH"), reject=True))
    assert text.split("\r")[:2] == [f"MSH|^~\\&|PREDMP||||{AT}||ACK|ABC|P|2.5", "MSA|AR|"]


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        pytest.param(Fault("101", Place("PID", 1, 3)), "AE", id="a fault of content"),
        pytest.param(Fault("200", Place("MSH", 1, 9)), "AR", id="a type that is not taken"),
        pytest.param(Fault("203", Place("MSH", 1, 12)), "AR", id="a version that is not taken"),
        pytest.param(Fault("207", Place("MSH"), reject=True), "AR", id="said explicitly"),
    ],
)
def test_error_or_reject(fault: Fault, answer: str) -> None:
    assert fault.answer == answer


@pytest.mark.parametrize(
    ("accept", "respond", "code", "kept", "expected"),
    [
        pytest.param("", "", "AA", True, ["AA"], id="original mode"),
        pytest.param("", "", "AR", False, ["AR"], id="original mode, refused"),
        pytest.param("AL", "NE", "AA", True, ["CA"], id="accept only"),
        pytest.param("AL", "AL", "AA", True, ["CA", "AA"], id="both"),
        pytest.param("NE", "AL", "AA", True, ["AA"], id="application only, as PCD-01 asks"),
        pytest.param("NE", "NE", "AA", True, [], id="none"),
        pytest.param("ER", "ER", "AA", True, [], id="errors only, and there is none"),
        pytest.param("ER", "ER", "AE", True, ["AE"], id="kept, with a fault: accepted, then told"),
        pytest.param("SU", "SU", "AE", True, ["CA"], id="success only: it is kept"),
        pytest.param("AL", "AL", "AR", True, ["CR", "AR"], id="rejected"),
        pytest.param("AL", "", "AE", False, ["CE"], id="not kept"),
    ],
)
def test_which_answers_are_due(accept: str, respond: str, code: str, kept: bool, expected: list[str]) -> None:
    assert due(Sender(accept=accept, respond=respond), code, kept=kept) == expected


def test_a_place_is_written_as_a_path() -> None:
    paths = [Place("PID").path, Place("OBX", 2, 5).path, Place("PID", 1, 3, 2, 4).path]
    assert paths == ["PID[1]", "OBX[2]-5", "PID[1]-3.4"]


def test_a_trigger_with_delimiters_in_it_breaks_nothing() -> None:
    text = write(Sender(trigger="A|0"), "AA", at=AT, own_id=ID)
    assert text.split("\r")[0].count("|") == 11
