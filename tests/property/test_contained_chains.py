"""Chains over references to what stands for itself and to what is contained: the stores agree with a plain reading of JSON."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.interactions.resolve import SettledStore
from fhir_server.search.extract import index
from fhir_server.search.parse import parse
from fhir_server.store.memory import MemoryStore
from fhir_server.store.protocol import Store, Transaction, Write
from fhir_server.store.sqlite import SqliteStore
from fhir_server.terminology import Terminology

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
NAMES, CODES = ("alpha", "beta", "gamma"), ("a", "b", "c")
Json = dict[str, Any]
Test = Callable[[Json, Json], bool]  # of a resource, and of what contains it


class World:
    """Orders of medicines, some within the order, made by organizations, some within it too."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stored: dict[str, Json] = {}
        for n in range(3):
            self.add(self.organization(f"o{n}", [f"Organization/o{one}" for one in range(n)]))
        for n in range(3):
            self.add(self.medication(f"m{n}", self.organizations()))
        for n in range(12):
            self.add(self.order(f"r{n}"))
        for n in range(3):
            target = {"reference": f"MedicationRequest/r{self.random.randrange(12)}"}
            self.add({"resourceType": "Provenance", "id": f"p{n}", "target": [target]})

    def add(self, resource: Json) -> None:
        self.stored[f"{resource['resourceType']}/{resource['id']}"] = resource

    def organizations(self) -> list[str]:
        return [f"Organization/o{n}" for n in range(3)]

    def link(self, name: str, choice: list[str]) -> Json:
        chosen = self.random.choice([*choice, ""])
        return {name: {"reference": chosen}} if chosen else {}

    def organization(self, id: str, above: list[str]) -> Json:
        name = self.random.choice(NAMES)
        return {"resourceType": "Organization", "id": id, "name": name, **self.link("partOf", above)}

    def medication(self, id: str, makers: list[str]) -> Json:
        code = {"coding": [{"system": "urn:c", "code": self.random.choice(CODES)}]}
        return {"resourceType": "Medication", "id": id, "code": code, **self.link("manufacturer", makers)}

    def order(self, id: str) -> Json:
        within = self.organization("org", self.organizations())
        held = [self.medication(f"m{n}", [*self.organizations(), "#org"]) for n in range(2)] + [within]
        contained = {"contained": held} if self.random.random() < 0.7 else {}
        drugs = [f"Medication/m{n}" for n in range(3)] + (["#m0", "#m1"] * 2 if contained else [])
        return {"resourceType": "MedicationRequest", "id": id, **contained, **self.link("medicationReference", drugs)}

    # --- what R4 means ---------------------------------------------------------------------------------------

    def follow(self, resource: Json, name: str, container: Json) -> tuple[Json, Json] | None:
        """Return what an element refers to, and what that is contained in: itself where it stands alone."""
        text = resource.get(name, {}).get("reference", "")
        if text.startswith("#"):
            return next((one, container) for one in container["contained"] if one["id"] == text[1:])
        found = self.stored.get(text)
        return None if found is None else (found, found)

    def chain(self, name: str, then: Test) -> Test:
        def test(resource: Json, container: Json) -> bool:
            found = self.follow(resource, name, container)
            return found is not None and then(*found)

        return test

    def questions(self) -> Iterator[tuple[str, str, Test]]:
        """Yield (type, query, what it means)."""
        code, name = self.random.choice(CODES), self.random.choice(NAMES)

        def coded(one: Json, _: Json) -> bool:
            return bool(one["code"]["coding"][0]["code"] == code)

        def named(one: Json, _: Json) -> bool:
            return bool(one["name"] == name)

        def unmade(one: Json, _: Json) -> bool:
            return "manufacturer" not in one

        order, drug = "MedicationRequest", "medicationReference"
        by_code = self.chain(drug, coded)
        by_name = self.chain(drug, self.chain("manufacturer", named))
        by_part = self.chain(drug, self.chain("manufacturer", self.chain("partOf", named)))
        yield order, f"medication.code=urn:c|{code}", by_code
        yield order, f"medication:Medication.code={code}", by_code
        yield order, f"medication.manufacturer.name={name}", by_name
        yield order, f"medication.manufacturer.partof.name={name}", by_part
        yield order, "medication.manufacturer:missing=true", self.chain(drug, unmade)
        yield order, f"medication.code={code}&medication.manufacturer.name={name}", _all(by_code, by_name)
        yield order, f"_filter=not (medication.code eq {code})", lambda one, within: not by_code(one, within)
        yield (
            order,
            f'_filter=medication.code eq {code} or medication.manufacturer.name eq "{name}"',
            _any(by_code, by_name),
        )
        yield "Provenance", f"target:{order}.medication.code={code}", lambda one, _: self.of_target(one, by_code)

    def of_target(self, provenance: Json, test: Test) -> bool:
        found = self.stored[provenance["target"][0]["reference"]]
        return test(found, found)


def _all(*tests: Test) -> Test:
    return lambda one, within: all(test(one, within) for test in tests)


def _any(*tests: Test) -> Test:
    return lambda one, within: any(test(one, within) for test in tests)


async def check(store: Store, world: World) -> int:
    """Ask every question of a world; return how many resources were found."""
    await store.open()

    async def fill(tx: Transaction) -> None:
        for one in world.stored.values():
            await tx.put(Write(one["resourceType"], one["id"], 1, NOW, "PUT", gate.write(one), index(one)))

    await store.transact("north", fill)
    count = 0
    async with SettledStore(store, Terminology(), index).view("north") as view:
        for type, text, holds in world.questions():
            pairs = [part.split("=", 1) for part in text.split("&")]
            asked = parse((type,), [(name, value) for name, value in pairs], zone="UTC", now=NOW)
            page = await view.search(asked)
            expected = {one["id"] for one in world.stored.values() if one["resourceType"] == type and holds(one, one)}
            assert {version.id for version in page.versions} == expected, text
            assert page.total == len(expected), text
            count += len(expected)
    await store.close()
    return count


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_chains_mean_what_the_resources_say(engine: str) -> None:
    found = 0
    for seed in range(12):
        with tempfile.TemporaryDirectory() as folder:
            store = (
                MemoryStore(index=index) if engine == "memory" else SqliteStore(str(Path(folder) / "s.db"), index=index)
            )
            found += asyncio.run(check(store, World(seed)))
    assert found > 100, "the questions have answers"
