"""Fails requests to subjects to which the user may not publish.

The server reports a permissions violation on the connection, instead of a reply. Source: NATS docs,
"Client Protocol" (-ERR).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import MissingPermissionError

_T = TypeVar("_T")

_REFUSED = re.compile(r'permissions violation for publish to "(.*?)"')


@dataclass
class _Waiting:
    """Requests to subjects that differ at most in case, and the violations that may be theirs.

    Attributes:
        refused: the requests that are canceled because of a violation.
        violations: number of those that have arrived; each belongs to one request.
    """

    requests: set[asyncio.Task[object]] = field(default_factory=set)
    refused: set[asyncio.Task[object]] = field(default_factory=set)
    violations: int = 0

    def settle(self) -> None:
        """Cancel all requests if there is a violation for each."""
        if self.violations >= len(self.requests):
            for request in self.requests - self.refused:
                request.cancel()
            self.refused |= self.requests

    def leave(self, request: asyncio.Task[object]) -> None:
        """Remove a request that has its reply, or is canceled."""
        self.requests.discard(request)
        if request in self.refused:
            self.refused.discard(request)
            self.violations -= 1
        self.settle()


class Violations:
    """The requests that wait for a reply; belongs to one event loop.

    Only a violation that arrives while a request waits is the request's: permissions can change.

    nats-py reports violations in lower case, but subjects are case-sensitive. If requests to
    subjects that differ only in case wait together, the server replies to those that it allows, and
    reports a violation for each of the others.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    async def watch(self, subject: str, reply: Awaitable[_T]) -> _T:
        """Await the reply to a request to ``subject``; belongs into a task of its own.

        Raises ``MissingPermissionError`` as soon as the server reports that the user lacks it.
        """
        task = asyncio.current_task()
        assert task is not None
        key = subject.lower()
        waiting = self._waiting.setdefault(key, _Waiting())
        waiting.requests.add(task)
        try:
            return await reply
        except asyncio.CancelledError:
            if task not in waiting.refused:
                raise
            task.uncancel()
            raise MissingPermissionError(
                f'the server reports: permissions violation for publish to "{subject}"; grant the '
                "user this permission"
            ) from None
        finally:
            waiting.leave(task)
            if not waiting.requests:
                del self._waiting[key]

    def report(self, text: str) -> bool:
        """Record the text of an error; return whether it is the violation of a waiting request."""
        found = _REFUSED.search(text.lower())
        waiting = self._waiting.get(found.group(1)) if found else None
        if waiting is None:
            return False
        waiting.violations += 1
        waiting.settle()
        return True
