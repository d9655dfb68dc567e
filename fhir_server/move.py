"""`predmp move FROM TO`: a store of any kind copied into another, and the copy compared with what it was made of.

Every version of every resource, the records of rooms, the keys and the audit rows. The source is read in one state;
the target must be empty, or be what a move of the same source that was broken off left: then this one goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fhir_server import gate
from fhir_server.app import FHIR
from fhir_server.content import STEP, audits_of, content, records_of, told_version, versions_of
from fhir_server.indexing.definitions import Definitions
from fhir_server.model import Record, Version
from fhir_server.search.extract import Indexer
from fhir_server.search.registry import SearchParameters
from fhir_server.search.values import NOTHING
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.choice import open_store
from fhir_server.store.copying import check_whole, is_marked, mark, unmark
from fhir_server.store.protocol import AuditRow, HistoryQuery, Store, Transaction, View, Write

LEFT: Final = frozenset({"cursors"})  # keys that stay: page links name places in the store that they were made in

T = TypeVar("T")


class Copied(NamedTuple):
    """What of a tenant is in the target already."""

    versions: int = 0
    seq: int = 0  # in the source, of the last version
    audit: int = 0  # in the source, of the last audit row


async def move(settings: Settings, source: str, target: str, *, as_json: bool = False) -> int:
    """Copy one store into another and compare.

    Args:
        settings: Of the hub: tenant, zone and base URL say how resources are indexed.
        source: As `--store` names it.
        target: The same; it must be empty, or hold what a move of the same source left that was broken off.
        as_json: Whether the report is printed as JSON.

    Returns:
        0 where both hold the same, 1 where something differs.

    Raises:
        SettingsError: A store is none that can be moved, or the target holds something else.
        FhirError: A store cannot be opened, or does not answer.
    """
    _check(source, target)
    registry = SearchParameters()
    index = Indexer(settings.zone, settings.root_url + FHIR, registry)
    async with _opened(settings, source, index) as old, _opened(settings, target, index) as new:
        await check_whole(old)
        await _check_target(old, new)
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


async def _check_target(old: Store, new: Store) -> None:
    """Raise SettingsError where the target holds what no move of this source has put there."""
    tenants = await new.tenants()
    if tenants and not await is_marked(new):
        raise SettingsError("the target is not empty: move into a new store")
    if not set(tenants) <= set(await old.tenants()):
        raise _other()
    keys = await old.secrets()
    if any(name not in LEFT and keys.get(name) != value for name, value in (await new.secrets()).items()):
        raise SettingsError("the target has keys of its own, by which others may have tokens: move into a new store")


def _other() -> SettingsError:
    return SettingsError("the target holds something else than a part of this source: move into a new store")


@asynccontextmanager
async def _opened(settings: Settings, store: str, index: Indexer) -> AsyncIterator[Store]:
    made = open_store(replace(settings, store=store), index)
    await made.open()
    try:
        yield made
    finally:
        await made.close()


async def _move(old: Store, new: Store, index: Indexer) -> dict[str, Any]:
    tenants: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for tenant in await old.tenants():
            async with old.view(tenant) as view:
                _, total = await view.history(HistoryQuery(count=0))
                bar = progress.add_task(f"copying {tenant}", total=total)
                there = await _begin(view, new)
                progress.advance(bar, there.versions)
                await _copy(view, new, index, there, partial(progress.advance, bar))
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
    if same:
        for one in tenants:
            await new.transact(one["tenant"], unmark)
    return {"same": same, "keys": len(kept), "audit": whole, "tenants": tenants}


# --- copying ----------------------------------------------------------------------------------------------


async def _begin(view: View, new: Store) -> Copied:
    """Mark the target's tenant as not whole yet; return what of the source is in it already.

    Records that are there are removed, as they may have changed in the source since.

    Raises:
        SettingsError: What is there is not how the source begins.
    """
    await new.transact(view.tenant, mark)
    async with new.view(view.tenant) as there:
        versions, seq = await _begun(versions_of(view), versions_of(there), told_version, lambda v: v.seq)
        _, audit = await _begun(audits_of(view), audits_of(there), lambda row: row[1], lambda row: row[0])
        records = [(record.kind, record.key) async for page in records_of(there) for record in page]
    for start in range(0, len(records), STEP):
        await new.transact(view.tenant, partial(_drop_records, records[start : start + STEP]))
    return Copied(versions, seq, audit)


async def _begun(
    ours: AsyncIterator[list[T]],
    theirs: AsyncIterator[list[T]],
    told: Callable[[T], object],
    seq: Callable[[T], int],
) -> tuple[int, int]:
    """Return how many of ours they have, and the seq of the last; raise SettingsError where they have others."""
    count = last = 0
    async with aclosing(_each(ours)) as rest:
        async for their in _each(theirs):
            async for found in rest:
                if told(found) != told(their):
                    raise _other()
                count, last = count + 1, seq(found)
                break
            else:
                raise _other()
    return count, last


async def _each(pages: AsyncIterator[list[T]]) -> AsyncGenerator[T, None]:
    async for page in pages:
        for one in page:
            yield one


async def _copy(view: View, new: Store, index: Indexer, there: Copied, step: Callable[[int], None]) -> None:
    """Copy what a view shows and is not there yet, in its order."""
    async for versions in versions_of(view, after=there.seq):
        await new.transact(view.tenant, partial(_put, versions, index))
        step(len(versions))
    async for records in records_of(view):
        await new.transact(view.tenant, partial(_put_records, records))
    async for rows in audits_of(view, after=there.audit):
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


async def _drop_records(records: list[tuple[str, str]], tx: Transaction) -> None:
    for kind, key in records:
        await tx.drop_record(kind, key)


async def _put_audits(rows: list[tuple[int, AuditRow]], tx: Transaction) -> None:
    for _, row in rows:
        await tx.audit(row)


def _print(report: dict[str, Any]) -> None:
    for one in report["tenants"]:
        told = one["from"]
        parts = ", ".join(f"{told[part]['count']} {part}" for part in ("versions", "records", "audit") if part in told)
        print(f"{one['tenant']}: {parts}: {'the same' if one['same'] else 'DIFFERS'}")
    print(f"{report['keys']} keys; {'the copy is whole' if report['same'] else 'the copy DIFFERS: do not use it'}")
