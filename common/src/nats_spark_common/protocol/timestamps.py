"""Converts RFC 3339 times with nanoseconds, which ``datetime`` cannot hold, to integers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from ..errors import ProtocolError

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
LARGEST_NS = (1 << 63) - 1  # in April 2262: Go counts time in 64-bit nanoseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339_to_ns(text: str) -> int:
    """Return nanoseconds since the epoch; digits after the ninth are truncated.

    Raises ``ProtocolError`` if the text is not an RFC 3339 time with a zone.
    """
    match = _RFC3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        day, clock, fraction, zone = match.groups()
        offset = "+00:00" if zone in "Zz" else zone
        moment = datetime.fromisoformat(f"{day}T{clock}{offset}")
    except ValueError:
        raise ProtocolError(f"not an RFC 3339 time: {text[:80]!r}") from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    ns = seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    if abs(ns) > LARGEST_NS:
        raise ProtocolError(f"time {text[:80]!r} does not fit 64 bits of nanoseconds")
    return ns


def ns_to_rfc3339(ns: int) -> str:
    """Return the time in UTC with nine fractional digits, the form that JetStream's API takes."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
