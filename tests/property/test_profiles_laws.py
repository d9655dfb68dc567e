"""Laws of profiles: what is made from a profile conforms to it, and one change breaks it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.profiles.findings import Known
from fhir_server.profiles.judge import Task, run_once
from fhir_server.profiles.library import Source, compiled
from fhir_server.profiles.values import fits, is_equal
from tests.profiles import OWN, element, errors, findings, profile, sliced

TEXT = st.text("abcdefghij", min_size=1, max_size=8)
LEAVES = st.one_of(TEXT, st.booleans(), st.integers(-5, 5))
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(TEXT, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[str, int, int, dict[str, Any]]]:
    """Slices of Patient.identifier: (system, min, max, what they fix)."""
    systems = draw(st.lists(TEXT.map(lambda t: f"urn:{t}"), min_size=1, max_size=4, unique=True))
    made = []
    for system in systems:
        least = draw(st.integers(0, 2))
        made.append(
            (
                system,
                least,
                draw(st.integers(max(least, 1), 3)),
                draw(
                    st.fixed_dictionaries({}, optional={"use": st.sampled_from(["usual", "official"]), "value": TEXT})
                ),
            )
        )
    return made  # fmt: skip


def definition(plan: list[tuple[str, int, int, dict[str, Any]]], rules: str) -> dict[str, Any]:
    parts = [sliced("Patient.identifier", ("value", "system"), rules=rules)]
    for number, (system, least, most, fixed) in enumerate(plan):
        at = f"Patient.identifier:s{number}"
        parts += [element(at, min=least, max=str(most)), element(f"{at}.system", min=1, fixedUri=system)]
        kinds = {"use": "fixedCode", "value": "fixedString"}
        parts += [element(f"{at}.{name}", min=1, **{kinds[name]: value}) for name, value in fixed.items()]
    return profile("Patient", *parts)


@given(plans(), st.sampled_from(["open", "closed"]), st.data())
def test_what_a_profile_describes_conforms_and_one_change_breaks_it(
    plan: list[tuple[str, int, int, dict[str, Any]]], rules: str, data: st.DataObject
) -> None:
    asked = definition(plan, rules)
    items = [
        {"system": system} | fixed
        for system, least, most, fixed in plan
        for _ in range(data.draw(st.integers(least, most)))
    ]
    items = data.draw(st.permutations(items))
    patient = {"resourceType": "Patient", "active": True} | ({"identifier": items} if items else {})
    assert findings(patient, asked) == []

    broken = deepcopy(patient)
    system, least, most, fixed = data.draw(st.sampled_from(plan))
    own = [item for item in items if item["system"] == system]
    changes = [("too many", [*items, *([{"system": system} | fixed] * (most - len(own) + 1))])]
    if least:
        changes.append(("too few", [item for item in items if item["system"] != system]))
    if fixed and own:
        name = data.draw(st.sampled_from(sorted(fixed)))
        wrong = own[0] | {name: f"{own[0][name]}-wrong"}
        changes.append(("another value", [*(item for item in items if item is not own[0]), wrong]))
    if rules == "closed":
        changes.append(("a stranger", [*items, {"system": "urn:stranger"}]))
    broken["identifier"] = data.draw(st.sampled_from(changes))[1]
    assert errors(broken, asked) != []


@given(JSON)
def test_a_value_is_equal_to_itself_and_fits_itself(value: Any) -> None:
    assert is_equal(value, deepcopy(value))
    assert fits(value, deepcopy(value))


@given(JSON, JSON)
def test_what_is_equal_fits_and_what_is_not_the_same_json_is_not_equal(one: Any, other: Any) -> None:
    same = repr(one) == repr(other)
    assert not same or is_equal(one, other)
    assert fits(one, other) or not is_equal(one, other)


@given(st.dictionaries(TEXT, JSON, min_size=1, max_size=4), st.data())
def test_a_pattern_is_fitted_by_what_has_more(pattern: dict[str, Any], data: st.DataObject) -> None:
    more = pattern | {f"x{key}": value for key, value in data.draw(st.dictionaries(TEXT, JSON, max_size=3)).items()}
    assert fits(pattern, more)
    assert is_equal(pattern, more) is (len(more) == len(pattern))


@given(
    st.recursive(
        LEAVES, lambda i: st.one_of(st.lists(i, max_size=3), st.dictionaries(TEXT, i, max_size=3)), max_leaves=12
    )
)
def test_no_shape_of_a_resource_breaks_the_check(junk: Any) -> None:
    asked = definition([("urn:a", 1, 2, {"use": "usual"})], "closed")
    findings({"resourceType": "Patient", "identifier": junk, "meta": junk, "extension": junk, "name": [junk]}, asked)


@given(st.recursive(LEAVES, lambda i: st.one_of(st.lists(i, max_size=3), st.dictionaries(st.sampled_from(["id", "path", "type", "code", "slicing", "binding", "constraint", "min", "max", "discriminator", "fixedString", "expression", "profile"]), i, max_size=4)), max_leaves=12))  # fmt: skip
def test_no_shape_of_a_definition_breaks_the_check(junk: Any) -> None:
    facts = {"type": junk, "slicing": junk, "binding": junk, "constraint": junk, "min": junk, "max": junk}
    made = profile("Patient", element("Patient.name", **facts), element("Patient.name:a", **facts, fixedString=junk))
    patient = {"resourceType": "Patient", "name": [{"family": "a"}], "extension": [{"url": "u:x", "valueCode": "a"}]}
    for broken in (made, made | {"differential": junk}, made | {"type": junk}, made | {"context": junk}):
        made_of_it = compiled([Source(("x", 1, 1), broken)])
        assert made_of_it is None or made_of_it.type == "Patient"
        run_once(Known({OWN + "own": made_of_it}), Task(patient, (OWN + "own",)))
