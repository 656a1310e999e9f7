"""How many messages the next batch takes. Pure: the time is an argument."""

from __future__ import annotations

from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.admission import AdaptiveBatchSize, worth_a_batch

from .consumer_config import BATCHES_PENDING
from .consumer_info import ConsumerInfo

#: Maximum heartbeats per second. A batch that would need more, because of a very short ack wait, is
#: made smaller.
_MAX_BEATS_PER_SECOND = 100_000

#: Limit of a batch from which the next one is pulled ahead: smaller ones take little time to pull.
AHEAD_FROM = 10_000


class BatchLimits:
    """The limits of a query's batches, from the options and from the times of earlier batches.

    Attributes:
        available_now: whether the query ends with the messages available at its start.
        budget: messages that an ``availableNow`` query may still take, without those that it has
            committed and the server redelivers; None until it is known.
        timed_out: whether ``nats.idle.timeout.minutes`` have passed without a message.
    """

    def __init__(self, settings: NatsSettings, now: float) -> None:
        self._settings = settings
        target = settings.target_batch_duration
        self._pace = AdaptiveBatchSize(target) if target else None
        self._last_batch = self._last_message = now
        self.available_now = False
        self.budget: int | None = None
        self.timed_out = False

    @property
    def needs_info(self) -> bool:
        """Return whether `limit` needs the consumer's current state, which costs a request."""
        return (self.available_now and self.budget is None) or bool(
            self._settings.min_messages_per_trigger and not self.available_now
        )

    def limit(
        self,
        info: ConsumerInfo,
        mean_size: float,
        beat_interval: float | None,
        unlimited: bool,
        now: float,
    ) -> int:
        """Return the maximum messages of the next batch; 0 if it must wait.

        Args:
            mean_size: mean size of the stream's messages in bytes; 0 if unknown.
            beat_interval: seconds between two heartbeats for a message; None without acks.
            unlimited: take all messages at once (``Trigger.Once``).
            now: seconds on a steady clock, here and in the other methods.
        """
        settings = self._settings
        if unlimited:
            return info.pending + info.ack_pending
        limit = settings.max_messages_per_trigger or 1
        if self._pace:
            limit = min(limit, self._pace.limit)
        if settings.max_bytes_per_trigger and mean_size:
            limit = min(limit, max(1, int(settings.max_bytes_per_trigger / mean_size)))
        if beat_interval is not None:
            limit = min(limit, max(1, int(beat_interval * _MAX_BEATS_PER_SECOND)))
        if info.max_ack_pending:
            limit = min(limit, info.max_ack_pending)
        if self.available_now:
            if self.budget is None:
                self.budget = info.pending + info.ack_pending
            return min(limit, self.budget)
        if self.timed_out:
            return 0
        minimum, delay = settings.min_messages_per_trigger, settings.max_trigger_delay
        if minimum:
            count = info.pending + info.redelivered
            if not worth_a_batch(count, minimum, now - self._last_batch, delay):
                return 0
        return limit

    def pulls_ahead(self, info: ConsumerInfo) -> bool:
        """Return whether the next batch may be pulled while a full one runs.

        Not if its limit depends on how long the full one takes, if deliveries are limited or not
        acknowledged, and if other members of the consumer would get too little: a query holds up to
        three batches then.
        """
        settings = self._settings
        batch = settings.max_messages_per_trigger or 1
        return (
            settings.pull_ahead
            and batch >= AHEAD_FROM
            and not (settings.ack_none or settings.min_messages_per_trigger or self._pace)
            and not info.max_deliver
            and (not info.max_ack_pending or info.max_ack_pending >= BATCHES_PENDING * batch)
        )

    def pulled(self, pulled: int, new: int, now: float) -> None:
        """Note how many messages were pulled for a batch, and how many of them are new."""
        if self.budget is not None:
            self.budget = max(0, self.budget - new)
        if new:
            self._last_batch = now
            if self._pace:
                self._pace.begin(new, now)
        if pulled:
            self._last_message = now
        idle = self._settings.idle_timeout_minutes
        self.timed_out = bool(idle and not pulled and now - self._last_message > idle)

    def committed(self, now: float) -> None:
        """Note that the last batch was committed."""
        self._last_message = now
        if self._pace:
            self._pace.finish(now)
