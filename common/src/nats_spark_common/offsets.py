"""The position in a set of streams, as it stands in Spark's checkpoint.

JSON: ``{"v":1,"streams":{"ORDERS":{"seq":123456,"created":"2024-05-01T12:00:00.123456789Z"}}}``;
``seq`` is the last sequence consumed, ``created`` tells the stream from a later one of its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import OptionError
from .jetstream import StreamInfo

_VERSION = 1


@dataclass(frozen=True)
class StreamOffset:
    """Everything up to sequence ``seq`` of the stream created at ``created`` is consumed."""

    seq: int
    created: str

    @staticmethod
    def end_of(info: StreamInfo) -> StreamOffset:
        """Behind the stream's last message."""
        return StreamOffset(info.last_seq, info.created)

    @staticmethod
    def head_of(info: StreamInfo) -> StreamOffset:
        """Before the stream's first message."""
        return StreamOffset(info.first_seq - 1, info.created)


@dataclass(frozen=True)
class Offset:
    """A `StreamOffset` for each stream, by name."""

    streams: Mapping[str, StreamOffset] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, StreamOffset]]:
        return iter(self.streams.items())

    def get(self, stream: str) -> StreamOffset | None:
        return self.streams.get(stream)

    def to_json(self) -> dict[str, Any]:
        """As Spark logs it: streams in the order of their names, so equal offsets look alike."""
        streams = {
            name: {"seq": each.seq, "created": each.created}
            for name, each in sorted(self.streams.items())
        }
        return {"v": _VERSION, "streams": streams}

    @staticmethod
    def from_json(logged: Mapping[str, Any]) -> Offset:
        """Raises ``OptionError`` where the checkpoint holds something else."""
        try:
            if logged["v"] != _VERSION:
                raise ValueError(f"its version is {logged['v']!r}")
            return Offset(
                {
                    str(name): StreamOffset(int(each["seq"]), str(each["created"]))
                    for name, each in logged["streams"].items()
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptionError(
                f"checkpointLocation: the offset {logged!r} was not written by this source "
                f"({error}): use a checkpoint of its own for each query, or a new one"
            ) from error
