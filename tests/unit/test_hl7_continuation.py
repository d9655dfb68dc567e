"""Continued messages are put together as they were, and nothing of them is lost where they do not fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7 import continuation
from adapters.hl7.channels import Channel
from adapters.hl7.connection import HangUp
from adapters.hl7.faults import Fault, Refused
from adapters.hl7.reception import Reception, Reply, holds
from adapters.hl7.record import KIND, raw_part
from adapters.hl7.record import holds as names_erased
from fhir_server import gate
from fhir_server.app import opened
from fhir_server.interface import Asking, Core, Erasure
from fhir_server.model import Record
from fhir_server.settings import Settings
from tests.hl7_messages import CHANNEL, adt, header, obx, oru

TEXT = oru(obx(value="one"), obx(value="two"))


def parts(text: str, place: int, pointer: str = "P1") -> tuple[str, str]:
    """Cut a message after its header at a place; inside of a segment with ADD."""
    first, rest = text[:place], text[place:]
    head = "|".join([*text.split("\r")[0].split("|")[:9], "C9", *text.split("\r")[0].split("|")[10:13], pointer])
    if first.endswith("\r"):
        return f"{first}DSC|{pointer}|F\r", f"{head}\r{rest}"
    return f"{first}\rADD|\rDSC|{pointer}|F\r", f"{head}\rADD|{rest}"


def joined(first: str, second: str) -> str:
    one, two = (continuation.read(CHANNEL, text.encode()) for text in (first, second))
    assert one is not None
    assert two is not None
    assert one.pointer == two.continues
    return continuation.write(continuation.join(one.lines, two), two.codec, one.codec).decode()


@given(st.integers(TEXT.index("\r") + 1, len(TEXT) - 2))
def test_a_message_cut_at_any_place_is_put_together_as_it_was(place: int) -> None:
    made = joined(*parts(TEXT, place))
    assert made.partition("\r")[2] == TEXT.partition("\r")[2]
    assert made.split("|")[9] == "C9"  # the header is that of the last part, so that it is answered
    assert "|P1" not in made.partition("\r")[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(adt(), False, id="an ordinary message"),
        pytest.param(adt().replace("\r", "\n"), False, id="with LF"),
        pytest.param(adt() + "DSC|P1|F\r", True, id="it is continued"),
        pytest.param(header(f14="P1") + "\rADD|x\r", True, id="it continues one"),
        pytest.param(header(f14="P1").replace("|", "!") + "\nADD!x\n", True, id="with other delimiters and LF"),
        pytest.param("MSH|^~\\&|A\rPID|||1|||||||||||x", False, id="a short header"),
    ],
)
def test_a_part_is_told_from_an_ordinary_message(text: str, found: bool) -> None:
    assert continuation.concerns(text.encode()) is found


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(adt() + "DSC||F\r", id="a pointer that is empty"),
        pytest.param("DSC|P1\r", id="no header"),
        pytest.param(header(f14="P1", f18="KLINGON") + "\r", id="a set that is not known"),
    ],
)
def test_what_is_no_part_goes_the_usual_way(text: str) -> None:
    assert continuation.read(CHANNEL, text.encode()) is None


def test_parts_with_different_delimiters_do_not_fit() -> None:
    first, second = parts(TEXT, TEXT.index("OBX"))
    one, two = continuation.read(CHANNEL, first.encode()), continuation.read(CHANNEL, second.replace("~", "*").encode())
    assert one is not None
    assert two is not None
    with pytest.raises(Refused):
        continuation.join(one.lines, two)


@dataclass
class Box:
    """An inbox that notes what it is given."""

    taken: list[tuple[bytes, str, str]] = field(default_factory=list)
    refuses: str = ""  # how it refuses, while it does: AR, or close

    def receive(
        self, channel: Channel, raw: bytes, *, cut: Fault | None = None, parent: str = ""
    ) -> asyncio.Future[Reply]:
        self.taken.append((raw, cut.code if cut else "", parent))
        made: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.refuses == "close":
            made.set_exception(HangUp())
            return made
        code = self.refuses or (cut.answer if cut else "AA")
        state = "" if self.refuses else "quarantined" if cut else "received"
        made.set_result(Reply([f"MSH|^~\\&|X\rMSA|{code}|".encode() + raw.split(b"|")[9] + b"\r"], code, state=state))
        return made


class Clocked:
    """A hub with a clock that tests set."""

    def __init__(self, core: Core, now: list[int]) -> None:
        self._now, self.transact, self.ask = now, core.transact, core.ask

    def now(self) -> int:
        return self._now[0]


@dataclass
class Desk:
    core: Core
    box: Box
    reception: Reception
    now: list[int]

    async def take(self, text: str, channel: Channel = CHANNEL) -> Reply:
        return cast(Reply, await self.reception.take(channel, text.encode()))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with opened(Settings(store="memory:", rooms=())) as composed:
        now = [cast(Core, composed.hub).now()]
        core, box = cast(Core, Clocked(cast(Core, composed.hub), now)), Box()
        yield Desk(core, box, Reception(core, box, max_message=3000), now)


async def test_parts_are_kept_and_answered_and_the_whole_is_taken(desk: Desk) -> None:
    first, rest = parts(TEXT, TEXT.index("OBX"))
    second, third = parts(rest.replace("ADD|", ""), len(rest) - 9, "P2")
    second = second.replace("|C2|", "|C7|")
    for text in (first, second):
        assert (await desk.take(text)).code == "AA"
    assert desk.box.taken == []
    assert (await desk.take(third)).code == "AA"
    assert (await desk.take(third)).code == "AA"  # sent again: the same bytes, so the inbox knows them
    (raw, cut, parent), again = desk.box.taken
    assert (raw.decode().partition("\r")[2], cut, parent) == (TEXT.partition("\r")[2], "", "P2")
    assert again == (raw, cut, parent)


async def test_parts_that_come_at_once_are_taken_in_their_order(desk: Desk) -> None:
    first, second = parts(TEXT, TEXT.index("OBX"))
    answers = [asyncio.ensure_future(desk.take(text)) for text in (first, second)]
    assert [(await answer).code for answer in answers] == ["AA", "AA"]
    assert [cut for _, cut, _ in desk.box.taken] == [""]


async def test_a_part_of_nothing_goes_to_quarantine(desk: Desk) -> None:
    assert (await desk.take(parts(TEXT, TEXT.index("OBX"))[1])).code == "AE"
    assert [cut for _, cut, _ in desk.box.taken] == ["204"]


async def test_a_pointer_used_anew_abandons_what_waited_for_it(desk: Desk) -> None:
    await desk.take(parts(TEXT, TEXT.index("OBX"))[0])
    await desk.take(parts(TEXT.replace("|C2|", "|C3|"), TEXT.index("OBX"))[0])
    assert [(cut, raw.split(b"|")[9]) for raw, cut, _ in desk.box.taken] == [("100", b"C2")]


@pytest.mark.parametrize("refuses", ["AR", "close"])
async def test_what_quarantine_does_not_take_now_is_not_forgotten(desk: Desk, refuses: str) -> None:
    first = parts(TEXT, TEXT.index("OBX"))[0]
    other, rest = parts(TEXT.replace("|C2|", "|C3|"), TEXT.index("OBX"))
    assert (await desk.take(first)).code == "AA"
    desk.box.refuses = refuses
    assert (await desk.take(other)).code == "AR", "the one that waits was acknowledged, and cannot be put aside"
    desk.now[0] += (continuation.KEPT_S + 1) * 1_000_000
    assert await desk.reception.sweep(lambda name: replace(CHANNEL, name=name), "default") == 0
    desk.box.refuses = ""
    assert (await desk.take(rest)).code == "AA"
    assert desk.box.taken[-1][0].decode().partition("\r")[2] == TEXT.partition("\r")[2]


async def test_a_part_that_comes_while_an_old_one_is_put_away_stays(desk: Desk) -> None:
    await desk.take(parts(TEXT, TEXT.index("OBX"))[0])
    desk.now[0] += (continuation.KEPT_S + 1) * 1_000_000
    other, rest = parts(TEXT.replace("|C2|", "|C3|"), TEXT.index("OBX"))
    abandon = desk.reception._abandon

    async def meanwhile(channel: Channel, body: dict[str, Any]) -> bool:
        desk.reception._abandon = abandon  # type: ignore[method-assign]
        await desk.take(other)
        return await abandon(channel, body)

    desk.reception._abandon = meanwhile  # type: ignore[method-assign]
    assert await desk.reception.sweep(lambda name: replace(CHANNEL, name=name), "default") == 0
    assert (await desk.take(rest)).code == "AA"


async def test_a_whole_over_the_limit_is_refused(desk: Desk) -> None:
    first, second = parts(TEXT, TEXT.index("OBX"))
    await desk.take(first)
    assert (await desk.take(second + "NTE|1||" + "x" * 3000 + "\r")).code == "AR"
    assert [cut for _, cut, _ in desk.box.taken] == ["207"]


async def test_a_whole_in_very_many_parts_is_refused(desk: Desk) -> None:
    first, second = parts(TEXT, TEXT.index("OBX"), "P0")
    assert (await desk.take(first)).code == "AA"
    size, number = len(first), 0
    head = second.split("\r")[0]
    while (found := await desk.take(f"{head.replace('P0', f'P{number}')}\rADD|\rDSC|P{number + 1}\r")).code == "AA":
        number += 1
    assert (found.code, desk.box.taken[-1][1]) == ("AR", "207")
    assert number > 10
    assert number * size <= 3000 * continuation.COST * 1.5


async def test_what_waits_for_a_day_goes_to_quarantine_and_what_is_done_is_forgotten(desk: Desk) -> None:
    first, second = parts(TEXT, TEXT.index("OBX"))
    await desk.take(first)
    await desk.take(second)
    await desk.take(parts(TEXT.replace("|C2|", "|C3|"), TEXT.index("OBX"), "P7")[0])
    assert await desk.reception.sweep(lambda name: replace(CHANNEL, name=name), "default") == 0
    desk.now[0] += (continuation.KEPT_S + 1) * 1_000_000
    assert await desk.reception.sweep(lambda name: replace(CHANNEL, name=name), "default") == 2
    assert [cut for _, cut, _ in desk.box.taken] == ["", "100"]

    async def left(asking: Asking) -> list[object]:
        return list(await asking.records(continuation.KIND))

    assert await desk.core.ask("default", left) == []


async def test_a_part_that_names_who_is_erased_is_told(desk: Desk) -> None:
    await desk.take(parts(TEXT.replace("P1^^^CHU", "KEEPME^^^CHU"), TEXT.index("OBX"))[0])

    async def stored(asking: Asking) -> list[object]:
        return list(await asking.records(continuation.KIND))

    (record,) = await desk.core.ask("default", stored)
    assert holds(record, Erasure("1", frozenset(), frozenset({"KEEPME"})))
    assert not holds(record, Erasure("1", frozenset(), frozenset({"OTHER"})))
    assert not holds(record, Erasure("1", frozenset(), frozenset({"KEEP"}))), "a part of another's number"


@pytest.mark.parametrize("codec", ["utf-8", "iso8859-15", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_message_that_names_who_is_erased_is_told_in_any_character_set(codec: str) -> None:
    raw = TEXT.replace("P1^^^CHU", "KEEPÉ1^^^CHU").encode(codec)
    stored = codec if codec in ("utf-8", "iso8859-15") else codec[:6]
    record = Record(KIND, "1", "quarantined", "", 1, 0, gate.write({"charset": stored, **raw_part(raw, stored)}))
    assert names_erased(record, Erasure("1", frozenset(), frozenset({"KEEPÉ1"})))
    assert not names_erased(record, Erasure("1", frozenset(), frozenset({"KEEP"})))


async def test_a_batch_is_taken_in_the_call_itself_and_its_parts_name_it(desk: Desk) -> None:
    text = "BHS|^~\\&|DPI|CHU|HUB|REG|2026||||B1\r" + adt(control="C1") + adt(control="C2") + "BTS|2\r"
    under_way = desk.take(text), desk.take(adt(control="C3"))
    answers = [await one for one in under_way]
    assert [(raw.split(b"|")[9], parent) for raw, _, parent in desk.box.taken] == [
        (b"C1", "B1"), (b"C2", "B1"), (b"C3", ""),
    ]  # fmt: skip
    assert [len(answer.frames) for answer in answers] == [2, 1]
    (one,) = (await desk.take(text, replace(CHANNEL, batch="batch"))).frames
    assert [line[:3] for line in one.decode().split("\r")] == ["BHS", "MSH", "MSA", "MSH", "MSA", "BTS", ""]


async def test_an_empty_batch_is_acknowledged_by_its_control_id(desk: Desk) -> None:
    (frame,) = (await desk.take("BHS|^~\\&|DPI|CHU|HUB|REG|2026||||B1\rBTS|0\r")).frames
    assert b"MSA|AA|B1" in frame
