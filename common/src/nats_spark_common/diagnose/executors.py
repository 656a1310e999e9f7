"""Compares the Python and the packages of a cluster's executors with this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pyspark import cloudpickle
from pyspark.sql import SparkSession

from .environment import PACKAGES, differing, own
from .finding import Finding, error, ok

#: Tasks of the job: enough that each executor probably runs one.
_TASKS_PER_CORE = 4


def judge_executors(master: str) -> Iterator[Finding]:
    """Run a small job on a cluster and judge what its executors report.

    Args:
        master: the URL of the cluster, as of ``spark.master``.
    """
    session: SparkSession | None = None
    # The executors may not have this package, which is one of the findings.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    try:
        session = SparkSession.builder.master(master).appName("nats-spark doctor").getOrCreate()
        context = session.sparkContext
        tasks = _TASKS_PER_CORE * max(1, context.defaultParallelism)
        found = context.parallelize(range(tasks), tasks).mapPartitions(_report(PACKAGES)).collect()
    except Exception as problem:  # of Spark, of many types
        reason = str(problem).strip().splitlines()
        yield error(
            f"cluster {master}",
            f"cannot run a Python task: {reason[-1] if reason else type(problem).__name__}",
            "check spark.master, and PYSPARK_PYTHON on the executors",
        )
        return
    finally:
        if session is not None:
            session.stop()
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    yield from judge_reports(found, own())


def _report(packages: tuple[str, ...]) -> Any:
    def report(_: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        import platform
        import socket
        from importlib.metadata import PackageNotFoundError, version

        found: dict[str, str | None] = {}
        for name in packages:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = None
        host = socket.gethostname()
        yield host, {"python": platform.python_version(), "packages": found}

    return report


def judge_reports(
    reports: Iterable[tuple[str, dict[str, Any]]], expected: dict[str, Any]
) -> Iterator[Finding]:
    """Judge what executors report, each with its host name."""
    different = {(host, json.dumps(found, sort_keys=True)): found for host, found in reports}
    for (host, _), found in sorted(different.items()):
        differences = list(differing(found, expected))
        if differences:
            yield error(
                f"executor on {host}",
                "; ".join(differences),
                "install the driver's packages there, and set PYSPARK_PYTHON to that Python",
            )
        else:
            yield ok(f"executor on {host}", f"Python {found['python']}, the driver's packages")
