"""The base class of a flavor's ``DefaultSource`` whose position is in Spark's checkpoint."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql.types import StructType

from ..options.settings import NatsSettings
from ..rows.schema import Projection
from ..spark.source import FlavorSource
from .batch_reader import BatchReader
from .strategy import Strategy
from .stream_reader import StreamReader
from .stream_states import StreamStates


class ReplaySource(FlavorSource):
    """JetStream streams as DataFrames: streaming and batch, reads and writes.

    Attributes:
        strategy: which streams the flavor reads, and how it divides them.
    """

    strategy: ClassVar[Strategy]

    def check(self, settings: NatsSettings) -> None:
        """Check that the streams exist and are readable. Raises as `StreamStates.require`."""
        with StreamStates(settings, self.strategy.selection(settings)) as streams:
            streams.require()

    def stream_reader(self, settings: NatsSettings, projection: Projection) -> StreamReader:
        return StreamReader(settings, projection, self.strategy)

    def reader(self, schema: StructType) -> BatchReader:
        return BatchReader(self.settings(), Projection(schema), self.strategy)
