"""Whatever was measured, what the engine writes is valid R4: else it would refuse the measurement itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from fhir_server import gate
from fhir_server.validation import validate
from triage_hooks import alert, episode, vital_signs, worklist
from triage_hooks.alert import Cause
from triage_hooks.codes import LOINC, UCUM
from triage_hooks.engine import Reading, Series, evaluate
from triage_hooks.observation import score_observation
from triage_hooks.ranks import RANKS
from triage_hooks.rules.bands import Bound
from triage_hooks.rules.inputs import INPUTS
from triage_hooks.rules.news2 import NEWS2

PARIS = ZoneInfo("Europe/Paris")
AT = 1_795_500_000_000_000
COMPARATORS = st.sampled_from(("<", "<=", ">=", ">"))


def values(name: str) -> st.SearchStrategy[Any]:
    if name == "on_oxygen":
        return st.booleans()
    if name == "consciousness":
        return st.sampled_from("ACVPU")
    numbers = st.decimals(INPUTS[name].low, INPUTS[name].high, places=1)
    return st.one_of(numbers, st.builds(Bound, COMPARATORS, numbers))


READINGS = st.lists(
    st.sampled_from(sorted(INPUTS)).flatmap(
        lambda name: st.one_of(
            values(name).map(lambda value: Reading(name, AT, value, f"Observation/{name}")),
            st.sampled_from(("unit", "implausible", "unreadable")).map(
                lambda why: Reading(name, AT, None, f"Observation/{name}", why)
            ),
        )
    ),
    min_size=1,
    unique_by=lambda reading: reading.input,
)


def problems(resource: dict[str, Any]) -> list[Any]:
    parsed = gate.parse_resource(gate.write(resource))
    return [issue for issue in validate(parsed) if issue.severity in ("error", "fatal")]


@given(READINGS, st.sampled_from((1, 2)), st.integers(0, 4_000))
def test_every_score_and_alert_is_valid(readings: list[Reading], scale: int, hours_late: int) -> None:
    judged = evaluate(NEWS2, Series(readings), AT, scale=scale)
    if not judged.used:
        return
    score = score_observation(judged, patient="p", device="Device/d")
    assert problems(score) == []
    cause = episode.cause_of(judged, "p", "Observation/s", AT + hours_late * 3_600_000_000)
    if cause is None:
        assert judged.score.rank is None or judged.score.rank.code in ("4", "5")
        return
    risk = alert.risk_assessment(judged, cause.rank, patient="p", device="Device/d", score="Observation/s")
    task = alert.task(cause, device="Device/d", focus="RiskAssessment/r", flagged="Flag/f", part_of="Task/t")
    raised = alert.raised(task, cause._replace(rank=RANKS[0], score=20), focus="RiskAssessment/r2")
    for made in (risk, task, raised, alert.flag(cause, device="Device/d")):
        assert problems(made) == []
    assert alert.place(raised) == 1


@given(st.sampled_from(sorted(worklist.ACTIONS)), st.sampled_from(("", "Practitioner/a")), st.booleans())
def test_every_action_of_the_worklist_leaves_a_valid_task(action: str, actor: str, has_comment: bool) -> None:
    cause = Cause("p", "vitals", RANKS[2], AT, "NEWS2 5.", 5, (("score", "Observation/s"),))
    task = alert.task(cause, device="Device/d")
    made = worklist.stepped(
        task, action, actor=actor, name="a", now=AT, outcome="true-acted", comment="Appelé." if has_comment else ""
    )
    assert problems(made) == []


def test_the_engines_device_is_valid() -> None:
    assert problems(alert.engine_device()) == []


@given(
    st.sampled_from([code for item in INPUTS.values() for system, code in item.codes if system == LOINC]),
    st.dictionaries(
        st.sampled_from(("value", "unit", "system", "code", "comparator")),
        st.one_of(st.decimals(allow_nan=False, allow_infinity=False).map(Decimal), st.sampled_from(("%", UCUM, "<"))),
    ),
    st.one_of(st.none(), st.text(max_size=12), st.dates().map(str), st.datetimes().map(lambda at: f"{at}Z")),
)
def test_no_quantity_and_no_time_makes_reading_fail(code: str, quantity: dict[str, Any], at: str | None) -> None:
    if isinstance(quantity.get("value"), str):
        del quantity["value"]
    if not isinstance(quantity.get("comparator", "<"), str) or quantity.get("comparator", "<") != "<":
        quantity.pop("comparator", None)
    quantity = {key: item for key, item in quantity.items() if key == "value" or isinstance(item, str)}
    resource = {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "valueQuantity": quantity,
        "effectiveDateTime": at,
    }
    for reading in vital_signs.readings(resource, zone=PARIS, now=AT):
        assert (reading.value is None) == bool(reading.problem)
