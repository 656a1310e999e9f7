"""What a query reports as its latest offset, for the query's progress.

JSON: ``{"v":1,"streams":{"ORDERS":{"seq":223,"created":"...","lag":123,"lagBytes":24600,
"lagSeconds":1.5}},"losses":1}``. ``lag`` is the number of messages that are stored after the end of
the planned batch, ``lagBytes`` their size as estimated from the mean size, and ``lagSeconds`` the
age of the first one, if it is known. If messages are not counted, ``lag`` is a number of sequences.
``losses`` is the number of data-loss events since the query started.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..jetstream.api import StreamInfo
from .offsets import Offset, StreamOffset
from .stream_states import StreamStates

#: Streams whose unread messages are counted, which takes a request each; seconds that it may take,
#: because the query waits for it; and seconds without counting after one that told nothing.
_MAX_COUNTED, _TIMEOUT, _PAUSE = 8, 0.25, 60.0


class Report:
    """Counts what is left to read."""

    def __init__(self, streams: StreamStates) -> None:
        self._streams = streams
        self._paused_until = -1e9

    def to_json(
        self, planned: Offset | None, infos: Mapping[str, StreamInfo], losses: int
    ) -> dict[str, Any]:
        """Return the streams' ends, and the lag behind them after a planned batch."""
        found = Offset({name: StreamOffset.end_of(info) for name, info in infos.items()}).to_json()
        behind: dict[str, tuple[StreamInfo, int]] = {}
        for name, each in planned or Offset():
            info = infos.get(name)
            if info is None or info.created != each.created:
                continue
            if info.last_seq > each.seq:
                behind[name] = info, each.seq
            else:
                found["streams"][name].update(lag=0, lagBytes=0, lagSeconds=0.0)
        for name, (info, seq) in behind.items():
            lag = info.last_seq - max(seq, info.first_seq - 1)
            found["streams"][name].update(lag=lag, lagBytes=round(lag * info.average_size))
        if len(behind) <= _MAX_COUNTED and time.monotonic() >= self._paused_until:
            self._count(found["streams"], behind)
        return {**found, "losses": losses} if losses else found

    def _count(
        self, streams: dict[str, dict[str, Any]], behind: Mapping[str, tuple[StreamInfo, int]]
    ) -> None:
        for name, (info, seq) in behind.items():
            left = self._streams.unread(info, seq, _TIMEOUT)
            if left is None:
                self._paused_until = time.monotonic() + _PAUSE
                return
            size = round(left.messages * info.average_size)
            streams[name].update(lag=left.messages, lagBytes=size)
            if left.age is not None:
                streams[name]["lagSeconds"] = round(left.age, 3)
