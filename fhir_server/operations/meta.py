"""`$meta`, `$meta-add`, `$meta-delete`: profiles, tags and security labels of resources.

A change makes a version, as an update does: who may read a resource can hang on its labels, so that no change of
them goes without a trace. Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/resource-operation-meta.html,
https://hl7.org/fhir/R4/resource-operation-meta-add.html and
https://hl7.org/fhir/R4/resource-operation-meta-delete.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from fhir_server import gate
from fhir_server.definitions import properties
from fhir_server.errors import BadParameter, BadRequest, NotFound, TooCostly, VersionConflict
from fhir_server.interactions.apply import Done
from fhir_server.interactions.core import Hub
from fhir_server.interactions.steps import forbidden
from fhir_server.interface import Answer, Operation, OperationCall
from fhir_server.model import Entry, Version
from fhir_server.operations.inputs import element, read_inputs, shown
from fhir_server.settings import Settings
from fhir_server.store.protocol import Transaction

MOST_WALKED: Final = 50_000  # labelled resources that one summary goes through
_PAGE: Final = 1_000
_LABELS: Final = ("profile", "security", "tag")
# What stands for a meta without labels: an element of FHIR is never empty, and the answer has one.
_NO_LABELS: Final = {
    "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "not-applicable"}]
}
_BASE: Final = "http://hl7.org/fhir/OperationDefinition/Resource-"

Meta: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Meta, Meta], Meta]  # (meta of the resource, meta that was sent) -> meta


def operations(hub: Hub, settings: Settings) -> tuple[Operation, ...]:
    """Return `$meta` on every level, `$meta-add` and `$meta-delete` on instances."""
    metas = Metas(hub)
    reading = tuple(
        Operation(
            name="meta",
            type=type,
            instance=instance,
            methods=("GET", "POST"),
            needs="r",
            run=metas.read if instance else metas.summarise,
            documentation="The meta of a resource or version; of a type or the system the labels in use.",
            definition=_BASE + "meta",
            on_versions=instance,
        )
        for type, instance in (("", False), ("*", False), ("*", True))
    )
    changing = tuple(
        Operation(
            name=name,
            type="*",
            instance=True,
            methods=("POST",),
            needs="u",
            run=partial(metas.change, name=name, work=work),
            documentation=text,
            definition=_BASE + name,
        )
        for name, work, text in (
            ("meta-add", added, "Adds profiles, tags and security labels; makes a version where that changes any."),
            (
                "meta-delete",
                removed,
                "Removes profiles, tags and security labels; makes a version where one was there.",
            ),
        )
    )
    return reading + changing


class _Labels(msgspec.Struct):
    profile: list[str] = []
    security: list[dict[str, Any]] = []
    tag: list[dict[str, Any]] = []


class _Labelled(msgspec.Struct):
    meta: _Labels


_decode = msgspec.json.Decoder(_Labelled).decode


class Metas:
    """Answers the operations on meta."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def read(self, call: OperationCall) -> Answer:
        """Return the meta of a resource, or of one version of it."""
        read_inputs(call, ())
        number: int | None = None
        if call.version:
            if not (call.version.isascii() and call.version.isdigit() and len(call.version) < 10):
                raise NotFound("There is no such resource.")
            number = int(call.version)
        version = await self._hub.read_one(
            call.type, call.id, actor=call.actor, version=number, request_id=call.request_id
        )
        return _answer(gate.load(version.body).get("meta", {}), version)

    async def summarise(self, call: OperationCall) -> Answer:
        """Return the labels in use on a type or in the system, as far as the caller may see.

        Raises:
            TooCostly: More labelled resources are there than one call goes through.
        """
        read_inputs(call, ())
        if not call.actor.may("s", call.type or "*"):
            raise forbidden()
        found: dict[str, dict[Any, Any]] = {name: {} for name in _LABELS}
        async with self._hub.store.view(call.actor.tenant) as view:
            see = await self._hub.see(view, call.actor)
            for name in _LABELS:
                asked = self._hub.query(call.type, [(f"_{name}:missing", "false")])
                asked = replace(asked, count=_PAGE, total="none")
                for _ in range(MOST_WALKED // _PAGE):
                    page = await view.search(asked, see=see)
                    for version in page.versions:
                        for label in getattr(_decode(version.body).meta, name):
                            found[name].setdefault(_identity(label), label)
                    if page.after is None:
                        break
                    asked = replace(asked, after=page.after)
                    await asyncio.sleep(0)  # others are served between pages
                else:
                    raise TooCostly(f"More than {MOST_WALKED} resources carry a {name}: ask about a single type.")
        self._hub.audit(call.actor, "E", "$meta", call.type, (), 0, call.request_id)
        return _answer({name: [labels[key] for key in sorted(labels)] for name, labels in found.items() if labels})

    async def change(self, call: OperationCall, *, name: str, work: Change) -> Answer:
        """Change the labels of a resource and return its meta.

        Raises:
            BadRequest, BadParameter: The body has no meta, or one that is none.
            VersionConflict: If-Match names another version, or it was deleted just now.
        """
        given = element(read_inputs(call, ("meta",)), "meta")
        if given is None:
            raise BadRequest("Send Parameters with a meta (valueMeta).")
        given = _checked(given)
        await self._hub.read_one(call.type, call.id, actor=call.actor, request_id=call.request_id)
        applier, reference = self._hub.applier, f"{call.type}/{call.id}"

        async def run(tx: Transaction) -> Done:
            current = await tx.read(call.type, call.id)
            if current is None or current.is_deleted:
                raise VersionConflict("The resource was deleted meanwhile.")
            resource = gate.load(current.body)
            resource["meta"] = work(resource.get("meta", {}), given)
            entry = Entry("PUT", reference, resource, if_match=call.if_match)
            steps = applier.prepare([entry], call.actor, bundled=False)
            return await applier.apply(tx, steps, call.actor, f"${name}", request_id=call.request_id)

        done = await self._hub.store.transact(call.actor.tenant, run)
        await self._hub.tell(call.actor.tenant, done.changes)
        version = done.outcomes[0].version
        assert version is not None, "an update has a version"
        return _answer(gate.load(version.body)["meta"], version)


def _identity(label: Any) -> tuple[str, str]:
    """What a label is known by: "The identity of a tag or security label is the system+code"."""
    return (label.get("system", ""), label.get("code", "")) if isinstance(label, dict) else (label, "")


def _checked(meta: Meta) -> Meta:
    """Return the labels of a Meta; raise BadParameter where they are none, or where it is something else."""
    if strange := [name for name in meta if name.removeprefix("_") not in properties("Meta")]:
        raise BadParameter(f"A Meta has no element '{shown(strange[0])}'.", expression="Meta")
    for name, kind in (("profile", str), ("security", dict), ("tag", dict)):
        items = meta.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, kind) for item in items):
            raise BadParameter(f"meta.{name} is a list.", expression=f"Meta.{name}")
    return {name: meta[name] for name in _LABELS if name in meta}


def added(meta: Meta, given: Meta) -> Meta:
    """Return a meta with the labels of another; those that it has stay as they are."""
    made = dict(meta)
    for name, labels in given.items():
        known = {_identity(label): label for label in (*reversed(labels), *reversed(meta.get(name, [])))}
        order = dict.fromkeys(map(_identity, (*meta.get(name, []), *labels)))
        made[name] = [known[key] for key in order]
    return {name: value for name, value in made.items() if value != []}


def removed(meta: Meta, given: Meta) -> Meta:
    """Return a meta without the labels of another."""
    made = dict(meta)
    for name, labels in given.items():
        gone = set(map(_identity, labels))
        made[name] = [label for label in meta.get(name, []) if _identity(label) not in gone]
    return {name: value for name, value in made.items() if value != []}


def _answer(meta: Meta, version: Version | None = None) -> Answer:
    headers = {"ETag": version.etag} if version is not None else {}
    value = {"name": "return", "valueMeta": meta or _NO_LABELS}
    return Answer(200, {"resourceType": "Parameters", "parameter": [value]}, headers=headers)
