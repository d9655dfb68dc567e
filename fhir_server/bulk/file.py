"""NDJSON files into a store, without a job: run again, what was stored is found equal and left alone."""

from __future__ import annotations

import bz2
import gzip
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from fhir_server.bulk.lines import Block, read_blocks
from fhir_server.bulk.pool import Pool
from fhir_server.bulk.prepare import Prepared, refused
from fhir_server.bulk.turns import Turns
from fhir_server.bulk.upsert import Ready, Tally, Upsert
from fhir_server.errors import FhirError, Unavailable
from fhir_server.interactions.core import Hub
from fhir_server.model import Change
from fhir_server.sources import UNREADABLE
from fhir_server.store.protocol import Transaction

SUFFIXES: Final = (".ndjson", ".jsonl")
_READ: Final = 1_048_576
_OPENERS: Final[dict[str, Callable[[Path], object]]] = {".gz": gzip.open, ".bz2": bz2.open}


def is_lines(path: Path) -> bool:
    """Whether a file is NDJSON, packed or not."""
    suffixes = [suffix for suffix in path.suffixes if suffix not in _OPENERS]
    return bool(suffixes) and suffixes[-1] in SUFFIXES


class Loading(Protocol):
    """Whoever loads files."""

    def upsert(self) -> Upsert:
        """Return what writes lines."""
        ...

    async def bundle(self, line: Prepared) -> None:
        """Take a line that is a Bundle."""
        ...

    def note(self, name: str, lines: Tally) -> None:
        """Count what came of the lines of a file."""
        ...

    def fail(self, name: str, error: Exception) -> None:
        """Say that a file cannot be read."""
        ...


async def load_lines(hub: Hub, tenant: str, pool: Pool, files: Sequence[Path], loading: Loading) -> None:
    """Load NDJSON files one after the other, prepared in worker processes, and show how far it is."""
    if not files:
        return
    importing = FileImport(hub, tenant, pool, loading.upsert(), loading.bundle)
    columns = (TextColumn("{task.description}"), BarColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars: dict[Path, TaskID] = {}
        tallies, unread = await importing.load(files, partial(_moved, progress, bars))
    for path in files:
        loading.note(path.name, tallies[path])
        if path in unread:
            loading.fail(path.name, unread[path])


def _moved(progress: Progress, bars: dict[Path, TaskID], path: Path, end: int) -> None:
    if path not in bars:
        size = None if path.suffix in _OPENERS else path.stat().st_size
        bars[path] = progress.add_task(path.name, total=size)
    progress.update(bars[path], completed=end)


class FileImport:
    """Stores NDJSON files.

    Args:
        hub: The core.
        tenant: Whose store.
        pool: Prepares lines.
        upsert: Writes them.
        bundle: Takes a line that is a Bundle.
    """

    def __init__(
        self, hub: Hub, tenant: str, pool: Pool, upsert: Upsert, bundle: Callable[[Prepared], Awaitable[None]]
    ) -> None:
        self._hub, self._tenant, self._pool, self._upsert, self._bundle = hub, tenant, pool, upsert, bundle

    async def load(
        self, files: Sequence[Path], moved: Callable[[Path, int], None]
    ) -> tuple[dict[Path, Tally], dict[Path, Exception]]:
        """Store the lines of files; the next one is begun while the last lines of one are prepared.

        Args:
            files: Each once.
            moved: Told how many bytes of a file's text are done: when it is begun, and after each block.

        Returns:
            What came of the lines of each file, and why some cannot be read to their end.
        """
        tallies = {path: Tally() for path in files}
        unread: dict[Path, Exception] = {}
        under_way: deque[Path] = deque()  # the file of each block that is not done

        async def blocks() -> AsyncIterator[Block]:
            for path in tallies:
                moved(path, 0)
                try:
                    async for block in read_blocks(_parts(path)):
                        under_way.append(path)
                        yield block
                except UNREADABLE as error:
                    unread[path] = error

        async with Turns() as turns:
            async for block, lines in self._pool.prepare(blocks()):
                path = under_way.popleft()
                ready = await self._upsert.unpack([line for line in lines if line.type != "Bundle"])
                await turns.take(self._block(ready, [line for line in lines if line.type == "Bundle"], tallies[path]))
                moved(path, block.end)
        return tallies, unread

    async def _block(self, lines: Sequence[Ready], bundles: Sequence[Prepared], tally: Tally) -> None:
        tally.add(await self._write(lines))
        for line in bundles:
            await self._bundle(line)

    async def _write(self, lines: Sequence[Ready]) -> Tally:
        """Write lines in one transaction; where one is refused, each half by itself."""
        if not lines:
            return Tally()

        async def work(tx: Transaction) -> tuple[Tally, list[Change]]:
            return await self._upsert.write(tx, lines)

        try:
            tally, changes = await self._hub.store.transact(self._tenant, work)
        except Unavailable:
            raise
        except FhirError as error:
            if len(lines) == 1:
                return await self._write(await self._upsert.unpack([refused(lines[0].line.line, error.issues)]))
            tally = await self._write(lines[: len(lines) // 2])
            tally.add(await self._write(lines[len(lines) // 2 :]))
            return tally
        await self._hub.tell(self._tenant, changes)
        return tally


async def _parts(path: Path) -> AsyncIterator[bytes]:
    opener = _OPENERS.get(path.suffix)
    source = cast(IO[bytes], opener(path)) if opener is not None else path.open("rb")
    with source:
        while part := source.read(_READ):
            yield part
