"""A store of a few resources with the few searches that triage asks: for tests of triage without a hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from fhir_server.model import Change, Entry, Record, Resource, Version
from triage_hooks import moment
from triage_hooks.codes import LOINC, UCUM, codes_of
from triage_hooks.enricher import Triage

PARIS = ZoneInfo("Europe/Paris")
NOW = moment.span("2026-11-20T08:10:00+01:00", PARIS)
assert NOW is not None
AT = "2026-11-20T08:00:00+01:00"
CODES = {"rr": ("9279-1", "/min"), "spo2": ("2708-6", "%"), "hr": ("8867-4", "/min"), "temp": ("8310-5", "Cel")}


class Ward:
    """A store of a few resources with the few searches that triage asks; it applies what triage returns."""

    tenant = "default"

    def __init__(self) -> None:
        self.now = NOW.first if NOW else 0
        self.held: dict[str, Resource] = {}
        self.charts: dict[str, Record] = {}
        self.triage = Triage("https://hub.example/fhir", PARIS)
        self.queries: list[str] = []
        self.put("Patient", {"id": "p", "birthDate": "1951-04-23", "gender": "male"})

    def put(self, type: str, resource: Resource) -> Resource:
        id = resource.get("id") or f"{type.lower()}{len(self.held)}"
        made = {"resourceType": type, **resource, "id": id}
        self.held[f"{type}/{id}"] = made
        return made

    async def write(self, *resources: Resource, deleted: Sequence[Resource] = ()) -> list[Entry]:
        """Write and delete resources as one transaction and apply what joins it."""
        changes = []
        for resource in resources:
            before = self.held.get(f"{resource['resourceType']}/{resource.get('id', '')}")
            made = self.put(resource["resourceType"], resource)
            changes.append(Change(Version(made["resourceType"], made["id"], 1, self.now, "POST", b""), made, before))
        for resource in deleted:
            type, id = resource["resourceType"], resource["id"]
            before = self.held.pop(f"{type}/{id}")
            changes.append(Change(Version(type, id, 2, self.now, "DELETE", b""), before, before))
        entries = list(await self.triage.run(self, changes))  # type: ignore[arg-type]  # the part it asks of
        self._apply(entries)
        return entries

    def _apply(self, entries: Sequence[Entry]) -> None:
        links = {
            entry.full_url: f"{entry.url}/{entry.url.lower()}{len(self.held)}-{n}" for n, entry in enumerate(entries)
        }
        for entry in entries:
            assert entry.resource is not None
            target = links[entry.full_url] if entry.method == "POST" else entry.url
            type, _, id = target.partition("/")
            self.put(type, {**_linked(entry.resource, links), "id": id})

    @property
    def asked(self) -> int:
        """How many searches there were."""
        return len(self.queries)

    def all(self, type: str, **like: str) -> list[Resource]:
        """Return what is held of a type, with these texts in these elements."""
        found = [held for held in self.held.values() if held["resourceType"] == type]
        return [held for held in found if all(held.get(key) == value for key, value in like.items())]

    async def resource(self, reference: str) -> Resource | None:
        return self.held.get(reference)

    async def record(self, kind: str, key: str) -> Record | None:
        return self.charts.get(key)

    async def put_record(self, kind: str, key: str, state: str, body: bytes) -> None:
        self.charts[key] = Record(kind, key, state, "", 1, self.now, body)

    async def drop_record(self, kind: str, key: str) -> None:
        self.charts.pop(key, None)

    async def find(self, query: str) -> list[Resource]:
        self.queries.append(query)
        type, _, text = query.partition("?")
        pairs = parse_qsl(text, strict_parsing=True)
        found = [held for held in self.all(type) if all(_matches(held, *pair) for pair in pairs)]
        found.sort(key=lambda held: str(held.get("effectiveDateTime", held.get("lastModified", ""))), reverse=True)
        return found[: int(dict(pairs).get("_count", 1000))]


def _linked(value: Any, links: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _linked(item, links) for key, item in value.items()}
    if isinstance(value, list):
        return [_linked(item, links) for item in value]
    return links.get(value, value) if isinstance(value, str) else value


def _matches(held: Resource, name: str, value: str) -> bool:
    if name == "patient":
        return (held.get("subject") or held.get("for")) == {"reference": f"Patient/{value}"}
    if name == "code":
        pairs = [token.split("|") for token in value.split(",")]
        parts = [held, *held.get("component", ())]
        return any(code in codes_of(part.get("code"), system) for system, code in pairs for part in parts[:1])
    if name == "status":
        return held.get("status") in value.split(",")
    if name == "identifier":
        system, _, text = value.partition("|")
        return {"system": system, "value": text} in held.get("identifier", ())
    if name == "date":
        span = moment.span(held.get("effectiveDateTime"), PARIS)
        limit = moment.span(value[2:], PARIS)
        assert span and limit
        return span.first >= limit.first if value[:2] == "ge" else span.first <= limit.first
    assert name in ("_sort", "_count", "_total", "clinical-status", "_lastUpdated"), name
    return True


def vital(kind: str, value: Any, at: str = AT, **more: Any) -> Resource:
    code, unit = CODES[kind]
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
        **more,
    }


def after(minutes: int) -> str:
    assert NOW is not None
    return moment.written(NOW.first + minutes * 60_000_000)
