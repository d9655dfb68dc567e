"""Whether one provision is about who asks, and about a resource: yes, no, or cannot be said.

What cannot be said never makes a permission and never unmakes a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from consent.codes import (
    ACTION,
    CONFIDENTIALITY,
    NORMAL,
    PURPOSE,
    PURPOSES,
    RANKS,
    READING,
    RESOURCE_TYPE,
    SENSITIVITY,
    WIDER_THAN_READING,
    Coding,
    covers,
    covers_label,
)
from consent.dates import Span, read_date, read_period
from consent.provisions import Datum, Party, Provision, local

MAIN_CODES: Final = ("code", "medicationCodeableConcept", "vaccineCode")
"""Elements that say what a resource is; a code elsewhere in it only casts doubt."""

AUTHORS: Final = (
    "performer", "author", "recorder", "asserter", "requester", "informationSource", "sender", "creator", "source",
    "practitioner", "reporter", "prescriber", "enterer", "provider", "assessor",
)  # fmt: skip
"""Elements that name who made a resource, each a Reference, a list of them, or a list of elements with `actor`."""

DATES: Final = (
    "effectiveDateTime", "effectivePeriod", "effectiveInstant", "performedDateTime", "performedPeriod",
    "onsetDateTime", "onsetPeriod", "occurrenceDateTime", "occurrencePeriod", "period", "started", "start",
    "collectedDateTime", "authoredOn", "authored", "recordedDate", "assertedDate", "dateTime", "date", "issued",
    "created", "sent", "received",
)  # fmt: skip
"""Elements that say when what a resource tells of took place, the first that is there counts."""


class Tri(IntEnum):
    """An answer; `min` is AND, `max` is OR."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what for."""

    names: frozenset[str]  # references that mean them: themselves, their roles, organisations, care teams
    purpose: str  # v3-PurposeOfUse


def about_asker(provision: Provision, asker: Asker, now: int) -> Tri:
    """Whether a provision is about this asker, purpose and moment, whatever the data."""
    found = Tri.YES if provision.is_understood else Tri.MAYBE
    if provision.period is not None and not provision.period.holds(now):
        return Tri.NO
    if provision.parties is not None:
        found = min(found, _any(_party(party, asker) for party in provision.parties))
    if provision.actions is not None:
        found = min(found, _any(_action(action) for action in provision.actions))
    if provision.purposes is not None:
        found = min(found, _any(_purpose(purpose, asker) for purpose in provision.purposes))
    return found


def about_resource(provision: Provision, resource: dict[str, Any], zone: ZoneInfo, base_url: str) -> Tri:
    """Whether a provision is about this resource, whoever asks."""
    found = Tri.YES
    if provision.labels is not None:
        carried = _labels(resource)
        found = min(found, _any(_label(label, carried, provision.type) for label in provision.labels))
    if provision.classes is not None:
        found = min(found, _any(_class(one, resource) for one in provision.classes))
    if provision.codes is not None:
        main, all_ = _main_codes(resource), frozenset(_all_codes(resource))
        found = min(found, _any(_code(code, main, all_) for code in provision.codes))
    if provision.data_period is not None:
        found = min(found, _dated(provision.data_period, resource, zone))
    if provision.data is not None:
        found = min(found, _any(_datum(datum, resource, base_url) for datum in provision.data))
    return found


def _any(answers: Iterator[Tri]) -> Tri:
    """OR; a criterion without values is no valid one and says nothing."""
    return max(answers, default=Tri.MAYBE)


def _said(yes: bool) -> Tri:
    return Tri.YES if yes else Tri.NO


def _party(party: Party, asker: Asker) -> Tri:
    if not party.reference or not party.is_recipient:
        return Tri.MAYBE
    if party.reference.startswith("Group/"):
        return Tri.MAYBE  # members of groups are not looked up
    return _said(party.reference in asker.names)


def _action(action: Coding) -> Tri:
    if action.system != ACTION or not action.code or action.code in WIDER_THAN_READING:
        return Tri.MAYBE
    return _said(action.code == READING)


def _purpose(purpose: Coding, asker: Asker) -> Tri:
    if purpose.system != PURPOSE or not purpose.code:
        return Tri.MAYBE
    return _said(covers(PURPOSES, purpose.code, asker.purpose))


def _labels(resource: dict[str, Any]) -> frozenset[Coding]:
    security = resource.get("meta", {}).get("security", ())
    return frozenset(Coding(str(one.get("system", "")), str(one.get("code", ""))) for one in security)


def _label(label: Coding, carried: frozenset[Coding], type: str) -> Tri:
    """Permit N means N or lower; deny R means R or higher."""
    if not label.is_whole:
        return Tri.MAYBE
    if label.system == CONFIDENTIALITY and label.code in RANKS:
        rank, most = RANKS[label.code], _confidentiality(carried)
        return Tri.MAYBE if not type else _said(most <= rank if type == "permit" else most >= rank)
    if label.system == SENSITIVITY:
        return _said(any(one.system == SENSITIVITY and covers_label(label.code, one.code) for one in carried))
    return _said(label in carried)


def _confidentiality(carried: frozenset[Coding]) -> int:
    """Return the highest rank among labels; that of N where there is none."""
    ranks = (RANKS.get(one.code) for one in carried if one.system == CONFIDENTIALITY)
    return max((rank for rank in ranks if rank is not None), default=NORMAL)


def _class(one: Coding, resource: dict[str, Any]) -> Tri:
    if one.system != RESOURCE_TYPE or not one.code:
        return Tri.MAYBE
    return _said(one.code == resource.get("resourceType"))


def _code(code: Coding, main: frozenset[Coding], all_: frozenset[Coding]) -> Tri:
    if not code.is_whole:
        return Tri.MAYBE
    if code in main:
        return Tri.YES
    return Tri.MAYBE if code in all_ else Tri.NO


def _main_codes(resource: dict[str, Any]) -> frozenset[Coding]:
    return frozenset(code for name in MAIN_CODES if name in resource for code in _all_codes(resource[name]))


def _all_codes(value: Any) -> Iterator[Coding]:
    """Return every code with a system, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("system"), str) and isinstance(value.get("code"), str):
            yield Coding(value["system"], value["code"])
        for item in value.values():
            yield from _all_codes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _all_codes(item)


def _dated(period: Span, resource: dict[str, Any], zone: ZoneInfo) -> Tri:
    for name in DATES:
        if name in resource:
            value = resource[name]
            span = read_period(value, zone) if isinstance(value, dict) else read_date(value, zone)
            if span is None:
                return Tri.MAYBE
            return Tri.YES if period.holds_all(span) else Tri.MAYBE if period.meets(span) else Tri.NO
    return Tri.MAYBE


def _datum(datum: Datum, resource: dict[str, Any], base_url: str) -> Tri:
    if not datum.reference:
        return Tri.MAYBE
    is_it = f"{resource.get('resourceType')}/{resource.get('id')}" == datum.reference
    if datum.meaning == "instance":
        return _said(is_it)
    if datum.meaning == "dependents":
        return _said(is_it or datum.reference in _references(resource, base_url))
    if datum.meaning == "authoredby":
        made_by = [resource[name] for name in AUTHORS if name in resource]
        return _said(datum.reference in _references(made_by, base_url))
    if datum.meaning == "related":  # which resources that one refers to would have to be looked up: not done
        return Tri.YES if is_it else Tri.MAYBE
    return Tri.MAYBE


def _references(value: Any, base_url: str) -> Iterator[str]:
    """Return every local reference, at any depth."""
    if isinstance(value, dict):
        if found := local(value, base_url):
            yield found
        for item in value.values():
            yield from _references(item, base_url)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, base_url)
