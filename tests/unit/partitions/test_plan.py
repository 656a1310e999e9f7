"""Partitioned sets: the configurations of their streams, and what is rejected."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import OptionError, PartitionSetError
from nats_spark_common.partitions.plan import PartitionSet, plan
from nats_spark_common.protocol.partition_names import abbreviate, partition_index, partitions_among
from nats_spark_common.protocol.subjects import matches

from ..._support.transforms import fnv1a, transform

NEW = (2, 15, 1)

tokens = st.text("abcXYZ019_-ü", min_size=1, max_size=4)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Generate subjects that a set can divide."""
    parts = [draw(tokens), *draw(st.lists(st.one_of(tokens, st.just("*")), max_size=3))]
    return ".".join(parts + [">"] * draw(st.integers(0, 1)))


@st.composite
def sets_and_subjects(draw: st.DrawFn) -> tuple[PartitionSet, str]:
    """Generate a set, and a subject that its ingest stream takes."""
    pattern = draw(patterns())
    divided = set(pattern.split(".")) & {"*", ">"}
    count = draw(st.integers(1, 20)) if divided else 1
    wildcards = list(range(1, pattern.split(".").count("*") + 1))
    keys = st.permutations(wildcards).map(lambda order: ",".join(map(str, order)))
    key = draw(st.one_of(st.none(), st.just("subject"), *([keys] if wildcards else [])))
    subject: list[str] = []
    for token in pattern.split("."):
        if token == ">":
            subject += draw(st.lists(tokens, min_size=1, max_size=3))
        else:
            subject.append(draw(tokens) if token == "*" else token)
    return plan(draw(tokens), pattern, count, key=key), ".".join(subject)


def routes(wanted: PartitionSet, subject: str) -> list[tuple[int, str]]:
    """Return the partitions that take a message, with its subject there."""
    ingest, *partitions = wanted.configs(NEW)
    stored = transform(**ingest["subject_transform"], subject=subject)
    assert stored is not None, "the ingest stream transforms all that it takes"
    found = []
    for i, partition in enumerate(partitions):
        [source] = partition["sources"]
        [route] = source["subject_transforms"]
        there = transform(**route, subject=stored)
        if there is not None:
            found.append((i, there))
    return found


@given(sets_and_subjects())
def test_every_message_goes_to_one_partition_and_keeps_its_subject_there(
    case: tuple[PartitionSet, str],
) -> None:
    wanted, subject = case
    assert matches(wanted.subject, subject)
    [(_, there)] = routes(wanted, subject)
    assert there == subject


@given(st.lists(tokens, min_size=2, max_size=2), tokens, tokens)
def test_subjects_with_the_same_key_go_to_the_same_partition(
    rest: list[str], key: str, other: str
) -> None:
    wanted = plan("P", "a.*.*.>", 7, key="2")
    one = routes(wanted, f"a.{other}.{key}.{rest[0]}")
    two = routes(wanted, f"a.x.{key}.{rest[1]}")
    assert one[0][0] == two[0][0]


def test_the_hash_is_the_servers() -> None:
    # Published test vectors of 32-bit FNV-1a.
    assert [fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


@pytest.mark.parametrize(
    ("subject", "key", "function"),
    [
        ("orders.*.>", None, "{{partition(3,1)}}"),
        ("orders.*.*", None, "{{partition(3,1,2)}}"),
        ("orders.*.*", "2", "{{partition(3,2)}}"),
        ("orders.*.*", "2,1", "{{partition(3,2,1)}}"),
        ("orders.*", "subject", "{{partition(3)}}"),
        ("orders.>", None, "{{partition(3)}}"),
    ],
)
def test_the_hash_is_of_the_key(subject: str, key: str | None, function: str) -> None:
    ingest = plan("P", subject, 3, key=key).configs(NEW)[0]
    assert ingest["subject_transform"]["dest"].split(".")[1] == function


def test_the_streams_of_a_set() -> None:
    wanted = plan(
        "P", "o.*.>", 2, max_age=60.0, max_bytes=1000, ingest_max_age=30.0, storage="memory"
    )
    ingest, first, second = wanted.configs(NEW)
    assert [ingest["name"], first["name"], second["name"]] == wanted.names()
    assert wanted.names() == ["P-ingest", "P-0", "P-1"]
    assert (ingest["subjects"], "subjects" in first) == (["o.*.>"], False)
    assert (ingest["max_age"], ingest["max_bytes"]) == (30 * 10**9, -1)
    assert (first["max_age"], first["max_bytes"]) == (60 * 10**9, 1000)
    assert all(each["allow_direct"] for each in (ingest, first, second))
    assert {each["storage"] for each in (ingest, first, second)} == {"memory"}


def test_fast_batches_are_allowed_if_the_server_supports_them() -> None:
    wanted = plan("P", "o.*", 2)
    assert [wanted.configs(v)[0].get("allow_batched") for v in ((2, 14), (2, 12))] == [True, None]
    assert "allow_batched" not in wanted.configs(NEW)[1]


def test_a_server_that_deduplicates_sources_gets_the_minimum_window() -> None:
    wanted = plan("P", "o.*", 2)
    windows = [wanted.configs(v)[1].get("duplicate_window") for v in ((2, 12, 8), (2, 14, 0))]
    assert windows == [100_000_000, None]


def test_a_server_without_transforms_is_rejected() -> None:
    with pytest.raises(PartitionSetError, match=r"server 2\.9\.10 .* upgrade it to 2\.10 or later"):
        plan("P", "o.*", 2).configs((2, 9, 10))


def test_a_key_that_the_server_does_not_support_is_rejected() -> None:
    wanted = plan("P", "o.>", 2)
    with pytest.raises(PartitionSetError, match=r"2\.11\.0 .* the whole subject .* 2\.12 or later"):
        wanted.configs((2, 11, 0))
    assert len(wanted.configs((2, 12, 0))) == 3


def test_a_single_partition_needs_no_hash() -> None:
    ingest = plan("P", "o.>", 1).configs((2, 10, 0))[0]
    assert ingest["subject_transform"]["dest"] == "P.0.o.>"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prefix": "a.b"}, r"PREFIX 'a\.b' is not a valid stream name"),
        ({"prefix": ""}, "PREFIX '' is not a valid stream name"),
        ({"prefix": "a b"}, "PREFIX 'a b' is not a valid stream name"),
        ({"prefix": "a*"}, r"PREFIX 'a\*' is not a valid stream name"),
        ({"prefix": "{{x}}"}, "PREFIX '{{x}}' contains {, } or"),
        ({"prefix": "x" * 201}, "longer than 200 bytes"),
        ({"count": 0}, "--partitions 0 is out of range: use 1 to 256"),
        ({"count": 257}, "--partitions 257 is out of range: use 1 to 256"),
        ({"subject": ">"}, "--subject '>': it also matches JetStream's own subjects"),
        ({"subject": "*.>"}, "it also matches JetStream's own subjects"),
        ({"subject": ""}, "--subject '': use non-empty tokens"),
        ({"subject": "a..b"}, r"--subject 'a\.\.b': use non-empty tokens"),
        ({"subject": "a b.*"}, "without whitespace"),
        ({"subject": "a.>.b"}, "> must be the last token"),
        ({"subject": "a.b*"}, "a wildcard must be a whole token"),
        ({"subject": "a.*,b.*"}, "a set divides one subject"),
        ({"subject": "a.$1.*"}, r"no tokens that begin with \$"),
        ({"subject": "a.{{wildcard(1)}}.*"}, "braces"),
        ({"subject": "a.b"}, r"--subject a\.b has no wildcard, .* one key .* --partitions 1"),
        ({"key": "2"}, r"--key 2: wildcard 2 does not exist\. --subject a\.\* has one wildcard"),
        ({"key": "0"}, "--key 0: wildcard 0 does not exist"),
        ({"key": "1,1"}, "--key 1,1 names a wildcard twice"),
        ({"key": "x"}, "--key 'x': use the numbers"),
        ({"key": ""}, "--key '': use the numbers"),
        ({"key": "²"}, "--key '²': use the numbers"),
        ({"subject": "a.>", "key": "1"}, r"--subject a\.> has no wildcard \*"),
        ({"subject": "a.*.*", "key": "3"}, "has 2 wildcards .: use numbers from 1 to 2"),
        ({"ingest": "a.b"}, r"--ingest 'a\.b' is not a valid stream name"),
        ({"ingest": "P-7"}, "--ingest P-7 is the name of a partition: use P-ingest"),
    ],
)
def test_a_wrong_argument_is_rejected_with_its_value_and_a_fix(
    arguments: dict[str, Any], words: str
) -> None:
    asked: dict[str, Any] = {"prefix": "P", "subject": "a.*", "count": 2, **arguments}
    with pytest.raises(OptionError, match=words):
        plan(asked.pop("prefix"), asked.pop("subject"), asked.pop("count"), **asked)


def test_partitions_are_known_by_their_names() -> None:
    names = ["P-10", "P-2", "P-01", "P-", "P-x", "PP-3", "P-ingest", "P-0", "P-1-0", "P-٣"]
    assert partitions_among("P", names) == {0: "P-0", 2: "P-2", 10: "P-10"}
    assert partition_index("P.*", "Pxx-1") is None  # the prefix is no expression


def test_neighboring_partitions_are_shown_together() -> None:
    names = ["P-ingest", "P-0", "P-1", "P-2", "P-4", "P-5"]
    assert abbreviate("P", names) == "P-ingest, P-0 ... P-2, P-4, P-5"
