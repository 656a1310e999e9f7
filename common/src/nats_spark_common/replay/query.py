"""Plans the batches of a running query in the driver."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from ..errors import DataLossError, NatsSparkError, OptionError
from ..jetstream.api import StreamInfo
from ..options.settings import NatsSettings
from ..planning.admission import AdaptiveBatchSize, Available, worth_a_batch
from ..planning.data_loss import lost_messages, recreated, report_loss, truncated, vanished
from ..planning.ranges import StreamRange
from .lag_consumer import LagConsumers
from .offsets import Offset, StreamOffset
from .reconcile import reconcile
from .report import Report
from .strategy import Strategy
from .stream_states import StreamStates

_log = logging.getLogger(__name__)


class Query:
    """Plans batches; holds a control connection until `close`."""

    def __init__(self, settings: NatsSettings, strategy: Strategy) -> None:
        """Connect. Raises ``ConnectError``, ``AuthError``, ``OptionError``."""
        self._settings = settings
        self._strategy = strategy
        self._selection = strategy.selection(settings)
        self._streams = StreamStates(settings, self._selection)
        target = settings.target_batch_duration
        self._pace = AdaptiveBatchSize(target) if target else None
        self._target: dict[str, StreamInfo] | None = None
        self._last_batch = time.monotonic()
        self._position_checked = False
        self._reset_due = settings.reset_on_restart
        self._start: Offset | None = None
        self._start_error: NatsSparkError | None = None
        self._durable_warned = False
        self._lag: LagConsumers | None = None
        self._report = Report(self._streams)
        self._planned: Offset | None = None
        self._losses = 0

    def close(self) -> None:
        """Close the connection."""
        if self._lag is not None:
            self._lag.close()
        self._streams.close()

    def begin(self) -> Offset:
        """Return the position at which a query without a checkpoint starts.

        Spark calls this several times, and again when it replays the first batch after a restart.
        So a start that is not valid is reported by `next`, and only if the query does begin here.

        Raises ``StreamNotFoundError``, ``UnsupportedStreamError``.
        """
        infos = self._streams.require()
        try:
            self._start = self._logged(self._streams.start_offset(infos).streams)
        except (OptionError, DataLossError) as error:
            self._start_error = error
            self._start = Offset()
        return self._start

    def stop_at_current_end(self) -> None:
        """Exclude messages that are stored after this moment from all batches."""
        self._target = self._streams.refresh()

    def report(self) -> dict[str, Any]:
        """Return the streams' current ends, and what is left after the last planned batch."""
        return self._report.to_json(self._planned, self._streams.recent(), self._losses)

    def next(self, position: Offset, *, unlimited: bool) -> Offset:
        """Return the end of the next batch; ``position`` itself if there is none.

        If there is none, waits for a message first, up to ``nats.poll.interval``: Spark polls again
        at once.

        Raises:
            DataLossError: messages were lost, and ``nats.fail.on.data.loss`` is set.
            OptionError: the checkpoint does not match the options, or ``nats.start`` the streams.
        """
        if self._start_error and not position.streams:
            raise self._start_error
        if self._pace:
            self._pace.finish(time.monotonic())
        self._check_position(position)
        self._show_lag(position)
        if position == self._start:
            self._warn_of_unused_durable(position)
        end = self._end(position, unlimited)
        if end is position and self._target is None:
            self._streams.wait({name: each.seq for name, each in position})
            end = self._end(position, unlimited)
        self._planned = end
        if self._lag is not None and self._target is not None and end is position:
            self._lag.flush()  # the query ends now, and may not be closed
        return end

    def ranges(self, before: Offset, after: Offset) -> list[StreamRange]:
        """Return the ranges of the batch between two logged offsets. Raises as `next`."""
        self._check_position(after)
        if before == after:
            # An empty first batch; or Spark 4.0 and 4.1, which restore the position of a query so.
            return []
        infos = self._streams.recent()
        found = (
            self._range(name, before.get(name), reached, infos.get(name)) for name, reached in after
        )
        return [each for each in found if each is not None]

    def _range(
        self,
        name: str,
        before: StreamOffset | None,
        reached: StreamOffset,
        info: StreamInfo | None,
    ) -> StreamRange | None:
        after = reached.after
        if after is None:
            if before is None or before.created != reached.created:
                return None  # the offsets are not of one query
            after = before.seq
        if after >= reached.seq:
            return None
        if info is None:
            self._report_loss(vanished(name))
            return None
        if info.created != reached.created:
            self._report_loss(recreated(name, reached.created, info.created))
            return None
        if info.last_seq < reached.seq:
            self._report_loss(truncated(info, reached.seq))
        first = after + 1
        lost = lost_messages(info, first, reached.seq)
        if lost:
            self._report_loss(lost)
            first = info.first_seq
        return self._streams.range(info, first, reached.seq, self._settings.stream_subjects)

    def _report_loss(self, message: str) -> None:
        self._losses += 1
        report_loss(self._settings, message)

    def _check_position(self, position: Offset) -> None:
        """Check the position once a run; `reconcile` reports streams that are lost later."""
        if not self._position_checked:
            self._selection.check_position(position.streams.keys())
            self._position_checked = True
            _log.info(
                "query at %s", ", ".join(f"{name}:{each.seq}" for name, each in position) or "none"
            )

    def _show_lag(self, position: Offset) -> None:
        """Move the consumers of ``nats.lag.consumer`` to a committed position."""
        name = self._settings.lag_consumer
        if name is None:
            return
        if self._lag is None:
            lag = self._streams.lag_consumers(name)
            lag.require(self._streams.recent().values())
            self._lag = lag
        self._lag.moved(position)

    def _warn_of_unused_durable(self, position: Offset) -> None:
        """Warn once if a new query ignores the acknowledgments of its durable consumer."""
        settings, durable = self._settings, self._settings.durable_name
        if self._durable_warned or durable is None or "start" in settings.model_fields_set:
            return
        self._durable_warned = True
        floors, unknown = self._streams.acknowledged(durable, self._streams.recent())
        if unknown:
            _log.warning(
                "nats.durable.name=%s: how far the durable consumer has acknowledged %s cannot be "
                "read: %s. This flavor ignores its position. Without a checkpoint the query begins "
                "at sequence %s. To continue after the acknowledged messages, use a new checkpoint "
                "with nats.start set to the consumer's acknowledgment floor plus one (nats "
                "consumer info), or format('nats-balanced')",
                durable,
                ", ".join(unknown),
                next(iter(unknown.values())),
                ", ".join(f"{name}:{position.streams[name].seq + 1}" for name in unknown),
            )
        if not floors:
            return
        starts = {name: floor + 1 for name, floor in floors.items()}
        (only, *more) = starts.values()
        _log.warning(
            "nats.durable.name=%s: the durable consumer has acknowledged up to %s, which this "
            "flavor ignores. Without a checkpoint the query begins at sequence %s. To continue "
            "after the acknowledged messages, use a new checkpoint with nats.start=%s, or "
            "format('nats-balanced'), which reads through the durable consumer",
            durable,
            ", ".join(f"{name}:{floor}" for name, floor in floors.items()),
            ", ".join(f"{name}:{position.streams[name].seq + 1}" for name in floors),
            json.dumps(starts, separators=(",", ":")) if more else only,
        )

    def _end(self, position: Offset, unlimited: bool) -> Offset:
        infos = self._streams.recent()
        losses: list[str] = []
        resets = position.resets + (self._reset_due and position != self._start)
        if resets > position.resets:
            reached = dict(self._streams.start_offset(self._streams.require()))
        else:
            reached, losses = reconcile(position, infos)
        available = self._available(reached, infos)
        waiting = not unlimited and not self._worth_a_batch(available)
        if waiting and losses and not self._settings.fail_on_data_loss:
            return position  # the next batch reports the losses, instead of one empty batch each
        for loss in losses:
            self._report_loss(loss)
        self._reset_due = False
        taken = {} if waiting else self._admit(available, unlimited)
        ends = {name: each.advanced(taken.get(name, 0)) for name, each in reached.items()}
        end = self._logged(ends, resets)
        if not any(taken.values()):
            return position if end.at(position) else end
        self._last_batch = time.monotonic()
        if self._pace:
            self._pace.begin(sum(taken.values()), self._last_batch)
        return end

    def _logged(self, streams: Mapping[str, StreamOffset], resets: int = 0) -> Offset:
        return Offset(streams, resets, self._strategy.flavor)

    def _available(
        self, reached: Mapping[str, StreamOffset], infos: Mapping[str, StreamInfo]
    ) -> dict[str, Available]:
        """Return what each stream has for the next batch, up to where the query must stop."""
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
        minimum = settings.min_messages_per_trigger
        return worth_a_batch(count, minimum, waited, settings.max_trigger_delay)

    def _admit(self, available: Mapping[str, Available], unlimited: bool) -> dict[str, int]:
        if unlimited:
            return self._strategy.admit(available, None, None)
        max_messages = self._settings.max_messages_per_trigger
        if self._pace:
            max_messages = min(max_messages or self._pace.limit, self._pace.limit)
        return self._strategy.admit(available, max_messages, self._settings.max_bytes_per_trigger)
