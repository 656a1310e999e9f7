"""An outage of the server as it is logged: its beginning, that it lasts, and its end."""

from __future__ import annotations

import logging
import time

_log = logging.getLogger(__name__)

#: Seconds between two warnings of the same outage.
_SAY_AGAIN = 30.0


class Outage:
    """Turns one failed attempt after the other into few words."""

    def __init__(self, connection_name: str) -> None:
        self._name = connection_name
        self._since: float | None = None
        self._said = 0.0

    def failed(self, error: object) -> None:
        """An attempt to reach the server has failed."""
        now = time.monotonic()
        if self._since is None:
            self._since = self._said = now
            _log.warning("%s: the NATS server is away: %s", self._name, error)
        elif now - self._said >= _SAY_AGAIN:
            self._said = now
            lasts = now - self._since
            _log.warning("%s: the NATS server is away for %.0f s: %s", self._name, lasts, error)

    def over(self, server: str) -> None:
        """A server was reached; says so if there was an outage."""
        if self._since is not None:
            lasted = time.monotonic() - self._since
            self._since = None
            _log.warning("%s: reconnected to %s after %.1f s", self._name, server, lasted)
