"""The batch read: a fixed range of each stream, narrowed by pushed-down filters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql.datasource import DataSourceReader, InputPartition

from ..connection import servers
from ..errors import OptionError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..planning.ranges import StreamRange
from ..protocol.subjects import narrow
from ..rows.schema import Projection
from ..spark.newest_api import Filter
from .pushdown import Bounds, bounds_of
from .range_partition import RangePartition, read_partition
from .strategy import Strategy
from .stream_states import StreamStates


class BatchReader(DataSourceReader):
    """Plans one read from ``nats.start`` to ``nats.end``."""

    def __init__(self, settings: NatsSettings, projection: Projection, strategy: Strategy) -> None:
        self._settings = settings
        self._projection = projection
        self._strategy = strategy
        self._bounds = Bounds()

    @property
    def pushFilters(self) -> _PushFilters:
        return _PushFilters(self)

    def push(self, filters: Iterable[Filter]) -> list[Filter]:
        """Narrow the read by the filters; return them all, because Spark must evaluate them too."""
        offered = list(filters)
        self._bounds = bounds_of(offered)
        return offered

    def partitions(self) -> list[InputPartition]:
        settings, strategy = self._settings, self._strategy
        with StreamStates(settings, strategy.selection(settings)) as streams:
            infos = streams.require()
            first, last = streams.start_offset(infos), streams.end_offset(infos)
            ranges = []
            for name, info in infos.items():
                begin, end = first.streams[name].seq + 1, last.streams[name].seq
                if begin > end + 1:
                    raise OptionError(
                        f"nats.start (sequence {begin}) is after nats.end (sequence {end}) in "
                        f"stream {name!r}: use an earlier nats.start or a later nats.end"
                    )
                narrowed = self._narrowed(streams, info, begin, end)
                if narrowed is not None:
                    ranges.append(narrowed)
        shares = strategy.tasks(ranges, infos.keys(), settings)
        # Spark reads one partition even if the plan has none.
        known = servers.known(settings)
        return [RangePartition(each, known) for each in shares or [()]]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        return read_partition(self._settings, self._projection, partition)

    def _narrowed(
        self, streams: StreamStates, info: StreamInfo, begin: int, end: int
    ) -> StreamRange | None:
        """Return the part of a range that can pass the pushed filters."""
        bounds = self._bounds
        begin, end = max(begin, bounds.first_seq), min(end, bounds.last_seq)
        if bounds.since_ns is not None:
            begin = max(begin, streams.sequence_at(info, bounds.since_ns))
        if bounds.until_ns is not None:
            end = min(end, streams.sequence_at(info, bounds.until_ns) - 1)
        filters = self._settings.stream_subjects
        for subject in bounds.subjects:
            narrowed = narrow(filters, subject)
            if narrowed is None:
                return None
            filters = narrowed
        if begin > end:
            return None
        return streams.range(info, begin, end, filters)


class _PushFilters:
    """``pushFilters`` that Spark accepts even if push-down is off.

    Spark rejects a reader that implements ``pushFilters``, which it detects by ``__func__``, unless
    ``spark.sql.python.filterPushdown.enabled`` is set. This object has the ``__func__`` of the base
    class, so Spark does not count it as an implementation, but calls it if push-down is on.
    """

    # Spark 4.0 has no push-down, and calls nothing of this.
    __func__ = staticmethod(getattr(DataSourceReader, "pushFilters", lambda *_: ()))

    def __init__(self, reader: BatchReader) -> None:
        self._reader = reader

    def __call__(self, filters: list[Filter]) -> Iterable[Filter]:
        return self._reader.push(filters)
