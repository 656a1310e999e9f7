"""The receive buffer's effect on memory: what is freed after a block is used for the next one."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
