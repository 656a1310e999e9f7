"""A set of partitions: which messages each stream stores, and in which form."""

from __future__ import annotations

import pytest

from nats_spark_common.embedded import EmbeddedServer

from ...._support import transforms
from ...._support.admin import Admin, wait_until
from ...._support.options import options
from ...._support.partitions_command import Run, config, create, wait_for
from ...._support.writing import write


@pytest.mark.parametrize("count", [1, 3])
def test_a_key_is_in_one_partition_in_order_under_its_own_subjects(
    run: Run, admin: Admin, stream: str, count: int
) -> None:
    create(run, stream, count)
    sent = [(f"{stream}.k{i % 37}.a.{i % 5}", str(i).encode()) for i in range(2_000)]
    admin.publish_many(sent)
    wait_for(admin, stream, len(sent), count)
    for number in range(count):
        expected = [
            (subject, payload)
            for subject, payload in sent
            if transforms.partition(count, [subject.split(".")[1]]) == number
        ]
        assert expected, "every partition has a share of these keys"
        stored = admin.read_all(f"{stream}-{number}")
        assert [(each.subject, each.payload) for each in stored] == expected


def test_a_key_of_several_wildcards(run: Run, admin: Admin, stream: str) -> None:
    arguments = ["--subject", f"{stream}.*.x.*.*", "--partitions", "3", "--key", "3,1"]
    assert run("create", stream, *arguments)[0] == 0
    subjects = [f"{stream}.a{i % 4}.x.b{i}.c{i % 3}" for i in range(60)]
    admin.publish_many((subject, b"") for subject in subjects)
    wait_for(admin, stream, len(subjects))
    for number in range(3):
        for each in admin.read_all(f"{stream}-{number}"):
            _, a, _, _, c = each.subject.split(".")
            assert transforms.partition(3, [c, a]) == number


def test_a_subject_without_a_token_wildcard_is_divided_by_the_whole_subject(
    run: Run, admin: Admin, stream: str
) -> None:
    assert run("create", stream, "--subject", f"{stream}.>", "--partitions", "3")[0] == 0
    subjects = [f"{stream}.{i}.x" for i in range(40)]
    admin.publish_many((subject, b"") for subject in subjects * 2)
    wait_for(admin, stream, 80)
    found = [{each.subject for each in admin.read_all(f"{stream}-{i}")} for i in range(3)]
    assert sorted(set.union(*found)) == sorted(subjects)
    assert sum(map(len, found)) == 40


def test_headers_are_kept_and_the_server_adds_the_source_of_a_message(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream, 1)
    admin.publish(f"{stream}.k.x", b"1", {"A": "b", "Nats-Expected-Last-Sequence": "0"})
    wait_for(admin, stream, 1, 1)
    [stored] = admin.read_all(f"{stream}-0")
    assert stored.headers is not None
    assert stored.headers.pop("Nats-Stream-Source").startswith(f"{stream}-ingest 1 ")
    assert stored.headers == {"A": "b"}  # the ingest stream has checked it


def test_only_duplicates_of_the_ingest_stream_are_dropped(
    run: Run, admin: Admin, stream: str
) -> None:
    create(run, stream, 1)
    ingest = config(admin, f"{stream}-ingest")
    admin.api(f"STREAM.UPDATE.{stream}-ingest", **(ingest | {"duplicate_window": 100_000_000}))

    def publish(payload: bytes) -> bool:
        headers = {"Nats-Msg-Id": "1"}
        ack = admin.run(admin.js.publish(f"{stream}.k.x", payload, headers=headers))
        return not ack.duplicate

    assert [publish(b"first"), publish(b"repeat")] == [True, False]
    wait_until(lambda: publish(b"after the window"))
    wait_for(admin, stream, 2, 1)
    stored = [each.payload for each in admin.read_all(f"{stream}-0")]
    assert stored == [b"first", b"after the window"]


def test_the_sink_writes_fast_batches_to_the_subject(
    run: Run, nats_server: EmbeddedServer, admin: Admin, stream: str
) -> None:
    create(run, stream)
    assert config(admin, f"{stream}-ingest")["allow_batched"] is True
    rows = [{"subject": f"{stream}.k{i % 9}.x", "content": str(i).encode()} for i in range(3_000)]
    before = nats_server.statistics()["out_msgs"]
    assert write(options(nats_server.url), rows).counts.messages == 3_000
    assert nats_server.statistics()["out_msgs"] - before < 3_000  # fewer acks than rows
    wait_for(admin, stream, 3_000)
