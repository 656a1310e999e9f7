"""Partitioned sets: streams that divide one subject, so that a key always lands in the same one.

An ingest stream takes the subject and stores each message under the number of its partition,
``ORDERS.3.orders.k17.new`` for ``orders.k17.new``; partition 3 sources the subjects of that number
and gives them their own form back. Pure: which streams these are, and how those that exist differ.

Source: ADR-30 (subject transforms), nats-server ``server/subject_transform.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import OptionError, PartitionSetError
from ..jetstream.api import FAST_BATCH_VERSION
from ..protocol.partition_names import partition_index, partition_name
from ..protocol.subjects import is_name, overlap

#: Servers from this version on transform the subjects of streams, and keep metadata.
TRANSFORM_VERSION = (2, 10)
#: ... hash the whole subject where ``partition`` names no wildcard.
WHOLE_SUBJECT_VERSION = (2, 12)
#: ... source messages without looking at their message ids.
SOURCES_REPEATS_VERSION = (2, 14)

#: Each partition costs the server a consumer of the ingest stream, and Spark a task of each batch.
MOST_PARTITIONS = 256

_MARK = "nats-spark.partitions."
_JETSTREAM = "$JS.>"
_INGEST = "ingest"
_WHOLE_SUBJECT = "subject"
_LONGEST_NAME = 200  # the server takes 255 bytes; the number and "-ingest" have to fit, too
_SHORTEST_WINDOW_NS = 100_000_000  # the server takes no shorter duplicate window
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Mark:
    """What the metadata of a stream say of the set for which it was made.

    Attributes:
        index: the number of the partition; None for the ingest stream.
        key: the wildcards that make the key, ``1,2`` for example, or ``subject``.
    """

    prefix: str
    count: int
    index: int | None
    subject: str
    key: str
    ingest: str

    @staticmethod
    def of(config: Mapping[str, Any]) -> Mark | None:
        """The mark of a stream's configuration; None where it was not made for a set.

        A copy of such a stream has its metadata and another name: it is not of the set.
        """
        metadata = config.get("metadata") or {}
        try:
            index = metadata[_MARK + "index"]
            mark = Mark(
                prefix=metadata[_MARK + "prefix"],
                count=int(metadata[_MARK + "count"]),
                index=None if index == _INGEST else int(index),
                subject=metadata[_MARK + "subject"],
                key=metadata[_MARK + "key"],
                ingest=metadata[_MARK + "ingest"],
            )
        except (KeyError, ValueError):
            return None
        return mark if config["name"] == mark.name else None

    @property
    def name(self) -> str:
        """The name of the stream that bears the mark."""
        return self.ingest if self.index is None else partition_name(self.prefix, self.index)

    def metadata(self) -> dict[str, str]:
        return {
            _MARK + "prefix": self.prefix,
            _MARK + "count": str(self.count),
            _MARK + "index": _INGEST if self.index is None else str(self.index),
            _MARK + "subject": self.subject,
            _MARK + "key": self.key,
            _MARK + "ingest": self.ingest,
        }


@dataclass(frozen=True)
class PartitionSet:
    """A set that is asked for; build it with `plan`, which checks it.

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
        """All streams in the order in which they are made.

        The ingest stream comes first: the server looks for a missing source again only after ten
        seconds, while a partition that comes later reads its ingest stream from the beginning.
        """
        return [self.ingest, *(partition_name(self.prefix, i) for i in range(self.count))]

    def configs(self, version: tuple[int, ...]) -> list[dict[str, Any]]:
        """The configurations of all streams, in the order of `names`.

        Raises ``PartitionSetError`` where a server of ``version`` cannot have them.
        """
        if version < TRANSFORM_VERSION:
            raise PartitionSetError(
                f"the server is of version {_dotted(version)}: partitioned sets need subject "
                f"transforms of streams, which it has from {_dotted(TRANSFORM_VERSION)} on"
            )
        if not self.key and self.count > 1 and version < WHOLE_SUBJECT_VERSION:
            raise PartitionSetError(
                f"the server is of version {_dotted(version)}: the whole subject is a key from "
                f"{_dotted(WHOLE_SUBJECT_VERSION)} on; use a --subject with a wildcard *, and "
                "--key with its number"
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
                "dest": f"{self.prefix}.{number}.{_with_wildcards_named(self.subject)}",
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
                            "dest": _with_wildcards_named(self.subject),
                        }
                    ],
                }
            ],
            "max_age": _nanoseconds(self.max_age),
            "max_bytes": self.max_bytes or -1,
        }
        if version < SOURCES_REPEATS_VERSION:
            # Such a server holds up the source, or drops the message, where an id comes again
            # within the window of the partition, although the ingest stream has taken it.
            config["duplicate_window"] = _SHORTEST_WINDOW_NS
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
    """The set that is asked for.

    Args:
        key: ``1`` or ``1,2``, wildcards of the subject as NATS counts them, or ``subject``; by
            default all of them, and the whole subject where it has none.
        ingest: name of the ingest stream; by default ``<prefix>-ingest``.
        limits: the other attributes of `PartitionSet`.

    Raises ``OptionError`` that names the argument of the command, its value and a remedy.
    """
    check_name("PREFIX", prefix)
    if set(prefix) & set("{}$"):  # it becomes a token of a transform, where they mean something
        raise OptionError(f"PREFIX {prefix!r}: a prefix has none of {{ }} $")
    _check_subject(subject)
    if not 1 <= count <= MOST_PARTITIONS:
        raise OptionError(f"--partitions {count}: a set has from 1 to {MOST_PARTITIONS} partitions")
    if count > 1 and not set(subject.split(".")) & {"*", ">"}:
        raise OptionError(
            f"--subject {subject}: a subject without wildcard is a single key, and all messages "
            "would land in one partition: put * where the key stands (orders.*), or ask for "
            "--partitions 1"
        )
    ingest = ingest or f"{prefix}-{_INGEST}"
    check_name("--ingest", ingest)
    if partition_index(prefix, ingest) is not None:
        raise OptionError(
            f"--ingest {ingest}: that is the name of a partition; use {prefix}-{_INGEST}"
        )
    return PartitionSet(prefix, subject, count, _parse_key(key, subject), ingest, **limits)


def key_text(key: tuple[int, ...]) -> str:
    """The key as ``--key`` takes it."""
    return ",".join(map(str, key)) or _WHOLE_SUBJECT


def key_words(key: str) -> str:
    """The key of a mark in words."""
    if key == _WHOLE_SUBJECT:
        return "the whole subject"
    return f"wildcard {key}" if "," not in key else f"wildcards {key}"


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """How a stream of the set differs from what is asked for, in the command's words.

    What a later server would make otherwise (fast batches, duplicate windows) is no difference.
    """
    marks = Mark.of(wanted), Mark.of(found)
    assert marks[0] is not None, "a wanted stream bears its mark"
    if marks[1] is None:
        return ["it was not made by this command"]
    result = [
        f"--{option} is {old}, not {new}"
        for option, old, new in (
            ("partitions", marks[1].count, marks[0].count),
            ("subject", marks[1].subject, marks[0].subject),
            ("key", marks[1].key, marks[0].key),
            ("ingest", marks[1].ingest, marks[0].ingest),
        )
        if old != new
    ]
    is_ingest = marks[0].index is None
    limits: tuple[tuple[str, str, Any], ...] = (
        ("storage", "--storage", "file"),
        ("num_replicas", "--replicas", 1),
        ("max_age", "--ingest-max-age" if is_ingest else "--max-age", 0),
        ("max_bytes", "max_bytes" if is_ingest else "--max-bytes", -1),
        ("max_msgs", "max_msgs", -1),
        ("retention", "retention", "limits"),
        ("discard", "discard", "old"),
        ("allow_direct", "allow_direct", False),
    )
    for field, option, default in limits:
        old, new = (each.get(field, default) for each in (found, wanted))
        if old != new:
            result.append(f"{option} is {_shown(field, old)}, not {_shown(field, new)}")
    routes = ("subjects", "subject_transform", "sources")
    if not result and any(_bare(found.get(field)) != _bare(wanted.get(field)) for field in routes):
        result.append("its subjects, transforms or sources were changed")
    return result


def check_name(option: str, name: str) -> None:
    """Raises ``OptionError`` where a text cannot be a stream's name, or the prefix of one."""
    if not name or not is_name(name):
        raise OptionError(
            f"{option} {name!r}: stream names hold no white space and none of . * > / \\"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise OptionError(f"{option} {name[:20]!r}...: longer than {_LONGEST_NAME} bytes")


def _check_subject(subject: str) -> None:
    tokens = subject.split(".")
    wrong = None
    if overlap(subject, _JETSTREAM):
        wrong = "takes JetStream's own messages, too: begin with a word (orders.>)"
    elif "," in subject:
        wrong = "a set divides one subject; write one pattern with wildcards (orders.*.>)"
    elif "" in tokens or not subject.isprintable() or " " in subject:
        wrong = "a subject has tokens with dots between them, and no white space (orders.*.>)"
    elif any(len(t) > 1 and set(t) & set("*>") for t in tokens):
        wrong = "a wildcard is a whole token: orders.*, not orders*"
    elif ">" in tokens[:-1]:
        wrong = "> can only be the last token (orders.*.>)"
    elif any(t.startswith("$") or set(t) & set("{}") for t in tokens):
        wrong = "tokens that begin with $, or hold braces, are the server's own"
    if wrong:
        raise OptionError(f"--subject {subject!r}: {wrong}")


def _parse_key(key: str | None, subject: str) -> tuple[int, ...]:
    wildcards = subject.split(".").count("*")
    if key is None:
        return tuple(range(1, wildcards + 1))
    if key == _WHOLE_SUBJECT:
        return ()
    parts = [part.strip() for part in key.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts):
        raise OptionError(
            f"--key {key!r}: name wildcards * of the subject by their numbers, 1 or 1,2, or write "
            f"--key {_WHOLE_SUBJECT}"
        )
    numbers = tuple(map(int, parts))
    for number in numbers:
        if not 1 <= number <= wildcards:
            has = {0: "has no wildcard *", 1: "has one wildcard *, number 1"}.get(
                wildcards, f"has the wildcards * number 1 to {wildcards}"
            )
            raise OptionError(
                f"--key {key}: there is no wildcard {number}: --subject {subject} {has}"
                " (a closing > is not counted)"
            )
    if len(set(numbers)) < len(numbers):
        raise OptionError(f"--key {key}: a wildcard is named twice; name each once")
    return numbers


def _with_wildcards_named(subject: str) -> str:
    """The subject as the destination of a transform that changes nothing."""
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


_NONE: Final = {("max_age", 0), ("max_bytes", -1), ("max_msgs", -1)}


def _shown(field: str, value: Any) -> str:
    if (field, value) in _NONE:
        return "unlimited"
    return f"{value / _SECOND_NS:g}s" if field == "max_age" else str(value)


def _bare(value: Any) -> Any:
    """Without the fields that are empty, which servers add or leave out."""
    if isinstance(value, Mapping):
        return {k: _bare(v) for k, v in value.items() if v not in (None, "", [], {}, 0, False)}
    return [_bare(each) for each in value] if isinstance(value, list) else value or None
