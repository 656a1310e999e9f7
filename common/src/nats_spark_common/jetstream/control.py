"""The control plane: JetStream's API over nats-py, behind a synchronous facade.

Spark calls a reader from one thread and knows no event loop; nats-py is asynchronous. One
background thread runs the loop, and every method here waits for its answer.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
import math
import threading
import time
from collections.abc import Awaitable, Coroutine, Iterable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from ..connection import silence
from ..connection.auth import nats_py_options
from ..connection.connect import connect
from ..connection.connection import PONG_WITHIN, QUIET, Connection, Server
from ..connection.outage import Outage
from ..connection.retry import AWAY, UNREACHED, Patience, retrying
from ..errors import (
    AuthError,
    ConnectError,
    JetStreamUnavailableError,
    NatsSparkError,
    ServerError,
    StreamNotFoundError,
    TimeoutExpiredError,
)
from ..options.settings import NatsSettings
from ..protocol.timestamps import LARGEST_NS, ns_to_rfc3339
from .api import StreamInfo, api_prefix, encode, parse_json

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Past so many streams, one paged list is kinder to the server than a request for each, as long as
#: it does not hold so many times as many others.
_LIST_FROM, _LIST_TO = 16, 4

#: Seconds in which a connection that is given up may end.
_LAST_WORDS = 5.0


class Control(AbstractContextManager["Control"]):
    """A lasting connection for stream and consumer management; close it, or use it in ``with``.

    Not picklable; belongs to the process that made it. Requests are retried while the server is
    away, ``nats.retry.count`` times with growing pauses.

    Attributes:
        server_version: of the server that was reached first.
    """

    def __init__(self, settings: NatsSettings) -> None:
        """Connect.

        Raises ``ConnectError``, or ``AuthError``, that names each server tried and why it failed.
        """
        self._settings = settings
        self._prefix = api_prefix(settings)
        self._server: Server | None = None  # that was reached
        self._also: tuple[str, ...] = ()
        info = self._reach().info
        self.server_version = info.version
        if not (info.jetstream or settings.domain or settings.js_api_prefix):
            raise JetStreamUnavailableError(
                "the NATS server runs without JetStream: turn JetStream on (option -js, or a "
                "jetstream block in its configuration)"
            )
        self._answered = False
        self._patience = Patience(settings)
        self._streams = 0  # of the account, when they were last listed
        self._refused: list[str] = []
        self._outage = Outage(settings.connection_name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="nats-control", daemon=True
        )
        self._thread.start()
        try:
            self._client: Client = self._run(self._connect(), settings.connect_timeout + 5)
        except BaseException:
            self._end_loop()
            raise

    def close(self) -> None:
        """Close the connection and end its thread; harmless when closed already."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._client.close(), _LAST_WORDS)
        except NatsSparkError as error:
            _log.debug("closing the control connection: %s", error)
        self._end_loop()

    def __exit__(self, *_: object) -> None:
        self.close()

    def api(self, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request to the JetStream API, ``STREAM.INFO.ORDERS`` for example.

        Raises:
            JetStreamUnavailableError: no JetStream for this account.
            StreamNotFoundError: the call names a stream that does not exist.
            ServerError: any other refusal, in the server's words.
            TimeoutExpiredError: no answer, however often it was asked.
        """
        return self.api_many([(call, request)])[0]

    def api_many(self, calls: Iterable[tuple[str, dict[str, Any] | None]]) -> list[dict[str, Any]]:
        """Several requests at once; the answers in their order. Raises as `api` does."""
        asked_for = list(calls)
        requests = [
            (f"{self._prefix}.{call}", b"" if body is None else encode(body))
            for call, body in asked_for
        ]
        # What changes nothing may be asked twice.
        asks = all(call.partition(".")[2].startswith("INFO.") for call, _ in asked_for)
        attempts = count()

        async def ask_all(timeout: float) -> list[bytes | BaseException]:
            asked = (self._client.request(s, p, timeout=timeout) for s, p in requests)
            answers = await asyncio.gather(*asked, return_exceptions=True)
            return [a if isinstance(a, BaseException) else a.data for a in answers]

        def attempt() -> list[dict[str, Any]]:
            number = next(attempts)
            timeout = self._patience.seconds(number) if asks else self._settings.request_timeout
            begun = time.monotonic()
            try:
                answers = self._run(self._watched(ask_all(timeout)), timeout + 5)
                parsed = [
                    self._answer(subject, answer)
                    for (subject, _), answer in zip(requests, answers, strict=True)
                ]
            except TimeoutExpiredError:
                self._move()
                raise
            self._answered = True
            if asks:
                self._patience.answered(time.monotonic() - begun)
            return parsed

        # A server that never answered is set up wrong; one that did is away for a moment.
        transient = AWAY if self._answered else UNREACHED
        return retrying(attempt, self._settings, transient)

    def stream_info(self, name: str) -> StreamInfo:
        """The stream's configuration and state. Raises ``StreamNotFoundError``."""
        return StreamInfo.from_json(self.api(f"STREAM.INFO.{name}"))

    def stream_infos(self, names: Iterable[str]) -> dict[str, StreamInfo]:
        """Those of the streams that exist, by name."""
        infos = self.stream_infos_json(names)
        return {name: StreamInfo.from_json(info) for name, info in infos.items()}

    def stream_infos_json(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """As `stream_infos`, as the server tells it."""
        wanted = list(names)
        if len(wanted) >= _LIST_FROM and self._streams <= _LIST_TO * len(wanted):
            listed = self.pages("STREAM.LIST", "streams")
            self._streams = len(listed)
        else:
            try:
                listed = self.api_many((f"STREAM.INFO.{name}", None) for name in wanted)
            except StreamNotFoundError:
                listed = []
        found = {info["config"]["name"]: info for info in listed}
        for name in wanted:
            # A cluster's list lacks the streams of servers that did not answer it in time, so only
            # asking for the stream itself tells whether it exists.
            if name not in found:
                try:
                    found[name] = self.api(f"STREAM.INFO.{name}")
                except StreamNotFoundError:
                    continue
        return {name: found[name] for name in wanted if name in found}

    def stream_names(self, pattern: str = "*") -> list[str]:
        """The names of the streams that match a shell-style pattern, sorted."""
        names: list[str] = self.pages("STREAM.NAMES", "streams")
        self._streams = len(names)
        return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))

    def pages(self, call: str, key: str, **request: Any) -> list[Any]:
        """All items under ``key`` of an answer that comes in pages. Raises as `api` does."""
        items: list[Any] = []
        while True:
            page = self.api(call, {**request, "offset": len(items)})
            found = page.get(key) or []
            items += found
            if not found or len(items) >= int(page["total"]):
                return items

    def sequence_at(self, info: StreamInfo, time_ns: int) -> int:
        """The sequence of the first message stored at or after a time; ``last_seq + 1`` if none.

        The server finds it: an ephemeral consumer that starts at the time stands just before it.
        Times that the server cannot count lie before or behind every message.
        """
        within = max(-LARGEST_NS, min(time_ns, LARGEST_NS))
        config = {
            "deliver_policy": "by_start_time",
            "opt_start_time": ns_to_rfc3339(within),
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 10_000_000_000,
        }
        created = self.api(
            f"CONSUMER.CREATE.{info.name}", {"stream_name": info.name, "config": config}
        )
        try:
            self.api(f"CONSUMER.DELETE.{info.name}.{created['name']}")
        except ServerError as error:
            _log.debug("consumer %s ends by itself: %s", created["name"], error)
        return int(created["delivered"]["stream_seq"]) + 1

    def _answer(self, subject: str, answer: bytes | BaseException) -> dict[str, Any]:
        if isinstance(answer, bytes):
            return parse_json(answer, subject)
        if isinstance(answer, nats.errors.NoRespondersError):
            raise JetStreamUnavailableError(
                f"no JetStream answers at {subject}: turn JetStream on at the server and for this "
                "account, or set nats.domain or nats.js.api-prefix if it lives in another domain"
            ) from answer
        named = f'"{subject.lower()}"'
        refused = next((each for each in self._refused if named in each), None)
        if refused:  # the server answers such a request with an error of the connection
            raise AuthError(f"the server refuses: {refused}; grant the user this subject")
        if isinstance(answer, (TimeoutError, nats.errors.TimeoutError)):
            raise TimeoutExpiredError(
                f"no answer at {subject} in time (nats.request.timeout="
                f"{self._settings.request_timeout:g}s)"
            ) from answer
        raise ConnectError(f"asking {subject}: {type(answer).__name__}: {answer}") from answer

    async def _watched(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await the work, as long as the server answers pings. Raises ``TimeoutError``."""
        task = asyncio.ensure_future(work)
        while not (await asyncio.wait([task], timeout=QUIET))[0]:
            pong = asyncio.ensure_future(self._answers_ping(self._client))
            await asyncio.wait([task, pong], return_when=asyncio.FIRST_COMPLETED)
            if not task.done() and not pong.result():
                task.cancel()
                raise TimeoutError
        return task.result()

    async def _answers_ping(self, client: Client) -> bool:
        server = self._server
        try:
            await client.flush(timeout=math.ceil(PONG_WITHIN))
        except (nats.errors.Error, TimeoutError):
            if server is not None:
                silence.note(server.address, silence.Degree.HANGS)
            return False
        return True

    def _reach(self) -> Connection:
        """A server that answers; nats-py logs failures instead of telling them."""
        with connect(self._settings, self._also) as probe:
            self._server, self._also = probe.server, probe.info.connect_urls
            return probe

    def _move(self) -> None:
        """Leave a server that does not answer for another one, if there is any."""
        self._outage.failed("a request got no answer in time")
        if self._server is not None:
            silence.note(self._server.address)
        server = self._reach().server
        old, settings = self._client, self._settings
        self._client = self._run(self._connect(), settings.connect_timeout + 5)
        # What hangs need not end in time, or at all.
        asyncio.run_coroutine_threadsafe(_end(old), self._loop)
        self._outage.over(server.url)

    async def _connect(self) -> Client:
        async def note(error: Exception) -> None:
            if "permissions violation" in str(error).lower():
                self._refused.append(str(error).lower())
                _log.warning("%s: the NATS server says: %s", settings.connection_name, error)
            else:
                self._outage.failed(error)

        async def reconnected() -> None:
            url = client.connected_url
            self._outage.over(url.netloc if url else "a server")

        settings, server = self._settings, self._server
        assert server is not None
        options = nats_py_options(settings)
        configured = {urlsplit(url).netloc: url for url in settings.url}
        if server.address not in configured and "tls" in options:
            options.setdefault("tls_hostname", server.name)
        others = silence.by_silence(configured.keys() - {server.address})
        client = Client()
        await client.connect(
            servers=[server.url, *(configured[each] for each in others)],
            dont_randomize=True,
            name=settings.connection_name,
            error_cb=note,
            reconnected_cb=reconnected,
            connect_timeout=max(1, round(settings.connect_timeout)),
            reconnect_time_wait=settings.reconnect_wait,  # type: ignore[arg-type]
            allow_reconnect=settings.allow_reconnect,
            max_reconnect_attempts=-1,
            ping_interval=max(1, round(settings.ping_interval)),
            inbox_prefix=settings.inbox_prefix,
            **options,
        )
        return client

    def _run(self, work: Awaitable[_T], timeout: float) -> _T:
        async def wait() -> _T:
            return await work

        future = asyncio.run_coroutine_threadsafe(wait(), self._loop)
        try:
            return future.result(timeout)
        except (FutureTimeout, TimeoutError, nats.errors.TimeoutError) as error:
            future.cancel()
            raise TimeoutExpiredError("the NATS server did not answer in time") from error
        except (nats.errors.Error, OSError) as error:
            raise ConnectError(f"NATS connection: {type(error).__name__}: {error}") from error

    def _end_loop(self) -> None:
        try:
            self._run(_cancel_others(), _LAST_WORDS)
        except NatsSparkError as error:
            _log.debug("ending the control connection's thread: %s", error)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LAST_WORDS)
        self._loop.close()


async def _cancel_others() -> None:
    """End what still runs in the loop, pings of a connection that was given up for example."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


async def _end(client: Client) -> None:
    try:
        await asyncio.wait_for(client.close(), _LAST_WORDS)
    except Exception as error:
        _log.debug("closing the connection to a silent server: %s", error)
