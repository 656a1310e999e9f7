"""The files of a query's checkpoint, on any file system that pyarrow knows."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from ..errors import CheckpointError
from ..protocol.json_object import json_object
from .log_entry import LogEntry

_OFFSETS, _COMMITS, _STATE, _METADATA = "offsets", "commits", "state", "metadata"
_BACKUPS = "nats-spark-backups"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
#: Hadoop's names of file systems, and pyarrow's.
_SCHEMES = {"s3a": "s3", "s3n": "s3"}


class Checkpoint:
    """The checkpoint of one query.

    Attributes:
        location: as the user named it.
        query_id: the id that Spark has given the query; empty if it has never been started.
        stateful: whether the query keeps state, such as the counts of an aggregation.
    """

    def __init__(self, location: str) -> None:
        """Open a checkpoint. Raises ``CheckpointError`` if there is none at the location.

        Args:
            location: a local path, or a URL such as ``s3://bucket/checkpoints/orders``.
        """
        self.location = shown(location)
        self._files, self._folder = _file_system(location)
        with self._reporting("read"):
            found = {each.base_name for each in self._list("")}
            if not found & {_OFFSETS, _METADATA}:
                raise CheckpointError(_not_a_checkpoint(self.location, found))
            self.query_id = self._query_id() if _METADATA in found else ""
            self.stateful = _STATE in found

    def batches(self) -> list[int]:
        """Return the numbers of the logged batches that Spark has kept, ascending."""
        return self._numbers(_OFFSETS)

    def committed(self) -> int | None:
        """Return the number of the last committed batch, None if there is none."""
        return max(self._numbers(_COMMITS), default=None)

    def committed_at(self, batch: int) -> datetime:
        """Return when the batch was committed: the time of its file."""
        with self._reporting("read"):
            at: datetime = self._files.get_file_info(self._path(_COMMITS, batch)).mtime
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def entry(self, batch: int) -> LogEntry:
        """Return the logged end of a batch. Raises ``CheckpointError``."""
        return LogEntry.parse(self._read(_OFFSETS, batch), f"{self.location}/{_OFFSETS}/{batch}")

    def next_watermark(self, batch: int) -> int:
        """Return the watermark after a committed batch, in milliseconds since the epoch."""
        lines = self._read(_COMMITS, batch).split("\n")
        try:
            commit = json_object(lines[1])
            if commit is None:
                raise ValueError("not JSON")
            return int(commit.get("nextBatchWatermarkMs", 0))
        except (IndexError, ValueError, TypeError):
            raise CheckpointError(
                f"{self.location}/{_COMMITS}/{batch} is damaged, or being written"
            ) from None

    def fingerprint(self) -> tuple[tuple[str, int, int], ...]:
        """Return the names, sizes and times of the log's files; Spark changes it."""
        with self._reporting("read"):
            found = [each for folder in (_OFFSETS, _COMMITS) for each in self._list(folder)]
        return tuple(sorted((each.path, each.size, each.mtime_ns) for each in found))

    def write_entry(self, batch: int, entry: LogEntry, *, replace: bool) -> str | None:
        """Write the end of a batch; return where the replaced entry was saved, if there was one.

        Args:
            replace: whether the batch is logged already.

        Raises ``CheckpointError``, also if another entry than expected is logged.
        """
        target = self._path(_OFFSETS, batch)
        with self._reporting("change"):
            if (batch in self.batches()) is not replace:
                raise CheckpointError(f"{self.location} has just changed: stop the query")
            saved = self._save(batch) if replace else None
            written = f"{self._folder}/{_OFFSETS}/.{batch}.{uuid.uuid4().hex}.tmp"
            try:
                _write(self._files, written, entry.format())
                self._files.move(written, target)
            finally:
                if self._files.get_file_info(written).type == fs.FileType.File:
                    self._files.delete_file(written)
            # Hadoop's local file system would find that the old checksum does not match.
            checksum = f"{self._folder}/{_OFFSETS}/.{batch}.crc"
            if self._files.get_file_info(checksum).type == fs.FileType.File:
                self._files.delete_file(checksum)
        return saved

    def _save(self, batch: int) -> str:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = f"{self._folder}/{_BACKUPS}/{stamp}"
        self._files.create_dir(folder, recursive=True)
        self._files.copy_file(self._path(_OFFSETS, batch), f"{folder}/{batch}")
        return f"{self.location}/{_BACKUPS}/{stamp}/{batch}"

    def _path(self, folder: str, batch: int) -> str:
        return f"{self._folder}/{folder}/{batch}"

    def _list(self, folder: str) -> list[fs.FileInfo]:
        selector = fs.FileSelector(f"{self._folder}/{folder}".rstrip("/"), allow_not_found=True)
        found: list[fs.FileInfo] = self._files.get_file_info(selector)
        return found

    def _numbers(self, folder: str) -> list[int]:
        with self._reporting("read"):
            names = [each.base_name for each in self._list(folder)]
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def _read(self, folder: str, batch: int) -> str:
        with (
            self._reporting("read"),
            self._files.open_input_stream(self._path(folder, batch), compression=None) as file,
        ):
            text: bytes = file.read()
        return text.decode("utf-8", "replace")

    def _query_id(self) -> str:
        with self._files.open_input_stream(f"{self._folder}/{_METADATA}") as file:
            text = file.read()
        try:
            return str((json_object(text) or {})["id"])
        except KeyError:
            raise CheckpointError(
                f"{self.location}/{_METADATA} does not name a query: use the checkpointLocation of "
                "a streaming query"
            ) from None

    @contextmanager
    def _reporting(self, doing: str) -> Iterator[None]:
        with reporting(self.location, doing):
            yield


def shown(location: str) -> str:
    """Return a location without what may be a secret: a user, a password, a query string."""
    if not _URL.match(location):
        return location.rstrip("/") or "/"
    parts = urlsplit(location)
    netloc = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, query="", fragment="").geturl().rstrip("/")


def create(location: str, entry: LogEntry) -> Checkpoint:
    """Create the checkpoint of a query that has not been started, whose first batch is planned.

    Raises ``CheckpointError`` if the folder exists and is not empty.
    """
    files, folder = _file_system(location)
    with reporting(location, "create"):
        found = files.get_file_info(folder)
        if found.type == fs.FileType.File:
            raise CheckpointError(f"{shown(location)} is a file: use a new folder")
        if files.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
            raise CheckpointError(
                f"{shown(location)} is not empty: use a new folder, or 'offsets set' to move an "
                "existing query"
            )
        files.create_dir(f"{folder}/{_OFFSETS}", recursive=True)
        _write(files, f"{folder}/{_OFFSETS}/0", entry.format())
        query = json.dumps({"id": str(uuid.uuid4())}, separators=(",", ":"))
        _write(files, f"{folder}/{_METADATA}", query)
    return Checkpoint(location)


@contextmanager
def reporting(location: str, doing: str) -> Iterator[None]:
    """Raise ``CheckpointError`` for an error of the file system."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition(". Detail:")[0]
        raise CheckpointError(f"cannot {doing} checkpoint {shown(location)}: {reason}") from error


def _write(files: fs.FileSystem, path: str, text: str) -> None:
    with files.open_output_stream(path, compression=None) as file:
        file.write(text.encode())


def _file_system(location: str) -> tuple[fs.FileSystem, str]:
    scheme = urlsplit(location).scheme if _URL.match(location) else ""
    if scheme in ("", "file"):
        path = unquote(urlsplit(location).path) if scheme else location
        return fs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    url = location.replace(scheme, _SCHEMES.get(scheme, scheme), 1)
    with reporting(location, "open"):
        files, folder = fs.FileSystem.from_uri(url)
    return files, folder.rstrip("/")


def _not_a_checkpoint(location: str, found: set[str]) -> str:
    if not found:
        what = "does not exist or is empty"
    else:
        what = f"is not a checkpoint: it has no {_OFFSETS} folder"
    return f"{location} {what}: use the checkpointLocation of a streaming query"
