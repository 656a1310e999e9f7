"""The types of options, and how their texts are parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter
from pydantic.fields import FieldInfo

from ..protocol.partition_names import MAX_PARTITIONS
from ..protocol.subjects import disjoint, is_name
from .durations import parse_wait
from .positions import Earliest, Latest, Positions, parse_positions
from .server_urls import parse_list, parse_urls

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(value: Any) -> int:
    """Return the bytes in ``8MiB``, ``8m``, ``8MB`` (powers of 1000) or plain bytes."""
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size such as 8MiB, 64KiB, 8MB, or plain bytes")
    number, unit, suffix = match.groups()
    base = 1000 if unit and (suffix or "").lower() == "b" else 1024
    size = float(number) * base ** _POWERS[unit.lower()]
    if size >= 1 << 63:
        raise ValueError("a size below 8 EiB")
    return int(size)


def parse_subjects(value: Any) -> tuple[str, ...]:
    """Return filter subjects without overlaps; ``>``, which matches everything, is no filter."""
    subjects = parse_list(value)
    for subject in subjects:
        tokens = subject.split(".")
        if "" in tokens or ">" in tokens[:-1] or any(c.isspace() for c in subject):
            raise ValueError("subjects such as orders.eu, orders.* or orders.>")
        if any(len(token) > 1 and set(token) & {"*", ">"} for token in tokens):
            raise ValueError(
                f"subjects such as orders.eu, orders.* or orders.>; in {subject}, a wildcard is "
                "part of a token: wildcards match whole tokens"
            )
    return () if ">" in subjects else disjoint(subjects)


def parse_stream_names(value: Any) -> tuple[str, ...]:
    """Return stream names without repeats."""
    names = tuple(dict.fromkeys(parse_list(value)))
    return tuple(_check_name("stream names, which contain", name) for name in names)


def parse_consumer_name(value: Any) -> Any:
    """Return a consumer's name."""
    return (
        _check_name("a consumer name, which contains", value) if isinstance(value, str) else value
    )


def parse_stream_prefix(value: Any) -> Any:
    """Return the prefix of partitioned streams: their names without the dash and the number."""
    if not isinstance(value, str):
        return value
    words = "a prefix of stream names, which contain"
    if not value.strip():
        raise ValueError(f"{words} at least one character before the dash")
    return _check_name(words, value.strip())


def parse_partition_count(value: Any) -> Any:
    """Return a number of streams, or ``auto``."""
    text = str(value).strip().lower()
    if text == "auto":
        return text
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PARTITIONS))
    if not (digits and 0 < int(text) <= MAX_PARTITIONS):
        raise ValueError(f"a number of streams from 1 to {MAX_PARTITIONS}, or auto")
    return int(text)


def _check_name(what: str, name: str) -> str:
    if not is_name(name):
        raise ValueError(f"{what} neither whitespace nor any of . * > / \\")
    return name


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _compression(value: Any) -> Any:
    return "none" if _lower(value) == "uncompressed" else _lower(value)  # the Scala name


def _position(option: str, otherwise: Earliest | Latest) -> BeforeValidator:
    def parse(value: Any) -> Any:
        return parse_positions(option, value, otherwise) if isinstance(value, str) else value

    return BeforeValidator(parse)


@dataclass(frozen=True)
class Kind:
    """What the documentation calls values of a type."""

    text: str


def parse_field(field: FieldInfo, text: str) -> Any:
    """Return what a setting's text means. Raises ``ValueError`` if it has no meaning."""
    annotated: Any = Annotated  # the type is known at run time only
    return TypeAdapter[Any](annotated[field.annotation, field]).validate_python(text)


_seconds = (BeforeValidator(parse_wait), Field(allow_inf_nan=False), Kind("duration"))
Duration = Annotated[float, *_seconds]
PositiveDuration = Annotated[float, *_seconds, Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0), Kind("size")]
Count = Annotated[int, Field(gt=0), Kind("integer")]
StreamNames = Annotated[tuple[str, ...], BeforeValidator(parse_stream_names), Kind("comma list")]
StreamPrefix = Annotated[str, BeforeValidator(parse_stream_prefix), Kind("text")]
PartitionCount = Annotated[
    int | Literal["auto"], BeforeValidator(parse_partition_count), Kind("integer or auto")
]
ConsumerName = Annotated[str, BeforeValidator(parse_consumer_name), Kind("text")]
Subjects = Annotated[tuple[str, ...], BeforeValidator(parse_subjects), Kind("comma list")]
Urls = Annotated[tuple[str, ...], BeforeValidator(parse_urls), Kind("comma list")]
Bucket = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$"), Kind("text")]
Start = Annotated[Positions, _position("nats.start", Earliest()), Kind("position")]
End = Annotated[Positions, _position("nats.end", Latest()), Kind("position")]

_Lower = BeforeValidator(_lower)
_CHOICE = Kind("choice")
Compression = Annotated[
    Literal["none", "zlib", "gzip", "zstd"], BeforeValidator(_compression), _CHOICE
]
OnError = Annotated[Literal["raw", "fail", "null"], _Lower, _CHOICE]
Flavor = Annotated[Literal["v2", "balanced", "partitioned"], _Lower, _CHOICE]
SinkMode = Annotated[Literal["at-least-once", "best-effort", "exactly-once"], _Lower, _CHOICE]
AckPolicy = Annotated[Literal["explicit", "all"], _Lower, _CHOICE]
Via = Annotated[Literal["auto", "direct", "consumer"], _Lower, _CHOICE]
UnknownColumns = Annotated[Literal["fail", "drop"], _Lower, _CHOICE]
Retention = Annotated[Literal["limits", "interest", "workqueue"], _Lower, _CHOICE]
Storage = Annotated[Literal["file", "memory"], _Lower, _CHOICE]
