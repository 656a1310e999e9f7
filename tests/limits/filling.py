"""Fills streams with millions of messages, through the sink, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nats_spark_common.rows.messages import Int64s

from .._support.admin import Admin
from .._support.options import options
from .._support.writing import make_stream, write_batches

_ROWS = 50_000
_SCHEMA = pa.schema([("subject", pa.string()), ("content", pa.binary())])


def fill(
    admin: Admin,
    stream: str,
    count: int,
    *,
    size: int = 20,
    subject: Callable[[Int64s], Int64s] = lambda numbers: numbers % 10,
    **config: object,
) -> None:
    """Create a stream of messages whose payloads begin with their numbers, from 0.

    Args:
        size: bytes of each payload.
        subject: the numbers of messages to the last tokens of their subjects.
        config: further settings of the stream.
    """
    make_stream(admin, stream, allow_batched=True, **config)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, count, _ROWS):
            numbers = np.arange(start, min(start + _ROWS, count))
            names = pa.array(subject(numbers)).cast(pa.string())
            payloads = pc.utf8_rpad(pa.array(numbers).cast(pa.string()), size, ".")
            yield pa.RecordBatch.from_arrays(
                [
                    pc.binary_join_element_wise(stream, names, "."),
                    payloads.cast(pa.binary()),
                ],
                schema=_SCHEMA,
            )

    write_batches(options(admin.url), batches(), schema=_SCHEMA)
