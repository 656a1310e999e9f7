"""How each kind of fault is done, and undone."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from nats_spark_common.embedded import EmbeddedServer

from .network import Link
from .plan import Fault
from .processes import Driver
from .scenarios import SCENARIOS
from .world import World

Undo = Callable[[], None]
#: Bytes per second of a slow link, and of one that carries less than is published.
_SLOW = 200_000
_LAGGING = 40_000
#: How long a driver may need to commit a batch again.
_RESTART_SECONDS = 60.0


def _nothing() -> None:
    pass


class Faults:
    """Does the faults of a round."""

    def __init__(self, world: World, driver: Driver, names: tuple[str, ...], folder: Path) -> None:
        self._world, self._driver, self._folder = world, driver, folder
        self._streams = [f"{name}-in" for name in names if name != "partitioned"]
        if "partitioned" in names:
            self._streams += SCENARIOS["partitioned"].streams()
        self._names = names

    def do(self, fault: Fault) -> Undo:
        """Let something fail; return what heals it."""
        return getattr(self, "_" + fault.kind.replace("-", "_"))(fault.choice)  # type: ignore[no-any-return]

    # Spark

    def _kill_driver(self, choice: int) -> Undo:
        before = self._commits()
        self._driver.kill_and_start()

        def heal() -> None:
            """The next fault must meet queries that run."""
            deadline = time.monotonic() + _RESTART_SECONDS
            while self._commits() == before and time.monotonic() < deadline:
                time.sleep(0.1)

        return heal

    def _commits(self) -> int:
        return len(list(self._folder.glob("*/checkpoint/commits/[0-9]*")))

    def _freeze_driver(self, choice: int) -> Undo:
        self._driver.signal(signal.SIGSTOP)
        return lambda: self._driver.signal(signal.SIGCONT)

    def _kill_worker(self, choice: int) -> Undo:
        worker = self._worker(choice)
        if worker:
            with suppress(psutil.Error):
                worker.kill()
        return _nothing

    def _freeze_worker(self, choice: int) -> Undo:
        worker = self._worker(choice)
        if not worker:
            return _nothing
        with suppress(psutil.Error):
            worker.suspend()

        def heal() -> None:
            with suppress(psutil.Error):
                worker.resume()

        return heal

    def _worker(self, choice: int) -> psutil.Process | None:
        workers = self._driver.workers()
        return workers[choice % len(workers)] if workers else None

    # Servers

    def _kill_server(self, choice: int) -> Undo:
        return self._kill(self._server(choice))

    def _restart_server(self, choice: int) -> Undo:
        self._server(choice).restart()
        return _nothing

    def _freeze_server(self, choice: int) -> Undo:
        return self._freeze(self._server(choice))

    def _kill_leader(self, choice: int) -> Undo:
        return self._kill(self._leader(choice))

    def _freeze_leader(self, choice: int) -> Undo:
        return self._freeze(self._leader(choice))

    def _step_down(self, choice: int) -> Undo:
        self._try(f"STREAM.LEADER.STEPDOWN.{self._stream(choice)}")
        return _nothing

    def _meta_step_down(self, choice: int) -> Undo:
        self._try("META.LEADER.STEPDOWN")
        return _nothing

    def _isolate_server(self, choice: int) -> Undo:
        return self._each(self._world.links_of(choice % len(self._world.servers)), Link.stall)

    def _cut_off_replica(self, choice: int) -> Undo:
        """Separate a server from the others, but not from clients: its replicas lag."""
        routes = self._world.routes_of(choice % len(self._world.servers))
        return self._each(routes, Link.stall)

    def _lag_replica(self, choice: int) -> Undo:
        """Slow down the routes to a server, so that its replicas lag."""
        routes = self._world.routes_of(choice % len(self._world.servers))
        return self._each(routes, lambda link: link.slow(_LAGGING))

    def _fill_disk(self, choice: int) -> Undo:
        """Fill a server's disk: it stops JetStream, and is restarted when there is room."""
        number = choice % len(self._world.servers)
        if not self._world.mounted:
            return self._kill(self._world.servers[number])
        filler = self._world.disks[number] / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass

        def heal() -> None:
            filler.unlink(missing_ok=True)
            self._world.servers[number].restart()

        return heal

    def _remove_consumers(self, choice: int) -> Undo:
        """Remove the consumers that reads have made, as the server does if it loses them."""
        for name in ("v2", "mirror"):
            if name in self._names:
                for each in self._try(f"CONSUMER.NAMES.{name}-in").get("consumers") or []:
                    self._try(f"CONSUMER.DELETE.{name}-in.{each}")
        return _nothing

    def _remove_old_messages(self, choice: int) -> Undo:
        """Purge what a V2 query has read and committed."""
        for name in ("v2", "exactly-once", "at-least-once"):
            if name in self._names:
                position = self._committed(name)
                if position:
                    self._try(f"STREAM.PURGE.{name}-in", seq=position)
        return _nothing

    # Network

    def _cut_links(self, choice: int) -> Undo:
        return self._each(self._chosen(choice), Link.cut)

    def _cut_mid_frame(self, choice: int) -> Undo:
        return self._each(self._chosen(choice), Link.cut_mid_frame)

    def _stall_links(self, choice: int) -> Undo:
        """Lose what connections carry, and reset them in the end."""
        links = self._chosen(choice)
        heal = self._each(links, Link.stall)

        def reset() -> None:
            for link in links:
                self._world.network.tell(link.cut)
            heal()

        return reset

    def _slow_links(self, choice: int) -> Undo:
        return self._each(self._chosen(choice), lambda link: link.slow(_SLOW))

    def _refuse_links(self, choice: int) -> Undo:
        return self._each(self._chosen(choice), Link.refuse)

    def _chosen(self, choice: int) -> list[Link]:
        """Return the link of one server, or of all of them."""
        links = self._world.clients
        return list(links) if choice % 3 == 0 else [links[choice % len(links)]]

    def _each(self, links: list[Link], how: Callable[[Link], None]) -> Undo:
        network = self._world.network
        for link in links:
            network.tell(lambda link=link: how(link))

        def heal() -> None:
            for link in links:
                network.tell(link.heal)

        return heal

    def _server(self, choice: int) -> EmbeddedServer:
        return self._world.servers[choice % len(self._world.servers)]

    def _stream(self, choice: int) -> str:
        return self._streams[choice % len(self._streams)]

    def _leader(self, choice: int) -> EmbeddedServer:
        """Return the server that leads a stream, as far as it is known."""
        found = self._try(f"STREAM.INFO.{self._stream(choice)}").get("cluster") or {}
        leader = str(found.get("leader") or f"n{choice % len(self._world.servers)}")
        return self._world.servers[int(leader[1:])]

    def _kill(self, server: EmbeddedServer) -> Undo:
        server.kill()
        return server.start

    def _freeze(self, server: EmbeddedServer) -> Undo:
        process = psutil.Process(server.pid)
        process.suspend()
        return process.resume

    def _try(self, call: str, **request: Any) -> dict[str, Any]:
        """Ask JetStream's API once; a cluster in trouble may not answer."""
        try:
            return self._world.admin().api(call, **request)
        except Exception:
            return {}

    def _committed(self, name: str) -> int:
        """Return the sequence up to which a query's batches are committed; 0 if none is."""
        checkpoint = self._folder / name / "checkpoint"
        done = max((int(e.name) for e in (checkpoint / "commits").glob("[0-9]*")), default=-1)
        try:
            text = (checkpoint / "offsets" / str(done)).read_text()
            return int(json.loads(text.splitlines()[2])["streams"][f"{name}-in"]["seq"])
        except (OSError, ValueError, LookupError):
            return 0
