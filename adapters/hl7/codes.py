"""Local codes: what a sender's own codes stand for, from the hub's ConceptMap resources.

Every active ConceptMap whose group's source is a sender's code system is used: `urn:predmp:facility:<MSH-4>:codes`
(with the coding system's name behind it where the message gives one), or `urn:predmp:facility:<MSH-4>` for
any code system of that sender; an OID (`urn:oid:`); the name as it stands in the message (`99LAB`); or a table of
HL7 (`http://terminology.hl7.org/CodeSystem/v2-0004`), whose rows it overrides. Where the map's own source
(`sourceUri`) is `urn:predmp:facility:<MSH-4>`, only that sender's messages use it. Maps between public code systems
(SNOMED CT to ICD-10, say) are used only where their source so names a sender: nobody asked for them here.

The sender's own coding always stays; the target is added. Source of the equivalences:
https://hl7.org/fhir/R4/valueset-concept-map-equivalence.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from adapters.hl7.maps.tables import Target, number, table

ROOT: Final = "urn:predmp:facility:"
TABLES: Final = "http://terminology.hl7.org/CodeSystem/v2-"
TABLE_OIDS: Final = "urn:oid:2.16.840.1.113883.12."

TAKEN: Final = frozenset({"equal", "equivalent", "wider", "subsumes"})
"""The target says no more than the source does."""

INEXACT: Final = frozenset({"inexact", "relatedto"})
"""The target overlaps: it is added, and noted."""

DECLARED: Final = frozenset({"unmatched", "disjoint"})
"""The map says that there is no target: it is not looked for elsewhere, and not counted as missing."""


class Mapped(NamedTuple):
    """One target of a code."""

    target: Target
    equivalence: str
    map: str  # url of the ConceptMap, else its id


class Answer(NamedTuple):
    """What the maps say of one code."""

    targets: tuple[Mapped, ...] = ()
    rule: str = ""  # what is to be noted
    is_declared: bool = False  # a map says that there is no target


NOTHING: Final = Answer()


@dataclass(frozen=True, slots=True)
class Codes:
    """The rows of all maps: (source, code) -> (the sender it is for, or "" for all; the target)."""

    rows: Mapping[tuple[str, str], tuple[tuple[str, Mapped], ...]] = field(default_factory=dict)
    fixed: Mapping[str, tuple[tuple[str, Mapped], ...]] = field(default_factory=dict)  # of codes without a row
    systems: frozenset[str] = frozenset()  # all sources, so that most codes need one look
    unused: tuple[tuple[str, str], ...] = ()  # (map, why) of parts that cannot be used

    def __bool__(self) -> bool:
        """Whether there is any map."""
        return bool(self.systems)

    def answer(self, facility: str, sources: Sequence[str], code: str, *, to: frozenset[str] | None = None) -> Answer:
        """Return what the maps say.

        Args:
            facility: Of the sender, as a urn part.
            sources: Names of the code's system, the most exact first.
            code: The code as sent.
            to: Systems of which one is wanted; None: any.
        """
        if self.systems.isdisjoint(sources):
            return NOTHING
        for source in sources:
            found = self.rows.get((source, code)) or self.fixed.get(source, ())
            own = [m for sender, m in found if sender == facility] or [m for sender, m in found if not sender]
            if fit := [m for m in own if to is None or m.target.system in to or m.equivalence in DECLARED]:
                return _judge(fit)
        return NOTHING


def _judge(found: Sequence[Mapped]) -> Answer:
    """Keep the targets that say no more than the code does; two maps that differ answer nothing."""
    good = [m for m in found if m.equivalence in TAKEN] or [m for m in found if m.equivalence in INEXACT]
    if not good:
        declared = all(m.equivalence in DECLARED for m in found)
        return Answer(rule="" if declared else "code-map-narrower", is_declared=declared)
    by_system: dict[str, dict[str, set[str]]] = {}
    for mapped in good:
        by_system.setdefault(mapped.target.system, {}).setdefault(mapped.map, set()).add(mapped.target.code)
    if any(len({frozenset(codes) for codes in maps.values()}) > 1 for maps in by_system.values()):
        return Answer(rule="code-map-ambiguous")
    rule = "" if good[0].equivalence in TAKEN else "code-mapped-inexactly"
    return Answer(tuple({mapped.target[::2]: mapped for mapped in good}.values()), rule)


NO_CODES: Final = Codes()


def sources_of(system: str, name: str, facility: str) -> tuple[str, ...]:
    """Return the names under which a map may know a coding's system, the most exact first.

    Args:
        system: As it stands in FHIR; "" where the message names none.
        name: As it stands in the message (HL7 table 0396); "" where it names none.
        facility: Of the sender, as a urn part.
    """
    root = ROOT + facility
    local = (f"{root}:codes", root) if not system or system.startswith(root) else ()
    return tuple(dict.fromkeys(each for each in (system, name, *local) if each))


def table_sources(name: str, facility: str) -> tuple[str, ...]:
    """Return the names under which a map may know a table of HL7, by the guide's name of it."""
    found = number(name)
    root = ROOT + facility
    return (TABLES + found, f"{TABLE_OIDS}{int(found)}", f"HL7{found}", f"{root}:codes", root) if found else ()


def table_systems(name: str) -> frozenset[str]:
    """Return the code systems that a table's targets are of."""
    return frozenset(target.system for target in table(name).values())


def read(maps: Iterable[Mapping[str, Any]]) -> Codes:
    """Compile ConceptMaps; what cannot be used is listed with its reason."""
    rows: dict[tuple[str, str], list[tuple[str, Mapped]]] = {}
    fixed: dict[str, list[tuple[str, Mapped]]] = {}
    unused: list[tuple[str, str]] = []
    for resource in maps:
        name = str(resource.get("url") or f"ConceptMap/{resource.get('id', '')}")
        sender = sender_of(resource)
        for group in resource.get("group", ()):
            source = group.get("source", "")
            if not _is_local(source, sender):
                continue
            for code, mapped in _elements(group, name, unused):
                rows.setdefault((source, code), []).append((sender, mapped))
            if rest := _fixed(group, name, unused):
                fixed.setdefault(source, []).append((sender, rest))
    return Codes(
        {key: tuple(found) for key, found in rows.items()},
        {key: tuple(found) for key, found in fixed.items()},
        frozenset([source for source, _ in rows] + list(fixed)),
        tuple(dict.fromkeys(unused)),
    )


def sender_of(resource: Mapping[str, Any]) -> str:
    """Return the sender whom a map is for, as a urn part; "" for all."""
    source = str(resource.get("sourceUri") or resource.get("sourceCanonical") or "")
    return source.removeprefix(ROOT).partition(":")[0] if source.startswith(ROOT) else ""


def is_for_senders(resource: Mapping[str, Any]) -> bool:
    """Whether a ConceptMap is active and some group of it is about senders' codes."""
    sender = sender_of(resource)
    groups = resource.get("group", ())
    return resource.get("status") == "active" and any(_is_local(group.get("source", ""), sender) for group in groups)


def _is_local(source: str, sender: str) -> bool:
    """Whether a group's source is what a message's sender calls its codes."""
    if not source:
        return False
    return bool(sender) or source.startswith((ROOT, TABLES, "urn:oid:")) or ":" not in source


def _elements(group: Mapping[str, Any], name: str, unused: list[tuple[str, str]]) -> Iterator[tuple[str, Mapped]]:
    system = group.get("target", "")
    for element in group.get("element", ()):
        code = " ".join(str(element.get("code", "")).split())
        for target in element.get("target", ()):
            equivalence = str(target.get("equivalence", ""))
            if target.get("dependsOn") or target.get("product"):
                unused.append((name, "dependsOn and product are not followed"))
            elif equivalence in DECLARED:
                yield code, Mapped(Target("", "", system), equivalence, name)
            elif not system or not target.get("code"):
                unused.append((name, "a target without a code or a code system"))
            elif code:
                made = Target(str(target["code"]), str(target.get("display", "")), system)
                yield code, Mapped(made, equivalence, name)


def _fixed(group: Mapping[str, Any], name: str, unused: list[tuple[str, str]]) -> Mapped | None:
    """Return what stands for every code without a row."""
    unmapped, system = group.get("unmapped"), group.get("target", "")
    if not unmapped:
        return None
    if unmapped.get("mode") != "fixed" or not unmapped.get("code") or not system:
        unused.append((name, "of unmapped only the mode fixed is followed"))
        return None
    return Mapped(Target(str(unmapped["code"]), str(unmapped.get("display", "")), system), "inexact", name)
