"""An MLLP echo that only syncs to disk before each acknowledgement: `python -m bench.echo PORT FILE`."""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop


class Echo:
    """Appends each message to a file; acknowledges once a sync has covered it."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.waiting: list[asyncio.Future[None]] = []
        self.wake = asyncio.Event()

    async def sync(self) -> None:
        """Sync for ever, one sync for all that wait."""
        loop = asyncio.get_running_loop()
        while True:
            await self.wake.wait()
            self.wake.clear()
            batch, self.waiting = self.waiting, []
            await loop.run_in_executor(None, os.fdatasync, self.file)
            for future in batch:
                future.set_result(None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's frames."""
        try:
            while True:
                frame = await reader.readuntil(b"\x1c\r")
                os.write(self.file, frame)
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self.waiting.append(future)
                self.wake.set()
                await future
                control = frame.split(b"|", 10)[9]
                writer.write(b"\x0bMSH|^~\\&|ECHO|||||||ACK|1|P|2.5\rMSA|AA|" + control + b"\r\x1c\r")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()


async def _main(port: int, path: str) -> None:
    echo = Echo(path)
    server = await asyncio.start_server(echo.serve, "127.0.0.1", port, limit=1 << 20)
    async with server:
        await asyncio.gather(echo.sync(), server.serve_forever())


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1]), sys.argv[2]))
