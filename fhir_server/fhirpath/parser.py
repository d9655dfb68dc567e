"""Tokens to a syntax tree, by precedence climbing.

Source: FHIRPath 2.0.0 (N1), https://hl7.org/fhirpath/N1/#operator-precedence
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from fhir_server.fhirpath.failures import InvalidExpression
from fhir_server.fhirpath.lexer import Token, tokenize
from fhir_server.fhirpath.quantity import CALENDAR, Quantity
from fhir_server.fhirpath.syntax import (
    Call,
    Expression,
    Item,
    Literal,
    Member,
    Nothing,
    Operation,
    Sign,
    Special,
    TypeTest,
    Variable,
    type_name,
)
from fhir_server.fhirpath.temporal import Temporal, parse_date, parse_datetime, parse_time

MAX_DEPTH = 50  # expressions inside each other

_BINDING = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "contains": 4,
    "=": 5,
    "~": 5,
    "!=": 5,
    "!~": 5,
    "<=": 6,
    "<": 6,
    ">": 6,
    ">=": 6,
    "|": 7,
    "is": 8,
    "as": 8,
    "+": 9,
    "-": 9,
    "&": 9,
    "*": 10,
    "/": 10,
    "div": 10,
    "mod": 10,
}
_WORDS = frozenset(word for word in _BINDING if word.isalpha())
_SIGN = 11
_TERM_NAMES = frozenset({"as", "contains", "in", "is"})  # keywords that the grammar allows as names
_TEMPORAL: dict[str, Callable[[str], Temporal | None]] = {
    "date": parse_date,
    "datetime": parse_datetime,
    "time": parse_time,
}


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.depth = 0

    @property
    def ahead(self) -> Token:
        return self.tokens[self.place]

    def advance(self) -> Token:
        token = self.tokens[self.place]
        self.place += 1
        return token

    def sees(self, symbol: str) -> bool:
        token = self.ahead
        return token.kind == "symbol" and token.text == symbol

    def take(self, symbol: str) -> None:
        if not self.sees(symbol):
            raise self.unexpected(self.ahead)
        self.place += 1

    def unexpected(self, token: Token) -> InvalidExpression:
        if token.kind == "end":
            return InvalidExpression("The expression ends too early.")
        return InvalidExpression(f"Unexpected token at position {token.at} of the expression.")

    def whole(self) -> Expression:
        tree = self.expression(0)
        if self.ahead.kind != "end":
            raise self.unexpected(self.ahead)
        return tree

    def binding(self) -> int:
        """How strongly the next token binds as a binary operator; 0 when it is none."""
        token = self.ahead
        if token.kind == "symbol" or (token.kind == "name" and token.text in _WORDS):
            return _BINDING.get(token.text, 0)
        return 0

    def expression(self, above: int) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidExpression("The expression is nested too deep.")
        left = self.signed()
        while (binding := self.binding()) > above:
            operator = self.advance().text
            if operator in ("is", "as"):
                left = TypeTest(operator, left, self.type_specifier())
            else:
                left = Operation(operator, left, self.expression(binding))
        self.depth -= 1
        return left

    def signed(self) -> Expression:
        if self.sees("-") or self.sees("+"):
            return Sign(self.advance().text, self.expression(_SIGN))
        return self.postfix()

    def postfix(self) -> Expression:
        tree = self.term()
        while True:
            if self.sees("."):
                self.place += 1
                tree = self.invocation(tree)
            elif self.sees("["):
                self.place += 1
                tree = Item(tree, self.expression(0))
                self.take("]")
            else:
                return tree

    def invocation(self, target: Expression | None) -> Expression:
        token = self.advance()
        if token.kind == "special" and target is not None:
            return Special(token.text[1:])
        if token.kind not in ("name", "quoted"):
            raise self.unexpected(token)
        if not self.sees("("):
            return Member(target, token.text)
        self.place += 1
        arguments: list[Expression] = []
        while not self.sees(")"):
            if arguments:
                self.take(",")
            arguments.append(self.expression(0))
        self.take(")")
        return Call(target, token.text, tuple(arguments))

    def type_specifier(self) -> str:
        name = type_name(self.invocation(None))
        if name and self.sees("."):
            following = self.tokens[self.place + 1]
            if name in ("FHIR", "System") and following.kind in ("name", "quoted"):
                self.place += 2
                return f"{name}.{following.text}"
        if not name:
            raise self.unexpected(self.tokens[self.place - 1])
        return name

    def term(self) -> Expression:
        token = self.ahead
        if token.kind == "symbol":
            return self.symbol()
        if token.kind == "name" and token.text not in _TERM_NAMES and token.text in _WORDS:
            raise self.unexpected(token)
        if token.kind == "name" and token.text in ("true", "false"):
            self.place += 1
            return Literal(token.text == "true")
        if token.kind in ("name", "quoted"):
            return self.invocation(None)
        self.place += 1
        if token.kind == "special":
            return Special(token.text[1:])
        if token.kind == "string":
            return Literal(token.text)
        if token.kind == "number":
            return self.number(token.text)
        return Literal(self.temporal(token))

    def temporal(self, token: Token) -> object:
        parse = _TEMPORAL.get(token.kind)
        value = parse(token.text.lstrip("@")) if parse else None
        if value is None:
            raise self.unexpected(token)
        return value

    def symbol(self) -> Expression:
        token = self.advance()
        if token.text == "(":
            inner = self.expression(0)
            self.take(")")
            return inner
        if token.text == "{":
            self.take("}")
            return Nothing()
        if token.text == "%":
            name = self.advance()
            if name.kind not in ("name", "quoted", "string"):
                raise self.unexpected(name)
            return Variable(name.text)
        raise self.unexpected(token)

    def number(self, text: str) -> Expression:
        value: int | Decimal = Decimal(text) if "." in text else int(text)
        unit = self.ahead
        if unit.kind == "string":
            self.place += 1
            return Literal(Quantity(Decimal(value), unit.text))
        if unit.kind == "name" and unit.text in CALENDAR:
            self.place += 1
            return Literal(Quantity(Decimal(value), CALENDAR[unit.text], True))
        return Literal(value)


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Read an expression.

    Raises:
        InvalidExpression: It breaks the grammar, is too long or nested too deep.
    """
    return _Parser(tokenize(text)).whole()
