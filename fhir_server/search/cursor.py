"""The order of search results, and where in it a page ended.

A cursor holds the sort values of the last resource of a page and its `seq`: JSON values, so that it can
travel. It stays right while others write, since it names a place in the order and not a row. Values are
text, whole numbers, decimals as text, or None.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from functools import cmp_to_key
from typing import Any, Final, NamedTuple, TypeAlias

from fhir_server.errors import BadParameter
from fhir_server.search.fold import fold
from fhir_server.search.match import Around, Node
from fhir_server.search.query import Sort
from fhir_server.search.values import Number, Period, Quantity, Reference, Text, Token, Uri, Value

Key: TypeAlias = "str | int | Decimal | None"

_NUMBERS: Final = ("number", "quantity")


class Place(NamedTuple):
    """Where a resource stands in the order asked for."""

    keys: tuple[Key, ...]  # one for each sort; None: no value
    seq: int  # of its current version


def place(sort: Sequence[Sort], node: Node, seq: int, around: Around) -> Place:
    """Return where a resource stands.

    Of several values the one that comes first in the direction of the sort counts. A chain leads to what may be
    seen only: who may not see a resource cannot tell its values by the order of those that refer to it.

    Args:
        sort: The keys of the order.
        node: The resource.
        seq: Of its current version.
        around: Gives the resources that may be seen; chains follow them.
    """
    return Place(tuple(_key(key, node, around) for key in sort), seq)


def _key(sort: Sort, node: Node, around: Around) -> Key:
    found = (v for end in _ends(sort, node, around) for v in end.values.get(sort.parameter.code, ()))
    keys: list[Any] = [key for value in found if (key := sort_key(value)) is not None]
    return (max(keys) if sort.descending else min(keys)) if keys else None


def _ends(sort: Sort, node: Node, around: Around) -> list[Node]:
    """Return the resources that the chain of a sort leads to; the resource itself where there is no chain."""
    ends = [node]
    for parameter, type in sort.path:
        links = (v for end in ends for v in end.values.get(parameter.code, ()))
        ids = dict.fromkeys(v.id for v in links if isinstance(v, Reference) and v.type == type and not v.url)
        ends = [target for id in ids if (target := around.target(type, id)) is not None]
    return ends


def sort_key(value: Value) -> Key:
    """Return what a value is ordered by; None where it has nothing to be ordered by.

    Strings by their folded text, tokens by code, dates by their begin, numbers by their lower bound,
    references by `Type/id` or url. A quantity below a bound ("<5") stands at that bound.
    """
    match value:
        case Text(text):
            return fold(text)
        case Uri(text):
            return text
        case Token(code=code):
            return code
        case Quantity(lo=None, hi=hi):
            return hi
        case Period(lo=lo) | Number(lo=lo) | Quantity(lo=lo):
            return lo
        case Reference(type=type, id=id, url=url):
            return url or (f"{type}/{id}" if id else None)
        case _:
            return None


def ordered(sort: Sequence[Sort]) -> Any:
    """Return a key function over Places: by each sort, missing values last, then newest write first."""

    def compare(one: Place, other: Place) -> int:
        for sort_by, a, b in zip(sort, one.keys, other.keys, strict=True):
            if a != b:
                if a is None or b is None:
                    return 1 if a is None else -1
                return _sign(a, b) * (-1 if sort_by.descending else 1)
        return _sign(other.seq, one.seq)

    return cmp_to_key(compare)


def _sign(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def write_cursor(place: Place) -> tuple[object, ...]:
    """Return a place as JSON values."""
    return (*(str(key) if isinstance(key, Decimal) else key for key in place.keys), place.seq)


def read_cursor(sort: Sequence[Sort], cursor: Sequence[Any]) -> Place:
    """Return the place that a cursor names; raise BadParameter where it is of another order."""
    *keys, seq = cursor or (None,)
    if len(keys) != len(sort) or not isinstance(seq, int):
        raise BadParameter("The page link belongs to another search.")
    return Place(tuple(map(_read_key, sort, keys)), seq)


def _read_key(sort: Sort, key: Any) -> Key:
    kind = sort.parameter.type
    if key is None:
        return None
    if not isinstance(key, int if kind == "date" else str):
        raise BadParameter("The page link belongs to another search.")
    try:
        return Decimal(key) if kind in _NUMBERS else key
    except InvalidOperation:
        raise BadParameter("The page link belongs to another search.") from None
