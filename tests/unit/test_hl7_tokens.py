"""Text becomes segments and fields; every line is there, whatever it is."""

from __future__ import annotations

import pytest

from adapters.hl7.faults import Refused
from adapters.hl7.tokens import MOST_SEGMENTS, part, tokenize

MSH = "MSH|^~\\&|A|B"


def test_fields_are_numbered_as_the_standard_prints_them() -> None:
    found = tokenize(MSH + "|C\rPID|1||X^Y&Z~W")
    assert [found.header.raw(n) for n in range(6)] == ["MSH", "|", "^~\\&", "A", "B", "C"]
    assert found.segments[1].repetitions(3) == [[["X"], ["Y", "Z"]], [["W"]]]
    assert found.segments[1].text(3, 2, 2) == "Z"


@pytest.mark.parametrize(
    "end", [pytest.param("\r", id="CR"), pytest.param("\r\n", id="CRLF"), pytest.param("\n", id="LF")]
)
def test_each_line_end_parts_segments(end: str) -> None:
    found = tokenize(end.join([MSH, "PID|1", "", "PV1|1", ""]))
    assert [s.name for s in found.segments] == ["MSH", "PID", "PV1"]


def test_a_line_feed_is_data_where_cr_parts_segments() -> None:
    found = tokenize(MSH + "\rOBX|1|TX|||a\nb\rOBX|2")
    assert [s.name for s in found.segments] == ["MSH", "OBX", "OBX"]
    assert found.segments[1].texts(5) == ["a\nb"]


def test_leading_blanks_of_a_segment_do_not_hide_it() -> None:
    assert [s.name for s in tokenize(MSH + "\r  PID|1\r\tPV1|1").segments] == ["MSH", "PID", "PV1"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        pytest.param("Mme DURAND va bien, tel 0612345678", "?", id="text"),
        pytest.param("DURAND|x", "?", id="a word before a bar"),
        pytest.param("LÉA|x", "?", id="a word of three letters, one of them not of ASCII"),
        pytest.param("061|x", "?", id="digits"),
        pytest.param("|||", "?", id="bars alone"),
        pytest.param("obx|1", "obx", id="small letters"),
        pytest.param("XYZ|1", "XYZ", id="one that no version has"),
        pytest.param("ZPAT1|1", "ZPAT1", id="a long local one"),
        pytest.param("PID |1", "PID", id="a blank behind it"),
    ],
)
def test_a_line_without_a_name_is_kept_and_its_text_is_no_name(line: str, name: str) -> None:
    segment = tokenize(MSH + "\r" + line).segments[1]
    assert (segment.name, segment.place().path) == (name, f"{name}[1]")
    assert "|".join(segment.fields) == line


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_a_message_of_too_many_segments_is_rejected(end: str) -> None:
    text = MSH + end + f"ZZZ|1{end}" * (MOST_SEGMENTS - 1)
    assert len(tokenize(text).segments) == MOST_SEGMENTS
    with pytest.raises(Refused) as caught:
        tokenize(f"{text}ZZZ|1{end}")
    assert (caught.value.fault.code, caught.value.fault.answer) == ("207", "AR")


def test_line_feeds_that_are_data_are_no_segments() -> None:
    assert len(tokenize(MSH + "\rOBX|1|TX|||" + "a\n" * (MOST_SEGMENTS + 1) + "\r").segments) == 2


def test_segments_of_one_name_are_counted() -> None:
    assert [s.place().path for s in tokenize(MSH + "\rOBX|1\rNTE|1\rOBX|2").segments[1:]] == [
        "OBX[1]",
        "NTE[1]",
        "OBX[2]",
    ]


def test_an_empty_field_and_the_null_value_are_different() -> None:
    found = tokenize(MSH + '\rPID||""|').segments[1]
    assert (found.raw(2), found.is_valued(2), found.text(2)) == ('""', False, "")
    assert (found.raw(3), found.raw(9), found.is_valued(3)) == ("", "", False)


@pytest.mark.parametrize(
    ("start", "problems"),
    [
        pytest.param("MSH|^~\\&#|A", [], id="five encoding characters at any version"),
        pytest.param("MSH!*%\\@!A", [], id="other delimiters"),
        pytest.param("MSH|^~|A", ["delimiters-completed"], id="missing ones are the usual ones"),
    ],
)
def test_delimiters_are_those_of_the_header(start: str, problems: list[str]) -> None:
    found = tokenize(start)
    assert found.header.raw(3) == "A"
    assert [p.rule for p in found.problems] == problems


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", "100", id="nothing"),
        pytest.param("hello", "100", id="no header"),
        pytest.param("PID|1\rMSH|^~\\&|A", "100", id="the header is not the first"),
        pytest.param("MSH", "102", id="no field separator"),
        pytest.param("MSH|^^\\&|A", "102", id="one character twice"),
        pytest.param("MSH|^~\\&#!|A", "102", id="too many"),
        pytest.param("MSHA^~\\&AB", "102", id="a letter as a delimiter"),
        pytest.param('MSH|"~\\&|B', "102", id="the quote of the null value as a delimiter"),
    ],
)
def test_a_header_that_cannot_be_read_is_rejected(text: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        tokenize(text)
    assert (caught.value.fault.code, caught.value.fault.answer) == (code, "AR")


def test_bare_component_delimiters_in_a_text_are_text() -> None:
    found = tokenize(MSH + "\rOBX|1|TX|||5 ^ 6 & 7~second\\T\\").segments[1]
    assert found.texts(5) == ["5 ^ 6 & 7", "second&"]


def test_sequences_that_stay_as_written_are_reported() -> None:
    found = tokenize(MSH + "\rOBX|1|TX|||a\\Z1\\b")
    assert [(p.path, p.rule) for p in found.problems] == [("OBX[1]-5", "escape-kept")]


def test_parts_that_are_not_there_are_empty() -> None:
    assert [part([["a"]], 2), part([["a"]], 1, 2), part([['""']], 1)] == ["", "", ""]
