"""Three servers that form a cluster, and a leaf; every connection goes through a link."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import free_ports
from .network import Link, Network

SIZE = 3

#: Of a server's disk, where one can be mounted.
_DISK_MIB = 192


async def _ignore(_: Exception) -> None:
    """The servers of a round fail all the time."""


#: A client that soon leaves a server that does not answer.
_PATIENT: dict[str, Any] = {
    "error_cb": _ignore,
    "ping_interval": 1,
    "max_outstanding_pings": 2,
    "reconnect_time_wait": 0.1,
    "max_reconnect_attempts": -1,
}


@dataclass
class World:
    """The servers and the network.

    Attributes:
        servers: the cluster.
        leaf: a server with a JetStream domain of its own, ``leaf``, connected to the cluster.
        clients: links from clients to each server.
        routes: links between two servers, by the numbers of both.
        disks: store folders of the servers; file systems of their own if these could be mounted.
        mounted: whether they could.
    """

    servers: list[EmbeddedServer]
    leaf: EmbeddedServer
    network: Network
    clients: list[Link]
    routes: dict[tuple[int, int], Link]
    disks: list[Path]
    mounted: bool
    admins: list[Admin] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The addresses of the links, for clients."""
        return ",".join(f"nats://127.0.0.1:{each.port}" for each in self.clients)

    def links_of(self, server: int) -> list[Link]:
        """Return all links of a server."""
        return [self.clients[server], *self.routes_of(server)]

    def routes_of(self, server: int) -> list[Link]:
        """Return the links between a server and the others."""
        return [link for ends, link in self.routes.items() if server in ends]

    def heal(self) -> None:
        """Heal all links."""
        for each in [*self.clients, *self.routes.values()]:
            self.network.tell(each.heal)

    def admin(self) -> Admin:
        """Return a client that reaches all servers, also while links fail."""
        if not self.admins:
            self.admins.append(Admin([each.url for each in self.servers], **_PATIENT))
        return self.admins[0]

    def leaf_admin(self) -> Admin:
        """Return a client of the leaf."""
        if len(self.admins) < 2:
            self.admin()
            self.admins.append(Admin(self.leaf.url, **_PATIENT))
        return self.admins[1]


@contextmanager
def world() -> Iterator[World]:
    """Start everything, and wait until the cluster places replicas."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        disks = [folder / f"disk{i}" for i in range(SIZE)]
        mounted = all(_mount(each, stack) for each in disks)
        network = Network()
        stack.callback(network.close)
        made = _servers(network, disks, mounted, folder)
        stack.callback(lambda: [each.close() for each in made.admins])
        for server in [*made.servers, made.leaf]:
            stack.callback(server.stop)
            server.start()
        admin = made.admin()
        wait_until(lambda: _is_ready(admin))
        wait_until(lambda: made.leaf.statistics("leafz").get("leafs"))
        yield made


def _servers(network: Network, disks: list[Path], mounted: bool, folder: Path) -> World:
    ports = iter(free_ports(5 * SIZE + SIZE * SIZE))
    listen, advertised, cluster, leafs = ([next(ports) for _ in range(SIZE)] for _ in range(4))
    clients = [network.link(a, b) for a, b in zip(advertised, listen, strict=True)]
    pairs = [(i, j) for i in range(SIZE) for j in range(SIZE) if i != j]
    routes = {(i, j): network.link(next(ports), cluster[j]) for i, j in pairs}
    servers = []
    for i in range(SIZE):
        to = [f"nats-route://127.0.0.1:{routes[i, j].port}" for x, j in pairs if x == i]
        config = f"""
            server_name: n{i}
            client_advertise: "127.0.0.1:{advertised[i]}"
            cluster {{
                name: hub, listen: "127.0.0.1:{cluster[i]}", no_advertise: true
                routes: [{", ".join(to)}]
            }}
            leafnodes {{ listen: "127.0.0.1:{leafs[i]}" }}
            jetstream {{ domain: hub, store_dir: "{disks[i]}/store" }}
        """
        servers.append(EmbeddedServer(config, jetstream=False, port=listen[i]))
    remotes = ", ".join(f'"nats-leaf://127.0.0.1:{each}"' for each in leafs)
    config = f"""
        server_name: leaf
        leafnodes {{ reconnect: 1, remotes: [{{ urls: [{remotes}] }}] }}
        jetstream {{ domain: leaf, store_dir: "{folder}/leaf" }}
    """
    leaf = EmbeddedServer(config, jetstream=False)
    return World(servers, leaf, network, clients, routes, disks, mounted)


def _mount(disk: Path, stack: ExitStack) -> bool:
    """Make a folder a small file system of its own, if this user may."""
    disk.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    stack.callback(subprocess.run, ["umount", "-l", str(disk)], check=False)
    return True


def _is_ready(admin: Admin) -> bool:
    try:
        admin.create_stream("READY", num_replicas=SIZE)
    except Exception:
        return False
    admin.delete_stream("READY")
    return True
