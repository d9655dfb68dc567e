"""Frozen values that pass through the door between the core and its rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

Resource: TypeAlias = dict[str, Any]
"""A resource as FHIR JSON; decimals are `decimal.Decimal` that print as they were written."""


class Version(NamedTuple):
    """One stored version of a resource; a deletion is a version too."""

    type: str
    id: str
    version: int  # 1, 2, 3 ...
    at: int  # meta.lastUpdated, microseconds since 1970-01-01T00:00Z
    method: str  # POST PUT PATCH DELETE: what made it
    body: bytes  # JSON as it is answered, with id and meta; b"" for a deletion
    seq: int = 0  # place in the order of all writes of this store
    owners: tuple[str, ...] = ()  # ids of the Patients whose record it belongs to

    @property
    def reference(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"

    @property
    def is_deleted(self) -> bool:
        """Whether this version is a deletion."""
        return self.method == "DELETE"

    @property
    def etag(self) -> str:
        """The weak entity tag of this version."""
        return f'W/"{self.version}"'


class Scope(NamedTuple):
    """One SMART v2 scope: `context/type.actions?query`."""

    context: str  # patient user system
    type: str  # a resource type or *
    actions: str  # ordered subset of cruds
    query: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls: from a token, or a part of the hub itself."""

    tenant: str
    subject: str  # who the token was made for; audit's name of the caller
    scopes: tuple[Scope, ...]
    reference: str = ""  # `Practitioner/ID` or `Organization/ID`, whom consent provisions name
    patient: str = ""  # id of the Patient a patient's own token is bound to
    purpose: str = "TREAT"  # v3-PurposeOfUse
    client: str = ""  # OAuth client id

    @property
    def is_operator(self) -> bool:
        """The operator, whom consent does not narrow: neither actor nor patient."""
        return not self.reference and not self.patient

    def may(self, action: str, type: str) -> bool:
        """Whether some scope allows `action` (one of c r u d s) on `type`."""
        for scope in self.scopes:  # noqa: SIM110 - every request asks: a generator costs more than the scopes
            if action in scope.actions and (scope.type == "*" or scope.type == type):
                return True
        return False


@dataclass(frozen=True, slots=True)
class Visibility:
    """What one actor may see; it goes into every query.

    `patients` None means everything (the operator). Else a resource is visible when it belongs to no
    patient and is of a type that carries no patient data, or when each Patient it belongs to is in
    `patients`, or is in `partial` and its function says yes.
    """

    patients: frozenset[str] | None
    partial: Mapping[str, Callable[[Resource], bool]] = field(default_factory=dict)
    types: frozenset[str] | None = None  # the types that the scopes let the actor read; None: all
    expires: int | None = None  # microseconds since 1970: when a period in a rule begins or ends next

    @property
    def is_total(self) -> bool:
        """Whether nothing is hidden."""
        return self.patients is None and self.types is None


EVERYTHING = Visibility(None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of a transaction, as in Bundle.entry."""

    method: str  # POST PUT PATCH DELETE GET
    url: str  # as Bundle.entry.request.url: "Patient", "Patient/1", "Patient?identifier=x"
    resource: Resource | None = None
    full_url: str = ""
    if_match: str = ""
    if_none_match: str = ""
    if_none_exist: str = ""
    body: bytes | None = None  # of a patch: the patch document
    media_type: str = ""  # of `body`
    must_exist: bool = False  # of a PUT: refused where its id was never used (update as create is off)


class Outcome(NamedTuple):
    """What an entry came to."""

    status: int  # 200 201 204
    version: Version | None  # None where nothing was there to delete
    changed: bool = True  # False where an existing match was answered, or the update changed nothing
    written: int = 1  # resources that it wrote: a conditional delete may delete several


class Reply(NamedTuple):
    """What an address outside the hub answered."""

    status: int
    body: bytes


class Change:
    """A version about to be committed, with the one before it; enrichers and matchers look at these.

    Args:
        version: It.
        resource: Its resource; of a deletion: the resource as it was. Or what reads it from the version's body: much
            that is imported is asked of nobody.
        before: The resource before it, None where there was none.
        declared: Profiles that it and the resources inside of it declare; None where nobody looked.
    """

    __slots__ = ("_read", "_resource", "before", "declared", "version")

    def __init__(
        self,
        version: Version,
        resource: Resource | Callable[[bytes], Resource],
        before: Resource | None,
        declared: tuple[str, ...] | None = None,
    ) -> None:
        self.version, self.before, self.declared = version, before, declared
        self._resource: Resource | None = None
        self._read: Callable[[bytes], Resource] | None = None
        if isinstance(resource, dict):
            self._resource = resource
        else:
            self._read = resource

    @property
    def resource(self) -> Resource:
        """The resource of the version; of a deletion: as it was."""
        if self._resource is None:
            assert self._read is not None, "one of them is given"
            self._resource = self._read(self.version.body)
        return self._resource


class Record(NamedTuple):
    """A durable row of a room's own (an inbox message, an event to deliver), ordered by `seq`."""

    kind: str  # e.g. "hl7-inbox"
    key: str  # unique in its tenant and kind
    state: str
    lane: str
    seq: int
    at: int  # microseconds since 1970, of the last change
    body: bytes
