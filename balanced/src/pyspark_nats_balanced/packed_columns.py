"""Columns of small numbers as short text, for offsets. Pure."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from nats_spark_common.rows.messages import Int64s

_WIDTHS = (1, 2, 4, 8)


def pack(columns: Sequence[Int64s]) -> str:
    """Non-negative numbers, column by column, in few bytes.

    Each column takes the narrowest width that holds it, and is written byte plane by byte plane:
    one large number among small ones then costs next to nothing once compressed.
    """
    parts = []
    for column in columns:
        largest = int(column.max()) if len(column) else 0
        width = next(w for w in _WIDTHS if largest < 1 << (8 * w))
        planes = column.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T
        parts.append(bytes((width,)) + len(column).to_bytes(4, "little") + planes.tobytes())
    return base64.b85encode(zlib.compress(b"".join(parts))).decode("ascii")


def unpack(text: str, count: int) -> list[Int64s]:
    """The ``count`` columns that `pack` was given. Raises ``ValueError`` for any other text."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64.b85decode(text))
    except (zlib.error, ValueError) as error:
        raise ValueError(str(error)) from None
    if not inflate.eof or inflate.unused_data:
        raise ValueError("it does not end where it should")
    columns = []
    position = 0
    for _ in range(count):
        width = data[position] if position < len(data) else 0
        size = int.from_bytes(data[position + 1 : position + 5], "little")
        end = position + 5 + size * width
        if width not in _WIDTHS or end > len(data):
            raise ValueError("it is cut short")
        planes = np.frombuffer(data, np.uint8, size * width, position + 5).reshape(width, size)
        columns.append(np.ascontiguousarray(planes.T).view(f"<u{width}")[:, 0].astype(np.int64))
        position = end
    if position != len(data):
        raise ValueError("it is too long")
    return columns


def zigzag(values: Int64s) -> Int64s:
    """Signed numbers as non-negative ones, small where they were near zero."""
    return np.where(values < 0, -2 * values - 1, 2 * values)


def unzigzag(values: Int64s) -> Int64s:
    """What `zigzag` was given."""
    return np.where(values & 1, -(values + 1) // 2, values // 2)
