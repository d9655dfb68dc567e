"""Triage inside the transaction: a measurement and what follows from it are committed together or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import tzinfo
from typing import Final

from fhir_server.errors import Unavailable
from fhir_server.interface import Writing
from fhir_server.model import Change, Entry, Resource
from triage_hooks import alert, chart, episode, gathering, state, vital_signs
from triage_hooks.author import Author, link
from triage_hooks.codes import CLOSED
from triage_hooks.engine import Evaluation, Reading, Series, evaluate, urgency, worse
from triage_hooks.gathering import Ward
from triage_hooks.observation import score_observation
from triage_hooks.rules.news2 import NEWS2
from triage_hooks.rules.score import Rule

RULES: Final = (NEWS2,)  # that incoming measurements trigger

_log = logging.getLogger(__name__)


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

    async def run(self, writing: Writing, changes: Sequence[Change]) -> Sequence[Entry]:
        """Return what joins the transaction: scores, alerts, and the end of closed alerts' Flags."""
        author = Author(writing)
        entries: list[Entry] = []
        for patient, measured in self._measured(changes).items():
            entries += await self._supervised(author, patient, measured)
        for change in changes:
            if change.version.type == "Task":
                entries += await _closed(writing, change)
            elif change.version.type == "Patient" and change.version.is_deleted:
                await writing.drop_record(chart.KIND, change.version.id)
        return [*author.entries, *entries]

    def _measured(self, changes: Sequence[Change]) -> dict[str, list[Change]]:
        """Return the changes that carry an input of a rule, by patient; quick, as most carry none."""
        found: dict[str, list[Change]] = {}
        for change in changes:
            if change.version.type != "Observation":
                continue
            versions = (change.resource, change.before) if change.before else (change.resource,)
            of = {vital_signs.patient_of(one, self.base_url) for one in versions if vital_signs.concerns(one)}
            for patient in sorted(of):
                if patient:
                    found.setdefault(patient, []).append(change)
        return found

    async def _supervised(self, author: Author, patient: str, measured: Sequence[Change]) -> list[Entry]:
        """Judge one patient; where the engine fails, the measurement stays and a person is told."""
        try:
            return await self._judged(author, patient, measured)
        except Unavailable:
            raise
        except Exception as error:
            _log.error("triage failed: %s", type(error).__name__)
            return await episode.failed(author, patient, [change.version.reference for change in measured])

    async def _judged(self, author: Author, patient: str, measured: Sequence[Change]) -> list[Entry]:
        ward = Ward(author.writing, patient, self.zone, author.writing.now)
        read = {change.version.reference: self._readings(ward, change.resource, change) for change in measured}
        held = await chart.held(author.writing, patient)
        if held is None:
            held = await gathering.made_chart(ward, read)
        else:  # what is new cannot stand in it
            held = held.without([change.version.reference for change in measured if change.before])
        await chart.keep(author.writing, patient, held.joined(item for items in read.values() for item in items))
        fresh = [item for change in measured for item in self._news(ward, change, read[change.version.reference])]
        if not fresh:
            return []
        first, last = min(reading.at for reading in fresh), max(reading.at for reading in fresh)
        stored: Sequence[Reading] = held.readings
        if not held.covers(first):
            stored = [item for item in await gathering.around(ward, first, last) if item.reference not in read]
        entries: list[Entry] = []
        for rule in self.rules:
            if own := [reading for reading in fresh if reading.input in rule.inputs]:
                entries += await self._ruled(author, rule, patient, own, stored)
        return entries

    def _readings(self, ward: Ward, resource: Resource, change: Change) -> list[Reading]:
        """Return what a version measures of this patient."""
        if change.version.is_deleted or vital_signs.patient_of(resource, self.base_url) != ward.patient:
            return []
        return vital_signs.readings(resource, zone=self.zone, now=ward.now)

    def _news(self, ward: Ward, change: Change, read: list[Reading]) -> list[Reading]:
        """Return what is new: an update that leaves the measurement as it was brings nothing."""
        return [] if change.before and read == self._readings(ward, change.before, change) else read

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


def to_record(judged: Sequence[Evaluation]) -> list[Evaluation]:
    """Return the newest evaluation, then the gravest where another one is graver; those not worth a record left out."""
    if not judged:
        return []
    newest = judged[-1]
    gravest = max(judged, key=urgency) if len(judged) > 1 else newest
    both = [newest, gravest] if gravest is not newest and worse(gravest, newest) else [newest]
    return [item for item in both if is_telling(item)]


def evaluations(rule: Rule, fresh: Sequence[Reading], stored: Sequence[Reading], scale: int) -> list[Evaluation]:
    """Evaluate at every moment at which a fresh reading counts, oldest first.

    A reading that comes late counts at its own moment and at the later ones whose set it completes.
    """
    series = Series([*fresh, *stored])
    new = {(reading.reference, reading.input) for reading in fresh}
    first = min(reading.at for reading in fresh)
    moments = sorted({reading.at for reading in (*fresh, *stored) if reading.at >= first})
    made = (evaluate(rule, series, at, scale=scale) for at in moments)
    return [item for item in made if any((used.reference, name) in new for name, used in item.used.items())]


def is_telling(evaluation: Evaluation) -> bool:
    """Whether a score is worth a record: much is known, or what is known is not calm."""
    rule, score = evaluation.rule, evaluation.score
    return score.is_complete or len(evaluation.used) >= rule.enough or score.minimum >= rule.notable


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
