"""The entry point: what Spark instantiates for ``format("nats-balanced")``."""

from __future__ import annotations

from pyspark.sql.datasource import DataSourceReader
from pyspark.sql.types import StructType

from nats_spark_common.errors import OptionError
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.rows.schema import Projection
from nats_spark_common.spark.source import FlavorSource, check_no_end

from .consumer import Durable
from .stream_reader import StreamReader


class DefaultSource(FlavorSource):
    """A durable JetStream consumer as a streaming DataFrame; and the suite's sink."""

    flavor = "balanced"

    def check(self, settings: NatsSettings) -> None:
        """Raises as `check_no_end` and `Durable.check` do."""
        check_no_end(settings)  # there are only streaming reads, so `load` can tell
        with Durable(settings) as durable:
            durable.check()

    def stream_reader(self, settings: NatsSettings, projection: Projection) -> StreamReader:
        return StreamReader(settings, projection)

    def reader(self, schema: StructType) -> DataSourceReader:
        raise OptionError(
            'format("nats-balanced") cannot be read with spark.read: a batch read has no commit '
            "after which to acknowledge; use spark.readStream with trigger(availableNow=True), "
            'or format("nats-v2")'
        )
