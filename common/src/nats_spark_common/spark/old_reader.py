"""Streaming reads on Spark 4.0 and 4.1, which do not pass the position of a query to its source.

There Spark calls ``latestOffset()`` without the committed position and without a limit. The reader
knows the position nevertheless, because Spark's engine calls it in this order
(`PythonMicroBatchStream` and `MicroBatchExecution` of Spark 4.0 and 4.1):

- A query with a checkpoint begins with ``partitions(X, X)``, where X is the last logged offset. If
  that batch is not committed, ``partitions(start, X)`` replays it. Only then ``latestOffset`` is
  called, and X is committed.
- A query without one begins with ``latestOffset``, and its first batch starts at
  ``initialOffset``.
- ``latestOffset`` is next called when the batch that it planned is committed, so that batch's end
  is the position. An offset that equals the position plans no batch.

With ``spark.sql.streaming.triggerAvailableNowWrapper.enabled`` (off by default) the order of calls
is another one, which the reader detects and rejects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyspark
from pyspark.sql.datasource import DataSourceStreamReader, InputPartition

from ..errors import UnsupportedSparkError
from .newest_api import ReadLimit
from .version import WITH_ADMISSION, has_admission

_Json = dict[str, Any]


def for_this_spark(reader: DataSourceStreamReader) -> DataSourceStreamReader:
    """Return a reader with the methods that this Spark calls."""
    return reader if has_admission() else OldReader(reader)


class OldReader(DataSourceStreamReader):
    """Calls a reader of the newest API with the position of the query, and with its own limit.

    Attributes:
        newest: that reader.
    """

    def __init__(self, reader: DataSourceStreamReader) -> None:
        self.newest = reader
        self._position: _Json | None = None  # where the next batch starts
        self._initial: _Json | None = None  # where Spark starts a query without a checkpoint
        self._planned: tuple[_Json | None, _Json] | None = None  # start and end; no start: initial

    def initialOffset(self) -> _Json:
        self._initial = self.newest.initialOffset()
        return self._initial

    def latestOffset(self, start: _Json | None = None, limit: ReadLimit | None = None) -> _Json:
        """Return the end of the next batch; Spark gives no arguments."""
        position = self._position
        begin = self.newest.initialOffset() if position is None else position
        end = self.newest.latestOffset(begin, self.newest.getDefaultReadLimit())
        self._planned = position, end
        self._position = end
        return end

    def partitions(self, start: _Json, end: _Json) -> Sequence[InputPartition]:
        """Plan a batch. Raises ``UnsupportedSparkError`` if it is not the one that was planned."""
        if self._planned is not None:
            position, planned = self._planned
            if (start, end) != (self._initial if position is None else position, planned):
                raise UnsupportedSparkError(_OTHER_ORDER)
        self._position = end
        return self.newest.partitions(start, end)

    def read(
        self, partition: InputPartition
    ) -> Iterator[tuple[Any, ...]] | Iterator[pa.RecordBatch]:
        return self.newest.read(partition)

    def commit(self, end: _Json) -> None:
        self.newest.commit(end)

    def stop(self) -> None:
        self.newest.stop()


_OTHER_ORDER = (
    f"Spark {pyspark.__version__} fixed the end of a batch before it restored the position of the "
    "query, as it does with spark.sql.streaming.triggerAvailableNowWrapper.enabled=true: set it to "
    f"false, or upgrade to Spark {WITH_ADMISSION} or later"
)
