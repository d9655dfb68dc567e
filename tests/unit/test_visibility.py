"""The rule that hides, case by case."""

from __future__ import annotations

import pytest

from fhir_server.definitions import compartment, resource_types
from fhir_server.model import EVERYTHING, Resource, Version, Visibility
from fhir_server.store.visibility import OPEN, hidden, is_visible

BODY = b'{"resourceType":"Observation","id":"1","status":"final"}'


def final(resource: Resource) -> bool:
    return bool(resource["status"] == "final")


def never(resource: Resource) -> bool:
    return False


@pytest.mark.parametrize(
    ("type", "owners", "see", "expected"),
    [
        pytest.param("Task", (), EVERYTHING, False, id="nothing is hidden from the operator"),
        pytest.param("Observation", ("a",), Visibility(frozenset("a")), False, id="the record of a patient"),
        pytest.param("Observation", ("b",), Visibility(frozenset("a")), True, id="the record of another"),
        pytest.param("Observation", ("a", "b"), Visibility(frozenset("a")), True, id="of both, where one is hidden"),
        pytest.param("Observation", ("a", "b"), Visibility(frozenset("ab")), False, id="of both, where both are seen"),
        pytest.param("Observation", ("a",), Visibility(frozenset(), {"a": final}), False, id="partly: yes"),
        pytest.param("Observation", ("a",), Visibility(frozenset(), {"a": never}), True, id="partly: no"),
        pytest.param("Observation", ("a", "b"), Visibility(frozenset("b"), {"a": final}), False, id="partly and whole"),
        pytest.param(
            "Observation",
            ("a", "b"),
            Visibility(frozenset(), {"a": final, "b": never}),
            True,
            id="partly: all must agree",
        ),
        pytest.param("Organization", (), Visibility(frozenset()), False, id="a type that carries no patient data"),
        pytest.param("Observation", (), Visibility(frozenset("a")), True, id="a patient's type that belongs to nobody"),
        pytest.param("Binary", (), Visibility(frozenset("a")), True, id="a document that belongs to nobody"),
        pytest.param("Device", ("b",), Visibility(frozenset("a")), True, id="a device that belongs to another"),
        pytest.param("Organization", (), Visibility(None, types=frozenset({"Patient"})), True, id="beyond the scopes"),
        pytest.param("Patient", ("b",), Visibility(None, types=frozenset({"Patient"})), False, id="within the scopes"),
    ],
)
def test_hidden(type: str, owners: tuple[str, ...], see: Visibility, expected: bool) -> None:
    version = Version(type, "1", 1, 0, "PUT", BODY, 1, owners)
    assert is_visible(version, see) is not expected


def test_the_body_is_read_only_where_it_decides() -> None:
    def fail() -> Resource:
        raise AssertionError("read")

    assert not hidden("Observation", ("a",), fail, Visibility(frozenset("a"), {"b": never}))
    assert hidden("Observation", ("a", "c"), fail, Visibility(frozenset("a"), {"b": never}))


def test_a_deletion_is_judged_by_what_was_deleted() -> None:
    see = Visibility(frozenset(), {"a": final})
    before = Version("Observation", "1", 1, 0, "PUT", BODY, 1, ("a",))
    gone = Version("Observation", "1", 2, 0, "DELETE", b"", 2, ("a",))
    assert is_visible(gone, see, before=before)
    assert not is_visible(gone, see), "without the version before, nothing says yes"


def test_the_open_types_are_types_and_few_of_the_patient_compartment() -> None:
    assert resource_types() >= OPEN
    inside = {type for type, parameters in compartment("Patient").items() if parameters}
    assert OPEN & inside == {"Basic", "Group", "Schedule"}
