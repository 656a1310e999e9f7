"""Deletes the streams that the command created, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import NatsSparkError, PartitionSetError, ServerError, StreamNotFoundError
from ..jetstream.control import Control
from ..protocol.partition_names import partition_index
from .mark import default_ingest_name
from .snapshot import StreamSnapshot


@dataclass(frozen=True)
class Deletion:
    """The streams to delete, the ingest stream first, and those that are kept, with the reason."""

    streams: list[StreamSnapshot]
    kept: list[tuple[str, str]]

    @property
    def messages(self) -> int:
        """The number of messages in the streams to delete."""
        return sum(each.messages for each in self.streams)


def plan_deletion(control: Control, prefix: str) -> Deletion:
    """Find the streams with the mark of a prefix, and those that only look like them."""
    infos = control.stream_infos_json(control.stream_names())
    streams = [StreamSnapshot.from_json(info, 0.0) for info in infos.values()]
    marked = [each for each in streams if each.mark and each.mark.prefix == prefix]
    marked.sort(key=_ingest_first)
    ours = {each.name for each in marked}
    kept = [
        (each.name, "not created by this command")
        for each in sorted(streams, key=lambda each: each.name)
        if each.name not in ours
        and (
            partition_index(prefix, each.name) is not None
            or each.name == default_ingest_name(prefix)
        )
    ]
    kept += [
        (each.name, f"sources {', '.join(found)}, from which it will receive no more messages")
        for each in streams
        if each.name not in ours and (found := sorted(ours & set(each.sources)))
    ]
    return Deletion(marked, kept)


def delete_streams(control: Control, streams: Iterable[StreamSnapshot]) -> None:
    """Delete the streams in their order; skip those that no longer exist.

    Raises ``PartitionSetError`` with the names of those that remain.
    """
    waiting = [each.name for each in streams]
    while waiting:
        try:
            control.api(f"STREAM.DELETE.{waiting[0]}")
        except StreamNotFoundError:
            pass
        except NatsSparkError as error:
            reason = error.description if isinstance(error, ServerError) else str(error)
            raise PartitionSetError(
                f"stream {waiting[0]} could not be deleted: {reason}; remaining: "
                f"{', '.join(waiting)}"
            ) from error
        del waiting[0]


def _ingest_first(stream: StreamSnapshot) -> int:
    return -1 if stream.mark is None or stream.mark.index is None else stream.mark.index
