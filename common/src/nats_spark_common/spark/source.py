"""What the entry points of the flavors share: what Spark instantiates for ``format("nats-…")``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pyspark.sql.datasource import DataSourceStreamReader
from pyspark.sql.types import StructType

from ..errors import OptionError
from ..options.catalog_tables import TABLES
from ..options.names import field_option, given
from ..options.settings import NatsSettings
from ..rows.schema import SCHEMA, Projection
from ..sink.jetstream_sink import JetStreamSink


class FlavorSource(JetStreamSink):
    """A flavor's reads beside the suite's sink.

    Attributes:
        flavor: its name in ``nats.flavor``; the format is called ``nats-<flavor>``.
        path_field: the setting that is named by what is given to ``load``.
    """

    flavor: ClassVar[str]
    path_field: ClassVar[str] = "stream_name"

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
        # Spark creates a source in the same way for read and for readStream, so this cannot be
        # checked in `schema`, at ``load()``: the start of the query is the first to tell.
        check_no_end(settings)
        return self.stream_reader(settings, Projection(schema))

    def settings(self) -> NatsSettings:
        """The settings out of Spark's options. Raises ``OptionError``."""
        return NatsSettings.from_options(self._named(), flavor=self.flavor)

    def _named(self) -> Mapping[str, str]:
        """The options, with what was given to ``load`` as the stream's name.

        Raises ``OptionError`` for a name that contradicts another, or that Spark gave to a table.
        """
        path = self.options.get("path")
        if path is None:
            return self.options
        option = field_option(self.path_field)
        if given(self.options, self.path_field):
            named = getattr(NatsSettings.from_options(self.options), self.path_field)
            if "/" in path or named in (path, (path,)):
                return self.options
            raise OptionError(
                f"load({path!r}) and {option} name different streams: use one of them"
            )
        if "/" in path:
            raise OptionError(f"load({path!r}): a stream's name holds no slash. {TABLES}")
        return {**self.options, option: path}

    def check(self, settings: NatsSettings) -> None:
        """Ask the server whether it has what is to be read; raise where it has not."""
        raise NotImplementedError

    def stream_reader(
        self, settings: NatsSettings, projection: Projection
    ) -> DataSourceStreamReader:
        """The reader of a streaming query."""
        raise NotImplementedError


def check_no_end(settings: NatsSettings) -> None:
    """Raise ``OptionError`` where ``nats.end`` is set, which a stream does not have."""
    if settings.end != NatsSettings.model_fields["end"].default:
        raise OptionError(
            f"nats.end={settings.end} is for batch reads; a stream has no end: "
            "use trigger(availableNow=True) to stop at the messages that are there now"
        )
