"""Rows of an Arrow batch as messages: checked, and with their headers encoded.

All of it works on whole columns: a loop over rows in Python would cost more than the server's work.
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
from .headers import MSG_ID, has_ids, header_blocks

_log = logging.getLogger(__name__)

#: A publish subject: tokens joined by dots, without white space and control characters.
_SUBJECT = r"^[^\x00-\x20\x7f.]+(?:\.[^\x00-\x20\x7f.]+)*$"
_WILDCARD = r"(?:^|\.)[*>](?:\.|$)"

#: The server cuts a client off whose protocol line is longer than 4,096 bytes
#: (``max_control_line``); the rest is for the reply subject and the sizes.
_LONGEST_SUBJECT = 3_800

#: Encoding is fastest where a piece fits the cache; below a megabyte, fixed costs begin to show.
PIECE_BYTES = 1 << 20
PIECE_ROWS = 10_000


@dataclass(frozen=True)
class Rows:
    """Messages that are ready to be published.

    Attributes:
        numbers: number of each row in its task, ascending.
        subjects: valid publish subjects.
        blocks: header blocks, empty for a row without headers; ``None`` where no row has headers.
        payloads: the payloads, compressed already.
        ids: ``Nats-Msg-Id`` of each row, or ``None`` where no row has one.
    """

    numbers: Int64s
    subjects: pa.StringArray
    blocks: pa.BinaryArray | None
    payloads: pa.BinaryArray
    ids: pa.StringArray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def slice(self, start: int, stop: int) -> Rows:
        """Rows ``start`` to ``stop`` (exclusive), without copying."""
        count = stop - start
        return Rows(
            self.numbers[start:stop],
            self.subjects.slice(start, count),
            None if self.blocks is None else self.blocks.slice(start, count),
            self.payloads.slice(start, count),
            None if self.ids is None else self.ids.slice(start, count),
        )

    def where(self, mask: np.typing.NDArray[np.bool_]) -> Rows:
        """The rows that the mask takes."""
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
        """The same rows with other header blocks."""
        return replace(self, blocks=blocks)

    def sizes(self) -> Int64s:
        """Bytes of headers and payload of each row, which is what ``max_payload`` bounds."""
        sizes: Int64s = _lengths(self.payloads)
        return sizes if self.blocks is None else sizes + _lengths(self.blocks)

    def pieces(self, most_rows: int = PIECE_ROWS, most_bytes: int = PIECE_BYTES) -> Iterator[Rows]:
        """The rows in pieces that are worth a send; one row may be larger than ``most_bytes``."""
        ends = np.cumsum(self.sizes() + _lengths(self.subjects))
        start = 0
        while start < len(self):
            before = int(ends[start - 1]) if start else 0
            fitting = int(np.searchsorted(ends, before + most_bytes, "right"))
            stop = min(max(fitting, start + 1), start + most_rows)
            yield self.slice(start, stop)
            start = stop


class RowMaker:
    """Makes `Rows` out of a task's record batches, numbering them.

    Attributes:
        count: rows so far.
    """

    def __init__(
        self,
        columns: MessageColumns,
        default_subject: str | None,
        compression: str,
        id_prefix: str | None,
        stream: str | None = None,
    ) -> None:
        """Make rows of one task.

        Args:
            id_prefix: what an id is made of, with the row's number, for rows without ``msgId``;
                ``None`` where such rows get no id.
            stream: the one that may store the rows; ``None`` for any.
        """
        self._columns = columns
        self._default_subject = default_subject
        self._compression = compression
        self._id_prefix = id_prefix
        self._stream = stream
        self._ids_told = False
        self.count = 0

    def rows(self, batch: pa.RecordBatch) -> Rows:
        """The batch's messages.

        Raises ``PublishError`` that names the subject or row for what cannot be published.
        """
        columns, count = self._columns, batch.num_rows
        numbers = np.arange(self.count, self.count + count)
        subjects = self._subjects(batch, numbers)
        ids = self._ids(batch, numbers)
        headers = None if columns.headers is None else batch.column(columns.headers)
        self._tell_copied_ids(headers)
        blocks = header_blocks(headers, ids, subjects, self._stream)
        payloads = batch.column(columns.payload).cast(pa.binary())
        payloads = compress(pc.fill_null(payloads, b""), self._compression)
        self.count += count
        return Rows(numbers, subjects, blocks, payloads, ids)

    def _tell_copied_ids(self, headers: pa.MapArray | None) -> None:
        """Once, where an id that the user may count on is not sent."""
        if headers is None or self._columns.msg_id is not None or self._ids_told:
            return
        if has_ids(headers):
            self._ids_told = True
            _log.warning(
                "the column 'headers' carries %s, which is not sent on: rows that share an id "
                "would be stored once; to have the stream drop rows by it, put it into a column "
                "msgId: headers['%s'][0]",
                MSG_ID,
                MSG_ID,
            )

    def _subjects(self, batch: pa.RecordBatch, numbers: Int64s) -> pa.StringArray:
        if self._columns.subject is None:
            return _checked(
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
        return _checked(subjects, len(subjects))

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


def joined(parts: Sequence[Rows]) -> Rows:
    """Rows that follow each other as one."""
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
    """Raises ``PublishError`` that names the subject of a row past the server's ``max_payload``."""
    sizes = rows.sizes()
    large = np.flatnonzero(sizes > max_payload)
    if max_payload > 0 and len(large):
        row = int(large[0])
        payload = len(rows.payloads[row].as_py())
        headers = int(sizes[row]) - payload
        largest = max(0, max_payload - headers)
        raise PublishError(
            f"subject {rows.subjects[row].as_py()!r}: the message has {sizes[row]} bytes, headers "
            f"included, and the server takes {max_payload} (max_payload): the headers need "
            f"{headers} bytes{_of_id(rows, row)}, which leaves {largest} for the payload of "
            f"{payload}; make it smaller, compress it with nats.payload.compression, or raise the "
            "server's limit"
        )


def _of_id(rows: Rows, row: int) -> str:
    message_id = None if rows.ids is None else rows.ids[row].as_py()
    return f", {MSG_ID}: {message_id} among them" if message_id else ""


def _checked(subjects: pa.StringArray, look_at: int) -> pa.StringArray:
    """The subjects, the first ``look_at`` of which are checked."""
    some = subjects.slice(0, look_at)
    good = pc.and_(
        pc.and_(
            pc.match_substring_regex(some, _SUBJECT),
            pc.invert(pc.match_substring_regex(some, _WILDCARD)),
        ),
        pc.less_equal(pc.binary_length(some), _LONGEST_SUBJECT),
    )
    wrong = np.flatnonzero(~bools(good))
    if len(wrong):
        subject = some[int(wrong[0])].as_py()
        shown = subject if len(subject) < 100 else subject[:100] + "..."
        raise PublishError(
            f"subject {shown!r} cannot be published to: it must be tokens joined by single dots, "
            f"without white space, control characters and wildcards, of up to {_LONGEST_SUBJECT} "
            "bytes"
        )
    return subjects


def _lengths(array: pa.Array) -> Int64s:
    return int64s(pc.binary_length(array))
