"""JSON Schemas of the device feed, shown in OpenAPI; `message`, `reading_json` and `session` are what reads it."""

from __future__ import annotations

from typing import Any, Final

from adapters.devices.message import MAX_MESSAGES, MAX_READINGS
from adapters.devices.reading_json import ABSENT, LOINC, MAX_COMPONENTS, MAX_NOTES, MAX_TYPES, MDC
from adapters.devices.session import MAX_MESSAGES as MAX_CART
from adapters.devices.status import STATUSES

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": 256}
_NAME: Final = {"type": "object", "required": ["system", "value"], "properties": {"system": _TEXT, "value": _TEXT}}
_TIME: Final = {"type": "string", "description": "FHIR dateTime with seconds and offset"}
_DECIMAL: Final = {"type": ["number", "string"]}
_CODED: Final = {"type": "object", "properties": {"system": _TEXT, "code": _TEXT, "text": _TEXT}}
_VALUE: Final[dict[str, Any]] = {
    "value": {
        "description": "a decimal number or the text of one, its digits are kept; or NaN, NRes, INF, -INF as text",
        **_DECIMAL,
    },
    "unit": _TEXT,
    "sfloat": {"type": ["string", "integer"], "description": "SFLOAT of ISO/IEEE 11073: 16 bits, e.g. 07FF"},
    "float": {"type": ["string", "integer"], "description": "FLOAT of ISO/IEEE 11073: 32 bits"},
    "absent": {"enum": sorted(ABSENT)},
}
READING: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code"],
    "additionalProperties": False,
    "properties": {
        "system": {"enum": ["loinc", "mdc", "local", LOINC, MDC], "default": "loinc"},
        "code": _TEXT,
        **_VALUE,
        "components": {
            "description": "of a panel such as 85354-9, in place of value and unit",
            "type": "array",
            "maxItems": MAX_COMPONENTS,
            "items": {
                "type": "object",
                "required": ["code"],
                "properties": {"system": {"description": "that of the reading"}, "code": _TEXT, **_VALUE},
            },
        },
        "coded": {"description": "a value that is a code; system: mdc (the default), loinc, snomed or a uri", **_CODED},
        "samples": {
            "type": "object",
            "required": ["period", "unit", "data"],
            "properties": {
                **{name: _DECIMAL for name in ("origin", "factor", "low", "high")},
                "period": {"description": "milliseconds", **_DECIMAL},
                "unit": _TEXT,
                "dimensions": {"type": "integer"},
                "data": {"type": ["string", "array"], "description": "decimals, or E U L"},
            },
        },
        "media": {
            "type": "object",
            "required": ["contentType", "data"],
            "properties": {
                "contentType": _TEXT,
                "data": {"type": "string", "contentEncoding": "base64"},
                "title": _TEXT,
            },
        },
        "medication": {"description": "what was dispensed", **_CODED},
        "at": _TIME,
        "end": _TIME,
        "id": {**_TEXT, "description": "the sender's own id of the reading"},
        "status": {"type": "array", "items": {"enum": sorted(STATUSES)}},
        "types": {"type": "array", "maxItems": MAX_TYPES, "items": _TEXT},
        "site": {"description": "where on the body: a name, or a code as in coded", "type": ["string", "object"]},
        "method": {"description": "how: a name, or a code as in coded", "type": ["string", "object"]},
        "note": {"description": "one text or several", "type": ["string", "array"], "maxItems": MAX_NOTES},
    },
}
MESSAGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["device", "readings"],
    "additionalProperties": False,
    "properties": {
        "device": _NAME,
        "readings": {"type": "array", "minItems": 1, "maxItems": MAX_READINGS, "items": READING},
        "gateway": {"description": "what brought it here", **_NAME},
        "clock": {
            "type": "object",
            "required": ["device", "gateway"],
            "properties": {"device": _TIME, "gateway": _TIME, "sync": _TEXT},
        },
        "patient": {"description": "an identifier to compare; it assigns nothing", **_NAME},
        "session": {**_TEXT, "description": "id of a session"},
        "test": {"type": "boolean"},
    },
}
BODY: Final[dict[str, Any]] = {
    "description": "one message, a list of them, or an object with messages",
    "oneOf": [MESSAGE, {"type": "array", "maxItems": MAX_MESSAGES}, {"type": "object", "required": ["messages"]}],
}
SESSION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "patient", "messages"],
    "additionalProperties": False,
    "properties": {
        "id": _TEXT,
        "patient": {"description": 'an identifier, or {"reference": "Patient/ID"}', "type": "object"},
        "start": _TIME,
        "end": _TIME,
        "location": _TEXT,
        "reason": _TEXT,
        "open": {"type": "boolean", "default": False},
        "messages": {"type": "array", "maxItems": MAX_CART, "items": {"type": "object"}},
    },
}
