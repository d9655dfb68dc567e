"""The steps of a transaction before it touches the store: read, checked for form, validated.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fhir_server.errors import BadRequest, Forbidden, Issue, NotSupported, Unprocessable
from fhir_server.interactions.asking import split_query
from fhir_server.interactions.ids import check_id
from fhir_server.interactions.subset import is_part
from fhir_server.model import Actor, Change, Entry, Resource
from fhir_server.patch import Patch, read

ACTIONS = {"POST": "c", "PUT": "u", "PATCH": "u", "DELETE": "d"}
MOST_DELETED = 1_000  # resources of one conditional delete
SHAPING = frozenset(
    {
        "_format",
        "_pretty",
        "_sort",
        "_count",
        "_total",
        "_totalMethod",
        "_summary",
        "_elements",
        "_include",
        "_revinclude",
    }
)
"""Parameters that say how an answer looks and in no way which resources are meant: R4 has them in any url
(https://hl7.org/fhir/R4/http.html#parameters, https://hl7.org/fhir/R4/search.html#return)."""
CODES_422 = frozenset({"invariant", "business-rule", "required", "code-invalid", "value", "invalid", "not-found"})


@dataclass(slots=True)
class Step:
    """One entry on its way: what it asks, and what it came to be."""

    place: str  # FHIRPath of the entry in its Bundle, "" outside of one
    entry: Entry
    method: str
    type: str
    id: str = ""
    condition: list[tuple[str, str]] | None = None
    exists: bool = False  # a conditional create found its match: nothing is written
    absent: bool = False  # a conditional delete found nothing
    most: int = 1  # resources that a conditional delete may delete
    others: tuple[str, ...] = ()  # ids that it found beside `id`
    unmatched: bool = False  # a conditional update found nothing: its own id must be free
    patch: Patch | None = None  # of a PATCH; its resource is made inside the transaction

    @property
    def reference(self) -> str:
        """`Type/id` that the entry came to be."""
        return f"{self.type}/{self.id}"


def read_step(entry: Entry, place: str, types: frozenset[str]) -> Step:
    """Read what an entry asks.

    Raises:
        BadRequest: Its url, method or resource do not fit together.
        NotSupported: Its type or method is none that this server has.
    """
    if entry.method not in ACTIONS:
        where = f"{place}.request.method" if place else ""
        raise BadRequest("The method of an entry is POST, PUT, PATCH, DELETE, GET or HEAD.", expression=where)
    path, pairs = split_query(entry.url)
    type, _, id = path.strip("/").partition("/")
    if path.rpartition("/")[2][:1] in ("$", "_"):
        raise NotSupported("A transaction takes no operations by POST; ask for them by GET, or in a batch.")
    if type not in types:
        raise NotSupported("There is no such resource type in R4.")
    step = Step(place, entry, entry.method, type)
    if entry.method == "POST":
        if id or pairs:
            raise BadRequest("A create names only the type in its url.")
        if entry.if_none_exist:
            step.condition = criteria(_read_if_none_exist(entry.if_none_exist, type))
    elif id:
        step.id = check_id(id)
        if any(name not in ("_format", "_pretty") for name, _ in pairs):
            raise BadRequest("The url of an entry has an id or a condition, not both.")
    elif pairs:
        step.condition = criteria(pairs)
        if entry.method == "DELETE":
            _read_most(step, pairs)
    else:
        raise BadRequest("An update, patch or delete names an id or a condition.")
    if entry.method == "PATCH":
        step.patch = read(entry.media_type, entry.body or b"")
    else:
        _check_resource(step)
    return step


def criteria(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what a condition says about the resource that it means, without what only shapes an answer.

    Raises:
        BadRequest: Nothing is left: every resource of the type would be meant, and `DELETE Basic?_format=json`
            would delete the only one there is.
    """
    kept = [pair for pair in pairs if pair[0].partition(":")[0] not in SHAPING]
    if not kept:
        raise BadRequest("The condition is empty: it says nothing about which resource is meant.")
    return kept


def _read_if_none_exist(text: str, type: str) -> list[tuple[str, str]]:
    """Read the condition of a create: R4 asks for the query alone, clients of HAPI send the whole url of the search.

    Source: https://hl7.org/fhir/R4/http.html#ccreate
    """
    place, mark, query = text.partition("?")
    if mark and "=" not in place:
        if place.rstrip("/").rpartition("/")[2] not in ("", type):
            raise BadRequest("The condition of a create is about another type.")
        text = query
    return split_query(f"?{text}")[1]


def _read_most(step: Step, pairs: list[tuple[str, str]]) -> None:
    """Read `_count` beside the condition of a delete: how many resources it may delete."""
    counts = [value for name, value in pairs if name == "_count"]
    if counts:
        if len(counts) > 1 or not counts[0].isdecimal() or not 1 <= int(counts[0][:9]) <= MOST_DELETED:
            raise BadRequest(f"_count of a conditional delete is a number from 1 to {MOST_DELETED:,}.")
        step.most = int(counts[0])


def _check_resource(step: Step) -> None:
    resource = step.entry.resource
    if step.method == "DELETE":
        return
    if resource is None:
        raise BadRequest("The entry has no resource.")
    if resource.get("resourceType") != step.type:
        raise BadRequest("The resource is of another type than its url says.", expression=_element(step, ""))
    if step.method == "PUT" and step.id and resource.get("id") != step.id:
        raise BadRequest("The resource's id is not the one of the url.", expression=_element(step, ".id"))
    if step.method == "PUT" and is_part(resource):
        raise Unprocessable(
            "The resource is tagged SUBSETTED, so it is a part of one: stored, it would overwrite the rest. "
            "Read it whole, or send a PATCH.",
            expression=_element(step, ".meta.tag"),
        )


def _element(step: Step, path: str) -> str:
    """Return where an element of a step's resource stands, in its Bundle where it came in one."""
    return f"{step.place}.resource{path}" if step.place else f"{step.type}{path}"


def check_scopes(steps: Sequence[Step], actor: Actor) -> None:
    """Raise Forbidden unless the actor's scopes allow every step."""
    for step in steps:
        if not actor.may(ACTIONS[step.method], step.type):
            raise forbidden()
        finds = step.condition is not None and step.method in ("PATCH", "DELETE")
        if finds and not (actor.may("r", step.type) or actor.may("s", step.type)):
            raise forbidden()  # it would find nothing, and say that all is done


def forbidden() -> Forbidden:
    """Return the refusal of a request that the scopes do not cover."""
    error = Forbidden("The token's scopes do not allow this.")
    error.headers["WWW-Authenticate"] = 'Bearer realm="predmp", error="insufficient_scope"'
    return error


def check_resources(steps: Sequence[Step], validate: Callable[[Resource], list[Issue]]) -> None:
    """Raise Unprocessable with every error of every resource; warnings are let through."""
    found: list[Issue] = []
    for step in steps:
        if step.entry.resource is not None and step.method != "DELETE":
            issues = [i for i in validate(step.entry.resource) if i.severity in ("error", "fatal")]
            found += [_placed(issue, step) for issue in issues] if step.place else issues
        if len(found) > 200:
            break
    if found:
        raise Unprocessable("The resource is not valid.", issues=found)


def placed_issues(found: Sequence[tuple[Change, Sequence[Issue]]], steps: Sequence[Step]) -> list[Issue]:
    """Return the issues of changes, each at the entry of its Bundle where there is one."""
    by_reference = {step.reference: step for step in steps if step.place}
    placed = []
    for change, issues in found:
        step = by_reference.get(change.version.reference)
        placed += [_placed(issue, step) for issue in issues] if step is not None else list(issues)
    return placed


def _placed(issue: Issue, step: Step) -> Issue:
    return issue._replace(expression=f"{step.place}.resource{issue.expression.removeprefix(step.type)}")


def check_overlap(steps: Sequence[Step]) -> None:
    """Raise BadRequest when two steps write the same resource, or two entries carry the same fullUrl."""
    written = [
        f"{step.type}/{id}"
        for step in steps
        if step.id and not step.exists and not step.absent
        for id in (step.id, *step.others)
    ]
    if len(set(written)) != len(written):
        place = _repeated((step.place, f"{step.type}/{id}") for step in steps for id in (step.id, *step.others))
        raise BadRequest("Two entries of the transaction write the same resource.", expression=place)
    named = [step.entry.full_url for step in steps if step.entry.full_url]
    if len(set(named)) != len(named):
        place = _repeated((step.place, step.entry.full_url) for step in steps)
        raise BadRequest("Two entries of the transaction have the same fullUrl.", expression=place)


def _repeated(named: Iterable[tuple[str, str]]) -> str:
    """Return the place of the first name that was there before."""
    before: set[str] = set()
    for place, name in named:
        if name and name in before:
            return place
        before.add(name)
    return ""
