"""Batches are parted byte for byte, checked by their counts, and answered as one."""

from __future__ import annotations

import pytest

from adapters.hl7.ack import Sender
from adapters.hl7.batch import MOST, Batch, is_batch, join, split
from adapters.hl7.faults import Refused
from tests.hl7_messages import adt, obx, oru, pid

ONE, TWO = adt(control="C1"), adt(control="C2")
FHS, BHS = "FHS|^~\\&|DPI|CHU|HUB|REGION|2026||||F1\r", "BHS|^~\\&|DPI|CHU|HUB|REGION|2026||||B1\r"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(ONE, [], id="one message is none"),
        pytest.param(ONE.replace("\r", "\n"), [], id="nor with LF"),
        pytest.param(ONE + "NTE|1||a\nMSH|^~ is text\r", [], id="LF and MSH inside a text"),
        pytest.param(oru(obx(), obx()) + pid() + "\r" + "OBR|2\r", [], id="two patients in one result message"),
        pytest.param(ONE + TWO, [ONE, TWO], id="messages one after the other"),
        pytest.param(BHS + ONE + TWO + "BTS|2\r", [ONE, TWO], id="a batch"),
        pytest.param(FHS + BHS + ONE + "BTS|1\r" + BHS + TWO + "BTS|1\rFTS|2\r", [ONE, TWO], id="a file of two"),
        pytest.param(FHS + ONE + "FTS|1\r", [ONE], id="a file without batches"),
        pytest.param(BHS + ONE, [ONE], id="no trailer"),
        pytest.param(BHS + ONE + "BTS\r", [ONE], id="a trailer that says nothing"),
        pytest.param("\r\n" + BHS + "\r\r" + ONE + "\rBTS|1\r\r", [ONE], id="empty lines"),
        pytest.param(BHS.replace("|", "!") + ONE + "BTS!1\r", [ONE], id="a batch with delimiters of its own"),
        pytest.param(BHS + "BTS|0\r", [], id="an empty batch"),
    ],
)
def test_what_is_in_a_batch(text: str, found: list[str]) -> None:
    raw = text.encode()
    assert is_batch(raw) is bool(found or text.startswith("BHS"))
    if is_batch(raw):
        assert [message.decode().rstrip("\r") for message in split(raw).messages] == [m.rstrip("\r") for m in found]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "iso8859-1"])
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_batch_in_any_character_set_and_with_any_line_end(codec: str, end: str) -> None:
    raw = (BHS + ONE + TWO + "BTS|2\r").replace("\r", end).encode(codec)
    assert is_batch(raw)
    wide = codec.startswith(("utf-16", "utf-32"))
    found = [message.decode("utf-16" if wide else codec.removesuffix("-sig")) for message in split(raw).messages]
    assert [message.split() for message in found] == [ONE.split(), TWO.split()]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param(BHS + ONE + TWO + "BTS|3\r", "BTS[1]-1", id="a message is missing"),
        pytest.param(BHS + ONE + TWO + "BTS|1\r", "BTS[1]-1", id="one is too many"),
        pytest.param(BHS + ONE + "BTS|one\r", "BTS[1]-1", id="the count is no number"),
        pytest.param(BHS + ONE + "BTS|1\r" + BHS + TWO + "BTS|2\r", "BTS[2]-1", id="in the second batch"),
        pytest.param(FHS + BHS + ONE + "BTS|1\rFTS|2\r", "FTS[1]-1", id="a batch is missing"),
        pytest.param(BHS + "PID|1\r" + ONE + "BTS|1\r", "BHS[1]", id="a segment before the first message"),
        pytest.param(BHS + ONE + "BTS|1\rNTE|1\r", "BTS[1]", id="a segment after the last one"),
        pytest.param(FHS + ONE + FHS + TWO, "FHS[2]", id="a file in a file"),
    ],
)
def test_a_batch_that_is_not_whole_is_refused(text: str, path: str) -> None:
    with pytest.raises(Refused) as caught:
        split(text.encode())
    assert (caught.value.fault.code, caught.value.fault.place.path) == ("100", path)


def test_a_batch_of_too_many_messages_is_rejected() -> None:
    with pytest.raises(Refused) as caught:
        split(b"MSH|^~\\&|\r" * (MOST + 1))
    assert caught.value.fault.answer == "AR"


def test_the_answers_are_joined_in_the_form_of_the_question() -> None:
    found = split((FHS + BHS + ONE + "BTS|1\rFTS|1\r").encode())
    assert join([["MSH|^~\\&|X\rMSA|AA|C1\r"]], found, at="20261120", own_id="ME").split("\r") == [
        "FHS|^~\\&|HUB|REGION|DPI|CHU|20261120||||ME|F1",
        "BHS|^~\\&|HUB|REGION|DPI|CHU|20261120||||ME|B1",
        "MSH|^~\\&|X",
        "MSA|AA|C1",
        "BTS|1",
        "FTS|1",
        "",
    ]
    plain = Batch((b"x",), Sender("A", "B", "C", "D"), has_header=False, is_file=False)
    assert join([], plain, at="2026", own_id="ME") == "BHS|^~\\&|C|D|A|B|2026||||ME\rBTS|0\r"


def test_each_batch_of_a_file_has_its_answers_under_its_own_number() -> None:
    other = BHS.replace("B1", "B2")
    found = split((FHS + BHS + ONE + "BTS|1\r" + other + ONE + TWO + "BTS|2\r" + TWO + "FTS|2\r").encode())
    assert found.parts == (("B1", 1), ("B2", 2), ("", 1))
    lines = join([["1\r"], ["2\r"], ["3\r", "3b\r"], ["4\r"]], found, at="2026", own_id="ME").split("\r")
    assert [line.rpartition("|")[2] if line[:3] in ("FHS", "BHS") else line for line in lines[:-1]] == [
        "F1", "B1", "1", "BTS|1", "B2", "2", "3", "3b", "BTS|3", "ME", "4", "BTS|1", "FTS|3",
    ]  # fmt: skip
