"""A draft names what it will read and write, so that the store can find it in one go."""

from __future__ import annotations

import pytest

from tests.hl7_messages import adt, arrive, header, message, obx, oru, pid, resources, segment


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(oru(), id="one result"),
        pytest.param(oru(obx(), obx("8310-5^T^LN", "37", "Cel")), id="results with their report"),
        pytest.param(
            oru(order=segment("ORC", f1="NW", f2="P1", f3="L1") + "\r" + segment("OBR", f2="P1", f3="L1", f4="X^X^L")),
            id="results with their order",
        ),
        pytest.param(adt(), id="a stay: found by its number, not by an id"),
        pytest.param(message(header(), pid(), segment("AL1", f1="1", f2="DA", f3="X^Arachide^L")), id="an allergy"),
    ],
)
def test_a_draft_names_all_that_it_stores_under_an_id_of_its_own(text: str) -> None:
    arrival = arrive(text)
    assert arrival.draft is not None
    made = [f"{one['resourceType']}/{one['id']}" for one in resources(arrival) if "id" in one]
    assert sorted(arrival.draft.references) == sorted(made)
    assert made or "ADT" in text
