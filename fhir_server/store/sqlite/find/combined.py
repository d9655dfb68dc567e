"""Questions made of others, as nodes: either, both, all but, and those that ask about a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_server.store.sqlite.find.context import LARGE, Arm, Context
from fhir_server.store.sqlite.find.fragments import FALSE, TRUE, Sql, every, some, sql
from fhir_server.store.sqlite.find.nodes import Keys, Node
from fhir_server.store.sqlite.session import CHECK, Session

_CHECK: Final = 20.0  # look-ups that a check of a body is worth, most of what is checked having failed before


@dataclass(frozen=True, slots=True)
class Either:
    """Resources that answer one of several questions."""

    nodes: tuple[Node, ...]

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return False

    def test(self, seq: str, context: Context) -> Sql:
        """Test each."""
        return some(node.test(seq, context) for node in self.nodes)

    def arms(self, context: Context) -> list[Arm]:
        """List each."""
        return [arm for node in self.nodes for arm in node.arms(context)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return sum(node.effort(session) for node in self.nodes)

    def size(self, session: Session) -> int:
        """Add them up."""
        return min(LARGE, sum(node.size(session) for node in self.nodes))


@dataclass(frozen=True, slots=True)
class Both:
    """Resources that answer all of several questions."""

    nodes: tuple[Node, ...]

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return False

    def test(self, seq: str, context: Context) -> Sql:
        """Test all."""
        return every(node.test(seq, context) for node in self.nodes)

    def arms(self, context: Context) -> list[Arm]:
        """List the rarest, and test the others."""
        first = min(self.nodes, key=lambda node: node.size(context.session))
        rest = [node for node in self.nodes if node is not first]
        each = context.over(first.size(context.session))
        return [tested(arm, [node.test(arm.seq, each) for node in rest]) for arm in first.arms(context)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return sum(node.effort(session) for node in self.nodes)

    def size(self, session: Session) -> int:
        """Return that of the rarest."""
        return min(node.size(session) for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Except:
    """Resources of some types that do not answer a question."""

    node: Node
    all: Keys

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return True

    def test(self, seq: str, context: Context) -> Sql:
        """Negate the test."""
        inner = self.node.test(seq, context)
        return TRUE if inner is FALSE else FALSE if inner is TRUE else sql("NOT (?)", inner)

    def arms(self, context: Context) -> list[Arm]:
        """Test all."""
        each = context.over(self.all.size(context.session))
        return [tested(arm, [self.test(arm.seq, each)]) for arm in self.all.arms(context)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return self.node.effort(session)

    def size(self, session: Session) -> int:
        """Return that of all."""
        return self.all.size(session)


@dataclass(frozen=True, slots=True)
class Checked:
    """Resources that answer a question and pass a check of their body."""

    node: Node
    number: int  # of the check

    @property
    def disjoint(self) -> bool:
        """Whether each resource is listed once."""
        return self.node.disjoint

    def test(self, seq: str, context: Context) -> Sql:
        """Test, then check."""
        return every((self.node.test(seq, context), check(self.number, seq, context)))

    def arms(self, context: Context) -> list[Arm]:
        """List, then check."""
        return [tested(arm, [check(self.number, arm.seq, context)]) for arm in self.node.arms(context)]

    def effort(self, session: Session) -> float:
        """Return about how many look-ups a test takes."""
        return self.node.effort(session) + _CHECK

    def size(self, session: Session) -> int:
        """Return that of the question."""
        return self.node.size(session)


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
