"""Servers that did not answer in time: for a while they are tried last.

A server that hangs, or whose connections a proxy no longer carries, still takes connections. Who
meets it again at each attempt loses a timeout each time, though others would answer at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from enum import IntEnum

#: Seconds after which a server that did not answer is as good as any other.
_FORGIVEN_AFTER = 30.0


class Degree(IntEnum):
    """How silent a server is."""

    ANSWERS = 0
    #: A request got no answer, which may be the fault of another server behind it.
    LATE = 1
    #: Not even a ping got one.
    HANGS = 2


_silent: dict[str, tuple[Degree, float]] = {}


def note(address: str, degree: Degree = Degree.LATE) -> None:
    """The server at ``host:port`` did not answer in time."""
    _silent[address] = max(degree, _of(address)[0]), time.monotonic()


def noted_since(address: str, when: float) -> bool:
    """Whether the server was silent to anyone since a time of `time.monotonic`."""
    degree, at = _of(address)
    return degree > Degree.ANSWERS and at > when


def by_silence(addresses: Iterable[str]) -> list[str]:
    """The addresses in their order, those behind that did not answer lately."""
    return sorted(addresses, key=_of)


def _of(address: str) -> tuple[Degree, float]:
    degree, at = _silent.get(address, (Degree.ANSWERS, 0.0))
    return (degree, at) if at > time.monotonic() - _FORGIVEN_AFTER else (Degree.ANSWERS, 0.0)
