"""TLS: certificates of servers and clients, from files and as text, and what is rejected."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path

import pytest

from nats_spark_common import ConnectError, NatsSettings
from nats_spark_common.connection.connect import connect
from nats_spark_common.embedded import EmbeddedServer
from nats_spark_common.jetstream.control import Control

from .._support.admin import wait_until
from .._support.cluster import free_ports
from .._support.connecting import check, filled
from .._support.credentials import Certificates, make_certificates, make_jwt_world


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


def test_files_travel_with_the_query_where_executors_lack_them(
    tmp_path: Path, certificates: Certificates
) -> None:
    world = make_jwt_world()
    tls = certificates.server_block(", verify: true")
    paths = {
        "credential_file": tmp_path / "user.creds",
        "tls_ca": tmp_path / "ca.pem",
        "tls_cert": tmp_path / "cert.pem",
        "tls_key": tmp_path / "key.pem",
    }
    paths["credential_file"].write_text(world.credentials)
    paths["tls_ca"].write_text(certificates.ca.read_text())
    paths["tls_cert"].write_text(certificates.client_cert.read_text())
    paths["tls_key"].write_text(certificates.client_key.read_text())
    named = {f"nats.{name.replace('_', '.')}": str(path) for name, path in paths.items()}
    context = _context(certificates, client=True)
    creds = str(paths["credential_file"])
    with filled(world.config + "\n" + tls, tls=context, user_credentials=creds) as server:
        settings = NatsSettings.from_options(
            {"nats.url": server.url, "nats.files.ship": "true", **named}
        )
        for path in paths.values():
            path.unlink()
        travelled = pickle.loads(pickle.dumps(settings))
        for secret in ("PRIVATE KEY", "USER NKEY SEED"):
            assert secret not in repr(travelled)
        with connect(travelled) as link, Control(travelled) as control:
            assert link.info.jetstream
            assert control.stream_info("S").messages == 3


def test_tls_files_as_text(certificates: Certificates) -> None:
    config = certificates.server_block(", verify: true")
    with filled(config, tls=_context(certificates, client=True)) as server:
        texts = {
            "tls_ca_pem": certificates.ca.read_text(),
            "tls_cert_pem": certificates.client_cert.read_text(),
            "tls_key_secret": certificates.client_key.read_text(),
        }
        check(server, **texts)
        with pytest.raises(ConnectError, match=r"nats\.tls\.key\.secret.*use PEM files") as caught:
            check(server, **{**texts, "tls_key_secret": "s3cret"})
        assert "s3cret" not in str(caught.value)


def _context(certificates: Certificates, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    if client:
        context.load_cert_chain(certificates.client_cert, certificates.client_key)
    return context


def test_tls(certificates: Certificates) -> None:
    with filled(certificates.server_block(), tls=_context(certificates)) as server:
        check(server, tls_ca=str(certificates.ca))
        check(server, tls_ca=str(certificates.ca), url=f"tls://localhost:{server.port}")


def test_a_certificate_that_is_not_trusted_is_refused_with_the_option_to_set(
    certificates: Certificates,
) -> None:
    with (
        filled(certificates.server_block(), tls=_context(certificates)) as server,
        pytest.raises(ConnectError, match=r"not trusted.*nats\.tls\.ca"),
    ):
        check(server)


def test_tls_with_a_client_certificate(certificates: Certificates) -> None:
    config = certificates.server_block(", verify: true")
    with filled(config, tls=_context(certificates, client=True)) as server:
        check(
            server,
            tls_ca=str(certificates.ca),
            tls_cert=str(certificates.client_cert),
            tls_key=str(certificates.client_key),
        )
        with pytest.raises(ConnectError):
            check(server, tls_ca=str(certificates.ca))


def test_tls_first(certificates: Certificates) -> None:
    config = certificates.server_block(", handshake_first: true")
    with filled(config, tls=_context(certificates), tls_handshake_first=True) as server:
        check(server, tls_ca=str(certificates.ca), tls_first="true")


def test_tls_that_the_server_does_not_offer_is_an_error(certificates: Certificates) -> None:
    with EmbeddedServer() as server, pytest.raises(ConnectError, match="does not offer TLS"):
        check(server, tls_ca=str(certificates.ca))


def test_a_server_found_through_its_cluster_has_the_name_of_the_one_that_is_configured(
    tmp_path: Path,
) -> None:
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
    with first, second:
        url = f"tls://localhost:{first.port}"
        settings = NatsSettings.from_options({"nats.url": url, "nats.tls.ca": str(certificates.ca)})

        def others() -> tuple[str, ...]:
            with connect(settings) as link:
                return tuple(each for each in link.info.connect_urls if str(second.port) in each)

        also = wait_until(others)
        first.kill()
        with connect(settings, also) as link:
            assert link.server.address == f"127.0.0.1:{second.port}"
