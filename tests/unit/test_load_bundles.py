"""Bundles of files, prepared in a worker: the same store as step by step, and what is left to that way."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fhir_server import gate
from fhir_server.app import opened
from fhir_server.bulk.bundle import entries_of, prepare_bundle
from fhir_server.bulk.conditions import Conditions, references_in
from fhir_server.bulk.import_ import make_pool
from fhir_server.bulk.texts import TextImport
from fhir_server.errors import Malformed
from fhir_server.interactions.core import Hub
from fhir_server.load import Loader
from fhir_server.model import Entry
from fhir_server.search.extract import Indexer
from fhir_server.settings import Settings
from fhir_server.sources import Source
from fhir_server.store.protocol import Transaction
from fhir_server.validation import validate

INDEX = Indexer("Europe/Paris", "")
PATCH = {
    "resourceType": "Parameters",
    "parameter": [
        {
            "name": "operation",
            "part": [
                {"name": "type", "valueCode": "add"},
                {"name": "path", "valueString": "Patient"},
                {"name": "name", "valueString": "gender"},
                {"name": "value", "valueCode": "female"},
            ],
        }
    ],
}
CLINIC = "Organization?identifier=urn:sys|clinic"


def entry(name: str, resource: Mapping[str, Any], method: str = "POST", **request: str) -> dict[str, Any]:
    type = resource["resourceType"]
    url = request.pop("url", type if method == "POST" else f"{type}/{resource.get('id')}")
    return {"fullUrl": f"urn:uuid:{name}", "resource": resource, "request": {"method": method, "url": url, **request}}


def transaction(*entries: dict[str, Any], type: str = "transaction") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": type, "entry": entries}).encode()


def patient(at: str = "", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **({"managingOrganization": {"reference": at}} if at else {}), **more}


def reading(value: str = "1.10", **more: Any) -> dict[str, Any]:
    made = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **more}
    return made | {"subject": {"reference": "urn:uuid:p"}, "valueQuantity": {"value": float(value), "unit": "x"}}


NARRATED: dict[str, Any] = {
    "text": {
        "status": "generated",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><a href="urn:uuid:p">she</a></div>',
    }
}
RECORD = transaction(
    entry("o", reading(id="o1"), "PUT"),
    entry("p", patient(CLINIC, name=[{"family": "Dé"}])),
    entry("q", reading(**NARRATED)),
)
HOSPITAL = transaction(
    entry("h", {"resourceType": "Organization", "identifier": [{"system": "urn:sys", "value": "clinic"}], "name": "C"}),
    entry("i", {"resourceType": "Organization", "name": "D"}),
)


class StepLoader(Loader):
    """Notes which texts are loaded step by step."""

    steps: list[str]

    async def load(self, source: Source, *, last: bool) -> bool:
        """Load a text."""
        self.steps.append(source.name)
        return await super().load(source, last=last)


@asynccontextmanager
async def hub_at(tmp_path: Path | None, *, workers: bool) -> AsyncIterator[tuple[Hub, TextImport, StepLoader]]:
    settings = Settings(store=f"sqlite:///{tmp_path / 'hub.db'}" if tmp_path else "memory:", rooms=())
    async with opened(settings) as composed:
        hub = composed.hub
        pool, loader = make_pool(hub, settings, size=1), StepLoader(hub, hub.internal("default", "load"), triage=False)
        loader.steps = []
        try:
            if workers:
                await pool.start()
                while not pool.is_ready:
                    await asyncio.sleep(0.01)
            yield hub, TextImport(hub, "default", pool, loader, lambda: None), loader
        finally:
            await pool.stop()


async def contents(hub: Hub) -> list[Any]:
    """Return what the store holds, without what differs from load to load: times, and ids that it gave."""
    async with hub.store.view("default") as view:
        versions = sorted(await view.log(), key=lambda version: (version.type, len(version.body)))
        audits = [row._replace(at=0, patients=()) for _, row in await view.audits()]
    given = {version.id: f"#{number}" for number, version in enumerate(versions) if version.id != "o1"}
    texts = [version.body.decode() for version in versions]
    for id, name in given.items():
        texts = [text.replace(id, name) for text in texts]
    kept = [(v.version, v.method, tuple(given[owner] for owner in v.owners)) for v in versions]
    return [*zip(kept, [_untimed(text) for text in texts], strict=True), *audits]


def _untimed(text: str) -> str:
    resource = gate.load(text.encode())
    del resource["meta"]["lastUpdated"]
    return gate.write(resource).decode()


@pytest.mark.parametrize(
    "names", [pytest.param("ab", id="in order"), pytest.param("ba", id="what is referred to last")]
)
@pytest.mark.parametrize("is_file", [pytest.param(True, id="in SQLite"), pytest.param(False, id="in memory")])
async def test_a_worker_and_the_steps_make_the_same_store(tmp_path: Path, names: str, is_file: bool) -> None:
    (tmp_path / f"{names[0]}.json").write_bytes(HOSPITAL)
    (tmp_path / f"{names[1]}.json").write_bytes(RECORD)
    files = sorted(tmp_path.glob("?.json"))
    found = []
    for workers in (True, False):
        folder = tmp_path / str(workers)
        folder.mkdir()
        async with hub_at(folder if is_file else None, workers=workers) as (hub, importing, loader):
            await importing.load(files)
            assert (loader.tally.failed, loader.tally.stored) == (
                [],
                {"Organization": 2, "Patient": 1, "Observation": 2},
            )
            assert (await hub.search("Patient?organization.name=C", actor=hub.internal("default", "x"))).resources
            assert (await hub.search("Observation?value-quantity=1.1", actor=hub.internal("default", "x"))).resources
            found.append(await contents(hub))
    assert found[0] == found[1]


async def test_an_answer_that_no_longer_holds_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hub_at(tmp_path, workers=True) as (hub, importing, loader):
        await importing.load([write(tmp_path, "h.json", HOSPITAL)])
        conditions = importing._conditions
        before = await conditions.answers([CLINIC])
        actor = hub.internal("default", "x")
        await hub.submit([Entry("DELETE", before[CLINIC])] if before else [], actor=actor)
        await importing.load([write(tmp_path, "h2.json", HOSPITAL), write(tmp_path, "r.json", RECORD)])
        (one,) = (await hub.search("Patient", actor=actor)).resources
        assert loader.tally.failed == [] and before is not None
        assert one["managingOrganization"]["reference"] not in before.values()


async def test_a_load_goes_on_when_its_worker_ended(tmp_path: Path) -> None:
    async with hub_at(tmp_path, workers=True) as (_, importing, loader):
        for worker in importing._pool._workers:
            worker._process.kill()
        await importing.load([write(tmp_path, "h.json", HOSPITAL), write(tmp_path, "r.json", RECORD)])
    assert (loader.tally.failed, sum(loader.tally.stored.values())) == ([], 5)
    assert loader.steps == ["h.json", "r.json"]


async def test_what_nothing_answers_is_told_once(tmp_path: Path) -> None:
    async with hub_at(tmp_path, workers=True) as (_, importing, loader):
        await importing.load([write(tmp_path, "r.json", RECORD), write(tmp_path, "s.json", RECORD)])
    assert loader.tally.failed == [
        f"{name}.json: Bundle.entry[1]: A conditional reference matches nothing." for name in "rs"
    ]


async def test_a_transaction_of_an_archive_is_stored_once_though_another_waits(tmp_path: Path) -> None:
    path = tmp_path / "all.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, body in (
            ("a.json", transaction(entry("p", patient()), entry("q", reading()))),
            ("b.json", RECORD),
            ("c.json", HOSPITAL),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    for workers in (True, False):
        folder = tmp_path / str(workers)
        folder.mkdir()
        async with hub_at(folder, workers=workers) as (_, importing, loader):
            await importing.load([path])
        assert (loader.tally.failed, loader.tally.stored) == ([], {"Patient": 2, "Observation": 3, "Organization": 2})


async def test_the_lines_in_an_archive_are_loaded_like_its_other_texts(tmp_path: Path) -> None:
    path = tmp_path / "all.tgz"
    lines = b"".join(json.dumps(patient(id=f"l{n}")).encode() + b"\n" for n in range(3))
    with tarfile.open(path, "w:gz") as archive:
        for name, body in (
            ("one.json", json.dumps(patient(id="o")).encode()),
            ("Patient.ndjson", lines),
            ("x.txt", b"?"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    async with hub_at(tmp_path, workers=False) as (_, importing, loader):
        await importing.load([path])
    assert (loader.tally.failed, loader.tally.stored) == ([], {"Patient": 4})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(transaction(entry("p", patient())), id="one entry alone, of which audit says more"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient()), type="batch"), id="a batch"),
        pytest.param(transaction(entry("p", patient()), entry("p", patient())), id="one name twice"),
        pytest.param(transaction(entry("p", patient(id="a"), "PUT"), entry("q", patient(id="a"), "PUT")), id="one resource twice"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(), ifNoneExist="identifier=x")), id="a conditional create"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(id="a"), "PUT", ifMatch='W/"1"')), id="an update of a version"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(id="a"), "PUT", ifNoneMatch="*")), id="an update of what is not there"),
        pytest.param(transaction(entry("p", patient()), entry("q", PATCH, "PATCH", url="Patient/a")), id="a patch"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(), "PUT", url="Patient?identifier=x")), id="a conditional update"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(id="a"), "DELETE")), id="a deletion"),
        pytest.param(transaction(entry("p", patient()), entry("q", {"resourceType": "Nothing"})), id="no type of R4"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(gender="x"))), id="a resource that is not valid"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(CLINIC))), id="a condition without an answer"),
        pytest.param(transaction(entry("p", patient()), entry("q", patient(), url="Patient/a")), id="a create with an id"),
    ],
)  # fmt: skip
def test_a_worker_leaves_alone(body: bytes) -> None:
    assert prepare_bundle(body, {}, validate, INDEX) == []


def test_a_condition_that_a_transaction_may_answer_itself_is_left_alone() -> None:
    second = {"resourceType": "Organization", "identifier": [{"system": "urn:sys", "value": "clinic"}], "name": "E"}
    body = transaction(entry("p", patient(CLINIC)), entry("o", second))
    assert prepare_bundle(body, {CLINIC: "Organization/1"}, validate, INDEX) == []


async def test_a_second_match_that_comes_with_a_transaction_refuses_it(tmp_path: Path) -> None:
    second = {"resourceType": "Organization", "identifier": [{"system": "urn:sys", "value": "clinic"}], "name": "E"}
    record = transaction(entry("o", second), entry("p", patient(CLINIC)))
    async with hub_at(tmp_path, workers=True) as (_, importing, loader):
        await importing.load([write(tmp_path, "h.json", HOSPITAL), write(tmp_path, "r.json", record)])
    assert [line.partition(":")[0] for line in loader.tally.failed] == ["r.json"]


def test_a_worker_replaces_links_and_says_what_is_declared() -> None:
    body = transaction(
        entry(
            "q",
            reading(
                meta={"profile": ["http://a"]},
                contained=[patient(meta={"profile": ["http://b"]}, id="c")],
                performer=[{"reference": "#c"}],
            ),
        ),
        entry("p", patient(CLINIC, id="p1"), "PUT"),
    )
    made = prepare_bundle(body, {CLINIC: "Organization/1"}, validate, INDEX)
    assert [one.type for one in made] == ["Observation", "Patient"]
    (clinic,) = (json.loads(one.body)["managingOrganization"] for one in made if one.type == "Patient")
    (observation,) = (one for one in made if one.type == "Observation")
    assert (clinic, observation.profiles) == ({"reference": "Organization/1"}, ("http://a", "http://b"))
    assert json.loads(observation.body)["subject"] == {"reference": "Patient/p1"}


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param({"type": "transaction", "entry": {}}, id="entries that are no list"),
        pytest.param({"type": "transaction", "entry": ["x"]}, id="an entry that is a text"),
        pytest.param({"type": "transaction", "entry": [{"request": "x"}]}, id="a request that is a text"),
        pytest.param({"type": "batch", "entry": [{"request": {"method": "PUT", "url": 7}}]}, id="a url that is a number"),
        pytest.param({"type": "transaction", "entry": [{"request": {"method": "PUT", "url": "x"}, "resource": {}}]}, id="a resource without a type"),
        pytest.param({"type": "transaction", "entry": [{"resource": {"resourceType": "Patient"}}]}, id="an entry that asks nothing"),
        pytest.param({"type": "batch", "entry": [{"request": {"method": "post", "url": "Patient"}}]}, id="a method that is none"),
        pytest.param({"type": "collection", "entry": [{"resource": 7}]}, id="a resource that is a number"),
    ],
)  # fmt: skip
def test_entries_are_refused_for(bundle: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        entries_of({"resourceType": "Bundle", **bundle})


def test_a_load_reads_nothing_for_an_entry_that_reads() -> None:
    bundle = {"type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient"}}]}
    assert entries_of({"resourceType": "Bundle", **bundle}) == ([], False)


async def test_a_load_patches_and_heeds_what_an_update_asks_not_to_be_there() -> None:
    first = patient(id="a")
    texts = [
        transaction(entry("p", first, "PUT", ifNoneMatch="*")),
        transaction(entry("p", PATCH, "PATCH", url="Patient/a")),
        transaction(entry("p", first, "PUT", ifNoneMatch="*")),
    ]
    async with hub_at(None, workers=False) as (hub, _, loader):
        for number, text in enumerate(texts):
            await loader.load(Source(f"{number}.json", text), last=True)
        async with hub.store.view("default") as view:
            found = await view.read("Patient", "a")
    assert found is not None
    assert (found.version, gate.load(found.body)["gender"]) == (2, "female")
    assert [line.partition(":")[0] for line in loader.tally.failed] == ["2.json"]


def test_conditional_references_are_found_in_a_text() -> None:
    text = b'{"reference" : "Patient?a=b","x":{"reference":"Patient/1?"},"reference":"Group?n=\\u0041","url":"Patient?c=d"}'
    assert references_in(text) == {"Patient?a=b"}


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("Organization?name=none", id="nothing that matches"),
        pytest.param("Organization?name:missing=false", id="two that match"),
        pytest.param("Nothing?name=C", id="no type of R4"),
        pytest.param("Organization?nonsense=x", id="no such parameter"),
    ],
)
async def test_a_condition_has_no_answer_with(tmp_path: Path, reference: str) -> None:
    async with hub_at(tmp_path, workers=False) as (hub, importing, _):
        await importing.load([write(tmp_path, "h.json", HOSPITAL)])
        conditions = Conditions(hub, "default")
        assert await conditions.answers([reference]) is None

        async def work(tx: Transaction) -> bool:
            return await conditions.hold(tx, {reference: "Organization/1"})

        assert not await hub.store.transact("default", work)


def write(folder: Path, name: str, body: bytes) -> Path:
    path = folder / name
    path.write_bytes(body)
    return path
