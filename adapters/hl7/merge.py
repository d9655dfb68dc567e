"""What a message says, laid over what is stored.

`replace` follows a feed that leads on the patient's identity and stay (ADT): what is stated replaces, the
null value deletes, what is not stated stays. `complete` follows one that does not (results): it only fills
what is missing, and tells where the two differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.hl7.maps.rows import Stated
from fhir_server.model import Resource


def replace(current: Resource, stated: Sequence[Stated]) -> Resource:
    """Return the stored resource as the message wants it; neither argument is changed."""
    made = _copy(current)
    for row, value in stated:
        holder, name = _holder(made, row.element)
        if name.endswith("[x]"):
            _drop_choice(holder, name[:-3])
            if value is not None:
                holder.update(value)
        elif name == "identifier":
            holder[name] = united(holder.get(name, []), value or [])
        elif isinstance(value, list) or row.owns is not None:
            items = _relisted(holder.get(name, []), value or [], row.owns)
            holder[name] = items
        elif value is None:
            holder.pop(name, None)
        else:
            holder[name] = value
    cleaned: Resource = without_empty(made)
    return cleaned


def complete(current: Resource, stated: Sequence[Stated]) -> tuple[Resource, list[Stated]]:
    """Return the stored resource with what it lacked, and what was stated otherwise than it is stored.

    Where it lacks nothing it is returned as it is, without a copy: most results name a patient who is known.
    """
    missing, differing = [], []
    for one in stated:
        if one.value is None:
            continue
        holder, name = _held(current, one.row.element)
        present = any(key.startswith(name[:-3]) for key in holder) if name.endswith("[x]") else name in holder
        if not present:
            missing.append(one)
        elif name != "identifier" and not _says(holder, name, one) and replace(current, [one]) != current:
            differing.append(one)
    return replace(current, missing) if missing else current, differing


def _says(holder: Resource, name: str, one: Stated) -> bool:
    """Whether what is stored is plainly what is stated; where it is not so plain, `replace` tells."""
    if name.endswith("[x]"):
        return bool({k: v for k, v in holder.items() if k.lstrip("_").startswith(name[:-3])} == one.value)
    stored, owns = holder[name], one.row.owns
    return bool(stored == (one.value if owns is None else _relisted(stored, one.value, owns)))


def united(current: list[Any], stated: list[Any]) -> list[Any]:
    """Return identifiers by system and value: those stated renew the stored ones, none is lost.

    One that is stored as old stays old, with its period: a merge or a change of number made it so.
    """
    made = {(item.get("system"), item.get("value")): item for item in current}
    for item in stated:
        key = item.get("system"), item.get("value")
        stored = made.get(key, {})
        if "old" in (stored.get("use"), item.get("use")):
            period = {**stored.get("period", {}), **item.get("period", {})}
            item = {**item, "use": "old", **({"period": period} if period else {})}
        made[key] = item
    return list(made.values())


def _relisted(current: list[Any], stated: list[Any], owns: Any) -> list[Any]:
    """Return the list with the items that a row owns replaced, at the place where the first of them stood."""
    kept = [] if owns is None else [item for item in current if not owns(item)]
    first = next((n for n, item in enumerate(current) if owns is None or owns(item)), len(kept))
    return kept[:first] + stated + kept[first:]


def _drop_choice(holder: Resource, name: str) -> None:
    for key in [key for key in holder if key.lstrip("_").startswith(name)]:
        del holder[key]


def _holder(resource: Resource, element: str) -> tuple[Resource, str]:
    """Return the object that holds the element, made where it is not there, and the element's last name."""
    *way, name = element.split(".")
    for step in way:
        resource = resource.setdefault(step, {})
    return resource, name


def _held(resource: Resource, element: str) -> tuple[Resource, str]:
    """Return the object that holds the element, an empty one where it is not there, and the element's last name."""
    *way, name = element.split(".")
    for step in way:
        resource = resource.get(step, {})
    return resource, name


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def without_empty(value: Any) -> Any:
    """Return a resource without empty objects, lists and texts, which FHIR's JSON does not have."""
    if isinstance(value, dict):
        made = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in made.items() if item not in ({}, [], "", None)}
    return [without_empty(item) for item in value] if isinstance(value, list) else value
