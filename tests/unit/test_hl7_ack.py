"""Which acknowledgements are due, and what they say."""

from __future__ import annotations

import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from adapters.hl7.ack import Sender, due, sender, sender_of, write
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
        "ERR||PID^1^3|101^Required field missing^HL70357|E|||PID[1]-3",
    ]


@pytest.mark.parametrize(
    ("version", "line"),
    [
        pytest.param(
            "2.5",
            "ERR||OBX^2^5^1^3|102^Data type error^HL70357|E|||OBX[2]-5.3|our own words",
            id="place, code, path and detail",
        ),
        pytest.param("2.4", "ERR|OBX^2^5^102", id="before 2.5 all in the first field"),
    ],
)
def test_the_error_segment(version: str, line: str) -> None:
    fault = Fault("102", Place("OBX", 2, 5, 1, 3), "our own words")
    assert write(Sender(version=version), "AE", at=AT, own_id=ID, fault=fault).split("\r")[2] == line


FAULTS = (Fault("101", Place("PID", 1, 3), "own words"), Fault("102", Place("OBX", 2, 5, 1, 2)))


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        pytest.param(
            "2.5",
            [
                "MSA|AE|C1",
                "ERR||PID^1^3|101^Required field missing^HL70357|E|||PID[1]-3|own words",
                "ERR||OBX^2^5^1^2|102^Data type error^HL70357|E|||OBX[2]-5.2",
            ],
            id="an ERR for each fault",
        ),
        pytest.param(
            "2.4",
            ["MSA|AE|C1|own words", "ERR|PID^1^3^101~OBX^2^5^102"],
            id="up to 2.4 a repetition for each, and a text in MSA-3",
        ),
    ],
)
def test_every_fault_is_told(version: str, lines: list[str]) -> None:
    text = write(Sender(control_id="C1", version=version), "AE", at=AT, own_id=ID, faults=FAULTS)
    assert text.split("\r")[1:-1] == lines


def test_a_fault_of_a_whole_segment_keeps_the_code_in_its_place_up_to_2_4() -> None:
    text = write(Sender(version="2.3"), "AR", at=AT, own_id=ID, fault=Fault("207", Place("MSH"), reject=True))
    assert text.split("\r")[2] == "ERR|MSH^1^^207"


def test_a_message_with_a_thousand_faults_is_answered_with_twenty() -> None:
    faults = [Fault("102", Place("OBX", n, 5)) for n in range(1000)]
    assert write(Sender(), "AE", at=AT, own_id=ID, faults=faults).count("\rERR|") == 20


@pytest.mark.parametrize(
    ("to", "code", "kind"),
    [
        pytest.param(Sender(trigger="R40", version="2.6"), "AA", "ORA^R41^ORA_R41", id="an alarm has its own answer"),
        pytest.param(Sender(trigger="R40", version="2.6"), "CA", "ACK^R40^ACK", id="not where it is only accepted"),
        pytest.param(Sender(trigger="A01", version="2.3"), "AA", "ACK^A01", id="two components up to 2.3"),
    ],
)
def test_the_type_of_an_answer(to: Sender, code: str, kind: str) -> None:
    assert write(to, code, at=AT, own_id=ID).split("|")[8] == kind


def test_an_application_acknowledgement_of_enhanced_mode_asks_for_no_answer() -> None:
    to = Sender(accept="AL", respond="AL")
    assert write(to, "AA", at=AT, own_id=ID).split("\r")[0].split("|")[14:16] == ["NE", "NE"]
    assert len(write(to, "CA", at=AT, own_id=ID).split("\r")[0].split("|")) == 12


def test_the_number_that_is_expected_next_stands_in_msa_4() -> None:
    assert write(Sender(control_id="1"), "AA", at=AT, own_id=ID, expected=7).split("\r")[1] == "MSA|AA|1||7"


def test_a_header_of_any_length_is_echoed_within_bounds() -> None:
    to = sender(tokenize(f"MSH|^~\\&|{'x' * 9999}|||||{'y' * 9999}|A^B|{'z' * 9999}").header)
    assert len(write(to, "AA", at=AT, own_id=ID)) < 1000


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_message_in_an_unknown_character_set_is_answered_by_its_control_id(codec: str) -> None:
    to = sender_of(header(control="C9", f18="KLINGON", f4="HÔPITAL").encode(codec))
    assert (to.application, to.control_id, to.charset) == ("DPI", "C9", "")


@pytest.mark.parametrize(
    ("line", "control"),
    [
        pytest.param("MSH|^^\\&|DPI|CHU|HUB|X|2026||ADT^A01|C9|P|2.5", "C9", id="two delimiters that are the same"),
        pytest.param("MSH|^~\\&#!|DPI|CHU|HUB|X|2026||ADT^A01|C9|P|2.5", "C9", id="six delimiters"),
        pytest.param(
            "MSH|^^\\&|DPI|CHU|HUB|X|2026||ADT^A01|C^9\\|P|2.5", "", id="a control id with marks in it is not echoed"
        ),
        pytest.param("MSHx^~\\&xDPIxCHUxHUBxXx2026xxADT^A01xC9", "", id="a letter parts no fields"),
        pytest.param("MSH|^^\\&|DPI", "", id="a header that ends early"),
    ],
)
def test_delimiters_that_part_nothing_leave_the_control_id_to_answer_by(line: str, control: str) -> None:
    assert sender_of(line.encode()).control_id == control


@pytest.mark.parametrize(
    ("accept", "respond", "expected"),
    [
        pytest.param("al", "ne", ["CA"], id="small letters"),
        pytest.param(" AL ", "NE", ["CA"], id="blanks around"),
        pytest.param("YES", "", ["AA"], id="a word that is in no table asks for nothing: one answer"),
        pytest.param("YES", "AL", ["AA"], id="such a word beside one that is"),
        pytest.param('""', '""', ["AA"], id="null values"),
    ],
)
def test_a_sender_is_not_left_without_an_answer_by_how_it_asks(accept: str, respond: str, expected: list[str]) -> None:
    to = sender(tokenize(f"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5|||{accept}|{respond}").header)
    assert due(to, "AA", kept=True) == expected


def test_bytes_without_a_header_are_answered_all_the_same() -> None:
    assert sender_of(b"\x00\xff") == Sender()


VERSIONS = ["2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", [pytest.param("", id="original"), pytest.param("AL", id="enhanced")])
@pytest.mark.parametrize(
    ("code", "faults"),
    [
        pytest.param("AA", (), id="good"),
        pytest.param("AE", FAULTS, id="two faults"),
        pytest.param("AR", (Fault("207", Place("MSH"), reject=True),), id="refused"),
        pytest.param("CA", (), id="accepted"),
    ],
)
def test_hl7apy_finds_nothing_wrong_with_an_answer(
    version: str, mode: str, code: str, faults: tuple[Fault, ...]
) -> None:
    to = Sender("DPI", "CHU", "HUB", "REGION", "A01", "C1", "P", version, mode, mode, "UNICODE UTF-8")
    text = write(to, code, at=AT, own_id=ID, faults=faults, expected=4)
    found = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT)
    assert found.validate()
    assert found.msa.msa_1.value == code


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
        pytest.param("AL", "AL", "AR", True, ["CR"], id="rejected: what is not accepted has no second answer"),
        pytest.param("NE", "AL", "AR", True, ["AR"], id="rejected where only the application answers"),
        pytest.param("AL", "AL", "AE", True, ["CA", "AE"], id="kept, then told what is wrong with it"),
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
