"""The entry point of a flavor whose position Spark keeps."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql.types import StructType

from ..schema import Projection
from ..settings import NatsSettings
from ..source import FlavorSource
from .batch import BatchReader
from .layout import Layout
from .stream import StreamReader
from .streams import Streams


class ReplaySource(FlavorSource):
    """JetStream streams as DataFrames: streaming and batch, reads and writes.

    Attributes:
        layout: what the flavor does in its own way.
    """

    layout: ClassVar[Layout]

    def check(self, settings: NatsSettings) -> None:
        """Raises as `Streams.require` does."""
        with Streams(settings, self.layout.selection(settings)) as streams:
            streams.require()

    def stream_reader(self, settings: NatsSettings, projection: Projection) -> StreamReader:
        return StreamReader(settings, projection, self.layout)

    def reader(self, schema: StructType) -> BatchReader:
        return BatchReader(self.settings(), Projection(schema), self.layout)
