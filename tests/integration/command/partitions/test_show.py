"""``show``: state, skew, rates and lag of a set, and sets that are incomplete."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nats_spark_common.cli import partitions
from nats_spark_common.embedded import EmbeddedServer

from ...._support import transforms
from ...._support.admin import Admin, wait_until
from ...._support.partitions_command import Run, config, create, wait_for


def figures(run: Run, prefix: str, *more: str) -> dict[str, Any]:
    code, out, err = run("show", prefix, "--json", *(more or ("--interval", "0")))
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_show_reports_the_state_of_the_server(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i % 11}.x", b"p" * 50) for i in range(110))
    wait_for(admin, stream, 110)
    shown = figures(run, stream)
    for each in [*shown["partitions"], *shown["ingest"]]:
        state = admin.info(each["stream"]).state
        assert (each["messages"], each["bytes"]) == (state.messages, state.bytes)
        assert (each["first_seq"], each["last_seq"]) == (state.first_seq, state.last_seq)
        assert 0 < each["last_message_age_seconds"] < 20
    assert [each["stream"] for each in shown["ingest"]] == [f"{stream}-ingest"]
    assert [each["lag"] for each in shown["partitions"]] == [0, 0, 0]
    assert shown["total"]["messages"] == 110
    assert sum(each["share"] for each in shown["partitions"]) == pytest.approx(1.0)
    assert (shown["subject"], shown["key"]) == (f"{stream}.*.>", "1")


def test_show_reports_the_skew_of_a_set(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k.x", b"") for _ in range(30))  # one key
    wait_for(admin, stream, 30)
    assert figures(run, stream)["skew"] == pytest.approx(3.0)
    full = transforms.partition(3, ["k"])
    assert (
        f"skew   3.00: {stream}-{full} has 3.00 times the mean"
        in run("show", stream, "--interval", "0")[1]
    )


def test_rates_are_measured_between_two_snapshots(
    run: Run, admin: Admin, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(10))
    wait_for(admin, stream, 10)
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        time.sleep(seconds)  # long compared with the time that a snapshot takes
        admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(20))
        wait_for(admin, stream, 30)

    monkeypatch.setattr(partitions, "time", SimpleNamespace(sleep=sleep))
    shown = figures(run, stream, "--interval", "1500ms")
    assert waited == [1.5]
    seconds, total = shown["interval_seconds"], shown["total"]
    assert total["messages_per_second"] * seconds == pytest.approx(20)
    assert total["bytes_per_second"] * seconds == pytest.approx(total["bytes"] * 2 / 3, rel=0.1)
    assert shown["ingest"][0]["messages_per_second"] * seconds == pytest.approx(20, rel=0.2)


def test_show_reports_the_lag_of_a_full_partition(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream, 1)
    full = config(admin, f"{stream}-0") | {"max_msgs": 5, "discard": "new"}
    admin.api(f"STREAM.UPDATE.{stream}-0", **full)
    admin.publish_many((f"{stream}.k.x", b"") for _ in range(25))
    shown = wait_until(lambda: (s := figures(run, stream))["total"]["lag"] and s)
    assert shown["total"]["messages"] == 5
    assert 0 < shown["total"]["lag"] <= 20


def test_show_reads_a_set_that_was_created_by_hand_on_any_server(
    run: Run, server: EmbeddedServer, server_admin: Admin, stream: str
) -> None:
    for i in range(2):
        server_admin.create_stream(f"{stream}-{i}", [f"{stream}.{i}.>"])
    server_admin.publish(f"{stream}.1.x", b"")
    code, out, _ = run("show", stream, "--json", "--interval", "0", url=server.url)
    shown = json.loads(out)
    assert code == 0
    assert [each["messages"] for each in shown["partitions"]] == [0, 1]
    assert (shown["ingest"], shown["subject"], shown["total"]["lag"]) == ([], None, None)
    assert run("show", stream, "--interval", "0", url=server.url)[0] == 0


def test_show_is_a_table_with_aligned_columns(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(1_200))
    wait_for(admin, stream, 1_200)
    code, out, _ = run("show", stream, "--interval", "10ms")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"{stream}: 3 partitions of {stream}.*.> by wildcard 1"
    *_, total, ingest = [line for line in lines if line.startswith((f"{stream}-", "all "))]
    ends = {line.index("1,200") + len("1,200") for line in (total, ingest)}
    assert ends == {lines[2].index("messages") + len("messages")}


def test_show_notes_a_missing_ingest_stream(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-ingest")
    out = run("show", stream, "--interval", "0")[1]
    assert f"note   the sourced stream {stream}-ingest does not exist" in out


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_gap_in_the_numbering_is_an_error_with_the_existing_streams(
    run: Run, fails: Callable[..., str], admin: Admin, stream: str, gone: int
) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-{gone}")
    line = fails("show", stream)
    left = ", ".join(f"{stream}-{i}" for i in range(3) if i != gone)
    assert f"{stream}-{gone} missing, {left} found" in line


def test_a_missing_set_is_an_error_with_the_existing_sets(
    run: Run, fails: Callable[..., str], stream: str
) -> None:
    create(run, stream)
    line = fails("show", stream.lower())
    assert f"stream {stream.lower()}-0 does not exist" in line
    assert stream in line
