"""Clauses as nodes: what `search.match` means, in the terms of the index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fhir_server import gate
from fhir_server.model import Resource
from fhir_server.search import match, words
from fhir_server.search.fold import fold
from fhir_server.search.query import AllOf, AnyOf, Ask, Chain, Clause, Has, Match, Not
from fhir_server.search.values import (
    OWN,
    Composite,
    Indexed,
    Number,
    Period,
    Position,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
)
from fhir_server.store.sqlite import terms
from fhir_server.store.sqlite.find.combined import Both, Checked, Except
from fhir_server.store.sqlite.find.context import Arm, Context
from fhir_server.store.sqlite.find.fragments import Sql, listed, sql
from fhir_server.store.sqlite.find.links import Link, Linked, Referred
from fhir_server.store.sqlite.find.lists import any_value, either, everything, keys, spans
from fhir_server.store.sqlite.find.nodes import NOTHING, Keys, Listed, Node, Shapes
from fhir_server.store.sqlite.find.ranges import (
    date_ranges,
    number_ranges,
    prefix_condition,
    quantity_ranges,
    text_range,
)
from fhir_server.store.sqlite.find.sight import Sight, Typed, Visible
from fhir_server.store.sqlite.find.worded import Worded
from fhir_server.store.sqlite.rows import coded, part_name, pieces_name
from fhir_server.store.sqlite.session import Session
from fhir_server.store.sqlite.terms import HashText, Term, Terms

_MOST_TEXTS = 200  # that are looked up before a statement is made of them


class Compiler:
    """Turns the clauses of one query into nodes.

    Args:
        session: The connection that will run it.
        known: The terms, current in the connection's snapshot.
        tenant: Number.
        hash_text: The store's hash.
        index: Gives the values of a resource.
        sight: What may be seen.
        types: All types of the tenant, by name.
    """

    def __init__(
        self,
        session: Session,
        known: Terms,
        tenant: int,
        hash_text: HashText,
        index: Callable[[Resource], Indexed],
        sight: Sight,
        types: dict[str, int],
    ) -> None:
        self._session, self._terms, self._tenant, self._hash = session, known, tenant, hash_text
        self._index, self._sight, self._types = index, sight, types
        self._names = {k: name for name, k in types.items()}

    def types(self, names: Iterable[str]) -> list[Typed]:
        """Return the types that were ever written and may be seen."""
        found = [Typed(name, self._types[name]) for name in names if name in self._types]
        return self._sight.of(found)

    def node(self, clause: Clause, types: Sequence[Typed]) -> Node:
        """Return what answers a clause among resources of these types."""
        if isinstance(clause, Chain):
            return self._chain(clause, types)
        if isinstance(clause, Has):
            return self._has(clause, types)
        if isinstance(clause, AnyOf):
            return either([self.node(one, types) for one in clause.clauses])
        if isinstance(clause, AllOf):
            return self._all([self.node(one, types) for one in clause.clauses], types)
        if isinstance(clause, Not):
            return Except(self.node(clause.clause, types), everything(types))
        found = self._match(clause, types)
        return Except(found, everything(types)) if clause.modifier == "not" else found

    def _all(self, nodes: list[Node], types: Sequence[Typed]) -> Node:
        if len(nodes) <= 1:
            return nodes[0] if nodes else everything(types)
        return NOTHING if NOTHING in nodes else Both(tuple(nodes))

    def visible(self, types: Sequence[Typed]) -> Visible | None:
        """Return what of these types may be seen; None where that is everything."""
        return self._sight.node(types)

    def level(self, clause: Clause, types: Sequence[Typed]) -> Node:
        """Return what answers a clause and may be seen."""
        node, visible = self.node(clause, types), self.visible(types)
        return node if visible is None else Both((node, visible))

    # --- around a resource ---------------------------------------------------------------------------------

    def _chain(self, clause: Chain, types: Sequence[Typed]) -> Node:
        links = []
        for target, then in zip(clause.targets, clause.then, strict=True):
            ends = self.types((target,))
            ts = [t.id for t in self.terms_of(types, clause.parameter.code, terms.LOCAL) if t.system == target]
            if ends and ts:
                links.append(Link(ends[0].k, tuple(ts), self.level(then, ends)))
        return Linked(tuple(links), tuple(type.k for type in types)) if links else NOTHING

    def _has(self, clause: Has, types: Sequence[Typed]) -> Node:
        sources = self.types((clause.source,))
        if not sources:
            return NOTHING
        then = self.level(clause.then, sources)
        found = self.terms_of(sources, clause.parameter.code, terms.LOCAL)
        links = []
        for type in types:
            ts = tuple(term.id for term in found if term.system == type.name)
            if ts:
                links.append(Link(type.k, ts, then))
        return Referred(tuple(links), sources[0].k) if links else NOTHING

    # --- on a resource -------------------------------------------------------------------------------------

    def terms_of(self, types: Sequence[Typed], param: str, *kinds: str) -> list[Term]:
        """Return the terms of these kinds whose set of parameters has `param`."""
        return [term for type in types for term in self._terms.of_param(self._tenant, type.name, param, kinds)]

    def _match(self, clause: Match, types: Sequence[Typed]) -> Node:
        code = clause.parameter.code
        if clause.is_open:
            raise ValueError("a terminology must resolve the clause first")
        if clause.modifier == "missing":
            return self._given(code, types) if not clause.missing else self.missing(code, types)
        return either([self._ask(clause, ask, code, types) for ask in clause.asks])

    def missing(self, code: str, types: Sequence[Typed]) -> Node:
        """Return the resources without a value for a parameter."""
        return NOTHING if code in OWN else self._shapes(types, lambda params: code not in params)

    def _given(self, code: str, types: Sequence[Typed]) -> Node:
        return everything(types) if code in OWN else self._shapes(types, lambda params: code in params)

    def _shapes(self, types: Sequence[Typed], fits: Callable[[tuple[str, ...]], bool]) -> Node:
        names = {type.name for type in types}
        shapes = self._terms.of_kind(self._tenant, terms.SHAPE)
        ts = tuple(term.id for term in shapes if term.type in names and fits(term.params))
        return Shapes(ts) if ts else NOTHING

    def _ask(self, clause: Match, ask: Ask, code: str, types: Sequence[Typed]) -> Node:
        if clause.is_full_text:
            return self._words(clause, ask, types)
        match ask.value:
            case Token():
                return self._token(clause.modifier, ask.value, code, types)
            case Text(text):
                return self._text(clause.modifier, text, code, types)
            case Uri(text):
                return self._uri(clause.modifier, text, code, types)
            case Reference():
                return self._reference(clause, ask, code, types)
            case Period():
                return spans(code, self.terms_of(types, code, terms.DATE), lambda found: date_ranges(ask, found))
            case Number():
                return spans(code, self.terms_of(types, code, terms.NUMBER), lambda found: number_ranges(ask, found))
            case Quantity():
                return spans(
                    code, self.terms_of(types, code, terms.QUANTITY), lambda found: quantity_ranges(ask, found)
                )
            case Composite():
                return self._composite(clause, ask, code, types)
            case Position():
                return self._checked(self._given(code, types), clause, ask)

    def _token(self, modifier: str, asked: Token, code: str, types: Sequence[Typed]) -> Node:
        if code == "_id":
            return self._id(asked, types)
        if code == "_type":
            of_type = [type for type in types if type.name == asked.code]
            return everything(of_type) if of_type else NOTHING
        if modifier == "of-type":
            system, kind = asked.kind or ("", "")
            c = self._hash(coded(kind, asked.code or ""))
            return keys(code, [t for t in self.terms_of(types, code, terms.OF_TYPE) if t.system == system], c)
        found = [
            term
            for term in self.terms_of(types, code, terms.TOKEN, terms.IDENTIFIER)
            if asked.system is None or asked.system == term.system
        ]
        if asked.code is None:
            return any_value([term.id for term in found])
        return keys(code, found, self._hash(asked.code))

    def _id(self, asked: Token, types: Sequence[Typed]) -> Node:
        """Find by id, which is a token without system."""
        if asked.system:
            return NOTHING
        if asked.code is None:
            return everything(types)
        ks, id = listed(type.k for type in types), asked.code

        def make(context: Context) -> Arm:
            r, h = context.names.new(), context.names.new()
            source = f"resource {r} CROSS JOIN head {h} ON {h}.seq = {r}.seq"
            return Arm(Sql(source), f"{h}.seq", sql(f"{r}.k IN ? AND {r}.id = ?", ks, id))

        return Listed(make)

    def _text(self, modifier: str, text: str, code: str, types: Sequence[Typed]) -> Node:
        folded = fold(text)
        nodes: list[Node] = []
        displays = self.terms_of(types, code, terms.TEXT)
        if displays:
            nodes.append(self._texts(displays, lambda column: prefix_condition(column, folded)))
        if modifier == "exact":
            nodes.append(keys(code, self.terms_of(types, code, terms.EXACT), self._hash(text)))
        else:
            strings = self.terms_of(types, code, terms.FOLDED)
            nodes.append(spans(code, strings, lambda found: [text_range(found, modifier, folded)]))
        return either(nodes)

    def _uri(self, modifier: str, text: str, code: str, types: Sequence[Typed]) -> Node:
        found = self.terms_of(types, code, terms.URI)
        same = keys(code, found, self._hash(text))
        if modifier == "below" and found:
            start = text if text.endswith("/") else text + "/"
            return either([same, self._texts(found, lambda column: prefix_condition(column, start))])
        if modifier == "above":
            ends = [at for at, character in enumerate(text) if character == "/"]
            starts = {text} | {text[:at] for at in ends} | {text[: at + 1] for at in ends}
            return either([keys(code, found, self._hash(start)) for start in sorted(starts)])
        return same

    def _reference(self, clause: Match, ask: Ask, code: str, types: Sequence[Typed]) -> Node:
        asked = ask.value
        assert isinstance(asked, Reference)
        if asked.url:
            found = keys(code, self.terms_of(types, code, terms.URL), self._hash(asked.url))
        else:
            local = [t for t in self.terms_of(types, code, terms.LOCAL) if asked.type in ("", t.system)]
            found = keys(code, local, self._hash(asked.id))
        return self._checked(found, clause, ask) if asked.version else found

    def _words(self, clause: Match, ask: Ask, types: Sequence[Typed]) -> Node:
        """Find by words: in the index, and in the text itself where it does not tell all."""
        assert isinstance(ask.value, Text)
        expression, exact = words.as_query(words.read(ask.value.value))
        found: Node = Worded(expression, tuple(type.k for type in types)) if expression else everything(types)
        return found if exact and clause.parameter.code == "_content" else self._checked(found, clause, ask)

    def _composite(self, clause: Match, ask: Ask, code: str, types: Sequence[Typed]) -> Node:
        """Find resources whose parts fit; where parts of several elements could be mixed up, look closer."""
        whole: list[Node] = []
        mixed: list[Node] = []
        for number, part in enumerate(ask.parts):
            one = Match(clause.parameter, (part,))
            whole.append(self._ask(one, part, part_name(code, number), types))
            mixed.append(self._ask(one, part, pieces_name(code, number), types))
        exact: Node = NOTHING if NOTHING in whole else Both(tuple(whole))
        doubtful: Node = NOTHING if NOTHING in mixed else self._checked(Both(tuple(mixed)), clause, ask)
        return either([exact, doubtful])

    def _texts(self, found: Sequence[Term], condition: Callable[[str], Sql]) -> Node:
        """Return all resources under some terms whose text fits: by the texts that do, where they are few."""
        ts = [term.id for term in found]
        which = sql("y.t IN ? AND ?", listed(ts), condition("y.text"))
        pairs: list[Any] = self._session.connection.execute(
            f"SELECT y.t, y.c FROM text y WHERE {which.text} LIMIT {_MOST_TEXTS + 1}",  # noqa: S608 - text of ours
            which.values,
        ).fetchall()
        if len(pairs) <= _MOST_TEXTS:
            return Keys(tuple((t, c) for t, c in pairs)) if pairs else NOTHING

        def make(context: Context) -> Arm:
            y, x = context.names.new(), context.names.new()
            source = f"text {y} CROSS JOIN token {x} ON {x}.t = {y}.t AND {x}.c = {y}.c"
            return Arm(Sql(source), f"{x}.seq", sql(f"{y}.t IN ? AND ?", listed(ts), condition(f"{y}.text")))

        return Listed(make)

    def _checked(self, node: Node, clause: Match, ask: Ask) -> Node:
        """Return what answers a node and, looked at by `search.match`, this alternative of the clause."""
        if node is NOTHING:
            return NOTHING
        code, modifier = clause.parameter.code, clause.modifier

        def holds(k: int, id: str, at: int, owners: tuple[str, ...], body: bytes) -> bool:
            resource = gate.load(body)
            full = clause.is_full_text
            values = match.full_text(clause, resource) if full else self._index(resource).values.get(code, ())
            return any(match.fits(modifier, ask, value) for value in values)

        self._session.checks.append(holds)
        return Checked(node, len(self._session.checks) - 1)
