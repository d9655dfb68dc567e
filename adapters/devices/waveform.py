"""Waves: SampledData in Observations of at most 30 seconds; what lasts longer is a document.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/datatypes.html#SampledData, and the Personal Health Device guide.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from adapters.devices.correction import Effective
from adapters.devices.instant import exact, moved
from adapters.devices.observation import UCUM, Filing, build_observation, code_of, frame, notes_of
from adapters.devices.reading import Wave
from fhir_server import gate
from fhir_server.model import Resource

CHUNK_MS: Final = 30_000
CHUNKS: Final = 10  # of one wave; what lasts longer than that many is one document
TYPE: Final = "application/json"  # of the document: SampledData as R4 writes it


def lasts_ms(wave: Wave) -> Decimal:
    """Return how long a wave lasts, in milliseconds."""
    return wave.period * (len(wave.data) // wave.dimensions)


def build_wave(filing: Filing, wave: Wave) -> list[Resource]:
    """Return the Observations of a wave, in order of time, or its one DocumentReference; the first has the identity."""
    if lasts_ms(wave) > CHUNK_MS * CHUNKS:
        return [_document(filing, wave)]
    step = max(int(CHUNK_MS / wave.period), 1)  # instants of one chunk
    size = step * wave.dimensions
    return [
        _observation(filing, wave, number, wave.data[start : start + size], wave.period * step * number)
        for number, start in enumerate(range(0, len(wave.data), size))
    ]


def is_flat(wave: Wave) -> bool:
    """Whether a wave of some length never changes: a lead that hangs loose, not a heart."""
    return len(wave.data) >= 100 * wave.dimensions and len(set(wave.data)) <= wave.dimensions


def _observation(filing: Filing, wave: Wave, number: int, data: tuple[str, ...], after_ms: Decimal) -> Resource:
    lasts = wave.period * (len(data) // wave.dimensions)
    start, end = (moved(filing.when.at, int(ms * 1000)) for ms in (after_ms, after_ms + lasts))
    when = _when(filing, start, end)
    identifiers = filing.identifiers if not number else [_numbered(item, number) for item in filing.identifiers]
    made = build_observation(
        replace(filing, when=when, identifiers=identifiers, measured=replace(filing.measured, wave=None))
    )
    made.pop("valueBoolean", None)
    if "dataAbsentReason" not in made:
        made["valueSampledData"] = sampled(wave, data)
    return made


def _when(filing: Filing, start: str, end: str) -> Effective:
    instant = exact(start)
    assert instant is not None
    return filing.when._replace(at=start, end=end, instant=instant)


def sampled(wave: Wave, data: tuple[str, ...]) -> dict[str, Any]:
    """Return SampledData."""
    made: dict[str, Any] = {
        "origin": {"value": wave.origin, "unit": wave.unit, "system": UCUM, "code": wave.unit},
        "period": wave.period,
    }
    for name, value in (("factor", wave.factor), ("lowerLimit", wave.low), ("upperLimit", wave.high)):
        if value is not None:
            made[name] = value
    return {**made, "dimensions": wave.dimensions, "data": " ".join(data)}


def _document(filing: Filing, wave: Wave) -> Resource:
    body = gate.write(sampled(wave, wave.data))
    made = frame(filing, "DocumentReference")
    attachment = {
        "contentType": TYPE,
        "data": base64.b64encode(body).decode(),
        "size": len(body),
        "hash": base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode(),
        "title": filing.measured.text,
        "creation": filing.when.at,
    }
    end = moved(filing.when.at, int(lasts_ms(wave) * 1000))
    made |= {
        "status": "current",
        "type": code_of(filing.measured),
        "subject": {"reference": filing.patient},
        "author": [{"reference": filing.device}],
        "content": [{"attachment": attachment}],
        "context": {"period": {"start": filing.when.at, "end": end}},
    }
    if told := _told(filing):
        made["description"] = told
    if filing.encounter:
        made["context"]["encounter"] = [{"reference": filing.encounter}]
    return made


def _told(filing: Filing) -> str:
    """Return where, how and with which remarks a wave was taken, in one text: a document has no other place."""
    measured = filing.measured
    named = [value.text or value.code for value in (measured.site, measured.method) if value is not None]
    return " ; ".join([*named, *(note["text"] for note in notes_of(measured))])


def _numbered(identifier: dict[str, Any], number: int) -> dict[str, Any]:
    return {**identifier, "value": f"{identifier['value']}.{number}"}
