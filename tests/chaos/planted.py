"""``python -m tests.chaos.planted``: a round finds each of six bugs, which are planted in a copy.

Each bug is one line, and its round has the faults that it takes. The same rounds pass without bugs
(`make chaos` runs such ones all the time).
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .plan import Fault, Plan
from .processes import ROOT
from .rounds import run

PACKAGES = ("common/src", "v2/src", "balanced/src", "archived/partitioned/src")


@dataclass(frozen=True)
class Bug:
    """A line that is changed.

    Attributes:
        file: below the packages' folders.
        line: the line, without indentation; it must be there once.
        becomes: the line with the bug.
        plan: a round that shows it.
    """

    name: str
    file: str
    line: str
    becomes: str
    plan: Plan


#: All links, and each server in turn.
_CHOICES = (0, 1, 2)


def _faults(lane: str, kind: str, times: int, after: float, lasts: float) -> tuple[Fault, ...]:
    return tuple(Fault(lane, kind, after, lasts, _CHOICES[i % 3]) for i in range(times))


_KILLS = _faults("spark", "kill-driver", 3, after=4.0, lasts=0.1)
_STALLS = _faults("network", "stall-links", 4, after=2.0, lasts=6.0)
_LAGS = _faults("servers", "lag-replica", 5, after=1.0, lasts=8.0)
#: Slow links keep rows in flight; the rest is lost with their server.
_SLOW = tuple(Fault("network", "slow-links", 0.5, 12.0, 0) for _ in range(3))
_RESTARTS = _faults("servers", "restart-server", 9, after=3.0, lasts=0.5)

BUGS = (
    Bug(
        "a lagging replica proves that a message was deleted",
        "nats_spark_common/reading/range_reader.py",
        "following = self._next_stored(link)",
        "following = None",
        Plan(1, ("v2",), _LAGS),
    ),
    Bug(
        "a read continues after the message that was not answered",
        "nats_spark_common/reading/range_reader.py",
        "self._timeout.unanswered()",
        "self._timeout.unanswered(); self.cursor += 1",
        Plan(1, ("v2",), _STALLS),
    ),
    Bug(
        "messages without an ack are not sent again",
        "nats_spark_common/sink/publisher.py",
        "resent = self._not_stored(chunks, look_up=bool(chunks))",
        "resent: list = []",
        Plan(3, ("at-least-once",), _SLOW + _RESTARTS),
    ),
    Bug(
        "a retry does not look which rows are stored",
        "nats_spark_common/sink/task_record.py",
        "takes_over = True",
        "takes_over = False",
        Plan(4, ("exactly-once",), _SLOW + _KILLS),
    ),
    Bug(
        "a batch begins with the last message of the one before",
        "nats_spark_common/replay/query.py",
        "first = after + 1",
        "first = max(1, after)",
        Plan(5, ("partitioned",), ()),
    ),
    Bug(
        "messages are acknowledged before their batch is committed",
        "pyspark_nats_balanced/query.py",
        "self._batch, self._logged = end, True",
        "self.puller.acknowledge(end.ack_prefix, end.deliveries)",
        Plan(6, ("work-queue",), _KILLS),
    ),
)


def main() -> int:
    """Return the exit code: 1 if a bug was not found."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    wanted = sys.argv[1:]
    chosen = [each for i, each in enumerate(BUGS) if not wanted or str(i + 1) in wanted]
    missed = [each.name for each in chosen if not _is_found(each)]
    for each in missed:
        print(f"NOT FOUND: {each}")
    print(f"{len(chosen) - len(missed)} of {len(chosen)} planted bugs were found")
    return 1 if missed else 0


def _is_found(bug: Bug) -> bool:
    print(f"planted: {bug.name}", flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-planted-") as folder:
        path = _plant(bug, Path(folder))
        result = run(bug.plan, lambda text: None, {"PYTHONPATH": path})
    for each in result.problems[:1]:
        print(f"  found: {each.strip().splitlines()[-1]}", flush=True)
    return bool(result.problems)


def _plant(bug: Bug, folder: Path) -> str:
    """Copy the packages with the bug; return the ``PYTHONPATH`` that finds them first."""
    for number, package in enumerate(PACKAGES):
        shutil.copytree(ROOT / package, folder / str(number))
    (file,) = folder.glob(f"*/{bug.file}")
    lines = file.read_text().splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.strip() == bug.line]
    indentation = lines[place][: -len(lines[place].lstrip())]
    lines[place] = indentation + bug.becomes
    file.write_text("\n".join(lines) + "\n")
    paths = [str(folder / str(number)) for number in range(len(PACKAGES))]
    return os.pathsep.join([*paths, str(ROOT)])


if __name__ == "__main__":
    sys.exit(main())
