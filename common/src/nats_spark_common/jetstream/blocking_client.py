"""A synchronous facade of nats-py.

Spark calls a reader from one thread without an event loop; nats-py is asynchronous. One background
thread runs the loop, and every method here waits for its result.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from ..connection import silence
from ..connection.auth import nats_py_options
from ..connection.connect import connect
from ..connection.connection import PONG_WITHIN, QUIET, ServerInfo
from ..connection.outage import Outage
from ..connection.retry import UNREACHED, retrying
from ..connection.servers import MisconfiguredError, Server
from ..errors import (
    ConnectError,
    JetStreamUnavailableError,
    MissingPermissionError,
    NatsSparkError,
    TimeoutExpiredError,
)
from ..options.settings import NatsSettings
from .violations import Violations

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Seconds to wait for an abandoned connection to close.
_CLOSE_SECONDS = 5.0


class BlockingClient:
    """A nats-py connection whose event loop runs in a background thread.

    Not picklable; belongs to the process that created it.

    Attributes:
        info: INFO of the first server that was reached.
    """

    def __init__(self, settings: NatsSettings, patience: float = 0.0) -> None:
        """Find a server that responds; `start` connects to it.

        Args:
            patience: seconds in which another attempt may begin if no server is reached.

        Raises ``ConnectError`` or ``AuthError``, with the reason for each server.
        """
        self._settings = settings
        self._patience = patience
        self._server: Server | None = None  # the last one that was reached
        self.info = self._retried(self._reach)
        self._violations = Violations()
        self._outage = Outage(settings.connection_name)

    def start(self) -> None:
        """Start the thread and connect. Raises ``ConnectError``."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="nats-control", daemon=True
        )
        self._thread.start()
        try:
            self._client: Client = self._retried(self._connected)
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

    def request_all(
        self, requests: Sequence[tuple[str, bytes]], timeout: float
    ) -> list[bytes | BaseException]:
        """Send requests (subject, payload) concurrently; return their replies or errors.

        Raises ``TimeoutExpiredError`` if the server stops answering pings, ``ConnectError``, or
        ``AuthError`` if the connection was closed and the server now rejects the credentials.
        """
        self._reopen()

        async def send_all() -> list[bytes | BaseException]:
            sent = (self._request(s, p, timeout) for s, p in requests)
            replies = await asyncio.gather(*sent, return_exceptions=True)
            return [r if isinstance(r, BaseException) else r.data for r in replies]

        return self._run(self._watched(send_all()), timeout + 5)

    def request(self, subject: str, payload: bytes, timeout: float) -> Msg:
        """Send one request and return its reply, with its headers.

        Raises ``MissingPermissionError``, ``TimeoutExpiredError`` or ``ConnectError``.
        """
        self._reopen()
        return self._run(self._request(subject, payload, timeout), timeout + 1)

    async def _request(self, subject: str, payload: bytes, timeout: float) -> Msg:
        reply = self._client.request(subject, payload, timeout=timeout)
        return await self._violations.watch(subject, reply)

    @property
    def client(self) -> Client:
        """The nats-py client; `switch_server` replaces it."""
        return self._client

    def run(self, work: Callable[[Client], Coroutine[Any, Any, _T]], timeout: float) -> _T:
        """Await ``work`` of the client on its loop; return its result.

        Raises ``TimeoutExpiredError``, ``ConnectError``, or ``AuthError`` as `request_all`.
        """
        self._reopen()
        return self._run(work(self._client), timeout)

    def require_reply(self, subject: str, reply: bytes | BaseException) -> bytes:
        """Return the reply to a request to ``subject``, or raise the exception for its failure.

        Raises ``JetStreamUnavailableError``, ``AuthError``, ``TimeoutExpiredError`` or
        ``ConnectError``.
        """
        if isinstance(reply, bytes):
            return reply
        if isinstance(reply, nats.errors.NoRespondersError):
            raise JetStreamUnavailableError(
                f"no JetStream replies to {subject}: enable JetStream on the server and for this "
                "account, or set nats.domain or nats.js.api-prefix if it is in another domain"
            ) from reply
        if isinstance(reply, MissingPermissionError):
            raise reply
        if isinstance(reply, (TimeoutError, nats.errors.TimeoutError)):
            raise TimeoutExpiredError(
                f"no reply to {subject} in time (nats.request.timeout="
                f"{self._settings.request_timeout:g}s)"
            ) from reply
        raise ConnectError(f"request to {subject}: {type(reply).__name__}: {reply}") from reply

    def switch_server(self) -> None:
        """Connect to another server after a timeout, or to the same one if there is no other."""
        self._outage.failed("a request got no reply in time")
        self._forget_server()
        old = self._client
        self._client = self._connected()
        # Closing a connection that hangs may take long, or never end.
        asyncio.run_coroutine_threadsafe(_end(old), self._loop)
        self._outage.over(self._server.url if self._server else "a server")

    def _retried(self, action: Callable[[], _T]) -> _T:
        """Retry for a while: a query may start while a server fails and another takes over."""
        settings, patience = self._settings, self._patience
        return retrying(action, settings, UNREACHED, final=MisconfiguredError, within=patience)

    def _connected(self) -> Client:
        """Return a new connection to the server that was reached, or to another one."""
        if self._server is None:
            self._reach()
        try:
            return self._run(self._connect(), self._settings.connect_timeout + 5)
        except UNREACHED:
            self._forget_server()
            raise

    def _forget_server(self) -> None:
        """Prefer other servers for a while."""
        if self._server is not None:
            silence.note(self._server.address)
            self._server = None

    def _reopen(self) -> None:
        """Connect again if nats-py has given the connection up.

        It reconnects after a lost connection, but not after an ``-ERR`` of the server, such as that
        of a user whose JWT has expired and who may have a new one.
        """
        if self._client.is_closed and self._settings.allow_reconnect:
            self._server = None  # any server may tell whether it accepts the credentials
            self._client = self._connected()
            self._outage.over(self._server.url if self._server else "a server")

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

    def _reach(self) -> ServerInfo:
        """Find a server that responds: nats-py logs connection failures instead of raising them."""
        with connect(self._settings) as probe:
            self._server = probe.server
            return probe.info

    async def _connect(self) -> Client:
        async def note(error: Exception) -> None:
            if self._violations.report(str(error)):
                return  # the request raises it
            if "permissions violation" in str(error).lower():
                _log.warning("%s: the NATS server reports: %s", settings.connection_name, error)
            else:
                self._outage.failed(error)

        async def reconnected() -> None:
            url = client.connected_url
            self._outage.over(url.netloc if url else "a server")

        settings, server = self._settings, self._server
        assert server is not None
        options = nats_py_options(settings)
        others = {urlsplit(url).netloc: url for url in settings.url if url != server.direct_url}
        if server.endpoint[0] != server.name:
            # It is connected to by its IP address, which its certificate need not contain. A server
            # may require TLS even if the options do not. All servers of a nats-py client have one
            # host name then.
            options.setdefault("tls_hostname", server.name)
            named = others.items()
            others = {at: url for at, url in named if urlsplit(url).hostname == server.name}
        client = Client()
        await client.connect(
            servers=[server.direct_url, *(others[each] for each in silence.by_silence(others))],
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
        except NatsSparkError:
            raise
        except Exception as error:  # nats-py raises many types for bytes that no server sends
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
