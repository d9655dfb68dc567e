"""The messages that are taken: which reader reads which type and trigger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person
from adapters.hl7.group import Group
from adapters.hl7.messages.admission import read_admission
from adapters.hl7.messages.results import read_results

Route: TypeAlias = Callable[[Context, Group, Kind, str], tuple[Person, ...]]
"""Takes the context, the tree, the kind and the control id."""

ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("ADT", "A01"): read_admission,
    ("ADT", "A03"): read_admission,
    ("ADT", "A04"): read_admission,
    ("ADT", "A08"): read_admission,
    ("ORU", "R01"): read_results,
}
"""Type and trigger -> how it is read."""

TYPES: Final = frozenset(type for type, _ in ROUTES)
