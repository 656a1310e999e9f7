"""Bounded retries with increasing pauses, for temporary failures."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from ..errors import (
    AuthError,
    ConnectError,
    JetStreamUnavailableError,
    NatsSparkError,
    ProtocolError,
    TimeoutExpiredError,
)
from ..options.settings import NatsSettings

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: The server was not reached, or did not reply.
UNREACHED = (ConnectError, TimeoutExpiredError)
#: ... or its JetStream is not available.
AWAY = (*UNREACHED, JetStreamUnavailableError)
#: ... or data was lost in transit.
LOST = (*AWAY, ProtocolError)

#: The errors after which a caller of the current code retries.
_retried: ContextVar[tuple[type[NatsSparkError], ...]] = ContextVar("_retried", default=())

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

_count = 0


#: Attempts with a short timeout, and its minimum in seconds. Together they last the ten seconds
#: that a cluster may need to detect a leader that hangs and to elect another.
_SHORT_ATTEMPTS = 8
_MIN_TIMEOUT = 1.25
_MULTIPLE = 4.0


class AdaptiveTimeout:
    """The timeout of requests that normally get their replies at once.

    A request to a leader that hangs is lost, and the next leader replies to the next request at
    once. Therefore the first attempts wait for a multiple of recent reply times, and the later ones
    for the full timeout.
    """

    def __init__(self, settings: NatsSettings) -> None:
        """The last attempt of ``nats.retry.count`` always waits for the full timeout."""
        self._timeout = settings.request_timeout
        self._short_attempts = min(_SHORT_ATTEMPTS, settings.retry_count)
        self._unanswered = 0  # attempts in a row
        self._took = 0.0

    def seconds(self) -> float:
        """Return the timeout of the next attempt in seconds."""
        if self._unanswered >= self._short_attempts:
            return self._timeout
        return min(self._timeout, max(_MIN_TIMEOUT, _MULTIPLE * self._took))

    def answered(self, took: float) -> None:
        """Record that a reply came after ``took`` seconds."""
        self._unanswered = 0
        self._took = max(took, 0.9 * self._took)

    def unanswered(self) -> None:
        """Record that an attempt got no reply."""
        self._unanswered += 1


def retries() -> int:
    """Return how often this process has retried."""
    return _count


def pause(attempt: int, since: float | None = None) -> float:
    """Return the seconds to wait after failure number ``attempt`` (from 0): doubling, up to five.

    Each call counts as a retry, see `retries`.

    Args:
        since: start of the attempt, of `time.monotonic`; its duration counts as part of the pause.
    """
    global _count
    _count += 1
    wanted = float(min(_FIRST_PAUSE * 2 ** min(attempt, 10), _LONGEST_PAUSE))
    return wanted if since is None else max(0.0, wanted - (time.monotonic() - since))


def resuming(
    read: Callable[[], Iterator[_T]], reached: Callable[[], int], settings: NatsSettings, what: str
) -> Iterator[_T]:
    """Yield from ``read()``, and call it again after a lost connection.

    Args:
        read: resumes after the last item that it has yielded.
        reached: returns a position that increases with each item; progress resets the failures.
        what: describes the read in logs, such as ``reading stream S``.

    Raises the last of ``nats.retry.count`` + 1 consecutive failures; ``AuthError`` at once.
    """
    failures = 0
    while True:
        before = reached()
        begun = time.monotonic()
        try:
            yield from read()
            return
        except AuthError:
            raise
        except LOST as error:
            failures = 0 if reached() > before else failures + 1
            if failures > settings.retry_count:
                raise
            seconds = pause(failures, begun)
            _log.info("%s failed: %s; retrying in %.1f s", what, error, seconds)
            time.sleep(seconds)


def retrying(
    action: Callable[[], _T],
    settings: NatsSettings,
    transient: tuple[type[NatsSparkError], ...],
    *,
    final: type[NatsSparkError] = AuthError,
    within: float = math.inf,
) -> _T:
    """Call ``action`` until it succeeds; raise its error after ``nats.retry.count`` retries.

    Rejected credentials are never retried: repeated attempts fail as well and may lock the account.
    Nothing is retried if a caller already retries after the same errors: retries would multiply.

    Args:
        transient: the errors after which it is retried, and subclasses of them.
        final: an exception from these.
        within: seconds after the call in which a retry may begin.
    """
    retried = _retried.get()
    if all(issubclass(each, retried) for each in transient):
        return action()
    attempt, until = 0, time.monotonic() + within
    while True:
        token = _retried.set((*retried, *transient))
        begun = time.monotonic()
        try:
            return action()
        except (AuthError, final):
            raise
        except transient as error:
            if attempt >= settings.retry_count or time.monotonic() >= until:
                raise
            seconds = pause(attempt, begun)
            tried, total = attempt + 1, settings.retry_count + 1
            _log.info(
                "attempt %d of %d failed: %s; retrying in %.1f s", tried, total, error, seconds
            )
            time.sleep(seconds)
            attempt += 1
        finally:
            _retried.reset(token)
