"""``nats-spark bench``: how fast the user's own server takes and gives messages."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import click
import pyarrow as pa

from ..errors import NatsSparkError, OptionError
from ..jetstream.control import Control
from ..options.settings import NatsSettings
from ..planning import way
from ..reading.many_ranges import read_ranges
from ..rows.messages import MESSAGE_COLUMNS
from ..sink.columns import MessageColumns
from ..sink.task_id import TaskId
from ..sink.writer import write_task
from . import text
from .arguments import POSITIVE_SIZE, Where, json_option, names_server, replicas_option
from .output import print_json, print_note, print_table

#: Bounds of a run, so that a slip does not fill a server's disk.
_MAX_MESSAGES, _MAX_BYTES = 10_000_000, 4 << 30

_BATCH_ROWS = 5_000


@click.command(short_help="Measure write and read rates of a server.")
@click.option(
    "--messages",
    type=click.IntRange(1, _MAX_MESSAGES),
    default=200_000,
    show_default=True,
    help="Messages to write and read.",
)
@click.option(
    "--size",
    type=POSITIVE_SIZE,
    default="200",
    show_default=True,
    metavar="SIZE",
    help="Payload of a message.",
)
@replicas_option
@json_option
@names_server
def bench(messages: int, size: int, replicas: int, as_json: bool, where: Where) -> None:
    """Write messages to a stream of its own, read them, and print the rates.

    Uses the code of the sink and of the sources, in one process and without Spark. The stream is
    in file storage, and is deleted at the end.
    """
    if messages * size > _MAX_BYTES:
        raise OptionError(
            f"{messages:,} messages of {text.size(size)} are more than {text.size(_MAX_BYTES)}: "
            "use fewer or smaller ones"
        )
    settings = where.settings()
    name = f"NATS_SPARK_BENCH_{uuid.uuid4().hex[:12]}"
    with Control(settings) as control:
        # Without max_age, a run that is killed would leave its messages for good.
        config = {
            "name": name,
            "subjects": [f"{name}.>"],
            "storage": "file",
            "num_replicas": replicas,
            "allow_direct": True,
            "max_age": 3_600 * 1_000_000_000,
            "duplicate_window": 120 * 1_000_000_000,
        }
        control.api(f"STREAM.CREATE.{name}", config)
        try:
            written = _write(settings, name, messages, size)
            read = _read(settings, control, name, messages)
        finally:
            _delete(control, name)
    rates = [("write, at least once", written), ("read", read)]
    if as_json:
        print_json(
            {
                "messages": messages,
                "size": size,
                "replicas": replicas,
                "writePerSecond": round(written),
                "readPerSecond": round(read),
            }
        )
        return
    print(f"{messages:,} messages of {text.size(size)}, one task\n")
    rows = [[what, text.count(rate), text.size(rate * size, "/s")] for what, rate in rates]
    print_table(["", "messages/s", "payload"], rows)


def _write(settings: NatsSettings, name: str, messages: int, size: int) -> float:
    rows = max(1, min(_BATCH_ROWS, messages, (64 << 20) // size))
    subjects = pa.array([f"{name}.{number % 100}" for number in range(rows)])
    payloads = pa.array([os.urandom(size)] * rows, pa.binary())
    batch = pa.record_batch([subjects, payloads], names=["subject", "content"])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, messages, rows):
            yield batch.slice(0, min(rows, messages - start))

    started = time.perf_counter()
    task = TaskId(uuid.uuid4().hex, "0", 0)
    write_task(settings, MessageColumns(0, 1, None, None), task, batches())
    return messages / (time.perf_counter() - started)


def _read(settings: NatsSettings, control: Control, name: str, messages: int) -> float:
    info = control.stream_info(name)
    span = way.plan_range(settings, info, 1, info.last_seq, (), control.server_version)
    started = time.perf_counter()
    count = sum(len(found) for _, found in read_ranges(settings, (span,), MESSAGE_COLUMNS))
    if count != messages:
        raise NatsSparkError(f"{count} of {messages} messages of stream {name} were read")
    return messages / (time.perf_counter() - started)


def _delete(control: Control, name: str) -> None:
    try:
        control.api(f"STREAM.DELETE.{name}")
    except NatsSparkError as error:
        print_note(f"stream {name} could not be deleted: {error}; delete it yourself")
