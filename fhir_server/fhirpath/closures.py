"""A syntax tree to Python functions: every rule of FHIRPath, on typed nodes.

This is the complete engine; `straight` compiles what is common to something faster and falls back on it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fhir_server.fhirpath import arithmetic
from fhir_server.fhirpath.failures import EvaluationError, InvalidExpression
from fhir_server.fhirpath.forms import FORMS, as_type, is_type
from fhir_server.fhirpath.functions import FUNCTIONS
from fhir_server.fhirpath.functions.arguments import integer_of, result, value_of
from fhir_server.fhirpath.nodes import (
    Collection,
    Evaluate,
    Node,
    Scope,
    children_named,
    node,
)
from fhir_server.fhirpath.operators import OPERATORS
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
)
from fhir_server.fhirpath.types import TypeName, ancestors, find_type
from fhir_server.ucum import UCUM

MAX_HEIGHT: Final = 150  # of the syntax tree
_CONSTANTS: Final = {"ucum": UCUM, "sct": "http://snomed.info/sct", "loinc": "http://loinc.org"}
_PREFIXES: Final = {"vs-": "http://hl7.org/fhir/ValueSet/", "ext-": "http://hl7.org/fhir/StructureDefinition/"}


def _this(scope: Scope) -> Collection:
    return scope.this


def _literal(tree: Literal, strict: bool) -> Evaluate:
    items = [tree.value]
    return lambda _: items


def _nothing(tree: Nothing, strict: bool) -> Evaluate:
    items: Collection = []
    return lambda _: items


def _named(item: Any, name: str) -> Collection:
    if item.__class__ is Node:
        return children_named(item, name)
    if isinstance(item, TypeName) and name in ("namespace", "name"):
        return [getattr(item, name)]
    return []


def _member(tree: Member, strict: bool) -> Evaluate:
    name = tree.name
    if tree.target is None and name[:1].isupper():
        return partial(_type_or_child, name)
    target = _this if tree.target is None else closure(tree.target, strict)

    def member(scope: Scope) -> Collection:
        items = target(scope)
        one = len(items) == 1
        found = _named(items[0], name) if one else [child for item in items for child in _named(item, name)]
        scope.run.spend(len(items) + len(found))
        return found

    return member


def _type_or_child(name: str, scope: Scope) -> Collection:
    """`Patient` at the start of a path is the input itself where it is one."""
    found: Collection = []
    for item in scope.this:
        if item.__class__ is Node and name in ancestors(item.type):
            found.append(item)
        else:
            found += _named(item, name)
    return found


def _item(tree: Item, strict: bool) -> Evaluate:
    target, place = closure(tree.target, strict), closure(tree.place, strict)

    def item(scope: Scope) -> Collection:
        number = integer_of(place(scope))
        items = target(scope)
        return [items[number]] if number is not None and 0 <= number < len(items) else []

    return item


def _sign(tree: Sign, strict: bool) -> Evaluate:
    operand = closure(tree.operand, strict)
    negative = tree.operator == "-"

    def sign(scope: Scope) -> Collection:
        value = value_of(operand(scope))
        if value is None:
            return []
        found = arithmetic.negate(value)
        return [found if negative else value]

    return sign


def _type_test(tree: TypeTest, strict: bool) -> Evaluate:
    operand, type = closure(tree.operand, strict), find_type(tree.type)
    return is_type(operand, type) if tree.operator == "is" else as_type(operand, type, strict)


def _special(tree: Special, strict: bool) -> Evaluate:
    if tree.name == "this":
        return _this
    if tree.name == "index":
        return lambda scope: [scope.index]
    return lambda scope: scope.total or []


def _variable(tree: Variable, strict: bool) -> Evaluate:
    name = tree.name
    if name in _CONSTANTS:
        constant: Collection = [_CONSTANTS[name]]
        return lambda _: constant
    for prefix, base in _PREFIXES.items():
        if name.startswith(prefix):
            url: Collection = [base + name.removeprefix(prefix)]
            return lambda _: url
    return _INPUTS.get(name) or partial(_given, name)


def _given(name: str, scope: Scope) -> Collection:
    variables = scope.run.environment.variables
    if name not in variables:
        raise EvaluationError("The expression uses a variable that is not given.")
    value = variables[name]
    if value is None:
        return []
    return [_item_of(item) for item in value] if isinstance(value, list) else [_item_of(value)]


def _item_of(value: Any) -> Any:
    return node(value) if isinstance(value, dict) else value


_INPUTS: Final[dict[str, Evaluate]] = {
    "context": lambda scope: scope.run.context,
    "resource": lambda scope: result(scope.run.resource),
    "rootResource": lambda scope: result(scope.run.root),
}


def _is_constant(tree: Expression | None) -> bool:
    """Whether a path starts at an input and depends on nothing else, so that one evaluation does for a run."""
    while isinstance(tree, (Member, Call)):
        if isinstance(tree, Call) and tree.arguments and tree.name not in ("as", "ofType"):
            return False
        tree = tree.target
    return isinstance(tree, Variable) and tree.name in _INPUTS


def _remembered(evaluate: Evaluate) -> Evaluate:
    def remember(scope: Scope) -> Collection:
        memo = scope.run.memo
        found = memo.get(evaluate)
        if found is None:
            found = memo[evaluate] = evaluate(scope)
        return found

    return remember


def _call(tree: Call, strict: bool) -> Evaluate:
    target = _this if tree.target is None else closure(tree.target, strict)
    count = len(tree.arguments)
    form = FORMS.get(tree.name)
    function = form or FUNCTIONS.get(tree.name)
    if function is None:
        raise InvalidExpression("The expression calls a function that does not exist.")
    if not function.least <= count <= function.most:
        raise InvalidExpression("A function is called with the wrong number of arguments.")
    if form:
        evaluate = form.build(target, tree.arguments, partial(closure, strict=strict), strict)
    else:
        compiled = [closure(argument, strict) for argument in tree.arguments]
        evaluate = _plain_call(FUNCTIONS[tree.name].call, target, compiled, FUNCTIONS[tree.name].most)
    return _remembered(evaluate) if _is_constant(tree) else evaluate


def _plain_call(call: Callable[..., Collection], target: Evaluate, compiled: list[Evaluate], most: int) -> Evaluate:
    missing = (None,) * (most - len(compiled))

    def called(scope: Scope) -> Collection:
        items = target(scope)
        scope.run.spend(len(items))
        return call(scope.run, items, *(argument(scope) for argument in compiled), *missing)

    def called_bare(scope: Scope) -> Collection:
        items = target(scope)
        scope.run.spend(len(items))
        return call(scope.run, items)

    return called if most else called_bare


def _operation(tree: Operation, strict: bool) -> Evaluate:
    return OPERATORS[tree.operator](closure(tree.left, strict), closure(tree.right, strict))


_COMPILERS: Final[dict[type, Callable[[Any, bool], Evaluate]]] = {
    Literal: _literal,
    Nothing: _nothing,
    Member: _member,
    Call: _call,
    Item: _item,
    Sign: _sign,
    Operation: _operation,
    TypeTest: _type_test,
    Special: _special,
    Variable: _variable,
}


def closure(tree: Expression, strict: bool) -> Evaluate:
    """Compile a tree.

    Args:
        tree: What `parse` made, not higher than MAX_HEIGHT.
        strict: Whether `as` refuses several items, as the standard has it and R4's own expressions do not.

    Raises:
        InvalidExpression: It names a function or type that does not exist.
    """
    return _COMPILERS[type(tree)](tree, strict)


def check_height(tree: Expression) -> None:
    """Raise InvalidExpression when a tree is too high to be compiled by recursion."""
    level: list[Any] = [tree]
    for _ in range(MAX_HEIGHT):
        level = [part for item in level for part in _parts(item)]
        if not level:
            return
    raise InvalidExpression("The expression is nested too deep.")


def _parts(tree: Any) -> list[Any]:
    found = [part for part in tree if type(part) in _COMPILERS]
    return [*found, *tree.arguments] if isinstance(tree, Call) else found
