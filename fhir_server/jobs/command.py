"""`predmp jobs`: what runs, waits or has ended, and its end from the command line."""

from __future__ import annotations

import json

from fhir_server.interactions.ids import new_id
from fhir_server.interactions.instant import system_clock, write_instant
from fhir_server.jobs.job import STATES, Job
from fhir_server.jobs.jobs import Jobs
from fhir_server.jobs.ledger import Ledger
from fhir_server.jobs.process import own_name
from fhir_server.store.protocol import Store


async def list_jobs(store: Store, tenant: str, *, as_json: bool) -> int:
    """Print a line for each job of a tenant, oldest first."""
    jobs = await Ledger(store, system_clock, own_name()).in_states(tenant, STATES)
    if as_json:
        print(json.dumps([_row(job) for job in jobs]))
    for job in [] if as_json else jobs:
        row = _row(job)
        print(f"{row['id']}  {row['state']:<9}  {row['kind']:<12}  {row['done']:>10}  {row['created']}  {row['for']}")
    return 0


def _row(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "state": job.state,
        "kind": job.kind,
        "done": job.done,
        "total": job.total,
        "created": write_instant(job.created),
        "for": job.reference or job.subject,
    }


async def cancel_job(store: Store, tenant: str, id: str) -> int:
    """Cancel a job, or remove one that has ended; return 1 where there is none."""
    stopped = await Jobs(store, system_clock, new_id).stop(tenant, id)
    print("cancelled" if stopped else "there is no such job")
    return 0 if stopped else 1
