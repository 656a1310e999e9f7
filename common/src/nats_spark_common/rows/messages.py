"""Blocks of stream messages as Arrow columns, the result of every way of reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..protocol.operations import header_pairs
from ..protocol.subjects import matches_any

Int64s = npt.NDArray[np.int64]

HEADERS_TYPE = pa.map_(pa.string(), pa.list_(pa.string()))
TIMESTAMP_TYPE = pa.timestamp("us", tz="UTC")

#: The columns that differ between messages; all others are constant within a range.
MESSAGE_COLUMNS = frozenset({"subject", "content", "headers", "timestamp"})


@dataclass(frozen=True)
class Messages:
    """Messages of one stream in ascending sequence order.

    Attributes:
        seqs: stream sequences.
        columns: Arrow arrays by column name, the requested ones of `MESSAGE_COLUMNS`, each as long
            as ``seqs``: ``subject`` string, ``content`` binary, ``headers`` `HEADERS_TYPE`,
            ``timestamp`` `TIMESTAMP_TYPE` (the server's nanoseconds, truncated to microseconds).
    """

    seqs: Int64s
    columns: dict[str, pa.Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seqs)

    def slice(self, start: int, stop: int) -> Messages:
        """Return rows ``start`` to ``stop`` (exclusive), without copying."""
        if start == 0 and stop >= len(self):
            return self
        columns = {name: array.slice(start, stop - start) for name, array in self.columns.items()}
        return Messages(self.seqs[start:stop], columns)

    def select(self, which: npt.NDArray[np.bool_]) -> Messages:
        """Return the rows that a mask selects."""
        mask = pa.array(which)
        columns = {name: array.filter(mask) for name, array in self.columns.items()}
        return Messages(self.seqs[which], columns)

    def matching(self, filters: tuple[str, ...], fields: frozenset[str]) -> Messages:
        """Return the messages whose subject a filter matches, with the columns ``fields``.

        The subjects must be decoded.
        """
        found = self
        subjects = self.columns["subject"].dictionary_encode()
        known = [matches_any(filters, each) for each in subjects.dictionary.to_pylist()]
        if not all(known):
            found = self.select(np.array(known, bool)[subjects.indices.to_numpy()])
        columns = {name: array for name, array in found.columns.items() if name in fields}
        return Messages(found.seqs, columns)

    def between(self, first: int, last: int) -> Messages:
        """Return the messages with sequences ``first``..``last``, both included."""
        start = int(np.searchsorted(self.seqs, first, "left"))
        stop = int(np.searchsorted(self.seqs, last, "right"))
        return self.slice(start, max(start, stop))


def merged(parts: Sequence[Messages]) -> Messages:
    """Merge blocks with the same columns into one block in ascending sequence order."""
    seqs = np.concatenate([part.seqs for part in parts])
    order = np.argsort(seqs, kind="stable")
    picks = pa.array(order)
    columns = {
        name: pa.concat_arrays([part.columns[name] for part in parts]).take(picks)
        for name in parts[0].columns
    }
    return Messages(seqs[order], columns)


@dataclass(frozen=True)
class Message:
    """One stream message from a sequential parser; ``time_ns`` is since the epoch."""

    seq: int
    subject: bytes
    time_ns: int
    header: bytes
    payload: bytes


def from_messages(items: Sequence[Message], fields: frozenset[str]) -> Messages:
    """Return single messages as columns."""
    columns: dict[str, pa.Array] = {}
    if "subject" in fields:
        columns["subject"] = pa.array([text(m.subject) for m in items], pa.string())
    if "content" in fields:
        columns["content"] = pa.array([m.payload for m in items], pa.binary())
    if "headers" in fields:
        columns["headers"] = headers_array(len(items), enumerate(m.header for m in items))
    if "timestamp" in fields:
        times = np.fromiter((m.time_ns // 1000 for m in items), np.int64, len(items))
        columns["timestamp"] = pa.array(times).cast(TIMESTAMP_TYPE)
    return Messages(np.fromiter((m.seq for m in items), np.int64, len(items)), columns)


def text(raw: bytes) -> str:
    """Decode UTF-8; replace other bytes, because servers do not enforce UTF-8 in subjects."""
    return raw.decode("utf-8", "replace")


def headers_array(count: int, blocks: Iterable[tuple[int, bytes]]) -> pa.Array:
    """Return the ``headers`` column of ``count`` rows.

    ``blocks`` yields (row, header block) for the rows that have headers; the others get an empty
    map. A name keeps all its values, in order.
    """
    rows: list[list[tuple[str, list[str]]]] = [[]] * count
    found = False
    for row, block in blocks:
        values: dict[str, list[str]] = {}
        for name, value in header_pairs(block):
            values.setdefault(name, []).append(value)
        rows[row] = list(values.items())
        found = found or bool(values)
    if found:
        return pa.array(rows, HEADERS_TYPE)
    offsets: Any = pa.array(np.zeros(count + 1, np.int32))
    return pa.MapArray.from_arrays(
        offsets, pa.array([], pa.string()), pa.array([], pa.list_(pa.string()))
    )
