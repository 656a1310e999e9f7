"""Rows of an Arrow batch as validated messages with encoded headers.

Everything works on whole columns, because a Python loop over rows would cost more than the
server's work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PublishError
from ..rows.compression import compress
from ..rows.messages import Int64s
from .arrays import bools, int64s
from .columns import MessageColumns
from .headers import MSG_ID, has_msg_ids, header_blocks

_log = logging.getLogger(__name__)

#: A publish subject: tokens joined by dots, without whitespace and control characters.
_SUBJECT = r"^[^\x00-\x20\x7f.]+(?:\.[^\x00-\x20\x7f.]+)*$"
_WILDCARD = r"(?:^|\.)[*>](?:\.|$)"

#: Maximum bytes of a subject. The server disconnects a client whose protocol line, with the reply
#: subject and the sizes, exceeds 4,096 bytes (``max_control_line``).
_MAX_SUBJECT_BYTES = 3_800

#: Encoding is fastest when a chunk fits the cache; below a megabyte, fixed costs begin to show.
CHUNK_BYTES = 1 << 20
CHUNK_ROWS = 10_000


@dataclass(frozen=True)
class Rows:
    """Messages that are ready to be published.

    Attributes:
        numbers: number of each row in its task, ascending.
        subjects: valid publish subjects.
        blocks: header blocks, empty for a row without headers; ``None`` if no row has headers.
        payloads: the payloads, already compressed.
        ids: ``Nats-Msg-Id`` of each row, or ``None`` if no row has one.
    """

    numbers: Int64s
    subjects: pa.StringArray
    blocks: pa.BinaryArray | None
    payloads: pa.BinaryArray
    ids: pa.StringArray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def slice(self, start: int, stop: int) -> Rows:
        """Return rows ``start`` to ``stop`` (exclusive), without copying."""
        count = stop - start
        return Rows(
            self.numbers[start:stop],
            self.subjects.slice(start, count),
            None if self.blocks is None else self.blocks.slice(start, count),
            self.payloads.slice(start, count),
            None if self.ids is None else self.ids.slice(start, count),
        )

    def where(self, mask: np.typing.NDArray[np.bool_]) -> Rows:
        """Return the rows whose mask is true."""
        if mask.all():
            return self
        taken = pa.array(mask)
        return Rows(
            self.numbers[mask],
            self.subjects.filter(taken),
            None if self.blocks is None else self.blocks.filter(taken),
            self.payloads.filter(taken),
            None if self.ids is None else self.ids.filter(taken),
        )

    def with_blocks(self, blocks: pa.BinaryArray) -> Rows:
        """Return the same rows with other header blocks."""
        return replace(self, blocks=blocks)

    def sizes(self) -> Int64s:
        """Return the bytes of each row's headers and payload, which ``max_payload`` limits."""
        sizes: Int64s = _lengths(self.payloads)
        return sizes if self.blocks is None else sizes + _lengths(self.blocks)

    def chunks(self, max_rows: int = CHUNK_ROWS, max_bytes: int = CHUNK_BYTES) -> Iterator[Rows]:
        """Yield the rows in chunks; a single row may be larger than ``max_bytes``."""
        ends = np.cumsum(self.sizes() + _lengths(self.subjects))
        start = 0
        while start < len(self):
            before = int(ends[start - 1]) if start else 0
            fitting = int(np.searchsorted(ends, before + max_bytes, "right"))
            stop = min(max(fitting, start + 1), start + max_rows)
            yield self.slice(start, stop)
            start = stop


class RowMaker:
    """Converts a task's record batches to `Rows`, and numbers them.

    Attributes:
        count: number of rows so far.
        bytes: size of their payloads.
    """

    def __init__(
        self,
        columns: MessageColumns,
        default_subject: str | None,
        compression: str,
        id_prefix: str | None,
        stream: str | None = None,
    ) -> None:
        """
        Args:
            id_prefix: prefix of the row's number in the id of a row without ``msgId``; ``None`` if
                such rows get no id.
            stream: the only stream that may store the rows; ``None`` for any.
        """
        self._columns = columns
        self._default_subject = default_subject
        self._compression = compression
        self._id_prefix = id_prefix
        self._stream = stream
        self._warned_of_ids = False
        self.count = 0
        self.bytes = 0

    def rows(self, batch: pa.RecordBatch) -> Rows:
        """Return the batch's messages.

        Raises ``PublishError`` that names the subject or number of a row that cannot be published.
        """
        columns, count = self._columns, batch.num_rows
        numbers = np.arange(self.count, self.count + count)
        subjects = self._subjects(batch, numbers)
        ids = self._ids(batch, numbers)
        headers = None if columns.headers is None else batch.column(columns.headers)
        self._warn_about_copied_ids(headers)
        blocks = header_blocks(headers, ids, subjects, self._stream)
        payloads = batch.column(columns.payload).cast(pa.binary())
        payloads = compress(pc.fill_null(payloads, b""), self._compression)
        self.count += count
        self.bytes += pc.sum(pc.binary_length(payloads)).as_py() or 0
        return Rows(numbers, subjects, blocks, payloads, ids)

    def _warn_about_copied_ids(self, headers: pa.MapArray | None) -> None:
        """Warn once per task if ids in the headers, which are not sent, may be needed."""
        if headers is None or self._columns.msg_id is not None or self._warned_of_ids:
            return
        if has_msg_ids(headers):
            self._warned_of_ids = True
            _log.warning(
                "the column 'headers' contains %s, which the sink does not send, because rows that "
                "share an id would be stored once; to have the stream drop duplicates by this id, "
                "put it into a column msgId: headers['%s'][0]",
                MSG_ID,
                MSG_ID,
            )

    def _subjects(self, batch: pa.RecordBatch, numbers: Int64s) -> pa.StringArray:
        if self._columns.subject is None:
            return _checked_subjects(
                pa.repeat(pa.scalar(self._default_subject, pa.string()), len(numbers)), 1
            )
        subjects = batch.column(self._columns.subject).cast(pa.string())
        if subjects.null_count and self._default_subject:
            subjects = pc.fill_null(subjects, self._default_subject)
        elif subjects.null_count:
            row = int(np.flatnonzero(bools(subjects.is_null()))[0])
            raise PublishError(
                f"row {numbers[row]} of its task has no subject: fill the column 'subject', or set "
                "nats.sink.subject to the subject of rows without one"
            )
        return _checked_subjects(subjects, len(subjects))

    def _ids(self, batch: pa.RecordBatch, numbers: Int64s) -> pa.StringArray | None:
        given = None
        if self._columns.msg_id is not None:
            given = batch.column(self._columns.msg_id).cast(pa.string())
            given = pc.utf8_trim(given, " \t\x0b\x0c")  # as readers of headers do
            given = pc.if_else(pc.equal(given, ""), None, given)
        if self._id_prefix is None:
            return None if given is None or given.null_count == len(given) else given
        own = pc.binary_join_element_wise(self._id_prefix, pa.array(numbers).cast(pa.string()), "")
        return own if given is None else pc.coalesce(given, own)


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, in order."""
    blocks: pa.BinaryArray | None = None
    if any(each.blocks is not None for each in parts):
        blocks = pa.concat_arrays(
            pa.repeat(pa.scalar(b""), len(each)) if each.blocks is None else each.blocks
            for each in parts
        )
    ids: pa.StringArray | None = None
    if any(each.ids is not None for each in parts):
        ids = pa.concat_arrays(
            pa.nulls(len(each), pa.string()) if each.ids is None else each.ids for each in parts
        )
    return Rows(
        np.concatenate([np.zeros(0, np.int64), *(each.numbers for each in parts)]),
        pa.concat_arrays([pa.array([], pa.string()), *(each.subjects for each in parts)]),
        blocks,
        pa.concat_arrays([pa.array([], pa.binary()), *(each.payloads for each in parts)]),
        ids,
    )


def check_sizes(rows: Rows, max_payload: int) -> None:
    """Raise ``PublishError`` that names the subject of a row above the server's ``max_payload``."""
    sizes = rows.sizes()
    large = np.flatnonzero(sizes > max_payload)
    if max_payload > 0 and len(large):
        row = int(large[0])
        payload = len(rows.payloads[row].as_py())
        headers = int(sizes[row]) - payload
        largest = max(0, max_payload - headers)
        raise PublishError(
            f"subject {rows.subjects[row].as_py()!r}: the message has {sizes[row]} bytes, headers "
            f"included, but the server's max_payload is {max_payload}: the headers need "
            f"{headers} bytes{_including_id(rows, row)}, which leaves {largest} for the payload of "
            f"{payload}; make it smaller, compress it with nats.payload.compression, or raise "
            "max_payload"
        )


def _including_id(rows: Rows, row: int) -> str:
    message_id = None if rows.ids is None else rows.ids[row].as_py()
    return f" (including {MSG_ID}: {message_id})" if message_id else ""


def _checked_subjects(subjects: pa.StringArray, count: int) -> pa.StringArray:
    """Return the subjects. Raise ``PublishError`` if one of the first ``count`` is invalid."""
    some = subjects.slice(0, count)
    good = pc.and_(
        pc.and_(
            pc.match_substring_regex(some, _SUBJECT),
            pc.invert(pc.match_substring_regex(some, _WILDCARD)),
        ),
        pc.less_equal(pc.binary_length(some), _MAX_SUBJECT_BYTES),
    )
    wrong = np.flatnonzero(~bools(good))
    if len(wrong):
        subject = some[int(wrong[0])].as_py()
        shown = subject if len(subject) < 100 else subject[:100] + "..."
        raise PublishError(
            f"subject {shown!r} cannot be published to: use tokens joined by single dots, without "
            f"whitespace, control characters and wildcards, up to {_MAX_SUBJECT_BYTES} bytes in all"
        )
    return subjects


def _lengths(array: pa.Array) -> Int64s:
    return int64s(pc.binary_length(array))
