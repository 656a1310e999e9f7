"""Makes the streams of a partitioned set: looks first, and takes back what it cannot complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import NatsSparkError, PartitionSetError, ServerError, StreamNotFoundError
from ..jetstream.control import Control
from ..protocol.partition_names import partitions_among
from ..protocol.subjects import overlap
from .plan import Mark, PartitionSet, differences

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
class Rollback:
    """What became of the streams that a failed run had made: deleted again, or left, and why."""

    taken_back: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


def survey(control: Control, wanted: PartitionSet) -> Survey:
    """Compare a set with the streams that exist, and change nothing.

    Raises ``PartitionSetError`` for the first stream that is in the way, with a remedy.
    """
    configs = wanted.configs(control.server_version)
    names = set(control.stream_names())
    beyond = {
        i: name for i, name in partitions_among(wanted.prefix, names).items() if i >= wanted.count
    }
    standing = control.stream_infos_json(name for name in wanted.names() if name in names)
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
            left = _words(_roll_back(control, made))
            raise PartitionSetError(
                f"stream {name} cannot be made: {error.description}; {left}"
            ) from error
        except (NatsSparkError, KeyboardInterrupt) as error:
            left = _words(_roll_back(control, [*made, name]))  # the answer may have been lost
            what = str(error) or "interrupted"
            raise PartitionSetError(f"stream {name} cannot be made: {what}; {left}") from error


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


def _roll_back(control: Control, made: list[str]) -> Rollback:
    """Delete what was made, but for streams that have messages.

    The ingest stream comes first, which ends what flows into the others.
    """
    result = Rollback()
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


def _words(result: Rollback) -> str:
    words = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("taken back", result.taken_back),
            ("kept, as messages came", result.kept),
            ("could not be taken back", result.stuck),
        )
        if names
    ] or ["nothing was made"]
    if result.kept or result.stuck:
        words.append("run it again to make the rest, or delete the set")
    return "; ".join(words)
