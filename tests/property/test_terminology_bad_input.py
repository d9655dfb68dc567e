"""Resources that come with a request: whatever the validator lets pass, the service reads without a fault of its own."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import FhirError
from fhir_server.model import Resource
from fhir_server.terminology import codesystem, valueset
from fhir_server.terminology.expansion import expand
from fhir_server.terminology.membership import contains
from fhir_server.terminology.translation import Ask, translate
from fhir_server.validation import validate
from tests.terminology_world import SYSTEM, concept, include, system, value_set, world

LET_PASS = frozenset({"required", "invariant", "code-invalid"})
TARGET = {
    "code": "b",
    "equivalence": "equal",
    "dependsOn": [{"property": "p", "value": "v"}],
    "product": [{"property": "p", "value": "v"}],
}
GIVEN: tuple[Resource, ...] = (
    system(
        concept("a", concept("b", rank=1), designation=[{"language": "fr", "value": "A"}], parent="b"),
        property=[{"code": "rank", "uri": "http://x", "type": "integer"}], hierarchyMeaning="is-a", caseSensitive=False,
    ),
    value_set(
        include("a", url=SYSTEM), include(rules=[("concept", "is-a", "a")]), include(url="", valueSet=["http://none"]),
        exclude=[include("b")], compose={"inactive": False},
        expansion={"timestamp": "2026-01-01", "total": 1, "contains": [{"system": SYSTEM, "code": "a", "contains": [{"code": "b"}]}]},
        contained=[value_set(include("c"), id="inner")],
    ),
    {
        "resourceType": "ConceptMap", "url": "http://m", "status": "active",
        "group": [{"source": SYSTEM, "target": "http://t", "element": [{"code": "a", "target": [TARGET]}], "unmapped": {"mode": "other-map", "url": "http://m"}}],
    },
)  # fmt: skip
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 7, -1, "", "x", [], ["x"], {}, {"code": "a"}, [{}], [[]], "a" * 50, "=", "regex"]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a resource that can be changed."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in [(*path, key), *places(item, (*path, key))]]


@st.composite
def changed(draw: st.DrawFn) -> Resource:
    made = copy.deepcopy(draw(st.sampled_from(GIVEN)))
    for _ in range(draw(st.integers(1, 3))):
        every = [path for path in places(made) if path != ("resourceType",)]
        if not every:
            break
        *above, last = draw(st.sampled_from(every))
        holder: Any = made
        for key in above:
            holder = holder[key]
        if draw(st.booleans()):
            holder[last] = copy.deepcopy(draw(JUNK))
        else:
            del holder[last]
    return made


@settings(max_examples=400, deadline=None)
@given(changed())
async def test_what_the_validator_lets_pass_is_read_or_refused(resource: Resource) -> None:
    if any(i.severity in ("error", "fatal") and i.code not in LET_PASS for i in validate(resource)):
        return
    made = await world()
    async with made.view() as view:
        library = made.terminology.over(view, [resource])
        try:
            if resource["resourceType"] == "CodeSystem":
                decoded = codesystem.decode(resource)
                assert all(decoded.find(code) is not None for code in decoded.concepts)
            elif resource["resourceType"] == "ValueSet":
                asked = valueset.decode(resource)
                assert await contains(library, asked, SYSTEM, "a") in (True, False, None)
                await expand(library, asked)
            else:
                await translate(library, resource, Ask(SYSTEM, "a"))
                await translate(library, resource, Ask(SYSTEM, "z", dependencies={}))
                await translate(library, resource, Ask("http://t", "b", is_reverse=True))
        except FhirError as refused:
            assert refused.status < 500
