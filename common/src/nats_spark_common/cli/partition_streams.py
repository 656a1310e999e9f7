"""What ``nats-spark partitions`` asks of the server: survey, make, take back, look, delete."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..control import Control
from ..errors import NatsSparkError, PartitionSetError, ServerError, StreamNotFoundError
from ..numbered import partition_index, partition_name, partitions_among, runs
from ..partition_set import Mark, PartitionSet, differences
from ..subjects import overlap
from ..timestamps import rfc3339_to_ns

Json = dict[str, Any]


@dataclass(frozen=True)
class Survey:
    """What a set needs: configurations of the streams to make, and the names that exist.

    Attributes:
        gone: messages that the ingest stream has removed: partitions yet to be made miss them.
    """

    missing: list[Json]
    existing: list[str]
    gone: int


@dataclass
class Failure:
    """What is left of a run that failed half way."""

    taken_back: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


def survey(control: Control, wanted: PartitionSet) -> Survey:
    """Compare a set with the streams that exist, and change nothing.

    Raises ``PartitionSetError`` for the first stream that is in the way, with a remedy.
    """
    configs = wanted.configs(control.server_version)
    names = set(control.pages("STREAM.NAMES", "streams"))
    beyond = {
        i: name for i, name in partitions_among(wanted.prefix, names).items() if i >= wanted.count
    }
    standing = _infos(control, [name for name in wanted.names() if name in names])
    for config in configs:
        if config["name"] in standing:
            _check_same(wanted, config, standing[config["name"]]["config"])
    if beyond:
        raise PartitionSetError(
            f"there is a stream {next(iter(beyond.values()))}, which would be partition "
            f"{next(iter(beyond))} of {wanted.prefix}, and --partitions is {wanted.count}: ask "
            "for the number that the set has, or choose another PREFIX"
        )
    if wanted.ingest not in standing:
        _check_overlap(control, wanted)
    ingest = standing.get(wanted.ingest)
    return Survey(
        missing=[config for config in configs if config["name"] not in standing],
        existing=list(standing),
        gone=max(int(ingest["state"]["first_seq"]) - 1, 0) if ingest else 0,
    )


def make(control: Control, missing: list[Json]) -> None:
    """Make streams, all or none.

    Raises ``PartitionSetError`` that says what the server refused and what is left.
    """
    made: list[str] = []
    for config in missing:
        name = config["name"]
        try:
            control.api(f"STREAM.CREATE.{name}", config)
            made.append(name)
        except ServerError as error:
            left = _words(_take_back(control, made))
            raise PartitionSetError(
                f"stream {name} cannot be made: {error.description}; {left}"
            ) from error
        except (NatsSparkError, KeyboardInterrupt) as error:
            left = _words(_take_back(control, [*made, name]))  # the answer may have been lost
            what = str(error) or "interrupted"
            raise PartitionSetError(f"stream {name} cannot be made: {what}; {left}") from error


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
    names = set(control.pages("STREAM.NAMES", "streams"))
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
            f"the set {prefix} is not whole: {runs(prefix, lacking)} missing, "
            f"{runs(prefix, list(numbered.values()))} found; run 'nats-spark partitions create' "
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


@dataclass(frozen=True)
class Removal:
    """What a delete is to remove, the ingest stream first, and what it leaves, with the reason."""

    streams: list[StreamLook]
    left: list[tuple[str, str]]

    @property
    def messages(self) -> int:
        return sum(each.messages for each in self.streams)


def removal(control: Control, prefix: str) -> Removal:
    """The streams that bear the mark of a prefix, and those that look as if they did."""
    looks = [StreamLook.from_json(info, 0.0) for info in control.pages("STREAM.LIST", "streams")]
    marked = [each for each in looks if each.mark and each.mark.prefix == prefix]
    marked.sort(key=_ingest_first)
    ours = {each.name for each in marked}
    left = [
        (each.name, "not made by this command")
        for each in sorted(looks, key=lambda each: each.name)
        if each.name not in ours
        and (partition_index(prefix, each.name) is not None or each.name == f"{prefix}-ingest")
    ]
    left += [
        (each.name, f"sources {', '.join(found)}, and gets nothing from it any more")
        for each in looks
        if each.name not in ours and (found := sorted(ours & set(each.sources)))
    ]
    return Removal(marked, left)


def remove(control: Control, streams: Iterable[StreamLook]) -> None:
    """Delete the streams in their order; one that is gone already is no error.

    Raises ``PartitionSetError`` that names those that are left.
    """
    waiting = [each.name for each in streams]
    while waiting:
        try:
            control.api(f"STREAM.DELETE.{waiting[0]}")
        except StreamNotFoundError:
            pass
        except NatsSparkError as error:
            words = error.description if isinstance(error, ServerError) else str(error)
            raise PartitionSetError(
                f"stream {waiting[0]} cannot be deleted: {words}; still there: {', '.join(waiting)}"
            ) from error
        del waiting[0]


def _ingest_first(look: StreamLook) -> int:
    return -1 if look.mark is None or look.mark.index is None else look.mark.index


def _infos(control: Control, names: Iterable[str]) -> dict[str, Json]:
    infos = control.api_many((f"STREAM.INFO.{name}", None) for name in names)
    return {info["config"]["name"]: info for info in infos}


def _looks(control: Control, names: Iterable[str]) -> list[StreamLook]:
    infos = _infos(control, names)
    now = time.monotonic()
    return [StreamLook.from_json(info, now) for info in infos.values()]


def _check_same(wanted: PartitionSet, config: Json, found: Json) -> None:
    name = config["name"]
    if Mark.of(found) is None:
        raise PartitionSetError(
            f"stream {name} exists and was not made by this command: choose another "
            + ("--ingest" if name == wanted.ingest else "PREFIX")
            + ", or rename or delete the stream; nothing was changed"
        )
    different = differences(config, found)
    if different:
        raise PartitionSetError(
            f"stream {name} exists and differs: {'; '.join(different)}. Ask for what it has, or "
            f"choose another PREFIX, or delete the set (nats-spark partitions delete "
            f"{wanted.prefix}); nothing was changed"
        )


def _check_overlap(control: Control, wanted: PartitionSet) -> None:
    for name in control.pages("STREAM.NAMES", "streams", subject=wanted.subject):
        subjects = control.stream_info(name).subjects
        theirs = [each for each in subjects if overlap(each, wanted.subject)]
        if theirs:
            raise PartitionSetError(
                f"--subject {wanted.subject} overlaps with stream {name}, which takes "
                f"{', '.join(theirs)}: a subject belongs to one stream; narrow one of the two, or "
                f"delete {name}; nothing was made"
            )


def _take_back(control: Control, made: list[str]) -> Failure:
    """Delete what was made, but for streams that have messages.

    The ingest stream comes first, which ends what flows into the others.
    """
    result = Failure()
    for name in made:
        try:
            if control.stream_info(name).messages:
                result.kept.append(name)
                continue
            control.api(f"STREAM.DELETE.{name}")
            result.taken_back.append(name)
        except StreamNotFoundError:
            continue
        except NatsSparkError:
            result.stuck.append(name)
    return result


def _words(failure: Failure) -> str:
    words = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("taken back", failure.taken_back),
            ("kept, as messages came", failure.kept),
            ("could not be taken back", failure.stuck),
        )
        if names
    ] or ["nothing was made"]
    if failure.kept or failure.stuck:
        words.append("run it again to make the rest, or delete the set")
    return "; ".join(words)
