"""`Observation/$stats`: statistics of measurements, exact and in one unit.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation-operation-stats.html
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Issue, TooCostly
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Resource, Version, Visibility
from fhir_server.operations import statistics
from fhir_server.operations.inputs import Inputs, decimal, element, flag, read_inputs, text, texts, whole
from fhir_server.operations.latest import see
from fhir_server.operations.measures import UCUM, Code, Group, Groups
from fhir_server.operations.references import References
from fhir_server.outcome import outcome
from fhir_server.search.query import Query
from fhir_server.settings import Settings
from fhir_server.store.protocol import View
from fhir_server.store.visibility import is_visible

MOST_MEASURED: Final = 100_000  # Observations that one call goes through
MOST_CODES: Final = 50
MOST_SOURCES: Final = 1_000
_PAGE: Final = 1_000
_HOUR: Final = 3_600_000_000  # microseconds
_MOST_HOURS: Final = 1_000_000
_INPUTS: Final = frozenset(
    {"subject", "code", "system", "coding", "duration", "period", "statistic", "include", "limit"}
)
_SUBJECT: Final = re.compile(r"(?P<type>(?:https?://[^\s,|?#]{1,500}/)?[A-Z][A-Za-z]{1,60}/)?[A-Za-z0-9.\-]{1,64}")
# The definition of the parameter names these two so, the code system otherwise.
_ALIASES: Final = {"max": "maximum", "min": "minimum"}


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `Observation/$stats`."""
    return (
        Operation(
            name="stats",
            type="Observation",
            instance=False,
            methods=("GET", "POST"),
            needs="r",
            run=Stats(hub, ZoneInfo(settings.zone)).run,
            documentation="Statistics of a subject's measurements by code, over a period; exact, units converted.",
            definition="http://hl7.org/fhir/OperationDefinition/Observation-stats",
        ),
    )


class Asked(NamedTuple):
    """What a call asks for."""

    subject: str
    codes: tuple[Code, ...]
    statistics: tuple[str, ...]
    start: str  # FHIR dates; "" open
    end: str
    include: bool
    limit: int


class Stats:
    """Answers `$stats`.

    Args:
        hub: The core.
        zone: Of dates that name none.
    """

    def __init__(self, hub: Hub, zone: ZoneInfo) -> None:
        self._hub, self._zone = hub, zone
        self._references = References(hub.base_url)

    async def run(self, call: OperationCall) -> Answer:
        """Return Parameters: one Observation for each code, the sources where wanted, and what was left out.

        Raises:
            BadRequest, BadParameter: A parameter is missing or cannot be read.
            TooCostly: There are more Observations than one call goes through.
        """
        if not call.actor.may("s", "Observation"):
            raise forbidden()
        asked = self._read(read_inputs(call, _INPUTS))
        sources: dict[str, Version] = {}
        async with self._hub.store.view(call.actor.tenant) as view:
            sight = await self._hub.see(view, call.actor)
            groups = Groups(asked.codes)
            async for version in self._observations(view, sight, asked):
                sources[version.id] = version
                await self._add(view, sight, groups, version, sources)
        owners = tuple(sorted({owner for version in sources.values() for owner in version.owners}))
        query = urlencode({"subject": asked.subject, "code": ",".join(code for _, code in asked.codes)})
        self._hub.audit(call.actor, "E", "$stats", "Observation", owners, 0, call.request_id, query)
        return Answer(200, self._written(asked, groups.written(), sources))

    # --- what is asked ------------------------------------------------------------------------------------

    def _read(self, inputs: Inputs) -> Asked:
        subject = _subject(text(inputs, "subject"))
        codes = _codes(inputs)
        wanted = [_ALIASES.get(s, s) for value in texts(inputs, "statistic") for s in value.split(",")]
        if not wanted or not set(wanted) <= set(statistics.CODES):
            raise BadParameter(f"A statistic is one of {', '.join(statistics.CODES)}.")
        start, end = self._period(inputs)
        limit = whole(inputs, "limit", default=MOST_SOURCES, most=MOST_SOURCES)
        return Asked(subject, codes, tuple(dict.fromkeys(wanted)), start, end, flag(inputs, "include"), limit)

    def _period(self, inputs: Inputs) -> tuple[str, str]:
        hours, period = decimal(inputs, "duration"), element(inputs, "period")
        if hours is not None and period is not None:
            raise BadRequest("Give a duration or a period, not both.")
        if hours is not None:
            if not 0 < hours <= _MOST_HOURS:
                raise BadParameter("A duration is a number of hours above 0.")
            now = self._hub.now()
            return write_instant(now - int(hours * _HOUR)), write_instant(now)
        given = period or {}
        start, end = given.get("start", ""), given.get("end", "")
        if not isinstance(start, str) or not isinstance(end, str):
            raise BadParameter("A period has a start and an end, which are dates.")
        return start, end

    # --- what is measured ---------------------------------------------------------------------------------

    async def _observations(self, view: View, sight: Visibility, asked: Asked) -> AsyncIterator[Version]:
        """Yield the Observations of the codes in the period, those that are of it by a component too."""
        codes = ",".join(_escaped(code) if system is None else f"{_escaped(system)}|{_escaped(code)}"
                         for system, code in asked.codes)  # fmt: skip
        common = [("subject", _escaped(asked.subject))]
        common += [("date", f"{p}{at}") for p, at in (("ge", asked.start), ("le", asked.end)) if at]
        seen: set[str] = set()
        for name in ("code", "component-code"):
            query = self._hub.query("Observation", [*common, (name, codes)])
            async for version in _pages(view, replace(query, count=_PAGE, total="none"), sight):
                if version.id not in seen:
                    seen.add(version.id)
                    if len(seen) > MOST_MEASURED:
                        raise TooCostly(f"There are more than {MOST_MEASURED} Observations: ask for a shorter period.")
                    yield version

    async def _add(
        self, view: View, sight: Visibility, groups: Groups, version: Version, sources: dict[str, Version]
    ) -> None:
        resource = gate.load(version.body)
        if resource.get("status") == "entered-in-error":
            return
        members = []
        for type, id in self._references.of({"hasMember": resource.get("hasMember", [])}):
            member = await view.read(type, id) if type == "Observation" else None
            if member is None or member.is_deleted or not is_visible(member, sight):
                continue
            found = gate.load(member.body)
            if found.get("status") != "entered-in-error" and found.get("subject") == resource.get("subject"):
                sources[member.id] = member
                if len(sources) > 2 * MOST_MEASURED:
                    raise TooCostly("The panels have too many members: ask for a shorter period.")
                members.append((found, see(member, self._zone).begin))
        groups.add(resource, see(version, self._zone).begin, members)

    # --- what is answered ---------------------------------------------------------------------------------

    def _written(self, asked: Asked, groups: list[Group], sources: dict[str, Version]) -> Resource:
        items: list[dict[str, Any]] = []
        issues: list[Issue] = []
        used: set[str] = set()
        for group in groups:
            unit = group.unit
            points, ids, problems = group.points(unit)
            used |= ids
            origin = self._origin(asked, points)
            sample = statistics.Sample(points, len(group.found), unit, origin)
            items.append({"name": "statistics", "resource": _observation(asked, group, sample)})
            name = group.concept.get("text") or group.concept["coding"][0]["code"]
            issues += [Issue("incomplete", f"{number} measurements of {name} {problem}; they are left out.",
                             severity="warning") for problem, number in problems.items()]  # fmt: skip
        if asked.include:
            newest = sorted(used, key=lambda id: see(sources[id], self._zone).rank, reverse=True)
            items += [{"name": "source", "resource": gate.load(sources[id].body)} for id in newest[: asked.limit]]
            if len(newest) > asked.limit:
                issues.append(Issue("incomplete", f"The newest {asked.limit} of {len(newest)} sources are given.",
                                    severity="information"))  # fmt: skip
        if issues:
            items.append({"name": "outcome", "resource": outcome(issues)})
        return {"resourceType": "Parameters", "parameter": items}

    def _origin(self, asked: Asked, points: list[statistics.Point]) -> int:
        """Return where the days of a regression begin: with the period, or with the first measurement."""
        if asked.start:
            clause: Any = self._hub.query("Observation", [("date", f"ge{asked.start}")]).where[0]
            return int(clause.asks[0].value.lo)
        return min((point.at for point in points if point.at is not None), default=0)


def _subject(given: str) -> str:
    """Return the one subject that is asked about, as a reference; an id by itself is a Patient's.

    Raises:
        BadRequest: It is none, or several: measurements of two patients have no common average.
    """
    found = _SUBJECT.fullmatch(given)
    if found is None:
        raise BadRequest("$stats needs one subject, e.g. Patient/123.")
    return given if found["type"] else f"Patient/{given}"


def _codes(inputs: Inputs) -> tuple[Code, ...]:
    """Read `code` with `system`, and `coding` (in a URL as system|code)."""
    system = text(inputs, "system") or None
    found: list[Code] = []
    for value in texts(inputs, "code"):
        for each in value.split(","):
            head, bar, tail = each.partition("|")
            found.append((head, tail) if bar else (system, each))
    for value in inputs.get("coding", []):
        if isinstance(value, str) and "|" in value:
            head, _, tail = value.partition("|")
            found.append((head, tail))
        elif isinstance(value, dict) and isinstance(value.get("code"), str):
            found.append((value.get("system", ""), value["code"]))
        else:
            raise BadParameter("A coding has a code.")
    if not found or len(found) > MOST_CODES or not all(code for _, code in found):
        raise BadRequest(f"$stats needs 1 to {MOST_CODES} codes: code with system, or coding.")
    return tuple(dict.fromkeys(found))


def _escaped(value: str) -> str:
    """Escape a text as R4 asks for in search parameters."""
    for mark in "\\,|$":
        value = value.replace(mark, "\\" + mark)
    return value


async def _pages(view: View, query: Query, sight: Visibility) -> AsyncIterator[Version]:
    after: tuple[object, ...] | None = None
    while True:
        found = await view.search(replace(query, after=after), see=sight)
        for version in found.versions:
            yield version
        if (after := found.after) is None:
            return
        await asyncio.sleep(0)  # others are served between pages


def _observation(asked: Asked, group: Group, sample: statistics.Sample) -> Resource:
    made: Resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": group.concept,
        "subject": {"reference": asked.subject},
    }
    period = {name: value for name, value in (("start", asked.start), ("end", asked.end)) if value}
    if period:
        made["effectivePeriod"] = period
    made["component"] = [
        _component(code, figure) for code in asked.statistics for figure in statistics.figures(code, sample)
    ]
    return made


def _component(code: str, figure: statistics.Figure) -> dict[str, Any]:
    concept: dict[str, Any] = {"coding": [{"system": statistics.SYSTEM, "code": code}]}
    if figure.text:
        concept["text"] = figure.text
    if figure.value is None:
        absent = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "not-a-number"}
        return {"code": concept, "dataAbsentReason": {"coding": [absent]}}
    quantity: dict[str, Any] = {"value": figure.value}
    if figure.unit:
        quantity |= {"unit": figure.unit, "system": UCUM, "code": figure.unit}
    return {"code": concept, "valueQuantity": quantity}
