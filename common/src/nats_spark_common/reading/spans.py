"""Arrow columns cut out of received bytes without a Python loop. Pure: bytes in, columns out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..rows.messages import TIMESTAMP_TYPE, Int64s, text


class IrregularBlockError(Exception):
    """A block that the fast decoder cannot handle; the sequential one decodes or rejects it."""


class Spans:
    """Columns of one buffer: an Arrow array laid over it, whose values ``take`` selects.

    Each method takes the positions of one value per row: ``starts``, and ``ends`` (exclusive).
    Raises ``IrregularBlockError`` if the bytes at these positions are not such values.
    """

    def __init__(self, data: bytes, count: int) -> None:
        """``count`` is the number of rows."""
        self._buffer = pa.py_buffer(data)
        self._size = len(data)
        self._picks = pa.array(np.arange(0, 2 * count, 2))
        self._count = count

    def binary(self, starts: Int64s, ends: Int64s) -> pa.Array:
        """Return the bytes of each span as ``binary``.

        The array over the buffer alternates between the values and the gaps between them, so
        every second element is a value.
        """
        if (ends < starts).any():
            raise IrregularBlockError
        bounds = np.empty(2 * self._count + 1, np.int32)
        bounds[:-1:2] = starts
        bounds[1::2] = ends
        bounds[-1] = self._size
        overlay = pa.Array.from_buffers(
            pa.binary(), 2 * self._count, [None, pa.py_buffer(bounds), self._buffer]
        )
        return overlay.take(self._picks)

    def strings(self, starts: Int64s, ends: Int64s) -> pa.Array:
        """Return each span as ``string``; bytes that are not UTF-8 are replaced."""
        raw = self.binary(starts, ends)
        try:
            return raw.cast(pa.string())
        except pa.ArrowInvalid:
            return pa.array([text(value) for value in raw.to_pylist()], pa.string())

    def integers(self, starts: Int64s, ends: Int64s) -> Int64s:
        """Return each span of decimal digits as a non-negative number."""
        try:
            numbers = self.binary(starts, ends).view(pa.string()).cast(pa.int64())
        except pa.ArrowInvalid:
            raise IrregularBlockError from None
        values: Int64s = numbers.to_numpy(zero_copy_only=False)
        if (values < 0).any():
            raise IrregularBlockError
        return values

    def times(self, starts: Int64s, ends: Int64s) -> pa.Array:
        """Return each RFC 3339 time in UTC as `TIMESTAMP_TYPE`.

        The last byte, the ``Z`` of UTC, is left out; the rest must be a time without a zone.
        """
        try:
            nanos = self.binary(starts, ends - 1).view(pa.string()).cast(pa.timestamp("ns"))
        except pa.ArrowInvalid:
            raise IrregularBlockError from None
        return nanos.cast(pa.timestamp("us"), safe=False).view(TIMESTAMP_TYPE)
