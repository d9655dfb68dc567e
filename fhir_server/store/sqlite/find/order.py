"""Sort keys and cursors: by each key, missing values last, then newest write first.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from fhir_server import gate
from fhir_server.errors import BadParameter
from fhir_server.model import Resource
from fhir_server.search.cursor import place
from fhir_server.search.query import Sort
from fhir_server.search.values import Indexed
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.combined import call
from fhir_server.store.sqlite.find.context import Context
from fhir_server.store.sqlite.find.fragments import FALSE, Sql, listed, some, sql
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.measures import ANY, read_unit
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import Term, Terms

KINDS: Final = {
    "date": terms.DATE,
    "number": terms.NUMBER,
    "quantity": terms.QUANTITY,
    "string": terms.FOLDED,
}
"""Parameter types whose values stand in order in the index, with the kind of their terms."""


class Cursor(NamedTuple):
    """Where a page ended: the sort columns of its last resource, and its seq."""

    keys: tuple[Any, ...]
    seq: int


def write_cursor(cursor: Cursor) -> tuple[object, ...]:
    """Return a cursor as JSON values; bytes as hexadecimal digits."""
    return (*(key.hex() if isinstance(key, bytes) else key for key in cursor.keys), cursor.seq)


def read_cursor(sort: Sequence[Sort], after: Sequence[Any] | None) -> Cursor | None:
    """Return the cursor that JSON values stand for; raise BadParameter where it is of another order."""
    if after is None:
        return None
    *keys, seq = after or (None,)
    if len(keys) != len(sort) or type(seq) is not int or abs(seq) >= 2**63:
        raise BadParameter("The page link belongs to another search.")
    return Cursor(tuple(map(_read_key, sort, keys)), seq)


def _read_key(sort: Sort, key: Any) -> Any:
    kind = sort.parameter.type
    if key is None:
        return None
    if kind == "date" and type(key) is int and abs(key) <= 2**63:
        return max(key, -(2**63))
    if kind != "date" and isinstance(key, str):
        try:
            return bytes.fromhex(key) if kind in ("number", "quantity") else key
        except ValueError:
            raise BadParameter("The page link belongs to another search.") from None
    raise BadParameter("The page link belongs to another search.")


class Key(NamedTuple):
    """A sort key, ready for statements."""

    sort: Sort
    terms: tuple[Term, ...]  # under which its values stand in order
    check: int  # number of the check that gives it, -1 where the index does

    @property
    def is_walkable(self) -> bool:
        """Whether every resource that has a value stands in the order of the index."""
        if self.check >= 0 or self.sort.parameter.code == "_id":
            return False
        return not any(t.kind == terms.QUANTITY and read_unit(t.system)[0] == ANY for t in self.terms)

    def column(self, seq: str, context: Context) -> Sql:
        """Return the value of the key for the resource at a column, NULL where it has none."""
        x = context.names.new()
        if self.sort.parameter.code == "_id":
            return sql(f"(SELECT {x}.id FROM version {x} WHERE {x}.seq = {seq})")  # noqa: S608
        if self.check >= 0:
            return sql(f"(SELECT {call(x)} FROM version {x} WHERE {x}.seq = {seq})", self.check)  # noqa: S608
        ts = [t.id for t in self.terms if t.kind != terms.QUANTITY or read_unit(t.system)[0] != ANY]
        first = "max" if self.sort.descending else "min"
        return sql(
            f"(SELECT {first}({x}.lo) FROM fact {x} WHERE {x}.seq = {seq} AND {x}.t IN ?)",  # noqa: S608
            listed(ts),
        )


def keys_of(
    sort: Sequence[Sort],
    types: Sequence[Typed],
    known: Terms,
    tenant: int,
    session: Session,
    index: Callable[[Resource], Indexed],
) -> list[Key]:
    """Return the sort keys of a query."""
    return [_key(each, types, known, tenant, session, index) for each in sort]


def _key(
    sort: Sort,
    types: Sequence[Typed],
    known: Terms,
    tenant: int,
    session: Session,
    index: Callable[[Resource], Indexed],
) -> Key:
    code, kind = sort.parameter.code, KINDS.get(sort.parameter.type)
    if kind is not None:
        found = [term for type in types for term in known.of_param(tenant, type.name, code, (kind,))]
        return Key(sort, tuple(found), -1)
    if code == "_id":
        return Key(sort, (), -1)

    def value(k: int, id: str, at: int, owners: tuple[str, ...], body: bytes) -> Any:
        return place((sort,), index(gate.load(body)).values, 0).keys[0]

    session.checks.append(value)
    return Key(sort, (), len(session.checks) - 1)


def ordering(keys: Sequence[Key]) -> str:
    """Return what follows ORDER BY for columns k0, k1 ... and seq."""
    parts = []
    for number, key in enumerate(keys):
        direction = "DESC" if key.sort.descending else "ASC"
        parts.append(f"k{number} {direction} NULLS LAST")
    return ", ".join((*parts, "seq DESC"))


def beyond(keys: Sequence[Key], cursor: Cursor) -> Sql:
    """Return the condition on k0, k1 ... and seq that a row comes after a cursor."""
    made = sql("seq < ?", cursor.seq)
    for number in range(len(keys) - 1, -1, -1):
        value, column = cursor.keys[number], f"k{number}"
        sign = "<" if keys[number].sort.descending else ">"
        later = FALSE if value is None else sql(f"({column} {sign} ? OR {column} IS NULL)", value)
        made = some((later, sql(f"({column} IS ? AND ?)", value, made)))
    return made
