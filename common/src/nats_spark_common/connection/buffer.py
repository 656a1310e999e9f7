"""The receive buffer of a connection. Pure: bytes in, bytes out."""

from __future__ import annotations

import numpy as np

from ..protocol.operations import HEADER_VERSION, LONGEST_LINE, PONG, frame_length

#: Decoding is fastest if a block fits the cache; below a megabyte, fixed costs become noticeable.
BLOCK_BYTES = 1 << 21

#: More than decoding a block allocates.
_KEPT_BYTES = 1 << 24

#: The end of every status frame: the headers' blank line, then the line end of an empty payload.
_STATUS_END = b"\r\n\r\n\r\n"

#: Maximum length of a status frame's headers, generously.
_LONGEST_STATUS = 512
_SPACE = 32


class ReceiveBuffer:
    """Received bytes that are not consumed; starts at the start of an operation.

    Attributes:
        filled: number of received bytes.
    """

    def __init__(self) -> None:
        self.filled = 0
        self._bytes = bytearray(BLOCK_BYTES)
        self._needed = 0  # length of the message that the buffer starts with, if known
        _keep_freed_memory()

    @property
    def size(self) -> int:
        """Capacity in bytes."""
        return len(self._bytes)

    @property
    def full(self) -> bool:
        return self.filled == len(self._bytes)

    @property
    def complete(self) -> bool:
        """Whether all of the message that the buffer starts with has arrived."""
        return self.filled >= self._needed

    @property
    def needed(self) -> int:
        """Length in bytes of the message that the buffer starts with; 0 if it is unknown."""
        return self._needed

    @property
    def ends_with_status(self) -> bool:
        """Whether the last frame is a status, which a message without payload resembles."""
        if not self._bytes.endswith(_STATUS_END, 0, self.filled):
            return False
        start = self._bytes.rfind(
            HEADER_VERSION, max(0, self.filled - _LONGEST_STATUS), self.filled
        )
        return start >= 0 and self._bytes[start + len(HEADER_VERSION)] == _SPACE

    def content(self) -> bytes:
        """Return a copy of the received bytes."""
        return bytes(memoryview(self._bytes)[: self.filled])

    def free(self) -> memoryview:
        """Return the unused part; add the number of bytes written to it to ``filled``."""
        return memoryview(self._bytes)[self.filled :]

    def make_room(self) -> None:
        """Double the capacity of a full buffer, which a single message fills."""
        if self.full:
            self._bytes.extend(bytes(len(self._bytes)))

    def consume(self, count: int) -> None:
        """Remove the first ``count`` bytes."""
        rest = self.filled - count
        if count and rest:
            self._bytes[:rest] = self._bytes[count : self.filled]
        self.filled = rest
        self._needed = frame_length(bytes(self._bytes[: min(rest, LONGEST_LINE)]))

    def remove_pong(self) -> bool:
        """Empty a buffer that contains only a PONG; return whether it did."""
        if self._bytes[: self.filled] != PONG:
            return False
        self.filled = 0
        return True

    def shrink(self) -> None:
        """Reduce an empty buffer that grew for a large message to its initial capacity."""
        if not self.filled and len(self._bytes) > BLOCK_BYTES:
            self._bytes = bytearray(BLOCK_BYTES)


def _keep_freed_memory() -> None:
    """Let the C library keep the memory of a decoded block for the next block.

    By default, glibc returns blocks of this size to the kernel when they are freed, and every page
    of the next block is a page fault, which can cost more than decoding. Freeing one larger block
    raises these limits for the process (mallopt(3), M_MMAP_THRESHOLD). It is never written, so it
    takes no memory. Other C libraries ignore this.
    """
    np.empty(_KEPT_BYTES, np.uint8)
