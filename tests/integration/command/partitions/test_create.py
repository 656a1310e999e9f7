"""``create``: the streams that it creates, and existing streams that it leaves unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from nats_spark_common.embedded import EmbeddedServer

from ...._support.admin import Admin
from ...._support.partitions_command import Run, config, create, names, wait_for


def test_create_reports_the_streams_and_the_options_of_a_query(
    run: Run, admin: Admin, stream: str
) -> None:
    out = create(run, stream, 4)
    assert names(admin, stream) == [f"{stream}-{i}" for i in range(4)] + [f"{stream}-ingest"]
    assert f"created  {stream}-ingest, {stream}-0 ... {stream}-3\n" in out
    assert f'.option("nats.stream.prefix", "{stream}")' in out
    assert '.option("nats.num.partitions", "4")' in out
    assert "stored twice" in out
    assert "--ingest-max-age" in out


def test_every_stream_allows_direct_gets_and_has_the_requested_limits(
    run: Run, admin: Admin, stream: str
) -> None:
    limits = ["--max-age", "7d", "--max-bytes", "1GiB", "--ingest-max-age", "1h"]
    create(run, stream, 2, *limits, "--storage", "memory", "--ingest", f"{stream}-all")
    ingest, first = config(admin, f"{stream}-all"), config(admin, f"{stream}-0")
    assert (ingest["max_age"], ingest["max_bytes"]) == (3_600 * 10**9, -1)
    assert (first["max_age"], first["max_bytes"]) == (7 * 86_400 * 10**9, 1 << 30)
    assert [each["allow_direct"] for each in (ingest, first)] == [True, True]
    assert [each["storage"] for each in (ingest, first)] == ["memory", "memory"]


def test_a_second_create_changes_nothing_and_says_so(run: Run, admin: Admin, stream: str) -> None:
    create(run, stream)
    before = [admin.api(f"STREAM.INFO.{name}")["created"] for name in names(admin, stream)]
    out = create(run, stream)
    assert out.startswith(f"existed  {stream}-ingest, {stream}-0 ... {stream}-2\n")
    assert "created " not in out
    after = [admin.api(f"STREAM.INFO.{name}")["created"] for name in names(admin, stream)]
    assert before == after


def test_a_second_create_creates_what_is_missing_and_it_catches_up(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-1")
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(30))
    out = create(run, stream)
    assert out.startswith(f"created  {stream}-1\nexisted  {stream}-ingest, {stream}-0, {stream}-2")
    wait_for(admin, stream, 30)


def test_a_second_create_reports_messages_that_a_new_partition_misses(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream)
    admin.publish_many((f"{stream}.k{i}.x", b"") for i in range(30))
    admin.purge(f"{stream}-ingest")
    admin.delete_stream(f"{stream}-1")
    assert f"{stream}-ingest has removed its first 30 messages" in create(run, stream)


@pytest.mark.parametrize(
    ("count", "more", "words"),
    [
        (4, [], "-ingest exists and differs: --partitions is 3, not 4"),
        (2, [], "-ingest exists and differs: --partitions is 3, not 2"),
        (3, ["--key", "subject"], "-ingest exists and differs: --key is 1, not subject"),
        (3, ["--max-age", "1h"], "-0 exists and differs: --max-age is unlimited, not 3600s"),
        (3, ["--ingest", "OTHER"], "-0 exists and differs: --ingest is"),
        (3, ["--storage", "memory"], "-ingest exists and differs: --storage is file, not memory"),
    ],
)
def test_a_set_that_differs_is_left_as_it_is(
    run: Run,
    fails: Callable[..., str],
    admin: Admin,
    stream: str,
    count: int,
    more: list[str],
    words: str,
) -> None:
    create(run, stream)
    admin.delete_stream(f"{stream}-1")  # it would be recreated
    before = {name: config(admin, name) for name in names(admin, stream)}
    subject = ["--subject", f"{stream}.*.>", "--partitions", str(count)]
    line = fails("create", stream, *subject, *more)
    assert f"stream {stream}{words}" in line
    assert "nothing was changed" in line
    assert {name: config(admin, name) for name in names(admin, stream)} == before


def test_a_stream_of_the_same_name_is_rejected_before_anything_is_created(
    fails: Callable[..., str], admin: Admin, stream: str
) -> None:
    admin.create_stream(f"{stream}-2", ["other." + stream])
    line = fails("create", stream, "--subject", f"{stream}.*", "--partitions", "3")
    assert f"stream {stream}-2 exists and was not created by this command" in line
    assert names(admin, stream) == [f"{stream}-2"]


def test_a_stream_that_would_be_one_more_partition_is_rejected(
    fails: Callable[..., str], admin: Admin, stream: str
) -> None:
    admin.create_stream(f"{stream}-3", ["other." + stream])
    line = fails("create", stream, "--subject", f"{stream}.*", "--partitions", "3")
    assert f"stream {stream}-3 exists and would be partition 3" in line
    assert names(admin, stream) == [f"{stream}-3"]


@pytest.mark.parametrize("theirs", ["{}.>", "{}.a.b", "{}.*.b"])
def test_a_subject_of_another_stream_is_rejected_before_anything_is_created(
    fails: Callable[..., str], admin: Admin, stream: str, theirs: str
) -> None:
    other, theirs = f"X{stream}", theirs.format(stream)
    admin.create_stream(other, [theirs])
    line = fails("create", stream, "--subject", f"{stream}.*.>", "--partitions", "3")
    assert f"overlaps with stream {other}, which stores {theirs}" in line
    assert names(admin, stream) == []
    admin.delete_stream(other)


def test_a_dry_run_prints_the_configurations_and_creates_nothing(
    run: Run, admin: Admin, stream: str
) -> None:
    arguments = ["--subject", f"{stream}.*.>", "--partitions", "2"]
    code, out, err = run("create", stream, *arguments, "--dry-run")
    planned = json.loads(out)
    assert (code, names(admin, stream)) == (0, [])
    assert "nothing was created: 3 streams to create" in err
    create(run, stream, 2)
    for each in planned:
        found = config(admin, each["name"])
        found["metadata"] = {k: v for k, v in found["metadata"].items() if k[0] != "_"}
        assert {field: found.get(field) for field in each} == each


def test_an_old_server_is_rejected(
    fails: Callable[..., str], old_nats_server: EmbeddedServer, stream: str
) -> None:
    arguments = ["--subject", f"{stream}.*", "--partitions", "2"]
    line = fails("create", stream, *arguments, url=old_nats_server.url)
    assert "NATS server 2.9.10 has no subject transforms, which partitioned sets need" in line
