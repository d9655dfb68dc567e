"""Two Patients made one, and apart again: what has to be written, worked out inside the transaction that writes it.

The source becomes inactive and points to the target; whatever refers to the source refers to the target then. Two kinds
of reference stay: those to a version (they tell what was), and what AuditEvents and other Patients say. One Provenance
lists each version that the merge made beside the one it replaced, which is all that undoing it needs.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/patient.html#links and, for the operation, which R4 does not have,
https://hl7.org/fhir/R5/patient-operation-merge.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fhir_server import gate
from fhir_server.definitions import resource_types
from fhir_server.errors import Conflict, NotFound, TooCostly, Unprocessable
from fhir_server.identity.references import relinked
from fhir_server.interactions.instant import write_instant
from fhir_server.model import Actor, Entry, Resource, Version, Visibility
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import Ask, Match, Query
from fhir_server.search.values import Reference
from fhir_server.store.protocol import View

LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
LEFT: Final = frozenset({"AuditEvent", "Patient"})  # types whose references to a merged Patient stay
_PAGE: Final = 500


@dataclass(slots=True)
class Plan:
    """What a merge or its undoing writes, beside a Provenance."""

    source: str
    target: str
    activity: str  # merge or unmerge
    changes: list[tuple[Version, Resource]] = field(default_factory=list)  # what is there, what replaces it
    notes: list[str] = field(default_factory=list)  # what was left as it is, and why
    undone: str = ""  # of an unmerge: the Provenance of the merge
    stored: Resource | None = None  # the target, once it is written

    def counts(self) -> dict[str, int]:
        """Return how many resources change, by type."""
        made: dict[str, int] = {}
        for version, _ in self.changes:
            made[version.type] = made.get(version.type, 0) + 1
        return dict(sorted(made.items()))

    def result(self) -> Resource:
        """Return the target as it is stored, or before that as it will be."""
        return self.stored or next(
            made for version, made in self.changes if version.reference == f"Patient/{self.target}"
        )

    def entries(self, actor: Actor, now: int) -> list[Entry]:
        """Return the transaction."""
        puts = [Entry("PUT", version.reference, made, if_match=version.etag) for version, made in self.changes]
        return [*puts, Entry("POST", "Provenance", self._provenance(actor, now))]

    def _provenance(self, actor: Actor, now: int) -> Resource:
        who: dict[str, Any] = {"reference": actor.reference} if actor.reference else {"display": actor.subject}
        replaced = [
            {"role": "revision", "what": {"reference": f"{version.reference}/_history/{version.version}"}}
            for version, _ in self.changes
        ]
        undone = [{"role": "removal", "what": {"reference": self.undone}}] if self.undone else []
        return {
            "resourceType": "Provenance",
            "target": [
                {"reference": f"{version.reference}/_history/{version.version + 1}"} for version, _ in self.changes
            ],
            "recorded": write_instant(now),
            "activity": {"coding": [{"system": LIFECYCLE, "code": self.activity}]},
            "agent": [{"who": who}],
            "entity": replaced + undone,
        }


async def read_patient(view: View, id: str, see: Visibility) -> Version:
    """Return a current Patient whose whole record the caller may see; raise NotFound for any other."""
    version = await view.read("Patient", id)
    whole = see.patients is None or id in see.patients
    if version is None or version.is_deleted or not whole:
        raise NotFound("There is no such patient, or not with its whole record for this caller.")
    return version


async def plan_merge(
    view: View,
    see: Visibility,
    source: str,
    target: str,
    *,
    result: Resource | None,
    most: int,
    base_url: str,
    is_judged: bool = True,
) -> Plan:
    """Work out a merge.

    Args:
        view: The state.
        see: What the caller may see.
        source: Id of the Patient that ends.
        target: Id of the Patient that stays.
        result: The target as the caller wants it; None keeps it, with the source's identifiers as old ones.
        most: Resources that may change.
        base_url: Of this server's FHIR root.
        is_judged: Whether a person judged that both are one; else the source's Consents that permit stay with it.

    Raises:
        NotFound: One of them is not there for the caller.
        Unprocessable: They are the same.
        Conflict: One of them was merged already.
        TooCostly: More resources refer to the source than may change at once.
    """
    if source == target:
        raise Unprocessable("A patient is not merged with itself.")
    old, kept = await read_patient(view, source, see), await read_patient(view, target, see)
    ended, staying = _unmerged(old, "source"), _unmerged(kept, "target")
    plan = Plan(source, target, "merge")
    plan.changes.append((kept, _staying(staying, ended, source, result)))
    plan.changes.append((old, _ending(ended, target)))
    async for version in referring(view, source):
        before = gate.load(version.body)
        if not is_judged and _permits(before):
            plan.notes.append(f"{version.reference} permits the source to others and stays with it.")
            continue
        made = relinked(before, f"Patient/{source}", f"Patient/{target}", base_url)
        if made is not None:
            plan.changes.append((version, made))
        if len(plan.changes) > most:
            raise TooCostly(f"More than {most} resources would change.")
    return plan


def _unmerged(version: Version, name: str) -> Resource:
    """Return a Patient that was not merged yet; raise Conflict for another."""
    patient = gate.load(version.body)
    if any(link.get("type") == "replaced-by" for link in patient.get("link", ())):
        raise Conflict(f"The {name} was merged into another patient already.")
    return patient


def _ending(ended: Resource, target: str) -> Resource:
    link = {"other": {"reference": f"Patient/{target}"}, "type": "replaced-by"}
    return {**ended, "active": False, "link": [*ended.get("link", ()), link]}


def _permits(resource: Resource) -> bool:
    """Whether it is a Consent by which others may see more: all but one that plainly denies."""
    if resource.get("resourceType") != "Consent":
        return False
    root = resource.get("provision", {})
    return root.get("type") != "deny" or bool(root.get("provision"))


def _staying(staying: Resource, ended: Resource, source: str, result: Resource | None) -> Resource:
    link = {"other": {"reference": f"Patient/{source}"}, "type": "replaces"}
    base = result if result is not None else staying
    links = [known for known in base.get("link", ()) if known.get("other", {}).get("reference") != f"Patient/{source}"]
    made = {**base, "link": [*links, link]}
    if result is None:
        known = {(i.get("system"), i.get("value")) for i in staying.get("identifier", ())}
        more = [i for i in ended.get("identifier", ()) if (i.get("system"), i.get("value")) not in known]
        if more:
            made["identifier"] = [*staying.get("identifier", ()), *({**i, "use": "old"} for i in more)]
    return made


async def referring(view: View, patient: str, *, left: Collection[str] = LEFT) -> AsyncIterator[Version]:
    """Yield the current resources, but of types `left`, that refer to a Patient by a search parameter, each once."""
    seen: set[str] = set()
    for type in sorted(resource_types().difference(left)):
        for parameter in parameters_of(type).values():
            if parameter.type != "reference" or (parameter.targets and "Patient" not in parameter.targets):
                continue
            query = Query(
                (type,), (Match(parameter, (Ask(Reference("Patient", patient)),)),), count=_PAGE, total="none"
            )
            async for version in _pages(view, query):
                if version.reference not in seen:
                    seen.add(version.reference)
                    yield version


async def _pages(view: View, query: Query) -> AsyncIterator[Version]:
    while True:
        found = await view.search(query)
        for version in found.versions:
            yield version
        if found.after is None:
            return
        query = replace(query, after=found.after)


# --- undoing ---------------------------------------------------------------------------------------------------------


async def plan_unmerge(view: View, see: Visibility, source: str, *, most: int) -> Plan:
    """Work out how the last merge of a Patient is undone.

    What the merge changed and nobody changed since is as it was, to the last element. What was changed since keeps
    those changes and gets back the references to the source that it had.

    Args:
        view: The store.
        see: What the caller may see.
        source: Id of the Patient that was merged.
        most: Resources that may change.

    Raises:
        TooCostly: More would change.
        NotFound: The Patient is not there for the caller.
        Conflict: It is not merged, or was changed since.
    """
    old = await read_patient(view, source, see)
    merge = await _last_merge(view, source)
    if merge is None:
        raise Conflict("The patient is not merged into another one.")
    provenance, target = merge
    await read_patient(view, target, see)
    plan = Plan(source, target, "unmerge", undone=f"Provenance/{provenance['id']}")
    if f"Patient/{source}/_history/{old.version}" not in _references(provenance["target"]):
        raise Conflict("The source was changed after the merge; its versions say how.")
    if len(provenance["target"]) > most:
        raise TooCostly(f"More than {most} resources would change.")
    for made, before in zip(_references(provenance["target"]), _revisions(provenance), strict=True):
        type, id, number = _version_of(made)
        current = await view.read(type, id)
        earlier = await view.vread(*_version_of(before))
        if current is None or current.is_deleted or earlier is None:
            plan.notes.append(f"{type}/{id} is no longer there.")
            continue
        restored = gate.load(earlier.body)
        if current.version != number:
            merged = await view.vread(type, id, number)
            assert merged is not None
            restored = _combined(gate.load(current.body), gate.load(merged.body), restored)
            plan.notes.append(f"{type}/{id} was changed after the merge; those changes stay.")
        plan.changes.append((current, restored))
    return plan


def _combined(current: Any, merged: Any, before: Any) -> Any:
    """Return what is there now with what the merge changed taken back, wherever nobody changed that since."""
    if current == merged:
        return before
    if isinstance(current, dict) and isinstance(merged, dict) and isinstance(before, dict):
        made = {}
        for name in dict.fromkeys([*current, *before]):
            if name not in current:
                if name not in merged:  # the merge removed it
                    made[name] = before[name]
            elif name not in merged:
                made[name] = current[name]  # came since
            elif name not in before:
                if current[name] != merged[name]:
                    made[name] = _without(current[name], merged[name])
            else:
                made[name] = _combined(current[name], merged[name], before[name])
        return {name: value for name, value in made.items() if value not in ([], {})}
    if isinstance(current, list) and isinstance(merged, list) and isinstance(before, list):
        if len(merged) == len(before):
            back = {_key(new): old for new, old in zip(merged, before, strict=True)}
            return [back.get(_key(item), item) for item in current]
        return _without(current, [item for item in merged if item not in before])
    return current


def _without(current: Any, added: Any) -> Any:
    if isinstance(current, list) and isinstance(added, list):
        return [item for item in current if item not in added]
    return current


def _key(value: Any) -> bytes:
    return gate.write(value)


async def _last_merge(view: View, source: str) -> tuple[Resource, str] | None:
    """Return the Provenance of the merge that a Patient is under, and the target's id; None where there is none."""
    parameter = parameters_of("Provenance")["target"]
    query = Query(("Provenance",), (Match(parameter, (Ask(Reference("Patient", source)),)),), count=_PAGE, total="none")
    found: list[Resource] = []
    async for version in _pages(view, query):
        found.append(gate.load(version.body))
    found.sort(key=lambda resource: str(resource["recorded"]), reverse=True)
    for resource in found:
        code = resource.get("activity", {}).get("coding", [{}])[0]
        made = _references(resource["target"])
        if code.get("system") != LIFECYCLE or len(made) < 2 or _version_of(made[1])[:2] != ("Patient", source):
            continue
        if code.get("code") == "unmerge":
            return None
        if code.get("code") == "merge":
            return resource, _version_of(made[0])[1]
    return None


def _references(items: Sequence[dict[str, Any]]) -> list[str]:
    return [item.get("reference", "") for item in items]


def _revisions(provenance: Resource) -> Iterator[str]:
    return (e["what"]["reference"] for e in provenance["entity"] if e["role"] == "revision")


def _version_of(reference: str) -> tuple[str, str, int]:
    type, id, _, number = reference.split("/")[-4:]
    return type, id, int(number)
