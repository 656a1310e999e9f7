"""Checkpoints in object storage: the S3 of moto, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ..._support.admin import Admin
from .conftest import Command, Stopped

AsJson = Callable[..., Any]
BUCKET = "checkpoints"


class Storage:
    """A bucket, in which objects have no folders."""

    def __init__(self, port: int) -> None:
        endpoint = f"127.0.0.1:{port}"
        self.client = boto3.client("s3", endpoint_url=f"http://{endpoint}", region_name="us-east-1")
        self._query = f"endpoint_override={endpoint}&scheme=http&region=us-east-1"

    def url(self, folder: str) -> str:
        return f"s3a://{BUCKET}/{folder}?{self._query}"

    def upload(self, source: Path, folder: str) -> None:
        """Copy a checkpoint as Spark writes it here, which is without checksums."""
        for path in source.rglob("*"):
            if path.is_file() and path.suffix != ".crc":
                key = f"{folder}/{path.relative_to(source)}"
                self.client.upload_file(str(path), BUCKET, key)

    def download(self, folder: str, target: Path) -> None:
        for found in self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{folder}/")["Contents"]:
            path = target / found["Key"].removeprefix(f"{folder}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not found["Key"].endswith("/"):
                self.client.download_file(BUCKET, found["Key"], str(path))


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    found = Storage(server.get_host_and_port()[1])
    found.client.create_bucket(Bucket=BUCKET)
    yield found
    server.stop()


def test_a_query_is_rewound_in_object_storage(
    as_json: AsJson, command: Command, stopped: Stopped, storage: Storage, admin: Admin
) -> None:
    admin.fill(stopped.stream, 10)
    storage.upload(stopped.folder, "orders")
    url = storage.url("orders")
    assert as_json("lag", url)["sources"][0]["lag"] == 10
    found = as_json("offsets", "set", url, "--to", "41", "--settle", "0")
    assert (found["batch"], found["written"]) == (1, True)
    shown = as_json("offsets", "show", url, "--batch", "1", url=None)
    assert shown["sources"][0]["streams"][0]["position"] == 40
    _, out, _ = command("offsets", "show", url, url=None)
    assert "endpoint_override" not in out, "a query string may have secrets"
    for path in stopped.folder.rglob("*"):
        if path.is_file():
            path.unlink()
    storage.download("orders", stopped.folder)
    assert stopped.run() == [[], list(range(41, 111))]


def test_a_folder_of_the_bucket_that_is_no_checkpoint(command: Command, storage: Storage) -> None:
    code, _, err = command("lag", storage.url("nothing"))
    assert code == 2
    assert f"s3a://{BUCKET}/nothing does not exist or is empty" in err
    assert "endpoint_override" not in err


def test_a_bucket_that_does_not_exist(command: Command, storage: Storage) -> None:
    code, _, err = command("lag", storage.url("x").replace(BUCKET, "elsewhere"))
    assert code == 2
    assert err.startswith("nats-spark: ")
    assert "s3a://elsewhere/x" in err
