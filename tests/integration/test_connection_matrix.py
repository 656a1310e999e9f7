"""Ways to connect, and failures to, on both planes: the data plane's sockets and nats-py."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import nkeys
import pytest

from nats_spark_common import AuthError, ConnectError, NatsSettings, OptionError
from nats_spark_common.connection.connect import connect
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.blocking_client import BlockingClient
from nats_spark_common.jetstream.control import Control

from .._support.admin import wait_until
from .._support.cluster import free_ports
from .._support.credentials import Certificates, make_certificates, make_jwt_world, new_nkey
from .._support.options import options
from .._support.relay import Relay

Plane = Callable[[NatsSettings], None]


def data_plane(settings: NatsSettings) -> None:
    with connect(settings) as link:
        assert json.loads(link.request("$JS.API.INFO", b"", 5.0).payload)["limits"]


def control_plane(settings: NatsSettings) -> None:
    with Control(settings) as control:
        assert control.api("INFO")["limits"]


both_planes = pytest.mark.parametrize("plane", [data_plane, control_plane])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def settings(url: str, **short: str) -> NatsSettings:
    return NatsSettings.from_options(options(url, retry_count="0", **short))


# Addresses.


@both_planes
def test_an_ipv6_address(nats_server: EmbeddedServer, plane: Plane) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listener:
        relay = Relay(listener, nats_server.url)
        port = listener.getsockname()[1]
        plane(settings(f"nats://[::1]:{port}"))
        plane(settings(f"[::1]:{port}"))
        assert relay.accepted >= 2


@pytest.mark.parametrize("url", ["ws://example:8080", "wss://example", "nats://a:4222,WSS://b:443"])
@pytest.mark.parametrize("option", ["nats.url", "nats.host"])
def test_a_websocket_url_is_refused(url: str, option: str) -> None:
    with pytest.raises(OptionError, match=rf"{option}=.*WebSocket.*nats://") as caught:
        NatsSettings.from_options({option: url})
    assert "\n" not in str(caught.value)


# Several servers.

_USER = 'authorization { user: "ada", password: "%s" }'


@both_planes
def test_a_server_that_is_down_and_one_that_rejects_the_user_are_passed_over(plane: Plane) -> None:
    with EmbeddedServer(_USER % "other") as rejecting, EmbeddedServer(_USER % "right") as server:
        urls = f"nats://127.0.0.1:1,{rejecting.url},{server.url}"
        for _ in range(4):  # the order is random
            plane(settings(urls, user="ada", password="right"))


@both_planes
def test_a_rejected_user_is_reported_rather_than_a_server_that_is_down(plane: Plane) -> None:
    with EmbeddedServer(_USER % "other") as rejecting:
        urls = f"nats://127.0.0.1:1,{rejecting.url}"
        with pytest.raises(AuthError, match=r"nats\.user and nats\.password") as caught:
            plane(settings(urls, user="ada", password="s3cret"))
        assert "s3cret" not in str(caught.value)


# Authentication over TLS.


@dataclass(frozen=True)
class Way:
    """A way to authenticate: the server's configuration, and right and wrong options."""

    config: str
    right: dict[str, str]
    wrong: dict[str, str]


def _nkey() -> Way:
    seed, public = new_nkey(nkeys.PREFIX_BYTE_USER)
    other, _ = new_nkey(nkeys.PREFIX_BYTE_USER)
    config = f"authorization {{ users = [ {{ nkey: {public} }} ] }}"
    return Way(config, {"nkey_seed_secret": seed}, {"nkey_seed_secret": other})


def _credentials() -> Way:
    world, other = make_jwt_world(), make_jwt_world()
    right, wrong = ({"credential_secret": each.credentials} for each in (world, other))
    return Way(world.config, right, wrong)


WAYS: dict[str, Callable[[], Way]] = {
    "user": lambda: Way(
        _USER % "right",
        {"user": "ada", "password": "right"},
        {"user": "ada", "password": "wrong"},
    ),
    "token": lambda: Way(
        'authorization { token: "right" }', {"token": "right"}, {"token": "wrong"}
    ),
    "nkey": _nkey,
    "creds": _credentials,
}


@pytest.mark.parametrize("first", [False, True], ids=["after INFO", "first"])
@pytest.mark.parametrize("way", WAYS)
def test_authentication_over_tls(certificates: Certificates, way: str, first: bool) -> None:
    chosen = WAYS[way]()
    tls = certificates.server_block(", handshake_first: true" if first else "")
    common = {"tls_ca": str(certificates.ca), "tls_first": str(first).lower()}
    with EmbeddedServer(chosen.config + "\n" + tls) as server:
        for plane in (data_plane, control_plane):
            plane(settings(server.url, **common, **chosen.right))
            with pytest.raises(AuthError, match=r"nats\.user.*nats\.token.*nats\.nkey"):
                plane(settings(server.url, **common, **chosen.wrong))


# Certificates.


@dataclass(frozen=True)
class Failure:
    """Options that fail, and the option that the error must name."""

    options: dict[str, str]
    named: str


def _failures(right: Certificates, folder: Path) -> Iterator[tuple[str, Certificates, Failure]]:
    (folder / "names").mkdir()
    named = make_certificates(folder / "names", addresses=False)
    (folder / "other").mkdir()
    other = make_certificates(folder / "other")
    yield "wrong name", named, Failure({"tls_ca": str(named.ca)}, "nats.tls.hostname")
    yield "wrong CA", right, Failure({"tls_ca": str(other.ca)}, "nats.tls.ca")
    expected = {"tls_ca": str(right.ca), "tls_hostname": "elsewhere"}
    yield "wrong nats.tls.hostname", right, Failure(expected, "nats.tls.hostname")
    yield "no CA", right, Failure({}, "nats.tls.ca")


def test_certificates_that_do_not_fit(certificates: Certificates, tmp_path: Path) -> None:
    for what, of_server, failure in _failures(certificates, tmp_path):
        with EmbeddedServer(of_server.server_block()) as server:
            for plane in (data_plane, control_plane):
                with pytest.raises(ConnectError) as caught:
                    plane(settings(server.url, **failure.options))
                assert not isinstance(caught.value, AuthError), what
                assert failure.named in str(caught.value), what


@both_planes
def test_tls_first_for_a_server_without_it(certificates: Certificates, plane: Plane) -> None:
    tls = {"tls_ca": str(certificates.ca), "tls_first": "true"}
    with EmbeddedServer() as server, pytest.raises(ConnectError, match=r"nats\.tls\.first"):
        plane(settings(server.url, **tls))


@both_planes
def test_a_server_that_starts_with_tls_for_options_without_it(
    certificates: Certificates, plane: Plane
) -> None:
    config = certificates.server_block(", handshake_first: true")
    with EmbeddedServer(config) as server, pytest.raises(ConnectError, match=r"nats\.tls\.first"):
        plane(settings(server.url, tls_ca=str(certificates.ca), connect_timeout="1s"))


def test_the_control_connection_trusts_a_server_found_through_the_cluster(tmp_path: Path) -> None:
    """Servers name each other by addresses, which their certificates need not hold."""
    certificates = make_certificates(tmp_path, addresses=False)
    ports = free_ports(2)
    routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
    first, second = (
        EmbeddedServer(
            f"cluster {{ name: c, listen: 127.0.0.1:{port}, routes: [{routes}] }}\n"
            + certificates.server_block(),
            jetstream=False,
        )
        for port in ports
    )
    with ExitStack() as started:
        started.enter_context(first)
        started.enter_context(second)
        chosen = settings(f"tls://localhost:{first.port}", tls_ca=str(certificates.ca))

        def knows_both() -> BlockingClient | None:
            client = BlockingClient(chosen)
            return client if str(second.port) in str(client.info.connect_urls) else None

        client = wait_until(knows_both)
        client.start()
        with closing(client):
            first.kill()
            client.switch_server()
            connected = client.client.connected_url
            assert connected is not None
            assert connected.port == second.port
