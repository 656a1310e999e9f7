"""How much of what the consumer has goes into the next batch. No server in sight: time comes in."""

from __future__ import annotations

from nats_spark_common.options.settings import NatsSettings
from nats_spark_common.planning.admission import AdaptiveBatchSize, worth_a_batch

from .consumer import ConsumerInfo

#: Heartbeats a second that a server is asked to take. A batch that would need more, because its
#: consumer redelivers so soon, is made smaller.
_BEATS_PER_SECOND = 100_000


class BatchLimits:
    """The limits of a query's batches, and what it knows of the time between them.

    Attributes:
        available_now: end with what is there when the query starts.
        budget: messages that an ``availableNow`` query may still pull; None before it is known.
        asleep: ``nats.idle.timeout.minutes`` have passed without a message.
    """

    def __init__(self, settings: NatsSettings, now: float) -> None:
        self._settings = settings
        target = settings.target_batch_duration
        self._pace = AdaptiveBatchSize(target) if target else None
        self._last_batch = self._last_message = now
        self.available_now = False
        self.budget: int | None = None
        self.asleep = False

    @property
    def needs_info(self) -> bool:
        """Whether `limit` looks at the consumer's state, which costs a request."""
        return (self.available_now and self.budget is None) or bool(
            self._settings.min_messages_per_trigger and not self.available_now
        )

    def limit(
        self, info: ConsumerInfo, mean_size: float, beat: float | None, unlimited: bool, now: float
    ) -> int:
        """Most messages of the next batch; 0 where there is to be none yet.

        Args:
            mean_size: of the stream's messages in bytes; 0 where it is not known.
            beat: seconds between two heartbeats for a message; None without acks.
            unlimited: Spark wants everything at once (``Trigger.Once``).
        """
        settings = self._settings
        if unlimited:
            return info.pending + info.ack_pending
        most = settings.max_messages_per_trigger or 1
        if self._pace:
            most = min(most, self._pace.limit)
        if settings.max_bytes_per_trigger and mean_size:
            most = min(most, max(1, int(settings.max_bytes_per_trigger / mean_size)))
        if beat is not None:
            most = min(most, max(1, int(beat * _BEATS_PER_SECOND)))
        if info.max_ack_pending:
            most = min(most, info.max_ack_pending)
        if self.available_now:
            if self.budget is None:
                self.budget = info.pending + info.ack_pending
            return min(most, self.budget)
        if self.asleep:
            return 0
        least, delay = settings.min_messages_per_trigger, settings.max_trigger_delay
        if least:
            count = info.pending + info.redelivered
            if not worth_a_batch(count, least, now - self._last_batch, delay):
                return 0
        return most

    def pulled(self, raw: int, fresh: int, now: float) -> None:
        """A batch of ``fresh`` new messages out of ``raw`` pulled ones; of none, perhaps."""
        if self.budget is not None:
            self.budget = max(0, self.budget - raw)
        if fresh:
            self._last_batch = now
            if self._pace:
                self._pace.begin(fresh, now)
        if raw:
            self._last_message = now
        idle = self._settings.idle_timeout_minutes
        self.asleep = bool(idle and not raw and now - self._last_message > idle)

    def committed(self, now: float) -> None:
        """The last batch is done."""
        self._last_message = now
        if self._pace:
            self._pace.finish(now)
