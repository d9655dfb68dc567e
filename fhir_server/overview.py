"""What the start page and /admin show of the running hub."""

from __future__ import annotations

from importlib.metadata import version

from fhir_server.interactions.core import Hub
from fhir_server.interactions.instant import system_clock
from fhir_server.model import Actor
from fhir_server.pages.routes import Address, Overview
from fhir_server.settings import Settings

SHOWN = (
    "Patient",
    "Encounter",
    "Observation",
    "DiagnosticReport",
    "Condition",
    "Consent",
    "CareTeam",
    "Device",
    "Flag",
    "Task",
    "Composition",
    "Subscription",
)
STARTED = system_clock()


async def overview(hub: Hub, settings: Settings, actor: Actor) -> Overview:
    """Count what is stored."""
    async with hub.store.view(actor.tenant) as view:
        counts = [(type, await view.count((type,), ())) for type in SHOWN]
        alerts = await view.count(("Task",), hub.query("Task", [("status", "requested,accepted,in-progress")]).where)
    return Overview(version("predmp"), settings.store.partition(":")[0], STARTED, counts, alerts)


def addresses(settings: Settings) -> list[Address]:
    """Return the ways into the hub."""
    root = settings.root_url
    return [
        Address("Base FHIR R4", "FHIR R4 base", f"{root}/fhir/metadata", is_link=True),
        Address("Services CDS Hooks", "CDS Hooks services", f"{root}/cds-services", is_link=True),
        Address("Documentation de l’API", "API documentation", f"{root}/docs", is_link=True),
        Address("HL7 v2 par MLLP", "HL7 v2 over MLLP", settings.mllp),
        Address("Mesures des dispositifs", "Device readings", f"{root}/devices"),
        Address("Métriques", "Metrics", f"{root}/metrics", is_link=True),
    ]
