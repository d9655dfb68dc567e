"""Queries made from what is there: for each resource, questions that it answers, or just fails to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final
from urllib.parse import quote

from fhir_server.search.match import Node
from fhir_server.search.parameters import parameters_of
from fhir_server.search.query import AllOf, AnyOf, Clause, Not, Parameter, Query
from fhir_server.search.values import (
    Composite,
    Number,
    Period,
    Quantity,
    Reference,
    Text,
    Token,
    Uri,
    Value,
)

PREFIXES: Final = ("", "", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
SORTABLE: Final = ("number", "date", "string", "token", "reference", "quantity", "uri")
DEPTH: Final = 2  # chains and _has inside each other
_ZERO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def escape(text: str) -> str:
    """Escape a text as R4 asks for in parameter values."""
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|").replace("$", "\\$")


class Questions:
    """Makes queries over some resources.

    Args:
        nodes: The resources.
        random: Chooses; with the same seed the same queries come.
    """

    def __init__(self, nodes: Sequence[Node], random: Random) -> None:
        self._random = random
        self._used: dict[str, list[str]] = {}
        self._by_type: dict[str, list[Node]] = {}
        for node in nodes:
            self._by_type.setdefault(node.type, []).append(node)
        self._by_reference = {(node.type, node.id): node for node in nodes}
        self._sources: dict[tuple[str, str], list[tuple[Node, str]]] = {}
        for node in nodes:
            for code, values in node.values.items():
                for value in values:
                    if isinstance(value, Reference) and value.id:
                        self._sources.setdefault((value.type, value.id), []).append((node, code))

    def query(self) -> str:
        """Return one query, as it stands in a URL after the base: `Type?a=b&c=d`."""
        random = self._random
        type = random.choice([*self._by_type, "Observation", "Observation", "Patient", "Encounter"])
        node = random.choice(self._by_type[type])
        pairs = [self._pair(node, DEPTH) for _ in range(random.choice([0, 1, 1, 1, 2, 2, 3]))]
        if random.random() < 0.5:
            pairs.append(("_sort", self._sort(type)))
        return f"{type}?" + "&".join(f"{quote(name, safe=':.')}={quote(value)}" for name, value in pairs)

    def nested(self, read: Callable[[str], Query]) -> tuple[str, Clause]:
        """Return a type and a clause made of others by all of, any of and not, as no query string has them.

        Args:
            read: Makes a query of `Type?a=b`.
        """
        type = self._random.choice([*self._by_type, "Observation", "Patient"])
        return type, self._nested(type, read, DEPTH)

    def _nested(self, type: str, read: Callable[[str], Query], depth: int) -> Clause:
        random = self._random
        if not depth or random.random() < 0.3:
            name, value = self._pair(random.choice(self._by_type[type]), 1)
            (clause,) = read(f"{type}?{quote(name, safe=':.')}={quote(value)}").where
            return clause
        if random.random() < 0.3:
            return Not(self._nested(type, read, depth - 1))
        parts = tuple(self._nested(type, read, depth - 1) for _ in range(random.choice([1, 2, 2, 3])))
        return AllOf(parts) if random.random() < 1 / 3 else AnyOf(parts)

    def sort(self, type: str) -> str:
        """Return sort keys for a type, some of them over chains."""
        return self._sort(type)

    def _sort(self, type: str) -> str:
        keys = self._random.sample(self._sortable(type), self._random.choice([1, 1, 2]))
        if self._random.random() < 0.3 and (chain := self._chain(type, DEPTH)):
            keys = [chain, *keys[1:]]
        return ",".join(self._random.choice(["", "-"]) + key for key in keys)

    def _sortable(self, type: str) -> list[str]:
        """Return the parameters to sort a type by that some resource has a value for; all where none has."""
        if type not in self._used:
            codes = [code for code, p in parameters_of(type).items() if p.type in SORTABLE]
            used = {code for node in self._by_type[type] for code, values in node.values.items() if values}
            self._used[type] = [code for code in codes if code in used] or codes
        return self._used[type]

    def _chain(self, type: str, depth: int) -> str:
        """Return a chain of references that ends in a parameter to sort by; "" where none is found."""
        random = self._random
        node = random.choice(self._by_type[type])
        links = [
            (code, parameter, value.type)
            for code, parameter in parameters_of(type).items()
            for value in node.values.get(code, ())
            if isinstance(value, Reference) and value.type in parameter.targets and value.type in self._by_type
        ]
        if not links:
            return ""
        code, parameter, target = random.choice(links)
        start = f"{code}:{target}" if len(parameter.targets) > 1 or random.random() < 0.3 else code
        if depth > 1 and random.random() < 0.3 and (rest := self._chain(target, depth - 1)):
            return f"{start}.{rest}"
        ends = [code for code, p in parameters_of(target).items() if p.type in SORTABLE]
        return f"{start}.{random.choice(ends)}"

    def _pair(self, node: Node, depth: int) -> tuple[str, str]:
        """Return a parameter that the node may well match."""
        random = self._random
        known = parameters_of(node.type)
        if depth and random.random() < 0.15 and (sources := self._sources.get((node.type, node.id))):
            source, code = random.choice(sources)
            name, text = self._pair(source, depth - 1)
            if self._may_refer(source.type, code, node.type):
                return f"_has:{source.type}:{code}:{name}", text
        code = self._code(node)
        if random.random() < 0.12:
            code = random.choice([code for code, parameter in known.items() if parameter.type != "composite"])
            return f"{code}:missing", random.choice(["true", "false"])
        parameter = known[code]
        value = random.choice(node.values.get(code) or (Token("", node.id),))
        if isinstance(value, Reference) and depth and random.random() < 0.5:
            target = self._by_reference.get((value.type, value.id))
            if target is not None and value.type in parameter.targets:
                name, text = self._pair(target, depth - 1)
                many = len(parameter.targets) > 1 or random.random() < 0.3
                return f"{code}{f':{value.type}' if many else ''}.{name}", text
        return self._asked(parameter, node, value)

    def _code(self, node: Node) -> str:
        """Return a parameter that has values in the node; each type of parameter is as likely as another."""
        by_type: dict[str, list[str]] = {}
        for code, parameter in parameters_of(node.type).items():
            if node.values.get(code) and parameter.type != "special":
                by_type.setdefault(parameter.type, []).append(code)
        return self._random.choice(self._random.choice([*by_type.values()] or [["_id"]]))

    def _may_refer(self, source: str, code: str, type: str) -> bool:
        return type in parameters_of(source)[code].targets

    def _asked(self, parameter: Parameter, node: Node, value: Value) -> tuple[str, str]:
        """Return the parameter with its modifier, and one to three alternatives near the value."""
        modifier = self._modifier(parameter, value)
        peers = [v for n in self._some(node.type) for v in n.values.get(parameter.code, ())]
        values = [value, *self._random.sample(peers, min(len(peers), self._random.choice([0, 0, 0, 1, 2])))]
        texts = [text for v in values if (text := self._text(v, modifier)) and len(text) < 1_000]
        name = f"{parameter.code}:{modifier}" if modifier else parameter.code
        return (name, ",".join(texts)) if texts else ("_id", node.id)

    def _some(self, type: str) -> list[Node]:
        return self._random.sample(self._by_type[type], min(20, len(self._by_type[type])))

    def _modifier(self, parameter: Parameter, value: Value) -> str:
        choices: Mapping[str, tuple[str, ...]] = {
            "string": ("", "", "exact", "contains"),
            "token": ("", "", "", "not", "text"),
            "uri": ("", "below", "above"),
        }
        if isinstance(value, Token) and value.kind and self._random.random() < 0.2:
            return "of-type"
        if isinstance(value, Reference):
            if value.identifier is not None and self._random.random() < 0.3:
                return "identifier"
            known = value.type in parameter.targets
            return value.type if known and not value.url and self._random.random() < 0.2 else ""
        if isinstance(value, Uri) and "://" not in value.value:
            return ""
        return self._random.choice(choices.get(parameter.type, ("",)))

    def _text(self, value: Value, modifier: str) -> str:
        """Return a question about a value as text; "" where there is none."""
        match value:
            case Token():
                return self._token(value, modifier)
            case Text(text):
                return escape(self._string(text, modifier))
            case Uri(text):
                return escape(self._uri(text, modifier))
            case Reference():
                return self._reference(value, modifier)
            case Period():
                return self._prefix() + self._date(value)
            case Number(lo=lo, hi=hi):
                return self._prefix() + self._number(self._random.choice([lo, hi]))
            case Quantity():
                return self._quantity(value)
            case Composite(parts):
                texts = [self._text(part, "") for part in parts]
                return "$".join(texts) if all(texts) else ""
            case _:
                return ""

    def _prefix(self) -> str:
        return self._random.choice(PREFIXES)

    def _token(self, value: Token, modifier: str) -> str:
        random = self._random
        if modifier == "text":
            return escape(self._string(value.text, ""))
        code, system = escape(value.code or ""), escape(value.system or "")
        if modifier == "of-type":
            return "|".join(map(escape, (*value.kind, value.code))) if value.kind and value.code else ""
        if random.random() < 0.05:
            code = code.swapcase()
        forms = [f"{system}|" if system else "", code, code, f"{system}|{code}", f"{system}|{code}", f"|{code}"]
        text = random.choice(forms)
        return "" if text == "|" else text

    def _string(self, text: str, modifier: str) -> str:
        random = self._random
        if modifier == "exact":
            return text if random.random() < 0.8 else text.lower()
        start = random.randrange(len(text)) if modifier == "contains" and text else 0
        cut = text[start : start + random.choice([1, 2, 4, 8, 100])]
        return random.choice([str.lower, str.upper, str.title])(cut).strip()

    def _uri(self, text: str, modifier: str) -> str:
        if modifier == "below":
            parts = text.split("/")
            return "/".join(parts[: self._random.randint(min(4, len(parts)), len(parts))])
        return text + "/x/1" if modifier == "above" and self._random.random() < 0.7 else text

    def _reference(self, value: Reference, modifier: str) -> str:
        if modifier == "identifier":
            return self._token(value.identifier, "") if value.identifier else ""
        if value.url and not modifier:
            return escape(value.url)
        if not value.id or modifier not in ("", value.type):
            return ""
        return value.id if self._random.random() < 0.4 else f"{value.type}/{value.id}"

    def _date(self, value: Period) -> str:
        bound = self._random.choice([value.lo, value.hi])
        if not -(10**17) < bound < 10**17:
            bound = value.lo if bound == value.hi else value.hi
        if not -(10**17) < bound < 10**17:
            return "2020"
        at = _ZERO + timedelta(microseconds=bound + self._random.choice([0, 0, 0, -1, 86_400_000_000]))
        whole = at.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")
        return self._random.choice([whole[:4], whole[:7], whole[:10], whole[:10], whole[:16] + "Z", whole])

    def _number(self, value: Decimal | None) -> str:
        if value is None:
            return "5"
        exponent = value.as_tuple().exponent
        digits = max(0, -exponent) if isinstance(exponent, int) else 0
        places = self._random.choice([digits, digits, max(0, digits - 1), digits + 1, min(digits, 2)])
        return f"{value:.{min(places, 20)}f}"

    def _quantity(self, value: Quantity) -> str:
        text = self._prefix() + self._number(value.lo if value.lo is not None else value.hi)
        units = [""]
        if value.system and value.code:
            units += [f"|{escape(value.system)}|{escape(value.code)}"] * 2
        units += [f"||{escape(unit)}" for unit in (value.code, value.unit) if unit]
        return text + self._random.choice(units)
