"""Partitioned sets: which streams they are, and what is no set. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nats_spark_common import OptionError, PartitionSetError
from nats_spark_common.partitions.plan import Mark, PartitionSet, differences, plan
from nats_spark_common.protocol.subjects import matches

from ..._support.transforms import fnv1a, transform

NEW = (2, 15, 1)

tokens = st.text("abcXYZ019_-ü", min_size=1, max_size=4)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Subjects that a set can divide."""
    parts = [draw(tokens), *draw(st.lists(st.one_of(tokens, st.just("*")), max_size=3))]
    return ".".join(parts + [">"] * draw(st.integers(0, 1)))


@st.composite
def sets_and_subjects(draw: st.DrawFn) -> tuple[PartitionSet, str]:
    """A set, and a subject that its ingest stream takes."""
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
    """The partitions that take a message, with the subject that it has there."""
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
def test_every_message_goes_to_one_partition_and_has_its_own_subject_there(
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


def test_the_hash_is_that_of_the_server() -> None:
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
def test_the_key_is_what_is_hashed(subject: str, key: str | None, function: str) -> None:
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


def test_fast_batches_are_allowed_where_the_server_has_them() -> None:
    wanted = plan("P", "o.*", 2)
    assert [wanted.configs(v)[0].get("allow_batched") for v in ((2, 14), (2, 12))] == [True, None]
    assert "allow_batched" not in wanted.configs(NEW)[1]


def test_a_server_that_looks_for_repeats_in_sources_looks_as_short_as_it_can() -> None:
    wanted = plan("P", "o.*", 2)
    windows = [wanted.configs(v)[1].get("duplicate_window") for v in ((2, 12, 8), (2, 14, 0))]
    assert windows == [100_000_000, None]


def test_a_server_without_transforms_is_refused() -> None:
    with pytest.raises(PartitionSetError, match=r"version 2\.9\.10: .* from 2\.10 on"):
        plan("P", "o.*", 2).configs((2, 9, 10))


def test_a_key_that_the_server_does_not_have_is_refused() -> None:
    wanted = plan("P", "o.>", 2)
    with pytest.raises(PartitionSetError, match=r"2\.11\.0: the whole subject .* 2\.12 on"):
        wanted.configs((2, 11, 0))
    assert len(wanted.configs((2, 12, 0))) == 3


def test_a_single_partition_needs_no_hash() -> None:
    ingest = plan("P", "o.>", 1).configs((2, 10, 0))[0]
    assert ingest["subject_transform"]["dest"] == "P.0.o.>"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prefix": "a.b"}, r"PREFIX 'a\.b': stream names hold no"),
        ({"prefix": ""}, "PREFIX '': stream names"),
        ({"prefix": "a b"}, "PREFIX 'a b': stream names"),
        ({"prefix": "a*"}, r"PREFIX 'a\*': stream names"),
        ({"prefix": "{{x}}"}, "PREFIX '{{x}}': a prefix has none of"),
        ({"prefix": "x" * 201}, "longer than 200 bytes"),
        ({"count": 0}, "--partitions 0: a set has from 1 to 256"),
        ({"count": 257}, "--partitions 257: a set has from 1 to 256"),
        ({"subject": ">"}, "--subject '>': takes JetStream's own messages"),
        ({"subject": "*.>"}, "takes JetStream's own messages"),
        ({"subject": ""}, "--subject '': a subject has tokens"),
        ({"subject": "a..b"}, r"--subject 'a\.\.b': a subject has tokens"),
        ({"subject": "a b.*"}, "no white space"),
        ({"subject": "a.>.b"}, "> can only be the last token"),
        ({"subject": "a.b*"}, "a wildcard is a whole token"),
        ({"subject": "a.*,b.*"}, "a set divides one subject"),
        ({"subject": "a.$1.*"}, r"tokens that begin with \$"),
        ({"subject": "a.{{wildcard(1)}}.*"}, "braces"),
        ({"subject": "a.b"}, r"--subject a\.b: .* single key, .* --partitions 1"),
        ({"key": "2"}, r"--key 2: there is no wildcard 2: --subject a\.\* has one wildcard"),
        ({"key": "0"}, "--key 0: there is no wildcard 0"),
        ({"key": "1,1"}, "--key 1,1: a wildcard is named twice"),
        ({"key": "x"}, "--key 'x': name wildcards"),
        ({"key": ""}, "--key '': name wildcards"),
        ({"key": "²"}, "--key '²': name wildcards"),
        ({"subject": "a.>", "key": "1"}, r"--subject a\.> has no wildcard \*"),
        ({"subject": "a.*.*", "key": "3"}, "has the wildcards . number 1 to 2"),
        ({"ingest": "a.b"}, r"--ingest 'a\.b': stream names"),
        ({"ingest": "P-7"}, "--ingest P-7: that is the name of a partition; use P-ingest"),
    ],
)
def test_what_is_no_set_is_said_with_argument_value_and_remedy(
    arguments: dict[str, Any], words: str
) -> None:
    asked: dict[str, Any] = {"prefix": "P", "subject": "a.*", "count": 2, **arguments}
    with pytest.raises(OptionError, match=words):
        plan(asked.pop("prefix"), asked.pop("subject"), asked.pop("count"), **asked)


def as_server(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as the server gives it back, with what it adds."""
    added = {"max_consumers": -1, "sealed": False, "compression": "none", "consumer_limits": {}}
    metadata = {**config["metadata"], "_nats.level": "5", "_nats.ver": "2.15.1"}
    return {**config, **added, "metadata": metadata}


def test_a_stream_as_it_was_made_does_not_differ() -> None:
    for config in plan("P", "o.*", 2, max_age=1.5).configs(NEW):
        assert differences(config, as_server(config)) == []


def test_what_a_newer_server_makes_otherwise_is_no_difference() -> None:
    wanted = plan("P", "o.*", 2)
    for new, old in zip(wanted.configs(NEW), wanted.configs((2, 10, 0)), strict=True):
        assert differences(new, as_server(old)) == []


@pytest.mark.parametrize(
    ("other", "index", "words"),
    [
        ({"count": 3}, 0, "--partitions is 2, not 3"),
        ({"subject": "o.>", "key": "subject"}, 0, r"--subject is o.*.*, not o.>"),
        ({"key": "2"}, 1, "--key is 1,2, not 2"),
        ({"storage": "memory"}, 1, "--storage is file, not memory"),
        ({"replicas": 3}, 0, "--replicas is 1, not 3"),
        ({"max_age": 90.0}, 1, "--max-age is unlimited, not 90s"),
        ({"max_bytes": 10}, 1, "--max-bytes is unlimited, not 10"),
        ({"ingest_max_age": 0.5}, 0, "--ingest-max-age is unlimited, not 0.5s"),
        ({"ingest": "Q"}, 1, "--ingest is P-ingest, not Q"),
    ],
)
def test_what_differs_is_said_in_the_words_of_the_command(
    other: dict[str, Any], index: int, words: str
) -> None:
    basis: dict[str, Any] = {"prefix": "P", "subject": "o.*.*", "count": 2}
    found = plan(**basis).configs(NEW)[index]
    wanted = plan(**{**basis, **other}).configs(NEW)[index]
    assert words in differences(wanted, as_server(found))


def test_a_stream_whose_transform_was_edited_differs() -> None:
    ingest = plan("P", "o.*", 2).configs(NEW)[0]
    edited = as_server(ingest) | {"subject_transform": {"src": "o.*", "dest": "x.{{wildcard(1)}}"}}
    assert differences(ingest, edited) == ["its subjects, transforms or sources were changed"]


def test_the_mark_tells_what_the_set_was_made_with() -> None:
    ingest, first = plan("P", "o.*", 1, ingest="I").configs(NEW)
    assert Mark.of(ingest) == Mark("P", 1, None, "o.*", "1", "I")
    assert Mark.of(first) == Mark("P", 1, 0, "o.*", "1", "I")


def test_a_copy_of_a_stream_of_a_set_is_not_of_the_set() -> None:
    first = plan("P", "o.*", 1).configs(NEW)[1]
    assert Mark.of(first | {"name": "BACKUP"}) is None


@pytest.mark.parametrize("metadata", [None, {}, {"nats-spark.partitions.prefix": "P"}])
def test_a_stream_with_other_metadata_bears_no_mark(metadata: dict[str, str] | None) -> None:
    assert Mark.of({"name": "P-0", "metadata": metadata}) is None


def test_a_mark_with_a_count_that_is_none_is_no_mark() -> None:
    first = plan("P", "o.*", 1).configs(NEW)[1]
    broken = first["metadata"] | {"nats-spark.partitions.count": "many"}
    assert Mark.of(first | {"metadata": broken}) is None
