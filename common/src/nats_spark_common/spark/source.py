"""The base class of the flavors' ``DefaultSource``, which Spark creates for a ``format``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pyspark.sql.datasource import DataSourceStreamReader
from pyspark.sql.types import StructType

from ..errors import OptionError
from ..options.names import canonical
from ..options.path import with_joined_paths, with_path
from ..options.settings import NatsSettings
from ..rows.schema import SCHEMA, Projection
from ..sink.jetstream_sink import JetStreamSink
from .old_reader import for_this_spark


class FlavorSource(JetStreamSink):
    """The reads of a flavor, in addition to the sink of all flavors.

    Attributes:
        flavor: its name in ``nats.flavor``; the format is ``nats-<flavor>``.
        path_field: the setting that the argument of ``load`` sets.
    """

    flavor: ClassVar[str]
    path_field: ClassVar[str] = "stream_name"

    @classmethod
    def name(cls) -> str:
        return f"nats-{cls.flavor}"

    def schema(self) -> StructType:
        """Return the columns, and check options and streams: Spark calls this at ``load()``.

        Raises:
            OptionError: an option is unknown or its value is wrong.
            ConnectError, AuthError: the server cannot be reached, or rejects the credentials.
            JetStreamUnavailableError, StreamNotFoundError, UnsupportedStreamError and others: as
                `check` raises them.
        """
        self.check(self.settings())
        return SCHEMA

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        settings = self.settings()
        # Spark creates a source in the same way for read and for readStream, so `schema`, at
        # ``load()``, cannot check this. The start of the query is the first chance.
        check_no_end(settings)
        return for_this_spark(self.stream_reader(settings, Projection(schema)))

    def settings(self) -> NatsSettings:
        """Return the settings of a read from Spark's options and the argument of ``load``.

        Raises ``OptionError``.
        """
        check_no_sink_subject(self.options)
        options = with_joined_paths(self.options, self.path_field)
        options = with_path(options, "load", self.path_field, tables=True)
        return NatsSettings.from_options(options, flavor=self.flavor)

    def check(self, settings: NatsSettings) -> None:
        """Check on the server that the query can read its streams; raise if not."""
        raise NotImplementedError

    def stream_reader(
        self, settings: NatsSettings, projection: Projection
    ) -> DataSourceStreamReader:
        """Return the reader of a streaming query."""
        raise NotImplementedError


def check_no_sink_subject(options: Mapping[str, str]) -> None:
    """Raise ``OptionError`` if a read sets the sink's ``nats.stream.subject``.

    Without an error, a slip for ``nats.stream.subjects`` would read everything.
    """
    for name in options:
        if canonical(name) == "nats.stream.subject":
            raise OptionError(
                f"{name}={options[name]} is an option of writes, which a read does not use: set "
                "nats.stream.subjects to filter the messages, or remove it from the options of the "
                "read"
            )


def check_no_end(settings: NatsSettings) -> None:
    """Raise ``OptionError`` if ``nats.end`` is set: a streaming query has no end."""
    if settings.end != NatsSettings.model_fields["end"].default:
        raise OptionError(
            f"nats.end={settings.end} is for batch reads; a streaming query has no end: "
            "use trigger(availableNow=True) to stop after the messages that exist now"
        )
