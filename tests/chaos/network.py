"""Connections that fail: everything between servers and clients goes through links.

All links run in one thread of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

_CHUNK = 1 << 16


class Link:
    """A port that leads to another one.

    Attributes:
        port: where clients connect to.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._carries = asyncio.Event()
        self._carries.set()
        self._refuses = False
        self._rate: float | None = None
        self._mid_frame = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self) -> None:
        """Listen; connections are carried from now on."""
        await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def cut_mid_frame(self) -> None:
        """Reset each connection after half of what it carries next."""
        self._mid_frame = True

    def stall(self) -> None:
        """Carry nothing, and keep connections open: also new ones."""
        self._carries.clear()

    def slow(self, rate: float) -> None:
        """Carry so many bytes per second."""
        self._rate = rate

    def refuse(self) -> None:
        """Reset all connections, and every new one."""
        self._refuses = True
        self.cut()

    def heal(self) -> None:
        """Carry everything; what was stalled arrives late."""
        self._refuses = self._mid_frame = False
        self._rate = None
        self._carries.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._writers |= ends
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            self._writers -= ends
            for each in ends:
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._carries.wait()
            if self._rate:
                await asyncio.sleep(len(data) / self._rate)
            if self._mid_frame:
                writer.write(data[: len(data) // 2])
                with suppress(OSError):
                    await writer.drain()
                raise ConnectionResetError("cut in the middle of a frame")
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("closed by one end")


class Network:
    """Links, and the thread that carries them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def link(self, port: int, target: int) -> Link:
        """Return a link of which everything is carried."""

        async def make() -> Link:
            link = Link(port, target)
            await link.serve()
            return link

        return asyncio.run_coroutine_threadsafe(make(), self._loop).result(10)

    def tell(self, action: Callable[[], None]) -> None:
        """Call a method of a link in its thread."""

        async def call() -> None:
            action()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def close(self) -> None:
        """End the thread; connections are not carried any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
