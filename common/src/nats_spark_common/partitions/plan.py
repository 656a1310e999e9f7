"""Partitioned sets: streams that divide one subject, so that a key is always in the same stream.

An ingest stream takes the subject and stores each message under the number of its partition:
``orders.k17.new`` becomes ``ORDERS.3.orders.k17.new``. Partition 3 sources the subjects with that
number and restores their original form. Pure.

Source: ADR-30 (subject transforms), nats-server ``server/subject_transform.go``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..errors import OptionError, PartitionSetError
from ..jetstream.api import FAST_BATCH_VERSION
from ..protocol.partition_names import partition_index, partition_name
from ..protocol.subjects import is_name, overlap
from .mark import WHOLE_SUBJECT, Mark, default_ingest_name, key_text

#: The first server version with subject transforms and metadata of streams.
TRANSFORM_VERSION = (2, 10)
#: The first server version that hashes the whole subject if ``partition`` names no wildcard.
WHOLE_SUBJECT_VERSION = (2, 12)
#: The first server version that sources messages without checking their message ids.
SOURCES_REPEATS_VERSION = (2, 14)

#: Each partition costs the server a consumer of the ingest stream, and Spark a task in each batch.
MAX_PARTITIONS = 256

_JETSTREAM = "$JS.>"
_MAX_NAME_BYTES = 200  # the server allows 255; the number and "-ingest" must fit, too
_MIN_DUPLICATE_WINDOW_NS = 100_000_000  # the server's minimum
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class PartitionSet:
    """A requested set; create it with `plan`, which validates it.

    Attributes:
        key: numbers of the wildcards ``*`` that make the key, from 1; empty: the whole subject.
        max_age, max_bytes: limits of each partition, in seconds and bytes.
        ingest_max_age: limit of the ingest stream, in seconds.
    """

    prefix: str
    subject: str
    count: int
    key: tuple[int, ...]
    ingest: str
    storage: str = "file"
    replicas: int = 1
    max_age: float | None = None
    max_bytes: int | None = None
    ingest_max_age: float | None = None

    def names(self) -> list[str]:
        """Return the names of all streams in the order of their creation.

        The ingest stream comes first: the server retries a missing source only after ten seconds,
        but a partition created after its ingest stream reads it from the beginning at once.
        """
        return [self.ingest, *(partition_name(self.prefix, i) for i in range(self.count))]

    def configs(self, version: tuple[int, ...]) -> list[dict[str, Any]]:
        """Return the configurations of all streams, in the order of `names`.

        Raises ``PartitionSetError`` if a server of ``version`` does not support them.
        """
        if version < TRANSFORM_VERSION:
            raise PartitionSetError(
                f"NATS server {_dotted(version)} has no subject transforms, which partitioned sets "
                f"need: upgrade it to {_dotted(TRANSFORM_VERSION)} or later"
            )
        if not self.key and self.count > 1 and version < WHOLE_SUBJECT_VERSION:
            raise PartitionSetError(
                f"NATS server {_dotted(version)} cannot use the whole subject as the key: upgrade "
                f"it to {_dotted(WHOLE_SUBJECT_VERSION)} or later, or use a --subject with a "
                "wildcard * and --key with its number"
            )
        return [self._ingest(version), *(self._partition(i, version) for i in range(self.count))]

    def _ingest(self, version: tuple[int, ...]) -> dict[str, Any]:
        args = ",".join(map(str, (self.count, *self.key)))
        number = f"{{{{partition({args})}}}}" if self.count > 1 else "0"
        config = {
            **self._stream(None),
            "subjects": [self.subject],
            "subject_transform": {
                "src": self.subject,
                "dest": f"{self.prefix}.{number}.{_identity_destination(self.subject)}",
            },
            "max_age": _nanoseconds(self.ingest_max_age),
        }
        if version >= FAST_BATCH_VERSION:
            config["allow_batched"] = True
        return config

    def _partition(self, index: int, version: tuple[int, ...]) -> dict[str, Any]:
        config = {
            **self._stream(index),
            "sources": [
                {
                    "name": self.ingest,
                    "subject_transforms": [
                        {
                            "src": f"{self.prefix}.{index}.{self.subject}",
                            "dest": _identity_destination(self.subject),
                        }
                    ],
                }
            ],
            "max_age": _nanoseconds(self.max_age),
            "max_bytes": self.max_bytes or -1,
        }
        if version < SOURCES_REPEATS_VERSION:
            # Such a server stalls the source, or drops the message, if an id repeats within the
            # partition's duplicate window, even though the ingest stream accepted it.
            config["duplicate_window"] = _MIN_DUPLICATE_WINDOW_NS
        return config

    def _stream(self, index: int | None) -> dict[str, Any]:
        mark = Mark(self.prefix, self.count, index, self.subject, key_text(self.key), self.ingest)
        return {
            "name": mark.name,
            "retention": "limits",
            "discard": "old",
            "storage": self.storage,
            "num_replicas": self.replicas,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "allow_direct": True,
            "metadata": mark.metadata(),
        }


def plan(
    prefix: str,
    subject: str,
    count: int,
    *,
    key: str | None = None,
    ingest: str | None = None,
    **limits: Any,
) -> PartitionSet:
    """Return the requested set.

    Args:
        key: ``1`` or ``1,2``, wildcards of the subject as NATS counts them, or ``subject``. The
            default is all wildcards, or the whole subject if it has none.
        ingest: name of the ingest stream; the default is ``<prefix>-ingest``.
        limits: the other attributes of `PartitionSet`.

    Raises ``OptionError`` with the argument of the command, its value and a fix.
    """
    check_name("PREFIX", prefix)
    if set(prefix) & set("{}$"):  # the prefix is a token of a transform, where these are syntax
        raise OptionError(f"PREFIX {prefix!r} contains {{, }} or $: choose a prefix without them")
    _check_subject(subject)
    if not 1 <= count <= MAX_PARTITIONS:
        raise OptionError(f"--partitions {count} is out of range: use 1 to {MAX_PARTITIONS}")
    if count > 1 and not set(subject.split(".")) & {"*", ">"}:
        raise OptionError(
            f"--subject {subject} has no wildcard, so all its messages have one key and would be "
            "in one partition: put * in place of the key (orders.*), or use --partitions 1"
        )
    ingest = ingest or default_ingest_name(prefix)
    check_name("--ingest", ingest)
    if partition_index(prefix, ingest) is not None:
        raise OptionError(
            f"--ingest {ingest} is the name of a partition: use {default_ingest_name(prefix)}"
        )
    return PartitionSet(prefix, subject, count, _parse_key(key, subject), ingest, **limits)


def check_name(option: str, name: str) -> None:
    """Raise ``OptionError`` if a text cannot be the name of a stream, or the prefix of one."""
    if not name or not is_name(name):
        raise OptionError(
            f"{option} {name!r} is not a valid stream name: use a name without whitespace and "
            "without . * > / \\"
        )
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise OptionError(
            f"{option} {name[:20]!r}... is longer than {_MAX_NAME_BYTES} bytes: use a shorter name"
        )


def _check_subject(subject: str) -> None:
    tokens = subject.split(".")
    wrong = None
    if overlap(subject, _JETSTREAM):
        wrong = "it also matches JetStream's own subjects: begin with a literal token (orders.>)"
    elif "," in subject:
        wrong = "a set divides one subject: use one pattern with wildcards (orders.*.>)"
    elif "" in tokens or not subject.isprintable() or " " in subject:
        wrong = "use non-empty tokens separated by dots, without whitespace (orders.*.>)"
    elif any(len(t) > 1 and set(t) & set("*>") for t in tokens):
        wrong = "a wildcard must be a whole token: use orders.*, not orders*"
    elif ">" in tokens[:-1]:
        wrong = "> must be the last token (orders.*.>)"
    elif any(t.startswith("$") or set(t) & set("{}") for t in tokens):
        wrong = "use no tokens that begin with $ or contain braces: the server reserves them"
    if wrong:
        raise OptionError(f"--subject {subject!r}: {wrong}")


def _parse_key(key: str | None, subject: str) -> tuple[int, ...]:
    wildcards = subject.split(".").count("*")
    if key is None:
        return tuple(range(1, wildcards + 1))
    if key == WHOLE_SUBJECT:
        return ()
    parts = [part.strip() for part in key.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts):
        raise OptionError(
            f"--key {key!r}: use the numbers of the subject's wildcards * (1 or 1,2), or "
            f"--key {WHOLE_SUBJECT}"
        )
    numbers = tuple(map(int, parts))
    for number in numbers:
        if not 1 <= number <= wildcards:
            available = {
                0: f"has no wildcard *: use --key {WHOLE_SUBJECT}",
                1: "has one wildcard *: use --key 1",
            }.get(wildcards, f"has {wildcards} wildcards *: use numbers from 1 to {wildcards}")
            raise OptionError(
                f"--key {key}: wildcard {number} does not exist. --subject {subject} {available} "
                "(a final > does not count)"
            )
    if len(set(numbers)) < len(numbers):
        raise OptionError(f"--key {key} names a wildcard twice: name each once")
    return numbers


def _identity_destination(subject: str) -> str:
    """Return the destination of a transform that keeps the subject as it is."""
    number = 0
    tokens = []
    for token in subject.split("."):
        if token == "*":
            number += 1
            token = f"{{{{wildcard({number})}}}}"
        tokens.append(token)
    return ".".join(tokens)


def _nanoseconds(seconds: float | None) -> int:
    return round((seconds or 0) * _SECOND_NS)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
