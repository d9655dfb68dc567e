"""Jobs as a part of the core that hands in what a room does."""

from __future__ import annotations

from fhir_server.interactions.core import Hub
from fhir_server.interactions.ids import new_id
from fhir_server.interactions.instant import system_clock
from fhir_server.interface import Room, Task
from fhir_server.jobs.jobs import Jobs
from fhir_server.settings import Settings


def open(hub: Hub, settings: Settings) -> Room:
    """Give the core its jobs, and return what runs them."""
    jobs = hub.jobs = Jobs(hub.store, system_clock, new_id, keep_s=settings.jobs_keep, file_size=settings.jobs_file)

    def numbers() -> dict[str, float]:
        return {f'hub_jobs_total{{outcome="{state}"}}': count for state, count in jobs.ended.items()}

    return Room("jobs", tasks=(Task("jobs", jobs.run),), metrics=numbers)
