"""Files of Bundles and resources into a store; workers prepare Bundles while those before them are written.

A file whose conditional references nothing answers yet waits until the others are stored. Then such files are tried
step by step, as long as that brings more, and at last each is stored or refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fhir_server.bulk.conditions import Conditions, references_in
from fhir_server.bulk.crew import are_many
from fhir_server.bulk.pool import Pool
from fhir_server.bulk.prepare import Prepared
from fhir_server.bulk.turns import Turns
from fhir_server.bulk.upsert import Tally, Upsert
from fhir_server.errors import FhirError, Unavailable
from fhir_server.interactions.core import Hub
from fhir_server.model import Change
from fhir_server.sources import Source, read_ahead
from fhir_server.store.protocol import Transaction

_AHEAD: Final = 6  # texts that are prepared while one is written
_BYTES_AHEAD: Final = 6_000_000  # of such texts; prepared, they take some times that
_LARGEST: Final = 64_000_000  # bytes of a Bundle that a worker takes
_HEAD: Final = 4_096  # bytes in which a Bundle says that it is a transaction; one that does not is done step by step


class Stage(IntEnum):
    """What is done with a text that nothing answers."""

    WAIT = 0
    TRY = 1
    LAST = 2


class Part(NamedTuple):
    """A file, or some of its texts."""

    path: Path
    only: frozenset[int] | None = None  # numbers of its texts; None for all


class Loading(Protocol):
    """Whoever loads texts."""

    async def load(self, source: Source, *, last: bool) -> bool:
        """Load a text step by step; return False where it should be tried again after others."""
        ...

    def upsert(self) -> Upsert:
        """Return what writes lines."""
        ...

    def note(self, name: str, lines: Tally) -> None:
        """Count what came of the resources of a text."""
        ...

    def fail(self, name: str, error: Exception) -> None:
        """Say that a file cannot be read."""
        ...


async def load_texts(hub: Hub, tenant: str, pool: Pool, files: Sequence[Path], loading: Loading) -> None:
    """Load files, and show how many are done."""
    if not files:
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("loading", total=len(files))
        if are_many(files):
            await pool.start()
        await TextImport(hub, tenant, pool, loading, lambda: progress.advance(bar)).load(files)


@dataclass(slots=True)
class _File:
    """A file under way."""

    part: Part
    open: int  # texts that are not done, and one more as long as not all are begun
    left: set[int] = field(default_factory=set)  # texts that are tried again


@dataclass(slots=True)
class _Text:
    """A text under way."""

    file: _File
    number: int  # in its file
    source: Source
    answers: dict[str, str]  # to its conditional references
    prepared: asyncio.Future[list[Prepared]] | None  # None where it is done step by step


class TextImport:
    """Stores texts.

    Args:
        hub: The core.
        tenant: Whose store.
        pool: Prepares Bundles, once it is ready.
        loading: Does all else, and counts.
        moved: Told when a file is done.
    """

    def __init__(self, hub: Hub, tenant: str, pool: Pool, loading: Loading, moved: Callable[[], None]) -> None:
        self._hub, self._tenant, self._pool, self._loading, self._moved = hub, tenant, pool, loading, moved
        self._conditions, self._upsert = Conditions(hub, tenant), loading.upsert()
        self._stage = Stage.WAIT
        self._waits = False  # whether a file was met that waits: others are looked at before they are read
        self._left: list[Part] = []

    async def load(self, files: Sequence[Path]) -> None:
        """Load files, again and again while that helps."""
        parts = [Part(path) for path in files]
        while parts:
            left = await self._pass(parts)
            if left != parts:
                self._stage = Stage.WAIT
            elif self._stage < Stage.LAST:
                self._stage = Stage(self._stage + 1)
            parts = left

    async def _pass(self, parts: Sequence[Part]) -> list[Part]:
        """Load files once; return what should be tried again after others."""
        self._left, self._waits = [], False
        only = {part.path: part.only for part in parts}
        under_way: deque[_Text] = deque()
        async with Turns() as turns:
            async for path, sources in read_ahead(list(only), lambda: self._waits):
                part = Part(path, only[path])
                if isinstance(sources, Exception):
                    self._loading.fail(path.name, sources)
                    self._moved()
                    continue
                if sources is None:
                    self._left.append(part)
                    continue
                file = _File(part, 1)
                for number, source in enumerate(sources):
                    if part.only is None or number in part.only:
                        await self._begin(file, number, source, under_way, turns)
                self._close(file)
            await self._finish_all(under_way, turns)
            await turns.rest()
        return self._left

    async def _begin(self, file: _File, number: int, source: Source, under_way: deque[_Text], turns: Turns) -> None:
        """Have a text prepared, or leave it for later; finish earlier ones where too many are under way."""
        references = references_in(source.body)
        answers = await self._conditions.answers(references)
        if answers is None and self._stage == Stage.WAIT:
            await self._finish_all(under_way, turns)  # one of them may be the answer
            await turns.rest()
            answers = await self._conditions.answers(references)
            if answers is None:
                file.left.add(number)
                self._waits = True
                return
        file.open += 1
        prepared = None
        if answers is not None and self._is_for_worker(source):
            with suppress(Unavailable):  # without workers it goes step by step
                prepared = await self._pool.bundle(source.body, answers)
        under_way.append(_Text(file, number, source, answers or {}, prepared))
        most = _AHEAD if self._pool.is_ready else 0  # what is not handed to a worker now never will be
        while len(under_way) > most or sum(len(text.source.body) for text in under_way) > _BYTES_AHEAD:
            await self._finish(under_way.popleft(), turns)

    def _is_for_worker(self, source: Source) -> bool:
        """Whether a text is a transaction, by its beginning, that may be prepared elsewhere."""
        if not self._pool.is_ready or not source.name.endswith((".json", ".json.gz", ".json.bz2")):
            return False
        return len(source.body) <= _LARGEST and b'"transaction"' in source.body[:_HEAD]

    async def _finish_all(self, under_way: deque[_Text], turns: Turns) -> None:
        while under_way:
            await self._finish(under_way.popleft(), turns)

    async def _finish(self, text: _Text, turns: Turns) -> None:
        """Write a text, as soon as the one before it is written."""
        lines: list[Prepared] = []
        if text.prepared is not None:
            with suppress(Unavailable):
                lines = await text.prepared
        await turns.take(self._write(text, lines))

    async def _write(self, text: _Text, lines: Sequence[Prepared]) -> None:
        tally = await self._together(text, lines) if lines else None
        if tally is not None:
            self._loading.note(text.source.name, tally)
        elif not await self._loading.load(text.source, last=self._stage == Stage.LAST):
            text.file.left.add(text.number)
        self._close(text.file)

    async def _together(self, text: _Text, lines: Sequence[Prepared]) -> Tally | None:
        """Write a prepared transaction; return None where it must be done step by step, and nothing is written."""
        ready = await self._upsert.unpack(lines)

        async def work(tx: Transaction) -> tuple[Tally, list[Change]] | None:
            if not await self._conditions.hold(tx, text.answers):
                return None
            return await self._upsert.write(tx, ready)

        try:
            made = await self._hub.store.transact(self._tenant, work)
        except Unavailable:
            raise
        except FhirError:
            return None  # step by step it is said at which entry
        if made is None:
            return None
        tally, changes = made
        await self._hub.tell(self._tenant, changes)
        return tally

    def _close(self, file: _File) -> None:
        """Note that a text of a file is done, or that all are begun."""
        file.open -= 1
        if file.open:
            return
        if file.left:
            self._left.append(Part(file.part.path, frozenset(file.left)))
        else:
            self._moved()
