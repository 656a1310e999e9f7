"""The server that the comparative tests run against is the one that they believe it is."""

from __future__ import annotations

import subprocess

import pytest

from nats_spark_common.embedded import find_binary

from .._support import containers
from .._support.admin import Admin
from .._support.containers import ServerUnderTest


def test_stores_and_gives_back(comparative_admin: Admin, stream: str) -> None:
    comparative_admin.create_stream(stream)
    comparative_admin.publish(f"{stream}.a", b"hello", {"Key": "value"})

    (stored,) = comparative_admin.read_all(stream)

    assert (stored.subject, stored.payload) == (f"{stream}.a", b"hello")
    assert stored.headers == {"Key": "value"}
    comparative_admin.delete_stream(stream)


def test_has_the_version_of_its_image(comparative_server: ServerUnderTest) -> None:
    if comparative_server.image == containers.OFFICIAL_IMAGE:
        expected = containers.OFFICIAL_IMAGE.removeprefix("nats:").removesuffix("-alpine")
        assert comparative_server.version.startswith(f"{expected}.")
    else:
        binary = [str(find_binary()), "--version"]
        said = subprocess.run(binary, capture_output=True, text=True, check=True).stdout
        assert said.split() == ["nats-server:", f"v{comparative_server.version}"]


@pytest.mark.skipif(not containers.required(), reason=f"{containers.REQUIRED} is not set")
def test_is_a_container_where_one_is_required(comparative_server: ServerUnderTest) -> None:
    assert comparative_server.image
