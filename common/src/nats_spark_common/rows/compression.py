"""Compresses and decompresses payloads."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator

import pyarrow as pa
import zstandard

from ..errors import PayloadError
from .messages import Messages

#: Maximum size of a decompressed payload in bytes: default of ``nats.payload.max.decompressed``.
MAX_DECOMPRESSED = 64 << 20

#: Maximum bytes of one value in an Arrow column of binaries, and in Spark.
LARGEST_PAYLOAD = (1 << 31) - 1

#: Maximum bytes of decompressed payloads in a block of messages, unless it has only one.
MAX_BLOCK = 32 << 20

#: Bytes decompressed in one step; at the highest ratio they become about 30 MiB.
_FEED = 1 << 10


class _TooLargeError(Exception):
    """A decompressed payload has more bytes than allowed."""


def _decompress_zlib(payload: bytes, limit: int) -> bytes:
    content, rest = _inflate(payload, zlib.MAX_WBITS, limit)
    if rest:
        raise zlib.error(f"trailing bytes: {len(rest)}")
    return content


def _decompress_gzip(payload: bytes, limit: int) -> bytes:
    """Decompress all members (RFC 1952, 2.2); padding with zeros may follow them."""
    contents: list[bytes] = []
    rest = payload
    while rest:
        content, rest = _inflate(rest, zlib.MAX_WBITS | 16, limit)
        contents.append(content)
        limit -= len(content)
        rest = rest.lstrip(b"\0")
    return b"".join(contents)


def _inflate(payload: bytes, window: int, limit: int) -> tuple[bytes, bytes]:
    """Return the content of the first stream, and the bytes that follow it."""
    decompressor = zlib.decompressobj(window)
    content = decompressor.decompress(payload, limit + 1)
    if len(content) > limit:
        raise _TooLargeError
    if not decompressor.eof:
        raise EOFError("it is truncated")
    return content, decompressor.unused_data


def _decompress_zstd(payload: bytes, limit: int) -> bytes:
    """Decompress all frames (RFC 8878, 3.1); their sizes may be missing."""
    contents, size, position = [], 0, 0
    while position < len(payload):
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        while not decompressor.eof:
            piece = payload[position : position + _FEED]
            if not piece:
                raise EOFError("it is truncated")
            contents.append(decompressor.decompress(piece))
            position += len(piece)
            size += len(contents[-1])
            if size > limit:
                raise _TooLargeError
        position -= len(decompressor.unused_data)
    return b"".join(contents)


_DECOMPRESS: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib": _decompress_zlib,
    "gzip": _decompress_gzip,
    "zstd": _decompress_zstd,
}
_ERRORS = (zlib.error, EOFError, zstandard.ZstdError, _TooLargeError)


def decompress(
    messages: Messages, kind: str, on_error: str, stream: str, limit: int = MAX_DECOMPRESSED
) -> Iterator[Messages]:
    """Decompress the payloads of the ``content`` column; an empty payload stays empty.

    Yields the messages in one block, or in several of at most `MAX_BLOCK` bytes of content, because
    a megabyte of payloads may become gigabytes. A block with more than that has one message.

    Args:
        kind: ``none``, ``zlib``, ``gzip`` or ``zstd``.
        on_error: for a payload that is not of that kind, or too large: ``fail``, ``null`` (content
            is null) or ``raw`` (the payload unchanged).
        limit: maximum size of a decompressed payload in bytes.

    Raises ``PayloadError`` with the stream and sequence if ``on_error`` is ``fail``.
    """
    if kind == "none" or "content" not in messages.columns:
        yield messages
        return
    decompress_one = _DECOMPRESS[kind]
    contents: list[bytes | None] = []
    first = size = 0
    for row, payload in enumerate(messages.columns["content"].to_pylist()):
        try:
            content = decompress_one(payload, limit) if payload else payload
        except _ERRORS as error:
            if on_error == "fail":
                where = f"stream {stream!r}, sequence {messages.seqs[row]}"
                raise PayloadError(f"{where}: {_explain(error, kind, limit)}") from error
            content = payload if on_error == "raw" else None
        if content:
            size += len(content)
            if size > MAX_BLOCK and contents:
                yield _with_contents(messages.slice(first, row), contents)
                first, size = row, len(content)
        contents.append(content)
    yield _with_contents(messages.slice(first, len(messages)), contents)


def _with_contents(messages: Messages, contents: list[bytes | None]) -> Messages:
    """Return the messages with these contents, and empty the list: the array has a copy."""
    columns = {**messages.columns, "content": pa.array(contents, pa.binary())}
    contents.clear()
    return Messages(messages.seqs, columns)


def _explain(error: Exception, kind: str, limit: int) -> str:
    what = (
        f"the payload exceeds nats.payload.max.decompressed={limit} bytes: raise it"
        if isinstance(error, _TooLargeError)
        else f"the payload is not {kind} ({error}): check nats.payload.compression"
    )
    return f"{what}, or set nats.payload.on.error to 'raw' or 'null'"


_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": lambda payload: gzip.compress(payload, mtime=0),  # the same bytes at any time
    "zstd": lambda payload: zstandard.ZstdCompressor().compress(payload),
}


def compress(payloads: pa.BinaryArray, kind: str) -> pa.BinaryArray:
    """Compress the payloads; an empty payload stays empty.

    Args:
        kind: ``none``, ``zlib``, ``gzip`` or ``zstd``.
    """
    if kind == "none":
        return payloads
    compress_one = _COMPRESS[kind]
    packed = [compress_one(payload) if payload else payload for payload in payloads.to_pylist()]
    return pa.array(packed, pa.binary())
