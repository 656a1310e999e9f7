"""Older versions of PySpark, from the package index into ``.cache``."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .spark import CHEAP, link_home

ROOT = Path(__file__).resolve().parents[2]
_CACHE = ROOT / ".cache"
_SOURCES = ("common", "v2", "balanced", "archived/partitioned")


class NotAvailableError(Exception):
    """Why the old version cannot be had here."""


def find(distribution: str, version: str) -> Path:
    """Return a folder to import it from: ``pyspark``, or ``pyspark-client`` (Python code alone).

    Raises ``NotAvailableError``.
    """
    folder = _CACHE / f"{distribution}-{version}"
    _CACHE.mkdir(exist_ok=True)
    with (_CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # no other process of the tests installs meanwhile
        if not folder.exists():
            _install(f"{distribution}=={version}", folder)
        if (folder / "pyspark" / "jars").exists() and not (folder / "home").exists():
            link_home(folder / "pyspark", folder / "home")
    return folder


def run(folder: Path, script: str, *paths: Path) -> str:
    """Return what a script prints with this PySpark, the suite's packages and ``paths``."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(folder, *paths),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def environment(folder: Path, *paths: Path) -> dict[str, str]:
    """Return the variables of a process that uses this PySpark."""
    sources = (ROOT / source / "src" for source in _SOURCES)
    found = {name: value for name, value in os.environ.items() if name != "SPARK_HOME"}
    found["PYTHONPATH"] = os.pathsep.join(map(str, (folder, *sources, *paths)))
    found["JDK_JAVA_OPTIONS"] = CHEAP
    found["PYSPARK_PYTHON"] = found["PYSPARK_DRIVER_PYTHON"] = sys.executable
    return found


def _install(requirement: str, folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    done = subprocess.run(
        [*command, "--target", unfinished, requirement], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotAvailableError(f"pip install {requirement} failed: {done.stderr.strip()[-300:]}")
    unfinished.rename(folder)
