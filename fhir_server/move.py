"""`predmp move FROM TO`: a store of any kind copied into another, and the copy compared with what it was made of.

Every version of every resource, the records of rooms, the keys and the audit rows. The source is read in one state;
the target must be empty, and is to be thrown away where the move was broken off.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fhir_server import gate
from fhir_server.app import FHIR
from fhir_server.indexing.definitions import Definitions
from fhir_server.model import Record, Version
from fhir_server.search.extract import Indexer
from fhir_server.search.registry import SearchParameters
from fhir_server.search.values import NOTHING
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import open_store
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction, View, Write

STEP: Final = 500  # versions, records or audit rows of one transaction
FIRST: Final = 20  # versions of the first; where they are small the next may have twice as many
MOST_BYTES: Final = 4_000_000  # of bodies or audit rows that one transaction is to have, but for a single larger one
LEFT: Final = frozenset({"cursors"})  # keys that stay: page links name places in the store that they were made in


@dataclass(slots=True)
class Content:
    """What a tenant holds: counts, and hashes over all of it in order."""

    counts: Counter[str] = field(default_factory=Counter)
    current: dict[str, int] = field(default_factory=dict)  # resources that a search finds, by type
    _hashes: dict[str, Any] = field(default_factory=dict)

    def add(self, part: str, *values: Any) -> None:
        """Count something and take it into the hash of its part."""
        self.counts[part] += 1
        made = self._hashes.setdefault(part, sha256())
        for value in values:
            one = value if isinstance(value, bytes) else gate.write(value)
            made.update(len(one).to_bytes(8, "big") + one)

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        parts = {
            part: {"count": n, "sha256": self._hashes[part].hexdigest()} for part, n in sorted(self.counts.items())
        }
        return {**parts, "current": dict(sorted(self.current.items()))}


async def move(settings: Settings, source: str, target: str, *, as_json: bool = False) -> int:
    """Copy one store into another and compare.

    Args:
        settings: Of the hub: tenant, zone and base URL say how resources are indexed.
        source: As `--store` names it.
        target: The same; it must be empty.
        as_json: Whether the report is printed as JSON.

    Returns:
        0 where both hold the same, 1 where something differs.

    Raises:
        SettingsError: A store is none that can be moved, or the target is not empty.
        FhirError: A store cannot be opened, or does not answer.
    """
    _check(source, target)
    registry = SearchParameters()
    index = Indexer(settings.zone, settings.root_url + FHIR, registry)
    async with _opened(settings, source, index) as old, _opened(settings, target, index) as new:
        if await new.tenants():
            raise SettingsError("the target is not empty: move into a new store")
        definitions = Definitions(old, settings.tenant, registry, settings.zone)
        if settings.tenant in await old.tenants():
            await definitions.load()
        report = await _move(old, new, index)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 0 if report["same"] else 1


def _check(source: str, target: str) -> None:
    for store in (source, target):
        if store == "memory:":
            raise SettingsError("a store in memory cannot be moved: it is another process's")
    if source == target:
        raise SettingsError("a store cannot be moved into itself")
    if source.startswith("sqlite:///") and not Path(source.removeprefix("sqlite:///")).is_file():
        raise SettingsError("there is no store at the first place named")


@asynccontextmanager
async def _opened(settings: Settings, store: str, index: Indexer) -> AsyncIterator[Store]:
    made = open_store(replace(settings, store=store), index)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def _move(old: Store, new: Store, index: Indexer) -> dict[str, Any]:
    tenants = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for tenant in await old.tenants():
            async with old.view(tenant) as view:
                _, total = await view.history(HistoryQuery(count=0))
                bar = progress.add_task(f"copying {tenant}", total=total)
                await _copy(view, new, index, partial(progress.advance, bar))
                step = partial(progress.advance, progress.add_task(f"comparing {tenant}", total=2 * total))
                before = await content(view, step)
            async with new.view(tenant) as view:
                after = await content(view, step)
            same = before.told() == after.told()
            tenants.append({"tenant": tenant, "same": same, "from": before.told(), "to": after.told()})
    keys = {name: value for name, value in (await old.secrets()).items() if name not in LEFT}
    kept = [await new.keep_secret(name, value) == value for name, value in keys.items()]
    whole = await new.verify_audit() is None
    same = all(one["same"] for one in tenants) and all(kept) and whole
    return {"same": same, "keys": len(kept), "audit": whole, "tenants": tenants}


# --- copying ----------------------------------------------------------------------------------------------


async def _copy(view: View, new: Store, index: Indexer, step: Callable[[int], None]) -> None:
    """Copy what a view shows, in its order."""
    async for versions in _versions(view):
        await new.transact(view.tenant, partial(_put, versions, index))
        step(len(versions))
    async for records in _records(view):
        await new.transact(view.tenant, partial(_put_records, records))
    async for rows in _audits(view):
        await new.transact(view.tenant, partial(_put_audits, rows))


async def _put(versions: list[Version], index: Indexer, tx: Transaction) -> None:
    for version in versions:
        indexed = NOTHING if version.is_deleted else index(gate.load(version.body))
        write = Write(
            version.type,
            version.id,
            version.version,
            version.at,
            version.method,
            version.body,
            indexed._replace(owners=version.owners),
        )
        if version.version > 1 and await tx.read(version.type, version.id) is None:
            # What came before was forgotten: its numbers are used up and forgotten here too.
            for n in range(1, version.version):
                await tx.put(write._replace(version=n, method="PUT", body=b"{}", indexed=NOTHING))
            await tx.put(write)
            await tx.forget(version.type, version.id)
        else:
            await tx.put(write)
    await tx.bump_epoch()


async def _put_records(records: list[Record], tx: Transaction) -> None:
    for record in records:
        await tx.put_record(record.kind, record.key, record.state, record.body, lane=record.lane)


async def _put_audits(rows: list[AuditRow], tx: Transaction) -> None:
    for row in rows:
        await tx.audit(row)


# --- reading ----------------------------------------------------------------------------------------------


async def _versions(view: View) -> AsyncIterator[list[Version]]:
    """Yield versions in their order, as many at once as their bodies are small."""
    after, limit = 0, FIRST
    while page := await view.log(after=after, limit=limit):
        after = page[-1].seq
        size = sum(len(version.body) for version in page)
        limit = min(STEP, 2 * limit) if size < MOST_BYTES // 2 else max(1, limit * MOST_BYTES // (2 * size))
        yield page


async def _records(view: View) -> AsyncIterator[list[Record]]:
    for kind in await view.record_kinds():
        after = 0
        while page := await view.records(kind, after=after, limit=STEP):
            yield page
            after = page[-1].seq


async def _audits(view: View) -> AsyncIterator[list[AuditRow]]:
    """Yield audit rows in their order, no more at once than one commit of any store holds."""
    after = 0
    while page := await view.audits(after=after, limit=STEP):
        after = page[-1][0]
        rows: list[AuditRow] = []
        size = 0
        for _, row in page:
            if rows and size + len(row.query) > MOST_BYTES:
                yield rows
                rows, size = [], 0
            rows.append(row)
            size += len(row.query)
        yield rows


async def content(view: View, step: Callable[[int], None] = lambda n: None) -> Content:
    """Return what a view shows; the same of two stores whenever they hold the same in the same order."""
    made = Content()
    types = set()
    async for versions in _versions(view):
        for v in versions:
            types.add(v.type)
            made.add("versions", v.type, v.id, v.version, v.at, v.method, v.body, list(v.owners))
        step(len(versions))
    async for records in _records(view):
        for r in records:
            made.add("records", r.kind, r.key, r.state, r.lane, r.body)
    async for rows in _audits(view):
        for row in rows:
            made.add("audit", list(row))
    for type in types:
        made.current[type] = await view.count((type,), ())
    return made


def _print(report: dict[str, Any]) -> None:
    for one in report["tenants"]:
        told = one["from"]
        parts = ", ".join(f"{told[part]['count']} {part}" for part in ("versions", "records", "audit") if part in told)
        print(f"{one['tenant']}: {parts}: {'the same' if one['same'] else 'DIFFERS'}")
    print(f"{report['keys']} keys; {'the copy is whole' if report['same'] else 'the copy DIFFERS: do not use it'}")
