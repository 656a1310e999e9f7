"""How the text of an option becomes a value: durations, sizes, lists, servers."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from ..protocol.partition_names import MAX_PARTITIONS
from ..protocol.subjects import disjoint, is_name
from .durations import parse_duration

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(value: Any) -> int:
    """Bytes out of ``8MiB``, ``8m``, ``8MB`` (powers of 1000) or plain bytes."""
    match = _SIZE.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("a size such as 8MiB, 64KiB, 8MB, or plain bytes")
    number, unit, suffix = match.groups()
    base = 1000 if unit and (suffix or "").lower() == "b" else 1024
    return int(float(number) * base ** _POWERS[unit.lower()])


def parse_list(value: Any) -> tuple[str, ...]:
    """The parts of a comma list, without white space and empty parts."""
    parts = value if isinstance(value, (tuple, list)) else str(value).split(",")
    return tuple(part.strip() for part in parts if part.strip())


def parse_urls(value: Any) -> tuple[str, ...]:
    """Server URLs, ``nats://`` or ``tls://``, without credentials (those are their own options)."""
    urls = []
    for text in parse_list(value):
        url = text if "://" in text else f"nats://{text}"
        parts = urlsplit(url)
        try:
            port = parts.port or 4222
        except ValueError:
            port = 0
        if parts.scheme not in ("nats", "tls") or not parts.hostname or not 0 < port < 65536:
            raise ValueError("server URLs such as nats://host:4222 or tls://host:4222")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        urls.append(f"{parts.scheme}://{host}:{port}")
    if not urls:
        raise ValueError("at least one server URL such as nats://host:4222")
    return tuple(urls)


def parse_subjects(value: Any) -> tuple[str, ...]:
    """Filter subjects, each once; ``>`` alone, which takes everything, is no filter."""
    subjects = parse_list(value)
    for subject in subjects:
        tokens = subject.split(".")
        if "" in tokens or ">" in tokens[:-1] or any(c.isspace() for c in subject):
            raise ValueError("subjects such as orders.eu, orders.* or orders.>")
        if any(len(token) > 1 and set(token) & {"*", ">"} for token in tokens):
            raise ValueError(
                f"subjects such as orders.eu, orders.* or orders.>; in {subject}, a wildcard is "
                "part of a token, but it stands for whole ones"
            )
    return () if ">" in subjects else disjoint(subjects)


def parse_stream_names(value: Any) -> tuple[str, ...]:
    """Stream names, each once."""
    names = tuple(dict.fromkeys(parse_list(value)))
    return tuple(_check_name("stream names, which hold", name) for name in names)


def parse_consumer_name(value: Any) -> Any:
    """A consumer's name."""
    return _check_name("a consumer name, which holds", value) if isinstance(value, str) else value


def parse_stream_prefix(value: Any) -> Any:
    """What precedes the dash and the number in the names of partitioned streams."""
    if not isinstance(value, str):
        return value
    words = "the beginning of stream names, which hold"
    if not value.strip():
        raise ValueError(f"{words} something before their dash and number")
    return _check_name(words, value.strip())


def parse_partition_count(value: Any) -> Any:
    """A number of streams, or ``auto``."""
    text = str(value).strip().lower()
    if text == "auto":
        return text
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= MAX_PARTITIONS):
        raise ValueError(f"a number of streams from 1 to {MAX_PARTITIONS}, or auto")
    return int(text)


def _check_name(what: str, name: str) -> str:
    if not is_name(name):
        raise ValueError(f"{what} no white space and none of . * > / \\")
    return name


Duration = Annotated[float, BeforeValidator(parse_duration)]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
Count = Annotated[int, Field(gt=0)]
StreamNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_stream_names)]
StreamPrefix = Annotated[str, BeforeValidator(parse_stream_prefix)]
PartitionCount = Annotated[int | Literal["auto"], BeforeValidator(parse_partition_count)]
ConsumerName = Annotated[str, BeforeValidator(parse_consumer_name)]
Subjects = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_subjects)]
Urls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_urls)]
