"""From a reading that is fit to what goes into the record: the resources, and how they are known again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapters.devices import measures
from adapters.devices.administration import build_administration
from adapters.devices.identity import CONTENT, PHD, READING, content_of, key_of, moment_of, phd_identifier
from adapters.devices.media import build_media
from adapters.devices.observation import Filing, build_observation
from adapters.devices.reading import DeviceName, Measured, Reading
from adapters.devices.waveform import CHUNK_MS, CHUNKS, build_wave, lasts_ms
from fhir_server.model import Resource

_KIND: Final = {
    measures.MEDIA: "Media",
    measures.MEDICATION: "MedicationAdministration",
}


class Name(NamedTuple):
    """What a reading is known by."""

    key: str  # of the sender's id, or of the moment where it gave none
    moment: str  # of device, type and time; "" where the device has no clock
    phd: str  # the guide's identifier; "" where the device has no clock
    content: str
    sender: str  # who gave the id: the gateway, or the caller

    @property
    def identifiers(self) -> list[dict[str, Any]]:
        """As FHIR; the first one is the reading's own."""
        made: list[dict[str, Any]] = [{"system": READING, "value": self.key, "assigner": {"display": self.sender}}]
        if self.moment and self.moment != self.key:
            made.append({"system": READING, "value": self.moment})
        if self.phd:
            made.append({"system": PHD, "value": self.phd})
        return [*made, {"system": CONTENT, "value": self.content}]

    def query(self, type: str) -> str:
        """Return the search that finds it, or another one of the same moment."""
        pairs = [(READING, self.key), (READING, self.moment), (PHD, self.phd)]
        tokens = dict.fromkeys(f"{system}|{_escaped(value)}" for system, value in pairs if value)
        return f"{type}?identifier={quote(','.join(tokens))}&_count=20&_total=none"


class Match(NamedTuple):
    """A stored resource that is this reading; whether it says the same."""

    reference: str
    is_same: bool


def name_of(device: DeviceName, reading: Reading, measured: Measured, *, patient: str, sender: str) -> Name:
    """Return what a reading is known by; `patient` is `value-system` of an identifier, or the Patient's id."""
    return Name(
        key_of(device, reading, measured),
        moment_of(device, measured),
        phd_identifier(device, patient, measured),
        content_of(measured),
        sender,
    )


def match(found: Sequence[Resource], name: Name) -> Match | None:
    """Return which stored resource a reading is, if it is there.

    The same id is the same reading. One moment, device and type are one reading, unless one sender gave two ids.
    """
    others: list[Resource] = []
    for resource in found:
        keys = [item for item in resource.get("identifier", ()) if item.get("system") == READING]
        if any(item.get("value") == name.key for item in keys):
            return _matched(resource, name)
        has_id = bool(keys) and keys[0].get("value") != name.moment
        is_own = has_id and keys[0].get("assigner", {}).get("display", "") == name.sender
        if not is_own:
            others.append(resource)
    return _matched(others[0], name) if others else None


def type_of(measured: Measured) -> str:
    """Return the type of the resource that a reading becomes."""
    wave = measured.wave
    if wave is not None and lasts_ms(wave) > CHUNK_MS * CHUNKS:
        return "DocumentReference"
    return _KIND.get(measured.kind, "Observation")


def build(filing: Filing) -> list[Resource]:
    """Return the resources of a reading; the first one has its identity."""
    measured = filing.measured
    if measured.wave is not None:
        return build_wave(filing, measured.wave)
    if measured.media is not None:
        return [build_media(filing, measured.media)]
    if measured.kind == measures.MEDICATION:
        return [build_administration(filing)]
    return [build_observation(filing)]


def _matched(resource: Resource, name: Name) -> Match:
    said = [item.get("value", "") for item in resource.get("identifier", ()) if item.get("system") == CONTENT]
    reference = f"{resource['resourceType']}/{resource['id']}"
    # What a gateway wrote itself, by the guide, has no digest: its identifier says that it is this one.
    return Match(reference, not said or name.content in said)


def _escaped(text: str) -> str:
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text
