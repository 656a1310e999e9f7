"""Bounded retries with growing pauses, for a server that is away for a moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from .errors import (
    AuthError,
    ConnectError,
    JetStreamUnavailableError,
    NatsSparkError,
    ProtocolError,
    TimeoutExpiredError,
)
from .settings import NatsSettings

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


def pause(attempt: int) -> float:
    """Seconds to wait after failure number ``attempt`` (from 0): doubles, up to five."""
    return float(min(_FIRST_PAUSE * 2 ** min(attempt, 10), _LONGEST_PAUSE))


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
            time.sleep(pause(failures))


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
        try:
            return action()
        except AuthError:
            raise
        except transient as error:
            if attempt >= settings.retry_count:
                raise
            _log.info("attempt %d of %d: %s", attempt + 1, settings.retry_count + 1, error)
            time.sleep(pause(attempt))
            attempt += 1
        finally:
            _retried.reset(token)
