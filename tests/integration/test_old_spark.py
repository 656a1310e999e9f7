"""Spark 4.0 and 4.1: what works there, and what the user reads about what does not.

Each runs in two processes: one is killed, and the other finishes its queries and runs the rest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from nats_spark_common.embedded import EmbeddedServer

from .._support import old_spark
from .._support.admin import Admin, wait_until
from .._support.old_spark_queries import KILLED
from .._support.options import named
from .._support.victim import BATCH
from .._support.writing import make_stream

PACKAGES = {
    "pyspark_nats": "nats",
    "pyspark_nats_v2": "nats-v2",
    "pyspark_nats_balanced": "nats-balanced",
    "pyspark_nats_partitioned": "nats-partitioned",
}

USE_ALL = f"""
import importlib, json
from nats_spark_common import UnsupportedSparkError
said = {{}}
for package in {list(PACKAGES)}:
    source = importlib.import_module(package).DefaultSource
    try:
        source({{}})
        said[source.name()] = ""
    except UnsupportedSparkError as error:
        said[source.name()] = str(error)
print(json.dumps(said))
"""

#: Both versions call a source in the same way, so the newer one runs what is different in it.
SOME = ("killed", "limit", "batch", "written", "balanced")
ALL = (*SOME, "available_now", "replayed", "latest", "wrapper", "loss")
VERSIONS = {"4.0.1": ALL, "4.1.1": SOME}

#: Messages of the queries that are killed: several batches each.
COUNT = {"v2": 9_000, "partitioned": 9_000, "source": 20_000}
KEYS, STREAMS = 12, 3


def found(distribution: str, version: str) -> Path:
    try:
        return old_spark.find(distribution, version)
    except old_spark.NotAvailableError as error:
        if os.environ.get("NATS_SPARK_REQUIRE_OLD_SPARK"):
            raise
        pytest.skip(f"no {distribution} {version} here: {error}")


@pytest.mark.parametrize("version", VERSIONS)
def test_all_packages_import_and_balanced_says_at_use_which_version_it_needs(version: str) -> None:
    said = json.loads(old_spark.run(found("pyspark-client", version), USE_ALL))
    words = said.pop("nats-balanced")
    assert f'format("nats-balanced") needs Spark 4.2 or later, but this is Spark {version}' in words
    assert "committed position" in words
    assert said == {name: "" for name in PACKAGES.values() if name != "nats-balanced"}


@dataclass(frozen=True)
class Ran:
    """What came of the queries, by scenario, and what they left on the server."""

    version: str
    found: dict[str, Any]
    folder: Path
    admin: Admin
    prefix: str

    def __getitem__(self, scenario: str) -> Any:
        return self.found[scenario]


@pytest.fixture(scope="module", params=VERSIONS)
def ran(
    request: pytest.FixtureRequest,
    nats_server: EmbeddedServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ran]:
    spark, folder = found("pyspark", request.param), tmp_path_factory.mktemp("old")
    prefix = f"S{uuid.uuid4().hex[:12]}"
    admin = Admin(nats_server.url)
    prepare(admin, prefix)
    arguments = (nats_server.url, prefix, str(folder))
    with process(spark, folder, "victim", *arguments, "on", *KILLED) as victim:
        wait_until(
            lambda: victim.poll() is not None or all_have_begun(admin, prefix, folder),
            seconds=300,
            every=0.01,
        )
        assert victim.poll() is None, (folder / "log").read_text()[-3000:]
    assert unfinished(admin, prefix, folder), "all queries had finished before the kill"
    scenarios = VERSIONS[request.param]
    with process(spark, folder, "old_spark_queries", *arguments, *scenarios) as running:
        assert running.wait(600) == 0, (folder / "log").read_text()[-3000:]
    printed = (folder / "printed").read_text().splitlines()
    yield Ran(request.param, json.loads(printed[-1]), folder, admin, prefix)
    admin.close()


@contextmanager
def process(
    spark: Path, folder: Path, module: str, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of the test support with a Spark; its process group ends with it."""
    with (folder / "log").open("ab") as log, (folder / "printed").open("wb") as printed:
        started = subprocess.Popen(
            [sys.executable, "-m", f"tests._support.{module}", *arguments],
            cwd=old_spark.ROOT,
            env=old_spark.environment(spark),
            stdout=printed,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        started.wait()


def prepare(admin: Admin, prefix: str) -> None:
    for name in ("v2", "source"):
        admin.create_stream(f"{prefix}-{name}")
        admin.fill(f"{prefix}-{name}", COUNT[name])
    make_stream(admin, f"{prefix}-exactly-once", duplicate_window=100_000_000)  # the minimum
    for i in range(STREAMS):
        admin.create_stream(f"{prefix}-partitioned-{i}")
    admin.publish_many(
        (f"{prefix}-partitioned-{key % STREAMS}.{key}", str(i // KEYS).encode())
        for i in range(COUNT["partitioned"])
        for key in [i % KEYS]
    )


def offsets(folder: Path, query: str) -> list[int]:
    """How many sequences each logged offset of a query is from the beginning of its streams."""
    log = folder / query / "checkpoint" / "offsets"
    ends = []
    for entry in sorted(log.glob("[0-9]*"), key=lambda path: int(path.name)):
        lines = entry.read_text().splitlines()
        ends.append(sum(each["seq"] for each in json.loads(lines[-1])["streams"].values()))
    return ends


def copied(admin: Admin, prefix: str) -> int:
    return admin.info(f"{prefix}-exactly-once").state.last_seq


def all_have_begun(admin: Admin, prefix: str, folder: Path) -> bool:
    """Whether each query has logged a batch, and the copying one has published."""
    logs = [folder / name / "checkpoint" / "offsets" for name in KILLED]
    return all(any(log.glob("[0-9]*")) for log in logs) and copied(admin, prefix) > 0


def unfinished(admin: Admin, prefix: str, folder: Path) -> set[str]:
    """The queries that have not reached the ends of their streams."""
    ended = {name: offsets(folder, name)[-1] for name in ("v2", "partitioned")}
    ended["source"] = copied(admin, prefix)
    return {name for name, count in COUNT.items() if ended[name] < count}


@pytest.mark.slow
class TestOnEach:
    """On 4.0 and 4.1 in turn."""

    def test_every_message_is_in_the_table_once_after_a_kill(self, ran: Ran) -> None:
        assert ran["killed"]["v2"] == list(range(1, COUNT["v2"] + 1))

    def test_a_key_keeps_its_order_after_a_kill(self, ran: Ran) -> None:
        keys = ran["killed"]["partitioned"]
        assert len(keys) == KEYS
        assert all(seen == list(range(COUNT["partitioned"] // KEYS)) for seen in keys.values())

    def test_the_sink_writes_each_row_once_after_a_kill(self, ran: Ran) -> None:
        copies = ran.admin.read_all(f"{ran.prefix}-exactly-once")
        numbers = sorted(int(message.payload.rstrip(b".")) for message in copies)
        assert numbers == list(range(COUNT["source"]))

    @pytest.mark.parametrize("query", KILLED)
    def test_no_batch_is_larger_than_the_limit_after_a_kill(self, ran: Ran, query: str) -> None:
        ends = offsets(ran.folder, query)
        sizes = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        assert max(sizes) == BATCH[query]

    def test_the_first_batch_after_a_clean_restart_keeps_the_limit(self, ran: Ran) -> None:
        assert ran["limit"]["sizes"] == [10, 10, 5, 10, 10, 5]

    def test_the_progress_has_no_lag(self, ran: Ran) -> None:
        reported = ran["limit"]["reported"]
        assert len(reported) == 3
        assert all(end == latest for end, latest in reported)

    def test_a_query_continues_on_the_newest_spark(self, ran: Ran, spark: SparkSession) -> None:
        ran.admin.fill(f"{ran.prefix}-limit", 5)
        options = named(url=ran.admin.url, stream_name=f"{ran.prefix}-limit")
        rows = spark.readStream.format("nats").options(**options).load().select("streamSeq")
        seqs: list[int] = []

        def store(batch: DataFrame, number: int) -> None:
            seqs.extend(row.streamSeq for row in batch.collect())

        writer = rows.writeStream.foreachBatch(store).trigger(availableNow=True)
        checkpoint = str(ran.folder / f"{ran.prefix}-limit")
        writer.option("checkpointLocation", checkpoint).start().awaitTermination()
        assert sorted(seqs) == list(range(51, 56))

    def test_a_batch_read_has_all_columns(self, ran: Ran) -> None:
        columns, stream = ran["batch"]["columns"], f"{ran.prefix}-batch"
        assert ran["batch"]["counts"][0] == 51
        assert {name: value for name, value in columns.items() if value is not None} == {
            "subject": f"{stream}.x",
            "content": "00ff",
            "headers": {"A": ["1"]},
            "stream": stream,
            "streamSeq": 51,
        }

    def test_only_spark_4_0_plans_a_batch_read_again_for_each_use(self, ran: Ran) -> None:
        assert ran["batch"]["counts"][1] == (54 if ran.version.startswith("4.0") else 51)

    def test_a_batch_read_has_the_time_of_the_server(self, ran: Ran) -> None:
        read, stored = ran["batch"]["seconds"]
        assert abs(read - stored) < 1e-3

    def test_filters_find_the_same_rows(self, ran: Ran) -> None:
        assert ran["batch"]["filtered"] == [22, 32, 42]

    def test_filters_are_pushed_down_from_4_1_on(self, ran: Ran) -> None:
        assert ran["batch"]["tasks"] == (4 if ran.version.startswith("4.0") else 1)

    def test_a_query_writes_headers_and_ids(self, ran: Ran) -> None:
        stored = {subject: each for subject, each in ran["written"].items() if subject != "b"}
        assert stored == {
            str(seq): [
                "" if seq == 7 else f"{seq - 1}".ljust(20, "."),
                {"N": "x", "Nats-Msg-Id": f"id-{seq % 10}"},
            ]
            for seq in range(1, 11)  # 11 to 20 have the same ids
        }

    def test_a_frame_is_written(self, ran: Ran) -> None:
        assert ran["written"]["b"] == ["b", {"H": "v"}]

    @pytest.mark.parametrize("way", ["format", "chooser"])
    def test_balanced_names_the_version_that_it_needs(self, ran: Ran, way: str) -> None:
        words = ran["balanced"][way]
        assert f"needs Spark 4.2 or later, but this is Spark {ran.version}" in words
        assert "committed position" in words


@pytest.mark.slow
@pytest.mark.parametrize("ran", [next(iter(VERSIONS))], indirect=True)
class TestOnTheOldest:
    """What Spark 4.1 does in the same way."""

    def test_available_now_runs_one_batch_with_the_limits(self, ran: Ran) -> None:
        first, second, _, without = ran["available_now"]
        assert [first, second] == [list(range(1, 11)), list(range(11, 21))]
        assert without == list(range(31, 51))

    def test_once_runs_one_batch_with_the_limits(self, ran: Ran) -> None:
        assert ran["available_now"][2] == list(range(21, 31))

    def test_available_now_runs_a_logged_batch_again_and_nothing_more(self, ran: Ran) -> None:
        failed, again, _ = ran["replayed"]
        assert failed == again == [list(range(11, 21))]

    def test_a_query_continues_after_a_batch_that_was_run_again(self, ran: Ran) -> None:
        assert ran["replayed"][2] == [list(range(21, 31)), list(range(31, 36))]

    def test_a_start_at_latest_does_not_move_at_a_restart(self, ran: Ran) -> None:
        failed, again, after = (list(range(a, a + 5)) for a in (11, 11, 16))
        assert ran["latest"] == [failed, again, after]

    def test_the_wrapper_of_available_now_is_rejected_before_a_batch(self, ran: Ran) -> None:
        assert (
            "spark.sql.streaming.triggerAvailableNowWrapper.enabled=true" in ran["wrapper"]["error"]
        )
        assert ran["wrapper"]["wrapped"] == []

    def test_without_the_wrapper_the_query_continues(self, ran: Ran) -> None:
        assert ran["wrapper"]["after"] == list(range(11, 31))

    def test_the_removal_of_what_the_first_batch_has_read_is_no_loss(self, ran: Ran) -> None:
        assert ran["loss"]["read"] == list(range(11, 16))

    def test_messages_that_were_removed_before_they_were_read_fail_the_query(
        self, ran: Ran
    ) -> None:
        assert "messages 16 to 20 were removed" in ran["loss"]["removed"]

    def test_with_loss_allowed_the_query_continues_at_the_first_message(self, ran: Ran) -> None:
        assert ran["loss"]["allowed"] == list(range(21, 31))

    def test_a_recreated_stream_fails_the_query(self, ran: Ran) -> None:
        assert f"stream '{ran.prefix}-loss' was" in ran["loss"]["recreated"]
        assert "DataLossError" in ran["loss"]["recreated"]
