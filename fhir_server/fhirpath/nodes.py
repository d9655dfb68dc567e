"""What expressions work on: FHIR elements with their type, beside plain values of the System types.

A collection is a list; its items are `Node` (something that stands in FHIR JSON) or bool, int, Decimal, str,
`Temporal`, `Quantity` and `TypeName`. Collections are never changed once made.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final, TypeAlias

from fhir_server.definitions import resource_types
from fhir_server.fhirpath import quantity as quantities
from fhir_server.fhirpath import temporal as temporals
from fhir_server.fhirpath.failures import EvaluationError
from fhir_server.fhirpath.quantity import Quantity
from fhir_server.fhirpath.temporal import Temporal
from fhir_server.fhirpath.types import (
    DATES,
    Slot,
    TypeName,
    ancestors,
    is_known,
    is_primitive,
    keys,
    slots,
    suffixes,
)
from fhir_server.ucum import UCUM

MAX_STEPS: Final = 1_000_000  # items that one evaluation may touch
MAX_TEXT: Final = 1_000_000  # characters of a string that an expression makes

Collection: TypeAlias = list[Any]


class Node:
    """An element or resource as it stands in JSON, with its FHIR type."""

    __slots__ = ("extra", "type", "value")

    def __init__(self, value: Any, type: str, extra: Mapping[str, Any] | None = None) -> None:
        self.value = value  # dict, str, number or bool; None for a primitive with extensions only
        self.type = type  # structure name; "" when it cannot be known
        self.extra = extra  # of a primitive: its id and extensions, the `_name` of JSON


@dataclass(frozen=True, slots=True)
class Environment:
    """What an evaluation may use beside its input."""

    variables: Mapping[str, Any] = field(default_factory=dict)  # by name without %; values as in FHIR JSON
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # read once an evaluation, by now() and today()
    resolver: Callable[[str], Mapping[str, Any] | None] | None = None  # reference to resource, or None
    trace: Callable[[str, list[Any]], None] | None = None  # told the name and the plain values
    most_steps: int = MAX_STEPS  # a lower bound where many expressions share the cost of one
    # Value set, system (None: a plain code), code: whether it is of the set; None where that is not known.
    member_of: Callable[[str, str | None, str], bool | None] | None = None
    # Canonical of a profile that is no type of R4, element: whether it conforms; None where that is not known.
    conforms_to: Callable[[str, Node], bool | None] | None = None


DEFAULT: Final = Environment()


class Run:
    """One evaluation: its inputs, and what must not be done twice in it."""

    __slots__ = ("context", "environment", "frozen", "memo", "moment", "resource", "root", "steps")

    def __init__(self, context: Collection, resource: Node | None, root: Node | None, environment: Environment) -> None:
        self.context = context
        self.resource = resource
        self.root = root
        self.environment = environment
        self.memo: dict[Any, Collection] = {}
        self.frozen: dict[int, tuple[Any, Hashable, int]] = {}  # by id of JSON: itself, frozen, what that cost
        self.moment: datetime | None = None
        self.steps = 0

    def now(self) -> datetime:
        """The one moment of this evaluation."""
        if self.moment is None:
            self.moment = self.environment.clock()
        return self.moment

    def spend(self, steps: int) -> None:
        """Count work done; raise EvaluationError when it is more than an expression may cost."""
        self.steps += steps
        if self.steps > self.environment.most_steps:
            raise EvaluationError("The expression costs more than its bound.")

    def key(self, item: Any) -> Hashable:
        """Return what equal items have in common; for distinct(), in, union and the like."""
        value = plain(item)
        if isinstance(value, Node):
            return self.freeze(value.value) if value.value is not None else (None, self.freeze(value.extra))
        if isinstance(value, Temporal):
            return ("temporal", temporals.key(value))
        if isinstance(value, Quantity):
            return ("quantity", quantities.key(value))
        if isinstance(value, (dict, list)):  # of JSON that has a list where R4 has one value
            return self.freeze(value)
        return (value.__class__ is bool, value)

    def freeze(self, value: Any) -> Hashable:
        """Return JSON as something that is equal and hashes equal where the JSON is equal; kept for this run."""
        known = self.frozen.get(id(value))
        if known is None:
            before = self.steps
            frozen = self._freeze(value)
            known = self.frozen[id(value)] = (value, frozen, self.steps - before)
        else:
            self.spend(known[2] // 16)
        return known[1]

    def _freeze(self, value: Any) -> Hashable:
        if isinstance(value, Mapping):
            self.spend(len(value))
            return frozenset((name, self._freeze(item)) for name, item in value.items())
        if isinstance(value, list):
            self.spend(len(value))
            return tuple(self._freeze(item) for item in value)
        return (value.__class__ is bool, value)

    def distinct(self, items: Iterable[Any]) -> Collection:
        """Return the items without those that equal an earlier one."""
        seen: set[Hashable] = set()
        found: Collection = []
        for item in items:
            if (mark := self.key(item)) not in seen:
                seen.add(mark)
                found.append(item)
        return found


class Scope:
    """Where a part of an expression is evaluated: `$this`, `$index`, `$total`."""

    __slots__ = ("index", "run", "this", "total")

    def __init__(self, run: Run, this: Collection, index: int = 0, total: Collection | None = None) -> None:
        self.run = run
        self.this = this
        self.index = index
        self.total = total


Evaluate: TypeAlias = Callable[[Scope], Collection]


def node(value: Any, type: str = "") -> Node:
    """Return a node of JSON; a resource says its type itself."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Mapping) and isinstance(named := value.get("resourceType"), str):
        return Node(value, named)
    return Node(value, type)


def _typed(value: Any, type: str) -> Node:
    if type == "Resource" and isinstance(value, dict):
        return Node(value, str(value.get("resourceType", "")))
    return Node(value, type)


def _stand(value: Mapping[str, Any], slot: Slot) -> list[Node]:
    """The nodes of one JSON key."""
    found = value.get(slot.key)
    if not slot.primitive:
        if found is None:
            return []
        if isinstance(found, list):
            return [_typed(item, slot.type) for item in found if item is not None]
        return [_typed(found, slot.type)]
    extra = value.get("_" + slot.key)
    if extra is None:
        if found is None:
            return []
        if isinstance(found, list):
            return [Node(item, slot.type) for item in found if item is not None]
        return [Node(found, slot.type)]
    values = found if isinstance(found, list) else [found]
    extras = extra if isinstance(extra, list) else [extra]
    pairs = zip_longest(values, extras)
    return [Node(item, slot.type, more) for item, more in pairs if item is not None or more is not None]


def _guess(value: Mapping[str, Any], name: str) -> list[Node]:
    """Navigate JSON of an unknown type: by its key, or as a choice whose key says the type."""
    for key in (name, "_" + name):
        if key in value:
            primitive = key != name or not isinstance(value[key], (dict, list))
            return _stand(value, Slot(name, "", primitive, False))
    for key in value:
        if key.startswith(name) and (type := suffixes().get(key[len(name) :])):
            return _stand(value, Slot(key, type, is_primitive(type), False))
    return []


def children_named(item: Node, name: str) -> list[Node]:
    """Return the children of one name; the name of a choice is without its type."""
    value = item.value
    if not isinstance(value, dict):
        if item.extra is None or name not in ("id", "extension"):
            return []
        return children_named(Node(item.extra, "Element"), name)
    found = slots(item.type).get(name)
    if found is None:
        return [] if is_known(item.type) or name == "resourceType" else _guess(value, name)
    if len(found) == 1:
        return _stand(value, found[0])
    return [child for slot in found for child in _stand(value, slot)]


def children(item: Node) -> list[Node]:
    """Return all children, in the order of the JSON."""
    value = item.value
    if not isinstance(value, dict):
        return [] if item.extra is None else children(Node(item.extra, "Element"))
    known = keys(item.type)
    found: list[Node] = []
    for key, below in value.items():
        name = key[1:] if key.startswith("_") else key
        if key == "resourceType" or (name != key and name in value):
            continue
        slot = known.get(name)
        if slot is not None:
            found += _stand(value, slot)
        elif not known:
            found += _stand(value, Slot(name, "", not isinstance(below, (dict, list)) or name != key, False))
    return found


def plain(item: Any) -> Any:
    """Return the System value of a FHIR primitive or Quantity; anything else as it is, None for no value."""
    if item.__class__ is not Node:
        return item
    value, type = item.value, item.type
    if value.__class__ is str:
        return _temporal(value, type) if type in DATES else value
    if value.__class__ is dict:
        if "Quantity" in ancestors(type):
            return quantities.from_fhir(value) or item
        return item
    if value.__class__ is int and not isinstance(value, bool) and type == "decimal":
        return Decimal(value)
    return value


def _temporal(text: str, type: str) -> Any:
    if type == "date":
        return temporals.parse_date(text) or text
    if type == "time":
        return temporals.parse_time(text) or text
    return temporals.parse_datetime(text) or text


def to_json(item: Any) -> Any:
    """Return an item as FHIR JSON has it."""
    if isinstance(item, Node):
        return item.value
    if isinstance(item, Temporal):
        return str(item)
    if isinstance(item, TypeName):
        return item._asdict()
    if isinstance(item, Quantity):
        if item.calendar:
            return {"value": item.value, "unit": item.unit}
        return {"value": item.value, "unit": item.unit, "system": UCUM, "code": item.unit}
    return item


def type_of(item: Any) -> TypeName:
    """Return the type of an item."""
    if isinstance(item, Node):
        return TypeName("FHIR", item.type)
    if isinstance(item, Temporal):
        return TypeName("System", item.kind)
    names = {bool: "Boolean", str: "String", int: "Integer", Decimal: "Decimal", Quantity: "Quantity"}
    return TypeName("System", next((name for kind, name in names.items() if isinstance(item, kind)), "Any"))


def is_a(item: Any, type: TypeName) -> bool:
    """Whether an item is of a type or of one derived from it."""
    own = type_of(item)
    if own.namespace == "System":
        return (type.namespace == "System" and type.name in (own.name, "Any")) or (
            own.name == type.name == "Quantity"  # unqualified, FHIR's is found first
        )
    return type.namespace == "FHIR" and type.name in ancestors(own.name)


def cast(item: Any, type: TypeName) -> bool:
    """Whether `as` and `ofType` keep an item: primitives of that very type, others also of a derived one."""
    if isinstance(item, Node) and is_primitive(item.type):
        return type == ("FHIR", item.type)
    return is_a(item, type)


_LOCAL = re.compile(r"(?:^|/)([A-Z][A-Za-z]{1,40})/[A-Za-z0-9.\-]{1,64}(?:/_history/[A-Za-z0-9.\-]{1,64})?$")


def referred_type(reference: str) -> str:
    """Return the resource type that a reference's text shows; "" when it shows none."""
    match = _LOCAL.search(reference)
    return match[1] if match and match[1] in resource_types() else ""
