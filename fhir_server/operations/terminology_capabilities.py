"""The TerminologyCapabilities: what the terminology operations know and take.

It is open to all, so it names R4's own code systems only, never those that a tenant has stored.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/terminologycapabilities.html
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fhir_server.definitions import terminology as r4
from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import write_instant
from fhir_server.model import Resource
from fhir_server.operations.terminology_expand import KNOWN
from fhir_server.terminology.grammar import GRAMMARS

_TEXT_FILTER: Final = (
    "Each word of the filter begins a word of the display, of a designation or of the code; "
    "case and accents do not count."
)
_DESCRIPTION: Final = (
    "R4's own code systems, and those stored here as CodeSystem resources, which come first. Of code systems that "
    "others publish, the codes that R4's value sets name are known; whether another code exists is not decided."
)


def terminology_capabilities(hub: Hub) -> Resource:
    """Return what the terminology operations can do; it is built anew, so keep it."""
    return {
        "resourceType": "TerminologyCapabilities",
        "url": f"{hub.base_url}/metadata?mode=terminology",
        "version": version("predmp"),
        "name": "PreDmpHubTerminology",
        "title": "Terminology of the pre-DMP hub",
        "status": "active",
        "experimental": False,
        "date": write_instant(hub.now()),
        "description": _DESCRIPTION,
        "kind": "instance",
        "software": {"name": "predmp", "version": version("predmp")},
        "implementation": {"description": "Pre-DMP hub", "url": hub.base_url},
        "lockedDate": False,
        "codeSystem": [*_whole(), *({"uri": url} for url in sorted({*r4.urls(r4.LISTED), *GRAMMARS}))],
        "expansion": {
            "hierarchical": True,
            "paging": True,
            "incomplete": True,
            "parameter": [{"name": name} for name in KNOWN],
            "textFilter": _TEXT_FILTER,
        },
        "codeSearch": "all",
        "validateCode": {"translations": False},
        "translation": {"needsMap": False},
    }


def _whole() -> list[dict[str, Any]]:
    """Return R4's own code systems with their version."""
    found = []
    for resource in r4.every("CodeSystem"):
        if resource["content"] in ("supplement", "not-present"):
            continue
        made: dict[str, Any] = {"uri": resource["url"]}
        if resource.get("version"):
            made["version"] = [{"code": resource["version"], "isDefault": True}]
        found.append(made | {"subsumption": resource.get("hierarchyMeaning", "is-a") == "is-a"})
    return found
