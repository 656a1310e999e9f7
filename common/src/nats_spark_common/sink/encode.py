"""Publishes as the bytes of the protocol, a column at a time: the data buffer of one Arrow array.

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
    """Encoded publishes: ``data[offsets[i]:offsets[i + 1]]`` is the one of row ``i``."""

    data: memoryview
    offsets: Int64s

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> memoryview:
        """The bytes of rows ``start`` to ``stop`` (exclusive)."""
        return self.data[int(self.offsets[start]) : int(self.offsets[stop])]


def encode(rows: Rows, replies: pa.StringArray | None) -> Frames:
    """Encode the rows, which together must be smaller than 2 GiB.

    Args:
        replies: the reply subject of each row with a space behind it, or nothing for a row that
            nobody answers; ``None`` where that is so for all.
    """
    sizes = pc.binary_length(rows.payloads)
    parts: list[object] = ["PUB "]
    if rows.blocks is None:
        numbers = sizes.cast(pa.string())
    else:
        # A row without headers is published without a header block, as it would be by itself.
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
    """Reply subjects ``<inbox>.<number>`` for `encode`, numbered from ``first`` on."""
    numbers = pa.array(np.arange(first, first + count)).cast(pa.string())
    return pc.binary_join_element_wise(f"{inbox}.", numbers, " ", "")


def _binary(part: object) -> object:
    if isinstance(part, str):
        return pa.scalar(part.encode(), pa.binary())
    return part if part.type == pa.binary() else part.cast(pa.binary())  # type: ignore[attr-defined]
