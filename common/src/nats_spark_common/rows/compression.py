"""Payload compression: what the publisher compressed, the reader opens."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pyarrow as pa
import zstandard

from ..errors import PayloadError
from .messages import Messages

#: The largest opened payload in bytes unless ``nats.payload.max.decompressed`` says otherwise.
MOST_OPENED = 64 << 20

#: Compressed bytes that are opened at a time: the densest of them make some 30 MiB.
_FEED = 1 << 10


class _TooLargeError(Exception):
    """An opened payload has more bytes than allowed."""


def _open_zlib(payload: bytes, most: int) -> bytes:
    content, rest = _inflated(payload, zlib.MAX_WBITS, most)
    if rest:
        raise zlib.error(f"{len(rest)} bytes follow its end")
    return content


def _open_gzip(payload: bytes, most: int) -> bytes:
    """All members (RFC 1952, 2.2), which padding with zeros may follow."""
    contents: list[bytes] = []
    rest = payload
    while rest:
        content, rest = _inflated(rest, zlib.MAX_WBITS | 16, most)
        contents.append(content)
        most -= len(content)
        rest = rest.lstrip(b"\0")
    return b"".join(contents)


def _inflated(payload: bytes, window: int, most: int) -> tuple[bytes, bytes]:
    """The content of the first stream, and what follows it."""
    opener = zlib.decompressobj(window)
    content = opener.decompress(payload, most + 1)
    if len(content) > most:
        raise _TooLargeError
    if not opener.eof:
        raise EOFError("it ends too soon")
    return content, opener.unused_data


def _open_zstd(payload: bytes, most: int) -> bytes:
    """All frames (RFC 8878, 3.1), which need not state their sizes."""
    contents, size, position = [], 0, 0
    while position < len(payload):
        opener = zstandard.ZstdDecompressor().decompressobj()
        while not opener.eof:
            piece = payload[position : position + _FEED]
            if not piece:
                raise EOFError("it ends too soon")
            contents.append(opener.decompress(piece))
            position += len(piece)
            size += len(contents[-1])
            if size > most:
                raise _TooLargeError
        position -= len(opener.unused_data)
    return b"".join(contents)


_OPEN: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib": _open_zlib,
    "gzip": _open_gzip,
    "zstd": _open_zstd,
}
_ERRORS = (zlib.error, EOFError, zstandard.ZstdError, _TooLargeError)


def decompress(
    messages: Messages, kind: str, on_error: str, stream: str, most: int = MOST_OPENED
) -> Messages:
    """Replace the ``content`` column by what its payloads hold; an empty payload stays empty.

    Args:
        kind: ``none``, ``zlib``, ``gzip`` or ``zstd``.
        on_error: for a payload that is not of that kind, or too large: ``fail``, ``null`` (content
            is null) or ``raw`` (the payload as it is).
        most: largest opened payload in bytes.

    Raises ``PayloadError`` that names the stream and sequence, where ``on_error`` is ``fail``.
    """
    if kind == "none" or "content" not in messages.columns:
        return messages
    open_payload = _OPEN[kind]
    opened: list[bytes | None] = []
    for row, payload in enumerate(messages.columns["content"].to_pylist()):
        try:
            opened.append(open_payload(payload, most) if payload else payload)
        except _ERRORS as error:
            if on_error == "fail":
                where = f"stream {stream!r}, sequence {messages.seqs[row]}"
                raise PayloadError(f"{where}: {_words(error, kind, most)}") from error
            opened.append(payload if on_error == "raw" else None)
    columns = {**messages.columns, "content": pa.array(opened, pa.binary())}
    return Messages(messages.seqs, columns)


def _words(error: Exception, kind: str, most: int) -> str:
    what = (
        f"the payload opens to more than nats.payload.max.decompressed={most} bytes: raise it"
        if isinstance(error, _TooLargeError)
        else f"the payload is not {kind} ({error}): check nats.payload.compression"
    )
    return f"{what}, or set nats.payload.on.error to 'raw' or 'null'"


_CLOSE: dict[str, Callable[[bytes], bytes]] = {
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
