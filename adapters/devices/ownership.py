"""Since when `Device.patient` holds, and whom it named before: the resource itself knows only the present.

A durable row is written in the transaction that changes it: a reading that comes late, of a time when the record named
another patient, is that patient's and not the new one's.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from adapters.devices.instant import exact
from fhir_server import gate
from fhir_server.interface import Asking, Erasure, Writing
from fhir_server.model import Change, Record, Resource

KIND: Final = "device-owner"
MOST: Final = 50  # changes that are looked at, the newest
MERGES: Final = 5  # links from a merged patient to who replaced it that are followed
_NEWEST: Final = 2**62
_SECOND: Final = 1_000_000


class Use(NamedTuple):
    """A time during which one patient used the device; open ends are None."""

    patient: str  # Patient/ID
    first: int | None  # microseconds since 1970
    after: int | None  # the first microsecond that does not belong to it
    session: str = ""  # id of the cart's session that gave it, "" none


def local_of(reference: Any, base: str = "") -> str:
    """Return `Type/ID` of a reference into this hub, relative or with its own base before it; "" for any other."""
    text = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(text, str):
        return ""
    type, _, rest = text.removeprefix(f"{base}/" if base else "").partition("/")
    id = rest.partition("/")[0]
    return f"{type}/{id}" if type.isalpha() and id else ""


def patient_of(reference: Any, base: str = "") -> str:
    """Return `Patient/ID` of a reference into this hub, "" for any other."""
    text = local_of(reference, base)
    return text if text.startswith("Patient/") else ""


async def note(writing: Writing, change: Change, base: str = "") -> None:
    """Write down whom a Device names from now on, and until when it named another; `base` is the hub's own."""
    device, before = change.version.reference, patient_of((change.before or {}).get("patient"), base)
    after = "" if change.version.is_deleted else patient_of(change.resource.get("patient"), base)
    if before == after:
        return
    if before:
        await _end(writing, device, before, change.before or {})
    if after:
        body = {"patient": after, "since": writing.now}
        await writing.put_record(KIND, device, "", gate.write(body), lane=device)


async def _end(writing: Writing, device: str, patient: str, resource: Resource) -> None:
    held = await writing.record(KIND, device)
    known = gate.load(held.body) if held is not None else {}
    # What was loaded without triage has no row: it named the patient at least since its last version.
    loaded = exact(resource.get("meta", {}).get("lastUpdated", ""))
    since = known["since"] if known.get("patient") == patient else loaded
    if held is not None:
        await writing.drop_record(KIND, device)
    # Times are told to the second: one of the second of the change is the new patient's.
    until = writing.now // _SECOND * _SECOND
    if since is not None and since < until:
        body = {"patient": patient, "since": since, "until": until}
        await writing.put_record(KIND, f"{device}@{writing.now}", "", gate.write(body), lane=device)


async def owned(asking: Asking, device: Resource) -> tuple[Use, ...]:
    """Return the times when a Device named another patient than it does now, the newest first."""
    if device.get("meta", {}).get("versionId") == "1":
        return ()
    rows = await asking.records(KIND, lane=f"Device/{device['id']}", before=_NEWEST, limit=MOST)
    found = [gate.load(row.body) for row in rows]
    ended = [body for body in found if "until" in body]
    return tuple([Use(await _living(asking, body["patient"]), body["since"], body["until"]) for body in ended])


async def _living(asking: Asking, patient: str) -> str:
    """Return who stands for a patient who was merged into another."""
    for _ in range(MERGES):
        person = await asking.resource(patient) or {}
        links = [link for link in person.get("link", ()) if link.get("type") == "replaced-by"]
        following = patient_of(links[0].get("other")) if links else ""
        if not following:
            break
        patient = following
    return patient


def names(record: Record, erasure: Erasure) -> bool:
    """Whether a row names the Patient that is erased, or one who was merged into it (`interface.Eraser`)."""
    return gate.load(record.body)["patient"] in {f"Patient/{erasure.patient}", *erasure.references}
