"""An import as a job: NDJSON in, block by block, each in one transaction with the checkpoint behind it.

Killed at any point, it goes on behind the last block that was committed, so that each line is stored once. Lines that
cannot be stored become OperationOutcomes, with their numbers, in a file of errors; the others are stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from fhir_server import gate
from fhir_server.bulk.crew import Crew, worker_count
from fhir_server.bulk.lines import read_blocks
from fhir_server.bulk.pool import Pool
from fhir_server.bulk.prepare import Prepared, refused
from fhir_server.bulk.sources import read_payload, read_url
from fhir_server.bulk.turns import Turns
from fhir_server.bulk.upsert import Ready, Tally, Upsert
from fhir_server.errors import FhirError, Issue, Unavailable
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.jobs import JobContext, Kind, Mark
from fhir_server.model import Change
from fhir_server.outcome import outcome
from fhir_server.settings import Settings
from fhir_server.store.protocol import Transaction
from fhir_server.subscriptions.outbound import Outbound

KIND: Final = "import"

Move = Callable[["Place"], "Place"]


class Place(msgspec.Struct, frozen=True):
    """How far an import came."""

    source: int = 0  # index of the source under way
    offset: int = 0  # bytes of it that are done
    line: int = 1  # number of the line that begins there
    skip: int = 0  # lines up to this number are done, though their block is not
    stored: list[dict[str, int]] = []  # by source, by type
    same: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """How many lines have been looked at."""
        return sum(sum(counts.values()) for counts in self.stored) + self.same + self.refused


class Import:
    """Runs imports.

    Args:
        hub: The core.
        outbound: The way to inputs that are named by url.
        settings: Zone and base of the hub, as its workers need them.
    """

    def __init__(self, hub: Hub, outbound: Outbound, settings: Settings) -> None:
        self._hub, self._outbound, self._settings = hub, outbound, settings
        self.kind = Kind(KIND, self.run, is_bulk=True)

    async def run(self, context: JobContext) -> None:
        """Run one import, from its last checkpoint."""
        given = context.input
        start = msgspec.json.decode(context.state, type=Place) if context.state else Place()
        pool = make_pool(self._hub, self._settings)
        one = _One(self._hub, context, start, triage=given["triage"])
        try:
            urls: Sequence[str] = given["urls"]
            types: Sequence[str] = given.get("types", ())
            while (number := one.place.source) < (len(urls) or 1):
                offset = one.place.offset
                parts = read_url(self._outbound, urls[number], offset) if urls else read_payload(context, offset)
                await one.read(pool, parts, types[number] if types else "")
        finally:
            await pool.stop()
        context.result = self._result(one.place, urls)

    def _result(self, place: Place, urls: Sequence[str]) -> dict[str, Any]:
        output = []
        for number, counts in enumerate(place.stored):
            source = {"inputUrl": urls[number]} if urls else {}
            output += [{"type": type, "count": count, **source} for type, count in sorted(counts.items())]
        text = f"{place.done} lines: {place.done - place.same - place.refused} stored, {place.same} unchanged"
        issue = Issue("informational", f"{text}, {place.refused} refused.", severity="information")
        return {"transactionTime": write_instant(self._hub.now()), "output": output, "outcome": outcome([issue])}


def make_pool(hub: Hub, settings: Settings, *, size: int | None = None, crew: Crew | None = None) -> Pool:
    """Return workers that index as the hub does: those of a crew, or such as are not started yet."""
    return Pool(
        hub.validate,
        hub.index,
        zone=settings.zone,
        base_url=hub.base_url,
        drafting=hub.store.drafting,
        size=worker_count() if size is None else size,
        crew=crew,
    )


class _One:
    """One run of one import."""

    def __init__(self, hub: Hub, context: JobContext, place: Place, *, triage: bool) -> None:
        self._hub, self._context, self.place = hub, context, place
        self._upsert = Upsert(hub, context.actor, KIND, triage=triage)

    async def read(self, pool: Pool, parts: AsyncIterator[bytes], type: str) -> None:
        """Import one source and move the place to the next; where its type is said, lines of others are refused."""
        place = self.place
        if len(place.stored) <= place.source:
            self.place = place = replace(place, stored=[*place.stored, {}])
        skip = place.skip
        async with Turns() as turns:
            async for block, lines in pool.prepare(read_blocks(parts, line=place.line, start=place.offset)):
                wanted = [line for line in lines if line.line > skip]
                left = await self._upsert.unpack([_typed(line, type) for line in wanted] if type else wanted)
                move = partial(replace, offset=block.end, line=block.after, skip=0)
                await turns.take(self._write(left, move))
        self.place = replace(self.place, source=self.place.source + 1, offset=0, line=1, skip=0)
        await self._context.checkpoint(msgspec.json.encode(self.place), self.place.done)

    async def _write(self, lines: Sequence[Ready], move: Move) -> None:
        """Write lines in one transaction with the checkpoint; where one is refused, each half by itself."""
        try:
            await self._commit(lines, move)
        except Unavailable:
            raise
        except FhirError as error:
            if len(lines) == 1:
                bad = refused(lines[0].line.line, error.issues)
                await self._commit(await self._upsert.unpack([bad]), move)
                return
            half = len(lines) // 2
            await self._write(lines[:half], partial(replace, skip=lines[half - 1].line.line))
            await self._write(lines[half:], move)

    async def _commit(self, lines: Sequence[Ready], move: Move) -> None:
        async def work(tx: Transaction) -> tuple[Tally, list[Change]]:
            return await self._upsert.write(tx, lines)

        def moved(tally: Tally) -> Place:
            return move(_counted(self.place, tally))

        def mark(made: tuple[Tally, list[Change]]) -> Mark:
            place = moved(made[0])
            return Mark(msgspec.json.encode(place), place.done)

        told = [_told(self.place, line) for line, _ in lines if not line.type]
        self._context.write_output("OperationOutcome", told, group="error")
        tally, changes = await self._context.transact(work, mark)
        self.place = moved(tally)
        await self._hub.tell(self._context.actor.tenant, changes)


def _typed(line: Prepared, type: str) -> Prepared:
    """Return a line, refused where its resource is of another type than its source says."""
    if line.type in ("", type):
        return line
    return refused(line.line, (Issue("invalid", f"The resource is not of the type that its input says ({type})."),))


def _counted(place: Place, tally: Tally) -> Place:
    stored = [dict(counts) for counts in place.stored]
    stored[place.source] = dict(Counter(stored[place.source]) + tally.stored)
    return replace(place, stored=stored, same=place.same + tally.same, refused=place.refused + len(tally.refused))


def _told(place: Place, line: Prepared) -> bytes:
    """Return a line of the file of errors."""
    where = f"Line {line.line}" if not place.source else f"Input {place.source + 1}, line {line.line}"
    issues = [Issue(code, f"{where}: {text}", path, severity) for code, text, path, severity in line.issues]
    return gate.write(outcome(issues))
