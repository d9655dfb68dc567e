"""Chains and reverse chains as nodes: https://hl7.org/fhir/R4/search.html#chaining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fhir_server.store.sqlite.find.context import LARGE, Arm, Context, tally
from fhir_server.store.sqlite.find.fragments import Sql, listed, some, sql
from fhir_server.store.sqlite.find.nodes import Node
from fhir_server.store.sqlite.session import Session


class Link(NamedTuple):
    """One way of a chain or reverse chain, from one type to another."""

    k: int  # the type at its other end, or (of Referred) the type asked
    ts: tuple[int, ...]  # terms of the reference
    then: Node  # what holds at the other end, what may be seen of it included


@dataclass(frozen=True, slots=True)
class Linked:
    """Resources that refer to one for which something holds."""

    links: tuple[Link, ...]
    ks: tuple[int, ...]  # types of the resources

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once: it may be found by several ways."""
        return False

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

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return sum(3.0 + link.then.effort(session) for link in self.links)

    def size(self, session: Session) -> int:
        """Multiply the size of the other end by how many refer to one on average."""
        mine = tally(session, self.ks)
        each = (link.then.size(session) * max(1, mine // max(1, tally(session, (link.k,)))) for link in self.links)
        return min(LARGE, sum(each))


@dataclass(frozen=True, slots=True)
class Referred:
    """Resources that one refers to for which something holds."""

    links: tuple[Link, ...]
    source: int  # type of those that refer

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once: it may be found by several ways."""
        return False

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

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes: as many as refer to one on average."""
        many = max(1.0, tally(session, (self.source,)) / max(1, tally(session, [link.k for link in self.links])))
        return sum(2.0 + many * (0.3 + link.then.effort(session)) for link in self.links)

    def size(self, session: Session) -> int:
        """Return that of the other end."""
        return min(LARGE, sum(link.then.size(session) for link in self.links))
