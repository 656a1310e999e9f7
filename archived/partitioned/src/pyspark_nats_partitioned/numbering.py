"""Which streams there are: ``<prefix>-0`` to ``<prefix>-(N-1)``, without a gap."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping

from nats_spark_common.control import Control
from nats_spark_common.errors import OptionError, StreamNotFoundError
from nats_spark_common.jetstream import StreamInfo
from nats_spark_common.settings import NatsSettings

_log = logging.getLogger(__name__)


def number_of(stream: str) -> int:
    """The number at the end of a numbered stream's name."""
    return int(stream.rpartition("-")[2])


class NumberedStreams:
    """The streams of ``nats.stream.prefix``; as many as ``nats.num.partitions`` says, or all."""

    def __init__(self, settings: NatsSettings) -> None:
        """Raises ``OptionError`` where no prefix is set."""
        if settings.stream_prefix is None:
            raise OptionError(
                "no streams are named: set nats.stream.prefix to P for streams P-0, P-1, … "
                "(nats-spark partitions create P … makes such a set)"
            )
        self._prefix = settings.stream_prefix
        self._count = None if settings.num_partitions == "auto" else settings.num_partitions
        self._name = re.compile(re.escape(self._prefix) + r"-(0|[1-9]\d{0,8})", re.ASCII)
        self._known: set[int] = set()
        self._warned: set[int] = set()

    @property
    def grows(self) -> bool:
        return self._count is None

    def names(self, control: Control) -> list[str]:
        if self._count is not None:
            return self._named(range(self._count))
        there = self._numbers(control)
        joined = _without_gap(there | self._known)
        self._warn(there - joined, "wait for the numbers before them, and are not read yet")
        self._known |= joined
        return self._named(sorted(there & self._known))

    def require(self, infos: Mapping[str, StreamInfo], control: Control) -> None:
        there = self._numbers(control)
        expected = set(range(self._count or max(there, default=0) + 1))
        missing = self._named(sorted(expected - there))
        if missing:
            exists = ", ".join(self._named(sorted(there))) or "none of them"
            raise StreamNotFoundError(
                f"nats.stream.prefix={self._prefix}, nats.num.partitions={self._count or 'auto'}: "
                f"{_listed(missing)} is missing, there is {exists}. Create what is missing (see "
                "nats-spark partitions create), or set nats.num.partitions to how many there are"
            )
        self._warn(
            there - expected, f"lie beyond nats.num.partitions={self._count}, and are not read"
        )

    def check_position(self, streams: Collection[str]) -> None:
        strange = sorted(name for name in streams if not self._name.fullmatch(name))
        if strange:
            raise OptionError(
                f"nats.stream.prefix={self._prefix}: the checkpoint is of {_listed(strange)}: "
                "set the prefix of that, or start a new checkpoint"
            )
        self._known |= set(map(number_of, streams))
        known = max(self._known, default=-1) + 1
        if self._count is not None and self._count != known:
            raise OptionError(
                f"nats.num.partitions={self._count}, but the checkpoint is of {known} streams, "
                f"{self._prefix}-0 to {self._prefix}-{known - 1}: set it to {known} again, to "
                "'auto' to go on with the streams that have joined, or start a new checkpoint"
            )

    def _numbers(self, control: Control) -> set[int]:
        names = map(self._name.fullmatch, control.stream_names())
        return {int(each.group(1)) for each in names if each}

    def _named(self, numbers: Iterable[int]) -> list[str]:
        return [f"{self._prefix}-{number}" for number in numbers]

    def _warn(self, numbers: set[int], words: str) -> None:
        new = sorted(numbers - self._warned)
        if new:
            _log.warning("streams %s %s", _listed(self._named(new)), words)
            self._warned.update(new)


def _without_gap(numbers: set[int]) -> set[int]:
    """Those from 0 on up to the first that is missing."""
    end = 0
    while end in numbers:
        end += 1
    return set(range(end))


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
