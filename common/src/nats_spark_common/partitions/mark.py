"""The metadata by which the streams of a partitioned set are recognized. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..protocol.partition_names import partition_name

#: The value of ``--key`` for the whole subject.
WHOLE_SUBJECT = "subject"

_FIELD = "nats-spark.partitions."
_INGEST = "ingest"


@dataclass(frozen=True)
class Mark:
    """The set for which a stream was created, as the stream's metadata describe it.

    Attributes:
        index: the number of the partition; None for the ingest stream.
        key: the numbers of the wildcards that make the key, such as ``1,2``, or ``subject``.
    """

    prefix: str
    count: int
    index: int | None
    subject: str
    key: str
    ingest: str

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> Mark | None:
        """Return the mark in a stream's configuration; None if it was not created for a set.

        A copy of such a stream has its metadata and another name: it is not part of the set.
        """
        metadata = config.get("metadata") or {}
        try:
            index = metadata[_FIELD + "index"]
            mark = Mark(
                prefix=metadata[_FIELD + "prefix"],
                count=int(metadata[_FIELD + "count"]),
                index=None if index == _INGEST else int(index),
                subject=metadata[_FIELD + "subject"],
                key=metadata[_FIELD + "key"],
                ingest=metadata[_FIELD + "ingest"],
            )
        except (KeyError, ValueError):
            return None
        return mark if config["name"] == mark.name else None

    @property
    def name(self) -> str:
        """The name of the stream that has this mark."""
        return self.ingest if self.index is None else partition_name(self.prefix, self.index)

    def metadata(self) -> dict[str, str]:
        """Return the mark as a stream's metadata."""
        return {
            _FIELD + "prefix": self.prefix,
            _FIELD + "count": str(self.count),
            _FIELD + "index": _INGEST if self.index is None else str(self.index),
            _FIELD + "subject": self.subject,
            _FIELD + "key": self.key,
            _FIELD + "ingest": self.ingest,
        }


def default_ingest_name(prefix: str) -> str:
    """Return the name of the ingest stream if ``--ingest`` does not set it."""
    return f"{prefix}-{_INGEST}"


def key_text(key: tuple[int, ...]) -> str:
    """Return the key in the form that ``--key`` accepts."""
    return ",".join(map(str, key)) or WHOLE_SUBJECT


def describe_key(key: str) -> str:
    """Return the key of a mark in words."""
    if key == WHOLE_SUBJECT:
        return "the whole subject"
    return f"wildcard {key}" if "," not in key else f"wildcards {key}"
