"""The entry point: what Spark instantiates for ``format("nats-v2")``."""

from __future__ import annotations

from pyspark.sql.types import StructType

from nats_spark_common.errors import OptionError
from nats_spark_common.schema import SCHEMA, Projection
from nats_spark_common.settings import NatsSettings
from nats_spark_common.sink import JetStreamSink
from nats_spark_common.streams import Streams

from .batch import BatchReader
from .stream import StreamReader


class DefaultSource(JetStreamSink):
    """JetStream streams as DataFrames: streaming and batch, reads and writes."""

    @classmethod
    def name(cls) -> str:
        return "nats-v2"

    def schema(self) -> StructType:
        """The columns; called at ``load()``, which makes it the place to find mistakes early.

        Raises:
            OptionError: an option is unknown or its value is wrong.
            ConnectError, AuthError: the server cannot be reached, or refuses the credentials.
            JetStreamUnavailableError, StreamNotFoundError, UnsupportedStreamError: as named.
        """
        with Streams(self._settings()) as streams:
            streams.require()
        return SCHEMA

    def streamReader(self, schema: StructType) -> StreamReader:
        settings = self._settings()
        if settings.end != NatsSettings.model_fields["end"].default:
            raise OptionError(
                f"nats.end={settings.end} is for batch reads; a stream has no end: "
                "use trigger(availableNow=True) to stop at the messages that are there now"
            )
        return StreamReader(settings, Projection(schema))

    def reader(self, schema: StructType) -> BatchReader:
        return BatchReader(self._settings(), Projection(schema))

    def _settings(self) -> NatsSettings:
        settings = NatsSettings.from_options(self.options, flavor="v2")
        settings.require_streams()
        return settings
