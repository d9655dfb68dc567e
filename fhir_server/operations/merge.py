"""`Patient/$merge` and `Patient/$unmerge`: two records of one person made one, and apart again.

R4 has no such operation; parameters and answer are those of R5, https://hl7.org/fhir/R5/patient-operation-merge.html,
with `preview` of its successor. `$unmerge` is the hub's own: docs/reference/identity.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from fhir_server import gate
from fhir_server.errors import BadParameter, BadRequest, Issue, MultipleMatches, NotFound, TooCostly, Unprocessable
from fhir_server.identity.candidates import escape
from fhir_server.identity.merge import Plan, plan_merge, plan_unmerge
from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import check_id
from fhir_server.interface import Answer, Operation, OperationCall, OperationParameter
from fhir_server.jobs import JobContext, Kind, Mark
from fhir_server.model import Actor, Change, Outcome, Resource, Visibility
from fhir_server.operations.export import kicked_off
from fhir_server.operations.inputs import Inputs, element, flag, names, read_inputs
from fhir_server.outcome import outcome
from fhir_server.settings import Settings
from fhir_server.store.protocol import AuditRow, Transaction, View

MOST: Final = 2_000  # resources that change while the caller waits
MOST_JOB: Final = 50_000  # and in a job
KIND: Final = "merge"
_KNOWN: Final = (
    "source-patient",
    "source-patient-identifier",
    "target-patient",
    "target-patient-identifier",
    "result-patient",
    "preview",
)
_MERGE: Final = (
    "Makes two Patients one, in one transaction: the source is inactive and replaced by the target, all that refers to "
    "it refers to the target, and a Provenance lists each version. preview=true only says what would change."
)
_UNMERGE: Final = "Undoes the last merge of the Patient source-patient by its Provenance; what changed since stays."

_SOURCE: Final = (
    OperationParameter("source-patient", "Reference", "The Patient that was merged into another one."),
    OperationParameter("source-patient-identifier", "Identifier", "Or its identifiers.", most="*"),
    OperationParameter("preview", "boolean", "true says what would change; nothing is written."),
    OperationParameter(
        "return",
        "Parameters",
        "input (Parameters, what was sent), outcome (OperationOutcome), result (the Patient that the source becomes).",
        "out",
        1,
    ),
)

Planning = Callable[[View, Visibility], Awaitable[Plan]]
Work = Callable[[Transaction], Awaitable[Plan]]


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$merge` and `$unmerge`."""
    merging = Merging(hub)
    definition = "http://hl7.org/fhir/OperationDefinition/Patient-merge"
    common: dict[str, Any] = {
        "type": "Patient",
        "instance": False,
        "methods": ("POST",),
        "needs": "u",
        "is_job": True,  # where it takes long, so that Prefer: respond-async does not make a job of a job
    }
    return (
        Operation(name="merge", run=merging.merge, documentation=_MERGE, definition=definition, **common),
        Operation(name="unmerge", run=merging.unmerge, documentation=_UNMERGE, parameters=_SOURCE, **common),
    )


class Merging:
    """Answers `$merge` and `$unmerge`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.jobs.register(Kind(KIND, self._run_job))

    async def merge(self, call: OperationCall) -> Answer:
        """Merge the source into the target, or say what that would change."""
        inputs = read_inputs(call, _KNOWN)
        source, target = await self._patient(call, inputs, "source"), await self._patient(call, inputs, "target")
        result = self._result(element(inputs, "result-patient"), source, target)
        asked = {"source": source, "target": target, "result": result, "preview": flag(inputs, "preview")}
        return await self._answered(call, asked, "$merge")

    async def unmerge(self, call: OperationCall) -> Answer:
        """Undo the last merge of a Patient."""
        inputs = read_inputs(call, names(_SOURCE))
        asked = {"source": await self._patient(call, inputs, "source"), "preview": flag(inputs, "preview")}
        return await self._answered(call, asked, "$unmerge")

    async def _answered(self, call: OperationCall, asked: dict[str, Any], name: str) -> Answer:
        """Do what is asked; as a job where more than 2,000 resources change, or the caller does not wait."""
        if "respond-async" not in call.preferences:
            with contextlib.suppress(TooCostly):
                planning = self._planning(asked, MOST)
                if asked["preview"]:
                    plan = await self._previewed(call.actor, planning)
                else:
                    plan = await self._written(
                        call.actor, planning, partial(self._hub.store.transact, call.actor.tenant)
                    )
                return Answer(200, _answer(plan, call.resource, is_preview=asked["preview"]))
        asked |= {"input": call.resource}
        id = await self._hub.jobs.start(KIND, asked, call.actor, request=f"{self._hub.base_url}/Patient/{name}")
        return kicked_off(self._hub, id)

    async def _run_job(self, context: JobContext) -> None:
        """Work on a job; its answer is kept with the merge, so that after a crash nothing is merged twice."""
        given, planning = context.input, self._planning(context.input, MOST_JOB)
        asked: Resource | None = given.get("input")
        if given.get("preview", False):
            context.result = _answer(await self._previewed(context.actor, planning), asked, is_preview=True)
            return
        if not context.state:

            def mark(plan: Plan) -> Mark:
                return Mark(gate.write(_answer(plan, asked, is_preview=False)), 1, 1)

            await self._written(context.actor, planning, partial(context.transact, mark=mark))
        context.result = gate.load(context.state)

    def _planning(self, asked: dict[str, Any], most: int) -> Planning:
        async def planning(view: View, see: Visibility) -> Plan:
            if "target" not in asked:
                return await plan_unmerge(view, see, asked["source"], most=most)
            return await plan_merge(
                view,
                see,
                asked["source"],
                asked["target"],
                result=asked["result"],
                most=most,
                base_url=self._hub.base_url,
            )

        return planning

    async def _previewed(self, actor: Actor, planning: Planning) -> Plan:
        """Work a plan out."""
        async with self._hub.store.view(actor.tenant) as view:
            return await planning(view, await self._hub.see(view, actor))

    async def _written(self, actor: Actor, planning: Planning, transact: Callable[[Work], Awaitable[Plan]]) -> Plan:
        """Work a plan out, and write it in the same transaction."""
        changes: list[Change] = []

        async def work(tx: Transaction) -> Plan:
            plan = await planning(tx, await self._hub.sight.of(tx, actor, keep=False))
            changes[:] = await self._write(tx, plan, actor)
            return plan

        plan = await transact(work)
        await self._hub.tell(actor.tenant, changes)
        return plan

    async def _write(self, tx: Transaction, plan: Plan, actor: Actor) -> list[Change]:
        """Write a plan: by the hub, since a record moves as a whole; the audit row says who asked for it."""
        applier = self._hub.applier
        inside = self._hub.internal(actor.tenant, actor.subject)
        steps = applier.prepare(plan.entries(actor, tx.now), inside, bundled=True)
        done = await applier.apply(tx, steps, inside, f"${plan.activity}", enrich=False)
        patients = tuple(sorted((plan.source, plan.target)))
        who = actor.reference or (actor.patient and f"Patient/{actor.patient}")
        row = (tx.now, actor.subject, who, "E", f"${plan.activity}", f"Patient/{plan.source}", patients, 0)
        await tx.audit(AuditRow(*row, actor.purpose, ""))
        _check(done.outcomes)
        target = f"Patient/{plan.target}"
        plan.stored = next(change.resource for change in done.changes if change.version.reference == target)
        return done.changes

    # --- what is asked for -------------------------------------------------------------------------------------

    async def _patient(self, call: OperationCall, inputs: Inputs, which: str) -> str:
        """Return the id of the source or target: by reference, or by identifiers that name one Patient.

        Raises:
            BadRequest: Neither is given, or both are and name different Patients.
        """
        found = set()
        reference = element(inputs, f"{which}-patient")
        if reference is not None:
            text = reference.get("reference")
            type, _, id = (text if isinstance(text, str) else "").removeprefix(f"{self._hub.base_url}/").partition("/")
            if type != "Patient":
                raise BadParameter(f"The parameter {which}-patient is a reference Patient/ID.")
            found.add(check_id(id))
        if identifiers := inputs.get(f"{which}-patient-identifier", []):
            found.add(await self._by_identifiers(call, identifiers))
        if len(found) != 1:
            raise BadRequest(f"Name one {which}-patient, by reference or by identifiers.")
        return found.pop()

    async def _by_identifiers(self, call: OperationCall, identifiers: list[Any]) -> str:
        pairs = []
        for item in identifiers:
            if not isinstance(item, dict) or not isinstance(item.get("value"), str):
                raise BadParameter("An identifier has a system and a value.")
            pairs.append(("identifier", f"{escape(str(item.get('system', '')))}|{escape(item['value'])}"))
        found = await self._hub.search_page("Patient", [*pairs, ("_count", "2")], actor=call.actor)
        if not found.matches:
            raise NotFound("No patient has these identifiers.")
        if len(found.matches) > 1:
            raise MultipleMatches("More than one patient has these identifiers.")
        return found.matches[0].id

    def _result(self, result: Resource | None, source: str, target: str) -> Resource | None:
        """Check the target as the caller wants it.

        Source: https://hl7.org/fhir/R5/patient-operation-merge.html (result-patient: same id as the target, and a
        link `replaces` to the source).
        """
        if result is None:
            return None
        if result.get("resourceType") != "Patient" or result.get("id") != target:
            raise Unprocessable("The result-patient is a Patient with the id of the target.")
        if errors := [i for i in self._hub.validate(result) if i.severity in ("error", "fatal")]:
            raise Unprocessable("The result-patient is not valid.", issues=errors)
        if result.get("active") is False:
            raise Unprocessable("The result-patient stays active.", expression="Patient.active")
        return result


def _check(outcomes: list[Outcome]) -> None:
    for made in outcomes:
        if made.version is None:
            raise Unprocessable("The merge does not fit what is there.")


def _answer(plan: Plan, asked: Resource | None, *, is_preview: bool) -> Resource:
    counts = ", ".join(f"{count} {type}" for type, count in plan.counts().items())
    said = f"{'Would change' if is_preview else 'Changed'}: {counts}."
    issues = [Issue("informational", text, severity="information") for text in (said, *plan.notes)]
    parameters: list[dict[str, Any]] = [{"name": "input", "resource": asked}] if asked is not None else []
    parameters.append({"name": "outcome", "resource": outcome(issues)})
    parameters.append({"name": "result", "resource": plan.result()})
    return {"resourceType": "Parameters", "parameter": parameters}
