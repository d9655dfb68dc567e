"""HL7 v2 batches, continued messages and sequence numbers on real sockets: points 36 and 37 of the acceptance list."""

from __future__ import annotations

import pytest

from tests.blackbox.test_mllp import END, VT, Line, code, person, resources
from tests.hl7_messages import header, message
from tests.hl7_points import Configured, OtherLine, admitted, batch, configured, family, one
from tests.running import RunningHub

__all__ = ["configured", "one"]


def test_point_36_a_batch_is_answered_message_by_message(hub: RunningHub, one: str) -> None:
    with Line(hub) as line:
        line.sock.sendall(VT + batch([admitted(f"{one}{n}") for n in range(3)]).encode() + END)
        answers = [line.receive() for _ in range(3)]
    assert [f"MSA|AA|{one}{n}" in answer for n, answer in enumerate(answers)] == [True] * 3
    assert [family(hub, f"{one}{n}") for n in range(3)] == ["DUPOND"] * 3


@pytest.mark.parametrize(
    ("said", "files", "place"),
    [
        pytest.param(5, "1", "BTS^1^1", id="BTS-1"),
        pytest.param(2, "3", "FTS^1^1", id="FTS-1"),
    ],
)
def test_point_36_fhs_bhs_with_a_wrong_count(hub: RunningHub, one: str, said: int, files: str, place: str) -> None:
    text = batch([admitted(f"{one}{n}") for n in range(2)], said, files)
    with Line(hub) as line:
        line.sock.sendall(VT + text.encode() + END)
        answer = line.receive()
        assert (code(answer), f"ERR||{place}|100^" in answer, "MSA|AE|F1" in answer) == ("AE", True, True)
        assert line.send(admitted(one)) == "AA"
    assert hub.search(f"Patient?identifier={one}0").get("entry", []) == []


def test_point_36_a_batch_over_http_and_messages_one_after_the_other(hub: RunningHub, one: str) -> None:
    texts = [admitted(f"{one}{n}") for n in range(4)]
    for sent in (batch(texts[:2]), "".join(texts[2:])):
        answer = hub.request("POST", "/hl7v2", content=sent.encode(), Content_Type="application/hl7-v2")
        assert (answer.status_code, answer.text.count("MSA|AA|")) == (200, 2)
    assert [family(hub, f"{one}{n}") for n in range(4)] == ["DUPOND"] * 4


def test_point_36_a_batch_is_answered_as_one_where_its_channel_says_so(configured: Configured, one: str) -> None:
    with OtherLine(configured) as line:
        line.sock.sendall(VT + batch([admitted(f"{one}{n}") for n in range(2)]).encode() + END)
        answer = line.receive()
    names = [segment[:3] for segment in answer.split("\r") if segment]
    assert names == ["FHS", "BHS", "MSH", "MSA", "MSH", "MSA", "BTS", "FTS"]
    assert "BTS|2\r" in answer


def test_point_36_a_continued_message_is_put_together(hub: RunningHub, one: str) -> None:
    first = message(header("ORU^R01^ORU_R01", control=f"{one}1"), person(one), f"OBR|1||{one}|T^Texte^L|||20261120")
    first += f"OBX|1|ST|T^Texte^L||begun \rADD|\rDSC|{one}P|F\r"
    last = header("ORU^R01^ORU_R01", control=f"{one}2", f14=f"{one}P") + "\rADD|and ended||||||F\r"
    with Line(hub) as line:
        line.sock.sendall(VT + first.encode() + END + VT + last.encode() + END)
        assert [f"MSA|AA|{one}{n}" in line.receive() for n in (1, 2)] == [True, True]
        assert line.send(last) == "AA"  # its answer was lost: answered as the first time
        line.sock.sendall(VT + last.replace(f"{one}P", "UNKNOWN").replace(f"{one}2", f"{one}3").encode() + END)
        assert "|204^" in line.receive()
    (found,) = resources(hub.search(f"Observation?patient.identifier={one}"))
    assert (found["valueString"], found["status"]) == ("begun and ended", "final")


def numbered(line: Line, number: str, patient: str) -> tuple[str, str]:
    """Send a message with this MSH-13; return MSA-1 and MSA-4."""
    line.sock.sendall(VT + admitted(patient, control=f"{patient}-{number}", f13=number).encode() + END)
    cells = next(segment for segment in line.receive().split("\r") if segment.startswith("MSA")).split("|")
    return cells[1], cells[4] if len(cells) > 4 else ""


def test_point_37_a_gap_of_msh_13(configured: Configured, one: str) -> None:
    with OtherLine(configured) as line:
        line.sock.sendall(VT + f"{header(kind='', control=one, f13='0')}\r".encode() + END)
        assert f"MSA|AA|{one}||1" in line.receive()
        assert numbered(line, "1", one) == ("AA", "2")
        assert numbered(line, "4", one) == ("AE", "2")  # a gap: not kept
        assert numbered(line, "2", one) == ("AA", "3")
        assert numbered(line, "2", one) == ("AA", "3")  # the same again: answered as the first time
        assert numbered(line, "1", f"{one}X") == ("AE", "3")  # another message with a number that was used
        assert numbered(line, "-1", f"{one}Y") == ("AA", "3")
        assert numbered(line, "x", f"{one}Z")[0] == "AE"
    configured.hub.stop()
    configured.hub.start()
    with OtherLine(configured) as line:
        assert numbered(line, "3", one) == ("AA", "4")  # what is expected is kept
        assert numbered(line, "0", f"{one}0") == ("AA", "1")
        assert numbered(line, "1", f"{one}1") == ("AA", "2")
