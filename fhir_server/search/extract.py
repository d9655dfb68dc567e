"""What the search parameters find in a resource: the values that a store indexes, and whose record it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import chain, product
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from fhir_server import fhirpath
from fhir_server.definitions import compartment, resource_types
from fhir_server.fhirpath.nodes import type_of
from fhir_server.model import Resource
from fhir_server.search.molar import LOINC, by_loinc, derived
from fhir_server.search.parameters import parameters_of
from fhir_server.search.paths import Path, paths
from fhir_server.search.patterns import Patterns, is_fixed
from fhir_server.search.query import Parameter
from fhir_server.search.readers import Readers, read_concept, read_quantity
from fhir_server.search.registry import SearchParameters
from fhir_server.search.values import NOTHING, Composite, Indexed, Reference, Token, Value
from fhir_server.search.walks import UNREADABLE, Branch, Found, bare, put, read_readable

ZONE: Final = "Europe/Paris"

# Who a resource is about, in the words of R4's types; others (performer, author, asserter ...) only took part.
ABOUT: Final = ("patient", "subject", "beneficiary", "individual", "for")

MEASURED: Final = frozenset(
    f"{prefix}{code}" for prefix in ("", "component-", "combo-") for code in ("value-quantity", "code-value-quantity")
)
"""Parameters of Observation that also find a concentration in the other kind of unit."""

Rest = Callable[[Resource, Found], None]


class _Plan(NamedTuple):
    """How one resource type is indexed."""

    walk: Callable[[Any, Found], None]
    rest: tuple[Rest, ...]  # the parameters that are no plain walks
    about: tuple[str, ...]  # parameters that say whose record it is
    taking_part: tuple[str, ...]  # and those that count where the first say nothing
    uniform: bool  # whether what a parameter finds never depends on ids, references, dates or numbers: by patterns


class Indexer:
    """Reads the index values of resources; equal ones give equal values.

    The owners are the Patients whose record a resource belongs to, after R4's patient compartment
    (https://hl7.org/fhir/R4/compartmentdefinition-patient.html): a Patient owns itself, and nothing of it else.
    Where a parameter that says whom the resource is about (`patient`, `subject`, `beneficiary`, `individual`,
    `for`) names a Patient, those alone are its owners: a Patient who only performed an Observation of another
    does not own it. This holds for types outside the compartment too (Task.for, Device.patient), since they tell
    of that patient. Where none does, every parameter of the compartment counts: a Patient who sent a Communication
    without a subject owns it. Only references to a Patient of this server make owners.

    Args:
        zone: Of dates that name none, e.g. "Europe/Paris".
        base_url: Of this server's FHIR root; references under it are local. "" when there is none.
        registry: What is indexed; R4's parameters and our own where it is not given.
    """

    def __init__(self, zone: str = ZONE, base_url: str = "", registry: SearchParameters | None = None) -> None:
        self._readers = Readers(ZoneInfo(zone), base_url)
        self._plans: dict[str, _Plan] = {}
        self._patterns = Patterns(self, ZoneInfo(zone))
        self._zone = ZoneInfo(zone)
        self._registry = registry or SearchParameters()
        self._registry.on_change(self._forget)

    def _forget(self) -> None:
        self._plans = {}  # not emptied: a plan that is being made goes into the old one
        self._patterns = Patterns(self, self._zone)

    def __call__(self, resource: Resource, body: bytes = b"") -> Indexed:
        """Return all values and the owners, or with a body what `written` does; never raises on what is a resource."""
        if body:
            return self.written(resource, body)
        plan = self._plan(resource)
        if plan is None:
            return NOTHING
        found: Found = {}
        plan.walk(resource, found)
        for rest in plan.rest:
            rest(resource, found)
        if "contained" in resource:
            put(found, "_contained", _types_of(resource["contained"]))
        for code, values in found.items():
            if values.__class__ is list:
                found[code] = tuple(dict.fromkeys(values))
        return Indexed(found, _owners(plan, resource, found))

    def written(self, resource: Resource, body: bytes) -> Indexed:
        """Return what indexes a resource, by a pattern where there is one: for a store that takes them.

        Args:
            resource: As `__call__` takes it.
            body: The same, as `gate.write` gives it.
        """
        plan = self._plan(resource)
        if plan is not None and plan.uniform:
            filled = self._patterns.find(resource["resourceType"], body)
            if filled is not None:
                return Indexed({}, filled.owners, filled)
        return self(resource)

    def values(self, parameter: Parameter, resource: Resource) -> tuple[Value, ...]:
        """Return the values of any parameter, also one made at run time, by the FHIRPath engine."""
        found: Found = {}
        self._evaluated(parameter)(resource, found)
        if (
            parameter.base == "Observation"
            and parameter.code in MEASURED
            and resource.get("resourceType") == "Observation"
        ):
            also: Found = {}
            self._add_derived(resource, also)
            put(found, parameter.code, tuple(also.get(parameter.code, ())))
        return tuple(dict.fromkeys(found.get(parameter.code, ())))

    # --- plans --------------------------------------------------------------------------------------------

    def _plan(self, resource: Resource) -> _Plan | None:
        """Return the plan of a resource's type, None where it is none of R4's."""
        type = resource.get("resourceType")
        plan = self._plans.get(type) if isinstance(type, str) else None
        if plan is None and type in resource_types():
            plans = self._plans
            plan = plans[type] = self._make(type)
        return plan

    def _make(self, type: str) -> _Plan:
        root = Branch()
        rest: list[Rest] = []
        uniform = True
        for parameter in self._registry.indexed(type):
            ways = paths(parameter.expression, type)
            uniform = uniform and _is_uniform(parameter, ways)
            if ways is None or not (
                self._add_composite(root, parameter, ways)
                if parameter.type == "composite"
                else self._add(root, parameter, ways)
            ):
                rest.append(self._evaluated(parameter))
        if type == "Observation":
            rest.append(self._add_derived)
        codes = parameters_of(type)
        about = tuple(code for code in ABOUT if code in codes and "Patient" in _targets(codes[code]))
        taking_part = compartment("Patient").get(type, ())
        taking_part = tuple(code for code in taking_part if code not in about)
        return _Plan(root.compile(), tuple(rest), about, taking_part, uniform)

    def _add(self, root: Branch, parameter: Parameter, ways: tuple[Path, ...]) -> bool:
        for way in ways:
            read = self._readers.find(parameter.type, way.type)
            if read is not None:
                branch, last = _branch(root, way), way.steps[-1]
                leaf = branch.leaf(last.key, last.where, way.only, parameter.type, last.type, read)
                if parameter.code not in leaf.codes:
                    leaf.codes.append(parameter.code)
        return True

    def _add_composite(self, root: Branch, parameter: Parameter, ways: tuple[Path, ...]) -> bool:
        """Add a composite whose parts are children of its element; False when they are more than that."""
        for way in ways:
            inner = [paths(part.expression, way.type) for part in parameter.components]
            if any(part is None or any(len(path.steps) != 1 for path in part) for part in inner):
                return False
            branch = root
            for step in way.steps:
                branch = branch.below(step.key, step.where)
            slots = []
            for part, part_ways in zip(parameter.components, inner, strict=True):
                slots.append(tuple(self._slots(branch, part, part_ways or ())))
            branch.composites.append((parameter.code, tuple(slots)))
        return True

    def _slots(self, branch: Branch, part: Parameter, ways: tuple[Path, ...]) -> list[int]:
        found = []
        for way in ways:
            read, step = self._readers.find(part.type, way.type), way.steps[0]
            if read is not None:
                found.append(branch.leaf(step.key, step.where, way.only, part.type, step.type, read).slot)
        return found

    # --- concentrations in the other kind of unit ----------------------------------------------------------

    def _add_derived(self, observation: Resource, found: Found) -> None:
        """Add mmol/L to mg/dL and the other way round, where the LOINC code says of what (`search.molar`)."""
        known = by_loinc()
        for element in (observation, *_components(observation)):
            concept = element.get("code") if "valueQuantity" in element else None
            codings = concept.get("coding") if concept.__class__ is dict else None
            for coding in codings if codings.__class__ is list else ():
                if coding.__class__ is dict and coding.get("code") in known and coding.get("system") == LOINC:
                    with suppress(*UNREADABLE):
                        self._add_concentration(element, coding["code"], element is observation, found)
                    break

    def _add_concentration(self, element: Any, loinc: str, is_whole: bool, found: Found) -> None:
        own = "" if is_whole else "component-"
        for quantity in read_quantity(element["valueQuantity"]):
            made = derived(loinc, quantity)
            if made is not None:
                pairs = tuple(Composite((token, made)) for token in bare(list(read_concept(element["code"]))))
                for prefix in (own, "combo-"):
                    put(found, f"{prefix}value-quantity", (made,))
                    put(found, f"{prefix}code-value-quantity", pairs)

    # --- by the FHIRPath engine ---------------------------------------------------------------------------

    def _evaluated(self, parameter: Parameter) -> Rest:
        if parameter.type == "composite":
            return self._evaluated_composite(parameter)
        compiled = fhirpath.compile(parameter.expression, parameter.base)

        def evaluate(resource: Resource, found: Found) -> None:
            with suppress(fhirpath.EvaluationError, RecursionError, *UNREADABLE):
                if values := self._read(parameter, compiled.items(resource)):
                    put(found, parameter.code, values)

        return evaluate

    def _evaluated_composite(self, parameter: Parameter) -> Rest:
        compiled = fhirpath.compile(parameter.expression, parameter.base)
        parts = [(part, fhirpath.compile(part.expression)) for part in parameter.components]

        def evaluate(resource: Resource, found: Found) -> None:
            with suppress(fhirpath.EvaluationError, RecursionError, *UNREADABLE):
                for element in compiled.items(resource):
                    columns = [
                        bare(list(self._read(part, inner.items(element, resource=resource)))) for part, inner in parts
                    ]
                    if made := tuple(Composite(row) for row in product(*columns)):
                        put(found, parameter.code, made)

        return evaluate

    def _read(self, parameter: Parameter, items: list[Any]) -> tuple[Value, ...]:
        made: list[Value] = []
        for item in items:
            namespace, type = type_of(item)
            if namespace == "System":
                item_type, value = type[0].lower() + type[1:], item
            else:
                item_type, value = type, item.value
            read = self._readers.find(parameter.type, item_type)
            if read is not None and value is not None:
                values = read_readable(read, value)
                if parameter.targets and item_type in resource_types():
                    values = tuple(v for v in values if isinstance(v, Reference) and v.type in parameter.targets)
                made += values
        return tuple(made)


def _components(observation: Resource) -> list[Any]:
    components = observation.get("component")
    return [one for one in components if one.__class__ is dict] if components.__class__ is list else []


def _types_of(contained: object) -> tuple[Value, ...]:
    """Return the types of contained resources, as tokens; of what is no list of resources nothing."""
    given = contained if isinstance(contained, list) else []
    types = (item.get("resourceType") for item in given if isinstance(item, dict))
    return tuple(Token("", type) for type in types if isinstance(type, str))


def _branch(root: Branch, way: Path) -> Branch:
    branch = root
    for step in way.steps[:-1]:
        branch = branch.below(step.key, step.where)
    return branch


def _is_uniform(parameter: Parameter, ways: tuple[Path, ...] | None) -> bool:
    """Whether a parameter is a plain way, and filters by what resources of one skeleton have alike."""
    if ways is None:
        return False
    inner = [paths(part.expression, way.type) for way in ways for part in parameter.components]
    steps = [step for way in chain(ways, *(found or () for found in inner)) for step in way.steps]
    filters = [step.where for step in steps if step.where is not None]
    return None not in inner and all(is_fixed(key, wanted) for key, wanted in filters)


def _targets(parameter: Parameter) -> tuple[str, ...]:
    return ("Patient",) if "Resource" in parameter.targets else parameter.targets


def _owners(plan: _Plan, resource: Resource, found: Found) -> tuple[str, ...]:
    if resource["resourceType"] == "Patient":
        id = resource.get("id")
        return (id,) if isinstance(id, str) else ()
    if resource["resourceType"] == "Binary":
        return _protected(resource)
    for codes in (plan.about, plan.taking_part):
        ids = [value.id for code in codes for value in found.get(code, ()) if value.type == "Patient" and not value.url]
        owners = tuple(dict.fromkeys(id for id in ids if id))
        if owners:
            return owners
    return ()


def _protected(binary: Resource) -> tuple[str, ...]:
    """Return the Patient that a Binary names as its security context: who may see that record may see it.

    Source: https://hl7.org/fhir/R4/binary-definitions.html#Binary.securityContext
    """
    context = binary.get("securityContext")
    reference = context.get("reference") if isinstance(context, dict) else None
    if not isinstance(reference, str) or not reference.startswith("Patient/"):
        return ()
    id = reference.removeprefix("Patient/").partition("/")[0]
    return (id,) if id else ()


@cache
def _default() -> Indexer:
    return Indexer()


def index(resource: Resource) -> Indexed:
    """Index a resource in the zone Europe/Paris, of a server without a base url."""
    return _default()(resource)
