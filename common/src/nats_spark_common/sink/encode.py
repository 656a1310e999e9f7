"""Publishes as bytes of the protocol, encoded a column at a time into one Arrow array.

Source: the NATS client protocol reference, ``PUB`` and ``HPUB``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..rows.messages import Int64s
from .rows import Rows


@dataclass(frozen=True)
class Frames:
    """Encoded publishes; ``data[offsets[i]:offsets[i + 1]]`` is that of row ``i``."""

    data: memoryview
    offsets: Int64s

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> memoryview:
        """Return the bytes of rows ``start`` to ``stop`` (exclusive)."""
        return self.data[int(self.offsets[start]) : int(self.offsets[stop])]


def encode(rows: Rows, replies: pa.StringArray | None) -> Frames:
    """Encode the rows, whose total size must be below 2 GiB.

    Args:
        replies: each row's reply subject followed by a space, or "" for a row without one;
            ``None`` if no row has one.
    """
    sizes = pc.binary_length(rows.payloads)
    parts: list[object] = ["PUB "]
    if rows.blocks is None:
        numbers = sizes.cast(pa.string())
    else:
        # Rows without headers get a plain PUB, also among rows with headers.
        block_sizes = pc.binary_length(rows.blocks)
        with_headers = pc.greater(block_sizes, 0)
        total = pc.add(block_sizes, sizes).cast(pa.string())
        both = pc.binary_join_element_wise(block_sizes.cast(pa.string()), total, " ")
        numbers = pc.if_else(with_headers, both, total)
        parts = [pc.if_else(with_headers, "HPUB ", "PUB ")]
    parts += [rows.subjects, " "]
    if replies is not None:
        parts.append(replies)
    parts += [numbers, "\r\n"]
    if rows.blocks is not None:
        parts.append(rows.blocks)
    parts += [rows.payloads, "\r\n"]
    frames = pc.binary_join_element_wise(*map(_binary, parts), b"")
    offsets = np.frombuffer(frames.buffers()[1], np.int32)[frames.offset :][: len(frames) + 1]
    return Frames(memoryview(frames.buffers()[2]), offsets.astype(np.int64))


def numbered_replies(inbox: str, first: int, count: int) -> pa.StringArray:
    """Return reply subjects ``<inbox>.<number>`` for `encode`, starting with ``first``."""
    numbers = pa.array(np.arange(first, first + count)).cast(pa.string())
    return pc.binary_join_element_wise(f"{inbox}.", numbers, " ", "")


def _binary(part: object) -> object:
    if isinstance(part, str):
        return pa.scalar(part.encode(), pa.binary())
    return part if part.type == pa.binary() else part.cast(pa.binary())  # type: ignore[attr-defined]
