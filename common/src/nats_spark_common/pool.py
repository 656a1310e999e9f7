"""Idle data-plane connections of a worker process, kept for its next task.

Spark reuses Python workers; a task that finds a connection to the same servers as the same user
saves the handshake. Connections are never shared by two readers at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .connecting import connect
from .settings import NatsSettings
from .wire import Connection

_MOST_IDLE = 4

_idle: dict[tuple[int, str], list[Connection]] = {}


@contextmanager
def connection(settings: NatsSettings, also: tuple[str, ...] = ()) -> Iterator[Connection]:
    """A connection, kept for the next user unless an error or an unread answer spoilt it.

    Raises what `connecting.connect` raises.
    """
    idle = _idle.setdefault((os.getpid(), settings.connection_key()), [])
    taken = None
    while idle and taken is None:
        candidate = idle.pop()
        if candidate.usable():
            taken = candidate
        else:
            candidate.close()
    if taken is None:
        taken = connect(settings, also)
    try:
        yield taken
    except BaseException:
        taken.close()
        raise
    if taken.busy or taken.closed or len(idle) >= _MOST_IDLE:
        taken.close()
    else:
        idle.append(taken)
