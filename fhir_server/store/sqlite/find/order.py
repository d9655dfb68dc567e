"""Sort keys and cursors: by each key, missing values last, then newest write first.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from fhir_server.errors import BadParameter
from fhir_server.search.query import Sort
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.clauses import Compiler
from fhir_server.store.sqlite.find.context import Context
from fhir_server.store.sqlite.find.fragments import FALSE, TRUE, Sql, join, listed, some, sql
from fhir_server.store.sqlite.find.nodes import Node
from fhir_server.store.sqlite.find.sight import Typed
from fhir_server.store.sqlite.measures import ANY, read_unit
from fhir_server.store.sqlite.terms import Term

KINDS: Final = {
    "date": (terms.DATE,),
    "number": (terms.NUMBER,),
    "quantity": (terms.QUANTITY,),
    "string": (terms.FOLDED,),
    "token": (terms.TOKEN,),
    "reference": (terms.LOCAL, terms.URL),
    "uri": (terms.URI,),
}
"""The kinds of terms that have the values of a type of parameter."""

ORDERED: Final = ("date", "number", "quantity", "string")
"""Types of parameters whose values stand in order in the index; the others are sorted when they are asked for."""


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


class Hop(NamedTuple):
    """One step of a chain: from a resource to those of one type that it refers to and that may be seen."""

    ts: tuple[int, ...]  # terms of the references
    k: int  # the type they lead to
    visible: Node | None  # None: everything may be seen


class Key(NamedTuple):
    """A sort key, ready for statements."""

    sort: Sort
    terms: tuple[Term, ...]  # under which its values stand; none where no resource has any
    hops: tuple[Hop, ...] = ()
    is_lost: bool = False  # whether the chain leads nowhere, so that no resource has a value

    @property
    def is_walkable(self) -> bool:
        """Whether the index has every resource that has a value, in the order of the values."""
        if self.sort.path or self.sort.parameter.type not in ORDERED:
            return self.is_id
        return not any(t.kind == terms.QUANTITY and read_unit(t.system)[0] == ANY for t in self.terms)

    @property
    def is_id(self) -> bool:
        """Whether the order is that of the resources' own ids."""
        return self.sort.parameter.code == "_id" and not self.sort.path

    def column(self, seq: str, context: Context) -> Sql:
        """Return the value of the key for the resource at a column, NULL where it has none."""
        return Sql("NULL") if self.is_lost else self._at(seq, self.hops, context)

    def _at(self, seq: str, hops: Sequence[Hop], context: Context) -> Sql:
        if not hops:
            return self._value(seq, context)
        hop = hops[0]
        f, r, h = (context.names.new() for _ in range(3))
        value = self._at(f"{h}.seq", hops[1:], context)
        seen = TRUE if hop.visible is None else hop.visible.test(f"{h}.seq", context)
        return sql(
            f"(SELECT {self._first}(?) FROM fact {f} CROSS JOIN resource {r} ON {r}.k = ? AND {r}.id = {f}.lo"  # noqa: S608
            f" CROSS JOIN head {h} ON {h}.seq = {r}.seq WHERE {f}.seq = {seq} AND {f}.t IN ? AND ?)",
            value,
            hop.k,
            listed(hop.ts),
            seen,
        )

    @property
    def _first(self) -> str:
        return "max" if self.sort.descending else "min"

    def _value(self, seq: str, context: Context) -> Sql:
        x = context.names.new()
        if self.sort.parameter.code == "_id":
            return sql(f"(SELECT {x}.id FROM version {x} WHERE {x}.seq = {seq})")  # noqa: S608
        ts = [t.id for t in self.terms if t.kind != terms.QUANTITY or read_unit(t.system)[0] != ANY]
        if not ts:
            return Sql("NULL")
        source, where, column = f"fact {x}", f"{x}.seq = {seq} AND {x}.t IN ?", Sql(f"{x}.lo")
        kind = self.sort.parameter.type
        if kind == "uri":
            y = context.names.new()
            source, column = f"{source} CROSS JOIN text {y} ON {y}.t = {x}.t AND {y}.c = {x}.lo", Sql(f"{y}.text")
        elif kind in ("token", "reference"):
            where += f" AND typeof({x}.lo) = 'text'"  # a number where there is nothing to sort by
            column = self._typed(x) if kind == "reference" else column
        return sql(f"(SELECT {self._first}(?) FROM {source} WHERE {where})", column, listed(ts))  # noqa: S608

    def _typed(self, x: str) -> Sql:
        """Return `Type/id` of a local reference, the url of another."""
        types: dict[str, list[int]] = {}
        for term in self.terms:
            types.setdefault(f"{term.system}/" if term.kind == terms.LOCAL else "", []).append(term.id)
        whens = [sql(f"WHEN {x}.t IN ? THEN ?", listed(ts), start) for start, ts in types.items()]
        return sql(f"CASE ? END || {x}.lo", join(" ", whens))


def keys_of(sort: Sequence[Sort], types: Sequence[Typed], compiler: Compiler) -> list[Key]:
    """Return the sort keys of a query."""
    return [_key(each, types, compiler) for each in sort]


def _key(sort: Sort, types: Sequence[Typed], compiler: Compiler) -> Key:
    hops: list[Hop] = []
    at = list(types)
    for parameter, target in sort.path:
        found = [t.id for t in compiler.terms_of(at, parameter.code, terms.LOCAL) if t.system == target]
        at = compiler.types((target,))
        if not found or not at:
            return Key(sort, (), is_lost=True)
        hops.append(Hop(tuple(found), at[0].k, compiler.visible(at)))
    code, kinds = sort.parameter.code, KINDS.get(sort.parameter.type, ())
    return Key(sort, tuple(compiler.terms_of(at, code, *kinds)), tuple(hops))


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
