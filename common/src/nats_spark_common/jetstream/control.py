"""The control plane: JetStream's API over nats-py, behind a synchronous facade.

Spark calls a reader from one thread without an event loop; nats-py is asynchronous. One background
thread runs the loop, and every method here waits for its reply.
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
from ..connection.retry import AWAY, UNREACHED, AdaptiveTimeout, retrying
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

#: Minimum number of wanted streams for one paged list instead of a request each, and the maximum
#: ratio of listed to wanted streams for which the list is the cheaper way.
_LIST_FROM, _LIST_TO = 16, 4

#: Seconds to wait for an abandoned connection to close.
_CLOSE_SECONDS = 5.0


class Control(AbstractContextManager["Control"]):
    """A persistent connection for stream and consumer management; a context manager.

    Not picklable; belongs to the process that created it. If the server is unavailable, requests
    are retried ``nats.retry.count`` times with increasing pauses.

    Attributes:
        server_version: version of the first server that was reached.
    """

    def __init__(self, settings: NatsSettings) -> None:
        """Connect.

        Raises ``ConnectError`` or ``AuthError``, with the reason for each server.
        """
        self._settings = settings
        self._prefix = api_prefix(settings)
        self._server: Server | None = None  # the last one that was reached
        self._also: tuple[str, ...] = ()
        info = self._reach().info
        self.server_version = info.version
        if not (info.jetstream or settings.domain or settings.js_api_prefix):
            raise JetStreamUnavailableError(
                "the NATS server runs without JetStream: enable JetStream (option -js, or a "
                "jetstream block in its configuration)"
            )
        self._replied = False  # whether any request got a reply
        self._timeout = AdaptiveTimeout(settings)
        self._streams = 0  # number of streams of the account, when last listed
        self._violations: list[str] = []  # errors about missing permissions
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
        """Close the connection and stop its thread; does nothing if it is closed already."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._client.close(), _CLOSE_SECONDS)
        except NatsSparkError as error:
            _log.debug("closing the control connection failed: %s", error)
        self._end_loop()

    def __exit__(self, *_: object) -> None:
        self.close()

    def api(self, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request to the JetStream API, such as ``STREAM.INFO.ORDERS``; return its reply.

        Raises:
            JetStreamUnavailableError: JetStream is not available to this account.
            StreamNotFoundError: the request names a stream that does not exist.
            ServerError: any other error, with the server's description.
            TimeoutExpiredError: no reply, even after all retries.
        """
        return self.api_many([(call, request)])[0]

    def api_many(self, calls: Iterable[tuple[str, dict[str, Any] | None]]) -> list[dict[str, Any]]:
        """Send requests concurrently; return the replies in their order. Raises as `api`."""
        wanted = list(calls)
        requests = [
            (f"{self._prefix}.{call}", b"" if body is None else encode(body))
            for call, body in wanted
        ]
        # Requests that change nothing may be sent twice, so they can have a short timeout.
        read_only = all(call.partition(".")[2].startswith("INFO.") for call, _ in wanted)
        attempts = count()

        async def send_all(timeout: float) -> list[bytes | BaseException]:
            sent = (self._client.request(s, p, timeout=timeout) for s, p in requests)
            replies = await asyncio.gather(*sent, return_exceptions=True)
            return [r if isinstance(r, BaseException) else r.data for r in replies]

        def attempt() -> list[dict[str, Any]]:
            number = next(attempts)
            full = self._settings.request_timeout
            timeout = self._timeout.seconds(number) if read_only else full
            begun = time.monotonic()
            try:
                replies = self._run(self._watched(send_all(timeout)), timeout + 5)
                parsed = [
                    self._parse(subject, reply)
                    for (subject, _), reply in zip(requests, replies, strict=True)
                ]
            except TimeoutExpiredError:
                self._switch_server()
                raise
            self._replied = True
            if read_only:
                self._timeout.answered(time.monotonic() - begun)
            return parsed

        # Before the first reply, missing JetStream is a configuration error; later it is temporary.
        transient = AWAY if self._replied else UNREACHED
        return retrying(attempt, self._settings, transient)

    def stream_info(self, name: str) -> StreamInfo:
        """Return the stream's configuration and state. Raises ``StreamNotFoundError``."""
        return StreamInfo.from_json(self.api(f"STREAM.INFO.{name}"))

    def stream_infos(self, names: Iterable[str]) -> dict[str, StreamInfo]:
        """Return the streams that exist, by name."""
        infos = self.stream_infos_json(names)
        return {name: StreamInfo.from_json(info) for name, info in infos.items()}

    def stream_infos_json(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the same as `stream_infos`, as JSON."""
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
            # A cluster's list lacks the streams of servers that did not reply in time. Only a
            # request for the stream itself shows whether it exists.
            if name not in found:
                try:
                    found[name] = self.api(f"STREAM.INFO.{name}")
                except StreamNotFoundError:
                    continue
        return {name: found[name] for name in wanted if name in found}

    def stream_names(self, pattern: str = "*") -> list[str]:
        """Return the sorted names of the streams that match a shell-style pattern."""
        names: list[str] = self.pages("STREAM.NAMES", "streams")
        self._streams = len(names)
        return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))

    def pages(self, call: str, key: str, **request: Any) -> list[Any]:
        """Return all items under ``key`` of a paged reply. Raises as `api`."""
        items: list[Any] = []
        while True:
            page = self.api(call, {**request, "offset": len(items)})
            found = page.get(key) or []
            items += found
            if not found or len(items) >= int(page["total"]):
                return items

    def sequence_at(self, info: StreamInfo, time_ns: int) -> int:
        """Return the sequence of the first message stored at or after a time.

        Returns ``last_seq + 1`` if there is none. The server finds it: an ephemeral consumer that
        starts at the time reports the sequence before it. Times outside the server's range are
        before or after every message.
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
            _log.debug("deleting consumer %s failed: %s; it will expire", created["name"], error)
        return int(created["delivered"]["stream_seq"]) + 1

    def _parse(self, subject: str, reply: bytes | BaseException) -> dict[str, Any]:
        if isinstance(reply, bytes):
            return parse_json(reply, subject)
        if isinstance(reply, nats.errors.NoRespondersError):
            raise JetStreamUnavailableError(
                f"no JetStream replies to {subject}: enable JetStream on the server and for this "
                "account, or set nats.domain or nats.js.api-prefix if it is in another domain"
            ) from reply
        named = f'"{subject.lower()}"'
        violation = next((each for each in self._violations if named in each), None)
        if violation:  # the server sends it on the connection, instead of a reply
            raise AuthError(f"the server reports: {violation}; grant the user this permission")
        if isinstance(reply, (TimeoutError, nats.errors.TimeoutError)):
            raise TimeoutExpiredError(
                f"no reply to {subject} in time (nats.request.timeout="
                f"{self._settings.request_timeout:g}s)"
            ) from reply
        raise ConnectError(f"request to {subject}: {type(reply).__name__}: {reply}") from reply

    async def _watched(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await ``work``. Raises ``TimeoutError`` if the server stops answering pings."""
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
        """Find a server that responds: nats-py logs connection failures instead of raising them."""
        with connect(self._settings, self._also) as probe:
            self._server, self._also = probe.server, probe.info.connect_urls
            return probe

    def _switch_server(self) -> None:
        """Connect to another server after a timeout, or to the same one if there is no other."""
        self._outage.failed("a request got no reply in time")
        if self._server is not None:
            silence.note(self._server.address)
        server = self._reach().server
        old, settings = self._client, self._settings
        self._client = self._run(self._connect(), settings.connect_timeout + 5)
        # Closing a connection that hangs may take long, or never end.
        asyncio.run_coroutine_threadsafe(_end(old), self._loop)
        self._outage.over(server.url)

    async def _connect(self) -> Client:
        async def note(error: Exception) -> None:
            if "permissions violation" in str(error).lower():
                self._violations.append(str(error).lower())
                _log.warning("%s: the NATS server reports: %s", settings.connection_name, error)
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
            raise TimeoutExpiredError("the NATS server did not reply in time") from error
        except (nats.errors.Error, OSError) as error:
            raise ConnectError(f"NATS connection: {type(error).__name__}: {error}") from error

    def _end_loop(self) -> None:
        try:
            self._run(_cancel_others(), _CLOSE_SECONDS)
        except NatsSparkError as error:
            _log.debug("stopping the control connection's thread failed: %s", error)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        self._loop.close()


async def _cancel_others() -> None:
    """Cancel the loop's other tasks, such as pings of an abandoned connection."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


async def _end(client: Client) -> None:
    try:
        await asyncio.wait_for(client.close(), _CLOSE_SECONDS)
    except Exception as error:
        _log.debug("closing the connection to an unresponsive server failed: %s", error)
