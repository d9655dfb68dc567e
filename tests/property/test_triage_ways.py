"""The quick way (chart, look, few questions) records what judging everything that is stored would record."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.model import Resource
from tests.ward import NOW, PARIS, Ward, vital
from triage_hooks import chart, moment
from triage_hooks.codes import LOINC, SCALE_2, SETTING, SIGN, UCUM
from triage_hooks.engine import Reading
from triage_hooks.enricher import Triage
from triage_hooks.observation import score_observation
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.telling import evaluations, to_record
from triage_hooks.vital_signs import readings

BASE = "https://hub.example/fhir"
KINDS = st.sampled_from(("rr", "spo2", "hr", "temp", "bp", "acvpu"))
VALUES = {"rr": (6, 12, 18, 23, 28), "spo2": (86, 90, 94, 98), "hr": (38, 70, 75, 95, 135), "temp": (34, 37, 39)}
# Quarters of an hour before now: mostly minutes ago, some late by hours, some by days, many at the same moment.
AGO = st.one_of(st.integers(0, 6), st.integers(0, 60), st.integers(0, 300))


def measured(kind: str, choice: int, ago: int, id: str, patient: str) -> Resource:
    """Return an Observation."""
    assert NOW is not None
    at = moment.written(NOW.first - ago * 900_000_000)
    about = {"id": id, "subject": {"reference": f"Patient/{patient}"}}
    if kind == "acvpu":
        code = {"coding": [{"system": SIGN, "code": "acvpu"}]}
        made = {k: item for k, item in vital("hr", 0, at, code=code, **about).items() if k != "valueQuantity"}
        return {**made, "valueString": "ACV"[choice % 3]} if choice % 4 else made
    if kind == "bp":
        pressure = {"value": (85, 105, 120, 130)[choice % 4], "system": UCUM, "code": "mm[Hg]"}
        part = {"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}, "valueQuantity": pressure}
        code = {"coding": [{"system": LOINC, "code": "85354-9"}]}
        made = {k: item for k, item in vital("hr", 0, at, code=code, **about).items() if k != "valueQuantity"}
        return {**made, "component": [part]}
    values = VALUES[kind]
    made = vital(kind, values[choice % len(values)], at, **about)
    return {**made, "valueQuantity": {**made["valueQuantity"], "code": "1"}} if choice == 7 else made


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("new", "new", "new", "correct", "note", "wrong", "move", "delete", "lose", "restart", "undo")),
        KINDS,
        st.integers(0, 7),
        AGO,
        st.integers(0, 20),  # which of those there are
        st.booleans(),  # whether it shares a transaction with the one before
    ),
    max_size=28,
)


class Plain(Ward):
    """A store that says beside each write what judging everything would record."""

    def everything(self, patient: str) -> list[Reading]:
        """Return the readings of all that is stored of a patient."""
        held = [one for one in self.all("Observation") if one["subject"] == {"reference": f"Patient/{patient}"}]
        return [item for one in held for item in readings(one, zone=PARIS, now=self.now)]

    def expected(self, before: dict[str, list[Reading]], changed: set[str], scale: int) -> list[dict[str, Any]]:
        """Return the scores to record for what is stored now and was not before."""
        made: list[dict[str, Any]] = []
        for patient, old in before.items():
            everything = self.everything(patient)
            same = {
                where
                for where in changed
                if [i for i in everything if i.reference == where] == [i for i in old if i.reference == where]
            }
            fresh = [item for item in everything if item.reference in changed - same]
            stored = [item for item in everything if item.reference not in changed - same]
            if fresh:
                told = to_record(evaluations(NEWS2, fresh, stored, scale))
                made += [score_observation(item, patient=patient, device="") for item in told]
        return made


def transactions(steps: list[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
    """Return steps that share a transaction together."""
    made: list[list[tuple[Any, ...]]] = []
    for step in steps:
        if step[-1] and made:
            made[-1].append(step)
        else:
            made.append([step])
    return made


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
async def test_scores_are_those_of_everything_stored(steps: list[tuple[Any, ...]], has_flag: bool) -> None:
    ward, count = Plain(), 0
    ward.put("Patient", {"id": "q", "birthDate": "1951-04-23", "gender": "male"})
    if has_flag:
        setting = {"status": "active", "code": {"coding": [{"system": SETTING, "code": SCALE_2}]}}
        for patient in "pq":
            about = {"subject": {"reference": f"Patient/{patient}"}, "author": {"reference": "Practitioner/x"}}
            ward.put("Flag", {"id": f"f{patient}", **setting, **about})
    for together in transactions(steps):
        written: dict[str, Resource] = {}
        deleted: dict[str, Resource] = {}
        is_undone = False
        for what, kind, choice, ago, which, _ in together:
            there = [one for one in ward.all("Observation") if one["id"].startswith("m")]
            old = there[which % len(there)] if there else None
            if what == "new":
                count += 1
                written[f"m{count}"] = measured(kind, choice, ago, f"m{count}", "ppq"[which % 3])
            elif what in ("lose", "restart"):
                _lose(ward, what)
            elif what == "undo":
                is_undone = True
            elif old is not None and old["id"] not in written and old["id"] not in deleted:
                if what == "delete":
                    deleted[old["id"]] = old
                else:
                    written[old["id"]] = _changed(old, what, kind, choice, ago)
        stored, rows = dict(ward.held), dict(ward.charts)
        before = {patient: ward.everything(patient) for patient in "pq"}
        entries = await ward.write(*written.values(), deleted=list(deleted.values()))
        changed = {f"Observation/{id}" for id in (*written, *deleted)}
        expected = ward.expected(before, changed, 2 if has_flag else 1)
        made = [entry.resource for entry in entries if entry.url == "Observation" and entry.resource]
        assert _plain(made) == _plain(expected)
        if is_undone:
            ward.held, ward.charts = stored, rows


def _changed(old: Resource, what: str, kind: str, choice: int, ago: int) -> Resource:
    if what == "note":
        return {**old, "note": [{"text": "seen"}]}
    if what == "wrong":
        return {**old, "status": "entered-in-error"}
    patient = old["subject"]["reference"].removeprefix("Patient/")
    if what == "move":
        return {**old, "subject": {"reference": "Patient/q" if patient == "p" else "Patient/p"}}
    return measured(kind, choice, ago, old["id"], patient)


def _lose(ward: Ward, what: str) -> None:
    """Lose what is at hand, or the rows too."""
    ward.triage = Triage(BASE, PARIS)
    if what == "lose":
        ward.charts.clear()


def _plain(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return scores in any order of patients, with what makes them: who wrote them does not count.

    Neither does the oxygen scale where no saturation is used: it is not asked for where none is at hand.
    """
    made = []
    for score in scores:
        parts = {part["code"]["coding"][0]["code"]: part for part in score["component"]}
        if "dataAbsentReason" in parts["news2-spo2"]:
            del parts["spo2-scale"]
        made.append(
            {**score, "device": None, "derivedFrom": sorted(map(str, score["derivedFrom"])), "component": parts}
        )
    return sorted(made, key=lambda score: str(score["subject"]))


def test_a_chart_that_said_less_of_itself_is_still_read() -> None:
    row = b'{"form":1,"readings":[["pulse",%d,"#70","Observation/1",""]]}'
    held = chart.read(row % (chart.SPAN * 3))
    assert held is not None
    assert held.covers(chart.SPAN * 3) and not held.covers(chart.SPAN * 2)
