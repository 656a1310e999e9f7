"""Exports the metrics of queries to Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .measures import QueryMeasures
from .queries import Queries, QueryState

_PREFIX = "nats_spark"


class PrometheusListener(Queries, Collector):
    """A listener whose metrics Prometheus scrapes.

    The labels are the name of the query (its id if it has none), the flavor and the stream. Metrics
    of a query's streams end with the query.
    """

    def __init__(self, port: int | None = None, registry: CollectorRegistry = REGISTRY) -> None:
        """
        Args:
            port: port of an HTTP server that this starts, on all addresses; None if the
                application serves the registry itself.
            registry: where the metrics are registered.

        Raises ``OSError`` if the port is taken, and ``ValueError`` if the registry has the metrics
        of another listener already.
        """
        super().__init__()
        registry.register(self)
        if port is not None:
            try:
                self.server, _ = start_http_server(port, registry=registry)
            except OSError:
                registry.unregister(self)
                raise

    def describe(self) -> Iterable[Metric]:
        return _metrics([], [])

    def collect(self) -> Iterable[Metric]:
        return _metrics(self.states(), self.batches())


#: The last batch of a running query, with the query's name.
_Batch = tuple[str, QueryMeasures]


def _metrics(states: Sequence[QueryState], batches: Sequence[_Batch]) -> list[Metric]:
    return [*_query_metrics(states), *_batch_metrics(batches), *_stream_metrics(batches)]


def _query_metrics(states: Sequence[QueryState]) -> list[Metric]:
    active = _gauge("query_active", "Whether the query is running.", ["query"])
    failures = _counter("query_failures", "Runs of the query that have failed.", ["query"])
    rows = _counter("input_rows", "Rows that the query has read.", ["query"])
    written = _counter("output_rows", "Rows that the sink reports as written.", ["query"])
    messages = _counter("sink_messages", "Messages that the NATS sink has published.", ["query"])
    size = _counter("sink_bytes", "Size of their payloads.", ["query"])
    retries = _counter("sink_retries", "Retries of the NATS sink's tasks.", ["query"])
    losses = _counter("data_loss_events", "Data-loss events of the query's streams.", ["query"])
    seen = _gauge(
        "last_seen_timestamp_seconds",
        "When the query last made progress or was idle, since the epoch.",
        ["query"],
    )
    for each in states:
        active.add_metric([each.query], 1 if each.active else 0)
        failures.add_metric([each.query], each.failures)
        rows.add_metric([each.query], each.rows)
        written.add_metric([each.query], each.written)
        messages.add_metric([each.query], each.sink.messages)
        size.add_metric([each.query], each.sink.bytes)
        retries.add_metric([each.query], each.sink.retries)
        losses.add_metric([each.query], each.losses)
        seen.add_metric([each.query], each.seen)
    return [active, failures, rows, written, messages, size, retries, losses, seen]


def _batch_metrics(batches: Sequence[_Batch]) -> list[Metric]:
    batch = _gauge("batch_id", "Number of the last batch.", ["query"])
    at = _gauge(
        "last_batch_timestamp_seconds", "When the last batch started, since the epoch.", ["query"]
    )
    seconds = _gauge(
        "batch_duration_seconds", "Duration of the last batch, by phase.", ["query", "phase"]
    )
    read = _gauge("input_rows_per_second", "Rate at which rows arrive.", ["query"])
    processed = _gauge("processed_rows_per_second", "Rate at which rows are processed.", ["query"])
    for query, each in batches:
        batch.add_metric([query], each.batch)
        at.add_metric([query], each.at)
        read.add_metric([query], each.input_rate)
        processed.add_metric([query], each.processed_rate)
        for phase, value in each.seconds.items():
            seconds.add_metric([query, phase], value)
    return [batch, at, seconds, read, processed]


def _stream_metrics(batches: Sequence[_Batch]) -> list[Metric]:
    labels = ["query", "flavor", "stream"]
    names = {
        "position": "Last stream sequence of the last batch; of balanced, the ack floor.",
        "lag": "Messages of the stream after the last batch.",
        "lag_bytes": "Stored bytes of these messages, estimated.",
        "lag_seconds": "Age of the first of these messages.",
        "ack_pending": "Messages of the consumer that are delivered and not acknowledged.",
        "redelivered": "Those of them that were delivered before.",
    }
    shown = {"lag": "lag_messages", "position": "position_sequence"}
    found = {each: _gauge(shown.get(each, each), text, labels) for each, text in names.items()}
    for query, batch in batches:
        for each in batch.streams:
            for name, metric in found.items():
                value = getattr(each, name)
                if value is not None:
                    metric.add_metric([query, each.flavor, each.stream], value)
    return list(found.values())


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)


def _counter(name: str, text: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
