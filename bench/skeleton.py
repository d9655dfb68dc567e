"""The floor that Python allows here: raw ASGI, orjson, uuid, SQLite FULL with group commit, and nothing else.

No validation, no history, no audit, one index. `python -m bench.skeleton PORT FILE` serves it.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import uuid
from typing import Any

import apsw
import orjson
import uvicorn

SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000;
CREATE TABLE IF NOT EXISTS resource(id TEXT PRIMARY KEY, patient TEXT, code TEXT, at TEXT, body BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS timeline ON resource(patient, code, at DESC);
"""
INSERT = "INSERT INTO resource VALUES(?,?,?,?,?)"
SEARCH = "SELECT body FROM resource WHERE patient=? AND code=? ORDER BY at DESC LIMIT 20"
JSON = [(b"content-type", b"application/fhir+json")]


class Skeleton:
    """The application and its writer thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.reader = self._connect()
        self.reader.execute(SCHEMA).fetchall()  # each statement runs when the rows before it are read
        self.waiting: queue.SimpleQueue[tuple[tuple[Any, ...], asyncio.Future[None]]] = queue.SimpleQueue()
        threading.Thread(target=self._write, daemon=True).start()

    def _connect(self) -> apsw.Connection:
        made = apsw.Connection(self.path)
        made.set_busy_timeout(5000)
        return made

    def _write(self) -> None:
        connection = self._connect()
        connection.execute("PRAGMA synchronous=FULL")
        while True:
            batch = [self.waiting.get()]
            while not self.waiting.empty() and len(batch) < 256:
                batch.append(self.waiting.get())
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, [row for row, _ in batch])
            connection.execute("COMMIT")
            batch[0][1].get_loop().call_soon_threadsafe(_answer, [future for _, future in batch])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve create, read and the timeline search."""
        if scope["method"] == "POST":
            status, body = 201, await self._create(receive)
        elif scope["query_string"]:
            status, body = 200, self._search(scope["query_string"].decode())
        else:
            row = self.reader.execute(
                "SELECT body FROM resource WHERE id=?", (scope["path"].rpartition("/")[2],)
            ).fetchone()
            status, body = (200, row[0]) if row else (404, b"{}")
        headers = [*JSON, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _create(self, receive: Any) -> bytes:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        resource = orjson.loads(body)
        resource["id"] = id = str(uuid.uuid4())
        written = orjson.dumps(resource)
        row = (
            id,
            resource.get("subject", {}).get("reference"),
            resource["code"]["coding"][0]["code"],
            resource["effectiveDateTime"],
            written,
        )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.put((row, future))
        await future
        return written

    def _search(self, query: str) -> bytes:
        asked = dict(part.split("=", 1) for part in query.split("&"))
        rows = self.reader.execute(SEARCH, (asked["patient"], asked["code"].rpartition("|")[2])).fetchall()
        return (
            b'{"resourceType":"Bundle","type":"searchset","entry":['
            + b",".join(b'{"resource":' + _blob(row[0]) + b"}" for row in rows)
            + b"]}"
        )


def _blob(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _answer(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def main() -> None:
    """Serve on the port given, over the file given."""
    port, path = int(sys.argv[1]), sys.argv[2]
    uvicorn.run(
        Skeleton(path),
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
    )


if __name__ == "__main__":
    main()
