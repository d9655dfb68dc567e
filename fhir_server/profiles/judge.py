"""Resources judged by their profiles: those of meta.profile, those the settings require, those a caller names.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/resource.html#Meta (profile)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from fhir_server.definitions import is_structure
from fhir_server.errors import Issue
from fhir_server.fhirpath.nodes import Node
from fhir_server.fhirpath.types import ancestors
from fhir_server.model import Actor, Change, Resource
from fhir_server.profiles import quick
from fhir_server.profiles.advice import advise
from fhir_server.profiles.check import check, entries_of
from fhir_server.profiles.extensions import check_extensions
from fhir_server.profiles.findings import MOST_ISSUES, Budget, Enough, Item, Known, Run, text_of
from fhir_server.profiles.foresight import advise_definition
from fhir_server.profiles.library import DEFINITIONS, Library, move_mark
from fhir_server.profiles.part import STRUCTURES, bare
from fhir_server.profiles.policy import Policy
from fhir_server.store.protocol import Transaction, View

log = logging.getLogger("predmp")

MOST_ROUNDS: Final = 32  # a check asks for what it needs, level by level
ASK: Final = object()  # no answer yet
MOST_DECLARED: Final = 50  # profiles that one resource may declare


class Task(NamedTuple):
    """What is checked in one go."""

    resource: Resource
    named: tuple[str, ...] = ()  # profiles beside those of meta.profile
    unknown: str = "warn"  # ignore warn refuse: of a declared profile that is not known here
    advises: bool = False  # whether what R4 only recommends is said too


class Judge:
    """Judges resources by profiles.

    Args:
        library: Finds profiles and members of value sets.
        policy: What the operator demands of writes.
    """

    def __init__(self, library: Library, policy: Policy) -> None:
        self._library, self._policy = library, policy
        self._told: set[str] = set()

    async def issues(self, view: View, task: Task, *, keep: bool = True, apart: bool = False) -> list[Issue]:
        """Return what the profiles find, warnings and notes included; at most 100 errors and one that says so.

        Args:
            view: The state that definitions are read of.
            task: What is checked.
            keep: Whether what is read may serve later calls.
            apart: Whether the check runs in a thread, so that others are served meanwhile; never in a transaction.
        """
        shelf = await self._library.shelf(view, keep=keep)
        for _ in range(MOST_ROUNDS):
            run = await asyncio.to_thread(run_once, shelf.known, task) if apart else run_once(shelf.known, task)
            if not run.missing_profiles and not run.missing_codes:
                break
            await self._library.learn(view, shelf, sorted(run.missing_profiles), list(run.missing_codes))
        return list(dict.fromkeys(run.issues))

    def planned(self, resource: Resource, named: Sequence[str] = ()) -> Task:
        """Return the check of a resource that is to be written: by what the operator demands too.

        Args:
            resource: What is to be written.
            named: Profiles that are asked for beside.
        """
        required = self._policy.required.get(text_of(resource.get("resourceType")), ())
        unknown = "refuse" if self._policy.unknown == "refuse" else "warn"
        return Task(resource, tuple(dict.fromkeys((*named, *required))), unknown, advises=True)

    async def on_write(self, tx: Transaction, changes: Sequence[Change]) -> list[tuple[Change, list[Issue]]]:
        """Return the errors of each change that its profiles refuse; nothing is read where none are declared."""
        found = []
        keep = not any(change.version.type in DEFINITIONS for change in changes)
        unknown: set[tuple[str, ...]] = set()  # declared by changes before: nothing is known of any of them
        for change in changes:
            required = self._policy.required.get(change.version.type, ())
            if change.version.is_deleted or not (required or _declares(change)):
                continue
            if not required and change.declared is not None:
                if change.declared in unknown:
                    continue
                if await self._is_free(tx, change.declared, keep):
                    unknown.add(change.declared)
                    continue
            issues = await self._judged(tx, change, required, keep)
            if any(issue.code == "not-found" and issue.severity == "warning" for issue in issues):
                self._tell(change.version.type)
            if errors := [issue for issue in issues if issue.severity == "error"]:
                found.append((change, errors))
        return found

    async def note(self, tx: Transaction, changes: Sequence[Change], actor: Actor) -> None:
        """Note in the store that definitions are written (`apply.Matcher`)."""
        if any(change.version.type in DEFINITIONS for change in changes):
            await move_mark(tx)

    def _tell(self, type: str) -> None:
        """Log the first resource of a type that declares an unknown profile: an import would bring thousands."""
        if type not in self._told:
            self._told.add(type)
            log.warning("a %s was stored that declares a profile which is not known here", type)

    async def _is_free(self, tx: Transaction, profiles: Iterable[str], keep: bool) -> bool:
        """Whether there is nothing to check against, since no profile is known: said when the first was met."""
        if self._policy.unknown == "refuse":
            return False
        sources = (await self._library.shelf(tx, keep=keep)).sources
        return all(sources.get(canonical, ASK) is None for canonical in profiles)

    async def _judged(self, tx: Transaction, change: Change, required: tuple[str, ...], keep: bool) -> list[Issue]:
        shelf = await self._library.shelf(tx, keep=keep)
        if self._conforms(shelf.known, change, required):
            return []
        resource = change.resource
        if not required and await self._is_free(tx, declared(resource), keep):
            return []
        return await self.issues(tx, Task(resource, required, self._policy.unknown), keep=keep)

    def _conforms(self, known: Known, change: Change, required: tuple[str, ...]) -> bool:
        """Whether a resource certainly conforms to all its profiles, and there is nothing to say of unknown ones."""
        resource = change.resource
        if not quick.is_plain(resource, change.version.body):
            return False
        meta = resource.get("meta")
        given = meta.get("profile", []) if meta.__class__ is dict else []
        if given.__class__ is not list or len(given) > MOST_DECLARED or not quick.conforms(known, resource, given):
            return False
        if any(known.profiles.get(canonical) is None for canonical in required):
            return False
        unknown = self._policy.unknown
        is_said = unknown == "ignore" or (unknown == "warn" and change.version.type in self._told)
        if not is_said and any(known.profiles[canonical] is None for canonical in given):
            return False
        return quick.conforms(known, resource, required)


def declares(resource: Resource) -> bool:
    """Whether a resource, or one inside of it, says which profiles it conforms to."""
    if "profile" in resource.get("meta", ()):
        return True
    if "contained" in resource or resource["resourceType"] == "Bundle":
        return any(True for _ in declared(resource))
    return False


def _declares(change: Change) -> bool:
    return declares(change.resource) if change.declared is None else bool(change.declared)


def declared(resource: Resource) -> Iterator[str]:
    """Yield the profiles that a resource and those inside of it declare."""
    for item, _ in resources_of(resource):
        meta = item.node.value.get("meta")
        given = meta.get("profile") if meta.__class__ is dict else None
        yield from (text for text in (given if given.__class__ is list else ()) if text.__class__ is str)


def run_once(known: Known, task: Task) -> Run:
    """Check a resource by what is known."""
    resource = task.resource
    run = Run(known, resource, resource, Budget(resource), entries=entries_of(resource))
    try:
        for item, root in resources_of(resource):
            within = replace(run, root=root, resource=item.node.value)  # what is found and spent is shared
            _check_declared(within, item, task.unknown)
            if item.node.value is resource:
                for canonical in task.named:
                    _check_named(within, item, canonical)
            check_extensions(within, item)
        if task.advises:
            for item, _ in resources_of(resource):
                advise(run, item)
                if item.node.type == "StructureDefinition":
                    advise_definition(run, item)
    except Enough:
        _cut(run)
    return run


def _cut(run: Run) -> None:
    if len(run.issues) > 2 * MOST_ISSUES:
        errors = [issue for issue in run.issues if issue.severity == "error"]
        run.issues[:] = [
            *errors[:MOST_ISSUES],
            Issue("too-costly", "There are more errors than the 100 that are shown."),
        ]
    else:
        text = "Checking this against these profiles costs too much; split the resource, or use simpler profiles."
        run.issues.append(Issue("too-costly", text))


def _check_declared(run: Run, item: Item, unknown: str) -> None:
    """Check a resource against the profiles that it declares."""
    meta = item.node.value.get("meta")
    declared = meta.get("profile") if meta.__class__ is dict else None
    given = declared if declared.__class__ is list else []
    if len(given) > MOST_DECLARED:
        run.report("too-costly", "More than 50 profiles are declared.", f"{item.where}.meta.profile")
    for number, canonical in enumerate(given[:MOST_DECLARED]):
        where = f"{item.where}.meta.profile[{number}]"
        if text_of(canonical) and not _check_against(run, item, canonical, where) and unknown != "ignore":
            severity = "error" if unknown == "refuse" else "warning"
            run.report(
                "not-found",
                "This profile, or one that it is built on, is not known here, so it was not checked.",
                where,
                severity,
            )


def _check_named(run: Run, item: Item, canonical: str) -> None:
    if not _check_against(run, item, canonical, item.where):
        text = (
            "A profile that this resource must conform to is not known here, or cannot be used: load it as a "
            "StructureDefinition; $validate of that says what is wrong with it."
        )
        run.report("not-found", text, item.where)


def _check_against(run: Run, item: Item, canonical: str, where: str) -> bool:
    """Check against a profile, or a type of R4 named as one; return False where it is not known."""
    name = bare(canonical).removeprefix(STRUCTURES)
    if is_structure(name):
        if name not in ancestors(item.node.type):
            run.report("structure", f"This profile is for {name}.", where)
        return True
    profile = run.profile(canonical)
    if profile is not None:
        check(run, profile, item)
    return profile is not None or canonical in run.missing_profiles


def resources_of(resource: Resource) -> Iterator[tuple[Item, Resource]]:
    """Yield a resource and those inside of it, each with its `%rootResource`."""
    yield from _own(resource, text_of(resource.get("resourceType")))
    entries = resource.get("entry") if resource.get("resourceType") == "Bundle" else None
    for number, entry in enumerate(_dicts(entries)):
        held = entry.get("resource")
        if held.__class__ is dict:
            yield from _own(held, f"Bundle.entry[{number}].resource")


def _own(resource: Resource, where: str) -> Iterator[tuple[Item, Resource]]:
    yield Item(Node(resource, text_of(resource.get("resourceType"))), where), resource
    for number, held in enumerate(_dicts(resource.get("contained"))):
        yield Item(Node(held, text_of(held.get("resourceType"))), f"{where}.contained[{number}]"), resource


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if item.__class__ is dict] if value.__class__ is list else []
