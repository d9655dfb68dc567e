"""Search parameters that come, change and go: a search answers all of it, or says that it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhir_server.errors import BeingIndexed, UnknownParameter
from tests.contract.test_reindex import EYE, HAIR, Process, patient

COLOURS = st.sampled_from(["blue", "red"])
STEPS = st.one_of(
    st.tuples(st.just("patient"), st.sampled_from("abc"), COLOURS, COLOURS),
    st.sampled_from([("define", "eye"), ("define", "hair"), ("define", "none"), ("run",), ("begin",), ("end",)]),
)
AT_FIRST = (("patient", "a", "blue", "red"), ("patient", "b", "red", "blue"), ("patient", "c", "red", "red"))


class World:
    """A process, and what a plain evaluation knows of it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.patients: dict[str, dict[str, str]] = {}
        self.versions: dict[str, int] = {}
        self.defined = "none"
        self.begun: Any = None

    async def take(self, step: tuple[str, ...]) -> None:
        process = self.process
        match step:
            case ("patient", id, eye, hair):
                await process.put(patient(id, eye=eye, hair=hair), self._next(id))
                self.patients[id] = {"eye": eye, "hair": hair}
            case ("define", "none") if self.defined != "none":
                await process.put(EYE | {"status": "retired"}, self._next("eye"))
                self.defined = "none"
            case ("define", name) if name != "none":
                await process.put(EYE if name == "eye" else HAIR, self._next("eye"))
                self.defined = name
            case ("run",):
                await process.run()
            case ("begin",):
                self.begun = await process.work.begin(["Patient"])
                while await process.work.step(self.begun):
                    pass
            case ("end",) if self.begun is not None:
                await process.work.end(self.begun)
        await process.definitions.load()

    def _next(self, id: str) -> int:
        self.versions[id] = self.versions.get(id, 0) + 1
        return self.versions[id]

    async def check(self) -> None:
        try:
            found = await self.process.find("eye=blue")
        except UnknownParameter:
            assert self.defined == "none"
        except BeingIndexed:
            assert self.defined != "none"
        else:
            assert self.defined != "none"
            right = [id for id, colours in self.patients.items() if colours[self.defined] == "blue"]
            assert found == " ".join(sorted(right))


@example([("define", "eye"), ("begin",), ("define", "hair"), ("end",)])
@example([("define", "eye"), ("run",), ("define", "none"), ("patient", "b", "red", "red"), ("define", "eye"), ("run",)])
@given(st.lists(STEPS, min_size=3, max_size=10))
@settings(max_examples=300)
def test_an_answer_is_whole_or_refused(steps: list[tuple[str, ...]]) -> None:
    async def play() -> None:
        made = Process.in_memory()
        await made.store.open()
        await made.definitions.load()
        world = World(made)
        for step in (*AT_FIRST, *steps):
            await world.take(step)
            await world.check()
        await made.run()
        await world.check()
        if world.defined != "none":
            await made.find("eye=blue")  # after a whole run it answers

    asyncio.run(play())
