"""A job as it is kept: what to do, for whom, how far it came, who runs it, what it made."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fhir_server import gate
from fhir_server.model import Actor, Scope

JOB: Final = "job"  # record: one for each job, key its id, lane its kind, state as below
INPUT: Final = "job-input"  # record: a piece of what was sent to work on, key "id/number", lane the id
OUTPUT: Final = "job-output"  # record: a piece of a file, key "id/file/number", lane "id/file"

RECEIVING: Final = "receiving"  # what it is to work on still comes in
QUEUED: Final = "queued"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
OPEN: Final = (RECEIVING, QUEUED, RUNNING)
STATES: Final = (*OPEN, DONE, FAILED, CANCELLED)


class Output(msgspec.Struct):
    """A file of a job: NDJSON lines, in pieces."""

    number: int
    type: str  # the resource type of its lines
    group: str  # output, deleted or error, as in a Bulk Data manifest; answer: a stored HTTP body
    count: int = 0  # lines
    size: int = 0  # bytes, not compressed
    pieces: int = 0

    @property
    def name(self) -> str:
        """The name of the file in its url."""
        return f"{self.number}.{self.type}.ndjson"


class Failure(msgspec.Struct):
    """Why a job failed, as a client may see it."""

    status: int
    code: str
    text: str


class Job(msgspec.Struct, kw_only=True):
    """A job. Times are microseconds since 1970-01-01T00:00Z."""

    id: str
    kind: str
    state: str
    tenant: str
    subject: str
    scopes: list[tuple[str, str, str, str]]
    reference: str
    patient: str
    purpose: str
    client: str
    created: int
    input: bytes  # JSON
    request: str = ""  # the url that asked for it
    started: int = 0
    ended: int = 0
    expires: int = 0  # when it and its files are removed; 0: not ended yet
    done: int = 0
    total: int | None = None  # None where nobody knows
    checkpoint: bytes = b""
    attempts: int = 0  # runs begun since the last checkpoint
    not_before: int = 0  # after a failed run
    lease_by: str = ""  # the process that runs it
    lease_until: int = 0
    pieces: int = 0  # of what was sent to work on
    outputs: list[Output] = []
    result: bytes = b""  # JSON, of a job that is done
    failure: Failure | None = None

    @property
    def actor(self) -> Actor:
        """Who asked for it: the job sees and may do what they may at that moment."""
        scopes = tuple(Scope(*scope) for scope in self.scopes)
        return Actor(self.tenant, self.subject, scopes, self.reference, self.patient, self.purpose, self.client)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN

    def is_of(self, actor: Actor) -> bool:
        """Whether the actor may know of it: who asked for it, or the operator."""
        mine = (self.subject, self.reference, self.patient, self.client)
        same = mine == (actor.subject, actor.reference, actor.patient, actor.client)
        return self.tenant == actor.tenant and (same or actor.is_operator)

    def is_open_to(self, actor: Actor) -> bool:
        """Whether the actor's scopes reach as far as those that the job read with, so that what it read is theirs too.

        Source: https://hl7.org/fhir/uv/bulkdata/STU2/authorization.html
        """
        return all(
            actor.may(action, type) for _, type, actions, _ in self.scopes for action in actions if action in "rs"
        )

    def asked(self) -> dict[str, Any]:
        """Return its input."""
        made: dict[str, Any] = gate.load(self.input)
        return made


def new_job(id: str, kind: str, input: dict[str, Any], actor: Actor, at: int, request: str) -> Job:
    """Return a job that waits."""
    return Job(
        id=id,
        kind=kind,
        state=QUEUED,
        tenant=actor.tenant,
        subject=actor.subject,
        scopes=[(s.context, s.type, s.actions, s.query) for s in actor.scopes],
        reference=actor.reference,
        patient=actor.patient,
        purpose=actor.purpose,
        client=actor.client,
        created=at,
        input=gate.write(input),
        request=request,
    )


write = msgspec.msgpack.Encoder().encode
read = msgspec.msgpack.Decoder(Job).decode
