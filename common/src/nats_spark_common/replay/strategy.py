"""What sets the flavors apart whose position Spark keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from ..jetstream.api import StreamInfo
from ..jetstream.control import Control
from ..options.settings import NatsSettings
from ..planning.admission import Available
from ..planning.ranges import StreamRange


class Selection(Protocol):
    """Which streams a query reads; it lives as long as the query.

    Attributes:
        grows: whether streams may join while the query runs.
    """

    @property
    def grows(self) -> bool: ...

    def names(self, control: Control) -> list[str]:
        """The streams as the options name them, whether they exist or not."""
        ...

    def require(self, infos: Mapping[str, StreamInfo], control: Control) -> None:
        """Raises ``StreamNotFoundError`` where ``infos``, of those that exist, lack a stream."""
        ...

    def check_position(self, streams: Collection[str]) -> None:
        """Raises ``OptionError`` where the options do not fit the streams of a checkpoint."""
        ...


class Strategy(Protocol):
    """Of streams over a batch, and of a batch over tasks; travels with the reader."""

    def selection(self, settings: NatsSettings) -> Selection:
        """The streams to read. Raises ``OptionError`` where the options name none."""
        ...

    def admit(
        self, available: Mapping[str, Available], max_messages: int | None, max_bytes: int | None
    ) -> dict[str, int]:
        """How many sequences of each stream go into the next batch."""
        ...

    def tasks(
        self, ranges: Sequence[StreamRange], streams: Collection[str], settings: NatsSettings
    ) -> list[tuple[StreamRange, ...]]:
        """What each task reads, perhaps nothing.

        Args:
            ranges: at most one for each stream.
            streams: all streams of the batch, also those without a range.
        """
        ...
