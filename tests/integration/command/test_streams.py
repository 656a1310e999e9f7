"""``nats-spark streams``, ``peek`` and ``bench``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from nats_spark_common.embedded import EmbeddedServer

from ..._support.admin import Admin, mirror
from .conftest import Command

AsJson = Callable[..., Any]


def test_streams_are_listed_with_their_figures(as_json: AsJson, admin: Admin, stream: str) -> None:
    admin.create_stream(stream, [f"{stream}.a", f"{stream}.b"])
    for _ in range(3):
        admin.publish(f"{stream}.a", b"x" * 100)
    (found,) = as_json("streams", stream, "--interval", "0")
    assert found == {
        "stream": stream,
        "subjects": [f"{stream}.a", f"{stream}.b"],
        "sources": [],
        "retention": "limits",
        "direct": True,
        "messages": 3,
        "bytes": admin.info(stream).state.bytes,
        "firstSeq": 1,
        "lastSeq": 3,
        "messagesPerSecond": None,
    }


def test_streams_are_chosen_by_a_pattern(command: Command, admin: Admin, stream: str) -> None:
    for each in ("A", "B"):
        admin.create_stream(f"{stream}{each}")
    mirror(admin, f"{stream}C", f"{stream}A", seq=admin.publish(f"{stream}A.x"))
    code, out, err = command("streams", f"{stream}*", "--interval", "10ms")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split()[:4] == ["stream", "subjects", "retention", "direct"]
    assert [row.split()[0] for row in rows] == [f"{stream}{each}" for each in "ABC"]
    assert f"of {stream}A" in rows[2]
    code, out, err = command("streams", f"no{stream}*", "--interval", "0")
    assert (code, out) == (0, "")
    assert "has no stream" in err


def test_the_rate_is_measured(
    as_json: AsJson, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.create_stream(stream)
    monkeypatch.setattr(
        "nats_spark_common.cli.streams.time.sleep", lambda _: admin.fill(stream, 50)
    )
    (found,) = as_json("streams", stream)
    assert found["messagesPerSecond"] > 0


@pytest.fixture
def filled(server_admin: Admin, stream: str) -> str:
    server_admin.create_stream(stream)
    server_admin.fill(stream, 50)
    return stream


def test_peek_shows_the_first_rows(as_json: AsJson, server: EmbeddedServer, filled: str) -> None:
    found = as_json("peek", filled, url=server.url)
    assert [each["streamSeq"] for each in found] == list(range(1, 11))
    assert found[0]["content"].startswith("0....")
    assert found[0]["stream"] == filled


@pytest.mark.parametrize(
    ("arguments", "seqs"),
    [
        (["-n", "3", "--start", "48"], [48, 49, 50]),
        (["-n", "2", "--subject", "{}.4"], [5, 15]),
        (["-n", "3", "--start", "6", "--subject", "{}.4", "--subject", "{}.5"], [6, 15, 16]),
        (["-n", "100", "--start", "50"], [50]),
        (["--start", "latest"], []),
    ],
)
def test_peek_starts_and_filters_as_a_query(
    as_json: AsJson, server: EmbeddedServer, filled: str, arguments: list[str], seqs: list[int]
) -> None:
    named = [each.format(filled) for each in arguments]
    found = as_json("peek", filled, *named, url=server.url)
    assert [each["streamSeq"] for each in found] == seqs


def test_peek_shows_headers_and_decompressed_payloads(
    command: Command, as_json: AsJson, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.publish(f"{stream}.a", gzip.compress(b'{"price": 3}'), {"Trace": "17"})
    compression = ["-o", "nats.payload.compression=gzip"]
    (found,) = as_json("peek", stream, *compression)
    assert json.loads(found["content"]) == {"price": 3}
    assert found["headers"] == {"Trace": ["17"]}
    code, out, err = command("peek", stream, *compression)
    assert (code, err) == (0, "")
    assert [line.strip() for line in out.splitlines()[1:]] == ["Trace: 17", '{"price": 3}']


def test_peek_shows_bytes_as_hexadecimal_and_never_controls_the_terminal(
    command: Command, as_json: AsJson, admin: Admin, stream: str
) -> None:
    admin.create_stream(stream)
    admin.publish(f"{stream}.a", b"\xff\x00\x01")
    admin.publish(f"{stream}.a", b"red \x1b[31m", {"Colour": "\x1b[31m"})
    first, second = as_json("peek", stream)
    assert first["contentBase64"] == "/wAB"
    assert second["content"] == "red \x1b[31m"
    _, out, _ = command("peek", stream)
    assert "ff 00 01" in out
    assert "\x1b" not in out


def test_peek_at_a_stream_that_does_not_exist_is_one_line(command: Command, stream: str) -> None:
    code, out, err = command("peek", stream)
    assert (code, out) == (1, "")
    assert f"stream '{stream}' does not exist" in err


def test_bench_measures_and_leaves_nothing(as_json: AsJson, admin: Admin) -> None:
    before = admin.api("STREAM.NAMES").get("streams") or []
    found = as_json("bench", "--messages", "2000", "--size", "100")
    assert (found["messages"], found["size"], found["replicas"]) == (2000, 100, 1)
    assert found["writePerSecond"] > 0
    assert found["readPerSecond"] > 0
    assert sorted(admin.api("STREAM.NAMES").get("streams") or []) == sorted(before)


def test_bench_removes_its_stream_after_a_failure(command: Command, admin: Admin) -> None:
    before = admin.api("STREAM.NAMES").get("streams") or []
    code, _, err = command("bench", "--messages", "10", "--size", "2MiB")
    assert code == 1
    assert "max_payload" in err
    assert sorted(admin.api("STREAM.NAMES").get("streams") or []) == sorted(before)


def test_bench_is_bounded(command: Command) -> None:
    code, _, err = command("bench", "--messages", "10000000", "--size", "1MiB")
    assert code == 2
    assert "use fewer or smaller ones" in err
