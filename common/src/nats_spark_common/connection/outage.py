"""Logs an outage: its start, its duration from time to time, and its end."""

from __future__ import annotations

import logging
import time

_log = logging.getLogger(__name__)

#: Seconds between two warnings of the same outage.
_WARNING_INTERVAL = 30.0


class Outage:
    """Logs few warnings for many consecutive failed attempts."""

    def __init__(self, connection_name: str) -> None:
        self._name = connection_name
        self._since: float | None = None
        self._logged = 0.0

    def failed(self, error: object) -> None:
        """Record a failed attempt to reach the server, and log a warning if one is due."""
        now = time.monotonic()
        if self._since is None:
            self._since = self._logged = now
            _log.warning("%s: the NATS server is unavailable: %s", self._name, error)
        elif now - self._logged >= _WARNING_INTERVAL:
            self._logged = now
            lasts = now - self._since
            _log.warning(
                "%s: the NATS server has been unavailable for %.0f s: %s", self._name, lasts, error
            )

    def over(self, server: str) -> None:
        """Record that a server was reached; log it if there was an outage."""
        if self._since is not None:
            lasted = time.monotonic() - self._since
            self._since = None
            _log.warning("%s: reconnected to %s after %.1f s", self._name, server, lasted)
