"""The positions of this suite's sources in an entry of Spark's offset log. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..errors import CheckpointError, OptionError
from ..protocol.json_object import json_object
from ..replay.offsets import Offset
from .log_entry import LogEntry


@dataclass(frozen=True)
class ReplayPosition:
    """The position of a V2 or partitioned source.

    Attributes:
        index: number of the source in the query, from 0.
        source: its id in the log.
        flavor: ``v2`` or ``partitioned``.
    """

    index: int
    source: str
    flavor: str
    offset: Offset


@dataclass(frozen=True)
class ConsumerPosition:
    """A balanced source, whose position is the state of a consumer on the server."""

    index: int
    source: str
    stream: str
    created: str
    consumer: str

    flavor = "balanced"


SourcePosition: TypeAlias = ReplayPosition | ConsumerPosition


def positions(entry: LogEntry, name: str) -> list[SourcePosition]:
    """Return the positions of the NATS sources of a query.

    Raises ``CheckpointError`` with ``name``, the checkpoint's location, if it has none.
    """
    found = []
    for index, (source, text) in enumerate(entry.offsets.items()):
        position = _position(index, source, text)
        if position is not None:
            found.append(position)
    if not found:
        ends = ", ".join(str(text)[:80] for text in entry.offsets.values())
        raise CheckpointError(
            f"{name} is the checkpoint of a query without a NATS source; its sources are at {ends}"
        )
    return found


def _position(index: int, source: str, text: str | None) -> SourcePosition | None:
    logged = json_object(text or "null")
    if logged is None:
        return None
    if "consumer" in logged and "stream" in logged:
        stream, consumer = str(logged["stream"]), str(logged["consumer"])
        return ConsumerPosition(index, source, stream, str(logged.get("created", "")), consumer)
    try:
        offset = Offset.from_json(logged)
    except OptionError:
        return None
    return ReplayPosition(index, source, offset.flavor or "v2", offset)
