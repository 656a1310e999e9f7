"""Which streams V2 reads, and how a batch is divided: each stream into ranges for all tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from nats_spark_common.errors import OptionError, StreamNotFoundError
from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.jetstream.control import Control
from nats_spark_common.options.catalog_tables import TABLES
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.admission import Available, admit
from nats_spark_common.planning.ranges import StreamRange, plan_tasks


class NamedStreams:
    """The streams of ``nats.stream.name``, or those that ``nats.stream.pattern`` matches."""

    def __init__(self, settings: NatsSettings) -> None:
        """Raise ``OptionError`` if neither is set."""
        if not settings.stream_name and not settings.stream_pattern:
            raise OptionError(
                "no stream is named: set nats.stream.name to a stream or a comma-separated list, "
                f"or nats.stream.pattern to a glob over stream names. {TABLES}"
            )
        self._names = settings.stream_name
        self._pattern = settings.stream_pattern

    @property
    def grows(self) -> bool:
        return self._pattern is not None

    def reads(self, name: str) -> bool:
        if self._pattern is None:
            return name in self._names
        return fnmatchcase(name, self._pattern)

    def names(self, control: Control) -> list[str]:
        if self._pattern is None:
            return list(self._names)
        return control.stream_names(self._pattern)

    def require(self, infos: Mapping[str, StreamInfo], control: Control) -> None:
        for name in self._names:
            if name not in infos:
                control.stream_info(name)  # raises the server's error
        if self._pattern is not None and not infos:
            raise StreamNotFoundError(
                f"nats.stream.pattern={self._pattern} matches no stream. The account has "
                f"{', '.join(control.stream_names()) or 'none'}: change the pattern"
            )

    def check_position(self, streams: Collection[str]) -> None:
        """Accept any streams: those that are no longer read are reported as data loss."""


class ByRange:
    """Divides a batch into ``nats.partitions`` tasks of at least ``nats.min.range`` sequences."""

    flavor = ""

    def selection(self, settings: NatsSettings) -> NamedStreams:
        return NamedStreams(settings)

    def admit(
        self, available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
    ) -> dict[str, int]:
        return admit(available, max_messages, max_bytes)

    def tasks(
        self, ranges: Sequence[StreamRange], streams: Collection[str], settings: NatsSettings
    ) -> list[tuple[StreamRange, ...]]:
        return plan_tasks(ranges, settings.tasks, settings.min_range)
