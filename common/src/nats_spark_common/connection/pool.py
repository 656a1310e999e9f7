"""Idle data-plane connections of a worker process, kept for its next task.

Spark reuses Python workers; a task that finds a connection to the same servers as the same user
saves the handshake. Connections are never shared by two readers at a time. Those that nobody takes
are closed before the server asks whether they still stand (``ping_interval``, two minutes), because
nobody would answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import TimeoutExpiredError
from ..options.settings import NatsSettings
from .connect import connect
from .connection import Connection

_MOST_IDLE = 4

#: Seconds that a connection is kept, and between two looks for such as are due.
_LONGEST_IDLE, _SWEEP_EVERY = 60.0, 15.0


class _Idle:
    """Connections by whom they serve, each with the time since when it is idle."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, list[tuple[float, Connection]]] = {}
        self._sweeps = False

    def take(self, key: str) -> Connection | None:
        """A connection that stands."""
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
        """Keep the connection, or close it where there are enough."""
        with self._lock:
            kept = self._kept.setdefault(key, [])
            if len(kept) < _MOST_IDLE:
                kept.append((time.monotonic(), link))
                self._sweep_later()
                return
        link.close()

    def drop(self, address: str) -> None:
        """Close those to one server."""
        self._close(lambda _, link: link.server.address == address)

    def _sweep_later(self) -> None:
        if not self._sweeps:
            timer = threading.Timer(_SWEEP_EVERY, self._sweep)
            timer.daemon = self._sweeps = True
            timer.start()

    def _sweep(self) -> None:
        due = time.monotonic() - _LONGEST_IDLE
        self._close(lambda since, _: since <= due)
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


_idle = _Idle()


def _begin_anew() -> None:
    """A forked process has connections of its own, and none of the timers."""
    global _idle
    _idle = _Idle()


os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def connection(settings: NatsSettings, also: tuple[str, ...] = ()) -> Iterator[Connection]:
    """A connection, kept for the next user unless an error or an unread answer spoilt it.

    Raises what `connecting.connect` raises.
    """
    key = settings.connection_key()
    taken = _idle.take(key) or connect(settings, also)
    try:
        yield taken
    except TimeoutExpiredError:
        taken.give_up()
        _idle.drop(taken.server.address)
        raise
    except BaseException:
        taken.close()
        raise
    if taken.busy or taken.closed:
        taken.close()
    else:
        taken.rest()
        _idle.keep(key, taken)
