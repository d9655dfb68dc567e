"""Code tables: the guide's rows from tables.json, and our decisions where it has none (`decisions.py`).

`tables.json` is made by `python -m tools.v2_tables` from HL7/v2-to-fhir at commit 8c9b414 (Apache 2.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from adapters.hl7.maps import decisions
from adapters.hl7.maps.decisions import Target

__all__ = ["DECISIONS", "Target", "names", "number", "silent", "source", "structures", "table"]

DECISIONS: Final[Mapping[str, Mapping[str, Target]]] = {
    name: {code: target for decision in decided for code, target in decision.rows.items()}
    for name, decided in decisions.DECIDED.items()
}
"""What our decisions say: table -> code -> target."""


@cache
def _file() -> Any:
    return json.loads(files("adapters.hl7.maps").joinpath("tables.json").read_text("utf-8"))


@cache
def table(name: str) -> Mapping[str, Target]:
    """Return one table by its name in the guide; KeyError where there is none."""
    rows = _file()["tables"].get(name, {} if name in DECISIONS else None)
    if rows is None:
        raise KeyError(name)
    return {**{source: Target(*cells) for source, cells in rows.items()}, **DECISIONS.get(name, {})}


@cache
def names() -> tuple[str, ...]:
    """Return the names of all tables."""
    return tuple(sorted({*_file()["tables"], *DECISIONS}))


@cache
def number(name: str) -> str:
    """Return HL7's number of a table, e.g. `0004`; "" where it has none."""
    found: str = _file()["numbers"].get(name, decisions.NUMBERS.get(name, ""))
    return found


@cache
def silent(name: str) -> Mapping[str, str]:
    """Return the codes that the guide lists without a target (nor do we decide one), with their texts."""
    rows = _file()["silent"].get(name, {})
    return {code: text for code, text in rows.items() if code not in DECISIONS.get(name, {})}


def source() -> str:
    """Return where the tables come from, with the commit."""
    found: str = _file()["source"]
    return found


@cache
def structures() -> Mapping[str, str]:
    """Return message structures by type and trigger: `ADT^A04` -> `ADT_A01` (table 0354)."""
    return {**decisions.STRUCTURES, **_file()["structures"]}
