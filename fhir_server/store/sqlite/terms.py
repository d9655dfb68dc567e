"""The dictionary of what index rows are about, and the hashes of what they hold.

A term is (tenant, type, kind, params, system) with a small number. `params` is the set of search
parameters under which a resource has the same value: `code combo-code` is one row, not two. Terms are
never deleted, so a cache of them is right in every snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

import apsw

HashText: TypeAlias = Callable[[str], int]

TYPE: Final = "type"  # every current resource of a type
HISTORY: Final = "history"  # its superseded versions and deletions
SHAPE: Final = "shape"  # the current resources that have values for just these params
TOKEN: Final = "token"  # c: code; system: its system  # noqa: S105 - no password
TEXT: Final = "text"  # c: folded text of a token
OF_TYPE: Final = "of-type"  # c: type code and value; system: of the type
LOCAL: Final = "local"  # c: id; system: resource type
URL: Final = "url"  # c: url of a reference elsewhere
IDENTIFIER: Final = "identifier"  # c: value of Reference.identifier; system: its system
URI: Final = "uri"  # c: uri
EXACT: Final = "exact"  # c: string as it is written
FOLDED: Final = "folded"  # a string to search in
DATE: Final = "date"  # system: class of width
NUMBER: Final = "number"  # system: point or range
QUANTITY: Final = "quantity"  # system: point or range, with unit
TIMELINE: Final = "timeline"
OWNER: Final = "@owner"  # stands among params where a reference names an owner
SEVERAL: Final = "*"  # before a param, beside it: the resource has several values of that kind for it

_LONGEST_KEPT: Final = 128  # characters; longer texts seldom come again, and thousands of them would fill the memory


class Term(NamedTuple):
    """A row of the dictionary."""

    id: int
    tenant: int
    type: str
    kind: str
    params: tuple[str, ...]
    system: str


def hasher(key: bytes) -> HashText:
    """Return a keyed hash of texts to 64-bit signed numbers; nobody without the key can make two collide."""

    def hash_any(text: str) -> int:
        made = blake2b(text.encode(), digest_size=8, key=key).digest()
        number = int.from_bytes(made, "big", signed=True)
        return number if number not in (0, 1) else 2  # 0 and 1 mean something in `head.owner`

    kept = lru_cache(maxsize=32_768)(hash_any)

    def hash_text(text: str) -> int:
        return kept(text) if len(text) <= _LONGEST_KEPT else hash_any(text)

    return hash_text


class Terms:
    """The terms of one side (the writer's, or the readers'), cached."""

    def __init__(self) -> None:
        self._ids: dict[tuple[int, str, str, str, str], int] = {}
        self._by_id: dict[int, Term] = {}
        self._by_param: dict[tuple[int, str, str], list[Term]] = {}
        self._by_kind: dict[tuple[int, str], list[Term]] = {}
        self._types: dict[int, dict[str, int]] = {}
        self.newest = 0
        self._lock = Lock()

    def refresh(self, connection: apsw.Connection) -> None:
        """Load what was added since, as this connection's snapshot shows it."""
        newest = connection.execute("SELECT max(id) FROM term").get or 0
        if newest > self.newest:
            rows: list[Any] = connection.execute(
                "SELECT * FROM term WHERE id > ? ORDER BY id", (self.newest,)
            ).fetchall()
            for row in rows:
                self.add(*row)

    def add(self, id: int, tenant: int, type: str, kind: str, params: str, system: str) -> None:
        """Take in a row of the table."""
        self._ids[tenant, type, kind, params, system] = id
        term = self._by_id[id] = Term(id, tenant, type, kind, tuple(params.split(" ")) if params else (), system)
        for param in term.params:
            self._by_param.setdefault((tenant, type, param), []).append(term)
        self._by_kind.setdefault((tenant, kind), []).append(term)
        if kind == TYPE:
            self._types[tenant] = {**self._types.get(tenant, {}), type: id}  # others may go through the old one
        self.newest = max(self.newest, id)

    def id(self, tenant: int, type: str, kind: str, params: str = "", system: str = "") -> int:
        """Return the number of a term, 0 where there is none."""
        return self._ids.get((tenant, type, kind, params, system), 0)

    def term(self, id: int) -> Term:
        """Return a term that is known by its number."""
        return self._by_id[id]

    def beside(self, id: int) -> list[Term]:
        """Return all terms of the tenant and resource type that a term has."""
        of = self._by_id[id][1:3]
        return [term for term in self._by_id.values() if term[1:3] == of]

    def of_param(self, tenant: int, type: str, param: str, kinds: Iterable[str]) -> list[Term]:
        """Return the terms of these kinds whose set of parameters has `param`."""
        return [term for term in self._by_param.get((tenant, type, param), ()) if term.kind in kinds]

    def types(self, tenant: int) -> dict[str, int]:
        """Return the numbers of the types that a tenant has, by name."""
        return self._types.get(tenant, {})

    def of_kind(self, tenant: int, kind: str) -> list[Term]:
        """Return all terms of a kind in a tenant."""
        return self._by_kind.get((tenant, kind), [])

    def drop(self, ids: set[int]) -> None:
        """Forget terms whose rows were undone."""
        for key in [key for key, id in self._ids.items() if id in ids]:
            del self._by_id[self._ids.pop(key)]
        for types in self._types.values():
            for name in [name for name, id in types.items() if id in ids]:
                del types[name]
        for lists in (self._by_param, self._by_kind):
            for terms in lists.values():
                terms[:] = [term for term in terms if term.id not in ids]
