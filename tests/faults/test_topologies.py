"""Sink and queries across leaf nodes, gateways and accounts, while the servers there restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from nats_spark_common import NatsSparkError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin, wait_until
from .._support.cluster import free_ports, members, running
from .._support.options import options
from .._support.reading import numbers, read_stream
from .._support.working import working
from .._support.writing import exactly, make_stream, numbered, write


@dataclass(frozen=True)
class Leaf:
    """A hub and a leaf node, each with a JetStream domain of its own."""

    hub: EmbeddedServer
    leaf: EmbeddedServer

    def joined(self) -> bool:
        return bool(self.leaf.statistics("leafz").get("leafs"))


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaf]:
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("domains")

    def server(name: str, leafnodes: str) -> EmbeddedServer:
        config = f"""
            server_name: {name}
            leafnodes {{ {leafnodes} }}
            jetstream {{ domain: {name}, store_dir: "{folder / name}" }}
        """
        return EmbeddedServer(config, jetstream=False)

    remote = f'remotes: [ {{ urls: ["nats-leaf://127.0.0.1:{port}"] }} ]'
    hub, leaf = (
        server("hub", f"listen: 127.0.0.1:{port}"),
        server("leaf", f"reconnect: 1, {remote}"),
    )
    with hub, leaf:
        pair = Leaf(hub, leaf)
        wait_until(pair.joined)
        yield pair


@pytest.fixture
def leaf_admin(leaf: Leaf) -> Iterator[Admin]:
    """A client of the leaf, whose own domain is the default there."""
    with closing(Admin(leaf.leaf.url)) as admin:
        yield admin


def test_a_domain_behind_a_leaf_node_is_read_and_written_through_the_hub(
    leaf: Leaf, leaf_admin: Admin, stream: str
) -> None:
    make_stream(leaf_admin, stream)
    with working(leaf.hub.url, stream, domain="leaf") as work:
        leaf.leaf.restart()
        work.goes_on()
        leaf.hub.restart()
        work.goes_on()
    work.check(leaf_admin)


def test_the_hub_reads_a_mirror_of_a_leafs_stream(
    leaf: Leaf, leaf_admin: Admin, stream: str
) -> None:
    make_stream(leaf_admin, stream)
    leaf_admin.fill(stream, 500)
    copy = f"M{stream}"
    with closing(Admin(leaf.hub.url)) as admin:
        origin = {"name": stream, "external": {"api": "$JS.leaf.API", "deliver": ""}}
        admin.api(f"STREAM.CREATE.{copy}", name=copy, mirror=origin, allow_direct=True)
        leaf.leaf.restart()
        wait_until(leaf.joined)
        with closing(Admin(leaf.leaf.url)) as again:
            again.fill(stream, 500)
        wait_until(lambda: admin.info(copy).state.last_seq == 1_000)
    rows = read_stream(options(leaf.hub.url, stream_name=copy))
    assert numbers(rows) == list(range(1, 1_001))


@pytest.fixture(scope="module")
def clusters() -> Iterator[list[EmbeddedServer]]:
    """A cluster of two servers and one of one, joined by gateways: w0, w1 and e0."""
    ports = dict(zip(("west", "east"), free_ports(2), strict=True))
    gateways = ", ".join(
        f'{{ name: {name}, url: "nats://127.0.0.1:{port}" }}' for name, port in ports.items()
    )

    def gateway(name: str, first: bool) -> str:
        listen = f"127.0.0.1:{ports[name] if first else -1}"
        return f"gateway {{ name: {name}, listen: {listen}, gateways: [ {gateways} ] }}"

    west = members("west", 2, lambda i: gateway("west", not i), "w")
    east = members("east", 1, lambda i: gateway("east", True), "e")
    with running([*west, *east]) as servers:
        yield servers


@pytest.mark.parametrize("far", [True, False])
def test_a_stream_in_another_cluster_is_read_and_written_through_gateways(
    clusters: list[EmbeddedServer], stream: str, far: bool
) -> None:
    west, _, east = clusters
    with closing(Admin(east.url)) as admin:
        wait_until(lambda: creates(admin, stream, "east"))
        with working(west.url if far else east.url, stream) as work:
            east.restart()
            work.goes_on()
        work.check(admin)


def creates(admin: Admin, stream: str, cluster: str) -> bool:
    """Whether the clusters can place the stream by now."""
    try:
        make_stream(admin, stream, placement={"cluster": cluster})
    except Exception:  # they know too few of each other
        return False
    return True


def test_a_mirror_across_gateways_is_read(clusters: list[EmbeddedServer], stream: str) -> None:
    west, _, east = clusters
    copy = f"M{stream}"
    with closing(Admin(east.url)) as admin:
        wait_until(lambda: creates(admin, stream, "east"))
        admin.fill(stream, 1_000)
        mirror = {"mirror": {"name": stream}, "placement": {"cluster": "west"}}
        admin.api(f"STREAM.CREATE.{copy}", name=copy, allow_direct=True, **mirror)
        wait_until(lambda: admin.info(copy).state.last_seq == 1_000)
    for name in (stream, copy):
        rows = read_stream(options(west.url, stream_name=name))
        assert numbers(rows) == list(range(1, 1_001))
        assert {row["stream"] for row in rows} == {name}


def imports(*more: str) -> str:
    """A server's accounts: ``owner`` has JetStream, and ``guest`` imports it, and more."""
    calls = (
        f'subject: "$JS.API.{call}.>" }}, to: "{PREFIX}.{call}.>"'
        for call in ("STREAM", "CONSUMER", "DIRECT")
    )
    imported = "".join(f"{{ service: {{ account: OWNER, {each} }}\n" for each in (*calls, *more))
    return f"""
        accounts {{
            OWNER {{
                jetstream: enabled
                users: [ {{ user: owner, password: pw }} ]
                exports: [
                    {{ service: "$JS.API.>", response_type: stream }}
                    {{ service: "$JS.ACK.>" }}
                    {{ service: "$KV.>" }}
                    {{ service: "orders.>" }}
                ]
            }}
            GUEST {{
                users: [ {{ user: guest, password: pw }} ]
                imports: [ {imported} ]
            }}
        }}
    """


PREFIX = "JS.owner.API"
GUEST = {"user": "guest", "password": "pw", "js_api_prefix": PREFIX}
ROWS = 'subject: "orders.>" }'
ACKS = 'subject: "$JS.ACK.>" }'
EVERYTHING = f'subject: "$JS.API.>" }}, to: "{PREFIX}.>"'
RECORDS = f'subject: "$KV.>" }}, to: "{PREFIX}.$KV.>"'


def test_another_accounts_stream_is_read_and_written_through_imports() -> None:
    with (
        EmbeddedServer(imports(ROWS, ACKS, RECORDS)) as server,
        closing(Admin(server.url, user="owner", password="pw")) as admin,
    ):
        make_stream(admin, "orders")
        with working(server.url, "orders", **GUEST) as work:
            server.restart()
            work.goes_on()
        work.check(admin)


@pytest.mark.parametrize("instead", [ACKS, EVERYTHING], ids=["missing", "shadowed"])
def test_an_import_that_exactly_once_needs_is_named(instead: str) -> None:
    with EmbeddedServer(imports(ROWS, instead)) as server:
        with closing(Admin(server.url, user="owner", password="pw")) as admin:
            make_stream(admin, "orders")
        given = {**GUEST, "retry_count": "0", "request_timeout": "1s"}
        match = r"import \$KV\.nats_spark_sink\.> as JS\.owner\.API\.\$KV\.nats_spark_sink"
        with pytest.raises(NatsSparkError, match=match):
            write(exactly(server.url, **given), numbered("orders", 10))
