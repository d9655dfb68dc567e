"""The code tables that apply, as ConceptMap resources: the guide's rows at its commit, and our decisions with reasons.

They show what applies; a sender's own ConceptMap with the same source overrides a row (`codes.py`).
"""

from __future__ import annotations

from typing import Any, Final

from adapters.hl7.codes import TABLES
from adapters.hl7.maps import decisions, tables
from fhir_server.errors import NotFound

BASE: Final = "urn:predmp:hl7v2:table:"


def commit() -> str:
    """Return the guide's commit."""
    return tables.source().split()[1].rstrip(",")


def concept_map(name: str) -> dict[str, Any]:
    """Return one table as a ConceptMap; raise NotFound.

    Args:
        name: Its name in the guide, e.g. `PatientClass[EncounterClass]`.
    """
    if name not in tables.names():
        raise NotFound("There is no such table.")
    reasons = {code: decision.reason for decision in decisions.DECIDED.get(name, ()) for code in decision.rows}
    by_system: dict[str, list[dict[str, Any]]] = {}
    for code, target in sorted(tables.table(name).items()):
        shown: dict[str, Any] = {"code": target.code, "equivalence": "equivalent"}
        if target.display:
            shown["display"] = target.display
        if code in reasons:
            shown["comment"] = reasons[code]
        by_system.setdefault(target.system, []).append({"code": code, "target": [shown]})
    if silent := tables.silent(name):
        elements = [
            {"code": code, **({"display": text} if text else {}), "target": [{"equivalence": "unmatched"}]}
            for code, text in sorted(silent.items())
        ]
        by_system[""] = elements
    number = tables.number(name)
    return {
        "resourceType": "ConceptMap",
        "id": f"v2-{number}-{_plain(name)}"[:64],
        "url": BASE + _plain(name),
        "version": commit(),
        "name": _plain(name).replace("-", ""),
        "title": f"HL7 table {number}: {name}",
        "status": "active",
        "publisher": "predmp",
        "copyright": tables.source(),
        "sourceUri": f"http://terminology.hl7.org/ValueSet/v2-{number}",
        "group": [
            {"source": TABLES + number, **({"target": system} if system else {}), "element": elements}
            for system, elements in by_system.items()
        ],
    }


def _plain(name: str) -> str:
    """Return a name as an id can be written."""
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


def index() -> list[dict[str, Any]]:
    """Return what each table is: name, number, rows, decisions, codes without a target."""
    return [
        {
            "name": name,
            "table": tables.number(name),
            "rows": len(tables.table(name)),
            "decisions": len(tables.DECISIONS.get(name, ())),
            "without_target": len(tables.silent(name)),
        }
        for name in tables.names()
    ]
