"""What the queries of a round do, and what must be true of their results in the end."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.feather as feather
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ExternalStream,
    RetentionPolicy,
    StreamConfig,
    StreamSource,
)
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.streaming import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from .._support.admin import Admin
from .._support.consuming import consumer
from .publisher import KEYS
from .world import SIZE, World

DURABLE = "spark"
PARTITIONS = 3
_ACK_WAIT = 6
_BATCH = 1_500


@dataclass(frozen=True)
class Outcome:
    """A finished round.

    Attributes:
        folder: what the driver has written.
        counts: messages that were published, by stream.
        foreign: numbers that other clients have processed, by stream.
    """

    world: World
    folder: Path
    counts: dict[str, int]
    foreign: dict[str, list[int]]

    @property
    def admin(self) -> Admin:
        return self.world.admin()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows that a query has written, in the order of its batches."""
        files = sorted((self.folder / query / "rows").glob("*.arrow"))
        tables = [feather.read_table(each) for each in files]
        return pa.concat_tables(tables).to_pylist() if tables else []


@dataclass(frozen=True)
class Session:
    """What a scenario needs to start its queries."""

    spark: SparkSession
    url: str
    folder: Path
    seed: int
    now: bool

    def chance(self, name: str) -> random.Random:
        """Return decisions of the round about one query, the same after each restart."""
        return random.Random(f"{self.seed}/{name}")

    def frame(self, flavor: str, **options: str) -> DataFrame:
        reader = self.spark.readStream.format(flavor).option("nats.url", self.url)
        reader = reader.option("nats.max.messages.per.trigger", str(_BATCH))
        return reader.options(**{f"nats.{k}": v for k, v in options.items()}).load()

    def start(self, name: str, writer: DataStreamWriter) -> StreamingQuery:
        writer = writer.queryName(name)
        writer = writer.option("checkpointLocation", str(self.folder / name / "checkpoint"))
        return (writer.trigger(availableNow=True) if self.now else writer).start()

    def store(self, name: str, frame: DataFrame) -> StreamingQuery:
        """Start a query that writes a file for each batch, and again if it is run again."""
        place = self.folder / name / "rows"
        place.mkdir(parents=True, exist_ok=True)

        def write(batch: DataFrame, number: int) -> None:
            task = f.spark_partition_id().alias("task")
            rows = batch.select("stream", "subject", "content", task)  # in the order of their tasks
            unfinished = place / f".{number}"
            feather.write_feather(rows.toArrow(), str(unfinished))
            unfinished.replace(place / f"{number:06}.arrow")

        return self.start(name, frame.writeStream.foreachBatch(write))


class Scenario(ABC):
    """Queries and their streams; everything is named after the scenario."""

    name: ClassVar[str]

    @property
    def source(self) -> str:
        return f"{self.name}-in"

    def streams(self) -> list[str]:
        """Return the streams that are published to."""
        return [self.source]

    def admin(self, world: World) -> Admin:
        """Return the client that publishes."""
        return world.admin()

    def prepare(self, world: World, chance: random.Random) -> None:
        """Create the streams."""
        for each in self.streams():
            world.admin().create_stream(each, num_replicas=SIZE)

    @abstractmethod
    def start(self, session: Session) -> list[StreamingQuery]:
        """Start the queries."""

    @abstractmethod
    def problems(self, outcome: Outcome) -> Iterator[str]:
        """Yield the promises that the results break."""


class Table(Scenario):
    """V2, read in one of its ways: every message is once in a table."""

    name = "v2"

    def start(self, session: Session) -> list[StreamingQuery]:
        chance = session.chance(self.name)
        via = chance.choice(["direct", "consumer", "auto"])
        options = {"stream.name": self.source, "read.via": via, "min.range": "300"}
        return [session.store(self.name, session.frame("nats-v2", **options))]

    def problems(self, outcome: Outcome) -> Iterator[str]:
        (published,) = self.streams()
        found = [_number(row) for row in outcome.rows(self.name)]
        yield from _differences(self.name, found, outcome.counts[published], once=True)


class Mirror(Table):
    """V2 on a mirror of a stream that a leaf has."""

    name = "mirror"

    def admin(self, world: World) -> Admin:
        return world.leaf_admin()

    def prepare(self, world: World, chance: random.Random) -> None:
        (origin,) = self.streams()
        world.leaf_admin().create_stream(origin)
        external = ExternalStream(api="$JS.leaf.API", deliver="deliver.leaf")
        mirror = StreamSource(name=origin, external=external)
        config = StreamConfig(
            name=self.source,
            mirror=mirror,
            mirror_direct=chance.random() < 0.5,
            allow_direct=True,
            num_replicas=SIZE,
        )
        world.admin().run(world.admin().js.add_stream(config))

    def streams(self) -> list[str]:
        return [f"{self.name}-origin"]


class Copy(Scenario):
    """V2 into another stream."""

    def __init__(self, name: str, mode: str, *, fast: bool = False, atomic: bool = False) -> None:
        self.name = name  # type: ignore[misc]
        self._mode = mode
        self._fast, self._atomic = fast, atomic

    @property
    def target(self) -> str:
        return f"{self.name}-out"

    def prepare(self, world: World, chance: random.Random) -> None:
        super().prepare(world, chance)
        # Shorter than most outages: what a server remembers must not be needed.
        window = chance.choice([1, 120])
        config = {"name": self.target, "subjects": [f"{self.target}.>"], "num_replicas": SIZE}
        config |= {"allow_direct": True, "storage": "file", "retention": "limits"}
        config |= {"duplicate_window": window * 1_000_000_000}
        config |= {"allow_batched": self._fast, "allow_atomic": self._atomic}
        world.admin().api(f"STREAM.CREATE.{self.target}", **config)

    def start(self, session: Session) -> list[StreamingQuery]:
        options = {"stream.name": self.source, "min.range": "300"}
        if self._atomic:
            options["max.messages.per.trigger"] = "900"
        rows = session.frame("nats-v2", **options)
        rows = rows.selectExpr(f"concat('{self.target}.', subject) as subject", "content")
        writer = rows.writeStream.format("nats-v2").option("nats.url", session.url)
        writer = writer.option("nats.sink.mode", self._mode)
        writer = writer.option("nats.sink.atomic", str(self._atomic).lower())
        return [session.start(self.name, writer)]

    def problems(self, outcome: Outcome) -> Iterator[str]:
        stored = outcome.admin.read_all(self.target)
        found = [int(each.payload.rstrip(b".")) for each in stored]
        once = self._mode == "exactly-once"
        yield from _differences(self.name, found, outcome.counts[self.source], once=once)


class Partitioned(Scenario):
    """Partitioned: every message once, in the order of its key, and in the task of its stream."""

    name = "partitioned"

    def streams(self) -> list[str]:
        return [f"{self.name}-in-{i}" for i in range(PARTITIONS)]

    def start(self, session: Session) -> list[StreamingQuery]:
        frame = session.frame("nats-partitioned", **{"stream.prefix": f"{self.name}-in"})
        return [session.store(self.name, frame)]

    def problems(self, outcome: Outcome) -> Iterator[str]:
        by_key: dict[str, list[int]] = {}
        for row in outcome.rows(self.name):
            by_key.setdefault(row["subject"], []).append(_number(row))
            if row["stream"] != f"{self.name}-in-{row['task']}":
                yield f"{self.name}: task {row['task']} has a row of {row['stream']}"
        for i, stream in enumerate(self.streams()):
            for key in range(KEYS):
                found = by_key.get(f"{stream}.k{key}", [])
                wanted = list(range(key, outcome.counts[stream], KEYS))
                if found != wanted:
                    yield from _differences(f"{self.name}-{i}", found, wanted, once=True)
                    if sorted(found) == wanted:
                        yield f"{self.name}: key {key} of {stream} is out of order"


class Balanced(Scenario):
    """Balanced, alone on its consumer: every message once, all of them acknowledged."""

    name = "balanced"
    retention: ClassVar[RetentionPolicy] = RetentionPolicy.LIMITS

    def prepare(self, world: World, chance: random.Random) -> None:
        world.admin().create_stream(self.source, num_replicas=SIZE, retention=self.retention)
        config = ConsumerConfig(
            durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, ack_wait=_ACK_WAIT
        )
        world.admin().run(world.admin().js.add_consumer(self.source, config))

    def start(self, session: Session) -> list[StreamingQuery]:
        return [session.store(self.name, self._frame(session))]

    def problems(self, outcome: Outcome) -> Iterator[str]:
        found = [_number(row) for row in outcome.rows(self.name)]
        yield from _differences(self.name, found, outcome.counts[self.source], once=True)
        yield from self._unsettled(outcome)

    def _frame(self, session: Session) -> DataFrame:
        options = {"stream.name": self.source, "durable.name": DURABLE, "num.listeners": "2"}
        return session.frame("nats-balanced", **options)

    def _unsettled(self, outcome: Outcome) -> Iterator[str]:
        state = consumer(outcome.admin, self.source, DURABLE)
        floor = state.ack_floor.stream_seq if state.ack_floor else 0
        found = (floor, state.num_ack_pending, state.num_pending)
        if found != (outcome.admin.info(self.source).state.last_seq, 0, 0):
            yield f"{self.name}: the consumer is not at its end: {found}"


class WorkQueue(Balanced):
    """Two queries and another client share the consumer of a work queue: nobody loses any."""

    name = "work-queue"
    retention = RetentionPolicy.WORK_QUEUE

    def start(self, session: Session) -> list[StreamingQuery]:
        return [session.store(name, self._frame(session)) for name in self._queries()]

    def problems(self, outcome: Outcome) -> Iterator[str]:
        found = [_number(row) for name in self._queries() for row in outcome.rows(name)]
        found += outcome.foreign[self.source]
        yield from _differences(self.name, found, outcome.counts[self.source], once=False)
        yield from self._unsettled(outcome)
        left = outcome.admin.info(self.source).state.messages
        if left:
            yield f"{self.name}: {left} messages are left in the work queue"

    def _queries(self) -> list[str]:
        return [f"{self.name}-{i}" for i in range(2)]


SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        Table(),
        Mirror(),
        Copy("exactly-once", "exactly-once"),
        Copy("at-least-once", "at-least-once"),
        Copy("fast", "exactly-once", fast=True),
        Copy("atomic", "exactly-once", atomic=True),
        Partitioned(),
        Balanced(),
        WorkQueue(),
    )
}


def _number(row: dict[str, Any]) -> int:
    return int(bytes(row["content"]).rstrip(b"."))


def _differences(
    name: str, found: Sequence[int], wanted: int | Sequence[int], *, once: bool
) -> Iterator[str]:
    counts = Counter(found)
    expected = range(wanted) if isinstance(wanted, int) else wanted
    missing = [each for each in expected if each not in counts]
    unknown = sorted(set(counts).difference(expected))
    repeated = sorted(each for each, count in counts.items() if count > 1)
    if missing:
        yield f"{name}: {len(missing)} of {len(expected)} are missing: {_shown(missing)}"
    if unknown:
        yield f"{name}: {len(unknown)} were never published: {_shown(unknown)}"
    if once and repeated:
        yield f"{name}: {len(repeated)} of {len(expected)} are repeated: {_shown(repeated)}"


def _shown(numbers: Sequence[int]) -> str:
    return f"{numbers[:5]}{'...' if len(numbers) > 5 else ''}"
