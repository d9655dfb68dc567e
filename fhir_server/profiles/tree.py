"""From the elements of a StructureDefinition, snapshot or differential, to the tree that is checked.

A differential is laid over the tree of its base, which is made the same way, down to the type of R4. What
R4 itself says is left out of the tree: the base validation checks it.
Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/profiling.html#snapshot and
https://hl7.org/fhir/R4/elementdefinition.html#id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

from fhir_server.definitions import (
    FHIR_VERSION,
    Constraint,
    Element,
    is_structure,
    property,
    structure,
    structure_names,
)
from fhir_server.fhirpath.types import is_primitive
from fhir_server.profiles.part import (
    STRUCTURES,
    Discriminator,
    Part,
    Profile,
    Slicing,
    TypeRule,
    bare,
    value_of,
)

MOST_ELEMENTS: Final = 5_000  # of one profile
MOST_DEPTH: Final = 32  # of one path
BY_URL: Final = Slicing((Discriminator("value", "url"),))
BY_TYPE: Final = Slicing((Discriminator("type", "$this"),))

Steps = list[tuple[str, str]]
"""(element name as the path has it, slice name or "") from the root's children on."""


class BadProfile(Exception):
    """The StructureDefinition cannot be checked against; the text says why and shows none of its values."""


def build(definition: Mapping[str, Any], base: Profile | None) -> Profile:
    """Return the tree of a profile.

    Args:
        definition: The StructureDefinition.
        base: The tree of its baseDefinition, where that is a profile and the definition has no snapshot.

    Raises:
        BadProfile: It has no elements, too many, or constrains no type of R4.
    """
    type = definition.get("type")
    if type.__class__ is not str or not is_structure(type):
        raise BadProfile("The profile constrains no type of R4.")
    builder = _Builder(type, deepcopy(base.root) if base else Part())
    for element in elements_of(definition):
        builder.place(element)
    builder.alias()
    _prune(builder.root)
    contexts = tuple(
        (str(c.get("type")), str(c.get("expression"))) for c in definition.get("context", ()) if c.__class__ is dict
    )
    return Profile(
        str(definition.get("url", "")),
        type,
        builder.root,
        contexts or (base.contexts if base else ()),
        builder.is_modifier or bool(base and base.is_modifier),
    )


def elements_of(definition: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the snapshot's elements, else the differential's; raise BadProfile where they cannot be used."""
    for part in ("snapshot", "differential"):
        held = definition.get(part)
        found = held.get("element") if held.__class__ is dict else None
        if found.__class__ is list and found:
            if len(found) > MOST_ELEMENTS:
                raise BadProfile("The profile has more than 5,000 elements.")
            return [e for e in found if e.__class__ is dict and e.get("path").__class__ is str]
    return ()


class _Builder:
    def __init__(self, type: str, root: Part) -> None:
        self.type, self.root = type, root
        self.is_modifier = False
        self._current: dict[tuple[str, ...], str] = {}  # path -> slice, where ids do not say it
        self._shown: dict[int, list[TypeRule]] = {}  # by part of a choice: the types that keys in paths show

    def place(self, element: Mapping[str, Any]) -> None:
        """Lay one ElementDefinition over the tree."""
        steps = self._steps(element)
        if len(steps) > MOST_DEPTH:
            raise BadProfile("The profile has an element deeper than 32 levels.")
        if not steps:
            self.is_modifier = self.is_modifier or element.get("isModifier") is True
            own = structure(self.type)
            self.root.rules += _rules(element, {c.key for c in own.constraints}, self.root.rules)
            return
        if is_primitive(self.type) and steps == [("value", "")]:
            _lay(self.root, element, None, "", is_slice=False)  # of a primitive, JSON has nothing but its value
            self.root.types = ()  # which no type of R4 names
            return
        part, base, type, choice = self._find(steps, closes="sliceName" not in element)
        _lay(part, element, base, type, is_slice=bool(steps[-1][1]) or bool(choice))
        if choice and not part.types:
            part.types = (TypeRule(choice),)

    def _steps(self, element: Mapping[str, Any]) -> Steps:
        """Return where an element stands: by its id, else by its path and the slice that was last begun there."""
        path = element["path"].split(".")
        id = element.get("id")
        parts = id.split(".") if id.__class__ is str else []
        if len(parts) == len(path) and all(p.partition(":")[0] == n for p, n in zip(parts, path, strict=True)):
            return [(name, part.partition(":")[2]) for name, part in zip(path[1:], parts[1:], strict=True)]
        here = tuple(path)
        for known in [k for k in self._current if k[: len(here)] == here and k != here]:
            del self._current[known]
        self._current[here] = str(element.get("sliceName", ""))
        return [(name, self._current.get(here[: n + 1], "")) for n, name in enumerate(path[1:], start=1)]

    def _find(self, steps: Steps, *, closes: bool) -> tuple[Part, Element | None, str, str]:
        """Return the part at a place (made where it is new), R4's element, its type, and the choice its key says.

        Args:
            steps: The place.
            closes: Whether a last step such as `valueQuantity`, in place of `value[x]`, leaves only this type.
        """
        part, type, base, choice = self.root, self.type, None, ""
        for step, slice in steps:
            name, choice = _choice(type, step.removesuffix("[x]"))
            base = structure(type).elements.get(name) if is_structure(type) else None
            part = part.below.setdefault(name, Part())
            names = slice.split("/") if slice else [step] if choice else []
            if choice and not slice and closes and step is steps[-1][0]:
                self._narrow(part, TypeRule(choice))
            for one in names:
                if part.slicing is None and (base is not None and base.choice):
                    part.slicing = BY_TYPE
                elif part.slicing is None and name in ("extension", "modifierExtension"):
                    part.slicing = BY_URL
                part = part.slices.setdefault(one, Part())
                if base is not None and base.choice and not choice:
                    choice = _choice(type, one)[1]
            type = _type_below(part, base, choice)
        return part, base, type, choice

    def _narrow(self, part: Part, rule: TypeRule) -> None:
        """Leave a choice the types that are named so, and no other."""
        shown = self._shown.setdefault(id(part), [])
        if rule not in shown:
            shown.append(rule)
            part.types = tuple(shown)

    def alias(self) -> None:
        """Let elements that repeat another one (contentReference) be asked what that one is."""
        for owner in [name for name in structure_names() if name == self.type or name.startswith(self.type + ".")]:
            for element in structure(owner).elements.values():
                target = element.types[0] if element.types else ""
                if "." not in target or target == f"{owner}.{element.name}":
                    continue
                asked, holder = self._at(target, make=False), self._at(owner, make=True)
                if asked is not None and holder is not None and (asked.below or asked.rules):
                    repeated = holder.below.setdefault(element.name, Part())
                    if not repeated.below:
                        repeated.below, repeated.rules = asked.below, repeated.rules + asked.rules

    def _at(self, path: str, *, make: bool) -> Part | None:
        part: Part | None = self.root
        for name in path.split(".")[1:]:
            if part is not None:
                part = part.below.setdefault(name, Part()) if make else part.below.get(name)
        return part


def _choice(type: str, name: str) -> tuple[str, str]:
    """Split `valueQuantity` into the choice and its type; a name that is no such key stays as it is."""
    if is_structure(type) and name not in structure(type).elements:
        found = property(type, name)
        if found is not None and found[0].choice:
            return found[0].name, found[1]
    return name, ""


def _type_below(part: Part, base: Element | None, choice: str) -> str:
    if choice:
        return choice
    if len({rule.code for rule in part.types}) == 1:
        code = part.types[0].code
        if base is None or base.choice or "Resource" in base.types:
            return code
    return base.types[0] if base is not None and len(base.types) == 1 else ""


def _lay(part: Part, element: Mapping[str, Any], base: Element | None, type: str, *, is_slice: bool) -> None:
    """Write into a part what an ElementDefinition asks beyond R4."""
    low, high = element.get("min"), element.get("max")
    if low.__class__ is int and (is_slice or base is None or low > base.min):
        part.min = max(part.min, low)
    if (
        high.__class__ is str
        and high.isdecimal()
        and (is_slice or base is None or base.max is None or int(high) < base.max)
    ):
        part.max = int(high) if part.max is None else min(part.max, int(high))
    types = _types(element)
    if types and not _is_base(types, base):
        part.types = types
    part.fixed = value_of(element, "fixed") or part.fixed
    part.pattern = value_of(element, "pattern") or part.pattern
    part.least = value_of(element, "minValue") or part.least
    part.most = value_of(element, "maxValue") or part.most
    length = element.get("maxLength")
    part.length = length if length.__class__ is int else part.length
    _bind(part, element, base)
    known = {c.key for c in base.constraints} if base is not None else set()
    for owner in (type, *(base.types if base is not None else ())):
        if is_structure(owner):
            known |= {c.key for c in structure(owner).constraints}
    part.rules += _rules(element, known, part.rules)
    part.slicing = _slicing(element) or part.slicing


def _bind(part: Part, element: Mapping[str, Any], base: Element | None) -> None:
    """Write into a part which value set its codes are of, where R4 does not say the same."""
    binding = element.get("binding")
    if binding.__class__ is not dict or binding.get("valueSet").__class__ is not str:
        return
    strength, value_set = str(binding.get("strength")), bare(binding["valueSet"])
    if base is not None and (strength, value_set) == (base.strength, base.binding):
        return
    part.binding = (strength, _pinned(binding["valueSet"]))
    extensions = binding.get("extension")
    for extension in extensions if extensions.__class__ is list else ():
        if extension.__class__ is dict and extension.get("url") == MAX_VALUE_SET:
            part.limit = next((_pinned(extension[key]) for key in _MAX if extension.get(key).__class__ is str), "")


def _pinned(canonical: str) -> str:
    """Return a value set as it is asked for: R4's release of one of R4's is the one that is here, without version."""
    url, _, version = canonical.partition("#")[0].partition("|")
    return url if version in ("", FHIR_VERSION) else f"{url}|{version}"


MAX_VALUE_SET: Final = STRUCTURES + "elementdefinition-maxValueSet"
"""http://hl7.org/fhir/R4/extension-elementdefinition-maxvalueset.html"""
_MAX: Final = ("valueCanonical", "valueUri")


def _types(element: Mapping[str, Any]) -> tuple[TypeRule, ...]:
    given = element.get("type")
    found = [t for t in given if t.__class__ is dict] if given.__class__ is list else []
    return tuple(
        TypeRule(
            t["code"],
            _texts(t.get("profile")),
            tuple(map(bare, _texts(t.get("targetProfile")))),
            _texts(t.get("aggregation")),
        )
        for t in found
        if t.get("code").__class__ is str and not t["code"].startswith("http://hl7.org/fhirpath/")
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if item.__class__ is str) if value.__class__ is list else ()


def _is_base(types: tuple[TypeRule, ...], base: Element | None) -> bool:
    """Whether the types are those of R4, so that nothing is asked."""
    if base is None or any(rule.profiles or rule.aggregations for rule in types):
        return False
    codes = {rule.code for rule in types}
    if base.choice and codes != set(base.types):
        return False
    if "Resource" in base.types and codes != {"Resource"}:
        return False
    targets = {target.removeprefix(STRUCTURES) for rule in types for target in rule.targets}
    return not targets or targets == set(base.targets)


def _rules(element: Mapping[str, Any], known: set[str], own: tuple[Constraint, ...]) -> tuple[Constraint, ...]:
    """Return the invariants that neither R4 nor the base profile has."""
    given = element.get("constraint")
    found = []
    for c in given if given.__class__ is list else ():
        if c.__class__ is not dict or c.get("expression").__class__ is not str:
            continue
        rule = Constraint(str(c.get("key")), str(c.get("severity")), str(c.get("human")), c["expression"])
        is_r4 = rule.key in _EVERYWHERE or (rule.key in known and c.get("source", STRUCTURES).startswith(STRUCTURES))
        if not is_r4 and rule not in own:
            found.append(rule)
    return tuple(found)


_EVERYWHERE: Final = frozenset(["ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6"])


def _slicing(element: Mapping[str, Any]) -> Slicing | None:
    given = element.get("slicing")
    if given.__class__ is not dict:
        return None
    return Slicing(
        tuple(
            Discriminator(str(d.get("type")), str(d.get("path")))
            for d in given.get("discriminator", ())
            if d.__class__ is dict
        ),
        given.get("ordered") is True,
        str(given.get("rules", "open")),
    )


def _prune(part: Part, seen: set[int] | None = None) -> None:
    """Drop what asks nothing."""
    seen = set() if seen is None else seen
    if id(part.below) in seen:
        return
    seen.add(id(part.below))
    for slice in part.slices.values():
        _prune(slice, seen)
    for name, child in list(part.below.items()):
        _prune(child, seen)
        if child.is_trivial:
            del part.below[name]


def base_of(definition: Mapping[str, Any]) -> str:
    """Return the canonical of the profile that a differential builds on; "" where it is a type of R4."""
    if elements_of(definition) and definition.get("snapshot"):
        return ""
    base = definition.get("baseDefinition")
    if base.__class__ is not str or (
        bare(base).startswith(STRUCTURES) and is_structure(bare(base).removeprefix(STRUCTURES))
    ):
        return ""
    return str(base)
