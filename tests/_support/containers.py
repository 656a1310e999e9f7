"""A NATS server in a container, through testcontainers, for the comparative tests.

The image is the official one where it is present or can be pulled. Elsewhere, on machines that
reach no registry, it is built from nothing but the binary of the embedded server: a container all
the same, with its own network and file system, and the version that the other tests run against.

``python -m tests._support.containers`` prints the image that would be used, and makes sure of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import nats
import nats.errors
import requests.exceptions
from nats.aio.client import Client
from nats.js.errors import APIError
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from nats_spark_common.embedded import EmbeddedServer, find_binary

from .admin import wait_until

#: The official image; docker-compose.yml has the same.
OFFICIAL_IMAGE = "nats:2.14-alpine"

#: Set to 1 where a container engine is known to run: the embedded server is then no way out.
REQUIRED = "NATS_SPARK_REQUIRE_CONTAINERS"

_DOCKERFILE = Path(__file__).resolve().parents[2] / "containers" / "nats" / "Dockerfile"
_ENGINE_SECONDS = 5
_PULL_SECONDS = 60
_READY_SECONDS = 30.0
_CLIENT_PORT = 4222


class NoEngineError(Exception):
    """Why no container engine can be used here."""


@dataclass(frozen=True)
class ServerUnderTest:
    """A running server with JetStream: where it is, and what it is.

    Attributes:
        image: of the container; None for the embedded server.
        why: why it is not a container; empty for one.
    """

    url: str
    version: str
    image: str | None
    why: str = ""

    def __str__(self) -> str:
        if self.image:
            return f"NATS server {self.version} in a container (image {self.image})"
        return f"NATS server {self.version}, the embedded one: {self.why}"


@contextmanager
def running_server() -> Iterator[ServerUnderTest]:
    """A server in a container, or the embedded one where no container engine answers.

    Raises ``NoEngineError`` instead where the environment requires a container.
    """
    try:
        client = engine()
    except NoEngineError as error:
        if required():
            raise NoEngineError(f"{error}, and {REQUIRED} is set") from error
        with EmbeddedServer() as server:
            yield ServerUnderTest(server.url, _version(server.url), None, str(error))
        return
    with closing(client):
        name = image(client)
    with _container(name) as url:
        yield ServerUnderTest(url, _version(url), name)


def required() -> bool:
    """Whether only a container will do."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


def engine() -> docker.DockerClient:
    """A client of the container engine. Raises ``NoEngineError`` where none answers."""
    try:
        client = DockerClient(timeout=_ENGINE_SECONDS).client
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        where = os.environ.get("DOCKER_HOST") or "/var/run/docker.sock"
        raise NoEngineError(f"no container engine answers at {where}: {_cause(error)}") from error
    client.api.timeout = _PULL_SECONDS
    return client


def image(client: docker.DockerClient) -> str:
    """The image to use: the official one if it can be had soon, or one built here."""
    if _present(client, OFFICIAL_IMAGE) or _pull(OFFICIAL_IMAGE):
        return OFFICIAL_IMAGE
    return _build(client)


def _present(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def _pull(name: str) -> bool:
    """Whether the image could be pulled in time.

    Without a network that fails at once. A registry that never answers, or a slow one, is given up;
    docker-py can limit single reads only, hence the thread.
    """
    pulled = threading.Event()

    def pull() -> None:
        with closing(DockerClient(timeout=_PULL_SECONDS).client) as client:
            try:
                client.images.pull(name)
            except (docker.errors.DockerException, requests.exceptions.RequestException):
                return
            pulled.set()

    thread = threading.Thread(target=pull, daemon=True)
    thread.start()
    thread.join(_PULL_SECONDS)
    return pulled.is_set()


def _build(client: docker.DockerClient) -> str:
    """An image of the embedded server's binary and nothing else; built once for each version."""
    binary = find_binary()
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v(\d\S*)", said)
    assert version, said
    name = f"nats-spark-test/nats:{version[1]}"
    if not _present(client, name):
        with tempfile.TemporaryDirectory(prefix="nats-image-") as folder:
            shutil.copy(_DOCKERFILE, folder)
            shutil.copy(binary, Path(folder) / "nats-server")
            client.images.build(path=folder, tag=name, rm=True)
    return name


@contextmanager
def _container(name: str) -> Iterator[str]:
    """The URL of a container of this image, which is removed at the end."""
    # Ryuk, the container that would remove ours if this process were killed, is one more image to
    # pull. Without it, this `with` removes the container.
    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(name).with_command(["--jetstream", "--store_dir", "/data"])
    with container.with_exposed_ports(_CLIENT_PORT):
        host = os.environ.get("TESTCONTAINERS_HOST_OVERRIDE") or container.get_container_host_ip()
        url = f"nats://{host}:{container.get_exposed_port(_CLIENT_PORT)}"
        try:
            wait_until(lambda: _has_jetstream(url), _READY_SECONDS, 0.1)
        except AssertionError as error:
            log = b"".join(container.get_logs()).decode(errors="replace")
            raise AssertionError(
                f"{name} at {url} has no JetStream yet; its log:\n{log}"
            ) from error
        yield url


def _has_jetstream(url: str) -> bool:
    async def ask() -> bool:
        try:
            client = await _connect(url)
            try:
                await client.jetstream(timeout=2).account_info()
            finally:
                await client.close()
        except (nats.errors.Error, APIError, OSError):
            return False
        return True

    return asyncio.run(ask())


def _version(url: str) -> str:
    async def ask() -> str:
        client = await _connect(url)
        try:
            version = client.connected_server_version
            return f"{version.major}.{version.minor}.{version.patch}"
        finally:
            await client.close()

    return asyncio.run(ask())


async def _connect(url: str) -> Client:
    return await nats.connect(url, allow_reconnect=False, connect_timeout=2, error_cb=_pass_over)


async def _pass_over(error: Exception) -> None:
    """nats-py would print each failed attempt with its traceback."""


def _cause(error: BaseException) -> str:
    """The innermost reason, which is the one that tells something."""
    while error.__context__ is not None:
        error = error.__context__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def main() -> int:
    try:
        client = engine()
    except NoEngineError as error:
        print(error, file=sys.stderr)
        return 1
    with closing(client):
        print(image(client))
    return 0


if __name__ == "__main__":
    sys.exit(main())
