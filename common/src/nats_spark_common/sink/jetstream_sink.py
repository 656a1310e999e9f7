"""The data source that can be written to: what Spark instantiates when rows are saved."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache

from pyspark.sql.datasource import DataSource
from pyspark.sql.types import StructType

from ..errors import OptionError
from ..options.catalog_tables import TABLES
from ..options.names import given
from ..options.settings import NatsSettings
from .columns import MessageColumns, message_columns
from .ensure_stream import ensure_stream
from .writer import BatchWriter, StreamWriter

_log = logging.getLogger(__name__)


class JetStreamSink(DataSource):
    """A data source that can be written to."""

    def streamWriter(self, schema: StructType, overwrite: bool) -> StreamWriter:
        """The writer of a streaming query's batch.

        With output mode ``complete`` each batch publishes the whole result again, as Spark's Kafka
        sink does.

        Raises:
            OptionError: an option is wrong, or the schema does not fit.
            ServerError, ConnectError and others: ``nats.sink.create.stream``, as `ensure_stream`.
        """
        return StreamWriter(*self._prepared(schema))

    def writer(self, schema: StructType, overwrite: bool) -> BatchWriter:
        """The writer of a DataFrame. Raises as `streamWriter`."""
        if overwrite:
            raise OptionError(
                "mode('overwrite') would have to purge the stream, which this sink does not do: "
                "use mode('append'), and 'nats stream purge' where the stream is to be emptied"
            )
        return BatchWriter(*self._prepared(schema))

    def _prepared(self, schema: StructType) -> tuple[NatsSettings, MessageColumns]:
        settings = NatsSettings.from_options(self.options)
        if "url" not in settings.model_fields_set:
            raise OptionError(
                "nats.url is not set: name the server to write to, because rows go to none that "
                f"nobody named. {TABLES}"
            )
        columns = message_columns(
            schema,
            settings.sink_subject,
            drop_unknown=settings.sink_unknown_columns == "drop",
        )
        if columns.dropped:
            _warn_of_dropped(columns.dropped, self.options.get("checkpointLocation", ""))
        if settings.sink_create_stream:
            ensure_stream(settings)
        return _with_expected_stream(settings, self.options), columns


@lru_cache(1024)
def _warn_of_dropped(columns: tuple[str, ...], checkpoint: str) -> None:
    """Warn once for each query of this process, which makes a writer for each batch."""
    _log.warning(
        "nats.sink.unknown.columns=drop: the sink does not write %s", ", ".join(map(repr, columns))
    )


def _with_expected_stream(settings: NatsSettings, options: Mapping[str, str]) -> NatsSettings:
    """The settings, in which ``stream_name`` is the one stream that may store the rows.

    One that the environment or a context names is that of the source.
    """
    if not settings.sink_create_stream and not given(options, "stream_name"):
        return settings.model_copy(update={"stream_name": ()})
    if len(settings.stream_name) > 1:
        raise OptionError(
            f"nats.stream.name={','.join(settings.stream_name)}: a sink names the one stream that "
            "may store its rows; leave it out where the rows' subjects belong to several streams"
        )
    return settings
