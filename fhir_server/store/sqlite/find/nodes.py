"""Questions as nodes: each can test one resource, and list all that answer it.

A node stands for a set of current resources of the types that it was made for, each named by the `seq` of
its current version.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from fhir_server.store.sqlite.find.fragments import FALSE, TRUE, Names, Sql, every, listed, some, sql
from fhir_server.store.sqlite.find.ranges import Range, placed
from fhir_server.store.sqlite.session import CHECK, Session

BOUND: Final = 2_000  # rows that are counted to choose what drives a search
_FEW: Final = 6  # alternatives that are tested one by one
_ARMS: Final = 12  # lists that are merged; more are gathered and sorted
_FANOUT: Final = 10  # resources that refer to one, for want of statistics
_SIZES: Final = 4_000  # counts kept


class Arm(NamedTuple):
    """A list of resources, as parts of a SELECT."""

    source: Sql  # after FROM
    seq: str  # its column
    where: Sql
    ordered: bool = False  # each resource once, in the order of seq


class Context:
    """What building one statement needs.

    Args:
        session: The connection that will run it.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.names = session, Names()

    def count(self, arm: Arm) -> int:
        """Return how many rows an arm has, BOUND at most."""
        found = self.session.connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM {arm.source.text} WHERE {arm.where.text} LIMIT {BOUND})",  # noqa: S608
            (*arm.source.values, *arm.where.values),
        )
        made: int = found.get
        return made


class Node(Protocol):
    """A question about current resources."""

    def test(self, seq: str, context: Context) -> Sql:
        """Return the condition that the resource at this column is an answer."""
        ...

    def arms(self, context: Context) -> list[Arm]:
        """Return lists whose union are the answers."""
        ...

    def size(self, context: Context) -> int:
        """Return about how many answers there are, BOUND for that many or more."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """No resource."""

    def test(self, seq: str, context: Context) -> Sql:
        """Return FALSE."""
        return FALSE

    def arms(self, context: Context) -> list[Arm]:
        """Return no list."""
        return []

    def size(self, context: Context) -> int:
        """Return 0."""
        return 0


NOTHING: Final = Nothing()


@dataclass(frozen=True, slots=True)
class Keys:
    """Resources in some lists of the table `token`."""

    pairs: tuple[tuple[int, int], ...]  # t, c

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

    def size(self, context: Context) -> int:
        """Count the lists, each at most once in a while."""
        total, sizes = 0, context.session.sizes
        for pair in self.pairs:
            if pair not in sizes:
                if len(sizes) >= _SIZES:
                    sizes.clear()
                sizes[pair] = context.count(Keys((pair,)).arms(context)[0])
            total += sizes[pair]
            if total >= BOUND:
                return BOUND
        return total


@dataclass(frozen=True, slots=True)
class Listed:
    """Resources in an arm that tests can only use as a set."""

    make: Callable[[Context], Arm]

    def test(self, seq: str, context: Context) -> Sql:
        """Look into the set."""
        arm = self.make(context)
        return sql(f"{seq} IN (SELECT {arm.seq} FROM ? WHERE ?)", arm.source, arm.where)  # noqa: S608

    def arms(self, context: Context) -> list[Arm]:
        """Return the arm."""
        return [self.make(context)]

    def size(self, context: Context) -> int:
        """Count it."""
        return context.count(self.make(context))


@dataclass(frozen=True, slots=True)
class Shapes:
    """Resources with one of these sets of parameters."""

    ts: tuple[int, ...]

    def test(self, seq: str, context: Context) -> Sql:
        """Look at the resource's own set."""
        x = context.names.new()
        return sql(
            f"EXISTS (SELECT 1 FROM head {x} WHERE {x}.seq = {seq} AND {x}.shape IN ?)",  # noqa: S608
            listed(self.ts),
        )

    def arms(self, context: Context) -> list[Arm]:
        """Return the list of each set."""
        return Keys(tuple((t, 0) for t in self.ts)).arms(context)

    def size(self, context: Context) -> int:
        """Count the lists."""
        return Keys(tuple((t, 0) for t in self.ts)).size(context)


@dataclass(frozen=True, slots=True)
class Spans:
    """Resources with a value in some range."""

    ranges: tuple[Range, ...]

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

    def size(self, context: Context) -> int:
        """Count the ranges."""
        return min(BOUND, sum(map(context.count, self.arms(context))))


@dataclass(frozen=True, slots=True)
class Either:
    """Resources that answer one of several questions."""

    nodes: tuple[Node, ...]

    def test(self, seq: str, context: Context) -> Sql:
        """Test each."""
        return some(node.test(seq, context) for node in self.nodes)

    def arms(self, context: Context) -> list[Arm]:
        """List each."""
        return [arm for node in self.nodes for arm in node.arms(context)]

    def size(self, context: Context) -> int:
        """Add them up."""
        return min(BOUND, sum(node.size(context) for node in self.nodes))


@dataclass(frozen=True, slots=True)
class Both:
    """Resources that answer all of several questions."""

    nodes: tuple[Node, ...]

    def test(self, seq: str, context: Context) -> Sql:
        """Test all."""
        return every(node.test(seq, context) for node in self.nodes)

    def arms(self, context: Context) -> list[Arm]:
        """List the rarest, and test the others."""
        first = min(self.nodes, key=lambda node: node.size(Context(context.session)))
        rest = [node for node in self.nodes if node is not first]
        return [tested(arm, [node.test(arm.seq, context) for node in rest]) for arm in first.arms(context)]

    def size(self, context: Context) -> int:
        """Return that of the rarest."""
        return min(node.size(context) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Except:
    """Resources of some types that do not answer a question."""

    node: Node
    all: Keys

    def test(self, seq: str, context: Context) -> Sql:
        """Negate the test."""
        inner = self.node.test(seq, context)
        return TRUE if inner is FALSE else FALSE if inner is TRUE else sql("NOT (?)", inner)

    def arms(self, context: Context) -> list[Arm]:
        """Test all."""
        return [tested(arm, [self.test(arm.seq, context)]) for arm in self.all.arms(context)]

    def size(self, context: Context) -> int:
        """Return that of all."""
        return self.all.size(context)


@dataclass(frozen=True, slots=True)
class Checked:
    """Resources that answer a question and pass a check of their body."""

    node: Node
    number: int  # of the check

    def test(self, seq: str, context: Context) -> Sql:
        """Test, then check."""
        return every((self.node.test(seq, context), check(self.number, seq, context)))

    def arms(self, context: Context) -> list[Arm]:
        """List, then check."""
        return [tested(arm, [check(self.number, arm.seq, context)]) for arm in self.node.arms(context)]

    def size(self, context: Context) -> int:
        """Return that of the question."""
        return self.node.size(context)


def check(number: int, seq: str, context: Context) -> Sql:
    """Return the condition that a check of the version at this column says yes."""
    v = context.names.new()
    return sql(
        f"EXISTS (SELECT 1 FROM version {v} WHERE {v}.seq = {seq} AND {call(v)})",  # noqa: S608
        number,
    )


def call(v: str) -> str:
    """Return the call of a check on a row of `version`."""
    return f"{CHECK}(?, {v}.k, {v}.id, {v}.at, {v}.owners, {v}.format, {v}.body)"


def tested(arm: Arm, tests: list[Sql]) -> Arm:
    """Return an arm narrowed by tests."""
    return arm._replace(where=every((arm.where, *tests)))


class Link(NamedTuple):
    """One way of a chain or reverse chain, from one type to another."""

    k: int  # the type at its other end, or (of Referred) the type asked
    ts: tuple[int, ...]  # terms of the reference
    then: Node  # what holds at the other end, what may be seen of it included


@dataclass(frozen=True, slots=True)
class Linked:
    """Resources that refer to one for which something holds."""

    links: tuple[Link, ...]

    def test(self, seq: str, context: Context) -> Sql:
        """Follow each of the resource's references."""
        made = []
        for link in self.links:
            f, r, h = (context.names.new() for _ in range(3))
            made.append(
                sql(
                    f"EXISTS (SELECT 1 FROM fact {f} CROSS JOIN resource {r} ON {r}.k = ? AND {r}.id = {f}.lo"  # noqa: S608
                    f" CROSS JOIN head {h} ON {h}.seq = {r}.seq WHERE {f}.seq = {seq} AND {f}.t IN ? AND ?)",
                    link.k,
                    listed(link.ts),
                    link.then.test(f"{h}.seq", context),
                )
            )
        return some(made)

    def arms(self, context: Context) -> list[Arm]:
        """Find what refers to each of those for which it holds."""
        made = []
        for link in self.links:
            for arm in link.then.arms(context):
                h, x = context.names.new(), context.names.new()
                source = sql(
                    f"? CROSS JOIN head {h} ON {h}.seq = {arm.seq}"
                    f" CROSS JOIN token {x} ON {x}.t IN ? AND {x}.c = {h}.idh",
                    arm.source,
                    listed(link.ts),
                )
                made.append(Arm(source, f"{x}.seq", arm.where))
        return made

    def size(self, context: Context) -> int:
        """Guess from the size of the other end."""
        return min(BOUND, _FANOUT * sum(link.then.size(context) for link in self.links))


@dataclass(frozen=True, slots=True)
class Referred:
    """Resources that one refers to for which something holds."""

    links: tuple[Link, ...]

    def test(self, seq: str, context: Context) -> Sql:
        """Follow each reference to the resource back."""
        made = []
        for link in self.links:
            h, x = context.names.new(), context.names.new()
            made.append(
                sql(
                    f"EXISTS (SELECT 1 FROM head {h} CROSS JOIN token {x} ON {x}.t IN ? AND {x}.c = {h}.idh"  # noqa: S608
                    f" WHERE {h}.seq = {seq} AND {h}.k = ? AND ?)",
                    listed(link.ts),
                    link.k,
                    link.then.test(f"{x}.seq", context),
                )
            )
        return some(made)

    def arms(self, context: Context) -> list[Arm]:
        """Find what each of those refers to for which it holds."""
        made = []
        for link in self.links:
            for arm in link.then.arms(context):
                f, r, h = (context.names.new() for _ in range(3))
                source = sql(
                    f"? CROSS JOIN fact {f} ON {f}.seq = {arm.seq} AND {f}.t IN ?"
                    f" CROSS JOIN resource {r} ON {r}.k = ? AND {r}.id = {f}.lo"
                    f" CROSS JOIN head {h} ON {h}.seq = {r}.seq",
                    arm.source,
                    listed(link.ts),
                    link.k,
                )
                made.append(Arm(source, f"{h}.seq", arm.where))
        return made

    def size(self, context: Context) -> int:
        """Return that of the other end."""
        return min(BOUND, sum(link.then.size(context) for link in self.links))
