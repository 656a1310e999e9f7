"""The driver of a round and its workers, as processes that are killed and frozen."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

#: Failures of a query that a cluster's outage explains; an operator starts it again.
_OUTAGES = ("ConnectError", "TimeoutExpiredError", "JetStreamUnavailableError")
#: ... and Spark's own, of workers that were killed four times, and of queries that start together.
_OF_SPARK = ("Python worker exited unexpectedly", "Task not serializable", "EOFException")

_MAX_RESTARTS = 20


class DriverFailure(Exception):
    """A query failed in a way that no fault explains."""


class Driver:
    """A driver that is started again when it is killed, or when an outage ended it.

    Attributes:
        log: what all of its runs have printed.
        outages: how often a query gave up.
    """

    def __init__(self, folder: Path, arguments: list[str], environment: Mapping[str, str]) -> None:
        self._arguments = [str(folder), *arguments]
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._told = 0
        self.log = folder / "driver.log"
        self.outages = 0

    def start(self, until: str = "on") -> None:
        """Start it; ``until`` is ``now`` if it ends at the ends of the streams."""
        url, seed, *names = self._arguments[1:]
        command = [sys.executable, "-m", "tests.chaos.driver", self._arguments[0]]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, url, seed, until, *names],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Kill it with its JVM and its workers."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def kill_and_start(self) -> None:
        """Kill it, and start it again at once."""
        self.kill()
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        with self._lock:
            if self._process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def workers(self) -> list[psutil.Process]:
        """Return the Python processes that run tasks and plan batches, by their ids."""
        if self._process is None:
            return []
        with suppress(psutil.Error):
            below = psutil.Process(self._process.pid).children(recursive=True)
            return sorted((e for e in below if _is_worker(e)), key=lambda each: each.pid)
        return []

    def look(self) -> None:
        """Start it again if an outage has ended it.

        Raises ``DriverFailure`` if something else has.
        """
        with self._lock:
            process = self._process
            if process is None or process.poll() is None:
                return
            self._require_outage(process.returncode)
            self.outages += 1
            self.start()

    def finish(self, seconds: float) -> None:
        """Run to the ends of the streams.

        Raises ``DriverFailure`` if that takes longer, or a query fails after all faults.
        """
        self.kill()
        self.start("now")
        assert self._process is not None
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DriverFailure(f"the queries are not at the ends after {seconds} s") from None
        if code:
            raise DriverFailure(f"after all faults:\n{self._tail()}")

    def _require_outage(self, code: int) -> None:
        tail = self._tail()
        errors = set(re.findall(r"nats_spark_common\.errors\.(\w+): ", tail))
        explained = errors.intersection(_OUTAGES) or any(each in tail for each in _OF_SPARK)
        if not explained or errors.difference(_OUTAGES) or self.outages >= _MAX_RESTARTS:
            raise DriverFailure(f"exit code {code}:\n{tail}")

    def _tail(self) -> str:
        """Return what the last run has printed."""
        text = self.log.read_text(errors="replace")
        new, self._told = text[self._told :], len(text)
        return new[-6_000:]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("pyspark" in part and "-m" not in part for part in process.cmdline()[1:])
    except psutil.Error:
        return False
