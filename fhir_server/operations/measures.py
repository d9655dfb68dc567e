"""The measurements that statistics are about: values of Observations, of their components and of their members.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation-operation-stats.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server.model import Resource
from fhir_server.operations.statistics import Point
from fhir_server.ucum import convert

UCUM: Final = "http://unitsofmeasure.org"
Code: TypeAlias = tuple["str | None", str]  # system and code; None: any system. Of a text: "" and the text


class Measurement(NamedTuple):
    """A value of an Observation, or that it has none to count."""

    source: str  # id of the Observation
    place: int  # of its component; -1: its own value
    at: int | None
    value: Fraction | None
    unit: str
    problem: str  # why it has no value to count; "" where it has one


@dataclass(slots=True)
class Group:
    """All measurements of one code."""

    concept: dict[str, Any]  # how the code is written in the answer
    is_asked: bool  # whether the code itself was asked for, else it is a part of a panel that was
    found: dict[tuple[str, int], Measurement] = field(default_factory=dict)

    def add(self, measurement: Measurement) -> None:
        """Take a measurement; the same one may be reached in several ways."""
        self.found[measurement.source, measurement.place] = measurement

    @property
    def unit(self) -> str:
        """The unit of most values; of several the one that was used last."""
        counted = Counter(m.unit for m in self.found.values() if m.value is not None)
        last = {m.unit: m.at or 0 for m in sorted(self.found.values(), key=lambda m: m.at or 0) if m.value is not None}
        return max(counted, key=lambda unit: (counted[unit], last[unit], unit), default="")

    def points(self, unit: str) -> tuple[list[Point], set[str], Counter[str]]:
        """Return the values in a unit, their Observations, and how many were left out for which reason."""
        made: list[Point] = []
        sources: set[str] = set()
        problems: Counter[str] = Counter()
        for one in self.found.values():
            value = convert(one.value, one.unit, unit) if one.value is not None else None
            if value is not None:
                made.append(Point(value, one.at))
                sources.add(one.source)
            else:
                problems[one.problem or f"are in {one.unit}, which does not convert to {unit}"] += 1
        return made, sources, problems


def measurement(source: Resource, part: Resource, place: int, at: int | None) -> Measurement:
    """Read the value of an Observation (`place` -1) or of a component."""
    id, quantity = str(source.get("id", "")), part.get("valueQuantity")
    number = quantity.get("value") if isinstance(quantity, dict) else None
    problem = ""
    if "modifierExtension" in source or "modifierExtension" in part:
        problem = "have a modifier extension, which may change what the value means"
    elif not isinstance(quantity, dict) or not isinstance(number, (int, Decimal)):
        problem = "have no quantity"
    elif "comparator" in quantity:
        problem = "are below or above a bound, not at a value"
    elif quantity.get("system") != UCUM or not quantity.get("code"):
        problem = "have no UCUM unit"
    if problem or number is None or not isinstance(quantity, dict):
        return Measurement(id, place, at, None, "", problem)
    return Measurement(id, place, at, Fraction(number), str(quantity["code"]), "")


def has_code(part: Resource, code: Code) -> bool:
    """Whether an Observation or component is of a code."""
    system, wanted = code
    codings = (part.get("code") or {}).get("coding", ())
    return any(
        each.get("code") == wanted and system in (None, each.get("system", "")) for each in codings if each is not None
    )


def own_code(part: Resource) -> tuple[Code, dict[str, Any]]:
    """Return the code that a part of a panel is grouped by: its first coding, else its text."""
    concept = part.get("code") or {}
    for each in concept.get("coding", ()):
        if each and each.get("code"):
            return (each.get("system", ""), each["code"]), {"coding": [each]}
    text = str(concept.get("text", ""))
    return ("", text), {"text": text}


class Groups:
    """Measurements by code, in the order in which codes were asked for and then found.

    Args:
        asked: The codes.
    """

    def __init__(self, asked: Iterable[Code]) -> None:
        self._groups: dict[Code, Group] = {}
        for system, code in asked:
            coding = {"system": system, "code": code} if system else {"code": code}
            self._groups[system, code] = Group({"coding": [coding]}, is_asked=True)

    def add(self, source: Resource, at: int | None, members: Iterable[tuple[Resource, int | None]]) -> None:
        """Take an Observation, and the members that its panel has."""
        members = list(members)
        components = [each for each in source.get("component", ()) if isinstance(each, dict)]
        for code, group in list(self._groups.items()):
            if not group.is_asked:
                continue
            if has_code(source, code):
                if not (components or members) or "valueQuantity" in source:
                    group.add(measurement(source, source, -1, at))
                self._panel(source, components, at)
                for member, time in members:
                    self._part(member, member, -1, time)
                    self._panel(member, [c for c in member.get("component", ()) if isinstance(c, dict)], time)
            for place, component in enumerate(components):
                if has_code(component, code):
                    group.add(measurement(source, component, place, at))

    def _panel(self, source: Resource, components: list[Resource], at: int | None) -> None:
        for place, component in enumerate(components):
            self._part(source, component, place, at)

    def _part(self, source: Resource, part: Resource, place: int, at: int | None) -> None:
        """Put a part of a panel where its code was asked for, else into a group of its own."""
        asked = [group for code, group in self._groups.items() if group.is_asked and has_code(part, code)]
        if not asked:
            code, concept = own_code(part)
            asked = [self._groups.setdefault(code, Group(concept, is_asked=False))]
        if place < 0 and "component" in part and "valueQuantity" not in part:
            return
        for group in asked:
            group.add(measurement(source, part, place, at))

    def written(self) -> list[Group]:
        """Return the groups that have something to tell; an asked panel without values of its own gives its parts."""
        parts = any(group.found for group in self._groups.values() if not group.is_asked)
        found = [group for group in self._groups.values() if group.found or (group.is_asked and not parts)]
        return found or list(self._groups.values())
