"""What the streams of a partitioned set hold at a moment, and how fast that grows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import PartitionSetError
from ..jetstream.control import Control
from ..protocol.partition_names import abbreviate, partition_name, partitions_among
from ..protocol.timestamps import rfc3339_to_ns
from .plan import Mark

Json = dict[str, Any]


@dataclass(frozen=True)
class StreamLook:
    """A stream at a moment; ages in seconds, None where it cannot be known.

    Attributes:
        when: of this machine's monotonic clock, for rates.
        lag: messages that its sources hold for it, and it has not taken yet.
        heard: seconds since its sources were last heard of, the longest; below 0: never.
        sources: names of the streams that it sources.
        errors: what the server says is wrong with its sources.
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
    def from_json(info: Json, when: float) -> StreamLook:
        config, state = info["config"], info["state"]
        sources = info.get("sources") or []
        silent = [int(each.get("active", -1)) / 1e9 for each in sources]
        now = rfc3339_to_ns(info["ts"]) if "ts" in info else time.time_ns()
        return StreamLook(
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
            mark=Mark.of(config),
        )


@dataclass(frozen=True)
class SetLook:
    """A set at a moment: its partitions in order, and the streams that they source.

    Attributes:
        absent: names of sourced streams that do not exist.
    """

    partitions: list[StreamLook]
    ingest: list[StreamLook]
    absent: list[str]

    @property
    def mark(self) -> Mark | None:
        return self.partitions[0].mark

    @property
    def streams(self) -> list[StreamLook]:
        return [*self.partitions, *self.ingest]


def look(control: Control, prefix: str) -> SetLook:
    """The set of a prefix, made by the command or by hand.

    Raises ``PartitionSetError`` where there is none, or its numbering has gaps.
    """
    names = set(control.stream_names())
    numbered = partitions_among(prefix, names)
    if not numbered:
        prefixes = sorted(n.removesuffix("-0") for n in names if n.endswith("-0"))
        others = f"there are the sets {', '.join(prefixes)}" if prefixes else "there is no set"
        raise PartitionSetError(
            f"there is no stream {partition_name(prefix, 0)}: {others}; names are case-sensitive, "
            "and each account and domain has its own"
        )
    partitions = _looks(control, numbered.values())
    marked = next((each.mark.count for each in partitions if each.mark), 0)
    lacking = [
        partition_name(prefix, i)
        for i in range(max(marked, max(numbered) + 1))
        if i not in numbered
    ]
    if lacking:
        raise PartitionSetError(
            f"the set {prefix} is not whole: {abbreviate(prefix, lacking)} missing, "
            f"{abbreviate(prefix, [*numbered.values()])} found; run 'nats-spark partitions create' "
            "with the arguments that made it, and it makes what is missing"
        )
    sources = list(dict.fromkeys(name for each in partitions for name in each.sources))
    return SetLook(
        partitions,
        _looks(control, [name for name in sources if name in names]),
        [name for name in sources if name not in names],
    )


def look_again(control: Control, before: SetLook) -> SetLook:
    """The same streams at a later moment. Raises ``StreamNotFoundError``."""
    return SetLook(
        _looks(control, [each.name for each in before.partitions]),
        _looks(control, [each.name for each in before.ingest]),
        before.absent,
    )


@dataclass(frozen=True)
class Rate:
    """Messages and bytes a second between two looks at a stream."""

    messages: float
    bytes: float

    @staticmethod
    def between(before: StreamLook, after: StreamLook) -> Rate | None:
        """None where the stream was made anew, or no time has passed."""
        seconds = after.when - before.when
        if seconds <= 0 or before.created != after.created:
            return None
        new = max(after.last_seq - before.last_seq, 0)
        grown = after.bytes - before.bytes
        if after.messages - before.messages != new:  # some were removed meanwhile
            grown = round(new * after.bytes / after.messages) if after.messages else 0
        return Rate(new / seconds, grown / seconds)


def _infos(control: Control, names: Iterable[str]) -> dict[str, Json]:
    infos = control.api_many((f"STREAM.INFO.{name}", None) for name in names)
    return {info["config"]["name"]: info for info in infos}


def _looks(control: Control, names: Iterable[str]) -> list[StreamLook]:
    infos = _infos(control, names)
    now = time.monotonic()
    return [StreamLook.from_json(info, now) for info in infos.values()]
