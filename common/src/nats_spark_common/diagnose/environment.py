"""Judges the interpreters and packages of this machine: what Spark starts, and what it finds."""

from __future__ import annotations

import json
import os
import pkgutil
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..spark.version import NEEDED, WITH_ADMISSION, has_admission, is_supported
from .finding import Finding, error, ok, warning

#: Packages that driver and executors must have in the same version.
PACKAGES = ("pyspark", "nats-spark-common", "nats-py", "pyarrow", "pydantic")

_MINIMUM_JAVA = 17
_SECONDS = 30

#: Prints what an interpreter has; run by other interpreters, so it imports nothing of ours.
_REPORT = """
import json, platform
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in %r:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = None
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""


def judge_environment() -> Iterator[Finding]:
    """Judge Python, Java, PYSPARK_PYTHON and the data sources that Spark finds."""
    yield from judge_spark(_version("pyspark"), is_supported(), has_admission())
    yield from judge_java(_java())
    names = ("PYSPARK_DRIVER_PYTHON", "PYSPARK_PYTHON")
    variable = next((name for name in names if os.environ.get(name)), "")
    python = os.environ.get(variable, "")
    yield from judge_interpreter(variable, python, _interpreter(python or "python3"), own())
    yield from judge_sources(broken_sources())


def own() -> dict[str, Any]:
    """Return the Python version and packages of this process."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def judge_spark(found: str | None, supported: bool, admission: bool) -> Iterator[Finding]:
    """Judge the installed version of pyspark, by what it has of the API of the sources."""
    if not supported:
        yield error("pyspark", f"is version {found}", f"install pyspark {NEEDED} or later")
    else:
        without = "" if admission else f", without nats-balanced, which needs {WITH_ADMISSION}"
        yield ok("pyspark", f"version {found}{without}, on Python {platform.python_version()}")


def judge_java(found: str | None) -> Iterator[Finding]:
    """Judge the output of ``java -version``, None if there is no Java."""
    numbers = re.search(r'version "(\d+)(?:\.(\d+))?', found or "")
    if found is None or numbers is None:
        yield warning(
            "Java",
            "was not found on this machine",
            f"install Java {_MINIMUM_JAVA} and set JAVA_HOME, unless Spark runs elsewhere",
        )
        return
    major = int(numbers.group(1))
    if major < _MINIMUM_JAVA:
        yield error("Java", f"is version {major}", f"install Java {_MINIMUM_JAVA} or later")
    else:
        yield ok("Java", f"version {major}")


def judge_interpreter(
    variable: str, python: str, found: dict[str, Any] | None, expected: dict[str, Any]
) -> Iterator[Finding]:
    """Judge the Python in which Spark looks for data sources.

    Args:
        variable: the variable that names it, PYSPARK_DRIVER_PYTHON or PYSPARK_PYTHON; empty if
            neither is set, and Spark starts ``python3``.
        found: what it reports of itself, None if it cannot be started.
        expected: the same of the driver's Python.
    """
    what = f"{variable}={python}" if variable else "python3 (PYSPARK_PYTHON is not set)"
    remedy = f"set {variable or 'PYSPARK_PYTHON'}={sys.executable}"
    if found is None:
        yield error(what, "cannot be started", remedy)
        return
    differences = list(differing(found, expected))
    if differences:
        yield error(what, "; ".join(differences), remedy)
    else:
        yield ok(what, f"Python {found['python']} with the packages of this process")


def differing(found: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    """Return how the Python and packages of another interpreter differ from those expected."""
    if found["python"].split(".")[:2] != expected["python"].split(".")[:2]:
        yield f"is Python {found['python']}, not {expected['python']}"
    for name, wanted in expected["packages"].items():
        has = found["packages"].get(name)
        if has != wanted:
            yield f"has {name} {has}, not {wanted}" if has else f"has no {name}"


def judge_sources(broken: dict[str, str]) -> Iterator[Finding]:
    """Judge the packages ``pyspark_*`` that cannot be imported, with their errors."""
    for name, problem in broken.items():
        yield error(
            f"package {name}",
            f"cannot be imported ({problem}): Spark imports every pyspark_* package to find data "
            "sources, and then finds none",
            f"repair or uninstall {name}",
        )
    if not broken:
        yield ok("data sources", "every pyspark_* package can be imported")


def broken_sources() -> dict[str, str]:
    """Return the packages ``pyspark_*`` that cannot be imported, each with its error."""
    found: dict[str, str] = {}
    names = {each.name for each in pkgutil.iter_modules() if each.name.startswith("pyspark_")}
    together = _run([sys.executable, "-c", "\n".join(f"import {name}" for name in sorted(names))])
    if together is not None and not together.returncode:
        return found
    for name in sorted(names):
        ran = _run([sys.executable, "-c", f"import {name}"])
        if ran is None:
            found[name] = "it takes too long"
        elif ran.returncode:
            found[name] = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
    return found


def _interpreter(python: str) -> dict[str, Any] | None:
    ran = _run([*python.split(), "-c", _REPORT % (PACKAGES,)])
    if ran is None or ran.returncode:
        return None
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    ran = _run([java, "-version"]) if java else None
    return ran.stderr if ran is not None else None


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
