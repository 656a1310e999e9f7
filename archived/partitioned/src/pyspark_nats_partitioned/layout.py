"""How streams share a batch, and how it is divided: a task for each stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nats_spark_common.admission import Available
from nats_spark_common.ranges import StreamRange
from nats_spark_common.settings import NatsSettings

from .numbering import NumberedStreams, number_of
from .sharing import admit_evenly


class ByStream:
    """Partition i is stream i, whatever the batch holds of it."""

    def selection(self, settings: NatsSettings) -> NumberedStreams:
        return NumberedStreams(settings)

    def admit(
        self, available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
    ) -> dict[str, int]:
        return admit_evenly(available, max_messages, max_bytes)

    def tasks(
        self, ranges: Sequence[StreamRange], streams: Collection[str], settings: NatsSettings
    ) -> list[StreamRange | None]:
        tasks: list[StreamRange | None] = [None] * (1 + max(map(number_of, streams), default=-1))
        for each in ranges:
            tasks[number_of(each.stream)] = each
        return tasks
