"""What the streams of a partitioned set hold at one moment, and how fast that grows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import PartitionSetError
from ..jetstream.control import Control
from ..protocol.partition_names import abbreviate, partition_name, partitions_among
from ..protocol.timestamps import rfc3339_to_ns
from .mark import Mark

Json = dict[str, Any]


@dataclass(frozen=True)
class StreamSnapshot:
    """A stream at one moment; ages are in seconds, and None if they are unknown.

    Attributes:
        when: when it was taken, on this machine's monotonic clock, for rates.
        lag: messages of its sources that it has not stored yet.
        heard: seconds since it last heard from its sources, the longest; below 0: never.
        sources: names of the streams that it sources.
        errors: errors that the server reports of its sources.
    """

    name: str
    when: float
    created: str
    messages: int
    bytes: int
    first_seq: int
    last_seq: int
    age: float | None
    lag: int | None
    heard: float | None
    sources: tuple[str, ...]
    errors: tuple[str, ...]
    mark: Mark | None

    @staticmethod
    def from_json(info: Json, when: float) -> StreamSnapshot:
        """Read the server's stream info."""
        config, state = info["config"], info["state"]
        sources = info.get("sources") or []
        silent = [int(each.get("active", -1)) / 1e9 for each in sources]
        now = rfc3339_to_ns(info["ts"]) if "ts" in info else time.time_ns()
        return StreamSnapshot(
            name=config["name"],
            when=when,
            created=info["created"],
            messages=int(state["messages"]),
            bytes=int(state["bytes"]),
            first_seq=int(state["first_seq"]),
            last_seq=int(state["last_seq"]),
            age=max(now - rfc3339_to_ns(state["last_ts"]), 0) / 1e9 if state["messages"] else None,
            lag=sum(int(each.get("lag", 0)) for each in sources) if sources else None,
            heard=(min(silent) if min(silent) < 0 else max(silent)) if sources else None,
            sources=tuple(each["name"] for each in config.get("sources") or ()),
            errors=tuple(
                str(each["error"].get("description", each["error"]))
                for each in sources
                if each.get("error")
            ),
            mark=Mark.from_config(config),
        )


@dataclass(frozen=True)
class SetSnapshot:
    """A set at one moment: its partitions in order, and the streams that they source.

    Attributes:
        absent: names of sourced streams that do not exist.
    """

    partitions: list[StreamSnapshot]
    ingest: list[StreamSnapshot]
    absent: list[str]

    @property
    def mark(self) -> Mark | None:
        """The mark of the first partition."""
        return self.partitions[0].mark

    @property
    def streams(self) -> list[StreamSnapshot]:
        """All streams of the set."""
        return [*self.partitions, *self.ingest]


def take_snapshot(control: Control, prefix: str) -> SetSnapshot:
    """Return the set of a prefix, whether or not the command created it.

    Raises ``PartitionSetError`` if there is none, or a partition is missing.
    """
    names = set(control.stream_names())
    numbered = partitions_among(prefix, names)
    if not numbered:
        prefixes = sorted(n.removesuffix("-0") for n in names if n.endswith("-0"))
        existing = f"the existing sets are {', '.join(prefixes)}" if prefixes else "no set exists"
        raise PartitionSetError(
            f"stream {partition_name(prefix, 0)} does not exist, and {existing}: check PREFIX, "
            "which is case-sensitive, and the account and domain"
        )
    partitions = _snapshots(control, numbered.values())
    marked_count = next((each.mark.count for each in partitions if each.mark), 0)
    missing = [
        partition_name(prefix, i)
        for i in range(max(marked_count, max(numbered) + 1))
        if i not in numbered
    ]
    if missing:
        raise PartitionSetError(
            f"set {prefix} is incomplete: {abbreviate(prefix, missing)} missing, "
            f"{abbreviate(prefix, list(numbered.values()))} found; "
            "to create the missing streams, run 'nats-spark partitions create' with its original "
            "arguments"
        )
    sources = list(dict.fromkeys(name for each in partitions for name in each.sources))
    return SetSnapshot(
        partitions,
        _snapshots(control, [name for name in sources if name in names]),
        [name for name in sources if name not in names],
    )


def retake_snapshot(control: Control, before: SetSnapshot) -> SetSnapshot:
    """Return the same streams at a later moment. Raises ``StreamNotFoundError``."""
    return SetSnapshot(
        _snapshots(control, [each.name for each in before.partitions]),
        _snapshots(control, [each.name for each in before.ingest]),
        before.absent,
    )


@dataclass(frozen=True)
class Rate:
    """Messages and bytes per second between two snapshots of a stream."""

    messages: float
    bytes: float

    @staticmethod
    def between(before: StreamSnapshot, after: StreamSnapshot) -> Rate | None:
        """Return the rate; None if the stream was recreated, or no time has passed."""
        seconds = after.when - before.when
        if seconds <= 0 or before.created != after.created:
            return None
        new = max(after.last_seq - before.last_seq, 0)
        grown = after.bytes - before.bytes
        if after.messages - before.messages != new:  # messages were removed meanwhile
            grown = round(new * after.bytes / after.messages) if after.messages else 0
        return Rate(new / seconds, grown / seconds)


def _snapshots(control: Control, names: Iterable[str]) -> list[StreamSnapshot]:
    replies = control.api_many((f"STREAM.INFO.{name}", None) for name in names)
    infos = {info["config"]["name"]: info for info in replies}
    now = time.monotonic()
    return [StreamSnapshot.from_json(info, now) for info in infos.values()]
