"""Arrow columns as NumPy arrays of one type."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..rows.messages import Int64s

Bools = npt.NDArray[np.bool_]


def bools(column: Any) -> Bools:
    """Return the booleans of a column without nulls."""
    flags: Bools = column.to_numpy(zero_copy_only=False).astype(bool)
    return flags


def int64s(column: Any) -> Int64s:
    """Return the integers of a column without nulls."""
    numbers: Int64s = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
