"""Deletes what the command made, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import NatsSparkError, PartitionSetError, ServerError, StreamNotFoundError
from ..jetstream.control import Control
from ..protocol.partition_names import partition_index
from .look import StreamLook


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
    infos = control.stream_infos_json(control.stream_names())
    looks = [StreamLook.from_json(info, 0.0) for info in infos.values()]
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
