"""Requests the state of a query's streams from the server: where they begin and end."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from ..errors import (
    DataLossError,
    MissingPermissionError,
    NatsSparkError,
    OptionError,
    ServerError,
    StreamNotFoundError,
    UnsupportedStreamError,
)
from ..jetstream.api import StreamInfo
from ..jetstream.arrivals import Arrivals
from ..jetstream.control import START_PATIENCE, Control
from ..jetstream.unread import Unread, unread_by_direct_get
from ..options.positions import (
    AtSequence,
    AtTime,
    Earliest,
    Position,
    Positions,
    check_start,
    check_streams,
)
from ..options.settings import NatsSettings
from ..planning import way
from ..planning.data_loss import lost_messages, report_unmatched
from ..planning.ranges import StreamRange
from .lag_consumer import LagConsumers
from .offsets import Offset, StreamOffset
from .strategy import Selection

_log = logging.getLogger(__name__)

#: Interval of the search for streams that have joined, in seconds.
DISCOVERY_INTERVAL = 5.0

#: Maximum share of the time that polls take: those of a thousand streams take long.
_POLLING = 0.1


#: Seconds for which the counted share of a stream's messages that filters match is used.
_SHARE_SECONDS = 300.0

#: Seconds that counting them may take.
_COUNT_SECONDS = 1.0


class StreamStates(AbstractContextManager["StreamStates"]):
    """The state of the streams of a selection; holds a control connection."""

    def __init__(self, settings: NatsSettings, selection: Selection) -> None:
        """Connect. Raises ``ConnectError`` or ``AuthError``."""
        self._settings = settings
        self._selection = selection
        self._control = Control(settings, START_PATIENCE)
        self._names: list[str] | None = None
        self._discovered = 0.0
        self._infos: dict[str, StreamInfo] = {}
        self._refreshed = -1e9
        self._interval = settings.poll_interval
        self._arrivals = Arrivals(self._control, settings)
        self._shares: dict[tuple[str, str, tuple[str, ...]], tuple[float, float]] = {}

    def close(self) -> None:
        """Close the connection."""
        self._arrivals.close()
        self._control.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def require(self) -> dict[str, StreamInfo]:
        """Return the streams, all of which must exist and be readable.

        Raises:
            StreamNotFoundError: a stream that the options name does not exist, or none matches.
            UnsupportedStreamError: a stream is a work queue.
        """
        self._names = None
        infos = self.refresh()
        self._selection.require(infos, self._control)
        self._check_options(infos)
        return infos

    def _check_options(self, infos: dict[str, StreamInfo]) -> None:
        """Check that positions name streams that are read, and filters match their subjects."""
        settings = self._settings
        for option, positions in (("nats.start", settings.start), ("nats.end", settings.end)):
            check_streams(option, positions, self._selection.reads, ", ".join(infos))
        report_unmatched(settings.stream_subjects, infos.values())

    def refresh(self) -> dict[str, StreamInfo]:
        """Request the state of the existing streams. Raises ``UnsupportedStreamError``."""
        stale = time.monotonic() - self._discovered >= DISCOVERY_INTERVAL
        if self._names is None or (self._selection.grows and stale):
            self._names = self._selection.names(self._control)
            self._discovered = time.monotonic()
        begun = time.monotonic()
        infos = self._control.stream_infos(self._names)
        for info in infos.values():
            _check_readable(info)
        self._infos, self._refreshed = infos, time.monotonic()
        took = self._refreshed - begun
        self._interval = max(self._settings.poll_interval, took / _POLLING - took)
        return infos

    def recent(self) -> dict[str, StreamInfo]:
        """Return the state as `refresh`, at most one request per ``nats.poll.interval``."""
        if self.age >= self._settings.poll_interval:
            return self.refresh()
        return self._infos

    @property
    def age(self) -> float:
        """Seconds since the last request."""
        return time.monotonic() - self._refreshed

    def wait(self, after: Mapping[str, int]) -> None:
        """Wait until the next poll is due, or until a message is stored.

        Polls are ``nats.poll.interval`` apart, or more if that would take a tenth of the time.

        Args:
            after: the last sequence that was read of each stream.
        """
        seconds = self._interval - self.age
        if seconds <= 0:
            return
        read = after if self._may_wait(after) else {}
        if self._arrivals.wait(read, seconds):
            self._refreshed = -1e9

    def _may_wait(self, after: Mapping[str, int]) -> bool:
        """Return whether all streams are read to their ends and allow another consumer."""
        infos = self._infos
        return self._settings.read_via != "direct" and all(
            name in infos and infos[name].retention == "limits" and infos[name].last_seq == seq
            for name, seq in after.items()
        )

    def range(
        self, info: StreamInfo, first: int, last: int, filters: tuple[str, ...]
    ) -> StreamRange:
        """Return a range of the stream, with the way to read it. Raises as `way.choose`."""
        version = self._control.server_version
        found = way.plan_range(self._settings, info, first, last, filters, version)
        if last - first < way.FILTERED_FROM or not self._takes_most(info, filters):
            return found
        whole = way.plan_range(self._settings, info, first, last, (), version)
        return replace(whole, filters=filters, filters_here=True)

    def _takes_most(self, info: StreamInfo, filters: tuple[str, ...]) -> bool:
        """Return whether the filters match so much that reading everything is cheaper."""
        if not way.may_read_whole(self._settings, info, filters, self._control.server_version):
            return False
        key, now = (info.name, info.created, filters), time.monotonic()
        share, until = self._shares.get(key, (0.0, 0.0))
        if now >= until:
            until = now + _SHARE_SECONDS
            try:
                matching = self._control.count_matching(info, filters, _COUNT_SECONDS)
                share = matching / max(1, info.messages)
            except NatsSparkError as error:
                _log.info("stream %s: filters are left to the server: %s", info.name, error)
                share = 0.0
                if isinstance(error, MissingPermissionError):
                    until = math.inf
            self._shares[key] = share, until
        return share >= way.least_share(filters)

    def start_offset(self, infos: dict[str, StreamInfo]) -> Offset:
        """Return the position of ``nats.start`` in each stream.

        Raises:
            OptionError: the position is after the stream's end, or in the future.
            DataLossError: the sequence is no longer stored.
        """
        return Offset(
            {
                name: StreamOffset.entering(
                    start_sequence(self._settings, self._control, info) - 1, info
                )
                for name, info in infos.items()
            }
        )

    def end_offset(self, infos: dict[str, StreamInfo]) -> Offset:
        """Return the last sequence of each stream up to ``nats.end``; a time is excluded.

        Raises ``OptionError`` if a sequence is after the stream's end.
        """
        return Offset(
            {
                name: StreamOffset(self._last_sequence(info, self._settings.end), info.created)
                for name, info in infos.items()
            }
        )

    def sequence_at(self, info: StreamInfo, time_ns: int) -> int:
        """Return the first sequence stored at or after a time, as `Control.sequence_at`."""
        return self._control.sequence_at(info, time_ns)

    def unread(self, info: StreamInfo, after: int, timeout: float) -> Unread | None:
        """Return what is stored after a sequence and matches the filters, if that is cheap."""
        filters = self._settings.stream_subjects
        return unread_by_direct_get(self._control, info, after, timeout, filters)

    def lag_consumers(self, name: str) -> LagConsumers:
        """Return the consumers of ``nats.lag.consumer``, over the same connection."""
        return LagConsumers(self._control, self._settings, name)

    def acknowledged(
        self, durable: str, infos: dict[str, StreamInfo]
    ) -> tuple[dict[str, int], dict[str, NatsSparkError]]:
        """Return the ack floor of the consumer of this name in each stream, if above 0.

        Also returns the errors of streams whose consumer cannot be read; one that does not exist is
        no error.
        """
        floors: dict[str, int] = {}
        unknown: dict[str, NatsSparkError] = {}
        for name in infos:
            try:
                info = self._control.api(f"CONSUMER.INFO.{name}.{durable}")
            except NatsSparkError as error:
                gone = isinstance(error, StreamNotFoundError)
                if not gone and not (isinstance(error, ServerError) and error.code == 404):
                    unknown[name] = error
                continue
            floors[name] = int(info["ack_floor"]["stream_seq"])
        return {name: floor for name, floor in floors.items() if floor}, unknown

    def _last_sequence(self, info: StreamInfo, ends: Positions) -> int:
        position = ends.for_stream(info.name)
        if isinstance(position, Earliest):
            return info.first_seq - 1
        if isinstance(position, AtSequence):
            if position.seq > info.last_seq:
                raise OptionError(
                    f"nats.end={position.seq} is after the end of stream {info.name!r}, whose last "
                    f"sequence is {info.last_seq}: use a sequence up to that, or 'latest'"
                )
            return position.seq
        if isinstance(position, AtTime):
            return self._control.sequence_at(info, position.ns) - 1
        return info.last_seq


def start_sequence(settings: NatsSettings, control: Control, info: StreamInfo) -> int:
    """Return the first sequence to read of a stream, from ``nats.start``.

    Raises as `StreamStates.start_offset`.
    """
    position: Position = settings.start.for_stream(info.name)
    check_start(position, info.name, info.last_seq)
    if isinstance(position, Earliest):
        return info.first_seq
    if isinstance(position, AtSequence):
        lost = lost_messages(info, position.seq, info.first_seq - 1)
        if lost and settings.fail_on_data_loss:
            raise DataLossError(f"nats.start={position.seq}: {lost}; or use 'earliest'")
        return max(position.seq, info.first_seq)
    if isinstance(position, AtTime):
        return control.sequence_at(info, position.ns)
    return info.last_seq + 1


def _check_readable(info: StreamInfo) -> None:
    if info.retention == "workqueue":
        raise UnsupportedStreamError(
            f"stream {info.name!r} is a work queue: it removes acknowledged messages, so Spark's "
            "checkpoint cannot replay them. Read it with format('nats-balanced')"
        )
