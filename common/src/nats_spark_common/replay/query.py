"""A running query in the driver: where its streams stand, and what its next batch takes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from .. import loss
from ..admission import Available, Pace, worth_a_batch
from ..errors import DataLossError, NatsSparkError, OptionError
from ..jetstream import StreamInfo
from ..ranges import StreamRange
from ..settings import NatsSettings
from .layout import Layout
from .offsets import Offset, StreamOffset
from .streams import Streams


class Query:
    """Plans batches; holds a control connection, so close it."""

    def __init__(self, settings: NatsSettings, layout: Layout) -> None:
        """Connect. Raises ``ConnectError``, ``AuthError``, ``OptionError``."""
        self._settings = settings
        self._layout = layout
        self._selection = layout.selection(settings)
        self._streams = Streams(settings, self._selection)
        target = settings.target_batch_duration
        self._pace = Pace(target) if target else None
        self._target: dict[str, StreamInfo] | None = None
        self._last_batch = time.monotonic()
        self._position_fits = False
        self._reset_due = settings.reset_on_restart
        self._beginning: Offset | None = None
        self._no_beginning: NatsSparkError | None = None

    def close(self) -> None:
        """End the connection."""
        self._streams.close()

    def begin(self) -> Offset:
        """Where a query without a checkpoint starts.

        Spark asks several times, and may ask a run that goes on from a checkpoint: what is wrong
        with the start is told by `next`, and only to a query that does begin here.

        Raises ``StreamNotFoundError``, ``UnsupportedStreamError``.
        """
        infos = self._streams.require()
        try:
            self._beginning = self._streams.start_offset(infos)
        except (OptionError, DataLossError) as error:
            self._no_beginning = error
            self._beginning = Offset()
        return self._beginning

    def stop_at_present_end(self) -> None:
        """Take nothing into batches that comes after this moment."""
        self._target = self._streams.refresh()

    def report(self) -> Offset:
        """The streams' ends."""
        infos = self._streams.recent()
        return Offset({name: StreamOffset.end_of(info) for name, info in infos.items()})

    def next(self, position: Offset, *, unlimited: bool) -> Offset:
        """The end of the next batch; ``position`` itself where there is to be none.

        Where there is none it waits for ``nats.poll.interval``, because Spark asks again at once.

        Raises:
            DataLossError: as ``nats.fail.on.data.loss`` has it.
            OptionError: the checkpoint does not fit the options, or ``nats.start`` the streams.
        """
        if self._no_beginning and not position.streams:
            raise self._no_beginning
        if self._pace:
            self._pace.finish(time.monotonic())
        self._check(position)
        if self._target is not None:
            return self._end(position, self._target, unlimited)
        end = self._end(position, self._streams.recent(), unlimited)
        if end is position:
            time.sleep(max(0.0, self._settings.poll_interval - self._streams.age))
            end = self._end(position, self._streams.recent(), unlimited)
        return end

    def ranges(self, before: Offset, after: Offset) -> list[StreamRange]:
        """What the batch between two logged offsets reads. Raises as `next`."""
        self._check(after)
        infos = self._streams.recent()
        found = (
            self._range(name, before.get(name), reached, infos.get(name)) for name, reached in after
        )
        return [each for each in found if each is not None]

    def _range(
        self,
        name: str,
        begun: StreamOffset | None,
        reached: StreamOffset,
        info: StreamInfo | None,
    ) -> StreamRange | None:
        after = reached.after
        if after is None:
            if begun is None or begun.created != reached.created:
                return None  # no batch could end so: the offsets are not of one query
            after = begun.seq
        if after >= reached.seq:
            return None
        if info is None:
            loss.tell(self._settings, loss.vanished(name))
            return None
        if info.created != reached.created:
            loss.tell(self._settings, loss.recreated(name, reached.created, info.created))
            return None
        if info.last_seq < reached.seq:
            loss.tell(self._settings, loss.truncated(info, reached.seq))
        first = after + 1
        lost = loss.lost_messages(info, first, reached.seq)
        if lost:
            loss.tell(self._settings, lost)
            first = info.first_seq
        filters = self._settings.stream_subjects
        direct = self._streams.reads_direct(info, filters)
        return StreamRange(name, info.created, first, reached.seq, filters, direct)

    def _check(self, position: Offset) -> None:
        """Once a run, because a stream that is lost later is a matter of `loss`."""
        if not self._position_fits:
            self._selection.check_position(position.streams.keys())
            self._position_fits = True

    def _end(self, position: Offset, infos: Mapping[str, StreamInfo], unlimited: bool) -> Offset:
        resets = position.resets
        if self._reset_due and position != self._beginning:
            reached = dict(self._streams.start_offset(self._streams.require()))
            resets += 1
        else:
            reached = self._settle(position, infos)
        self._reset_due = False
        taken = self._admit(reached, infos, unlimited)
        ends = {name: each.advanced(taken.get(name, 0)) for name, each in reached.items()}
        end = Offset(ends, resets)
        if not any(taken.values()):
            return position if end.at(position) else end
        self._last_batch = time.monotonic()
        if self._pace:
            self._pace.begin(sum(taken.values()), self._last_batch)
        return end

    def _admit(
        self,
        reached: Mapping[str, StreamOffset],
        infos: Mapping[str, StreamInfo],
        unlimited: bool,
    ) -> dict[str, int]:
        available = {
            name: Available(max(0, infos[name].last_seq - each.seq), infos[name].average_size)
            for name, each in reached.items()
            if name in infos
        }
        settings = self._settings
        if unlimited:
            return self._layout.admit(available, None, None)
        if self._target is None:
            count = sum(each.count for each in available.values())
            least, delay = settings.min_messages_per_trigger, settings.max_trigger_delay
            if not worth_a_batch(count, least, time.monotonic() - self._last_batch, delay):
                return {}
        most = settings.max_messages_per_trigger
        if self._pace:
            most = min(most or self._pace.limit, self._pace.limit)
        return self._layout.admit(available, most, settings.max_bytes_per_trigger)

    def _settle(self, position: Offset, infos: Mapping[str, StreamInfo]) -> dict[str, StreamOffset]:
        """The position, brought in line with the streams as they are."""
        reached: dict[str, StreamOffset] = {}
        for name, each in position:
            info = infos.get(name)
            if info is not None:
                reached[name] = self._settle_stream(each, info)
            elif self._target is None or name not in self._streams.recent():
                loss.tell(self._settings, loss.vanished(name))
        for name, info in infos.items():
            if position.get(name) is None:
                reached[name] = StreamOffset.head_of(info)
        return reached

    def _settle_stream(self, each: StreamOffset, info: StreamInfo) -> StreamOffset:
        if info.created != each.created:
            loss.tell(self._settings, loss.recreated(info.name, each.created, info.created))
            return StreamOffset.head_of(info)
        if info.last_seq < each.seq:
            if self._target is not None:
                return each  # the target is older than the position
            loss.tell(self._settings, loss.truncated(info, each.seq))
            return StreamOffset.entering(info.last_seq, info)
        lost = loss.lost_messages(info, each.seq + 1, info.last_seq)
        if lost:
            loss.tell(self._settings, lost)
            return StreamOffset.head_of(info)
        return each
