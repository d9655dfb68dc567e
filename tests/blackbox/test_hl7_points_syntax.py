"""HL7 v2 syntax on real sockets: points 13-17 of the acceptance list."""

from __future__ import annotations

import pytest

from tests.blackbox.test_mllp import END, VT, Line, code, person, resources
from tests.hl7_messages import header, message
from tests.hl7_points import Configured, admitted, configured, family, one
from tests.running import RunningHub

__all__ = ["configured", "one"]


def test_point_13_five_encoding_characters_at_2_5(hub: RunningHub, one: str) -> None:
    text = admitted(one, "A\\P\\B").replace("MSH|^~\\&|", "MSH|^~\\&#|", 1)
    with Line(hub) as line:
        line.sock.sendall(VT + text.encode() + END)
        answer = line.receive()
    assert f"MSA|AA|{one}" in answer
    assert family(hub, one) == "A#B"


@pytest.mark.parametrize("marks", ["!*%+@", "#$:?;", "\x7f\x01"[:1] + "^~\\&"])
def test_point_14_custom_delimiters(hub: RunningHub, one: str, marks: str) -> None:
    text = admitted(one, "A|^&~B").translate(str.maketrans("|^~\\&", marks))
    text = text.replace(f"A{marks[0]}{marks[1]}{marks[4]}{marks[2]}B", "DU-PONT")
    with Line(hub) as line:
        assert line.send(text) == "AA"
    assert family(hub, one) == "DU-PONT"


@pytest.mark.parametrize("marks", ["|^^\\&", "|AB\\&", "|^~\\&#!"])
def test_point_14_delimiters_that_cannot_be_told_apart_are_refused(hub: RunningHub, one: str, marks: str) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + admitted(one).replace("|^~\\&", marks, 1).encode() + END)
        answer = line.receive()
    assert (code(answer), f"MSA|AR|{one}\r" in answer, "|102^" in answer) == ("AR", True, True)


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        pytest.param("8859/15", "iso8859-15", id="8859/15"),
        pytest.param("8859/1", "iso8859-1", id="8859/1"),
        pytest.param("", "cp1252", id="cp1252 without MSH-18"),
        pytest.param("", "utf-8", id="UTF-8 without MSH-18"),
        pytest.param("UNICODE UTF-8", "utf-8-sig", id="UTF-8 with its mark"),
        pytest.param("", "utf-8-sig", id="UTF-8 with its mark, without MSH-18"),
        pytest.param("UNICODE", "utf-16", id="UTF-16 with its mark"),
        pytest.param("UNICODE UTF-16", "utf-16-le", id="UTF-16, little end first"),
        pytest.param("UNICODE UTF-16", "utf-16-be", id="UTF-16, big end first"),
        pytest.param("UNICODE UTF-32", "utf-32", id="UTF-32 with its mark"),
        pytest.param("UNICODE UTF-32", "utf-32-le", id="UTF-32, little end first"),
        pytest.param("UNICODE UTF-32", "utf-32-be", id="UTF-32, big end first"),
        pytest.param("8859/1~8859/15", "iso8859-1", id="the first repetition counts"),
    ],
)
def test_point_15_character_sets(hub: RunningHub, one: str, declared: str, codec: str) -> None:
    name = "CŒUR-É€" if codec not in ("iso8859-1",) else "CÔUR-É"
    facility = "HÔPITAL"
    with Line(hub) as line:
        line.sock.sendall(VT + admitted(one, name, f18=declared, f4=facility).encode(codec) + END)
        while END not in line.buffer:
            line.buffer += line.sock.recv(65_536)
    answer = line.buffer.partition(END)[0].lstrip(VT).decode(codec.replace("utf-8-sig", "utf-8"))
    assert f"MSA|AA|{one}" in answer
    assert facility in answer  # MSH-6 of the answer, in the same set
    assert f"|{declared}\r" in answer if declared else answer.count("\r") == 2
    assert family(hub, one) == name


def test_point_15_a_channel_s_own_default(configured: Configured, one: str) -> None:
    text = admitted(one, "CŒUR€", f18="", f3="LATIN").encode("iso8859-15")
    with Line(configured.hub) as line:
        line.sock.sendall(VT + text + END)
        while END not in line.buffer:
            line.buffer += line.sock.recv(65_536)
    assert b"MSA|AA|" in line.buffer
    assert family(configured.hub, one) == "CŒUR€"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param(r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f", id="every delimiter"),
        pytest.param(r"x\E\T\E\y", "x\\T\\y", id="an escaped escape begins nothing"),
        pytest.param(r"C:\DATA\x", "C:\\DATA\\x", id="lone backslashes are data"),
        pytest.param(r"caf\XC3A9\s", "cafés", id="bytes in the message's set"),
        pytest.param(r"\H\bold\N\x", "boldx", id="highlighting is left out"),
        pytest.param(r"a\Z12\b\C2842\c\M303\d", r"a\Z12\b\C2842\c\M303\d", id="local and other sets stay as written"),
    ],
)
def test_point_16_escapes_in_a_name(hub: RunningHub, one: str, written: str, text: str) -> None:
    with Line(hub) as line:
        assert line.send(admitted(one, written)) == "AA"
    assert family(hub, one) == text


def test_point_16_line_ends_in_a_text_result(hub: RunningHub, one: str) -> None:
    written = r"one\X0D0A\two\.br\three\.sp2\four\X0d0a0D0A\five"
    rows = f"OBR|1||{one}|T^Texte^L|||20261120\r" + f"OBX|1|ST|T^Texte^L||{written}||||||F\r"
    text = message(header("ORU^R01^ORU_R01", control=one), person(one)) + rows
    with Line(hub) as line:
        assert line.send(text) == "AA"
    (found,) = resources(hub.search(f"Observation?patient.identifier={one}"))
    assert found["valueString"].replace("\r\n", "\n") == "one\ntwo\nthree\n\nfour\n\nfive"


@pytest.mark.parametrize(
    "end", [pytest.param("\r\n", id="CRLF"), pytest.param("\n", id="LF"), pytest.param("\r", id="CR")]
)
def test_point_17_crlf_and_lf_part_segments(hub: RunningHub, one: str, end: str) -> None:
    with Line(hub) as line:
        assert line.send(admitted(one).replace("\r", end)) == "AA"
    assert family(hub, one) == "DUPOND"


def test_point_17_lf_is_data_where_cr_parts_segments(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        assert line.send(admitted(one, "DU\nPONT")) == "AA"
    assert family(hub, one).split() == ["DU", "PONT"]
