"""Bounded retries with growing pauses, for a server that is away for a moment."""

from __future__ import annotations

import logging
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

#: The server was not reached, or did not answer.
UNREACHED = (ConnectError, TimeoutExpiredError)
#: ... or is there, and its JetStream is not.
AWAY = (*UNREACHED, JetStreamUnavailableError)
#: ... or something was lost on the way.
LOST = (*AWAY, ProtocolError)

#: The errors after which whoever called will call again.
_retried: ContextVar[tuple[type[NatsSparkError], ...]] = ContextVar("_retried", default=())

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


#: Attempts that wait for an answer only as long as `Patience` says, and how long that is at least,
#: in seconds: a cluster needs up to ten to notice that a leader hangs and to elect another.
_HASTY = 8
_SOON = 1.25
_MULTIPLE = 4.0


class Patience:
    """How long to wait for an answer that comes at once as a rule.

    A request is lost when it goes to a leader that hangs, and the next leader answers the next
    request at once. So the first attempts wait for a multiple of what answers took lately, and the
    later ones for the whole timeout.
    """

    def __init__(self, settings: NatsSettings) -> None:
        """The last attempt of ``nats.retry.count`` always waits for the whole timeout."""
        self._timeout = settings.request_timeout
        self._hasty = min(_HASTY, settings.retry_count)
        self._took = 0.0

    def seconds(self, attempt: int) -> float:
        """What attempt number ``attempt`` (from 0) waits."""
        if attempt >= self._hasty:
            return self._timeout
        return min(self._timeout, max(_SOON, _MULTIPLE * self._took))

    def answered(self, took: float) -> None:
        """An answer came after ``took`` seconds."""
        self._took = max(took, 0.9 * self._took)


def pause(attempt: int, since: float | None = None) -> float:
    """Seconds to wait after failure number ``attempt`` (from 0): doubles, up to five.

    Args:
        since: when the attempt began, of `time.monotonic`; what it took counts.
    """
    wanted = float(min(_FIRST_PAUSE * 2 ** min(attempt, 10), _LONGEST_PAUSE))
    return wanted if since is None else max(0.0, wanted - (time.monotonic() - since))


def resuming(
    read: Callable[[], Iterator[_T]], reached: Callable[[], int], settings: NatsSettings, what: str
) -> Iterator[_T]:
    """Yield from ``read()``, and after a loss of the connection from ``read()`` again.

    Args:
        read: goes on behind what it has yielded.
        reached: grows as it does; progress makes up for the failures before it.
        what: is read, for the log.

    Raises the last of ``nats.retry.count`` + 1 failures in a row; refused credentials at once.
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
            _log.info("%s: %s; again", what, error)
            time.sleep(pause(failures, begun))


def retrying(
    action: Callable[[], _T],
    settings: NatsSettings,
    transient: tuple[type[NatsSparkError], ...],
) -> _T:
    """Call ``action`` until it succeeds; after ``nats.retry.count`` retries its error is raised.

    Refused credentials are never retried: they do not mend, and lock accounts. Within an action
    that is retried already, after the same errors at least, nothing is: retries would multiply.
    """
    retried = _retried.get()
    if all(issubclass(each, retried) for each in transient):
        return action()
    attempt = 0
    while True:
        token = _retried.set((*retried, *transient))
        begun = time.monotonic()
        try:
            return action()
        except AuthError:
            raise
        except transient as error:
            if attempt >= settings.retry_count:
                raise
            _log.info("attempt %d of %d: %s", attempt + 1, settings.retry_count + 1, error)
            time.sleep(pause(attempt, begun))
            attempt += 1
        finally:
            _retried.reset(token)
