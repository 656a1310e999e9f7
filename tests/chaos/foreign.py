"""Another client that shares a consumer with balanced queries: nats.py, in a thread."""

from __future__ import annotations

import threading

from .._support.admin import Admin
from .scenarios import DURABLE


class ForeignClient(threading.Thread):
    """Fetches messages, notes their numbers, and acknowledges them.

    Attributes:
        numbers: what it has processed.
    """

    def __init__(self, admin: Admin, stream: str) -> None:
        super().__init__(daemon=True)
        self._admin, self._stream = admin, stream
        self._ended = threading.Event()
        self.numbers: list[int] = []

    def finish(self) -> list[int]:
        """Stop, and return `numbers`."""
        self._ended.set()
        self.join()
        return self.numbers

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                self._admin.run(self._fetch())
            except Exception:
                self._ended.wait(0.2)

    async def _fetch(self) -> None:
        js = self._admin.js
        subscription = await js.pull_subscribe_bind(DURABLE, self._stream)
        try:
            for message in await subscription.fetch(20, timeout=1):
                number = int(message.data.rstrip(b"."))
                await message.ack_sync(timeout=2)
                self.numbers.append(number)
        finally:
            await subscription.unsubscribe()
