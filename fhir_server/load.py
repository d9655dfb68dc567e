"""`predmp load`: files and folders of resources into a store, in an order that lets references resolve.

A transaction or batch Bundle is applied as what it asks; other resources keep their ids. Loading is
history, not measurement: triage looks at it only when asked.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from gzip import BadGzipFile
from pathlib import Path

from fhir_server import gate, package
from fhir_server.app import opened
from fhir_server.bulk.bundle import entries_of, put
from fhir_server.bulk.crew import Crew
from fhir_server.bulk.file import is_lines, load_lines
from fhir_server.bulk.import_ import make_pool
from fhir_server.bulk.prepare import Prepared
from fhir_server.bulk.texts import load_texts
from fhir_server.bulk.upsert import Tally as Lines
from fhir_server.bulk.upsert import Upsert
from fhir_server.collector import BULK, settle
from fhir_server.errors import FhirError
from fhir_server.interactions.core import Hub
from fhir_server.model import Actor, Entry, Resource
from fhir_server.settings import Settings, SettingsError
from fhir_server.sources import UNREADABLE, Source, count_others, find_files, is_archive

BATCH = 200  # resources in one transaction


@dataclass(slots=True)
class Tally:
    """What was loaded and what was not."""

    stored: Counter[str] = field(default_factory=Counter)  # by type
    same: int = 0  # were there already
    failed: list[str] = field(default_factory=list)  # "file: expression: text"
    packages: list[str] = field(default_factory=list)  # what was loaded of each, in words
    others: Counter[str] = field(
        default_factory=Counter
    )  # files of folders that are of no kind that is read, by suffix
    missing: list[str] = field(default_factory=list)  # packages that these need and that were not loaded: name#version


def resources_of(source: Source) -> list[Resource]:
    """Read the resources of a text: one, or one a line.

    Raises:
        Malformed: The text is neither.
    """
    if b".ndjson" in source.name.encode() or b".jsonl" in source.name.encode():
        return [gate.parse_resource(line) for line in source.body.splitlines() if line.strip()]
    return [gate.parse_resource(source.body)]


class Loader:
    """Loads texts through the core."""

    def __init__(self, hub: Hub, actor: Actor, *, triage: bool) -> None:
        self._hub, self._actor, self._triage = hub, actor, triage
        self.tally = Tally()

    async def load(self, source: Source, *, last: bool) -> bool:
        """Load a text; return False where it should be tried again after the others (`last`: it will not be)."""
        try:
            asked = [entries_of(resource) for resource in resources_of(source)]
        except FhirError as error:
            self._fail(source.name, error)
            return True
        loose: list[Entry] = []
        for entries, together in asked:
            if not together:
                loose += entries
            elif not await self._transaction(source, entries, last=last):
                return False
        async for _ in self._batches(source, loose):
            continue
        return True

    async def bundle(self, line: Prepared) -> None:
        """Load a line that is a Bundle: one with an id is a resource of its own, as documents are, unless it asks."""
        source = Source("Bundle.json", line.body)
        resource = gate.parse_resource(line.body)
        if not line.given or resource.get("type") in ("transaction", "batch"):
            await self.load(source, last=True)
            return
        async for _ in self._batches(source, [put(resource)]):
            continue

    def upsert(self) -> Upsert:
        """Return what writes lines as this loader does."""
        return Upsert(self._hub, self._actor, "load", triage=self._triage)

    def note(self, name: str, lines: Lines) -> None:
        """Count what came of the lines of a file."""
        self.tally.stored.update(lines.stored)
        self.tally.same += lines.same
        for number, issues in lines.refused:
            for issue in issues:
                self.tally.failed.append(f"{name}: line {number}: {issue.expression or '(the whole)'}: {issue.text}")

    def fail(self, name: str, error: Exception) -> None:
        """Say that a file cannot be read."""
        is_damaged = isinstance(error, UNREADABLE) and (
            not isinstance(error, OSError) or isinstance(error, BadGzipFile)
        )
        reason = "it is damaged" if is_damaged else type(error).__name__
        self.tally.failed.append(f"{name}: cannot be read: {reason}")

    async def load_package(self, path: Path, manifest: package.Manifest, *, everything: bool) -> None:
        """Load a FHIR package: its definitions, or all that is in it."""
        tenant = self._actor.tenant

        async def stored(type: str, id: str) -> Resource | None:
            return await self._hub.ask(tenant, lambda asking: asking.resource(f"{type}/{id}"))  # type: ignore[no-any-return]

        contents = package.Contents(path, everything)
        try:
            count = await self._contents(contents, package.Ids(stored))
        except UNREADABLE as error:
            self.fail(path.name, error)
            return
        except package.BadPackage as error:
            self.tally.failed.append(f"{path.name}: cannot be loaded: {error}")
            return
        self.tally.packages.append(f"{manifest.key}: {count} resources{contents.rest}")
        await self._hub.transact(tenant, lambda writing: package.remember(writing, manifest))

    async def _contents(self, contents: package.Contents, ids: package.Ids) -> int:
        """Store the resources of a package; return how many there are."""
        waiting: list[tuple[str, Entry]] = []
        count = 0
        for name, resource in contents.resources():
            if isinstance(resource, FhirError):
                self._fail(name, resource)
                continue
            waiting.append((name, put(await ids.settled(resource))))
            count += 1
            if len(waiting) == BATCH:
                await self._named(waiting)
                waiting = []
        await self._named(waiting)
        return count

    async def note_missing(self, manifests: Sequence[package.Manifest]) -> None:
        """Note what the packages need and what was never loaded."""
        known: set[str] = await self._hub.transact(self._actor.tenant, package.loaded)
        self.tally.missing = sorted({need for m in manifests for need in package.missing(m, known)})

    async def _named(self, waiting: Sequence[tuple[str, Entry]]) -> None:
        """Store resources of files; where that fails, one by one, to say which it is."""
        try:
            await self._submit([entry for _, entry in waiting])
        except FhirError:
            for name, entry in waiting:
                try:
                    await self._submit([entry])
                except FhirError as error:
                    self._fail(name, error)

    async def _transaction(self, source: Source, entries: list[Entry], *, last: bool) -> bool:
        try:
            await self._submit(entries)
        except FhirError as error:
            if not last and any("conditional reference" in issue.text for issue in error.issues):
                return False
            self._fail(source.name, error)
        return True

    async def _batches(self, source: Source, entries: list[Entry]) -> AsyncIterator[int]:
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            try:
                await self._submit(part)
            except FhirError:
                for entry in part:  # find which one it is, and store the others
                    try:
                        await self._submit([entry])
                    except FhirError as error:
                        self._fail(source.name, error)
            yield start

    async def _submit(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        made = await self._hub.submit(entries, actor=self._actor, interaction="load", enrich=self._triage)
        for outcome in made:
            if outcome.changed and outcome.version is not None and not outcome.version.is_deleted:
                self.tally.stored[outcome.version.type] += 1
            else:
                self.tally.same += 1

    def _fail(self, name: str, error: FhirError) -> None:
        for issue in error.issues[:20]:
            self.tally.failed.append(f"{name}: {issue.expression or '(the whole)'}: {issue.text}")


async def load(
    settings: Settings,
    paths: Sequence[Path],
    *,
    triage: bool,
    as_json: bool,
    everything: bool = False,
    crew: Crew | None = None,
) -> int:
    """Load files and folders; return 0, or 1 where something was not stored.

    Args:
        settings: Where to.
        paths: Files and folders.
        triage: Whether triage looks at what is loaded.
        as_json: Whether the counts are printed as JSON.
        everything: Whether FHIR packages are loaded whole, with examples.
        crew: Workers that were started before.
    """
    files = find_files(paths)
    if not files:
        raise SettingsError("there is no file to load there")
    async with opened(settings) as composed:
        settle(BULK)
        loader = Loader(composed.hub, composed.hub.internal(settings.tenant, "load"), triage=triage)
        loader.tally.others = count_others(paths)
        lines = [path for path in files if is_lines(path)]
        packages = _manifests(files, loader.tally)
        for path, manifest in packages.items():
            await loader.load_package(path, manifest, everything=everything)
        await loader.note_missing(list(packages.values()))
        rest = [path for path in files if path not in packages and path not in lines]
        pool = make_pool(composed.hub, settings, crew=crew)
        try:
            await load_texts(composed.hub, settings.tenant, pool, rest, loader)
            await load_lines(composed.hub, settings.tenant, pool, lines, loader)
        finally:
            await pool.stop()
    _report(loader.tally, as_json)
    return 1 if loader.tally.failed else 0


def _manifests(files: Sequence[Path], tally: Tally) -> dict[Path, package.Manifest]:
    """Return what the FHIR packages among the files say of themselves; other archives are no packages."""
    found: dict[Path, package.Manifest] = {}
    for path in files:
        if not is_archive(path):
            continue
        try:
            manifest = package.read_manifest(path)
        except UNREADABLE:
            continue  # said when its files are read
        except package.BadPackage as error:
            raise SettingsError(f"{path} cannot be loaded: {error}") from None
        if manifest is not None:
            found[path] = manifest
    return found


def _report(tally: Tally, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {
                    "stored": dict(sorted(tally.stored.items())),
                    "unchanged": tally.same,
                    "failed": tally.failed,
                    "packages": tally.packages,
                    "missing": tally.missing,
                    "not_read": dict(sorted(tally.others.items())),
                }
            )
        )
        return
    for line in tally.packages:
        print(line)
    for type, count in sorted(tally.stored.items()):
        print(f"{count:>8} {type}")
    print(f"{sum(tally.stored.values()):>8} stored, {tally.same} unchanged, {len(tally.failed)} problems")
    for suffix, count in sorted(tally.others.items()):
        print(
            f"not read: {count} {suffix}; files are .json, .ndjson, .jsonl, these as .gz or .bz2, .tgz", file=sys.stderr
        )
    for name in tally.missing:
        print(f"needs {name}, which was not loaded: what rests on it cannot be checked", file=sys.stderr)
    for line in tally.failed[:100]:
        print(line, file=sys.stderr)
