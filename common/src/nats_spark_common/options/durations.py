"""Durations as text: ``500ms``, ``2s``, ``1m``, ``1h``, ``1d``. Pure."""

from __future__ import annotations

import re
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: Any) -> float:
    """Return the seconds in ``500ms``, ``2s``, ``1m``, ``1h``, ``1d`` or plain seconds."""
    match = _DURATION.fullmatch(str(value).strip().lower())
    if match is None:
        raise ValueError("a duration such as 500ms, 2s, 1m, 1h, or plain seconds")
    return float(match.group(1)) * _SECONDS[match.group(2) or "s"]
