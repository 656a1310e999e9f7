"""Publishers that go on whatever happens; each message is stored once."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from .._support.admin import Admin

#: Messages of a stream that are published together: one for each key, so that a repeated publish
#: cannot change the order of a key.
KEYS = 12
_SIZE = 120
_PAUSE = 0.04
_TIMEOUT = 2.0


class Publisher(threading.Thread):
    """Publishes to streams in turn: message ``i`` on ``<stream>.k<i % KEYS>``, with ``i`` in it.

    Attributes:
        counts: how many messages of each stream are stored.
    """

    def __init__(self, streams: Mapping[str, Admin]) -> None:
        """
        Args:
            streams: the streams, and the client of a server that has each.
        """
        super().__init__(daemon=True)
        self._streams = streams
        self._ended = threading.Event()
        self.counts = dict.fromkeys(streams, 0)

    def finish(self) -> dict[str, int]:
        """Stop, and return `counts`."""
        self._ended.set()
        self.join()
        return self.counts

    def run(self) -> None:
        while not self._ended.is_set():
            for stream, admin in self._streams.items():
                first = self.counts[stream]
                for number in range(first, first + KEYS):
                    self._store(admin, stream, number)
                self.counts[stream] += KEYS
            self._ended.wait(_PAUSE)

    def _store(self, admin: Admin, stream: str, number: int) -> None:
        subject, payload = f"{stream}.k{number % KEYS}", str(number).encode().ljust(_SIZE, b".")
        headers = {"Nats-Msg-Id": f"{stream}-{number}"}
        while True:
            try:
                admin.run(admin.js.publish(subject, payload, timeout=_TIMEOUT, headers=headers))
                return
            except Exception:
                self._ended.wait(0.1)
