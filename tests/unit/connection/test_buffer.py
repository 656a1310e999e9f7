"""The receive buffer: where a reply seems to end, and what it does to the process's memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nats_spark_common.connection.buffer import ReceiveBuffer

FRAMES = {
    b"HMSG i 1 16 16\r\nNATS/1.0 404\r\n\r\n\r\n": True,
    b"HMSG i 1 28 28\r\nNATS/1.0 404 No Messages\r\n\r\n\r\n": True,
    b"HMSG i 1 47 47\r\nNATS/1.0 204 EOB\r\nNats-Num-Pending: 12345\r\n\r\n\r\n": True,
    b"HMSG i 1 12 12\r\nNATS/1.0\r\n\r\n\r\n": False,  # a message without headers and payload
    b"HMSG i 1 30 30\r\nNATS/1.0\r\nNats-Msg-Size: 5\r\n\r\n\r\n": False,
    b"MSG i 1 4\r\n\r\n\r\n\r\n": False,
    b"HMSG i 1 16 16\r\nNATS/1.0 404\r\n\r\n": False,
}


@pytest.mark.parametrize(("frame", "is_status"), FRAMES.items())
@pytest.mark.parametrize("before", [b"", b"MSG i 1 3\r\nabc\r\n", b"." * 1_000])
def test_a_status_ends_a_reply_and_a_message_without_payload_does_not(
    frame: bytes, is_status: bool, before: bytes
) -> None:
    buffer = ReceiveBuffer()
    buffer.free()[: len(before + frame)] = before + frame
    buffer.filled = len(before + frame)
    assert buffer.ends_with_status == is_status


#: Prints the page faults of one round of allocations as large as those for decoding a block.
SCRIPT = """
import resource
import numpy as np
from nats_spark_common.connection.buffer import BLOCK_BYTES, ReceiveBuffer

if {with_buffer}:
    ReceiveBuffer()

def allocate():
    arrays = [np.ones(BLOCK_BYTES, np.uint8) for _ in range(3)]
    while arrays:
        arrays.pop()

for _ in range(5):
    allocate()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    allocate()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 20)
"""


def page_faults(with_buffer: bool) -> float:
    script = SCRIPT.format(with_buffer=with_buffer)
    return float(subprocess.run([sys.executable, "-c", script], capture_output=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="it is known of glibc that it returns memory")
def test_memory_that_a_block_took_is_used_for_the_next() -> None:
    assert page_faults(with_buffer=False) > 500  # a block has 512 pages
    assert page_faults(with_buffer=True) < 50
