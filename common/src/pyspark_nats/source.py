"""The class that Spark creates for ``format("nats")``."""

from __future__ import annotations

import importlib
from typing import cast

from pyspark.sql.datasource import DataSourceReader, DataSourceStreamReader
from pyspark.sql.types import StructType

from nats_spark_common.errors import OptionError
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.sink.jetstream_sink import JetStreamSink
from nats_spark_common.spark.source import FlavorSource


class DefaultSource(JetStreamSink):
    """Reads with the chosen flavor; writes as all flavors do."""

    @classmethod
    def name(cls) -> str:
        return "nats"

    def schema(self) -> StructType:
        """Check as `FlavorSource.schema`. Raises ``OptionError`` if the flavor is not installed."""
        return self._flavor_source().schema()

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        return self._flavor_source().streamReader(schema)

    def reader(self, schema: StructType) -> DataSourceReader:
        return self._flavor_source().reader(schema)

    def _flavor_source(self) -> FlavorSource:
        flavor = NatsSettings.from_options(self.options).flavor
        module = f"pyspark_nats_{flavor}"
        try:
            source = importlib.import_module(module).DefaultSource
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise OptionError(
                f"nats.flavor={flavor} is not installed on this machine: run pip install "
                f"pyspark-nats-{flavor} on the driver and on every executor"
            ) from None
        return cast("FlavorSource", source(self.options))
