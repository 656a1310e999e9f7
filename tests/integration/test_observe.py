"""Metrics of real queries, as Prometheus and OpenTelemetry see them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import StreamingQueryListener

from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.observe import OpenTelemetryListener, PrometheusListener
from nats_spark_common.sink.counts import Counts, read_counts

from .._support import consuming
from .._support.admin import Admin, wait_until
from .._support.options import named
from .._support.queries import balanced, frame
from .._support.tables import Table


@contextmanager
def listening(spark: SparkSession, listener: StreamingQueryListener) -> Iterator[None]:
    spark.streams.addListener(listener)
    try:
        yield
    finally:
        spark.streams.removeListener(listener)


def samples(text: str) -> dict[tuple[str, str], float]:
    """Values by name and stream (or query) of what a server exposes."""
    return {
        (each.name, each.labels.get("stream") or each.labels.get("phase") or ""): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


@pytest.fixture
def filled(admin: Admin, stream: str) -> str:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    return stream


def test_prometheus_scrapes_the_lag_of_a_running_query(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, filled: str, table: Table
) -> None:
    registry = CollectorRegistry()
    listener = PrometheusListener(port=0, registry=registry)
    url = f"http://127.0.0.1:{listener.server.server_port}/metrics"

    def scrape() -> dict[tuple[str, str], float]:
        with urllib.request.urlopen(url) as reply:
            return samples(reply.read().decode())

    with listening(spark, listener):
        source = frame(spark, nats_server.url, filled, max_messages_per_trigger="60")
        query = table.writer(source).queryName("lagging").start()
        query.processAllAvailable()
        found = wait_until(lambda: (got := scrape()).get(("nats_spark_batch_id", "")) == 1 and got)
        assert found["nats_spark_query_active", ""] == 1
        assert found["nats_spark_input_rows_total", ""] == 100
        assert found["nats_spark_position_sequence", filled] == 100
        assert found["nats_spark_lag_messages", filled] == 0
        assert found["nats_spark_lag_seconds", filled] == 0
        assert found["nats_spark_batch_duration_seconds", "triggerExecution"] > 0
        query.stop()
        found = wait_until(
            lambda: (got := scrape()).get(("nats_spark_query_active", "")) == 0 and got
        )
        assert ("nats_spark_lag_messages", filled) not in found
        assert found["nats_spark_query_failures_total", ""] == 0
    listener.server.shutdown()


@pytest.mark.parametrize("each_batch", [False, True])
def test_what_the_sink_writes_is_counted(
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    filled: str,
    table: Table,
    each_batch: bool,
) -> None:
    target = f"{filled}-copy"
    admin.create_stream(target)
    written = named(url=nats_server.url, sink_subject=f"{target}.a")
    source = frame(spark, nats_server.url, filled, max_messages_per_trigger="60")
    source = source.select("content")
    if each_batch:
        writer = source.writeStream.foreachBatch(
            lambda rows, _: rows.write.format("nats-v2").options(**written).mode("append").save()
        )
    else:
        writer = source.writeStream.format("nats-v2").options(**written)
    writer = writer.option("checkpointLocation", str(table.checkpoint))
    listener = PrometheusListener(registry=(registry := CollectorRegistry()))
    with listening(spark, listener):
        query = writer.queryName("copying").trigger(availableNow=True).start()
        query.awaitTermination()
        wait_until(lambda: not any(each.active for each in listener.states()))
    sizes = sum(len(each.payload) for each in admin.read_all(target))

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"nats_spark_{name}_total", {"query": "copying"})

    assert [value("sink_messages"), value("sink_bytes")] == [100, sizes]
    assert value("sink_retries") == 0
    assert read_counts(str(query.runId)) == Counts(), "they are forgotten with the run"


def test_the_lag_of_a_limited_batch_is_what_is_left(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, filled: str, table: Table
) -> None:
    for seq in (61, 62):
        admin.delete_message(filled, seq)
    state = admin.info(filled).state
    query = table.run(frame(spark, nats_server.url, filled, max_messages_per_trigger="60"))
    first, last = query.recentProgress
    for progress, lag in ((first, 38), (last, 0)):
        source = progress["sources"][0]
        ends = json.loads(source["latestOffset"])["streams"]
        assert ends[filled]["lag"] == lag
        assert ends[filled]["lagBytes"] == round(lag * state.bytes / state.messages)
        assert (0 < ends[filled]["lagSeconds"] < 60) is bool(lag)


def test_opentelemetry_has_names_units_and_attributes(
    spark: SparkSession, nats_server: EmbeddedServer, filled: str, table: Table
) -> None:
    reader = InMemoryMetricReader()
    listener = OpenTelemetryListener(MeterProvider([reader]))
    with listening(spark, listener):
        source = balanced(spark, nats_server.url, filled)
        query = table.writer(source).queryName("work").start()
        query.processAllAvailable()
        wait_until(lambda: any(each.last for each in listener.states()))
        data: Any = reader.get_metrics_data()
        query.stop()
    metrics = {each.name: each for each in data.resource_metrics[0].scope_metrics[0].metrics}
    lag = metrics["nats_spark.lag.messages"]
    (point,) = lag.data.data_points
    assert lag.unit == "{message}"
    assert point.attributes == {
        "messaging.system": "nats",
        "messaging.destination.name": filled,
        "messaging.consumer.group.name": consuming.DURABLE,
        "nats_spark.query": "work",
        "nats_spark.flavor": "balanced",
    }
    (rows,) = metrics["messaging.client.consumed.messages"].data.data_points
    assert rows.value == 100


def test_a_real_prometheus_stores_the_lag(
    spark: SparkSession,
    nats_server: EmbeddedServer,
    filled: str,
    table: Table,
    tmp_path: Path,
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus (Debian's package prometheus) is not installed")
    listener = PrometheusListener(port=0, registry=CollectorRegistry())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    target = f"127.0.0.1:{listener.server.server_port}"
    config = tmp_path / "prometheus.yml"
    jobs = [{"job_name": "spark", "static_configs": [{"targets": [target]}]}]
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]

    def stored() -> list[dict[str, Any]]:
        address = f"http://127.0.0.1:{port}/api/v1/query?query=nats_spark_lag_messages"
        try:
            with urllib.request.urlopen(address) as reply:
                found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        except OSError:
            return []
        return found

    with listening(spark, listener):
        query = table.writer(frame(spark, nats_server.url, filled)).queryName("stored").start()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            (found,) = wait_until(stored)
        finally:
            process.terminate()
            process.wait()
            query.stop()
            listener.server.shutdown()
    labels = {name: found["metric"][name] for name in ("query", "flavor", "stream")}
    assert labels == {"query": "stored", "flavor": "v2", "stream": filled}
    assert found["value"][1] == "0"


def test_two_listeners_cannot_share_a_registry() -> None:
    registry = CollectorRegistry()
    PrometheusListener(registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusListener(registry=registry)


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import nats_spark_common.observe as package

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "nats_spark_common.observe.prometheus", raising=False)
    with pytest.raises(ImportError, match=r"nats-spark-common\[prometheus\]"):
        package.PrometheusListener  # noqa: B018
