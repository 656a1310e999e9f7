"""Compares a position with the current streams: where each continues, what was lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..jetstream.api import StreamInfo
from ..planning.data_loss import lost_messages, recreated, truncated, vanished
from .offsets import Offset, StreamOffset


def reconcile(
    position: Offset, infos: Mapping[str, StreamInfo]
) -> tuple[dict[str, StreamOffset], list[str]]:
    """Return where the next batch begins in each existing stream, and a message for each loss.

    A stream that is not in the position is read from its first message.
    """
    reached: dict[str, StreamOffset] = {}
    losses: list[str] = []
    for name, each in position:
        info = infos.get(name)
        if info is None:
            losses.append(vanished(name))
            continue
        reached[name], lost = _reconcile_stream(each, info)
        losses += [lost] if lost else []
    for name, info in infos.items():
        if position.get(name) is None:
            reached[name] = StreamOffset.head_of(info)
    return reached, losses


def _reconcile_stream(each: StreamOffset, info: StreamInfo) -> tuple[StreamOffset, str | None]:
    if info.created != each.created:
        lost = recreated(info.name, each.created, info.created)
        return StreamOffset.head_of(info), lost
    if info.last_seq < each.seq:
        return StreamOffset.entering(info.last_seq, info), truncated(info, each.seq)
    removed = lost_messages(info, each.seq + 1, info.last_seq)
    return StreamOffset.head_of(info) if removed else each, removed
