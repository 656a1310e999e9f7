"""The class that Spark instantiates for ``format("nats-balanced")``."""

from __future__ import annotations

from pyspark.sql.datasource import DataSourceReader
from pyspark.sql.types import StructType

from nats_spark_common.errors import OptionError
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.rows.schema import Projection
from nats_spark_common.spark.source import FlavorSource, check_no_end

from .consumer import DurableConsumer
from .stream_reader import StreamReader


class DefaultSource(FlavorSource):
    """A durable JetStream consumer as a streaming DataFrame, and the sink of all flavors."""

    flavor = "balanced"

    def check(self, settings: NatsSettings) -> None:
        """Check the options and the server. Raise as `check_no_end` and `DurableConsumer.check`."""
        check_no_end(settings)  # all reads are streaming, so `load` can check this already
        with DurableConsumer(settings) as consumer:
            consumer.check()

    def stream_reader(self, settings: NatsSettings, projection: Projection) -> StreamReader:
        """Return the reader of a streaming query."""
        return StreamReader(settings, projection)

    def reader(self, schema: StructType) -> DataSourceReader:
        """Raise ``OptionError``: there are no batch reads."""
        raise OptionError(
            'format("nats-balanced") does not support spark.read: a batch read has no commit after '
            "which to acknowledge; use spark.readStream with trigger(availableNow=True), "
            'or format("nats-v2")'
        )
