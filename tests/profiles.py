"""Profiles for tests: small definitions, and a judge that needs no store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhir_server.definitions import codes
from fhir_server.errors import Issue
from fhir_server.model import Resource
from fhir_server.profiles.builtin import definition as builtin
from fhir_server.profiles.findings import Coded, Known
from fhir_server.profiles.judge import MOST_ROUNDS, Task, run_once
from fhir_server.profiles.part import Profile, bare
from fhir_server.profiles.tree import base_of, build

R4 = "http://hl7.org/fhir/StructureDefinition/"
OWN = "https://guide.example/fhir/StructureDefinition/"
Json = dict[str, Any]


def element(id: str, **facts: Any) -> Json:
    """An ElementDefinition by its id."""
    slice = id.rpartition(".")[2].partition(":")[2]
    named = {"sliceName": slice} if slice else {}
    return {"id": id, "path": ".".join(part.partition(":")[0] for part in id.split(".")), **named, **facts}


def profile(type: str, *elements: Json, name: str = "own", base: str = "", **facts: Any) -> Json:
    """A StructureDefinition with a differential."""
    return {
        "resourceType": "StructureDefinition",
        "url": OWN + name,
        "name": name,
        "status": "active",
        "kind": "complex-type" if type == "Extension" else "resource",
        "abstract": False,
        "type": type,
        "baseDefinition": base or R4 + type,
        "derivation": "constraint",
        "differential": {"element": [{"id": type, "path": type}, *elements]},
        **facts,
    }


def extension(name: str, *elements: Json, **facts: Any) -> Json:
    """The definition of an extension."""
    url = element("Extension.url", fixedUri=OWN + name)
    anywhere = {"context": [{"type": "element", "expression": "Element"}]}
    return profile("Extension", url, *elements, name=name, **(anywhere | facts))


def sliced(
    path: str, *discriminators: tuple[str, str], rules: str = "open", ordered: bool = False, **facts: Any
) -> Json:
    """An element with a slicing."""
    listed = [{"type": kind, "path": where} for kind, where in discriminators]
    return element(path, slicing={"discriminator": listed, "rules": rules, "ordered": ordered}, **facts)


def finder(*definitions: Json) -> Callable[[str], Profile | None]:
    """Return what compiles the profile of a url, from these definitions and those of the hub."""
    given = {d["url"]: d for d in definitions}

    def find(canonical: str) -> Profile | None:
        found = given.get(bare(canonical)) or builtin(bare(canonical))
        if found is None:
            return None
        return build(found, find(base) if (base := base_of(found)) else None)

    return find


def findings(
    resource: Resource,
    *definitions: Json,
    named: tuple[str, ...] | None = None,
    members: Mapping[str, frozenset[tuple[str, str]]] | None = None,
) -> list[Issue]:
    """Return what profiles find in a resource; the first definition is the one asked for, unless `named` says."""
    find, known = finder(*definitions), Known()
    asked = named if named is not None else (definitions[0]["url"],)
    for _ in range(MOST_ROUNDS):
        run = run_once(known, Task(resource, asked))
        if not run.missing_profiles and not run.missing_codes:
            break
        known.profiles |= {url: find(url) for url in run.missing_profiles}
        known.members |= {question: _is_member(question, members or {}) for question in run.missing_codes}
    return list(dict.fromkeys(run.issues))


def _is_member(question: Coded, members: Mapping[str, frozenset[tuple[str, str]]]) -> bool | None:
    pairs = members.get(question.value_set) or codes(question.value_set)
    if pairs is None:
        return None
    return any(code == question.code and question.system in (None, system) for system, code in pairs)


def errors(resource: Resource, *definitions: Json, **options: Any) -> list[str]:
    """Return where the errors are, with the issue code: `required Patient.birthDate`."""
    found = findings(resource, *definitions, **options)
    return sorted(f"{issue.code} {issue.expression}" for issue in found if issue.severity == "error")
