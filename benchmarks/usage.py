"""Core-seconds of the server, of Spark's JVM, of its Python workers, and of other processes."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

SERVER, JVM, PYTHON, ELSEWHERE = "server", "JVM", "Python workers", "elsewhere"


@dataclass(frozen=True)
class Usage:
    """Core-seconds up to now by kind; subtract an earlier value for those of an interval."""

    seconds: dict[str, float]

    @staticmethod
    def now(server_pid: int) -> Usage:
        """Sum up the processes of this run by kind; ``elsewhere`` is all unrelated processes."""
        found = {SERVER: _own(psutil.Process(server_pid)), JVM: 0.0, PYTHON: 0.0}
        this = psutil.Process()
        for process in this.children(recursive=True):
            try:
                if process.pid == server_pid:
                    continue
                if process.name() == "java":
                    found[JVM] += _own(process)
                    found[PYTHON] += _ended_children(process)
                else:
                    found[PYTHON] += _own(process) + _ended_children(process)
            except psutil.Error:
                continue
        times = psutil.cpu_times()
        busy = times.user + times.nice + times.system
        found[ELSEWHERE] = busy - sum(found.values()) - _own(this)
        return Usage(found)

    def __sub__(self, before: Usage) -> dict[str, float]:
        return {kind: max(0.0, now - before.seconds[kind]) for kind, now in self.seconds.items()}


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _ended_children(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)
