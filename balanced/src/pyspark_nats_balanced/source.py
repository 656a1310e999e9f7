"""The entry point: what Spark instantiates for ``format("nats-balanced")``."""

from __future__ import annotations

from pyspark.sql.datasource import DataSourceReader
from pyspark.sql.types import StructType

from nats_spark_common.errors import OptionError
from nats_spark_common.schema import SCHEMA, Projection
from nats_spark_common.settings import NatsSettings
from nats_spark_common.sink import JetStreamSink

from .durable import Durable
from .stream import StreamReader


class DefaultSource(JetStreamSink):
    """A durable JetStream consumer as a streaming DataFrame; and the suite's sink."""

    @classmethod
    def name(cls) -> str:
        return "nats-balanced"

    def schema(self) -> StructType:
        """The columns; called at ``load()``, which makes it the place to find mistakes early.

        Raises:
            OptionError: an option is unknown or its value is wrong.
            ConnectError, AuthError: the server cannot be reached, or refuses the credentials.
            JetStreamUnavailableError, StreamNotFoundError, ConsumerNotFoundError,
            UnsupportedConsumerError: as named.
        """
        durable = Durable(self._settings())
        try:
            durable.check()
        finally:
            durable.close()
        return SCHEMA

    def streamReader(self, schema: StructType) -> StreamReader:
        settings = self._settings()
        if settings.end != NatsSettings.model_fields["end"].default:
            raise OptionError(
                f"nats.end={settings.end} is for batch reads: "
                "use trigger(availableNow=True) to stop at the messages that are there now"
            )
        return StreamReader(settings, Projection(schema))

    def reader(self, schema: StructType) -> DataSourceReader:
        raise OptionError(
            'format("nats-balanced") cannot be read with spark.read: a batch read has no commit '
            "after which to acknowledge; use spark.readStream with trigger(availableNow=True), "
            'or format("nats-v2")'
        )

    def _settings(self) -> NatsSettings:
        return NatsSettings.from_options(self.options, flavor="balanced")
