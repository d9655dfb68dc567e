"""One message's effect inside a transaction: planned by what is stored now, submitted, told.

The worker and every replay come here, so that a replay does what the first time would do today.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from adapters.hl7.apply import Plan, plan
from adapters.hl7.arrival import Arrival
from adapters.hl7.faults import Fault, Problem
from adapters.hl7.record import APPLIED, NOT_APPLIED, QUARANTINED, SUPERSEDED, error_part, when
from fhir_server.errors import Conflict, FhirError, Throttled, Unavailable, VersionConflict
from fhir_server.interface import Core, Writing
from fhir_server.model import Entry, Outcome

INTERACTION: Final = "hl7v2"
ACTOR: Final = "adapters.hl7"
MOST_HISTORY: Final = 20  # settlements of one message that are kept with it
MOST_PROBLEMS: Final = 1_000  # and unused fields, of one message, that are kept with it; of more the number is
MOST_ISSUES: Final = 20  # of a refusal that are kept with the message

TRANSIENT: Final = (Unavailable, Conflict, VersionConflict, Throttled)
"""What may be gone when it is tried again: 409, 412 of a race, 429, 503."""


class Effect(NamedTuple):
    """What a message came to."""

    state: str
    fault: Fault | None = None
    problems: tuple[Problem, ...] = ()
    entries: tuple[Entry, ...] = ()
    outcomes: tuple[Outcome, ...] = ()  # one for each entry
    merged: tuple[str, ...] = ()  # resources that a merge of patients changed

    @property
    def references(self) -> list[str]:
        """The resources that it names: made, changed, or found to say the same already."""
        written = [outcome.version.reference for outcome in self.outcomes if outcome.version is not None]
        return list(dict.fromkeys([*written, *self.merged]))


Choose = Callable[[Writing, Sequence[Entry]], Any]
"""Awaitable: leaves out entries of a plan (`replay`: what is newer than the message stays)."""


async def take_effect(core: Core, writing: Writing, arrival: Arrival, choose: Choose | None = None) -> Effect:
    """Apply a message that was read; one with a fault comes to quarantine.

    Args:
        core: Names the actor that audit shows.
        writing: The transaction, which also stores the message's new state.
        arrival: The message.
        choose: Gives the entries of the plan that are to be written; None: all.

    Raises:
        FhirError: It cannot be applied; then the transaction must not be committed.
        Refused: The same, by a fault of its content.
    """
    if arrival.draft is None:
        return Effect(QUARANTINED, arrival.fault or NOT_APPLIED, arrival.problems)
    made: Plan = await plan(writing, arrival.draft, arrival.feed)
    entries = made.entries if choose is None else await choose(writing, made.entries)
    outcomes: list[Outcome] = []
    if entries:
        actor = core.internal(arrival.channel.tenant, ACTOR)
        outcomes = await writing.submit(entries, actor=actor, interaction=INTERACTION)
    state = SUPERSEDED if made.outdated and not made.entries and not made.merged else APPLIED
    problems = (*arrival.problems, *made.problems)
    return Effect(state, None, problems, tuple(entries), tuple(outcomes), tuple(made.merged))


def told(body: dict[str, Any], arrival: Arrival, effect: Effect, now: int) -> dict[str, Any]:
    """Return a record's body with what the message came to."""
    made = {
        **body,
        "attempts": body.get("attempts", 0) + 1,
        "settled": when(now),
        "issues": [problem._asdict() for problem in _few(effect.problems, len(arrival.unused))],
        "unused": list(arrival.unused[:MOST_PROBLEMS]),
        "used": dict(arrival.used),
        "unmapped": [list(row) for row in arrival.unmapped],
        "resources": list(dict.fromkeys([*body.get("resources", ()), *effect.references])),
    }
    made.pop("error", None)
    made.pop("next_at", None)
    if effect.fault is not None:
        made["error"] = error_part(effect.fault)
    if "settled" in body or "error" in body:  # not the first time: what it came to before is kept
        before = {"at": body.get("settled", body.get("received", "")), "fault": body.get("error", {}).get("code", "")}
        before["state"] = ""  # not kept then
        again = {"at": made["settled"], "fault": effect.fault.code if effect.fault else "", "state": effect.state}
        made["history"] = [*(body.get("history") or [before]), again][-MOST_HISTORY:]
    return made


def _few(problems: Sequence[Problem], unused: int) -> Sequence[Problem]:
    """Return the problems that are kept, with one that says how many are not, and how many of the unused fields."""
    left = max(len(problems) - MOST_PROBLEMS, 0) + max(unused - MOST_PROBLEMS, 0)
    return [*problems[:MOST_PROBLEMS], Problem("MSH[1]", "problems-left-out", str(left))] if left else problems


def reason_of(error: BaseException) -> dict[str, Any]:
    """Return what a refusal of the core says, without values: its texts hold none."""
    if not isinstance(error, FhirError):
        return {}
    issues = [{"code": issue.code, "expression": issue.expression} for issue in error.issues[:MOST_ISSUES]]
    return {"text": error.text, "issues": issues}
