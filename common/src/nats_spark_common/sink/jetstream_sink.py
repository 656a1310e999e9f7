"""The writable data source, which Spark instantiates to save rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache

from pyspark.sql.datasource import DataSource
from pyspark.sql.types import StructType

from ..errors import OptionError
from ..options.catalog_tables import WRITES_TO_TABLES
from ..options.names import PREFIX, canonical, given
from ..options.path import with_path
from ..options.settings import NatsSettings
from .columns import MessageColumns, message_columns
from .ensure_stream import ensure_stream
from .row_batches import GIVES_RECORD_BATCHES
from .writer import BatchWriter, RowStreamWriter, StreamWriter

_log = logging.getLogger(__name__)


class JetStreamSink(DataSource):
    """A data source that supports writing."""

    def streamWriter(self, schema: StructType, overwrite: bool) -> StreamWriter:
        """Return the writer of a streaming query's batch.

        With output mode ``complete`` each batch publishes the whole result, as Spark's Kafka sink
        does.

        Raises:
            OptionError: an option or the schema is invalid.
            ServerError, ConnectError and others: ``nats.sink.create.stream``, as `ensure_stream`.
        """
        settings, columns = self._prepared(schema, "start")
        if not GIVES_RECORD_BATCHES:
            return RowStreamWriter(settings, columns, schema)
        return StreamWriter(settings, columns)

    def writer(self, schema: StructType, overwrite: bool) -> BatchWriter:
        """Return the writer of a DataFrame. Raises as `streamWriter`."""
        if overwrite:
            raise OptionError(
                "mode('overwrite') is not supported, because this sink never purges a stream: use "
                "mode('append'), and 'nats stream purge' to delete a stream's messages"
            )
        return BatchWriter(*self._prepared(schema, "save"))

    def _prepared(self, schema: StructType, call: str) -> tuple[NatsSettings, MessageColumns]:
        has_target = _has_target(self.options)  # without, a path is that of a catalog table
        options = with_path(self.options, call) if has_target else self.options
        settings = NatsSettings.from_options(options)
        if "url" not in settings.model_fields_set:
            raise OptionError(
                "nats.url is not set, and writes have no default server: set it to the server to "
                f"write to. {WRITES_TO_TABLES}"
            )
        if not has_target:
            raise OptionError(
                "the write has no nats. option, so the server of the environment (NATS_URL) or a "
                f"context may not be meant for it: set nats.url on the write. {WRITES_TO_TABLES}"
            )
        columns = message_columns(
            schema,
            settings.sink_subject,
            drop_unknown=settings.sink_unknown_columns == "drop",
        )
        if columns.dropped:
            _warn_about_dropped(columns.dropped, self.options.get("checkpointLocation", ""))
        if settings.sink_create_stream:
            ensure_stream(settings)
        return _with_expected_stream(settings, options), columns


def _has_target(options: Mapping[str, str]) -> bool:
    """Return whether the write itself says where it goes, by an option or by ``save(stream)``.

    Without, it cannot be distinguished from a write to a catalog table whose options name another
    server than the environment: Spark drops them.
    """
    named = any(canonical(key).startswith(PREFIX) for key in options)
    return named or "/" not in options.get("path", "/")


@lru_cache(1024)
def _warn_about_dropped(columns: tuple[str, ...], checkpoint: str) -> None:
    """Warn once for each query, for which Spark creates a writer per batch."""
    _log.warning(
        "nats.sink.unknown.columns=drop: the sink does not write %s", ", ".join(map(repr, columns))
    )


def _with_expected_stream(settings: NatsSettings, options: Mapping[str, str]) -> NatsSettings:
    """Return settings whose ``stream_name`` is the only stream that may store the rows.

    A stream name of the environment or a context belongs to the source and is removed.
    """
    if not settings.sink_create_stream and not given(options, "stream_name"):
        return settings.model_copy(update={"stream_name": ()})
    if len(settings.stream_name) > 1:
        raise OptionError(
            f"nats.stream.name={','.join(settings.stream_name)}: a sink accepts one stream, the "
            "only one that may store its rows: remove the option if the rows' subjects belong to "
            "several streams"
        )
    return settings
