"""Three servers that form a JetStream cluster; each is tagged with its name, for placements."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import nats.errors
from nats.js.errors import APIError

from nats_spark_common.embedded import EmbeddedServer

from .admin import Admin, wait_until

#: Ports below those that Linux gives to outgoing connections (``ip_local_port_range``).
_NOT_EPHEMERAL = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports that are free, all different, and that no outgoing connection is given meanwhile."""
    ports = iter(random.sample(_NOT_EPHEMERAL, len(_NOT_EPHEMERAL)))
    return [next(filter(_is_free, ports)) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as each:
        try:
            each.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextmanager
def cluster(size: int = 3, config: str = "") -> Iterator[list[EmbeddedServer]]:
    """Servers that have found each other and can place replicated streams.

    Args:
        config: further lines of each server's configuration.
    """
    with running(members("test", size, lambda _: config)) as servers:
        admin = Admin(servers[0].url)
        try:
            wait_until(lambda: _places_replicas(admin, size))
            yield servers
        finally:
            admin.close()


def members(
    name: str, size: int, config: Callable[[int], str] = lambda _: "", server: str = "n"
) -> list[EmbeddedServer]:
    """The servers of a cluster, not started.

    Args:
        config: further lines of a server's configuration, by its number.
        server: the start of the servers' names.
    """
    ports = free_ports(size)
    routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    return [
        EmbeddedServer(
            f"server_name: {server}{i}\nserver_tags: [{server}{i}]\n"
            f"cluster {{ name: {name}, listen: 127.0.0.1:{port}, routes: [{routes}] }}\n"
            + config(i)
        )
        for i, port in enumerate(ports)
    ]


@contextmanager
def running(servers: list[EmbeddedServer]) -> Iterator[list[EmbeddedServer]]:
    """Start the servers, and wait until all know who leads them."""
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        # Before there is a leader nobody answers, and a request would wait for its timeout.
        wait_until(lambda: all(_leader(server) for server in servers))
        yield servers


def _leader(server: EmbeddedServer) -> str | None:
    """Who leads the cluster, as far as this server knows."""
    leader: str | None = server.statistics("jsz").get("meta_cluster", {}).get("leader")
    return leader


def _places_replicas(admin: Admin, replicas: int) -> bool:
    """Whether the cluster has so many peers that it can place a stream on."""
    try:
        admin.create_stream("READY", num_replicas=replicas)
    except (APIError, nats.errors.TimeoutError, TimeoutError):
        return False
    admin.delete_stream("READY")
    return True
