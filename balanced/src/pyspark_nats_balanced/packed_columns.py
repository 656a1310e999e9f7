"""Columns of integers as compact text, for offsets. Pure."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from nats_spark_common.rows.messages import Int64s

_WIDTHS = (1, 2, 4, 8)

#: Maximum messages of a batch, and bytes of its packed columns: far more than a driver can plan.
MAX_MESSAGES = 1 << 27
_MAX_BYTES = 1 << 29


def pack(columns: Sequence[Int64s]) -> str:
    """Return columns of non-negative integers as compressed text.

    Each column has the narrowest integer width that fits, and is written byte plane by byte plane:
    one large number among small ones then adds very little after compression.
    """
    parts = []
    for column in columns:
        largest = int(column.max()) if len(column) else 0
        width = next(w for w in _WIDTHS if largest < 1 << (8 * w))
        planes = column.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T
        parts.append(bytes((width,)) + len(column).to_bytes(4, "little") + planes.tobytes())
    return base64.b85encode(zlib.compress(b"".join(parts))).decode("ascii")


def unpack(text: str, count: int) -> list[Int64s]:
    """Return the ``count`` columns that `pack` packed. Raise ``ValueError`` for any other text."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64.b85decode(text), _MAX_BYTES)
    except (zlib.error, ValueError) as error:
        raise ValueError(str(error)) from None
    if not inflate.eof or inflate.unused_data:
        raise ValueError("its compressed data is cut short or followed by other data")
    columns = []
    position = 0
    for _ in range(count):
        width = data[position] if position < len(data) else 0
        size = int.from_bytes(data[position + 1 : position + 5], "little")
        end = position + 5 + size * width
        if width not in _WIDTHS or end > len(data):
            raise ValueError("it is cut short")
        planes = np.frombuffer(data, np.uint8, size * width, position + 5).reshape(width, size)
        column = np.ascontiguousarray(planes.T).view(f"<u{width}")[:, 0].astype(np.int64)
        if (column < 0).any():
            raise ValueError("a number does not fit 63 bits")
        columns.append(column)
        position = end
    if position != len(data):
        raise ValueError("it is too long")
    return columns


def zigzag(values: Int64s) -> Int64s:
    """Return signed integers as non-negative ones, small for values near zero."""
    return np.where(values < 0, -2 * values - 1, 2 * values)


def unzigzag(values: Int64s) -> Int64s:
    """Return the signed integers that `zigzag` encoded."""
    return np.where(values & 1, -(values + 1) // 2, values // 2)
