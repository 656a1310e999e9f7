"""``nats-spark lag`` against real checkpoints, and what it reports of streams that have changed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from nats_spark_common.embedded import EmbeddedServer

from ..._support import consuming, numbered
from ..._support.admin import Admin, mirror
from ..._support.queries import balanced, frame, partitioned
from ..._support.tables import Table
from .conftest import Command

AsJson = Callable[..., Any]


@pytest.fixture
def behind(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, table: Table
) -> str:
    """The checkpoint of a query that has read 100 of 223 messages of 20 bytes."""
    admin.create_stream(stream)
    admin.fill(stream, 100)
    table.run(frame(spark, nats_server.url, stream))
    admin.fill(stream, 123)
    return str(table.checkpoint)


def test_the_lag_of_a_query_counts_messages_bytes_and_seconds(
    as_json: AsJson, behind: str, admin: Admin, stream: str
) -> None:
    found = as_json("lag", behind)
    assert found["batch"] == 0
    assert found["query"] == json.loads((Path(behind) / "metadata").read_text())["id"]
    assert found["plannedBatch"] is None
    (source,) = found["sources"]
    assert (source["index"], source["flavor"], source["lag"]) == (0, "v2", 123)
    (lag,) = source["streams"]
    assert (lag["stream"], lag["position"], lag["end"], lag["lag"]) == (stream, 100, 223, 123)
    state = admin.info(stream).state
    assert lag["lagBytes"] == round(123 * state.bytes / 223)
    first_unread = admin.run(admin.js.get_msg(stream, 101))
    assert first_unread.time is not None
    age = time.time() - first_unread.time.timestamp()
    assert age - 2 < lag["lagSeconds"] <= age + 0.1


def test_deleted_messages_do_not_count(
    as_json: AsJson, behind: str, admin: Admin, stream: str
) -> None:
    for seq in (101, 102, 150, 223):
        admin.delete_message(stream, seq)
    (lag,) = as_json("lag", behind)["sources"][0]["streams"]
    assert (lag["lag"], lag["end"]) == (119, 223)
    assert "exact" not in lag


@pytest.mark.parametrize("allow_direct", [True, False])
def test_the_lag_is_exact_on_every_server(
    as_json: AsJson,
    spark: SparkSession,
    server: EmbeddedServer,
    server_admin: Admin,
    stream: str,
    table: Table,
    allow_direct: bool,
) -> None:
    server_admin.create_stream(stream, allow_direct=allow_direct)
    server_admin.fill(stream, 10)
    table.run(frame(spark, server.url, stream))
    server_admin.fill(stream, 10)
    server_admin.delete_message(stream, 11)
    (lag,) = as_json("lag", str(table.checkpoint), url=server.url)["sources"][0]["streams"]
    assert lag["lag"] == 9
    assert "exact" not in lag
    assert 0 < lag["lagSeconds"] < 60
    assert not server_admin.consumers(stream)


def test_a_mirror_does_not_answer_for_the_lag(
    as_json: AsJson, behind: str, admin: Admin, stream: str
) -> None:
    mirror(admin, f"{stream}M", stream, seq=104, filter_subject=f"{stream}.3")
    for _ in range(10):
        assert as_json("lag", behind)["sources"][0]["lag"] == 123


def test_the_lag_of_a_query_that_has_read_everything_is_zero(
    as_json: AsJson,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 5)
    table.run(frame(spark, nats_server.url, stream))
    (lag,) = as_json("lag", str(table.checkpoint))["sources"][0]["streams"]
    assert (lag["lag"], lag["lagBytes"], lag["lagSeconds"]) == (0, 0, 0.0)


def test_a_planned_batch_is_not_counted_as_read(as_json: AsJson, behind: str, stream: str) -> None:
    offsets = Path(behind) / "offsets"
    planned = (offsets / "0").read_text().replace('"seq": 100', '"seq": 200')
    (offsets / "1").write_text(planned)
    found = as_json("lag", behind)
    assert (found["batch"], found["plannedBatch"]) == (0, 1)
    assert found["sources"][0]["lag"] == 123


def test_the_lag_of_a_first_batch_counts_from_its_start(
    as_json: AsJson, behind: str, stream: str
) -> None:
    for file in (Path(behind) / "commits").iterdir():
        file.unlink()
    found = as_json("lag", behind)
    assert (found["batch"], found["plannedBatch"]) == (None, 0)
    (lag,) = found["sources"][0]["streams"]
    assert (lag["position"], lag["lag"]) == (0, 223)


def test_a_balanced_query_shows_its_consumer(
    as_json: AsJson,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    table.run(balanced(spark, nats_server.url, stream))
    admin.fill(stream, 20)
    (source,) = as_json("lag", str(table.checkpoint))["sources"]
    assert (source["flavor"], source["lag"]) == ("balanced", 20)
    assert source["consumer"] == {
        "name": consuming.DURABLE,
        "ackFloor": 100,
        "pending": 20,
        "ackPending": 0,
        "redelivered": 0,
        "paused": False,
    }
    assert source["streams"][0]["position"] == 100


def test_a_mirror_does_not_answer_for_the_age_of_what_a_consumer_has_left(
    as_json: AsJson,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 100)
    table.run(balanced(spark, nats_server.url, stream, stream_subjects=f"{stream}.1"))
    admin.fill(stream, 20)
    mirror(admin, f"{stream}M", stream, seq=104, filter_subject=f"{stream}.3")
    for _ in range(15):
        (lag,) = as_json("lag", str(table.checkpoint))["sources"][0]["streams"]
        assert lag["lag"] == 2
        assert lag["lagSeconds"] > 0


def test_a_partitioned_query_shows_all_its_streams(
    as_json: AsJson,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    numbered.make_streams(admin, stream, [10, 10])
    source = partitioned(spark, nats_server.url, stream)
    table.run(source)
    admin.fill(f"{stream}-1", 7)
    (source,) = as_json("lag", str(table.checkpoint))["sources"]
    assert (source["flavor"], source["lag"]) == ("partitioned", 7)
    assert [each["lag"] for each in source["streams"]] == [0, 7]


def test_messages_that_were_removed_unread_are_a_finding(
    as_json: AsJson, behind: str, admin: Admin, stream: str
) -> None:
    admin.purge(stream, keep=10)
    found = as_json("lag", behind, code=1)
    (lag,) = found["sources"][0]["streams"]
    assert lag["lag"] == 10
    assert "messages 101 to 213 were removed" in lag["problem"]


def test_a_stream_that_is_gone_is_a_finding(
    command: Command, behind: str, admin: Admin, stream: str
) -> None:
    admin.delete_stream(stream)
    code, out, err = command("lag", behind)
    assert (code, err) == (1, "")
    assert f"! stream '{stream}' is in the checkpoint, but no longer exists" in out


def test_a_recreated_stream_is_a_finding(
    as_json: AsJson, behind: str, admin: Admin, stream: str
) -> None:
    admin.delete_stream(stream)
    admin.create_stream(stream)
    admin.fill(stream, 3)
    (lag,) = as_json("lag", behind, code=1)["sources"][0]["streams"]
    assert lag["lag"] == 3
    assert "was deleted and recreated" in lag["problem"]


def test_a_position_beyond_the_end_is_a_finding(as_json: AsJson, behind: str, stream: str) -> None:
    entry = Path(behind) / "offsets" / "0"
    entry.write_text(entry.read_text().replace('"seq": 100', '"seq": 900'))
    (entry.parent / ".0.crc").unlink()
    (lag,) = as_json("lag", behind, code=1)["sources"][0]["streams"]
    assert (lag["lag"], lag["end"]) == (0, 223)
    assert "ends at sequence 223, before the position 900" in lag["problem"]


def test_a_consumer_that_is_gone_is_a_finding(
    as_json: AsJson,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    table.run(balanced(spark, nats_server.url, stream))
    admin.run(admin.js.delete_consumer(stream, consuming.DURABLE))
    (source,) = as_json("lag", str(table.checkpoint), code=1)["sources"]
    assert "consumer 'spark'" in source["streams"][0]["problem"]
    assert source["lag"] is None


def test_the_text_has_the_lag_of_each_stream(command: Command, behind: str, stream: str) -> None:
    code, out, err = command("lag", behind)
    assert (code, err) == (0, "")
    (row,) = [line for line in out.splitlines() if stream in line]
    assert row.split()[:6] == ["0", "v2", stream, "100", "223", "123"]
    assert "batch 0 committed" in out


def watching(checkpoint: str, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nats_spark_common.cli", "lag", checkpoint, "--url", url]
    return subprocess.Popen(
        [*command, "--watch", "--interval", "0.1", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_watching_repeats_the_lag_and_survives_errors(
    behind: str, admin: Admin, stream: str
) -> None:
    process = watching(behind, admin.url, "--json")
    assert process.stdout is not None
    readings = (json.loads(line) for line in process.stdout)
    assert next(readings)["sources"][0]["lag"] == 123
    admin.publish(f"{stream}.1")
    assert next(each for each in readings if each["sources"][0]["lag"] == 124)
    damaged = Path(behind) / "offsets" / "0"
    whole = damaged.read_text()
    (damaged.parent / ".0.crc").unlink()
    damaged.write_text("v1")
    assert "ends early" in next(each["error"] for each in readings if "error" in each)
    damaged.write_text(whole)
    assert next(each for each in readings if "error" not in each)["sources"][0]["lag"] == 124
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_watching_shows_a_table(behind: str, admin: Admin, stream: str) -> None:
    process = watching(behind, admin.url)
    assert process.stdout is not None
    shown = ""
    while shown.count(stream) < 1:
        shown += process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, "nats-spark: interrupted")
    assert "position" in shown + out


@pytest.mark.parametrize("url", ["file:{}", "file://{}"])
def test_a_checkpoint_is_named_as_spark_names_it(as_json: AsJson, behind: str, url: str) -> None:
    assert as_json("lag", url.format(behind))["sources"][0]["lag"] == 123


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "does not exist or is empty"),
        (lambda folder: (folder / "x").mkdir(parents=True), "is not a checkpoint"),
        (lambda folder: (folder / "offsets").mkdir(parents=True), "has no batch"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(
    command: Command, tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "orders"
    make(folder)
    code, out, err = command("lag", str(folder))
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_checkpoint_of_another_source_is_one_line(
    command: Command, spark: SparkSession, table: Table
) -> None:
    rate = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 1).load()
    writer = rate.writeStream.format("noop").trigger(availableNow=True)
    writer.option("checkpointLocation", str(table.checkpoint)).start().awaitTermination()
    code, out, err = command("lag", str(table.checkpoint))
    assert (code, out) == (2, "")
    assert "a query without a NATS source" in err


def test_a_file_system_that_is_not_known_is_one_line(command: Command) -> None:
    code, _, err = command("lag", "nowhere://bucket/orders")
    assert code == 2
    assert "nowhere://bucket/orders" in err
    assert err.count("\n") == 1


def test_no_server_is_exit_code_2(command: Command, behind: str) -> None:
    code, _, err = command("lag", behind, "-o", "nats.retry.count=0", url="nats://127.0.0.1:1")
    assert code == 2
    assert "cannot connect to nats://127.0.0.1:1" in err
