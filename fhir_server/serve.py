"""The server process: sockets, start, tasks, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import uvicorn

from fhir_server.app import Composed, opened
from fhir_server.collector import look_briefly, settle
from fhir_server.http.asgi import where
from fhir_server.http.protocol import Protocol
from fhir_server.interface import Task
from fhir_server.settings import Settings, SettingsError

log = logging.getLogger("predmp")

GRACE_S = 10  # seconds that requests under way have to end
RESTART_S = 2.0  # seconds before a task that failed is started again
IDLE_S = 600  # seconds that a kept-alive connection may be silent; a client learns of its end by a failed request
BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn, without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(address: str) -> socket.socket:
    """Return a listening socket; raise SettingsError that names the port when it cannot be had."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, int(port)))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise SettingsError(f"port {port} on {host} cannot be used: {error.strerror}") from None
    made.setblocking(False)
    return made


async def serve(settings: Settings, ready: Callable[[Composed], Coroutine[Any, Any, bool]] | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: Checked here: authentication may be off on loopback only.
        ready: What to do once the hub answers, such as the demonstration; where it returns True the hub stops.

    Returns:
        The exit code.
    """
    if settings.auth == "off" and not settings.is_loopback:
        raise SettingsError("--auth off is refused: --http is bound to an address that others reach")
    sock = bind(settings.http)
    try:
        async with opened(settings) as composed:
            return await _run(composed, sock, ready)
    finally:
        sock.close()


async def _run(
    composed: Composed, sock: socket.socket, ready: Callable[[Composed], Coroutine[Any, Any, bool]] | None
) -> int:
    config = uvicorn.Config(
        composed.asgi,
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # what a peer says of others' addresses is not believed
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=65_536,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    started: list[Callable[[], Awaitable[None]]] = []
    tasks: list[asyncio.Task[None]] = []
    try:
        for start in composed.starts:
            await start()
        started = composed.stops
        tasks = [
            asyncio.create_task(_supervise(task), name=task.name) for room in composed.rooms for task in room.tasks
        ]
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        settle()
        tasks.append(asyncio.create_task(look_briefly(), name="collector"))
        await _announce(composed, server, serving)
        if ready is not None:
            leading = asyncio.create_task(ready(composed))
            await asyncio.wait({leading, serving}, return_when=asyncio.FIRST_COMPLETED)
            if not leading.done():
                leading.cancel()
            elif leading.result():
                server.should_exit = True
        await serving
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stop in started or composed.stops:
            await stop()
    return 0


async def _announce(composed: Composed, server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Print one line with every address once the server answers."""
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    root, settings = composed.settings.root_url, composed.settings
    sys.stdout.write(
        f"predmp is ready: FHIR {root}/fhir  pages {root}/  CDS Hooks {root}/cds-services  "
        f"devices {root}/devices  MLLP {settings.mllp}  store {settings.store.partition(':')[0]}\n"
    )
    sys.stdout.flush()


async def _supervise(task: Task) -> None:
    """Run a task as long as the hub does; start it again when it fails."""
    while True:
        try:
            await task.run()
            return
        except Exception as error:  # a supervisor: one room's failure ends no other
            log.error("the task %s failed: %s at %s", task.name, type(error).__name__, where(error))
            await asyncio.sleep(RESTART_S)
