"""Questions as nodes: each can test one resource, and list all that answer it.

A node stands for a set of current resources of the types that it was made for, each named by the `seq` of
its current version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from fhir_server.store.sqlite.find.context import Arm, Context, count
from fhir_server.store.sqlite.find.fragments import FALSE, TRUE, Sql, every, listed, some, sql
from fhir_server.store.sqlite.find.ranges import Range, placed
from fhir_server.store.sqlite.session import Session

_FEW: Final = 6  # alternatives that are tested one by one
_ARMS: Final = 12  # lists that are merged; more are gathered and sorted


class Node(Protocol):
    """A question about current resources."""

    def test(self, seq: str, context: Context) -> Sql:
        """Return the condition that the resource at this column is an answer."""
        ...

    def arms(self, context: Context) -> list[Arm]:
        """Return lists whose union are the answers."""
        ...

    @property
    def disjoint(self) -> bool:
        """Whether the lists name each resource once, taken together."""
        ...

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        ...

    def size(self, session: Session) -> int:
        """Return about how many answers there are, `context.LARGE` for that many or more."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """No resource."""

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return True

    def test(self, seq: str, context: Context) -> Sql:
        """Return FALSE."""
        return FALSE

    def arms(self, context: Context) -> list[Arm]:
        """Return no list."""
        return []

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return 0.0

    def size(self, session: Session) -> int:
        """Return 0."""
        return 0


NOTHING: Final = Nothing()


@dataclass(frozen=True, slots=True)
class Keys:
    """Resources in some lists of the table `token`."""

    pairs: tuple[tuple[int, int], ...]  # t, c
    single: str = ""  # a kind of value of which each of these resources has one only, if there is one

    @property
    def disjoint(self) -> bool:
        """Whether each resource is in one list."""
        return bool(self.single) or len(self.pairs) == 1

    def test(self, seq: str, context: Context) -> Sql:
        """Look into each list, or into the set of all of them."""
        if len(self.pairs) <= _FEW:
            x = context.names.new()
            one = f"EXISTS (SELECT 1 FROM token {x} WHERE {x}.t = ? AND {x}.c = ? AND {x}.seq = {seq})"  # noqa: S608
            return some(sql(one, t, c) for t, c in self.pairs)
        arm = self._gathered(context)
        return sql(f"{seq} IN (SELECT {arm.seq} FROM ? WHERE ?)", arm.source, arm.where)  # noqa: S608

    def arms(self, context: Context) -> list[Arm]:
        """Return each list, or all in one."""
        if len(self.pairs) > _ARMS:
            return [self._gathered(context)]
        made = []
        for t, c in self.pairs:
            x = context.names.new()
            made.append(Arm(Sql(f"token {x}"), f"{x}.seq", sql(f"{x}.t = ? AND {x}.c = ?", t, c), True))
        return made

    def _gathered(self, context: Context) -> Arm:
        j, x = context.names.new(), context.names.new()
        pairs = msgspec.json.encode(self.pairs).decode()
        source = f"json_each(?) {j} CROSS JOIN token {x} ON {x}.t = {j}.value ->> 0 AND {x}.c = {j}.value ->> 1"
        return Arm(sql(source, pairs), f"{x}.seq", TRUE)

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return float(min(len(self.pairs), _FEW))

    def size(self, session: Session) -> int:
        """Count the lists."""
        return count(session, self.arms(Context(session)))


@dataclass(frozen=True, slots=True)
class Listed:
    """Resources in an arm that tests can only use as a set."""

    make: Callable[[Context], Arm]

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return False

    def test(self, seq: str, context: Context) -> Sql:
        """Look into the set."""
        arm = self.make(context)
        return sql(f"{seq} IN (SELECT {arm.seq} FROM ? WHERE ?)", arm.source, arm.where)  # noqa: S608

    def arms(self, context: Context) -> list[Arm]:
        """Return the arm."""
        return [self.make(context)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return 1.0

    def size(self, session: Session) -> int:
        """Count it."""
        return count(session, self.arms(Context(session)))


@dataclass(frozen=True, slots=True)
class Shapes:
    """Resources with one of these sets of parameters."""

    ts: tuple[int, ...]

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return True

    def test(self, seq: str, context: Context) -> Sql:
        """Look at the resource's own set."""
        x = context.names.new()
        return sql(
            f"EXISTS (SELECT 1 FROM head {x} WHERE {x}.seq = {seq} AND {x}.shape IN ?)",  # noqa: S608
            listed(self.ts),
        )

    def arms(self, context: Context) -> list[Arm]:
        """Return the list of each set."""
        return self._keys().arms(context)

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return 1.0

    def size(self, session: Session) -> int:
        """Count the lists."""
        return self._keys().size(session)

    def _keys(self) -> Keys:
        return Keys(tuple((t, 0) for t in self.ts), single="shape")


@dataclass(frozen=True, slots=True)
class Spans:
    """Resources with a value in some range."""

    ranges: tuple[Range, ...]
    disjoint: bool = False

    def test(self, seq: str, context: Context) -> Sql:
        """Look through the resource's own values."""
        x = context.names.new()
        fits = some(
            every((sql(f"{x}.t IN ?", listed(each.ts)), placed(each.where, x)))
            for each in self.ranges
            if each.where is not FALSE
        )
        if fits is FALSE:
            return FALSE
        return sql(f"EXISTS (SELECT 1 FROM fact {x} WHERE {x}.seq = {seq} AND ?)", fits)  # noqa: S608

    def arms(self, context: Context) -> list[Arm]:
        """Return each range of each term, or of all terms together where they are many."""
        made = []
        for each in self.ranges:
            if each.where is FALSE:
                continue
            groups = [(t,) for t in each.ts] if len(each.ts) <= _ARMS else [each.ts]
            for ts in groups:
                x = context.names.new()
                of = sql(f"{x}.t = ?", ts[0]) if len(ts) == 1 else sql(f"{x}.t IN ?", listed(ts))
                made.append(Arm(Sql(f"span {x}"), f"{x}.seq", every((of, placed(each.where, x)))))
        return made

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return 1.5

    def size(self, session: Session) -> int:
        """Count the ranges."""
        return count(session, self.arms(Context(session)))
