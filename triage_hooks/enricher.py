"""Triage inside the transaction: a measurement and what follows from it are committed together or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final, NamedTuple

from fhir_server.errors import Unavailable
from fhir_server.interface import Writing
from fhir_server.model import Change, Entry
from triage_hooks import alert, chart, episode, gathering, state
from triage_hooks.author import Author, link
from triage_hooks.codes import CLOSED
from triage_hooks.engine import Evaluation, Reading
from triage_hooks.gathering import Ward
from triage_hooks.observation import score_observation
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.rules.score import Rule
from triage_hooks.telling import evaluations, is_silent, to_record
from triage_hooks.vital_signs import Carried, carried, patient_of, readings

RULES: Final = (NEWS2,)  # that incoming measurements trigger

_log = logging.getLogger(__name__)


class Measured(NamedTuple):
    """A change that is about measurements of one patient."""

    change: Change
    parts: Sequence[Carried]  # that are of this patient now
    earlier: Sequence[Carried]  # that were before


class Triage:
    """Judges what a transaction measured (`run` is for `interface.Enricher`).

    Args:
        base_url: Of this hub's FHIR, to know its own absolute references.
        zone: Of dates without a zone.
        rules: That measurements trigger.
    """

    types: Final = frozenset({"Observation", "Patient", "Task"})

    def __init__(self, base_url: str, zone: tzinfo, rules: Sequence[Rule] = RULES) -> None:
        self.base_url, self.zone, self.rules = base_url, zone, rules
        self._shelf = chart.Shelf()
        self._devices: dict[str, str] = {}  # the engine's own, by tenant

    async def run(self, writing: Writing, changes: Sequence[Change]) -> Sequence[Entry]:
        """Return what joins the transaction: scores, alerts, and the end of closed alerts' Flags."""
        author = Author(writing, self._devices)
        entries: list[Entry] = []
        for patient, measured in self._measured(changes).items():
            entries += await self._supervised(author, patient, measured)
        for change in changes:
            if change.version.type == "Task":
                entries += await _closed(writing, change)
            elif change.version.type == "Patient" and change.version.is_deleted:
                await writing.drop_record(chart.KIND, change.version.id)
        return [*author.entries, *entries]

    def _measured(self, changes: Sequence[Change]) -> dict[str, list[Measured]]:
        """Return the changes that carry an input of a rule, by patient; quick, as most carry none."""
        found: dict[str, list[Measured]] = {}
        for change in changes:
            version = change.version
            if version.type != "Observation":
                continue
            now, before = change.resource, change.before
            parts = carried(now)
            if before is None:
                if parts and (patient := patient_of(now, self.base_url)):
                    found.setdefault(patient, []).append(Measured(change, parts, ()))
            else:
                earlier = carried(before)
                now_of, then_of = patient_of(now, self.base_url), patient_of(before, self.base_url)
                for patient in sorted({now_of if parts else "", then_of if earlier else ""} - {""}):
                    held = parts if patient == now_of and not version.is_deleted else ()
                    left = earlier if patient == then_of else ()
                    found.setdefault(patient, []).append(Measured(change, held, left))
        return found

    async def _supervised(self, author: Author, patient: str, measured: Sequence[Measured]) -> list[Entry]:
        """Judge one patient; where the engine fails, the measurement stays and a person is told."""
        try:
            return await self._judged(author, patient, measured)
        except Unavailable:
            raise
        except Exception as error:
            _log.error("triage failed: %s", type(error).__name__)
            return await episode.failed(author, patient, [one.change.version.reference for one in measured])

    async def _judged(self, author: Author, patient: str, measured: Sequence[Measured]) -> list[Entry]:
        """Judge one patient: the chart is brought up to date, and looked at in full only where a look says so."""
        writing = author.writing
        fresh, same = self._read(measured, writing.now)
        held = await self._shelf.held(writing, patient)
        if held is None:
            ward = Ward(writing, patient, self.zone, writing.now)
            held = await gathering.made_chart(ward, {one.change.version.reference for one in measured})
        elif gone := [one.change.version.reference for one in measured if one.change.before]:
            held = held.without(gone)  # what is new cannot stand in it
        kept = held.joined([*fresh, *same])
        await self._shelf.keep(writing, patient, kept)
        if not fresh:
            return []
        first = min([reading.at for reading in fresh])
        is_covered = held.covers(first)
        stored: Sequence[Reading] | None = None
        entries: list[Entry] = []
        for rule in self.rules:
            own = [reading for reading in fresh if reading.input in rule.inputs]
            if not own or (is_covered and is_silent(rule, kept, own)):
                continue
            if stored is None:
                stored = [
                    *same,
                    *(held.readings if is_covered else await self._found(author, patient, measured, fresh)),
                ]
            entries += await self._ruled(author, rule, patient, own, stored)
        return entries

    def _read(self, measured: Sequence[Measured], now: int) -> tuple[list[Reading], list[Reading]]:
        """Return what is measured and is new, and what an update left as it was."""
        fresh: list[Reading] = []
        same: list[Reading] = []
        for change, parts, earlier in measured:
            found = readings(change.resource, zone=self.zone, now=now, parts=parts)
            if earlier and found == readings(change.before or {}, zone=self.zone, now=now, parts=earlier):
                same += found
            else:
                fresh += found
        return fresh, same

    async def _found(
        self, author: Author, patient: str, measured: Sequence[Measured], fresh: Sequence[Reading]
    ) -> list[Reading]:
        """Return what the store holds that may count together with fresh readings, but for what is changing."""
        ward = Ward(author.writing, patient, self.zone, author.writing.now)
        moments = [reading.at for reading in fresh]
        changed = {one.change.version.reference for one in measured}
        around = await gathering.around(ward, min(moments), max(moments))
        return [item for item in around if item.reference not in changed]

    async def _ruled(
        self, author: Author, rule: Rule, patient: str, fresh: Sequence[Reading], stored: Sequence[Reading]
    ) -> list[Entry]:
        """Judge by one rule: a score as of the newest moment, and one as of the gravest where that is another."""
        telling = await _telling(author.writing, rule, patient, fresh, stored)
        if not telling or not await gathering.holds_for(author.writing, rule, patient, telling[0].at, zone=self.zone):
            return []
        device = await author.reference()
        scores = [score_observation(item, patient=patient, device=device) for item in telling]
        links = [link(author.writing, patient, rule.id, item.at) for item in telling]
        entries = [Entry("POST", "Observation", *pair) for pair in zip(scores, links, strict=True)]
        return [*entries, *await episode.followed(author, telling[-1], patient, links[-1])]


async def _telling(
    writing: Writing, rule: Rule, patient: str, fresh: Sequence[Reading], stored: Sequence[Reading]
) -> list[Evaluation]:
    """Return the evaluations worth a record; the oxygen scale is asked for only where there would be any."""
    judged = evaluations(rule, fresh, stored, 1)
    told = to_record(judged)
    if "spo2" not in {reading.input for reading in stored} and "spo2" not in {reading.input for reading in fresh}:
        return told
    differs = any("spo2" in item.used for item in judged)  # else the other scale says the same
    if not told and not (differs and to_record(evaluations(rule, fresh, stored, 2))):
        return []
    if await gathering.oxygen_scale(writing, patient) == 1:
        return told
    return to_record(evaluations(rule, fresh, stored, 2))


async def _closed(writing: Writing, change: Change) -> list[Entry]:
    """End the Flag of an alert that a person has just closed."""
    task, before = change.resource, change.before
    if change.version.is_deleted or not before or not state.is_alert(task):
        return []
    if task.get("status") not in CLOSED or before.get("status") in CLOSED:
        return []
    reference = task.get("reasonReference", {}).get("reference", "")
    flag = await writing.resource(reference) if reference.startswith("Flag/") else None
    if not flag or flag.get("status") != "active":
        return []
    return [Entry("PUT", reference, alert.ended(flag, writing.now))]
