"""Pictures and sounds of an examination as Media: a stethoscope, an otoscope, a camera.

The bytes stay in the Media. A Binary would belong to nobody here, so that consent could not let anyone see it.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/media.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from adapters.devices.instant import written
from adapters.devices.observation import Filing, code_of, coded, frame, notes_of
from adapters.devices.reading import Media
from fhir_server.model import Resource

TYPE: Final = "http://terminology.hl7.org/CodeSystem/media-type"

_TYPES: Final[Mapping[str, str]] = MappingProxyType({"image": "image", "video": "video"})
_SITES: Final[Mapping[str, str]] = MappingProxyType(
    {"stethoscope-heart": "Cœur", "stethoscope-lung": "Poumons", "otoscope": "Oreille", "dermatoscope": "Peau"}
)


def build_media(filing: Filing, media: Media) -> Resource:
    """Return the Media of a picture or a sound."""
    measured = filing.measured
    made = frame(filing, "Media")
    made["status"] = "completed"
    kind = media.content_type.partition("/")[0]
    # R4's media-type has image, video and audio.
    made["type"] = {"coding": [{"system": TYPE, "code": _TYPES.get(kind, "audio")}]}
    made["modality"] = code_of(measured)
    made["subject"] = {"reference": filing.patient}
    if filing.encounter:
        made["encounter"] = {"reference": filing.encounter}
    made["createdPeriod" if filing.when.end else "createdDateTime"] = (
        {"start": filing.when.at, "end": filing.when.end} if filing.when.end else filing.when.at
    )
    made["issued"] = written(filing.received)
    if measured.site is not None:
        made["bodySite"] = coded(measured.site)
    elif site := _SITES.get(measured.local):
        made["bodySite"] = {"text": site}
    if notes := notes_of(measured):
        made["note"] = notes
    made["device"] = {"reference": filing.device}
    made["content"] = _attachment(filing, media)
    return made


def _attachment(filing: Filing, media: Media) -> dict[str, Any]:
    return {
        "contentType": media.content_type,
        "data": base64.b64encode(media.data).decode(),
        "size": len(media.data),
        "hash": base64.b64encode(hashlib.sha1(media.data, usedforsecurity=False).digest()).decode(),
        "title": media.title or filing.measured.text,
        "creation": filing.when.at,
    }
