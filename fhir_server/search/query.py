"""A search as data: what `parse` makes of a query string and a store answers.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias, Union

from fhir_server.search.values import Value


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter of one resource type, from the R4 definitions."""

    code: str
    type: str  # number date string token reference composite quantity uri special
    base: str  # the resource type it is asked on, e.g. "Observation"
    expression: str
    targets: tuple[str, ...] = ()  # of a reference: the types it may point to
    components: tuple[Parameter, ...] = ()  # of a composite; their expressions start at the composite's element


@dataclass(frozen=True, slots=True)
class Ask:
    """One alternative of a question: a prefix and a value.

    `value` holds the implicit range where the type has one: 2024 is the span of that year, 5.40 is the
    half-open [5.395, 5.405) (https://hl7.org/fhir/R4/search.html#number: 100 is "[99.5 ... 100.5)"), so a
    number equals it when lo <= number < hi. `exact` is the number as written, for gt lt ge le sa eb, which
    ignore the precision. With `ap` the range in `value` is already widened by its 10 %: a value matches
    when it overlaps. In a question a Quantity with a system asks for that system and code; without a
    system, `unit` ("" any) is compared with code and unit; `lo` and `hi` are always set.

    Of a composite, `parts` has one Ask for each component and `value` is the Composite of their values.
    Of :text the value is a Text, of :identifier a Token; of :of-type a Token whose `kind` and `code` count.
    Of `near` the value is a Position and `exact` the distance in km. `of_code` is for quantities: whether the
    search also says by a code what is measured (search/quantity.py).
    """

    value: Value
    prefix: str = "eq"  # eq ne gt lt ge le sa eb ap
    exact: Decimal | None = None
    parts: tuple[Ask, ...] = ()
    of_code: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A parameter equals one of its alternatives, under a modifier.

    A type as modifier (`subject:Patient=1`) is already in the Reference asked for; a bare id has its type
    where the parameter has one target only, else "" for any.
    """

    parameter: Parameter
    asks: tuple[Ask, ...]
    # missing exact contains not text in not-in above below identifier of-type; of `_filter`: equals ends; of
    # full text: words
    modifier: str = ""
    missing: bool | None = None  # of :missing

    @property
    def is_open(self) -> bool:
        """Whether a value set or a hierarchy must say first what is asked for; no store answers it before."""
        if self.modifier in ("in", "not-in"):
            return True
        return self.modifier in ("above", "below") and self.parameter.type in ("token", "reference")

    @property
    def is_full_text(self) -> bool:
        """Whether it asks for words of the whole resource, which no index holds (`search.words`)."""
        return self.modifier == "words"


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference points to a resource (of one of `targets`) for which `then` holds: `subject:Patient.name=x`."""

    parameter: Parameter
    targets: tuple[str, ...]
    then: tuple[Clause, ...]  # one clause for each target, in the order of `targets`


@dataclass(frozen=True, slots=True)
class Has:
    """Some resource of type `source` refers here by `parameter`, and `then` holds for it: `_has:`."""

    source: str
    parameter: Parameter
    then: Clause


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of these holds for the same resource: `and` of `_filter`."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these holds; none does where there are none: `or` of `_filter`."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The clause does not hold: `not` of `_filter`."""

    clause: Clause


Clause: TypeAlias = Union[Match, "Chain", "Has", "AllOf", "AnyOf", "Not"]


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key; a resource without a value comes last in either direction.

    With a `path` the key is the value of the resource that a chain of references leads to:
    `_sort=subject:Patient.family` is Sort(family, path=((Observation.subject, "Patient"),)). Of several, the
    least counts when ascending and the greatest when descending, as for a parameter of the resource itself.
    """

    parameter: Parameter
    descending: bool = False
    path: tuple[tuple[Parameter, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """`_include` or `_revinclude`: from `source` ("*" any) by `parameter` (None: every one) to `target` ("" any)."""

    source: str
    parameter: Parameter | None
    target: str = ""
    iterate: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A whole search; clauses are joined by AND."""

    types: tuple[str, ...]  # one, or several (system level)
    where: tuple[Clause, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 20
    after: tuple[Any, ...] | None = None  # where the page before ended: a store's own cursor, JSON values only
    includes: tuple[Include, ...] = ()
    total: str = "accurate"  # none estimate accurate
    summary: str = "false"  # true text data count false
    elements: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()  # parameters that lenient handling left out
    text: tuple[tuple[str, str], ...] = ()  # the parameters that ran, for the self link
    within: str = ""  # `Patient/1` of a search in its compartment, whose clause is in `where`
    contained: str = "false"  # true: contained resources are searched; both: these and the others
    contained_type: str = "container"  # container contained: which of the two is returned
    explain: bool = False  # whether the plan is to be shown beside the results
