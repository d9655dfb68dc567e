"""Who may see a patient's record: pure, from rules and care teams to a decision.

A permission opens the record to those it names. A refusal holds for all it does not exclude. Inside one Consent
the most deeply nested provision that matches decides, between siblings a refusal; between Consents a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

from consent.dates import ALWAYS_HI, ALWAYS_LO, Span
from consent.matching import Asker, Tri, about_asker, about_resource
from consent.provisions import Provision, Rule, standing
from consent.team import Team

PERMIT, DENY, PARTIAL = "permit", "deny", "partial"


class Verdict(IntEnum):
    """What one Consent says; the highest among siblings holds."""

    NOTHING = 0
    LEAVES = 1  # permits, naming nobody: undoes a refusal around it, opens nothing
    GRANTS = 2
    REFUSES = 3


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an actor may see a patient's record, and why."""

    outcome: str  # permit deny partial
    rules: tuple[str, ...]  # `Consent/id` or `CareTeam/id` that decided, sorted
    member: bool  # whether the actor is an active member of the patient's care team
    sees: Callable[[dict[str, Any]], bool] | None = None  # of a partial one: which resources
    expires: int | None = None  # microseconds since 1970: when time alone may change it next


@dataclass(frozen=True, slots=True)
class _Node:
    """A provision that may be about the asker; children that are not are left out."""

    provision: Provision
    tri: Tri
    is_root: bool
    inner: tuple[_Node, ...]

    @property
    def is_open(self) -> bool:
        """Whether its verdict depends on the resource."""
        return self.provision.is_about_some_data or any(node.is_open for node in self.inner)

    def may(self, verdict: Verdict) -> bool:
        """Whether some resource may get this verdict; never says no wrongly."""
        own = self.provision.type
        here = own == "permit" if verdict is Verdict.GRANTS else own == "deny" or (not own and not self.is_root)
        return here or any(node.may(verdict) for node in self.inner)


@dataclass(frozen=True, slots=True)
class _Resources:
    """How resources are looked at."""

    zone: ZoneInfo
    base_url: str

    def about(self, provision: Provision, resource: dict[str, Any]) -> Tri:
        return about_resource(provision, resource, self.zone, self.base_url)


def decide(
    asker: Asker,
    rules: Sequence[Rule],
    teams: Sequence[Team],
    *,
    now: int,
    zone: ZoneInfo,
    base_url: str = "",
) -> Decision:
    """Decide for one patient.

    Args:
        asker: Who asks, by all their names.
        rules: The patient's compiled Consents, in any order.
        teams: The patient's compiled CareTeams, in any order.
        now: Microseconds since 1970.
        zone: Of bare dates in resources.
        base_url: Of this server's FHIR root.
    """
    stand = standing(rules)
    nodes = [(rule, node) for rule in stand if (node := _reduced(rule.root, asker, now, True))]
    joined = [team for team in teams if team.has(asker.names, now)]
    look = _Resources(zone, base_url)
    expires = next_change((*_periods(stand), *(span for team in teams for span in team.spans())), now)
    fixed = [(f"Consent/{rule.id}", verdict(node, {}, look)) for rule, node in nodes if not node.is_open]
    open_ = [(rule, node) for rule, node in nodes if node.is_open]

    def made(outcome: str, ids: Iterable[str], sees: Callable[[dict[str, Any]], bool] | None = None) -> Decision:
        return Decision(outcome, tuple(sorted(ids)), bool(joined), sees, expires)

    refusing = [id for id, said in fixed if said is Verdict.REFUSES]
    if refusing:
        return made(DENY, refusing)
    granting = [id for id, said in fixed if said is Verdict.GRANTS]
    base = granting or [f"CareTeam/{team.id}" for team in joined]
    depends = [f"Consent/{rule.id}" for rule, node in open_ if node.may(Verdict.GRANTS) or node.may(Verdict.REFUSES)]
    if not any(node.may(Verdict.REFUSES) for _, node in open_) and base:
        return made(PERMIT, base)
    if not base and not any(node.may(Verdict.GRANTS) for _, node in open_):
        return made(DENY, ())
    trees = [node for _, node in open_]
    return made(PARTIAL, (*base, *depends), lambda resource: _sees(resource, trees, bool(base), look))


def next_change(spans: Iterable[Span], now: int) -> int | None:
    """Return the next instant at which one of these spans begins or ends; None for never."""
    bounds = (at for span in spans for at in span if now < at and ALWAYS_LO < at < ALWAYS_HI)
    return min(bounds, default=None)


def verdict(node: _Node, resource: dict[str, Any], look: _Resources, sure: bool = True, named: bool = False) -> Verdict:
    """Return what a tree of provisions says of a resource.

    Args:
        node: The tree.
        resource: The resource; not looked at where no provision depends on it.
        look: How.
        sure: Whether everything around the node matches beyond doubt.
        named: Whether a provision around it names the asker.
    """
    provision = node.provision
    found = min(node.tri, look.about(provision, resource)) if provision.is_about_some_data else node.tri
    if found is Tri.NO:
        return Verdict.NOTHING
    sure = sure and found is Tri.YES
    named = named or provision.parties is not None
    inside = max((verdict(one, resource, look, sure, named) for one in node.inner), default=Verdict.NOTHING)
    return inside if inside is not Verdict.NOTHING else _own(node, sure, named)


def _own(node: _Node, sure: bool, named: bool) -> Verdict:
    if node.provision.type == "permit":
        return Verdict.NOTHING if not sure else Verdict.GRANTS if named else Verdict.LEAVES
    if node.provision.type == "deny" or not node.is_root:
        return Verdict.REFUSES
    return Verdict.NOTHING  # a root that says neither leaves it to the hub's own rule


def _reduced(provision: Provision, asker: Asker, now: int, is_root: bool) -> _Node | None:
    tri = about_asker(provision, asker, now)
    if tri is Tri.NO:
        return None
    inner = (_reduced(one, asker, now, False) for one in provision.provisions)
    return _Node(provision, tri, is_root, tuple(node for node in inner if node))


def _sees(resource: dict[str, Any], trees: Sequence[_Node], base: bool, look: _Resources) -> bool:
    said = {verdict(tree, resource, look) for tree in trees}
    return Verdict.REFUSES not in said and (base or Verdict.GRANTS in said)


def _periods(rules: Iterable[Rule]) -> Iterator[Span]:
    for rule in rules:
        for provision in rule.root.walk():
            if provision.period is not None:
                yield provision.period
