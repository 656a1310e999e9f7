"""A running query in the driver: where its streams stand, and what its next batch takes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

from ..errors import DataLossError, NatsSparkError, OptionError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..planning.admission import AdaptiveBatchSize, Available, worth_a_batch
from ..planning.data_loss import lost_messages, recreated, report_loss, truncated, vanished
from ..planning.ranges import StreamRange
from .offsets import Offset, StreamOffset
from .reconcile import reconcile
from .strategy import Strategy
from .stream_states import Streams

_log = logging.getLogger(__name__)


class Query:
    """Plans batches; holds a control connection, so close it."""

    def __init__(self, settings: NatsSettings, strategy: Strategy) -> None:
        """Connect. Raises ``ConnectError``, ``AuthError``, ``OptionError``."""
        self._settings = settings
        self._strategy = strategy
        self._selection = strategy.selection(settings)
        self._streams = Streams(settings, self._selection)
        target = settings.target_batch_duration
        self._pace = AdaptiveBatchSize(target) if target else None
        self._target: dict[str, StreamInfo] | None = None
        self._last_batch = time.monotonic()
        self._position_fits = False
        self._reset_due = settings.reset_on_restart
        self._beginning: Offset | None = None
        self._no_beginning: NatsSparkError | None = None
        self._durable_told = False

    def close(self) -> None:
        """End the connection."""
        self._streams.close()

    def begin(self) -> Offset:
        """Where a query without a checkpoint starts.

        Spark asks several times, and again when it replays the first batch after a restart: what
        is wrong with the start is told by `next`, and only to a query that does begin here.

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
        if position == self._beginning:
            self._tell_unused_durable(position)
        end = self._end(position, unlimited)
        if end is position and self._target is None:
            time.sleep(max(0.0, self._settings.poll_interval - self._streams.age))
            end = self._end(position, unlimited)
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
            report_loss(self._settings, vanished(name))
            return None
        if info.created != reached.created:
            report_loss(self._settings, recreated(name, reached.created, info.created))
            return None
        if info.last_seq < reached.seq:
            report_loss(self._settings, truncated(info, reached.seq))
        first = after + 1
        lost = lost_messages(info, first, reached.seq)
        if lost:
            report_loss(self._settings, lost)
            first = info.first_seq
        filters = self._settings.stream_subjects
        direct = self._streams.reads_direct(info, filters)
        return StreamRange(name, info.created, first, reached.seq, filters, direct)

    def _check(self, position: Offset) -> None:
        """Once a run, because a stream that is lost later is a matter of `loss`."""
        if not self._position_fits:
            self._selection.check_position(position.streams.keys())
            self._position_fits = True

    def _tell_unused_durable(self, position: Offset) -> None:
        """Once, to a query that begins where it need not go on from: a durable's position."""
        settings, durable = self._settings, self._settings.durable_name
        if self._durable_told or durable is None or "start" in settings.model_fields_set:
            return
        self._durable_told = True
        floors = self._streams.acknowledged(durable, self._streams.recent())
        if not floors:
            return
        starts = {name: floor + 1 for name, floor in floors.items()}
        (only, *more) = starts.values()
        _log.warning(
            "nats.durable.name=%s: the durable consumer has acknowledged up to %s, which this "
            "flavor does not go by: without a checkpoint the query begins at sequence %s. To go on "
            "behind what was acknowledged, use a new checkpoint with nats.start=%s, or "
            "format('nats-balanced'), which reads through the durable",
            durable,
            ", ".join(f"{name}:{floor}" for name, floor in floors.items()),
            ", ".join(f"{name}:{position.streams[name].seq + 1}" for name in floors),
            json.dumps(starts, separators=(",", ":")) if more else only,
        )

    def _end(self, position: Offset, unlimited: bool) -> Offset:
        infos = self._streams.recent()
        losses: list[str] = []
        resets = position.resets + (self._reset_due and position != self._beginning)
        if resets > position.resets:
            reached = dict(self._streams.start_offset(self._streams.require()))
        else:
            reached, losses = reconcile(position, infos)
        available = self._available(reached, infos)
        waiting = not unlimited and not self._worth_a_batch(available)
        if waiting and losses and not self._settings.fail_on_data_loss:
            return position  # told with the next batch, instead of an empty one for each loss
        for words in losses:
            report_loss(self._settings, words)
        self._reset_due = False
        taken = {} if waiting else self._admit(available, unlimited)
        ends = {name: each.advanced(taken.get(name, 0)) for name, each in reached.items()}
        end = Offset(ends, resets)
        if not any(taken.values()):
            return position if end.at(position) else end
        self._last_batch = time.monotonic()
        if self._pace:
            self._pace.begin(sum(taken.values()), self._last_batch)
        return end

    def _available(
        self, reached: Mapping[str, StreamOffset], infos: Mapping[str, StreamInfo]
    ) -> dict[str, Available]:
        """What each stream has to offer, up to where the query is to stop."""
        bounds = infos if self._target is None else self._target
        available = {}
        for name, each in reached.items():
            bound = bounds.get(name)
            if bound is not None and bound.created == each.created:
                count = max(0, bound.last_seq - each.seq)
                available[name] = Available(count, bound.average_size)
        return available

    def _worth_a_batch(self, available: Mapping[str, Available]) -> bool:
        count = sum(each.count for each in available.values())
        if self._target is not None:
            return count > 0
        settings, waited = self._settings, time.monotonic() - self._last_batch
        least = settings.min_messages_per_trigger
        return worth_a_batch(count, least, waited, settings.max_trigger_delay)

    def _admit(self, available: Mapping[str, Available], unlimited: bool) -> dict[str, int]:
        if unlimited:
            return self._strategy.admit(available, None, None)
        most = self._settings.max_messages_per_trigger
        if self._pace:
            most = min(most or self._pace.limit, self._pace.limit)
        return self._strategy.admit(available, most, self._settings.max_bytes_per_trigger)
