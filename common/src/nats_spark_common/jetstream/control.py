"""The control plane: JetStream's API over nats-py, for the driver."""

from __future__ import annotations

import fnmatch
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from nats.aio.client import Client

from ..connection.retry import AWAY, AdaptiveTimeout, retrying
from ..errors import (
    JetStreamUnavailableError,
    MissingPermissionError,
    NatsSparkError,
    ProtocolError,
    ServerError,
    StreamNotFoundError,
    TimeoutExpiredError,
)
from ..options.settings import NatsSettings
from ..protocol.timestamps import LARGEST_NS, ns_to_rfc3339
from .api import (
    STARTING,
    StreamInfo,
    api_prefix,
    encode,
    ephemeral_consumer,
    parse_json,
    string,
    well_formed,
    whole,
)
from .blocking_client import BlockingClient

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Minimum number of wanted streams for one paged list instead of a request each, and the maximum
#: ratio of listed to wanted streams for which the list is the cheaper way.
_LIST_FROM, _LIST_TO = 16, 4

#: Patience of a query that starts, in seconds: a cluster may need this long to elect a leader.
START_PATIENCE = 10.0

#: Maximum number of items of a paged reply, far more than an account has.
_MAX_ITEMS = 1 << 20


class Control(AbstractContextManager["Control"]):
    """A persistent connection for stream and consumer management; a context manager.

    Not picklable; belongs to the process that created it. If the server is unavailable, requests
    are retried ``nats.retry.count`` times with increasing pauses.

    Attributes:
        server_version: version of the first server that was reached.
    """

    def __init__(self, settings: NatsSettings, patience: float = 0.0) -> None:
        """Connect.

        Args:
            patience: seconds in which another attempt may begin if no server is reached.

        Raises ``ConnectError`` or ``AuthError``, with the reason for each server.
        """
        self._settings = settings
        self._prefix = api_prefix(settings)
        self._client = BlockingClient(settings, patience)
        info = self._client.info
        self.server_version = info.version
        if not (info.jetstream or settings.domain or settings.js_api_prefix):
            raise JetStreamUnavailableError(
                "the NATS server runs without JetStream: enable JetStream (option -js, or a "
                "jetstream block in its configuration)"
            )
        self._client.start()
        self._replied = False  # whether any request got a reply
        self._timeout = AdaptiveTimeout(settings)
        self._streams = 0  # number of streams of the account, when last listed
        self._may_list = True  # until the server reports that the user lacks the permission

    def close(self) -> None:
        """Close the connection; does nothing if it is closed already."""
        self._client.close()

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

    def api_many(
        self, calls: Iterable[tuple[str, dict[str, Any] | None]], *, existing: bool = False
    ) -> list[dict[str, Any]]:
        """Send requests concurrently; return the replies in their order. Raises as `api`.

        Args:
            existing: leave out the replies about streams that do not exist.
        """
        wanted = list(calls)
        # Requests that change nothing may be sent twice, so they can have a short timeout.
        read_only = all(call.partition(".")[2].startswith("INFO.") for call, _ in wanted)

        def attempt() -> list[dict[str, Any]]:
            full = self._settings.request_timeout
            timeout = self._timeout.seconds() if read_only else full
            begun = time.monotonic()
            try:
                parsed = self._request_all(wanted, timeout, existing)
            except TimeoutExpiredError:
                self._timeout.unanswered()
                self._client.switch_server()
                raise
            self._replied = True
            if read_only:
                self._timeout.answered(time.monotonic() - begun)
            return parsed

        # Before the first reply, missing JetStream is a configuration error; later it is temporary.
        transient = AWAY if self._replied else STARTING
        return retrying(attempt, self._settings, transient)

    def api_once(self, call: str, request: dict[str, Any] | None, timeout: float) -> dict[str, Any]:
        """Send a request as `api` does, but without retries."""
        return self._request_all([(call, request)], timeout)[0]

    def _request_all(
        self,
        calls: Iterable[tuple[str, dict[str, Any] | None]],
        timeout: float,
        existing: bool = False,
    ) -> list[dict[str, Any]]:
        requests = [
            (f"{self._prefix}.{call}", b"" if body is None else encode(body))
            for call, body in calls
        ]
        replies = self._client.request_all(requests, timeout)
        parsed = []
        for (subject, _), reply in zip(requests, replies, strict=True):
            try:
                parsed.append(parse_json(self._client.require_reply(subject, reply), subject))
            except StreamNotFoundError:
                if not existing:
                    raise
        return parsed

    @property
    def client(self) -> Client:
        """The nats-py client of the connection; another one after a server did not respond."""
        return self._client.client

    def run(self, work: Callable[[Client], Coroutine[Any, Any, _T]], timeout: float) -> _T:
        """Await ``work`` of the nats-py client. Raises as `BlockingClient.run`."""
        return self._client.run(work, timeout)

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
        found = _by_name(self._listed(len(wanted)))
        # A cluster's list lacks the streams of servers that did not reply in time. Only a request
        # for the stream itself shows whether it exists.
        others = [(f"STREAM.INFO.{name}", None) for name in wanted if name not in found]
        if others:
            found |= _by_name(self.api_many(others, existing=True))
        return {name: found[name] for name in wanted if name in found}

    def _listed(self, wanted: int) -> list[dict[str, Any]]:
        """Return all streams of the account, if that is cheaper than requests for the wanted ones.

        The permission to list them is not required.
        """
        if not self._may_list or wanted < _LIST_FROM or self._streams > _LIST_TO * wanted:
            return []
        try:
            listed = self.pages("STREAM.LIST", "streams")
        except MissingPermissionError as error:
            self._may_list = False
            _log.info("%s; until then, each stream is requested by itself", error)
            return []
        self._streams = len(listed)
        return listed

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
            with well_formed(f"page of {key}", page):
                found, total = page.get(key) or [], whole(page["total"])
                if not isinstance(found, list):
                    raise TypeError(f"{key} is not a list")
            items += found
            if len(items) > _MAX_ITEMS:
                raise ProtocolError(f"{call}: more than {_MAX_ITEMS} {key}")
            if not found or len(items) >= total:
                return items

    def sequence_at(self, info: StreamInfo, time_ns: int) -> int:
        """Return the sequence of the first message stored at or after a time.

        Returns ``last_seq + 1`` if there is none. The server finds it: an ephemeral consumer that
        starts at the time reports the sequence before it. Times outside the server's range are
        before or after every message.
        """
        within = max(-LARGEST_NS, min(time_ns, LARGEST_NS))
        config = ephemeral_consumer(
            10.0, deliver_policy="by_start_time", opt_start_time=ns_to_rfc3339(within)
        )
        created = self.api(
            f"CONSUMER.CREATE.{info.name}", {"stream_name": info.name, "config": config}
        )
        with well_formed("consumer info", created):
            name, before = string(created["name"]), whole(created["delivered"]["stream_seq"])
        try:
            self.api(f"CONSUMER.DELETE.{info.name}.{name}")
        except ServerError as error:
            _log.debug("deleting consumer %s failed: %s; it will expire", name, error)
        return before + 1

    def count_matching(self, info: StreamInfo, filters: Sequence[str], timeout: float) -> int:
        """Return how many stored messages match the filters, from a server that allows several.

        Raises as `api`; nothing is retried.
        """
        name = f"spark_count_{secrets.token_hex(8)}"
        created = self.consumer_state(info, name, timeout, filter_subjects=list(filters))
        with well_formed("consumer info", created):
            return whole(created["num_pending"])

    def consumer_state(
        self, info: StreamInfo, name: str, timeout: float, **config: Any
    ) -> dict[str, Any]:
        """Return the state of an ephemeral consumer that is created and deleted again.

        It has a name, so the permission that reading through a consumer needs is enough. Raises as
        `api`; nothing is retried.
        """
        made = ephemeral_consumer(10.0, name=name, **config)
        body = {"stream_name": info.name, "config": made}
        created = self.api_once(f"CONSUMER.CREATE.{info.name}.{name}", body, timeout)
        try:
            self.api_once(f"CONSUMER.DELETE.{info.name}.{name}", None, timeout)
        except NatsSparkError as error:
            _log.debug("deleting consumer %s failed: %s; it will expire", name, error)
        return created

    def direct_get(self, stream: str, request: dict[str, object], timeout: float) -> dict[str, str]:
        """Return the headers of the first reply to a direct get; a status is the header ``Status``.

        Raises ``MissingPermissionError``, ``ConnectError`` or ``TimeoutExpiredError``; nothing is
        retried.
        """
        subject = f"{self._prefix}.DIRECT.GET.{stream}"
        return dict(self._client.request(subject, encode(request), timeout).headers or {})


def _by_name(infos: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return infos of streams by name. Raises ``ProtocolError`` if they are not such infos."""
    with well_formed("list of streams", infos):
        return {string(info["config"]["name"]): info for info in infos}
