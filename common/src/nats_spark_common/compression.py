"""Payload compression: what the publisher compressed, the reader opens."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pyarrow as pa
import zstandard

from .errors import PayloadError
from .messages import Messages

_Convert = Callable[[bytes], bytes]


def _open_zstd(payload: bytes) -> bytes:
    # A streaming frame need not state its size; one-shot decompression would insist on it.
    opener = zstandard.ZstdDecompressor().decompressobj()
    content = opener.decompress(payload)
    if not opener.eof:
        raise EOFError("it ends too soon")
    return content


_OPEN: dict[str, _Convert] = {"zlib": zlib.decompress, "gzip": gzip.decompress, "zstd": _open_zstd}
_ERRORS = (zlib.error, OSError, EOFError, zstandard.ZstdError)


def decompress(messages: Messages, kind: str, on_error: str, stream: str) -> Messages:
    """Replace the ``content`` column by what its payloads hold; an empty payload stays empty.

    Args:
        kind: ``none``, ``zlib``, ``gzip`` or ``zstd``.
        on_error: for a payload that is not of that kind: ``fail``, ``null`` (content is null) or
            ``raw`` (the payload as it is).

    Raises ``PayloadError`` that names the stream and sequence, where ``on_error`` is ``fail``.
    """
    if kind == "none" or "content" not in messages.columns:
        return messages
    open_payload = _OPEN[kind]
    opened: list[bytes | None] = []
    for row, payload in enumerate(messages.columns["content"].to_pylist()):
        try:
            opened.append(open_payload(payload) if payload else payload)
        except _ERRORS as error:
            if on_error == "fail":
                raise PayloadError(
                    f"stream {stream!r}, sequence {messages.seqs[row]}: the payload is not {kind} "
                    f"({error}): check nats.payload.compression, or set nats.payload.on.error to "
                    "'raw' or 'null'"
                ) from error
            opened.append(payload if on_error == "raw" else None)
    columns = {**messages.columns, "content": pa.array(opened, pa.binary())}
    return Messages(messages.seqs, columns)


_CLOSE: dict[str, _Convert] = {
    "zlib": zlib.compress,
    "gzip": lambda payload: gzip.compress(payload, mtime=0),  # the same bytes whenever it is made
    "zstd": lambda payload: zstandard.ZstdCompressor().compress(payload),
}


def compress(payloads: pa.BinaryArray, kind: str) -> pa.BinaryArray:
    """The payloads as `decompress` opens them; an empty payload stays empty.

    Args:
        kind: ``none``, ``zlib``, ``gzip`` or ``zstd``.
    """
    if kind == "none":
        return payloads
    close = _CLOSE[kind]
    closed = [close(payload) if payload else payload for payload in payloads.to_pylist()]
    return pa.array(closed, pa.binary())
