"""Waits for the next message of a stream, so that an idle query need not wait for its next poll.

Each stream gets an ephemeral consumer, which delivers headers only, and at most one pull request at
a time, which the server answers when a message is stored (ADR-37). Waiting only saves time: if
anything fails, the caller polls as it would without it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from ..errors import NatsSparkError
from ..options.settings import NatsSettings
from ..protocol.ack_subject import parse_ack_subject
from .api import api_prefix, encode, ephemeral_consumer
from .control import Control

_log = logging.getLogger(__name__)

#: Maximum number of streams to wait for; more are polled.
MAX_STREAMS = 8

#: Seconds until the next attempt to wait after the first failure; they double with each failure.
_FIRST_PAUSE = 60.0

#: A consumer that is further behind is replaced; one that is less catches up.
_MAX_BEHIND = 500

#: The server removes a consumer after this time without a pull, in seconds; a little earlier it is
#: replaced.
_INACTIVE_SECONDS = 10.0
_REPLACED_SECONDS = 8.0

#: Seconds that creating or removing a consumer may take.
_SHORT = 1.0

#: Seconds that the reply to a pull may take after its expiry.
_GRACE = 0.1


class _Consumer:
    """An ephemeral consumer of one stream.

    Attributes:
        delivered: the last sequence that it has delivered or skipped.
        used: when it was last pulled from, of `time.monotonic`.
    """

    def __init__(
        self, client: Client, settings: NatsSettings, stream: str, name: str, delivered: int
    ) -> None:
        self.client = client
        self.name = name
        self.delivered = delivered
        self.used = time.monotonic()
        self._subject = f"{api_prefix(settings)}.CONSUMER.MSG.NEXT.{stream}.{name}"
        self._inbox = f"{settings.inbox_prefix}.{secrets.token_hex(11)}"
        self._pulls = 0
        self._replies: Subscription | None = None

    async def close(self) -> None:
        if self._replies is not None:
            await self._replies.unsubscribe()

    async def wait(self, after: int, seconds: float) -> bool:
        """Return whether a message after the sequence is stored, within ``seconds``."""
        while self.delivered < after:
            before = self.delivered
            await self._pull({"batch": after - before, "no_wait": True}, after - before, _GRACE * 5)
            if self.delivered == before:  # the others are deleted
                self.delivered = after
        if self.delivered == after:
            expires = max(round(seconds * 1e9), 1_000_000)
            await self._pull({"batch": 1, "expires": expires}, 1, seconds + _GRACE)
        return self.delivered > after

    async def _pull(self, request: dict[str, int | bool], count: int, seconds: float) -> None:
        """Pull messages, and note the last sequence; return when the pull is over."""
        try:
            await self._receive(request, count, seconds)
        finally:
            self.used = time.monotonic()

    async def _receive(self, request: dict[str, int | bool], count: int, seconds: float) -> None:
        if self._replies is None:
            self._replies = await self.client.subscribe(f"{self._inbox}.*")
        self._pulls += 1
        inbox = f"{self._inbox}.{self._pulls}"
        await self.client.publish(self._subject, encode(request), reply=inbox)
        deadline = time.monotonic() + seconds
        received = 0
        while received < count:
            try:
                reply = await self._replies.next_msg(max(deadline - time.monotonic(), 0.001))
            except (TimeoutError, nats.errors.TimeoutError):
                return
            ack = parse_ack_subject(reply.reply.encode())
            if ack is not None:
                self.delivered = max(self.delivered, ack.seq)
                received += 1
            elif reply.subject == inbox:
                status = (reply.headers or {}).get("Status")
                if status not in ("404", "408"):
                    raise nats.errors.Error(f"consumer {self.name}: status {status}")
                return


class Arrivals:
    """Waits for messages of streams over the control connection."""

    def __init__(self, control: Control, settings: NatsSettings) -> None:
        self._control = control
        self._settings = settings
        self._consumers: dict[str, _Consumer] = {}
        self._woken: dict[str, int] = {}
        self._failures = 0
        self._paused_until = 0.0

    def close(self) -> None:
        """Remove the consumers."""
        for stream in list(self._consumers):
            self._remove(stream)

    def wait(self, after: Mapping[str, int], seconds: float) -> bool:
        """Wait until a stream has a message after a sequence; return whether one has.

        Waits for all of ``seconds`` otherwise, even if waiting for messages fails.
        """
        deadline = time.monotonic() + seconds
        found = False
        if after == self._woken:  # nothing was there, so the stream is not what it was
            self.close()
        elif 0 < len(after) <= MAX_STREAMS and time.monotonic() >= self._paused_until:
            try:
                found = self._wait(after, seconds)
                self._failures = 0
            except (NatsSparkError, nats.errors.Error, OSError) as error:
                self._pause(error)
        self._woken = dict(after) if found else {}
        if not found:
            time.sleep(max(0.0, deadline - time.monotonic()))
        return found

    def _pause(self, error: Exception) -> None:
        seconds = _FIRST_PAUSE * 2 ** min(self._failures, 10)
        _log.debug("cannot wait for messages: %s; polling for the next %.0f s", error, seconds)
        self._failures += 1
        self._paused_until = time.monotonic() + seconds
        self.close()

    def _wait(self, after: Mapping[str, int], seconds: float) -> bool:
        started = time.monotonic()
        consumers = {stream: self._consumer(stream, seq) for stream, seq in after.items()}
        left = seconds - (time.monotonic() - started)
        if left <= 0:
            return False

        async def first(client: Client) -> bool:
            waits = [
                asyncio.ensure_future(each.wait(after[stream], left))
                for stream, each in consumers.items()
            ]
            try:
                for done in asyncio.as_completed(waits):
                    if await done:
                        return True
                return False
            finally:
                for wait in waits:
                    wait.cancel()

        return self._control.run(first, left + 5)

    def _consumer(self, stream: str, after: int) -> _Consumer:
        """Return the stream's consumer, a new one if there is none or it is far behind."""
        found = self._consumers.get(stream)
        if found is not None:
            fresh = time.monotonic() - found.used < _REPLACED_SECONDS
            if (
                fresh
                and found.client is self._control.client
                and after - found.delivered <= _MAX_BEHIND
            ):
                return found
            self._remove(stream)
        name = f"spark_wait_{secrets.token_hex(8)}"
        config = ephemeral_consumer(
            _INACTIVE_SECONDS,
            name=name,
            deliver_policy="by_start_sequence",
            opt_start_seq=after + 1,
            headers_only=True,
        )
        request = {"stream_name": stream, "config": config}
        self._control.api_once(f"CONSUMER.CREATE.{stream}.{name}", request, _SHORT)
        made = _Consumer(self._control.client, self._settings, stream, name, after)
        self._consumers[stream] = made
        return made

    def _remove(self, stream: str) -> None:
        consumer = self._consumers.pop(stream)
        try:
            self._control.run(lambda _: consumer.close(), _SHORT)
            self._control.api_once(f"CONSUMER.DELETE.{stream}.{consumer.name}", None, _SHORT)
        except NatsSparkError as error:
            _log.debug("deleting consumer %s failed: %s; it will expire", consumer.name, error)
