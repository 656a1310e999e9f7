"""Measure the peak memory of a Python worker that reads one range in one task.

As a program, it runs one query in its own Spark session, which starts new workers, and prints the
peak of the largest worker in bytes.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from spark_side import make_session

_POLL_SECONDS = 0.05


def worker_peak(url: str, stream: str, count: int) -> int:
    """Return the peak resident bytes of a worker that reads sequences 1 to ``count``."""
    command = [sys.executable, str(Path(__file__)), url, stream, str(count)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed.split()[-1])


class _Watch(threading.Thread):
    """Polls the kernel's memory high-water mark of every Python worker of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            for process in psutil.Process().children(recursive=True):
                self.peak = max(self.peak, _high_water(process))
            time.sleep(_POLL_SECONDS)

    def finish(self) -> int:
        self._over.set()
        self.join()
        return self.peak


def _high_water(process: psutil.Process) -> int:
    """Return ``VmHWM`` of a worker, 0 for any other process; ``pyspark.daemon`` forks workers."""
    try:
        parent = process.parent()
        if parent is None or "pyspark.daemon" not in parent.cmdline():
            return 0
        status = Path(f"/proc/{process.pid}/status").read_text()
    except (psutil.Error, OSError):
        return 0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) * 1024 if found else 0


def _main() -> None:
    url, stream, count = sys.argv[1:]
    session = make_session()
    frame = (
        session.read.format("nats-v2")
        .option("nats.url", url)
        .option("nats.stream.name", stream)
        .option("nats.end", count)
        .option("nats.partitions", "1")
        .load()
    )
    watch = _Watch()
    watch.start()
    frame.write.format("noop").mode("overwrite").save()
    print(watch.finish())
    session.stop()


if __name__ == "__main__":
    _main()
