"""Alert episodes: at most one open alert of a patient and family; it is raised, never doubled, never lowered.

Runs inside the store's transaction, where nobody else writes: to read and then to write is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from fhir_server.interface import Writing
from fhir_server.model import Entry, Resource
from triage_hooks import alert, moment, words
from triage_hooks.alert import Cause
from triage_hooks.author import Author, link
from triage_hooks.codes import CLOSED, FAMILY, OPEN
from triage_hooks.engine import Evaluation
from triage_hooks.observation import sources
from triage_hooks.ranks import ALERTING, rank

# A value that comes late still opens an alert at its rank, and says that it is late; one that is older than a
# season is history: a routine task to read it, no alarm. Both are this hub's design, for clinicians to confirm.
LATE: Final = 24 * 3_600_000_000
HISTORY: Final = 90 * LATE
REOPENED: Final = 72 * 3_600_000_000  # an alert this soon after the last one is linked to it
FAILURE_LINE: Final = (
    "Le moteur de règles n’a pas pu juger une mesure : elle est enregistrée, une personne doit la lire."
)


async def followed(author: Author, evaluation: Evaluation, patient: str, score: str) -> list[Entry]:
    """Open an alert, raise the open one, or leave all as it is.

    Args:
        author: Who writes, in the transaction that stores the measurement.
        evaluation: The gravest of this transaction.
        patient: Id of the Patient.
        score: urn:uuid of the score's Observation, in the same transaction.
    """
    writing = author.writing
    cause = cause_of(evaluation, patient, score, writing.now)
    if cause is None:
        return []
    held = await open_task(writing, patient, cause.family)
    if held is not None and not alert.is_worse(held, cause):
        return []
    device, risk = await author.reference(), link(writing, patient, cause.family, "risk")
    why = alert.risk_assessment(evaluation, cause.rank, patient=patient, device=device, score=score)
    entries = [Entry("POST", "RiskAssessment", why, risk)]
    if held is not None:
        return [*entries, Entry("PUT", f"Task/{held['id']}", alert.raised(held, cause, focus=risk))]
    return [*entries, *await _opened(author, cause, risk)]


def cause_of(evaluation: Evaluation, patient: str, score: str, now: int) -> Cause | None:
    """Return why an alert is due; None where the rank is too low for one."""
    reached, family = evaluation.score.rank, evaluation.rule.family
    if reached is None or reached.place > ALERTING:
        return None
    line, age = words.line(evaluation), now - evaluation.at
    if age > HISTORY:
        reached, family = rank("4"), f"{family}-history"
    if age > LATE:
        line = f"Mesure du {moment.written(evaluation.at)[:10]}, reçue tard. {line}"
    inputs = (("score", score), *(("measurement", reference) for reference in sources(evaluation)))
    return Cause(patient, family, reached, now, line, evaluation.score.minimum, inputs)


async def open_task(writing: Writing, patient: str, family: str) -> Resource | None:
    """Return the open alert of a patient and family."""
    code = quote(f"{FAMILY}|{family}")
    found = await writing.find(f"Task?patient={patient}&code={code}&status={','.join(OPEN)}&_count=1&_total=none")
    return found[0] if found else None


async def failed(author: Author, patient: str, references: Sequence[str]) -> list[Entry]:
    """Return the alert that the engine failed, unless one is open: the person who takes it looks at all."""
    if await open_task(author.writing, patient, "failure"):
        return []
    inputs = tuple(("measurement", reference) for reference in dict.fromkeys(references))
    now = author.writing.now
    return await _opened(
        author, Cause(patient, "failure", rank("3A"), now, FAILURE_LINE, 0, inputs[: alert.MAX_INPUTS]), ""
    )


async def _opened(author: Author, cause: Cause, focus: str) -> list[Entry]:
    device, writing = await author.reference(), author.writing
    flag = "" if cause.family.endswith("-history") else link(writing, cause.patient, cause.family, "flag")
    part_of = await _last_closed(writing, cause)
    task = alert.task(cause, device=device, focus=focus, flagged=flag, part_of=part_of)
    made = [Entry("POST", "Task", task, link(writing, cause.patient, cause.family, "task"))]
    return [Entry("POST", "Flag", alert.flag(cause, device=device), flag), *made] if flag else made


async def _last_closed(writing: Writing, cause: Cause) -> str:
    """Return the alert of the same family that was closed a short while ago."""
    code, since = quote(f"{FAMILY}|{cause.family}"), moment.written(cause.now - REOPENED)
    found = await writing.find(
        f"Task?patient={cause.patient}&code={code}&status={','.join(CLOSED)}"
        f"&_lastUpdated=ge{since}&_sort=-_lastUpdated&_count=1&_total=none"
    )
    return f"Task/{found[0]['id']}" if found else ""
