"""Debian's nats-server 2.9.10, which stands for the servers without direct get batches."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "old-nats-server"
VERSION = "2.9.10"


class NotAvailableError(Exception):
    """Why the old server cannot be had here."""


def find() -> Path:
    """The binary: of ``NATS_SPARK_OLD_SERVER``, or unpacked (not installed) from Debian's package.

    Raises ``NotAvailableError``.
    """
    named = os.environ.get("NATS_SPARK_OLD_SERVER")
    if named:
        return Path(named)
    binary = _CACHE / "usr" / "sbin" / "nats-server"
    if not binary.exists():
        with _alone():
            if not binary.exists():
                _unpack()
    if not binary.exists():
        raise NotAvailableError(f"Debian's package holds no {binary.relative_to(_CACHE)}")
    version = subprocess.run([binary, "-v"], capture_output=True, text=True, check=False).stdout
    if f"v{VERSION}" not in version:
        raise NotAvailableError(
            f"this Debian has {version.strip() or 'a package that does not run'}; "
            f"set NATS_SPARK_OLD_SERVER to the path of a nats-server {VERSION}"
        )
    return binary


@contextmanager
def _alone() -> Iterator[None]:
    """No other process of the tests unpacks meanwhile."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack() -> None:
    if shutil.which("apt-get") is None:
        raise NotAvailableError("Debian's apt-get is not on this machine")
    if _run("apt-get", "download", "nats-server") and os.geteuid() == 0:
        _run("apt-get", "update")
        _run("apt-get", "download", "nats-server")
    packages = sorted(_CACHE.glob("nats-server_*.deb"))
    if not packages:
        raise NotAvailableError("apt-get download nats-server failed; run apt-get update as root")
    if _run("dpkg-deb", "-x", str(packages[-1]), "."):
        raise NotAvailableError(f"{packages[-1].name} could not be unpacked")


def _run(*command: str) -> int:
    return subprocess.run(command, cwd=_CACHE, capture_output=True, check=False).returncode
