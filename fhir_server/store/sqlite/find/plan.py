"""What drives a search: lists of resources, chosen by what they cost; all else is tested.

Costs are in microseconds on the machine they were measured on; only their ratios matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from fhir_server.store.sqlite.find.combined import tested
from fhir_server.store.sqlite.find.context import LARGE, Arm, Context, tally
from fhir_server.store.sqlite.find.fragments import Sql
from fhir_server.store.sqlite.find.nodes import Keys, Node
from fhir_server.store.sqlite.find.sight import Typed, Visible
from fhir_server.store.sqlite.find.timeline import Timeline
from fhir_server.store.sqlite.session import Session

_ROW: Final = 0.25  # to take a row of a list, in order or into a sort
_TEST: Final = 0.7  # to look something up for it
_KEY: Final = 1.5  # to fetch its sort keys
_RISK: Final = 0.02  # of walking a whole list, since matches may all stand at its end
_FEW: Final = 30  # rows that need no comparison
_DEAR: Final = 2.5  # look-ups of a test from which on it may be worth to gather a set once
_MOST_ARMS: Final = 100  # of one statement


class Lists(Protocol):
    """What can drive a search."""

    def arms(self, context: Context) -> list[Arm]:
        """Return lists whose union holds all answers."""
        ...

    @property
    def disjoint(self) -> bool:
        """Whether the lists name each resource once, taken together."""
        ...

    def size(self, session: Session) -> int:
        """Return about how many they hold, LARGE for that many or more."""
        ...


class Driver(NamedTuple):
    """Lists that can drive, and the clauses that need no test then."""

    lists: Lists
    covers: frozenset[int] = frozenset()


class Plan:
    """Chooses for one question.

    Args:
        session: The connection that will run it.
        types: Of the resources.
        nodes: What is asked, joined by AND.
        visible: What may be seen; None for everything.
        timeline: That answers some of the nodes, if there is one.
    """

    def __init__(
        self,
        session: Session,
        types: Sequence[Typed],
        nodes: Sequence[Node],
        visible: Visible | None,
        timeline: Timeline | None,
    ) -> None:
        self.session, self._nodes, self._visible = session, nodes, visible
        self.is_plain = not nodes and visible is None  # whether everything is asked for
        self.sees_all = visible is None
        self._ks = [type.k for type in types]
        self._all = Driver(Keys(tuple((k, 0) for k in self._ks), single="type"))
        self._drivers = [Driver(node, frozenset({number})) for number, node in enumerate(nodes)]
        if timeline is not None and timeline.has_codes:
            self._drivers.insert(0, Driver(timeline, timeline.covers))
        records = visible.drive() if visible is not None else None
        if records is not None:
            self._drivers.append(Driver(records))
        self._tally = -1
        self._efforts: list[float] = []

    def total(self) -> int:
        """Return how many resources the types have."""
        if self._tally < 0:
            self._tally = tally(self.session, self._ks)
        return self._tally

    # --- choosing ------------------------------------------------------------------------------------------

    def for_page(self, limit: int) -> Driver:
        """Return what drives a page in the order of seq."""
        if not self._drivers:
            return self._all
        if len(self._drivers) == 1 and self._is_ordered(self._drivers[0]):
            return self._drivers[0]
        sizes = self._sizes()
        if isinstance(sizes, Driver):
            return sizes
        matches = self._matches(sizes)
        choices = [(self._page_cost(d, size, limit, matches), n) for n, (d, size) in enumerate(sizes)]
        cost, number = min(choices)
        if self._walk_cost(limit, matches) < cost:
            return self._all
        return sizes[number][0]

    def for_all(self) -> Driver:
        """Return what drives where everything that matches is wanted."""
        if len(self._drivers) <= 1:
            return self._drivers[0] if self._drivers else self._all
        sizes = self._sizes()
        if isinstance(sizes, Driver):
            return sizes
        return min(sizes, key=lambda sized: sized[1] * (_ROW + _TEST * self._effort(sized[0].covers)))[0]

    def should_walk(self, limit: int) -> bool:
        """Whether walking the order of a sort key costs less than gathering all that matches and sorting it."""
        if not self._drivers:
            return True
        sizes = self._sizes()
        if isinstance(sizes, Driver):
            return False
        gather = min(size * (_ROW + _TEST * self._effort(d.covers) + _KEY) for d, size in sizes)
        return self._walk_cost(limit, self._matches(sizes)) < gather

    # --- foreseeing ----------------------------------------------------------------------------------------

    def most(self, keys: int) -> float:
        """Return what looking at everything would cost, in microseconds: no search costs much more.

        Args:
            keys: Sort keys that are fetched for each resource.
        """
        return self.total() * (_ROW + _KEY * keys + _TEST * self._effort(frozenset()))

    def cost_of_page(self, limit: int) -> float:
        """Return about what a page in the order of seq costs, in microseconds."""
        sizes = self._sized()
        if not sizes:
            return limit * (_ROW + _TEST * self._effort(frozenset()))
        matches = self._matches(sizes)
        costs = [self._page_cost(driver, size, limit, matches) for driver, size in sizes]
        return min(*costs, self._walk_cost(limit, matches))

    def cost_of_walk(self, limit: int) -> float:
        """Return about what walking the order of a sort key costs, in microseconds."""
        sizes = self._sized()
        return self._walk_cost(limit, self._matches(sizes) if sizes else max(1.0, float(self.total())))

    def cost_of_all(self, keys: int) -> float:
        """Return about what gathering all that matches costs, in microseconds, with so many sort keys."""
        sizes = self._sized() or [(self._all, self.total())]
        return min(size * (_ROW + _KEY * keys + _TEST * self._effort(d.covers)) for d, size in sizes)

    def cheapest(self) -> int:
        """Return how many rows the shortest list has that can drive."""
        return min((size for _, size in self._sized()), default=self.total())

    def expected(self) -> float:
        """Guess how many resources match."""
        sizes = self._sized()
        return self._matches(sizes) if sizes else float(self.total())

    def lengths(self) -> list[tuple[frozenset[int], int, bool]]:
        """Return of each list that can drive: the clauses that it answers, its rows, whether they are counted."""
        made = []
        for driver in self._drivers:
            size = driver.lists.size(self.session)
            made.append((driver.covers, self._size(size), size < LARGE))
        return made

    def _sized(self) -> list[tuple[Driver, int]]:
        return [(driver, self._size(driver.lists.size(self.session))) for driver in self._drivers]

    def _size(self, counted: int) -> int:
        return counted if counted < LARGE else max(LARGE, self.total() // 3)

    def _sizes(self) -> Driver | list[tuple[Driver, int]]:
        """Return how long each driver's lists are, or at once a driver with few rows."""
        sizes = []
        for driver in self._drivers:
            size = driver.lists.size(self.session)
            if size <= _FEW:
                return driver
            sizes.append((driver, self._size(size)))
        return sizes

    def _matches(self, sizes: Sequence[tuple[Driver, int]]) -> float:
        """Guess how many resources match, as if the clauses had nothing to do with each other."""
        total = max(1, self.total())
        made = float(total)
        for driver, size in sizes:
            if len(driver.covers) == 1:
                made *= min(1.0, size / total)
        least = min(size for _, size in sizes)
        return max(1.0, min(made, least))

    def _page_cost(self, driver: Driver, size: int, limit: int, matches: float) -> float:
        each = _ROW + _TEST * self._effort(driver.covers)
        if self._is_ordered(driver):
            return min(size, limit * size / matches) * each + _RISK * size
        return size * each

    def _walk_cost(self, limit: int, matches: float) -> float:
        total = self.total()
        each = _ROW + _TEST * self._effort(frozenset())
        return min(total, limit * total / matches) * each + _RISK * total

    def _effort(self, covers: frozenset[int]) -> float:
        if not self._efforts:
            self._efforts = [node.effort(self.session) for node in self._nodes]
        made = sum(effort for number, effort in enumerate(self._efforts) if number not in covers)
        return made if self._visible is None else made + self._visible.effort(self.session)

    def _is_ordered(self, driver: Driver) -> bool:
        return all(arm.ordered for arm in driver.lists.arms(Context(self.session)))

    # --- building ------------------------------------------------------------------------------------------

    def rows_of_page(self, driver: Driver, limit: int) -> int:
        """Return about how many rows of a driver are tested until there is a page; 0 where tests cost little."""
        if self._effort(driver.covers) < _DEAR:
            return 0
        size = self._size(driver.lists.size(self.session))
        if not self._is_ordered(driver):
            return size
        return self._walked(size, limit)

    def rows_of_walk(self, limit: int) -> int:
        """Return about how many resources are tested in the order of a sort key until there is a page."""
        return 0 if self._effort(frozenset()) < _DEAR else self._walked(self.total(), limit)

    def rows_of_all(self, driver: Driver) -> int:
        """Return about how many rows of a driver are tested; 0 where tests cost little."""
        return 0 if self._effort(driver.covers) < _DEAR else self._size(driver.lists.size(self.session))

    def _walked(self, size: int, limit: int) -> int:
        return int(min(size, 2 * limit * size / max(1.0, self.expected())))

    def arms(self, driver: Driver, context: Context) -> list[Arm]:
        """Return the driver's lists, narrowed by all that it does not cover."""
        arms = driver.lists.arms(context)
        if len(arms) > _MOST_ARMS:
            driver = self._all
            arms = driver.lists.arms(context)
        return [tested(arm, self.tests(arm.seq, driver.covers, context)) for arm in arms]

    def tests(self, seq: str, covers: frozenset[int], context: Context) -> list[Sql]:
        """Return the conditions that a resource answers all that is not covered and may be seen."""
        made = [node.test(seq, context) for number, node in enumerate(self._nodes) if number not in covers]
        if self._visible is not None:
            made.append(self._visible.test(seq, context))
        return made
