"""What is begun at once gives the same result, or error, as what is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from fhir_server.http.begun import begin


async def now() -> str:
    return "now"


async def later(turns: int) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    return "later"


async def broken() -> str:
    await asyncio.sleep(0)
    raise ValueError("own")


async def never() -> str:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        noted.append("told")
        raise
    return "never"


noted: list[str] = []


async def test_what_need_not_wait_is_there_at_once() -> None:
    assert begin(now()) == ("now", None)


async def test_an_error_that_comes_at_once_is_raised() -> None:
    async def refuse() -> str:
        raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        begin(refuse())


@pytest.mark.parametrize("turns", [0, 3], ids=["waits once", "waits several times"])
async def test_what_waits_gives_its_result_when_it_is_awaited(turns: int) -> None:
    made, following = begin(later(turns))
    assert made is None
    assert following is not None
    assert await following == "later"


async def test_an_error_that_comes_later_is_raised_where_it_is_awaited() -> None:
    _, following = begin(broken())
    assert following is not None
    with pytest.raises(ValueError, match="own"):
        await following


async def test_a_deadline_ends_what_waits_and_tells_it() -> None:
    _, following = begin(never())
    assert following is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await following
    assert noted == ["told"]


async def test_an_awaitable_of_another_kind_is_left_to_be_awaited() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("done")
    made, following = begin(future)
    assert (made, following is future) == (None, True)
    waiting: Awaitable[str] = future
    assert await waiting == "done"
