"""Measure from which length a range is read cheaper through a consumer than with direct gets.

python benchmarks/ways.py [--quick] [--cluster]

For each size of messages and length of a range: the time and the core-seconds of the server and of
the client to read it through a consumer, as ratios to direct gets. Both are measured in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass

import psutil

from fill import fill
from nats_spark_common import NatsSettings
from nats_spark_common.connection.pool import connection
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.requests import request
from nats_spark_common.planning.ranges import NEVER, StreamRange
from nats_spark_common.reading.range_reader import read_range
from nats_spark_common.rows.messages import MESSAGE_COLUMNS
from report import chart, parser, save

_SIZES = [50, 200, 1_024, 4_096, 65_536]
_LENGTHS = [300, 1_000, 3_000, 10_000, 30_000, 100_000]
_MOST_BYTES = 200 << 20
_ROUTE_PORTS = range(26_320, 26_323)


@dataclass
class Cost:
    """Seconds, and core-seconds of all servers and of this process, for one range; or ratios."""

    seconds: float
    server: float
    client: float


def main() -> None:
    arguments_parser = parser(__doc__)
    arguments_parser.add_argument(
        "--cluster", action="store_true", help="three servers, three replicas"
    )
    arguments = arguments_parser.parse_args()
    sizes, lengths = (_SIZES[:2], _LENGTHS[:3]) if arguments.quick else (_SIZES, _LENGTHS)
    ratios: dict[int, dict[int, Cost]] = {}
    print("consumer / direct: time, server's core-seconds, client's core-seconds")
    print(f"{'':>8}" + "".join(f"{length:>22,}" for length in lengths))
    with servers(3 if arguments.cluster else 1) as running:
        pids = [each.pid for each in running]
        for size in sizes:
            url = running[0].url
            stream = f"WAYS{size}"
            longest = min(lengths[-1], _MOST_BYTES // size)
            fill(url, stream, longest, size, replicas=len(running))
            ratios[size] = {
                length: compare(url, stream, length, pids)
                for length in lengths
                if length <= longest
            }
            cells = [" ".join(f"{each:.2f}" for each in astuple(r)) for r in ratios[size].values()]
            print(f"{size:>6} B" + "".join(f"{cell:>22}" for cell in cells), flush=True)
    where = "three servers, three replicas" if arguments.cluster else "one server"
    charts = [
        chart(
            f"{size} bytes, {where}",
            "time through a consumer / time with direct gets",
            {f"{length:,} messages": [round(r.seconds, 3)] for length, r in found.items()},
        )
        for size, found in ratios.items()
    ]
    found = {
        str(size): {str(length): asdict(r) for length, r in by_length.items()}
        for size, by_length in ratios.items()
    }
    name = "ways-cluster" if arguments.cluster else "ways"
    save(arguments, name, {"charts": charts, "consumer / direct": found})


def compare(url: str, stream: str, length: int, pids: list[int]) -> Cost:
    """Read a range of ``length`` in both ways in turn; return the ratios of the medians."""
    settings = NatsSettings.from_options({"nats.url": url, "nats.stream.name": stream})
    with connection(settings) as link:
        created = request(link, settings, f"STREAM.INFO.{stream}")["created"]
    repeats = max(2, min(30, 60_000 // length))
    costs: dict[int, list[Cost]] = {0: [], NEVER: []}
    for _ in range(5):
        for via, found in costs.items():
            span = StreamRange(stream, created, 1, length, consumer_from=via)
            found.append(cost(settings, span, repeats, pids))
    return Cost(
        *(
            statistics.median(getattr(each, part) for each in costs[0])
            / max(statistics.median(getattr(each, part) for each in costs[NEVER]), 1e-9)
            for part in ("seconds", "server", "client")
        )
    )


def cost(settings: NatsSettings, span: StreamRange, repeats: int, pids: list[int]) -> Cost:
    before, own, started = core_seconds(pids), time.process_time(), time.perf_counter()
    for _ in range(repeats):
        count = sum(len(each) for each in read_range(settings, span, MESSAGE_COLUMNS))
        if count != len(span):
            raise RuntimeError(f"{span}: read {count} messages")
    seconds = time.perf_counter() - started
    return Cost(seconds, core_seconds(pids) - before, time.process_time() - own)


def core_seconds(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


@contextmanager
def servers(count: int) -> Iterator[list[EmbeddedServer]]:
    """One server, or a cluster."""
    ports = _ROUTE_PORTS[:count]
    routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    configs = [
        f"server_name: n{port}\n"
        f"cluster {{ name: ways, listen: 127.0.0.1:{port}, routes: [{routes}] }}"
        for port in ports
    ]
    with ExitStack() as stack:
        started = [
            stack.enter_context(EmbeddedServer(config if count > 1 else "")) for config in configs
        ]
        while count > 1 and not all(
            each.statistics("jsz").get("meta_cluster", {}).get("leader") for each in started
        ):
            time.sleep(0.1)
        yield started


if __name__ == "__main__":
    main()
