"""What differs between the flavors whose position is in Spark's checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ..jetstream.api import StreamInfo
from ..jetstream.control import Control
from ..options.settings import NatsSettings
from ..planning.admission import Available
from ..planning.ranges import StreamRange


class Selection(Protocol):
    """Which streams a query reads; one object for the lifetime of the query."""

    @property
    def grows(self) -> bool:
        """Whether streams may join while the query runs."""
        ...

    def reads(self, name: str) -> bool:
        """Return whether the query reads a stream of this name, now or when it joins."""
        ...

    def names(self, control: Control) -> list[str]:
        """Return the streams that the options name, whether they exist or not."""
        ...

    def require(self, infos: Mapping[str, StreamInfo], control: Control) -> None:
        """Raise ``StreamNotFoundError`` if a stream is not in ``infos``, those that exist."""
        ...

    def check_position(self, streams: Collection[str]) -> None:
        """Raise ``OptionError`` if the options do not match the streams of a checkpoint."""
        ...


class Strategy(Protocol):
    """How streams share a batch, and how a batch is divided into tasks; pickled with the reader."""

    @property
    def flavor(self) -> str:
        """The flavor's name in logged offsets; empty for V2."""
        ...

    def selection(self, settings: NatsSettings) -> Selection:
        """Return the streams to read. Raises ``OptionError`` if the options name none."""
        ...

    def admit(
        self, available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
    ) -> dict[str, int]:
        """Return the number of sequences of each stream for the next batch."""
        ...

    def tasks(
        self, ranges: Sequence[StreamRange], streams: Collection[str], settings: NatsSettings
    ) -> list[tuple[StreamRange, ...]]:
        """Return the ranges of each task; a task may have none.

        Args:
            ranges: at most one for each stream.
            streams: all streams of the batch, including those without a range.
        """
        ...
