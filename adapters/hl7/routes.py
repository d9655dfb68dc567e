"""The messages that are taken: which reader reads which type and trigger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from adapters.hl7.context import Context
from adapters.hl7.draft import Kind, Person
from adapters.hl7.group import Group
from adapters.hl7.messages.admission import read_admission, read_identity
from adapters.hl7.messages.documents import read_document
from adapters.hl7.messages.merging import read_link, read_merge, read_moved_visit, read_swap
from adapters.hl7.messages.orders import read_orders
from adapters.hl7.messages.results import read_results
from adapters.hl7.messages.scheduling import read_appointment
from adapters.hl7.messages.vaccination import read_vaccinations

Route: TypeAlias = Callable[[Context, Group, Kind, str], tuple[Person, ...]]
"""Takes the context, the tree, the kind and the control id."""

STAYS: Final = (
    "A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A09", "A10", "A11", "A12", "A13", "A14", "A15", "A16",
    "A21", "A22", "A23", "A25", "A26", "A27", "A32", "A33", "A38", "A52", "A53", "A54", "A55", "A60", "Z99",
)  # fmt: skip
"""Events about one patient and one stay; Z99 (French: a movement is corrected) too."""

ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    **{("ADT", event): read_admission for event in STAYS},
    ("ADT", "A17"): read_swap,
    ("ADT", "A24"): read_link,
    ("ADT", "A28"): read_identity,
    ("ADT", "A31"): read_identity,
    **{("ADT", event): read_merge for event in ("A34", "A36", "A40", "A46", "A47")},
    ("ADT", "A37"): read_link,
    **{("ADT", event): read_moved_visit for event in ("A45", "A50", "A51")},
    **{("MDM", f"T{number:02}"): read_document for number in range(1, 12)},
    ("OML", "O21"): read_orders,
    ("ORM", "O01"): read_orders,
    ("ORU", "R01"): read_results,
    ("ORU", "R40"): read_results,
    **{("SIU", f"S{number}"): read_appointment for number in (*range(12, 25), 26)},
    ("VXU", "V04"): read_vaccinations,
}
"""Type and trigger -> how it is read."""

TYPES: Final = frozenset(type for type, _ in ROUTES)
