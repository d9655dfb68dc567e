"""A small world for stores: resources made of index values, and queries over them as text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from fhir_server import gate
from fhir_server.model import EVERYTHING, Resource, Version, Visibility
from fhir_server.search.parse import parse
from fhir_server.search.query import Parameter, Query
from fhir_server.search.values import NOTHING, Indexed, Reference, Value
from fhir_server.store.protocol import Found, HistoryQuery, Store, Transaction, Write

TENANT: Final = "north"
PARIS: Final = ZoneInfo("Europe/Paris")
NOW: Final = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z

_CODE = Parameter("code", "token", "Observation", "code")
_VALUE = Parameter("value-quantity", "quantity", "Observation", "value")

PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = MappingProxyType(
    {
        "Patient": (
            Parameter("name", "string", "Patient", "name"),
            Parameter("birthdate", "date", "Patient", "birthDate"),
            Parameter("gender", "token", "Patient", "gender"),
            Parameter("identifier", "token", "Patient", "identifier"),
            Parameter("organization", "reference", "Patient", "managingOrganization", ("Organization",)),
        ),
        "Observation": (
            _CODE,
            _VALUE,
            Parameter("category", "token", "Observation", "category"),
            Parameter("date", "date", "Observation", "effective"),
            Parameter("patient", "reference", "Observation", "subject", ("Patient",)),
            Parameter("subject", "reference", "Observation", "subject", ("Patient", "Device", "Group")),
            Parameter("derived-from", "reference", "Observation", "derivedFrom", ("Observation", "Media")),
            Parameter("code-value-quantity", "composite", "Observation", "component", components=(_CODE, _VALUE)),
            Parameter("identifier", "token", "Observation", "identifier"),
            Parameter("value-string", "string", "Observation", "value"),
        ),
        "RiskAssessment": (
            Parameter("probability", "number", "RiskAssessment", "prediction.probability"),
            Parameter("patient", "reference", "RiskAssessment", "subject", ("Patient",)),
        ),
        "Organization": (
            Parameter("name", "string", "Organization", "name"),
            Parameter("partof", "reference", "Organization", "partOf", ("Organization",)),
        ),
        "Location": (Parameter("near", "special", "Location", "position"),),
        "ValueSet": (Parameter("url", "uri", "ValueSet", "url"),),
        "Provenance": (Parameter("target", "reference", "Provenance", "target", ("Resource",)),),
        "Task": (Parameter("code", "token", "Task", "code"),),
    }
)

EVERY_TYPE: Final = (
    Parameter("_id", "token", "Resource", "id"),
    Parameter("_lastUpdated", "date", "Resource", "meta.lastUpdated"),
    Parameter("_profile", "uri", "Resource", "meta.profile"),
)


class SmallRegistry:
    """The parameters above, as `clauses.Registry`."""

    def parameter(self, type: str, code: str) -> Parameter | None:
        return self.parameters_of(type).get(code)

    def parameters_of(self, type: str) -> Mapping[str, Parameter]:
        return {p.code: p for p in (*PARAMETERS.get(type, ()), *EVERY_TYPE)}


def asked(type: str, text: str = "") -> Query:
    """Return the query of `Type?text`; types parted by commas, in the zone of Paris."""
    pairs = parse_qsl(text.replace("%", "%25").replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(text))
    return parse(
        type.split(",") if type else (), pairs, registry=SmallRegistry(), zone=PARIS, now=NOW, base_url="http://h/fhir"
    )


class Maker:
    """Makes versions to store and remembers their index values, which `index` gives back by body."""

    def __init__(self) -> None:
        self._made: list[Indexed] = []

    def index(self, resource: Resource) -> Indexed:
        """Return the index values that a body was made with."""
        return self._made[resource["n"]]

    def write(
        self,
        reference: str,
        version: int = 1,
        *,
        at: int = NOW,
        owners: tuple[str, ...] = (),
        values: Mapping[str, Value | tuple[Value, ...]] = MappingProxyType({}),
        mark: str = "",
    ) -> Write:
        """Return a version to store; `mark` goes into its body."""
        type, _, id = reference.partition("/")
        body = {"resourceType": type, "id": id, "n": len(self._made), "mark": mark}
        many = {code: v if type_of(v) is tuple else (v,) for code, v in values.items()}
        indexed = Indexed(many, owners)  # type: ignore[arg-type]
        self._made.append(indexed)
        return Write(type, id, version, at, "POST" if version == 1 else "PUT", gate.write(body), indexed)

    def deletion(self, reference: str, version: int, *, at: int = NOW) -> Write:
        """Return a deletion to store."""
        type, _, id = reference.partition("/")
        return Write(type, id, version, at, "DELETE", b"", NOTHING)

    def about(
        self, reference: str, patient: str, values: Mapping[str, Value | tuple[Value, ...]], *, mark: str = ""
    ) -> Write:
        """Return the first version of something that belongs to a Patient."""
        subject = Reference("Patient", patient)
        facts = {"patient": subject, "subject": subject, **values}
        return self.write(reference, owners=(patient,), values=facts, mark=mark)


def type_of(value: object) -> type:
    """Return the exact type: a NamedTuple is not a plain tuple here."""
    return type(value)


async def put(store: Store, *writes: Write, tenant: str = TENANT) -> list[Version]:
    """Store versions in one transaction."""

    async def work(tx: Transaction) -> list[Version]:
        return [await tx.put(write) for write in writes]

    return await store.transact(tenant, work)


async def found(store: Store, query: Query, *, see: Visibility = EVERYTHING, tenant: str = TENANT) -> Found:
    """Search in a state of its own."""
    async with store.view(tenant) as view:
        return await view.search(query, see=see)


async def ids(store: Store, query: Query, *, see: Visibility = EVERYTHING, tenant: str = TENANT) -> list[str]:
    """Return the ids found on one page, in order, having checked total and count against them."""
    async with store.view(tenant) as view:
        page = await view.search(query, see=see)
        counted = await view.count(query.types, query.where, see=see)
    assert counted == page.total, "count and total differ"
    if page.after is None and query.after is None:
        assert page.total == len(page.versions), "the total is not that of the only page"
    return [version.id for version in page.versions]


async def history(
    store: Store, query: HistoryQuery, *, see: Visibility = EVERYTHING, tenant: str = TENANT
) -> tuple[list[tuple[str, int]], int]:
    """Return ((reference, version) newest first, total)."""
    async with store.view(tenant) as view:
        versions, total = await view.history(query, see=see)
    return [(v.reference, v.version) for v in versions], total
