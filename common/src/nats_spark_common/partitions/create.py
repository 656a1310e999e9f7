"""Creates the streams of a partitioned set; rolls back what it cannot complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import NatsSparkError, PartitionSetError, ServerError, StreamNotFoundError
from ..jetstream.control import Control
from ..protocol.partition_names import partitions_among
from ..protocol.subjects import overlap
from .differences import differences
from .mark import Mark
from .plan import PartitionSet

Json = dict[str, Any]


@dataclass(frozen=True)
class Survey:
    """A set compared with the server: configurations to create, and names that exist.

    Attributes:
        removed: number of messages that the ingest stream has removed. Partitions that are created
            now do not have them.
    """

    missing: list[Json]
    existing: list[str]
    removed: int


@dataclass
class _Rollback:
    """What happened to the streams that a failed run had created, by name."""

    deleted: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("rolled back", self.deleted),
                ("kept because of new messages", self.kept),
                ("could not be rolled back", self.failed),
            )
            if names
        ] or ["nothing was created"]
        if self.kept or self.failed:
            parts.append("run the command again to create the rest, or delete the set")
        return "; ".join(parts)


def survey(control: Control, wanted: PartitionSet) -> Survey:
    """Compare a set with the existing streams; change nothing.

    Raises ``PartitionSetError`` for the first stream that conflicts, with a fix.
    """
    configs = wanted.configs(control.server_version)
    names = set(control.stream_names())
    beyond = {
        i: name for i, name in partitions_among(wanted.prefix, names).items() if i >= wanted.count
    }
    existing = control.stream_infos_json(name for name in wanted.names() if name in names)
    for config in configs:
        if config["name"] in existing:
            _check_same(wanted, config, existing[config["name"]]["config"])
    if beyond:
        raise PartitionSetError(
            f"stream {next(iter(beyond.values()))} exists and would be partition "
            f"{next(iter(beyond))} of {wanted.prefix}, but --partitions is {wanted.count}: use the "
            "number of partitions that the set has, or choose another PREFIX"
        )
    if wanted.ingest not in existing:
        _check_overlap(control, wanted)
    ingest = existing.get(wanted.ingest)
    return Survey(
        missing=[config for config in configs if config["name"] not in existing],
        existing=list(existing),
        removed=max(int(ingest["state"]["first_seq"]) - 1, 0) if ingest else 0,
    )


def create_streams(control: Control, missing: list[Json]) -> None:
    """Create streams, all or none.

    Raises ``PartitionSetError`` with the server's error and the streams that remain.
    """
    created: list[str] = []
    for config in missing:
        name = config["name"]
        try:
            control.api(f"STREAM.CREATE.{name}", config)
            created.append(name)
        except ServerError as error:
            rollback = _roll_back(control, created)
            raise PartitionSetError(
                f"stream {name} could not be created: {error.description}; {rollback}"
            ) from error
        except (NatsSparkError, KeyboardInterrupt) as error:
            rollback = _roll_back(control, [*created, name])  # the reply may have been lost
            reason = str(error) or "interrupted"
            raise PartitionSetError(
                f"stream {name} could not be created: {reason}; {rollback}"
            ) from error


def _check_same(wanted: PartitionSet, config: Json, found: Json) -> None:
    name = config["name"]
    if Mark.from_config(found) is None:
        raise PartitionSetError(
            f"stream {name} exists and was not created by this command: choose another "
            + ("--ingest" if name == wanted.ingest else "PREFIX")
            + ", or delete the stream; nothing was changed"
        )
    different = differences(config, found)
    if different:
        raise PartitionSetError(
            f"stream {name} exists and differs: {'; '.join(different)}. Use the existing values, "
            "choose another PREFIX, or delete the set (nats-spark partitions delete "
            f"{wanted.prefix}); nothing was changed"
        )


def _check_overlap(control: Control, wanted: PartitionSet) -> None:
    for name in control.pages("STREAM.NAMES", "streams", subject=wanted.subject):
        subjects = control.stream_info(name).subjects
        theirs = [each for each in subjects if overlap(each, wanted.subject)]
        if theirs:
            raise PartitionSetError(
                f"--subject {wanted.subject} overlaps with stream {name}, which stores "
                f"{', '.join(theirs)}. A subject can belong to only one stream: narrow one of the "
                f"two, or delete {name}; nothing was created"
            )


def _roll_back(control: Control, created: list[str]) -> _Rollback:
    """Delete the created streams, except those that have messages.

    The ingest stream comes first, which stops the flow into the others.
    """
    result = _Rollback()
    for name in created:
        try:
            if control.stream_info(name).messages:
                result.kept.append(name)
                continue
            control.api(f"STREAM.DELETE.{name}")
            result.deleted.append(name)
        except StreamNotFoundError:
            continue
        except NatsSparkError:
            result.failed.append(name)
    return result
