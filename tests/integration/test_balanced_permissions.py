"""The balanced flavor: the permissions of its README are enough, and a missing one is named."""

from __future__ import annotations

import pytest

from nats_spark_common import AuthError
from nats_spark_common.embedded import EmbeddedServer

from .._support.admin import Admin
from .._support.consuming import DURABLE, durable, is_settled, source, start
from .._support.reading import drain, numbers


def permissions(stream: str, *, create: bool) -> str:
    """Return a server configuration with a user who has only the README's permissions."""
    allowed = [
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.{DURABLE}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{DURABLE}",
        f"$JS.ACK.{stream}.{DURABLE}.>",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
    ]
    if create:
        allowed.append(f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{DURABLE}")
        allowed.append(f"$JS.API.STREAM.CREATE.{stream}")
    publish = ", ".join(f'"{subject}"' for subject in allowed)
    granted = f'{{ publish: [{publish}], subscribe: "_INBOX.>" }}'
    return (
        "authorization { users: [ { user: admin, password: a }, "
        f"{{ user: spark, password: s, permissions: {granted} }} ] }}"
    )


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "leader"])
def test_the_permissions_that_the_readme_names_are_enough(stream: str, direct: bool) -> None:
    with EmbeddedServer(permissions(stream, create=False)) as server:
        admin = Admin(server.url, user="admin", password="a")
        admin.create_stream(stream, allow_direct=direct)
        durable(admin, stream)
        admin.fill(stream, 10)
        with start(server.url, stream, user="spark", password="s") as driver:
            assert numbers(drain(driver)) == list(range(1, 11))
        assert is_settled(admin, stream)
        admin.close()


def test_the_permissions_that_the_readme_names_are_enough_to_create(stream: str) -> None:
    with EmbeddedServer(permissions(stream, create=True)) as server:
        admin = Admin(server.url, user="admin", password="a")
        short = {"stream_subjects": f"{stream}.>", "user": "spark", "password": "s"}
        with start(server.url, stream, **short) as driver:
            position = driver.initial()
            admin.fill(stream, 10)
            assert numbers(drain(driver, position)) == list(range(1, 11))
        admin.close()


def test_a_missing_permission_is_named(stream: str) -> None:
    config = permissions(stream, create=False).replace(f"CONSUMER.INFO.{stream}", "CONSUMER.INFO.X")
    with EmbeddedServer(config) as server:
        admin = Admin(server.url, user="admin", password="a")
        admin.create_stream(stream)
        durable(admin, stream)
        admin.close()
        short = {"user": "spark", "password": "s", "request_timeout": "500ms"}
        with pytest.raises(AuthError, match=r"(?i)consumer\.info.*grant the user this permission"):
            source(server.url, stream, **short).schema()
