"""Measure reading from JetStream, all sides in one run, and print rates and ratios.

python benchmarks/run.py [--quick] [--messages N] [--only speed|memory] [--out FOLDER]
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pyspark.sql import SparkSession

import jetstream_client
import report
import sides
from fill import allow_direct, fill
from memory import worker_peak
from nats_spark_common.embedded import EmbeddedServer
from results import (
    BATCH,
    BATCH_2,
    DECODE,
    FILTERS,
    JETSTREAM,
    LABELS,
    NO_DIRECT,
    PULL,
    RAW,
    RAW_CONSUMER,
    TRIGGER,
    TRIGGER_2,
    VIA_DIRECT,
    WHOLE,
    WHOLE_2,
    MemoryResult,
    SizeResult,
)
from spark_side import make_session, run_query
from usage import ELSEWHERE, Usage

#: Payload size → share of ``--messages``.
_SIZES = {200: 1.0, 1024: 0.2}
#: nats-py reads fewer messages: its rate is the same, and the run would take an hour otherwise.
_PULL_SHARE = 10
_RECORDED_ANSWERS = 16
_TWO_COLUMNS = "subject string, content binary"
#: A short and a long range, limited to the messages of the stream.
_MEMORY_COUNTS = (200_000, 2_000_000)


def main() -> None:
    parser = report.parser(
        __doc__, messages="number of messages of 200 bytes; a fifth of them of 1024 bytes"
    )
    parser.add_argument("--only", choices=["speed", "memory"], help="measure only this")
    arguments = parser.parse_args()
    messages = arguments.messages or (300_000 if arguments.quick else 4_000_000)
    rounds = 1 if arguments.quick else 3
    sizes: list[SizeResult] = []
    memory = None
    with EmbeddedServer() as server:
        wanted = _SIZES if arguments.only != "memory" else {200: 1.0}
        for size, share in wanted.items():
            result = SizeResult(size, int(messages * share))
            _print_progress(f"storing {result.messages:,} messages of {size} bytes")
            fill(server.url, _stream(size), result.messages, size)
            sizes.append(result)
        if arguments.only != "speed":
            memory = _memory(server.url, messages, 1 if arguments.quick else 3)
        if arguments.only != "memory":
            _speed(server, sizes, rounds)
    measured = [result for result in sizes if result.rates]
    for result in measured:
        report.print_size(result, judge=result.size == 200 and not arguments.quick)
    if memory:
        report.print_memory(memory)
    charts = [_chart(result) for result in measured]
    if memory:
        charts.append(_memory_chart(memory))
    found = {
        "sizes": [result.to_json() for result in measured],
        "memory": memory.to_json() if memory else None,
        "charts": charts,
    }
    report.save(arguments, "read", found)


def _chart(result: SizeResult) -> dict[str, Any]:
    ratios = "".join(f", {name} = {value:.2f}" for name, value in result.ratios().items())
    title = f"{result.messages:,} messages of {result.size} bytes{ratios}"
    return report.rate_chart(title, LABELS, result.rates)


def _memory_chart(memory: MemoryResult) -> dict[str, Any]:
    values = {
        f"{count:,} messages": [round(peak / 2**20, 1) for peak in peaks]
        for count, peaks in (
            (memory.small_count, memory.small),
            (memory.large_count, memory.large),
        )
    }
    return report.chart("Peak memory of a Python worker, one task", "MiB", values)


def _speed(server: EmbeddedServer, sizes: list[SizeResult], rounds: int) -> None:
    newer_client = jetstream_client.environment()
    if newer_client is None:
        _print_progress("nats-jetstream is left out: it needs Python 3.13, which was not found")
    session, url = make_session(), server.url
    recordings = {s.size: sides.record(url, _stream(s.size), _RECORDED_ANSWERS) for s in sizes}
    _print_progress("warming up")
    for _ in range(2):
        run_query(session, server, _stream(sizes[0].size), sizes[0].messages)
    for number in range(rounds):
        for result in sizes:
            _print_progress(f"round {number + 1} of {rounds}, {result.size} bytes")
            stream, count = _stream(result.size), result.messages
            result.add(PULL, sides.pull_fetch(url, stream, count // _PULL_SHARE))
            if newer_client:
                rate = jetstream_client.measure(newer_client, url, stream, count // _PULL_SHARE)
                result.add(JETSTREAM, rate)
            before, started = Usage.now(server.pid), time.perf_counter()
            result.add(RAW, sides.raw_socket(url, stream, count))
            spent = (Usage.now(server.pid) - before)[ELSEWHERE]
            result.add_elsewhere(RAW, spent / (time.perf_counter() - started))
            result.add(RAW_CONSUMER, sides.raw_consumer(url, stream, count))
            result.add(DECODE, sides.decode_alone(recordings[result.size], repeats=2))
            full = run_query(session, server, stream, count)
            result.add(WHOLE, full.whole)
            result.add(TRIGGER, full.trigger)
            result.add(BATCH, full.batch)
            result.add_usage(full.usage)
            result.add_elsewhere(WHOLE, full.usage[ELSEWHERE] / full.seconds)
            two = run_query(session, server, stream, count, _TWO_COLUMNS)
            result.add(WHOLE_2, two.whole)
            result.add(TRIGGER_2, two.trigger)
            result.add(BATCH_2, two.batch)
            _other_streams(session, server, result)
    session.stop()


def _other_streams(session: SparkSession, server: EmbeddedServer, result: SizeResult) -> None:
    """Measure what can or must be read in one way only: by direct gets, or by a consumer."""
    stream = _stream(result.size)
    direct = {"nats.read.via": "direct"}
    filters = {"nats.stream.subjects": f"{stream}.0.>,{stream}.1.>"}
    for side, options in ((VIA_DIRECT, direct), (FILTERS, filters)):
        query = run_query(session, server, stream, result.messages, options=options)
        result.add(side, query.whole)
    allow_direct(server.url, stream, False)
    result.add(NO_DIRECT, run_query(session, server, stream, result.messages).whole)
    allow_direct(server.url, stream, True)


def _memory(url: str, messages: int, rounds: int) -> MemoryResult:
    small, large = (min(count, messages) for count in _MEMORY_COUNTS)
    result = MemoryResult(small, large, [], [])
    for number in range(rounds):
        _print_progress(f"memory, round {number + 1} of {rounds}")
        for count, peaks in ((small, result.small), (large, result.large)):
            peaks.append(worker_peak(url, _stream(200), count))
    return result


def _stream(size: int) -> str:
    return f"BENCH{size}"


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
