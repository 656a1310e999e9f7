"""Header maps as header blocks of the protocol, encoded a column at a time.

Source: ADR-4 (headers): ``NATS/1.0``, a line per value, an empty line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import PublishError
from ..rows.messages import Int64s
from .arrays import bools, int64s

MSG_ID = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"

#: Headers of the atomic batch protocol (ADR-50), which a copied message must not repeat.
BATCH_HEADERS = ("Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit")

_NAME = r"^[\x21-\x39\x3b-\x7e]+$"
_BREAKS = r"[\r\n\x00]"


def header_blocks(
    headers: pa.MapArray | None,
    ids: pa.StringArray | None,
    subjects: pa.StringArray,
    stream: str | None = None,
) -> pa.BinaryArray | None:
    """Return each row's header block, empty for a row without headers; ``None`` if no row has any.

    Args:
        headers: maps of names to a value or to a list of values. Nulls are left out, and so is
            ``Nats-Msg-Id``, because rows that share a copied id would be stored once.
        ids: ``Nats-Msg-Id`` of each row; null for none.
        subjects: for error messages.
        stream: the only stream that may store the rows, sent as ``Nats-Expected-Stream``, which
            replaces one in the map; ``None`` for any.

    Raises ``PublishError`` that names the row's subject if a name or value contains characters that
    the protocol does not allow.
    """
    blocks = None if headers is None else _lines(headers, subjects, stream)
    if stream is not None:
        expected = pa.repeat(f"{EXPECTED_STREAM}: {stream}\r\n", len(subjects))
        blocks = expected if blocks is None else pc.binary_join_element_wise(blocks, expected, "")
    if ids is not None:
        _check(ids, pc.invert(pc.match_substring_regex(ids, _BREAKS)), subjects, "msgId")
        own = pc.binary_join_element_wise(f"{MSG_ID}: ", ids, "\r\n", "")
        own = pc.fill_null(own, "")
        blocks = own if blocks is None else pc.binary_join_element_wise(blocks, own, "")
    if blocks is None:
        return None
    if not pc.any(pc.greater(pc.binary_length(blocks), 0)).as_py():
        return None
    whole = pc.binary_join_element_wise("NATS/1.0\r\n", blocks, "\r\n", "")
    return pc.if_else(pc.equal(pc.binary_length(blocks), 0), "", whole).cast(pa.binary())


def add_lines(blocks: pa.BinaryArray | None, lines: list[str]) -> pa.BinaryArray:
    """Return the header blocks with lines inserted at their start; each line ends in CRLF."""
    before = [b""] * len(lines) if blocks is None else blocks.to_pylist()
    added = [
        b"NATS/1.0\r\n" + line.encode() + (block.removeprefix(b"NATS/1.0\r\n") or b"\r\n")
        for line, block in zip(lines, before, strict=True)
    ]
    return pa.array(added, pa.binary())


def header_value(block: bytes, name: str) -> bytes | None:
    """Return the value of a header in an encoded block, the first one; ``None`` without it."""
    _, found, rest = block.partition(f"\r\n{name}:".encode())
    return rest.partition(b"\r\n")[0].strip() if found else None


def _lines(
    headers: pa.MapArray, subjects: pa.StringArray, stream: str | None
) -> pa.StringArray | None:
    """Return the joined lines of each row's headers; ``None`` if no row has any."""
    offsets, names, values = flatten_headers(headers)
    if not len(names):
        return None
    keep = bools(pc.is_valid(values))
    dropped = [MSG_ID, *BATCH_HEADERS, *filter(None, [stream and EXPECTED_STREAM])]
    keep &= ~bools(pc.is_in(names, value_set=pa.array(dropped)))
    if not keep.all():
        offsets = np.concatenate(([0], np.cumsum(keep)))[offsets]
        names, values = names.filter(pa.array(keep)), values.filter(pa.array(keep))
    rows = np.repeat(np.arange(len(headers)), np.diff(offsets))
    of_line = subjects.take(pa.array(rows))
    _check(names, pc.match_substring_regex(names, _NAME), of_line, "header name")
    fine = pc.invert(pc.match_substring_regex(values, _BREAKS))
    _check(values, fine, of_line, "header value")
    lines = pc.binary_join_element_wise(names, ": ", values, "\r\n", "")
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), lines)
    return pc.binary_join(lists, "")


def has_msg_ids(headers: pa.MapArray) -> bool:
    """Return whether any map contains ``Nats-Msg-Id``."""
    return bool(pc.any(pc.equal(headers.keys.cast(pa.string()), MSG_ID)).as_py())


def flatten_headers(headers: pa.MapArray) -> tuple[Int64s, pa.StringArray, pa.StringArray]:
    """Return each row's start offset, and the names and values of all rows, one pair per value."""
    if headers.null_count:
        headers = pa.array([pairs or [] for pairs in headers.to_pylist()], headers.type)
    offsets = int64s(headers.offsets)
    first, last = int(offsets[0]), int(offsets[-1])
    names = headers.keys.slice(first, last - first).cast(pa.string())
    values = headers.items.slice(first, last - first)
    offsets = offsets - first
    if not pa.types.is_list(values.type) and not pa.types.is_large_list(values.type):
        return offsets, names, values.cast(pa.string())
    if values.null_count:
        values = pa.array([each or [] for each in values.to_pylist()], values.type)
    inner = int64s(values.offsets)
    names = names.take(pa.array(np.repeat(np.arange(len(names)), np.diff(inner))))
    start, stop = int(inner[0]), int(inner[-1])
    flat = values.values.slice(start, stop - start).cast(pa.string())
    return (inner - start)[offsets], names, flat


def _check(values: pa.StringArray, fine: Any, subjects: pa.StringArray, what: str) -> None:
    wrong = np.flatnonzero(~bools(pc.fill_null(fine, True)))
    if len(wrong):
        row = int(wrong[0])
        allowed = (
            "printable ASCII without spaces and ':'"
            if what == "header name"
            else "text without line breaks and NUL"
        )
        raise PublishError(
            f"subject {subjects[row].as_py()!r}: {what} {values[row].as_py()!r} is not {allowed}"
        )
