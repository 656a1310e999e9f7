"""How an existing stream differs from the plan of its set."""

from __future__ import annotations

from typing import Any

import pytest

from nats_spark_common.partitions.differences import differences
from nats_spark_common.partitions.plan import plan

NEW = (2, 15, 1)


def as_server(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration as the server reports it, with the fields that it adds."""
    added = {"max_consumers": -1, "sealed": False, "compression": "none", "consumer_limits": {}}
    metadata = {**config["metadata"], "_nats.level": "5", "_nats.ver": "2.15.1"}
    return {**config, **added, "metadata": metadata}


def test_a_stream_as_it_was_created_does_not_differ() -> None:
    for config in plan("P", "o.*", 2, max_age=1.5).configs(NEW):
        assert differences(config, as_server(config)) == []


def test_what_depends_on_the_server_version_is_no_difference() -> None:
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
def test_a_difference_is_named_by_the_option_of_the_command(
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
