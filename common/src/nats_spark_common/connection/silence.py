"""Records servers that did not respond in time: for a while they are tried last.

A server that hangs, or is behind a broken proxy, still accepts connections. Without this record
each attempt could reach it again and lose another timeout, while others would respond at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import IntEnum

#: Seconds until the record of an unresponsive server expires.
_EXPIRES_AFTER = 30.0


class Degree(IntEnum):
    """How unresponsive a server is."""

    ANSWERS = 0
    #: A request got no reply; the cause may be another server of the cluster.
    LATE = 1
    #: A ping got no reply.
    HANGS = 2


_silent: dict[str, tuple[Degree, float]] = {}


def note(address: str, degree: Degree = Degree.LATE) -> None:
    """Record that the server at ``host:port`` did not respond in time."""
    _silent[address] = max(degree, _of(address)[0]), time.monotonic()


def noted_since(address: str, when: float) -> bool:
    """Return whether any request to the server timed out since a time of `time.monotonic`."""
    degree, at = _of(address)
    return degree > Degree.ANSWERS and at > when


def by_silence(addresses: Iterable[str]) -> list[str]:
    """Return the addresses in their order, with those that did not respond lately last."""
    return sorted(addresses, key=_of)


def _of(address: str) -> tuple[Degree, float]:
    degree, at = _silent.get(address, (Degree.ANSWERS, 0.0))
    return (degree, at) if at > time.monotonic() - _EXPIRES_AFTER else (Degree.ANSWERS, 0.0)
