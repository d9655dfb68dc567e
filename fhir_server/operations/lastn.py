"""`Observation/$lastn`: the newest Observations of each code.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fhir_server.errors import BadParameter, BadRequest, Issue, TooCostly, UnknownParameter
from fhir_server.identity.candidates import escape
from fhir_server.interactions import bundle
from fhir_server.interactions.core import Hub
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Version, Visibility
from fhir_server.operations.inputs import COMMON, Inputs, read_body, whole
from fhir_server.operations.latest import Latest, Seen, see
from fhir_server.search.parameters import parameter
from fhir_server.search.query import Ask, Clause, Match, Query, Sort
from fhir_server.search.values import Reference, Token
from fhir_server.settings import Settings
from fhir_server.store.protocol import View

MOST_WANTED: Final = 1_000  # of a group
MOST_WALKED: Final = 100_000  # Observations that one call goes through
MOST_GIVEN: Final = 5_000
_PAGE: Final = 1_000

_SUBJECTS: Final = ("patient", "subject")
# category, and the parameters "that contain a code element in their FHIRpath expression"
_CODES: Final = re.compile(r"category|code|(combo|component)-code|(code|combo-code|component-code)-value-[a-z]+")
_NOT_TAKEN: Final = frozenset(
    {"_sort", "_count", "_cursor", "_include", "_revinclude", "_total", "_totalMethod", "_contained"}
)


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `Observation/$lastn`."""
    return (
        Operation(
            name="lastn",
            type="Observation",
            instance=False,
            methods=("GET", "POST"),
            needs="r",
            run=LastN(hub, ZoneInfo(settings.zone)).run,
            documentation="The newest `max` Observations of each code, of a subject and a category or codes.",
            definition="http://hl7.org/fhir/OperationDefinition/Observation-lastn",
        ),
    )


class LastN:
    """Answers `$lastn`.

    Args:
        hub: The core.
        zone: Of dates that name none.
    """

    def __init__(self, hub: Hub, zone: ZoneInfo) -> None:
        self._hub, self._zone = hub, zone

    async def run(self, call: OperationCall) -> Answer:
        """Return a searchset Bundle, group by group, each newest first.

        Raises:
            BadRequest: No subject, or neither a category nor a code is asked for.
            TooCostly: More Observations match than one call goes through, or more would be given.
        """
        if not call.actor.may("s", "Observation"):
            raise forbidden()
        pairs, most = _pairs(call)
        query = self._hub.query("Observation", pairs, call.preferences.get("handling") == "lenient")
        date = parameter("Observation", "date")
        assert date is not None
        walked = replace(query, sort=(Sort(date, descending=True),), count=_PAGE, total="none", includes=())
        async with self._hub.store.view(call.actor.tenant) as view:
            sight = await self._hub.see(view, call.actor)
            groups = await self._newest(view, walked, sight, most)
        found = [seen.version for group in groups for seen in group]
        shown = [] if query.summary == "count" else found
        if len(found) > MOST_GIVEN:
            raise TooCostly(f"More than {MOST_GIVEN} Observations would be given: ask for a smaller max, or by code.")
        owners = tuple(sorted({owner for version in found for owner in version.owners}))
        text = urlencode([*pairs, ("max", str(most))])
        self._hub.audit(call.actor, "E", "$lastn", "Observation", owners, 0, call.request_id, text)
        link = f"{self._hub.base_url}/Observation/$lastn?{urlencode([*query.text, ('max', most)], safe=':,/')}"
        notes = [Issue("not-supported", f"The parameter {n} was ignored.", severity="warning") for n in query.ignored]
        body = bundle.searchset(
            self._hub.base_url, shown, (), query=query, total=len(found), links=[("self", link)], notes=notes
        )
        return Answer(200, body=body)

    async def _newest(self, view: View, query: Query, sight: Visibility, most: int) -> list[list[Seen]]:
        latest = Latest(most)
        is_one_group = await _is_one_group(view, query, sight)
        # Several groups are told apart only over all that matches, for which the order does not matter.
        walked = query if is_one_group else replace(query, sort=())
        async for version in _walk(view, walked, sight, first=most + 1 if is_one_group else _PAGE):
            if not is_one_group:
                latest.take(version, self._zone)
                continue
            seen = see(version, self._zone)
            if latest.is_settled(seen):
                break
            latest.add(seen)
        return latest.groups()


def _pairs(call: OperationCall) -> tuple[list[tuple[str, str]], int]:
    """Return the search parameters and `max`; raise where the call does not say enough, or what is not taken."""
    given: list[tuple[str, object]] = [(name, value) for name, values in call.parameters.items() for value in values]
    given += [(name, _written(name, value)) for name, value in read_body(call)]
    inputs: Inputs = {"max": [value for name, value in given if name == "max"]}
    pairs = [(name, str(value)) for name, value in given if name != "max" and name not in COMMON]
    bases = [re.split("[:.]", name, maxsplit=1)[0] for name, _ in pairs]
    for base in bases:
        if base in _NOT_TAKEN:
            raise UnknownParameter(f"$lastn does not take the parameter '{base}'.")
    if not set(bases) & set(_SUBJECTS):
        if not call.actor.patient:
            raise BadRequest("$lastn needs a subject: patient=ID or subject=Type/ID.")
        pairs.append(("patient", f"Patient/{call.actor.patient}"))
    if not any(_CODES.fullmatch(base) for base in bases):
        raise BadRequest("$lastn needs a category, or a parameter about codes such as code.")
    return pairs, whole(inputs, "max", default=1, most=MOST_WANTED)


def _written(name: str, value: Any) -> str:
    """Return a value of a body as a search parameter has it; raise BadParameter for what none takes."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | Decimal):
        return str(value)
    if isinstance(value, dict):
        if isinstance(reference := value.get("reference"), str):
            return reference
        system, code = value.get("system", ""), value.get("code", value.get("value"))
        if isinstance(system, str) and isinstance(code, str):  # a Coding, or an Identifier
            return f"{escape(system)}|{escape(code)}" if system else escape(code)
    shown = "".join(c if c.isprintable() else "?" for c in name[:60])
    raise BadParameter(f"The parameter '{shown}' is text, a number, a reference, a Coding or an Identifier.")


async def _is_one_group(view: View, query: Query, sight: Visibility) -> bool:
    """Whether all that matches is of one subject and shares a coding, so that the newest can be read off the index."""
    if not any(_is_of_one(clause) for clause in query.where):
        return False
    for clause in query.where:
        if not isinstance(clause, Match) or clause.parameter.code != "code" or clause.modifier:
            continue
        asked = clause.asks[0].value
        if len(clause.asks) != 1 or not isinstance(asked, Token) or asked.code is None:
            continue
        if asked.system is not None or await _has_one_system(view, query, sight, clause, asked.code):
            return True
    return False


def _is_of_one(clause: Clause) -> bool:
    """Whether a clause asks for a single subject."""
    return (
        isinstance(clause, Match)
        and clause.parameter.code in _SUBJECTS
        and not clause.modifier
        and len(clause.asks) == 1
        and isinstance(clause.asks[0].value, Reference)
        and bool(clause.asks[0].value.type)
    )


async def _has_one_system(view: View, query: Query, sight: Visibility, clause: Match, code: str) -> bool:
    """Whether a code asked for without its system stands for one coding in all that matches."""
    newest = (await view.search(replace(query, count=1), see=sight)).versions
    if not newest:
        return True
    systems = {system for _, system, own in see(newest[0], ZoneInfo("UTC")).codes if own == code}
    if len(systems) != 1:
        return False
    other: Clause = replace(clause, asks=(Ask(Token(systems.pop(), code)),), modifier="not")
    return not (await view.search(replace(query, where=(*query.where, other), sort=(), count=1), see=sight)).versions


async def _walk(view: View, query: Query, sight: Visibility, *, first: int) -> AsyncIterator[Version]:
    """Yield all that matches, newest first; others are served between its pages."""
    asked, walked = replace(query, count=min(first, _PAGE)), 0
    while True:
        found = await view.search(asked, see=sight)
        for version in found.versions:
            yield version
        walked += len(found.versions)
        if found.after is None:
            return
        if walked >= MOST_WALKED:
            raise TooCostly(f"More than {MOST_WALKED} Observations match: narrow them by date, or ask for one code.")
        asked = replace(query, after=found.after)
        await asyncio.sleep(0)
