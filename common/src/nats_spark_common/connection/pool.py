"""Idle data-plane connections of a worker process, kept for its next task.

Spark reuses Python workers. A task that finds a connection to the same servers as the same user
saves the handshake. Two readers never share a connection at the same time. Idle connections answer
the server's pings from time to time, and are closed after a minute.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import TimeoutExpiredError
from ..options.settings import NatsSettings
from . import servers
from .connect import connect
from .connection import Connection

_MAX_IDLE = 4

#: Seconds that an idle connection is kept, and between two checks of the idle ones. A server closes
#: a connection that leaves some pings unanswered (``ping_max``), and may ping every few seconds.
LONGEST_IDLE, SWEEP_EVERY = 60.0, 5.0


class IdleConnections:
    """Idle connections by `NatsSettings.connection_key`, each with the time when it became idle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, list[tuple[float, Connection]]] = {}
        self._sweeps = False

    def take(self, key: str) -> Connection | None:
        """Remove and return a usable connection, None if there is none."""
        while True:
            with self._lock:
                kept = self._kept.get(key)
                if not kept:
                    return None
                _, candidate = kept.pop()
            if candidate.usable():
                return candidate
            candidate.close()

    def keep(self, key: str, link: Connection) -> None:
        """Keep the connection, or close it if there are enough."""
        with self._lock:
            kept = self._kept.setdefault(key, [])
            if len(kept) < _MAX_IDLE:
                kept.append((time.monotonic(), link))
                self._sweep_later()
                return
        link.close()

    def drop(self, address: str) -> None:
        """Close the connections to one server."""
        self._close(lambda _, link: link.server.address == address)

    def _sweep_later(self) -> None:
        if not self._sweeps:
            timer = threading.Timer(SWEEP_EVERY, self._sweep)
            timer.daemon = self._sweeps = True
            timer.start()

    def _sweep(self) -> None:
        due = time.monotonic() - LONGEST_IDLE
        self._close(lambda since, link: not link.usable() or since <= due)
        with self._lock:
            self._sweeps = False
            if any(self._kept.values()):
                self._sweep_later()

    def _close(self, leaves: Callable[[float, Connection], bool]) -> None:
        with self._lock:
            for key, kept in self._kept.items():
                for since, link in kept:
                    if leaves(since, link):
                        link.close()
                self._kept[key] = [each for each in kept if not each[1].closed]


idle = IdleConnections()


def _reset_after_fork() -> None:
    """Forget connections and timers in a forked process: they belong to its parent."""
    global idle
    idle = IdleConnections()


os.register_at_fork(after_in_child=_reset_after_fork)


@contextmanager
def connection(settings: NatsSettings) -> Iterator[Connection]:
    """Yield a connection of the pool; keep it unless an error or an unread reply prevents reuse.

    Raises as `connect.connect`.
    """
    key = settings.connection_key()
    taken = idle.take(key) or connect(settings)
    try:
        yield taken
    except TimeoutExpiredError:
        taken.give_up()
        idle.drop(taken.server.address)
        raise
    except BaseException:
        taken.close()
        raise
    servers.report(settings, taken.info.connect_urls)  # the server may have updated them
    if taken.busy or taken.closed:
        taken.close()
    else:
        taken.shrink()
        idle.keep(key, taken)
