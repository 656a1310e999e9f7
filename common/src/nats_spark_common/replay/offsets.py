"""The position in a set of streams, as it stands in Spark's checkpoint.

JSON: ``{"v":1,"streams":{"ORDERS":{"seq":123456,"created":"2024-05-01T12:00:00.123456789Z"}}}``;
``seq`` is the last sequence consumed, ``created`` tells the stream from a later one of its name.

The batch that ends at an offset reads each stream from where the batch before it ended, unless the
stream enters with this batch: then its ``"after"`` names the sequence behind which reading begins.
So the offset of a batch and that of the one before say what its rows are, and nothing else does:
Spark logs no offset for the beginning of the first batch, and asks for it anew after a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError
from ..jetstream.api import StreamInfo

_VERSION = 1


@dataclass(frozen=True)
class StreamOffset:
    """Everything up to sequence ``seq`` of the stream created at ``created`` is consumed.

    Attributes:
        after: where the stream enters with the batch that ends here: what precedes its first
            sequence.
    """

    seq: int
    created: str
    after: int | None = None

    @staticmethod
    def entering(seq: int, info: StreamInfo) -> StreamOffset:
        """Behind ``seq``, whatever was consumed of a stream of this name."""
        return StreamOffset(seq, info.created, seq)

    @staticmethod
    def head_of(info: StreamInfo) -> StreamOffset:
        """Entering before the stream's first message."""
        return StreamOffset.entering(info.first_seq - 1, info)

    @staticmethod
    def end_of(info: StreamInfo) -> StreamOffset:
        """Behind the stream's last message."""
        return StreamOffset(info.last_seq, info.created)

    def advanced(self, count: int) -> StreamOffset:
        """The end of the next batch, with ``count`` more sequences of the stream.

        A stream goes on entering until something of it is in a batch.
        """
        after = self.after if self.after == self.seq else None
        return StreamOffset(self.seq + count, self.created, after)

    def at(self, other: StreamOffset) -> bool:
        """Whether both stand at the same sequence of the same stream."""
        return (self.seq, self.created) == (other.seq, other.created)


@dataclass(frozen=True)
class Offset:
    """A `StreamOffset` for each stream, by name.

    Attributes:
        resets: how often the query has begun anew (``nats.reset.on.restart``); it tells a batch
            that ends where the batch before ended from no batch.
    """

    streams: Mapping[str, StreamOffset] = field(default_factory=dict)
    resets: int = 0

    def __iter__(self) -> Iterator[tuple[str, StreamOffset]]:
        return iter(self.streams.items())

    def get(self, stream: str) -> StreamOffset | None:
        return self.streams.get(stream)

    def at(self, other: Offset) -> bool:
        """Whether both stand at the same sequences of the same streams, in the same round."""
        return (
            self.resets == other.resets
            and self.streams.keys() == other.streams.keys()
            and all(each.at(other.streams[name]) for name, each in self)
        )

    def to_json(self) -> dict[str, Any]:
        """As Spark logs it: streams in the order of their names, so equal offsets look alike."""
        streams: dict[str, dict[str, Any]] = {}
        for name, each in sorted(self.streams.items()):
            streams[name] = {"seq": each.seq, "created": each.created}
            if each.after is not None:
                streams[name]["after"] = each.after
        resets = {"resets": self.resets} if self.resets else {}
        return {"v": _VERSION, "streams": streams, **resets}

    @staticmethod
    def from_json(logged: Mapping[str, Any]) -> Offset:
        """Raises ``OptionError`` where the checkpoint holds something else."""
        try:
            if logged["v"] != _VERSION:
                raise ValueError(f"its version is {logged['v']!r}")
            return Offset(
                {
                    str(name): StreamOffset(
                        int(each["seq"]),
                        str(each["created"]),
                        int(each["after"]) if "after" in each else None,
                    )
                    for name, each in logged["streams"].items()
                },
                int(logged.get("resets", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise OptionError(
                f"checkpointLocation: the offset {logged!r} was not written by this source "
                f"({error}): use a checkpoint of its own for each query, or a new one"
            ) from error
