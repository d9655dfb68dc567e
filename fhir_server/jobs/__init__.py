"""Long-running work that outlives a request and a process."""

from fhir_server.jobs.context import JobContext, Mark, Stopped
from fhir_server.jobs.job import Job, Output
from fhir_server.jobs.jobs import Jobs, Kind

__all__ = ["Job", "JobContext", "Jobs", "Kind", "Mark", "Output", "Stopped"]
