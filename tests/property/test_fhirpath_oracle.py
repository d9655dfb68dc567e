"""fhirpathpy and ours agree on paths drawn from the definitions, over the examples of R4.

Where they differ by design, the paths are drawn without it:

| fhirpathpy 2.2.4                                                        | ours                             |
|-------------------------------------------------------------------------|----------------------------------|
| hasValue(), resolve() are not implemented                               | as R4 says                       |
| children() and descendants() count `resourceType` and `_` keys          | elements only                    |
| the element `div` must be written between backticks                     | the grammar allows both          |
| `as` on several items is refused, as the standard says                  | so only with `strict=True`       |
| a date equals no time of its day                                        | open, as the official suite says |
| drops, from what it returns, list members that hold extensions alone    | JSON comes back as it stands     |
"""

from __future__ import annotations

import copy
import lzma
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import fhirpathpy
from fhirpathpy.models import models
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.definitions import structure
from fhir_server.fhirpath import compile

EXAMPLES = Path(__file__).parents[1] / "data" / "examples.jsonl.xz"
BETWEEN = ("first()", "last()", "tail()", "skip(1)", "take(2)", "where($this.exists())", "select($this)", "distinct()")
LAST = ("exists()", "empty()", "count()", "exists().not()", "isDistinct()", "count() > 1", "exists() and true")


@cache
def examples() -> tuple[dict[str, Any], ...]:
    with lzma.open(EXAMPLES) as lines:
        return tuple(gate.load(line)["resource"] for line in lines)


@st.composite
def path(draw: st.DrawFn, type: str) -> str:
    """A path of elements that the type can have, with functions in between."""
    parts = [type]
    for _ in range(draw(st.integers(1, 5))):
        elements = structure(type).elements
        if not elements:
            break
        name = draw(st.sampled_from(sorted(elements)))
        parts.append(f"`{name}`" if name == "div" else name)
        type = draw(st.sampled_from(elements[name].types))
        if elements[name].choice:
            parts.append(f"ofType({type})")
        if draw(st.integers(0, 4)) == 0:
            parts.append(draw(st.sampled_from(BETWEEN)))
        if type == "Resource":
            break
    if draw(st.integers(0, 3)) == 0:
        parts.append(draw(st.sampled_from(LAST)))
    return ".".join(parts)


def without_bare_extensions(value: Any) -> Any:
    if isinstance(value, list):
        kept = [item for item in value if not (isinstance(item, dict) and item.keys() == {"extension"})]
        return [without_bare_extensions(item) for item in kept]
    if isinstance(value, dict):
        return {key: without_bare_extensions(item) for key, item in value.items()}
    return Decimal(str(value)) if isinstance(value, float) else value


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_paths_find_what_fhirpathpy_finds(data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from(examples()), label="resource")
    expression = data.draw(path(resource["resourceType"]), label="expression")
    theirs = fhirpathpy.evaluate(copy.deepcopy(resource), expression, {}, models["r4"])
    ours = compile(expression)(resource)
    assert without_bare_extensions(ours) == without_bare_extensions(theirs)


NUMBERS = st.one_of(st.integers(0, 20).map(str), st.decimals(0, 20, places=2).map("{:f}".format), st.just("{}"))
STRINGS = st.sampled_from(["'a'", "'A'", "'b'", "'ab'", "''", "{}"])
BOOLEANS = st.sampled_from(["true", "false", "{}"])
DATES = st.sampled_from(["@2020-02-29", "@2020-03-01", "@2020-03", "@2021", "{}"])
MOMENTS = st.sampled_from(["@2020-02-29T10:00:00Z", "@2020-02-29T12:00:00+02:00", "@2020-02-29T10:00:00.5Z", "{}"])
SAME = ["=", "!=", "~", "!~", "|"]
ORDER = ["<", "<=", ">", ">="]


def operations(values: st.SearchStrategy[str], operators: list[str]) -> st.SearchStrategy[str]:
    """Operators on values of one kind: across kinds fhirpathpy follows Python, where true is 1."""
    return st.builds("{} {} {}".format, values, st.sampled_from(operators), values)


OPERATIONS = st.one_of(
    operations(NUMBERS, [*SAME, *ORDER, "+", "-", "*", "div", "mod", "in", "contains"]),
    operations(STRINGS, [*SAME, *ORDER, "+", "&", "in", "contains"]),
    operations(BOOLEANS, [*SAME, "and", "or", "xor", "implies"]),
    operations(DATES, ["=", "!=", *ORDER]),
    operations(MOMENTS, ["=", "!=", *ORDER]),
)


@settings(max_examples=600, deadline=None)
@given(OPERATIONS)
def test_operators_give_what_fhirpathpy_gives(expression: str) -> None:
    theirs = fhirpathpy.evaluate({}, expression, {}, models["r4"])
    ours = compile(expression)({})
    assert list(map(comparable, ours)) == list(map(comparable, theirs)), expression


def comparable(value: Any) -> Any:
    return float(value) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else str(value)
