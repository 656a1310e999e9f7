"""How streams share a batch, and how it is divided: one task for each stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.admission import Available
from nats_spark_common.planning.ranges import StreamRange
from nats_spark_common.protocol.partition_names import partition_index

from .even_admission import admit_evenly
from .numbered_streams import NumberedStreams


class ByStream:
    """Reads stream i in partition i, even if the batch has nothing of it."""

    flavor = "partitioned"

    def selection(self, settings: NatsSettings) -> NumberedStreams:
        return NumberedStreams(settings)

    def admit(
        self, available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
    ) -> dict[str, int]:
        return admit_evenly(available, max_messages, max_bytes)

    def tasks(
        self, ranges: Sequence[StreamRange], streams: Collection[str], settings: NatsSettings
    ) -> list[tuple[StreamRange, ...]]:
        prefix = settings.stream_prefix or ""
        numbers = [partition_index(prefix, name) or 0 for name in streams]
        by_number = {partition_index(prefix, each.stream): each for each in ranges}
        every = range(1 + max(numbers, default=-1))
        return [(by_number[number],) if number in by_number else () for number in every]
