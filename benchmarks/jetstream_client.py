"""Read a stream with nats-jetstream, NATS's newer Python client, and print messages per second.

python benchmarks/jetstream_client.py URL STREAM COUNT

It runs in an environment of its own (`environment`), because it needs Python 3.13 and its packages
clash with nats-py.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "nats-jetstream"
#: As many as nats-py is asked for (`sides.PULL_BATCH`).
_FETCH = 500
_PACKAGES = ["nats-jetstream==0.3.0", "nkeys"]


def environment() -> Path | None:
    """Return the Python of an environment with the client, which is created; None without 3.13."""
    python = _FOLDER / "bin" / "python"
    if not (_FOLDER / "complete").exists():
        newer = next((each for each in _candidates() if _is_new(each)), None)
        if newer is None:
            return None
        subprocess.run([newer, "-m", "venv", "--clear", str(_FOLDER)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *_PACKAGES], check=True)
        (_FOLDER / "complete").touch()
    return python


def measure(python: Path, url: str, stream: str, count: int) -> float:
    """Return the messages per second of reading the stream's first ``count`` messages."""
    command = [str(python), __file__, url, stream, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _candidates() -> list[str]:
    names = [f"python3.{minor}" for minor in (13, 14)]
    installed = Path.home().glob(".pyenv/versions/3.1[3-9].*/bin/python")
    return [*(found for name in names if (found := shutil.which(name))), *map(str, installed)]


def _is_new(python: str) -> bool:
    check = "import sys; sys.exit(sys.version_info < (3, 13))"
    return not subprocess.run([python, "-c", check], capture_output=True).returncode


async def _read(url: str, stream: str, count: int) -> float:
    from nats.client import connect
    from nats.jetstream import new

    client = await connect(url)
    found = await new(client).get_stream(stream)
    consumer = await found.create_consumer(ack_policy="none", deliver_policy="all", name="measured")
    started = time.perf_counter()
    received = 0
    while received < count:
        async for _ in await consumer.fetch(max_messages=_FETCH, max_wait=10):
            received += 1
    seconds = time.perf_counter() - started
    await found.delete_consumer("measured")
    await client.close()
    return received / seconds


if __name__ == "__main__":
    print(asyncio.run(_read(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
