"""What the sink writes in a run of a query, counted for the metrics of the driver.

Spark has no metrics of Python sinks: what tasks return reaches only the process that commits a
batch, which runs on the driver's machine and ends with the commit. A listener in the driver
therefore creates a file for each run, and commits add to it. Without a listener there is no file.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """Messages of committed batches.

    Attributes:
        messages: published rows.
        bytes: size of their payloads, after compression.
        retries: how often a task had to publish or connect again.
    """

    messages: int = 0
    bytes: int = 0
    retries: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.messages + other.messages, self.bytes + other.bytes, self.retries + other.retries
        )

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.messages - other.messages, self.bytes - other.bytes, self.retries - other.retries
        )


def start_counting(run: str) -> None:
    """Count what the run writes from now on; does nothing if it is counted already.

    A failure is logged: metrics must not stop a query.
    """
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(folder):
            raise PermissionError(f"{folder} belongs to another user, or others may write to it")
        os.close(os.open(folder / run, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        _log.warning("what the sink writes is not counted: %s", error)


def stop_counting(run: str) -> None:
    """Forget the counts of a run."""
    with suppress(OSError):
        (_folder() / run).unlink()


def read_counts(run: str) -> Counts:
    """Return what the run has written since `start_counting`; zeros if it is not counted."""
    with _opened(run, fcntl.LOCK_SH) as file:
        return _parsed(file) if file else Counts()


def add_counts(run: str, counts: Counts) -> None:
    """Add a committed batch, if the run is counted."""
    with _opened(run, fcntl.LOCK_EX) as file:
        if file:
            total = _parsed(file) + counts
            file.seek(0)
            file.write(json.dumps(asdict(total)))
            file.truncate()


def _folder() -> Path:
    return Path(tempfile.gettempdir(), f"nats-spark-counts-{os.getuid()}")


def _is_private(folder: Path) -> bool:
    """Return whether only this user can have written the files of the folder."""
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


@contextmanager
def _opened(run: str, lock: int) -> Iterator[IO[str] | None]:
    """Open the file of a run, and lock it; None if there is none."""
    try:
        file = (_folder() / run).open("r+") if _is_private(_folder()) else None
    except OSError:
        file = None
    if file is None:
        yield None
        return
    with file:
        fcntl.flock(file, lock)
        yield file


def _parsed(file: IO[str]) -> Counts:
    text = file.read()
    return Counts(**json.loads(text)) if text else Counts()
