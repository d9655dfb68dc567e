"""One patient's messages go one after the other, other patients' beside them."""

from __future__ import annotations

import asyncio

import pytest

from adapters.hl7.lanes import Lanes


async def play(lanes: Lanes, name: str, keys: tuple[str, ...], log: list[str], gate: asyncio.Event) -> None:
    turn = lanes.enter(keys)
    try:
        await turn.come()
        log.append(f"{name} in")
        await gate.wait()
        log.append(f"{name} out")
    finally:
        turn.leave()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_order_in_a_lane_and_freedom_between_lanes() -> None:
    lanes, log = Lanes(), list[str]()
    gates = {name: asyncio.Event() for name in "abcd"}
    plans = {"a": ("p1",), "b": ("p1",), "c": ("p2",), "d": ("p1", "p2")}
    tasks = []
    for name, keys in plans.items():
        tasks.append(asyncio.create_task(play(lanes, name, keys, log, gates[name])))
        await settle()
    assert log == ["a in", "c in"]
    for name in "cabd":
        gates[name].set()
        await settle()
    await asyncio.gather(*tasks)
    assert log == ["a in", "c in", "c out", "a out", "b in", "b out", "d in", "d out"]
    assert len(lanes) == 0


async def test_a_failure_lets_the_next_one_in() -> None:
    lanes, log = Lanes(), list[str]()
    gate = asyncio.Event()
    gate.set()

    async def fail() -> None:
        turn = lanes.enter(("p",))
        try:
            await turn.come()
            raise RuntimeError
        finally:
            turn.leave()

    failing = asyncio.create_task(fail())
    await settle()
    await play(lanes, "next", ("p",), log, gate)
    with pytest.raises(RuntimeError):
        await failing
    assert log == ["next in", "next out"]


async def test_who_gives_up_waiting_does_not_open_the_lane_early() -> None:
    lanes, log = Lanes(), list[str]()
    gates = {name: asyncio.Event() for name in "abc"}
    tasks = {name: asyncio.create_task(play(lanes, name, ("p",), log, gates[name])) for name in "abc"}
    await settle()
    tasks["b"].cancel()
    await settle()
    assert log == ["a in"]
    for name in "ac":
        gates[name].set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert log == ["a in", "a out", "c in", "c out"]


async def test_the_same_lane_twice_is_one_lane() -> None:
    lanes = Lanes()
    turn = lanes.enter(("p", "p"))
    await turn.come()
    turn.leave()
    turn.leave()
    assert len(lanes) == 0
