"""Which streams there are: ``<prefix>-0`` to ``<prefix>-(N-1)``, without a gap."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from nats_spark_common.errors import OptionError, StreamNotFoundError
from nats_spark_common.jetstream.api import StreamInfo
from nats_spark_common.jetstream.control import Control
from nats_spark_common.options.catalog_tables import TABLES
from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.protocol.partition_names import (
    abbreviate,
    partition_index,
    partition_name,
    partitions_among,
)

_log = logging.getLogger(__name__)


class NumberedStreams:
    """The streams of ``nats.stream.prefix``; as many as ``nats.num.partitions`` says, or all."""

    def __init__(self, settings: NatsSettings) -> None:
        """Raises ``OptionError`` where no prefix is set."""
        if settings.stream_prefix is None:
            raise OptionError(
                "no streams are named: set nats.stream.prefix to P for streams P-0, P-1, … "
                f"(nats-spark partitions create P … makes such a set). {TABLES}"
            )
        self._prefix = settings.stream_prefix
        self._count = None if settings.num_partitions == "auto" else settings.num_partitions
        self._fails_on_loss = settings.fail_on_data_loss
        self._known: set[int] | None = None  # until the position says which
        self._warned: set[int] = set()

    @property
    def grows(self) -> bool:
        return self._count is None

    def names(self, control: Control) -> list[str]:
        if self._count is not None:
            return self._named(range(self._count))
        there = self._numbers(control.stream_names())
        if self._known is None:
            return self._named(there)
        joined = _without_gap(there | self._known)
        self._warn(there - joined, "wait for the numbers before them, and are not read yet")
        self._known |= joined
        return self._named(there & self._known)

    def require(self, infos: Mapping[str, StreamInfo], control: Control) -> None:
        # `names` has listed them for auto; for a number, those beyond it are worth a warning.
        there = self._numbers(control.stream_names() if self._count else infos)
        expected = set(range(self._count or max(there, default=0) + 1))
        missing = expected - there
        if missing:
            raise StreamNotFoundError(
                f"nats.stream.prefix={self._prefix}, nats.num.partitions={self._count or 'auto'}: "
                f"{self._listed(missing)} missing, {self._listed(there) or 'none'} found. Create "
                "what is missing (see nats-spark partitions create), or set nats.num.partitions "
                "to how many there are"
            )
        self._warn(
            there - expected, f"lie beyond nats.num.partitions={self._count}, and are not read"
        )

    def check_position(self, streams: Collection[str]) -> None:
        known = set()
        for name in streams:
            number = partition_index(self._prefix, name)
            if number is None:
                raise OptionError(
                    f"nats.stream.prefix={self._prefix}: the checkpoint is of stream {name!r}: "
                    "set the prefix of that, or start a new checkpoint"
                )
            known.add(number)
        self._known = known
        count = max(known, default=-1) + 1
        if self._count is None or self._count == count:
            return
        # Where loss is allowed, streams that were lost have left the checkpoint.
        if self._count < count or self._fails_on_loss:
            raise OptionError(
                f"nats.num.partitions={self._count}, but the checkpoint is of {count} streams, "
                f"{self._listed(known)}: set it to {count} again, to 'auto' to go on with the "
                "streams that have joined, or start a new checkpoint"
            )

    def _numbers(self, names: Iterable[str]) -> set[int]:
        return set(partitions_among(self._prefix, names))

    def _named(self, numbers: Iterable[int]) -> list[str]:
        return [partition_name(self._prefix, number) for number in sorted(numbers)]

    def _listed(self, numbers: Iterable[int]) -> str:
        return abbreviate(self._prefix, self._named(numbers))

    def _warn(self, numbers: set[int], words: str) -> None:
        new = sorted(numbers - self._warned)
        if new:
            _log.warning("streams %s %s", self._listed(new), words)
            self._warned.update(new)


def _without_gap(numbers: set[int]) -> set[int]:
    """Those from 0 on up to the first that is missing."""
    end = 0
    while end in numbers:
        end += 1
    return set(range(end))
