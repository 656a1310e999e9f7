"""The position in a set of streams, as Spark's checkpoint stores it.

JSON: ``{"v":1,"streams":{"ORDERS":{"seq":123456,"created":"2024-05-01T12:00:00.123456789Z"}}}``;
``seq`` is the last sequence consumed, ``created`` distinguishes the stream from a later one of the
same name.

The batch that ends at an offset reads each stream from the end of the batch before. If the batch is
the first to read a stream, ``"after"`` is the sequence before its first one. So the offsets of a
batch and of the batch before define its rows without other state. This matters because Spark does
not log the start of the first batch, and requests it again after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError
from ..jetstream.api import StreamInfo, whole

_VERSION = 1


@dataclass(frozen=True)
class StreamOffset:
    """The sequences up to ``seq`` of the stream created at ``created`` are consumed.

    Attributes:
        after: if the batch that ends here is the first to read the stream: the sequence before the
            first that it reads.
    """

    seq: int
    created: str
    after: int | None = None

    @staticmethod
    def entering(seq: int, info: StreamInfo) -> StreamOffset:
        """Return a position after ``seq``, for a stream that no batch has read."""
        return StreamOffset(seq, info.created, seq)

    @staticmethod
    def head_of(info: StreamInfo) -> StreamOffset:
        """Return the position before the stream's first message, for one that no batch has read."""
        return StreamOffset.entering(info.first_seq - 1, info)

    @staticmethod
    def end_of(info: StreamInfo) -> StreamOffset:
        """Return the position after the stream's last message."""
        return StreamOffset(info.last_seq, info.created)

    def advanced(self, count: int) -> StreamOffset:
        """Return the end of the next batch, with ``count`` more sequences of the stream.

        ``after`` is kept until a batch reads the stream.
        """
        after = self.after if self.after == self.seq else None
        return StreamOffset(self.seq + count, self.created, after)

    def at(self, other: StreamOffset) -> bool:
        """Return whether both are at the same sequence of the same stream."""
        return (self.seq, self.created) == (other.seq, other.created)


@dataclass(frozen=True)
class Offset:
    """A `StreamOffset` for each stream, by name.

    Attributes:
        flavor: the flavor whose query logs the offset; empty for V2.
        resets: how often the query was reset (``nats.reset.on.restart``). It distinguishes a batch
            that ends where the batch before ended from no batch.
    """

    streams: Mapping[str, StreamOffset] = field(default_factory=dict)
    resets: int = 0
    flavor: str = field(default="", compare=False)

    def __iter__(self) -> Iterator[tuple[str, StreamOffset]]:
        return iter(self.streams.items())

    def get(self, stream: str) -> StreamOffset | None:
        return self.streams.get(stream)

    def at(self, other: Offset) -> bool:
        """Return whether both are at the same sequences of the same streams after equal resets."""
        return (
            self.resets == other.resets
            and self.streams.keys() == other.streams.keys()
            and all(each.at(other.streams[name]) for name, each in self)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON that Spark logs; sorted by name, so equal offsets give equal JSON."""
        streams: dict[str, dict[str, Any]] = {}
        for name, each in sorted(self.streams.items()):
            streams[name] = {"seq": each.seq, "created": each.created}
            if each.after is not None:
                streams[name]["after"] = each.after
        resets = {"resets": self.resets} if self.resets else {}
        flavor = {"flavor": self.flavor} if self.flavor else {}
        return {"v": _VERSION, "streams": streams, **resets, **flavor}

    @staticmethod
    def from_json(logged: Mapping[str, Any]) -> Offset:
        """Parse a logged offset. Raises ``OptionError`` if another source has written it."""
        try:
            if logged["v"] != _VERSION:
                raise ValueError(f"its version is {logged['v']!r}")
            return Offset(
                {
                    str(name): StreamOffset(
                        whole(each["seq"]),
                        str(each["created"]),
                        whole(each["after"]) if "after" in each else None,
                    )
                    for name, each in logged["streams"].items()
                },
                whole(logged.get("resets", 0)),
                str(logged.get("flavor", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptionError(
                f"checkpointLocation: the offset {str(logged)[:200]} was not written by this "
                f"source ({error}): use a separate checkpoint for each query, or a new one"
            ) from error
