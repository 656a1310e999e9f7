"""The entry point of a flavor whose position Spark keeps."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql.types import StructType

from ..options.settings import NatsSettings
from ..rows.schema import Projection
from ..spark.source import FlavorSource
from .batch_reader import BatchReader
from .strategy import Strategy
from .stream_reader import StreamReader
from .stream_states import Streams


class ReplaySource(FlavorSource):
    """JetStream streams as DataFrames: streaming and batch, reads and writes.

    Attributes:
        strategy: what the flavor does in its own way.
    """

    strategy: ClassVar[Strategy]

    def check(self, settings: NatsSettings) -> None:
        """Raises as `Streams.require` does."""
        with Streams(settings, self.strategy.selection(settings)) as streams:
            streams.require()

    def stream_reader(self, settings: NatsSettings, projection: Projection) -> StreamReader:
        return StreamReader(settings, projection, self.strategy)

    def reader(self, schema: StructType) -> BatchReader:
        return BatchReader(self.settings(), Projection(schema), self.strategy)
