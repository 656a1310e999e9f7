"""Exports the metrics of queries with OpenTelemetry.

Names, units and attributes follow its semantic conventions for messaging where these have some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from .measures import StreamMeasures
from .queries import Queries, QueryState

_SYSTEM = {"messaging.system": "nats"}

#: Instruments of a query: name, unit, description, value.
_COUNTERS: tuple[tuple[str, str, str, Callable[[QueryState], int]], ...] = (
    ("messaging.client.consumed.messages", "{message}", "Rows read.", lambda q: q.rows),
    ("nats_spark.output.rows", "{row}", "Rows that the sink reports.", lambda q: q.written),
    ("messaging.client.sent.messages", "{message}", "Published.", lambda q: q.sink.messages),
    ("nats_spark.sink.size", "By", "Size of their payloads.", lambda q: q.sink.bytes),
    ("nats_spark.sink.retries", "{retry}", "Retries of tasks.", lambda q: q.sink.retries),
    ("nats_spark.query.failures", "{failure}", "Failed runs.", lambda q: q.failures),
    ("nats_spark.data_loss.events", "{event}", "Data-loss events.", lambda q: q.losses),
)

#: Instruments of a stream: name, unit, description, attribute of `StreamMeasures`.
_GAUGES = (
    ("nats_spark.position", "{sequence}", "Last stream sequence of the last batch.", "position"),
    ("nats_spark.lag.messages", "{message}", "Messages after the last batch.", "lag"),
    ("nats_spark.lag.size", "By", "Their stored bytes, estimated.", "lag_bytes"),
    ("nats_spark.lag.duration", "s", "Age of the first of them.", "lag_seconds"),
    ("nats_spark.consumer.ack_pending", "{message}", "Not acknowledged.", "ack_pending"),
    ("nats_spark.consumer.redelivered", "{message}", "Delivered before.", "redelivered"),
)


class OpenTelemetryListener(Queries):
    """A listener whose metrics an OpenTelemetry meter provider exports."""

    def __init__(self, provider: MeterProvider | None = None) -> None:
        """
        Args:
            provider: the meter provider; by default the global one.
        """
        super().__init__()
        meter = (provider or get_meter_provider()).get_meter("nats_spark")
        for name, unit, text, value in _COUNTERS:
            meter.create_observable_counter(name, [self._counter(value)], unit, text)
        for name, unit, text, attribute in _GAUGES:
            meter.create_observable_gauge(name, [self._gauge(attribute)], unit, text)
        meter.create_observable_gauge(
            "nats_spark.query.active", [self._active], "1", "Whether the query is running."
        )
        meter.create_observable_gauge(
            "nats_spark.batch.duration", [self._durations], "s", "Duration of the last batch."
        )

    def _counter(
        self, value: Callable[[QueryState], int]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value(each), _query(each.query)) for each in self.states()]

        return observe

    def _gauge(self, attribute: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            for query, batch in self.batches():
                for each in batch.streams:
                    value = getattr(each, attribute)
                    if value is not None:
                        yield Observation(value, {**_query(query), **_stream(each)})

        return observe

    def _active(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(each.active), _query(each.query)) for each in self.states()]

    def _durations(self, _: CallbackOptions) -> Iterable[Observation]:
        for query, batch in self.batches():
            for phase, seconds in batch.seconds.items():
                yield Observation(seconds, {**_query(query), "nats_spark.phase": phase})


def _query(name: str) -> dict[str, str]:
    return {**_SYSTEM, "nats_spark.query": name}


def _stream(each: StreamMeasures) -> dict[str, str]:
    found = {"messaging.destination.name": each.stream, "nats_spark.flavor": each.flavor}
    if each.consumer:
        found["messaging.consumer.group.name"] = each.consumer
    return found
