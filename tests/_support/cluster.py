"""Three servers that form a JetStream cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nats_spark_common.embedded import EmbeddedServer

from .admin import Admin, wait_until


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def cluster(size: int = 3) -> Iterator[list[EmbeddedServer]]:
    """Servers that have found each other and elected a meta leader."""
    ports = free_ports(size)
    routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    servers = [
        EmbeddedServer(
            f"server_name: n{i}\n"
            f"cluster {{ name: test, listen: 127.0.0.1:{port}, routes: [{routes}] }}"
        )
        for i, port in enumerate(ports)
    ]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
            server.start()
        admin = Admin(servers[0].url)
        stack.callback(admin.close)
        wait_until(lambda: _peers(servers) == size)
        yield servers


def _peers(servers: list[EmbeddedServer]) -> int:
    """How many peers the meta leader counts, itself included; 0 while there is none."""
    for server in servers:
        meta = server.statistics("jsz").get("meta_cluster") or {}
        if meta.get("leader"):
            return int(meta.get("cluster_size", 0))
    return 0
