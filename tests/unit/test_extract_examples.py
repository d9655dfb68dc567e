"""Extraction over the examples of R4, beside the FHIRPath engine and fhirpathpy; and over what is no valid resource."""

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

from bench.extraction import spoken
from fhir_server import gate
from fhir_server.fhirpath import compile
from fhir_server.search.extract import Indexer
from fhir_server.search.parameters import parameters_of
from fhir_server.search.values import Indexed, Token

EXAMPLES = Path(__file__).parents[1] / "data" / "examples.jsonl.xz"
INDEX = Indexer("Europe/Paris", "https://hub.example/fhir")


@cache
def examples() -> tuple[dict[str, Any], ...]:
    with lzma.open(EXAMPLES) as lines:
        return tuple(gate.load(line)["resource"] for line in lines)


def test_walks_find_what_the_engine_finds_for_every_parameter_of_every_example() -> None:
    filled = 0
    for resource in examples():
        values = INDEX(resource).values
        known = parameters_of(resource["resourceType"])
        assert values.keys() - {"_contained"} <= known.keys()
        contained = [Token("", one["resourceType"]) for one in resource.get("contained", ())]
        assert set(values.get("_contained", ())) == set(contained)
        for code, parameter in known.items():
            expected = INDEX.values(parameter, resource)
            assert set(values.get(code, ())) == set(expected), (resource["resourceType"], resource["id"], code)
            filled += bool(expected)
    assert filled > 5_000


def test_expressions_find_what_fhirpathpy_finds() -> None:
    compared = 0
    for number, resource in enumerate(examples()):
        for place, parameter in enumerate(parameters_of(resource["resourceType"]).values()):
            if (number + place) % 23 or "hasExtension" in parameter.expression:
                continue  # a sample; hasExtension() is no function of FHIRPath
            theirs = fhirpathpy.evaluate(copy.deepcopy(resource), spoken(parameter), {}, models["r4"])
            ours = compile(parameter.expression, resource["resourceType"])(resource)
            if "resolve()" in parameter.expression:  # theirs asks for relative references only
                ours = [item for item in ours if not str(item.get("reference", "/")).startswith(("#", "http"))]
            assert plain(ours) == plain(theirs), (resource["resourceType"], resource["id"], parameter.code)
            compared += bool(theirs)
    assert compared > 200


def plain(value: Any) -> Any:
    """Without list members that hold extensions alone, which fhirpathpy drops."""
    if isinstance(value, list):
        kept = [item for item in value if not (isinstance(item, dict) and item.keys() == {"extension"})]
        return [plain(item) for item in kept]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return Decimal(str(value)) if isinstance(value, float) else value


def test_equal_resources_give_equal_values_with_any_indexer() -> None:
    other = Indexer("Europe/Paris", "https://hub.example/fhir")
    assert all(other(copy.deepcopy(resource)) == INDEX(resource) for resource in examples()[::10])


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from([[], {}, [None], [[]], [{}], {"value": {}}, {"coding": 1}, {"start": 5}, "2024-99", "9999-12-31"]),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in JSON."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, key) for key, _ in pairs] + [place for _, item in pairs for place in places(item)]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_what_cannot_be_read_gives_no_row_and_no_error(data: st.DataObject) -> None:
    resource = copy.deepcopy(data.draw(st.sampled_from(examples())))
    for _ in range(data.draw(st.integers(1, 3))):
        where = [place for place in places(resource) if place[1] != "resourceType" or place[0] is not resource]
        container, key = data.draw(st.sampled_from(where))
        container[key] = copy.deepcopy(data.draw(ODD))
    assert isinstance(INDEX(resource), Indexed)
