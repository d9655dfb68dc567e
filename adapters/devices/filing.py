"""From a reading that is fit to what goes into the record: the resources, and how they are known again."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from adapters.devices import measures
from adapters.devices.administration import build_administration
from adapters.devices.identity import CONTENT, EUI_64, PHD, READING, content_of, key_of, moment_of, phd_identifier
from adapters.devices.media import build_media
from adapters.devices.message import REFERENCE
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
    phd: tuple[str, ...]  # the guide's identifier, and that of base-offset time; none where the device has no clock
    content: str
    sender: str  # who gave the id: the gateway, or the caller
    alias: str = ""  # as `moment`, of a device that another gateway may name differently; "" of any other

    @property
    def has_id(self) -> bool:
        """Whether the sender gave it an id."""
        return self.key != self.moment

    @property
    def keys(self) -> tuple[str, ...]:
        """All that it is known by, each once."""
        return tuple(dict.fromkeys(key for key in (self.key, self.moment, self.alias) if key))

    @property
    def identifiers(self) -> list[dict[str, Any]]:
        """As FHIR; the first one is the reading's own."""
        made: list[dict[str, Any]] = [{"system": READING, "value": self.key, "assigner": {"display": self.sender}}]
        if self.moment and self.has_id:
            made.append({"system": READING, "value": self.moment})
        made += [{"system": PHD, "value": value} for value in self.phd]
        return [*made, {"system": CONTENT, "value": self.content}]


def name_of(
    device: DeviceName, reading: Reading, measured: Measured, *, patient: str, sender: str, shared: str = ""
) -> Name:
    """Return what a reading is known by.

    Args:
        device: As its sender names it.
        reading: With the sender's id.
        measured: What it says.
        patient: `value-system` of the Patient's identifier, or its id.
        sender: Who gave the id.
        shared: `Device/ID` of a device that has several identifiers, "" of any other.
    """
    # Which of the two times a personal health device counts only its gateway knows.
    ways = (False, True) if device.system == EUI_64 else (False,)
    phd = (phd_identifier(device, patient, measured, has_offset=has_offset) for has_offset in ways)
    return Name(
        key_of(device, reading, measured),
        moment_of(device, measured),
        tuple(filter(None, phd)),
        content_of(measured),
        sender,
        moment_of(DeviceName(REFERENCE, shared), measured) if shared else "",
    )


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
