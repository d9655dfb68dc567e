"""Whether a resource is hidden from an actor: one rule for every store and every way to a resource.

The rule fails closed. A resource that belongs to Patients is seen when the actor may see the records of
all of them. One that belongs to nobody is seen only when its type carries no patient data by its nature
(`OPEN`): a document, a list or a task that names no patient may still tell of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fhir_server import gate
from fhir_server.model import Resource, Version, Visibility

_CARE: Final = """
    CatalogEntry Device DeviceDefinition DeviceMetric Endpoint HealthcareService InsurancePlan Location
    Medication MedicationKnowledge MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication
    MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction MedicinalProductManufactured
    MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect Organization
    OrganizationAffiliation Practitioner PractitionerRole Schedule Slot Substance SubstanceNucleicAcid
    SubstancePolymer SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial SubstanceSpecification
"""
_DEFINITIONS: Final = """
    ActivityDefinition CapabilityStatement ChargeItemDefinition CodeSystem CompartmentDefinition ConceptMap
    EffectEvidenceSynthesis EventDefinition Evidence EvidenceVariable ExampleScenario GraphDefinition
    ImplementationGuide Library Measure MessageDefinition NamingSystem ObservationDefinition OperationDefinition
    PlanDefinition Questionnaire ResearchDefinition ResearchElementDefinition ResearchStudy RiskEvidenceSynthesis
    SearchParameter SpecimenDefinition StructureDefinition StructureMap TerminologyCapabilities TestReport
    TestScript ValueSet
"""
# Of the Patient compartment, and yet of nobody where no Patient is a member or subject: a kind of people,
# and what R4 has no type for (such as a subscription topic).
_GENERAL: Final = "Basic Group"

OPEN: Final = frozenset(f"{_CARE} {_DEFINITIONS} {_GENERAL}".split())
"""Types that may be seen where they belong to no Patient."""


def hidden(type: str, owners: tuple[str, ...], load: Callable[[], Resource | None], see: Visibility) -> bool:
    """Return whether a resource is hidden.

    Args:
        type: Its type.
        owners: Ids of the Patients whose record it belongs to; of a deletion: those of the version before.
        load: Gives the resource (of a deletion: as it was before); called only where a Patient is in
            `see.partial`. None hides it.
        see: What the actor may see.
    """
    if see.types is not None and type not in see.types:
        return True
    if see.patients is None:
        return False
    if not owners:
        return type not in OPEN
    rest = [owner for owner in owners if owner not in see.patients]
    if not rest:
        return False
    if any(owner not in see.partial for owner in rest):
        return True
    resource = load()
    return resource is None or not all(see.partial[owner](resource) for owner in rest)


def is_visible(version: Version, see: Visibility, *, before: Version | None = None) -> bool:
    """Return whether a version may be seen.

    Args:
        version: As a store gives it, with its owners.
        see: What the actor may see.
        before: The version that a deletion ended; without it, a deletion in a record that is partly visible
            is hidden.
    """

    def load() -> Resource | None:
        shown = before if version.is_deleted else version
        return gate.load(shown.body) if shown is not None and shown.body else None

    return not hidden(version.type, version.owners, load, see)
