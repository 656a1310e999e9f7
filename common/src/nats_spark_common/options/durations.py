"""Durations as text: ``500ms``, ``2s``, ``1m``, ``1h``, ``1d``. Pure."""

from __future__ import annotations

import re
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
#: Maximum in seconds: longer ones do not fit the integers of system calls and servers.
_LONGEST = 100 * 365 * 86400.0

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> float:
    """Return the seconds in ``500ms``, ``2s``, ``1m``, ``1h``, ``1d`` or plain seconds."""
    match = _DURATION.fullmatch(str(value).strip().lower())
    if match is None:
        raise ValueError("a duration such as 500ms, 2s, 1m, 1h, or plain seconds")
    return float(match.group(1)) * _SECONDS[match.group(2) or "s"]


def parse_wait(value: Any) -> float:
    """Return the seconds of a duration that can be waited for. Raises ``ValueError``."""
    seconds = parse_duration(value)
    if seconds > _LONGEST:
        raise ValueError("a duration of at most 100 years, such as 500ms, 2s, 1m, 1h, 1d")
    return seconds
