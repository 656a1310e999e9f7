"""Stand-in consumers at a query's position, so that NATS's own tools show its lag.

V2 and partitioned keep their position in Spark, where ``nats consumer report``, Surveyor and
dashboards of consumers do not see it. With ``nats.lag.consumer``, each stream gets a durable
consumer that nobody pulls from. After each batch it is reset to the query's position (ADR-60), so
its number of pending messages is the query's lag.

The consumers are for display: if they fail, the query continues.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..errors import NatsSparkError, OptionError, ServerError
from ..jetstream.api import RESET_VERSION, StreamInfo
from ..jetstream.control import Control
from ..options.settings import NatsSettings
from .offsets import Offset

_log = logging.getLogger(__name__)

#: Marks the consumers that a query may reset.
_MARK = "nats-spark.lag"

#: Seconds between two updates, and for one request.
_INTERVAL, _REQUEST = 1.0, 2.0

#: Seconds until the next attempt after a failure; they double with each one, up to the second.
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 1_800.0

#: Streams whose existing consumers are checked when the query starts; those of others are checked
#: when they are moved.
_MAX_CHECKED = 8


class LagConsumers(AbstractContextManager["LagConsumers"]):
    """The consumers of a query; a thread of its own moves them."""

    def __init__(self, control: Control, settings: NatsSettings, name: str) -> None:
        self._control = control
        self._filters = settings.stream_subjects
        self._name = name
        self._changed = threading.Condition()
        self._wanted: Mapping[str, int] = {}
        self._shown: dict[str, int] = {}  # the sequences that the consumers are at
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}  # after a failure: when to try again
        self._closed = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Show the last position, and stop; waits for a moment at most."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        self.close()

    def flush(self) -> None:
        """Wait until the last position is shown or has failed, a moment at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._behind(), 2 * _REQUEST)

    def require(self, infos: Iterable[StreamInfo]) -> None:
        """Check that the streams may have such consumers.

        Raises ``OptionError`` if they may not: the server is too old, another client's consumer has
        the name, or the stream removes messages that consumers have acknowledged.
        """
        version = self._control.server_version
        if version < RESET_VERSION:
            raise OptionError(
                f"nats.lag.consumer={self._name} needs NATS server 2.14 or later, but this server "
                f"is {'.'.join(map(str, version))}: upgrade it, or remove the option"
            )
        streams = list(infos)
        for info in streams:
            self._check_retention(info)
        for info in streams[:_MAX_CHECKED]:
            try:
                self._check_owner(info.name)
            except OptionError:
                raise
            except NatsSparkError as error:
                _log.debug("consumers are not checked: %s", error)
                return  # each of the others may take as long

    def moved(self, position: Offset) -> None:
        """Show a position soon; returns at once."""
        wanted = {name: each.seq for name, each in position}
        with self._changed:
            if wanted == self._wanted:
                return
            self._wanted = wanted
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nats-lag", daemon=True)
            self._thread.start()

    def _behind(self) -> list[str]:
        """Return the streams whose consumers are to be moved now."""
        now = time.monotonic()
        return [
            stream
            for stream, seq in self._wanted.items()
            if self._shown.get(stream) != seq and self._due.get(stream, 0.0) <= now
        ]

    def _run(self) -> None:
        while True:
            with self._changed:
                # Streams that have failed are due some time, which nobody notifies of.
                while not self._closed and not self._behind():
                    self._changed.wait(_FIRST_PAUSE if self._due else None)
                moves = {stream: self._wanted[stream] for stream in self._behind()}
            for stream, seq in moves.items():
                if self._closed:
                    return
                self._show(stream, seq)
            with self._changed:
                self._changed.notify_all()
                if not self._closed:
                    self._changed.wait_for(lambda: self._closed, _INTERVAL)
                if self._closed:
                    return

    def _show(self, stream: str, seq: int) -> None:
        try:
            self._reset(stream, seq + 1)
        except Exception as error:  # nothing may end the thread, such as a loop that was closed
            if self._closed:
                return
            pause = min(2 * self._pauses.get(stream, _FIRST_PAUSE / 2), _LONGEST_PAUSE)
            _log.warning(
                "nats.lag.consumer=%s of stream %s does not show the position: %s; retrying in "
                "%.0f s",
                self._name,
                stream,
                error,
                pause,
            )
            with self._changed:
                self._pauses[stream], self._due[stream] = pause, time.monotonic() + pause
            return
        with self._changed:
            self._shown[stream] = seq
            self._pauses.pop(stream, None)
            self._due.pop(stream, None)

    def _reset(self, stream: str, seq: int) -> None:
        if stream not in self._shown:
            self._create(stream)
        call, body = f"CONSUMER.RESET.{stream}.{self._name}", {"seq": seq}
        try:
            self._control.api_once(call, body, _REQUEST)
        except NatsSparkError:
            # Only the consumer itself replies: it may have been deleted.
            self._create(stream)
            self._control.api_once(call, body, _REQUEST)

    def _create(self, stream: str) -> None:
        """Create the consumer, or update one of an earlier run."""
        self._check_retention(
            StreamInfo.from_json(self._control.api_once(f"STREAM.INFO.{stream}", None, _REQUEST))
        )
        self._check_owner(stream)
        config: dict[str, Any] = {
            "durable_name": self._name,
            "description": "position of a Spark query, for display: nobody pulls from it",
            "ack_policy": "none",
            "deliver_policy": "all",
            "metadata": {_MARK: "true"},
        }
        if self._filters:
            config["filter_subjects"] = list(self._filters)
        body = {"stream_name": stream, "config": config}
        self._control.api_once(f"CONSUMER.CREATE.{stream}.{self._name}", body, _REQUEST)

    def _check_retention(self, info: StreamInfo) -> None:
        if info.retention != "limits":
            raise OptionError(
                f"nats.lag.consumer={self._name}: stream {info.name!r} has retention "
                f"{info.retention}, which removes messages when consumers acknowledge them, and "
                "this consumer acknowledges none: remove the option"
            )

    def _check_owner(self, stream: str) -> None:
        """Raise ``OptionError`` if another client has a consumer of the name."""
        try:
            found = self._control.api_once(f"CONSUMER.INFO.{stream}.{self._name}", None, _REQUEST)
        except ServerError as error:
            if error.code == 404:
                return
            raise
        if _MARK not in (found["config"].get("metadata") or {}):
            raise OptionError(
                f"nats.lag.consumer={self._name}: stream {stream!r} has a consumer of this name "
                "that this option did not create: choose another name"
            )
