"""Filters made from what is there: `_filter` expressions that a resource answers, or just fails to."""

from __future__ import annotations

import json
from random import Random
from typing import Final

from fhir_server.search.match import Node
from fhir_server.search.parameters import parameters_of
from fhir_server.search.values import Composite, Number, Period, Quantity, Reference, Text, Token, Uri, Value
from fhir_server.search.words import text_of

ORDERED: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")


class Filters:
    """Makes expressions over some resources.

    Args:
        nodes: The resources.
        random: Chooses; with the same seed the same expressions come.
    """

    def __init__(self, nodes: list[Node], random: Random) -> None:
        self._random = random
        self._by_reference = {(node.type, node.id): node for node in nodes}
        self._sources: dict[tuple[str, str], list[tuple[Node, str]]] = {}
        for node in nodes:
            for code, values in node.values.items():
                for value in values:
                    if isinstance(value, Reference) and value.id:
                        self._sources.setdefault((value.type, value.id), []).append((node, code))

    def expression(self, node: Node, depth: int = 2) -> str:
        """Return an expression that the node may well answer."""
        random = self._random
        if depth and random.random() < 0.6:
            parts = [self.expression(node, depth - 1) for _ in range(random.choice([2, 2, 3]))]
            return random.choice(["{}", "({})", "not ({})"]).format(
                f" {random.choice(['and', 'or', 'or'])} ".join(parts)
            )
        return self._test(node, 2)

    def _test(self, node: Node, depth: int) -> str:
        random = self._random
        sources = self._sources.get((node.type, node.id))
        if depth and sources and random.random() < 0.15:
            source, code = random.choice(sources)
            if node.type in parameters_of(source.type)[code].targets:
                return f"_has:{source.type}:{code}:{self._test(source, 0)}"
        known = parameters_of(node.type)
        codes = [c for c, values in node.values.items() if values and c in known and known[c].type != "special"]
        code = random.choice(codes or ["_id"])
        if random.random() < 0.1:
            plain = [c for c, one in known.items() if one.type != "composite"]
            return f"{random.choice(plain)} pr {random.choice(['true', 'false'])}"
        value = random.choice(node.values.get(code) or (Token("", node.id),))
        if isinstance(value, Reference) and depth and random.random() < 0.5:
            target = self._by_reference.get((value.type, value.id))
            if target is not None and value.type in known[code].targets:
                inside = f"[{self._test(target, 0)}]" if random.random() < 0.3 else ""
                return f"{code}:{value.type}{inside}.{self._test(target, depth - 1)}"
        asked = self._asked(value)
        return f"{code} {asked}" if asked else f"_id eq {node.id}"

    def _asked(self, value: Value) -> str:
        """Return operator and value; "" where there is nothing to ask."""
        random = self._random
        match value:
            case Text(text) if text:
                start = random.randrange(len(text))
                operator, cut = random.choice(
                    [("eq", text), ("ne", text), ("co", text[start : start + 4]), ("sw", text[:3]), ("ew", text[-3:])]
                )
                cut = random.choice([str.upper, str.lower])(cut)
                return f"{operator} {json.dumps(cut, ensure_ascii=False)}" if cut.strip() else ""
            case Token(system, code) if code:
                text = random.choice([code, f"{system}|{code}"]).replace("\\", "\\\\")
                return f"{random.choice(['eq', 'eq', 'ne'])} {json.dumps(text)}" if "$" not in text else ""
            case Reference(type, id) if id:
                return f"{random.choice(['eq', 're', 'ne'])} {type}/{id}"
            case Uri(text) if text:
                return f"{random.choice(['eq', 'ne'])} {json.dumps(text)}"
            case Period(lo=lo) if -(10**17) < lo < 10**17:
                year = 1970 + lo // 31_557_600_000_000
                return f"{random.choice([*ORDERED, 'po', 'po'])} {year:04d}"
            case Number(lo=number) | Quantity(lo=number) if number is not None:
                return f"{random.choice(ORDERED)} {number:.1f}"
            case Composite():
                return ""
            case _:
                return ""

    def words(self, node: Node) -> str:
        """Return a full text question."""
        random = self._random
        found = text_of("_content", json.loads(node.body)).split()
        plain = [word for word in found if word not in ("and", "or", "not")]
        some = random.sample(plain, min(len(plain), 3)) or ["nothing"]
        at = random.randrange(max(1, len(found)))
        return random.choice(
            [some[0], " ".join(some), " or ".join(some), f"{some[0]} and not {some[-1]}", f"{some[0][:3]}*",
             '"' + " ".join(found[at : at + 3] or ["nothing"]) + '"']
        )  # fmt: skip
