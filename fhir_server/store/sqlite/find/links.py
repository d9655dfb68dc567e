"""Chains and reverse chains as nodes: https://hl7.org/fhir/R4/search.html#chaining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from fhir_server.store.sqlite.find.combined import Both, Checked, Either, Except
from fhir_server.store.sqlite.find.context import LARGE, Arm, Context, count, tally
from fhir_server.store.sqlite.find.fragments import FALSE, TRUE, Sql, join, listed, some, sql
from fhir_server.store.sqlite.find.nodes import Node
from fhir_server.store.sqlite.find.sight import Visible
from fhir_server.store.sqlite.session import Session

_FOLLOW: Final = 3.0  # look-ups to follow a reference
_GATHER: Final = 4.0  # look-ups that each row of a set is worth that is gathered once


def listing(node: Node, session: Session) -> float:
    """Return about how many look-ups listing all answers of a node takes."""
    match node:
        case Except():
            return node.all.size(session) * max(1.0, node.node.effort(session))
        case Both():
            first = min(node.nodes, key=lambda each: each.size(session))
            rest = sum(each.effort(session) for each in node.nodes if each is not first)
            return listing(first, session) + first.size(session) * rest
        case Either():
            return sum(listing(each, session) for each in node.nodes)
        case Checked():
            return listing(node.node, session) + node.node.size(session) * 20.0
        case Linked() | Referred():
            return sum(listing(link.then, session) for link in node.links) + 2.0 * node.size(session)
        case _:
            size = node.size(session)
            return float(size) * max(1.0, node.effort(session)) if isinstance(node, Visible) else float(size)


def _references(ts: tuple[int, ...]) -> Arm:
    return Arm(Sql("token x"), "x.seq", sql("x.t IN ?", listed(ts)))


def _once(node: Node, context: Context) -> list[Arm]:
    """Return a node's lists, each naming a resource once: what refers to many would be followed many times."""
    arms = node.arms(context)
    if node.disjoint:
        return arms
    made = []
    for arm in arms:
        d = context.names.new()
        source = sql(f"(SELECT DISTINCT {arm.seq} AS seq FROM ? WHERE ?) {d}", arm.source, arm.where)  # noqa: S608
        made.append(Arm(source, f"{d}.seq", TRUE))
    return made


def _ids(arm: Arm, context: Context) -> Sql:
    v = context.names.new()
    return sql(f"SELECT {v}.id FROM ? CROSS JOIN version {v} ON {v}.seq = {arm.seq} WHERE ?", arm.source, arm.where)  # noqa: S608


def _seqs(arm: Arm) -> Sql:
    return sql(f"SELECT {arm.seq} FROM ? WHERE ?", arm.source, arm.where)  # noqa: S608


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
        """Follow each of the resource's references; where they are many, ask once which ones lead there."""
        made = []
        for link in self.links:
            f, r, h = (context.names.new() for _ in range(3))
            if context.rows * (_FOLLOW + link.then.effort(context.session)) > _GATHER * listing(
                link.then, context.session
            ):
                ids = join(" UNION ALL ", (_ids(arm, context) for arm in link.then.arms(context)))
                if ids.text:
                    where = f"{f}.seq = {seq} AND {f}.t IN ? AND {f}.lo IN (?)"
                    made.append(sql(f"EXISTS (SELECT 1 FROM fact {f} WHERE {where})", listed(link.ts), ids))  # noqa: S608
                continue
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
            for arm in _once(link.then, context):
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
        return sum(self._effort(link, session) for link in self.links)

    def _effort(self, link: Link, session: Session) -> float:
        """Return what following all references of one resource takes, as many as it has on average."""
        mine = max(1, tally(session, self.ks))
        references = 1.0 if mine >= LARGE else max(1.0, count(session, [_references(link.ts)]) / mine)
        return references * (_FOLLOW + link.then.effort(session))

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
        """Follow each reference to the resource back; where they are many, ask once where all of them lead."""
        if context.rows * self.effort(context.session) > _GATHER * sum(
            listing(link.then, context.session) for link in self.links
        ):
            seqs = join(" UNION ALL ", (_seqs(arm) for arm in self.arms(context)))
            return sql(f"{seq} IN (?)", seqs) if seqs.text else FALSE
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
            for arm in _once(link.then, context):
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
