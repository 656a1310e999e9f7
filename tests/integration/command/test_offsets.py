"""``nats-spark offsets``: after it, a query reads exactly the messages that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from nats_spark_common.embedded import EmbeddedServer

from ..._support import consuming, numbered
from ..._support.admin import Admin, wait_until
from ..._support.queries import balanced, frame, partitioned
from ..._support.tables import Table
from .conftest import Command, Stopped

AsJson = Callable[..., Any]
NO_WAIT = ["--settle", "0"]


@pytest.mark.parametrize(
    ("to", "first", "again", "skipped"),
    [("earliest", 1, 100, 0), ("41", 41, 60, 0), ("latest", 111, 0, 10), ("105", 105, 0, 4)],
)
def test_after_set_a_query_reads_exactly_from_there(
    as_json: AsJson,
    stopped: Stopped,
    admin: Admin,
    stream: str,
    to: str,
    first: int,
    again: int,
    skipped: int,
) -> None:
    admin.fill(stream, 10)
    found = as_json("offsets", "set", stopped.checkpoint, "--to", to, *NO_WAIT)
    assert found == {
        "batch": 1,
        "written": True,
        "backup": None,
        "streams": [
            {
                "stream": stream,
                "before": 100,
                "after": first - 1,
                "readAgain": again,
                "skipped": skipped,
                "exact": True,
            }
        ],
    }
    admin.fill(stream, 5)
    batches = stopped.run()
    assert batches == [[], list(range(first, 116))]
    assert stopped.run() == []


def test_set_to_a_time_reads_from_there(
    command: Command, stopped: Stopped, admin: Admin, stream: str
) -> None:
    stored = admin.run(admin.js.get_msg(stream, 61)).time
    assert stored is not None
    code, _, err = command(
        "offsets", "set", stopped.checkpoint, "--to", stored.isoformat(), *NO_WAIT
    )
    assert (code, err) == (0, "")
    empty, rows = stopped.run()
    assert empty == []
    # Python's times have microseconds, and messages come faster.
    assert rows[-1] == 100
    assert rows == list(range(rows[0], 101))
    assert rows[0] <= 61


@pytest.fixture
def two(
    spark: SparkSession, nats_server: EmbeddedServer, admin: Admin, stream: str, tmp_path: Path
) -> tuple[Stopped, list[str]]:
    """A stopped query that has read ten messages of each of two streams, and their names."""
    names = [f"{stream}{each}" for each in "AB"]
    for name in names:
        admin.create_stream(name)
        admin.fill(name, 10)
    query = Stopped(spark, nats_server.url, ",".join(names), tmp_path)
    query.run()
    return query, names


def test_set_moves_only_the_streams_that_it_names(
    as_json: AsJson, admin: Admin, two: tuple[Stopped, list[str]]
) -> None:
    query, names = two
    to = ["--to", "earliest", "--stream", names[1]]
    found = as_json("offsets", "set", query.checkpoint, *to, *NO_WAIT)
    assert [each["stream"] for each in found["streams"]] == [names[1]]
    for name in names:
        admin.publish(f"{name}.new")
    empty, rows = query.run()
    assert empty == []
    assert sorted(rows) == sorted([*range(1, 12), 11])


def test_set_with_a_position_for_each_stream(
    as_json: AsJson, two: tuple[Stopped, list[str]]
) -> None:
    query, names = two
    to = json.dumps({names[0]: 4})  # no default: the other stream stays where it is
    found = as_json("offsets", "set", query.checkpoint, "--to", to, *NO_WAIT)
    assert [each["stream"] for each in found["streams"]] == [names[0]]
    empty, rows = query.run()
    assert empty == []
    assert sorted(rows) == list(range(4, 11))


def test_a_poison_batch_is_skipped(command: Command, stopped: Stopped, admin: Admin) -> None:
    admin.fill(stopped.stream, 10)
    poisoned = frame(stopped.spark, stopped.url, stopped.stream)

    def fail(batch: DataFrame, _: int) -> None:
        if batch.filter("streamSeq > 100").count():
            raise RuntimeError("poison")

    def run() -> None:
        writer = poisoned.writeStream.foreachBatch(fail).trigger(availableNow=True)
        writer.option("checkpointLocation", stopped.checkpoint).start().awaitTermination()

    with pytest.raises(StreamingQueryException, match="poison"):
        run()
    planned = (stopped.folder / "offsets" / "1").read_text()
    to = ["--to", "latest", "--replace-planned", *NO_WAIT]
    code, out, err = command("offsets", "set", stopped.checkpoint, *to)
    assert (code, err) == (0, "")
    assert "had been planned and not committed" in out
    (backup,) = (stopped.folder / "nats-spark-backups").rglob("1")
    assert backup.read_text() == planned
    admin.fill(stopped.stream, 3)
    assert stopped.run() == [[], [111, 112, 113]]


def test_the_backup_undoes_the_change(command: Command, stopped: Stopped, admin: Admin) -> None:
    admin.fill(stopped.stream, 10)
    first = (stopped.folder / "offsets" / "0").read_text()
    planned = first.replace('"seq": 100', '"seq": 104').replace(', "after": 0', "")
    (stopped.folder / "offsets" / "1").write_text(planned)
    to = ["--to", "earliest", *NO_WAIT]
    code, out, err = command("offsets", "set", stopped.checkpoint, *to)
    assert (code, out) == (2, "")
    assert "is planned but not committed" in err
    assert not (stopped.folder / "nats-spark-backups").exists()
    assert command("offsets", "set", stopped.checkpoint, *to, "--replace-planned")[0] == 0
    (backup,) = (stopped.folder / "nats-spark-backups").rglob("1")
    shutil.copy(backup, stopped.folder / "offsets" / "1")
    assert [row for batch in stopped.run() for row in batch] == list(range(101, 111))


def test_an_aggregation_keeps_its_state(
    command: Command,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    tmp_path: Path,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 10)
    counts: list[int] = []

    def run() -> None:
        counted = frame(spark, nats_server.url, stream).groupBy().agg(f.count("*").alias("n"))
        writer = counted.writeStream.outputMode("complete").foreachBatch(
            lambda batch, _: counts.extend(row.n for row in batch.collect())
        )
        writer.trigger(availableNow=True).option(
            "checkpointLocation", str(tmp_path)
        ).start().awaitTermination()

    run()
    code, out, _ = command("offsets", "set", str(tmp_path), "--to", "6", *NO_WAIT)
    assert code == 0
    assert "aggregations and joins keep what they have counted" in out
    run()
    assert (counts[0], counts[-1]) == (10, 15)


def test_a_partitioned_query_is_moved(
    command: Command,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    numbered.make_streams(admin, stream, [10, 10])
    source = partitioned(spark, nats_server.url, stream)
    table.run(source)
    to = ["--to", "8", "--stream", f"{stream}-1"]
    assert command("offsets", "set", str(table.checkpoint), *to, *NO_WAIT)[0] == 0
    table.run(source)
    assert table.seqs(spark) == sorted([*range(1, 11), *range(1, 11), 8, 9, 10])


def test_one_of_two_sources_is_moved(
    command: Command,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    names = [f"{stream}{each}" for each in "AB"]
    for name in names:
        admin.create_stream(name)
        admin.fill(name, 5)
    both = frame(spark, nats_server.url, names[0]).union(frame(spark, nats_server.url, names[1]))
    table.run(both)
    checkpoint = str(table.checkpoint)
    code, _, err = command("offsets", "set", checkpoint, "--to", "earliest", *NO_WAIT)
    assert code == 2
    assert "has 2 NATS sources: choose one with --source (0, 1)" in err
    to = ["--to", "4", "--source", "1"]
    assert command("offsets", "set", checkpoint, *to, *NO_WAIT)[0] == 0
    table.run(both)
    assert table.seqs(spark) == sorted([*range(1, 6), *range(1, 6), 4, 5])


def test_a_dry_run_writes_nothing(command: Command, stopped: Stopped) -> None:
    before = stopped.files()
    code, out, _ = command("offsets", "set", stopped.checkpoint, "--to", "11", "--dry-run")
    assert code == 0
    assert "dry run, nothing was written" in out
    assert stopped.files() == before


def test_a_running_query_fails_at_its_next_batch_and_then_reads_from_there(
    command: Command, stopped: Stopped, admin: Admin
) -> None:
    source = frame(stopped.spark, stopped.url, stopped.stream)
    query = (
        source.writeStream.format("noop").option("checkpointLocation", stopped.checkpoint).start()
    )
    wait_until(lambda: query.status["message"].startswith("Waiting"))
    assert command("offsets", "set", stopped.checkpoint, "--to", "91", *NO_WAIT)[0] == 0
    admin.fill(stopped.stream, 1)
    with pytest.raises(StreamingQueryException):
        query.awaitTermination(60)
    assert stopped.run() == [[], list(range(91, 102))]


def test_a_checkpoint_that_changes_is_refused(
    command: Command, stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = stopped.folder / "offsets" / "0"

    def commit(_: float) -> None:
        (stopped.folder / "offsets" / "1").write_text(entry.read_text())

    monkeypatch.setattr("nats_spark_common.checkpoint.rewind.time.sleep", commit)
    code, out, err = command("offsets", "set", stopped.checkpoint, "--to", "earliest")
    assert (code, out) == (2, "")
    assert "has just changed: stop the query" in err
    assert (stopped.folder / "offsets" / "1").read_text() == entry.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--to", "900"], 2, "--to=900 is beyond the end of stream"),
        (["--to", "2200-01-01T00:00:00Z"], 2, "is in the future"),
        (["--to", "soon"], 2, "'soon' is not a position"),
        (["--to", "1", "--stream", "OTHER"], 2, "does not read OTHER: use S"),
        (["--to", '{"ORDRES": 4}'], 2, "does not read ORDRES: use S"),
        (["--to", "1", "--source", "3"], 2, "has no NATS source with number 3"),
    ],
)
def test_a_wrong_position_is_one_line_and_writes_nothing(
    command: Command, stopped: Stopped, arguments: list[str], code: int, words: str
) -> None:
    before = stopped.files()
    got, out, err = command("offsets", "set", stopped.checkpoint, *arguments, *NO_WAIT)
    assert (got, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1
    assert stopped.files() == before


def test_a_position_that_was_removed_is_refused(
    command: Command, stopped: Stopped, admin: Admin
) -> None:
    admin.purge(stopped.stream, keep=50)
    before = stopped.files()
    code, _, err = command("offsets", "set", stopped.checkpoint, "--to", "11", *NO_WAIT)
    assert code == 1
    assert "messages 11 to 50 were removed" in err
    assert stopped.files() == before


def test_a_stream_that_is_gone_cannot_be_moved(
    command: Command, stopped: Stopped, admin: Admin
) -> None:
    admin.delete_stream(stopped.stream)
    before = stopped.files()
    code, _, err = command("offsets", "set", stopped.checkpoint, "--to", "earliest", *NO_WAIT)
    assert code == 1
    assert "does not exist" in err
    assert stopped.files() == before


def test_a_recreated_stream_is_read_from_its_first_message(
    command: Command, stopped: Stopped, admin: Admin, stream: str
) -> None:
    admin.delete_stream(stream)
    admin.create_stream(stream)
    admin.fill(stream, 3)
    assert command("offsets", "set", stopped.checkpoint, "--to", "earliest", *NO_WAIT)[0] == 0
    assert stopped.run() == [[], [1, 2, 3]]


def test_a_balanced_query_is_not_moved(
    command: Command,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    admin: Admin,
    stream: str,
    table: Table,
) -> None:
    admin.create_stream(stream)
    admin.fill(stream, 3)
    table.run(balanced(spark, nats_server.url, stream))
    code, _, err = command("offsets", "set", str(table.checkpoint), "--to", "1", *NO_WAIT)
    assert code == 2
    assert (
        "is balanced, and the server keeps its position: reset or recreate consumer 'spark'" in err
    )


def test_show_prints_the_position_of_a_batch(
    command: Command, as_json: AsJson, stopped: Stopped, admin: Admin, stream: str
) -> None:
    admin.fill(stream, 10)
    stopped.run()
    found = as_json("offsets", "show", stopped.checkpoint, url=None)
    (source,) = found["sources"]
    assert (found["batch"], found["committed"]) == (1, True)
    created = source["streams"][0]["created"]
    assert source["streams"] == [{"stream": stream, "position": 110, "created": created}]
    code, out, _ = command("offsets", "show", stopped.checkpoint, "--batch", "0", url=None)
    assert code == 0
    assert out.splitlines()[-1].split()[:4] == ["0", "v2", stream, "100"]
    code, _, err = command("offsets", "show", stopped.checkpoint, "--batch", "7", url=None)
    assert code == 2
    assert "does not have batch 7: it has 0 to 1" in err


# Checkpoints out of durable consumers.


@pytest.fixture
def acknowledged(admin: Admin, stream: str) -> str:
    """A stream of 100 messages with a durable that has acknowledged 40."""
    admin.create_stream(stream)
    admin.fill(stream, 100)
    consuming.durable(admin, stream)

    async def acknowledge() -> None:
        subscription = await admin.js.pull_subscribe_bind(consuming.DURABLE, stream)
        for message in await subscription.fetch(40, timeout=10):
            await message.ack_sync()

    admin.run(acknowledge())
    return stream


@pytest.mark.parametrize("stateful", [False, True])
def test_an_imported_query_continues_after_the_ack_floor(
    command: Command,
    spark: SparkSession,
    nats_server: EmbeddedServer,
    acknowledged: str,
    tmp_path: Path,
    stateful: bool,
) -> None:
    query = Stopped(spark, nats_server.url, acknowledged, tmp_path)
    source = f"{acknowledged}/{consuming.DURABLE}"
    code, out, err = command("offsets", "import", query.checkpoint, "--from-consumer", source)
    assert (code, err) == (0, "")
    assert f'.option("nats.stream.name", "{acknowledged}")' in out
    if not stateful:
        assert query.run() == [[], list(range(41, 101))]
        return
    counts: list[int] = []
    counted = frame(spark, nats_server.url, acknowledged).groupBy().agg(f.count("*").alias("n"))
    writer = counted.writeStream.outputMode("complete").foreachBatch(
        lambda batch, _: counts.extend(row.n for row in batch.collect())
    )
    writer = writer.trigger(availableNow=True).option("checkpointLocation", query.checkpoint)
    writer.start().awaitTermination()
    assert counts[-1] == 60


def test_import_as_json(as_json: AsJson, acknowledged: str, tmp_path: Path) -> None:
    source = f"{acknowledged}/{consuming.DURABLE}"
    found = as_json("offsets", "import", str(tmp_path / "c"), "--from-consumer", source)
    assert found == {
        "checkpoint": str(tmp_path / "c"),
        "streams": [{"stream": acknowledged, "position": 40}],
        "notes": [],
    }


def test_import_has_the_filters_and_removed_messages_of_the_consumer(
    command: Command, admin: Admin, stream: str, tmp_path: Path
) -> None:
    admin.create_stream(stream, max_msgs=50)
    consuming.durable(admin, stream, filter_subject=f"{stream}.3")
    admin.fill(stream, 100)
    source = f"{stream}/{consuming.DURABLE}"
    code, out, _ = command("offsets", "import", str(tmp_path / "c"), "--from-consumer", source)
    assert code == 0
    assert f'.option("nats.stream.subjects", "{stream}.3")' in out
    assert f"stream {stream}: messages 1 to 50 were removed" in out
    admin.create_stream(f"{stream}B")
    consuming.durable(admin, f"{stream}B")
    both = ["--from-consumer", source, "--from-consumer", f"{stream}B/{consuming.DURABLE}"]
    code, _, err = command("offsets", "import", str(tmp_path / "d"), *both)
    assert code == 2
    assert "different filter subjects" in err
    assert not (tmp_path / "d").exists()


def test_import_names_messages_that_may_be_read_again(
    command: Command, admin: Admin, acknowledged: str, tmp_path: Path
) -> None:
    async def acknowledge_the_second() -> None:
        subscription = await admin.js.pull_subscribe_bind(consuming.DURABLE, acknowledged)
        _, second = await subscription.fetch(2, timeout=10)
        await second.ack_sync()

    admin.run(acknowledge_the_second())
    source = f"{acknowledged}/{consuming.DURABLE}"
    code, out, _ = command("offsets", "import", str(tmp_path / "c"), "--from-consumer", source)
    assert code == 0
    assert "up to 2 messages after the ack floors" in out


def test_import_overwrites_nothing(command: Command, stopped: Stopped, admin: Admin) -> None:
    consuming.durable(admin, stopped.stream)
    before = stopped.files()
    source = f"{stopped.stream}/{consuming.DURABLE}"
    code, _, err = command("offsets", "import", stopped.checkpoint, "--from-consumer", source)
    assert code == 2
    assert "is not empty: use a new folder" in err
    assert stopped.files() == before


@pytest.mark.parametrize(
    ("consumer", "words"),
    [
        ("{}", "use the form STREAM/DURABLE"),
        ("{}/nobody", "consumer 'nobody' of stream"),
        ("no{}/spark", "does not exist"),
    ],
)
def test_import_from_what_is_not_there_writes_nothing(
    command: Command, acknowledged: str, tmp_path: Path, consumer: str, words: str
) -> None:
    folder = tmp_path / "checkpoint"
    arguments = ["--from-consumer", consumer.format(acknowledged)]
    code, out, err = command("offsets", "import", str(folder), *arguments)
    assert (code, out) in ((1, ""), (2, ""))
    assert words in err
    assert not folder.exists()
