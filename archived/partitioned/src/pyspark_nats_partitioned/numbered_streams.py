"""Which streams are read: ``<prefix>-0`` to ``<prefix>-(N-1)``, without a gap."""

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
    """The streams of ``nats.stream.prefix``: ``nats.num.partitions`` of them, or all."""

    def __init__(self, settings: NatsSettings) -> None:
        """Raise ``OptionError`` if no prefix is set."""
        if settings.stream_prefix is None:
            raise OptionError(
                "no streams are named: set nats.stream.prefix to P to read the streams P-0, P-1, … "
                f"(nats-spark partitions create P … creates such a set). {TABLES}"
            )
        self._prefix = settings.stream_prefix
        self._count = None if settings.num_partitions == "auto" else settings.num_partitions
        self._fails_on_loss = settings.fail_on_data_loss
        self._known: set[int] | None = None  # until `check_position`
        self._warned: set[int] = set()

    @property
    def grows(self) -> bool:
        return self._count is None

    def reads(self, name: str) -> bool:
        number = partition_index(self._prefix, name)
        return number is not None and (self._count is None or number < self._count)

    def names(self, control: Control) -> list[str]:
        if self._count is not None:
            return self._named(range(self._count))
        existing = self._numbers(control.stream_names())
        if self._known is None:
            return self._named(existing)
        joined = _without_gap(existing | self._known)
        self._warn(existing - joined, "streams after a gap in the numbers are not read yet")
        self._known |= joined
        return self._named(existing & self._known)

    def require(self, infos: Mapping[str, StreamInfo], control: Control) -> None:
        # For auto, `infos` has all streams. For a number, list the streams beyond it for a warning.
        existing = self._numbers(control.stream_names() if self._count else infos)
        expected = set(range(self._count or max(existing, default=0) + 1))
        missing = expected - existing
        if missing:
            raise StreamNotFoundError(
                f"nats.stream.prefix={self._prefix}, nats.num.partitions={self._count or 'auto'}: "
                f"{self._listed(missing)} missing, {self._listed(existing) or 'none'} found. "
                "Create the missing streams (see nats-spark partitions create), or set "
                "nats.num.partitions to the number of existing streams"
            )
        self._warn(
            existing - expected, f"streams beyond nats.num.partitions={self._count} are not read"
        )

    def check_position(self, streams: Collection[str]) -> None:
        known = set()
        for name in streams:
            number = partition_index(self._prefix, name)
            if number is None:
                raise OptionError(
                    f"nats.stream.prefix={self._prefix} does not match stream {name!r} of the "
                    "checkpoint: set its prefix, or start a new checkpoint"
                )
            known.add(number)
        self._known = known
        count = max(known, default=-1) + 1
        if self._count is None or self._count == count:
            return
        # If data loss is allowed, lost streams have left the checkpoint.
        if self._count < count or self._fails_on_loss:
            raise OptionError(
                f"nats.num.partitions={self._count}, but the checkpoint has {count} "
                f"stream{'' if count == 1 else 's'} ({self._listed(known)}): set it to {count}, or "
                "to 'auto' to read new streams too, or start a new checkpoint"
            )

    def _numbers(self, names: Iterable[str]) -> set[int]:
        return set(partitions_among(self._prefix, names))

    def _named(self, numbers: Iterable[int]) -> list[str]:
        return [partition_name(self._prefix, number) for number in sorted(numbers)]

    def _listed(self, numbers: Iterable[int]) -> str:
        return abbreviate(self._prefix, self._named(numbers))

    def _warn(self, numbers: set[int], what: str) -> None:
        new = sorted(numbers - self._warned)
        if new:
            _log.warning("%s: %s", what, self._listed(new))
            self._warned.update(new)


def _without_gap(numbers: set[int]) -> set[int]:
    """Return the numbers from 0 up to the first gap."""
    end = 0
    while end in numbers:
        end += 1
    return set(range(end))
