"""Objects of the answer, whose fields may get values from several elements.

Source: FHIR R4 4.0.1, https://hl7.org/fhir/R4/graphql.html ("Lists and flattening")
"""

from __future__ import annotations

from typing import Any

from fhir_server.graphql.failures import QueryError, shown


class Slot:
    """One field of the answer."""

    __slots__ = ("is_found", "is_list", "is_null", "is_single", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.is_list = self.is_single = self.is_null = False
        self.is_found = False  # a search that finds nothing is an empty list, not null


class Collated:
    """One object of the answer, while it is filled."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}

    def slot(self, name: str, *, is_list: bool, is_single: bool, is_null: bool = True) -> Slot:
        """Return a field, made when it is first named.

        Args:
            name: In the answer.
            is_list: Whether its values are a list, however many there are.
            is_single: Whether @singleton says that there is one at most.
            is_null: Whether it is null where it has no value; else it is left out.
        """
        slot = self._slots.setdefault(name, Slot())
        slot.is_list, slot.is_single = slot.is_list or is_list, slot.is_single or is_single
        slot.is_null = slot.is_null or is_null
        return slot

    def written(self) -> dict[str, Any]:
        """Return the object."""
        made: dict[str, Any] = {}
        for name, slot in self._slots.items():
            values = [value.written() if isinstance(value, Collated) else value for value in slot.values]
            if not values:
                if slot.is_null:
                    made[name] = [] if slot.is_found and slot.is_list and not slot.is_single else None
            elif slot.is_single:
                if len(values) > 1:
                    raise QueryError(f"'{shown(name)}' is a @singleton and has several values.")
                made[name] = values[0]
            else:
                made[name] = values if slot.is_list or len(values) > 1 else values[0]
        return made
