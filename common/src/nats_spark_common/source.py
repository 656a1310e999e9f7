"""What the entry points of the flavors share: what Spark instantiates for ``format("nats-…")``."""

from __future__ import annotations

from typing import ClassVar

from pyspark.sql.datasource import DataSourceStreamReader
from pyspark.sql.types import StructType

from .errors import OptionError
from .schema import SCHEMA, Projection
from .settings import NatsSettings
from .sink import JetStreamSink


class FlavorSource(JetStreamSink):
    """A flavor's reads beside the suite's sink.

    Attributes:
        flavor: its name in ``nats.flavor``; the format is called ``nats-<flavor>``.
    """

    flavor: ClassVar[str]

    @classmethod
    def name(cls) -> str:
        return f"nats-{cls.flavor}"

    def schema(self) -> StructType:
        """The columns; called at ``load()``, which makes it the place to find mistakes early.

        Raises:
            OptionError: an option is unknown or its value is wrong.
            ConnectError, AuthError: the server cannot be reached, or refuses the credentials.
            JetStreamUnavailableError, StreamNotFoundError, UnsupportedStreamError and what else
            `check` raises: as named.
        """
        self.check(self.settings())
        return SCHEMA

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        settings = self.settings()
        if settings.end != NatsSettings.model_fields["end"].default:
            raise OptionError(
                f"nats.end={settings.end} is for batch reads; a stream has no end: "
                "use trigger(availableNow=True) to stop at the messages that are there now"
            )
        return self.stream_reader(settings, Projection(schema))

    def settings(self) -> NatsSettings:
        """The settings out of Spark's options. Raises ``OptionError``."""
        return NatsSettings.from_options(self.options, flavor=self.flavor)

    def check(self, settings: NatsSettings) -> None:
        """Ask the server whether it has what is to be read; raise where it has not."""
        raise NotImplementedError

    def stream_reader(
        self, settings: NatsSettings, projection: Projection
    ) -> DataSourceStreamReader:
        """The reader of a streaming query."""
        raise NotImplementedError
