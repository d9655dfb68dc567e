"""The atoms of UCUM, from the table `atoms.json`.

The table is the case-sensitive part of UCUM's essence, compiled by `python -m tools.ucum`. Its numbers are taken
as the exact decimals that they are written as; π is the decimal of 64 places that UCUM gives for `[pi]`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Atom(NamedTuple):
    """A unit that is no base unit."""

    value: Fraction  # of `unit`
    unit: str  # a UCUM expression; "1" for none
    is_metric: bool  # whether it takes prefixes
    kind: str  # "" for a ratio scale, "arbitrary", else the name of the function of a special unit


class Table(NamedTuple):
    """All of UCUM's symbols."""

    prefixes: Mapping[str, Fraction]
    bases: frozenset[str]
    atoms: Mapping[str, Atom]


@cache
def table() -> Table:
    """Return the symbols, read once."""
    raw = json.loads(files(__package__).joinpath("atoms.json").read_text("utf-8"))
    atoms = {code: Atom(Fraction(value), unit, metric, kind) for code, value, unit, metric, kind in raw["atoms"]}
    prefixes = {code: Fraction(value) for code, value in raw["prefixes"].items()}
    return Table(prefixes, frozenset(raw["bases"]), atoms)
