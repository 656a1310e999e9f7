"""Every option with its type, default and meaning, read off the settings model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .names import ALIASES, field_option
from .settings import NatsSettings

#: The field with which each group of the model begins, in the model's order.
_GROUPS = {
    "url": "connection",
    "stream_name": "reading",
    "durable_name": "balanced",
    "stream_prefix": "partitioned",
    "sink_mode": "sink",
    "datetime_format": "no effect",
}
_TYPES = {
    "float": "duration",
    "int": "integer",
    "bool": "boolean",
    "str": "text",
    "SecretStr": "text (secret)",
    "Positions": "position",
}
_SIZES = {"max_bytes_per_trigger", "fetch_bytes", "sink_max_in_flight", "payload_max_decompressed"}
_LISTS = {"url", "stream_name", "stream_subjects"}


@dataclass(frozen=True)
class OptionDoc:
    """One option; ``default`` is empty where there is none, ``aliases`` are its other names."""

    name: str
    group: str
    type: str
    default: str
    meaning: str
    aliases: tuple[str, ...]


def options_reference() -> list[OptionDoc]:
    """All options, in the order of the model."""
    found = []
    group = ""
    for name, field in NatsSettings.model_fields.items():
        group = _GROUPS.get(name, group)
        others = tuple(a for a, (target, _) in ALIASES.items() if target == name)
        found.append(
            OptionDoc(
                name=field_option(name),
                group=group,
                type=_type(name, str(field.annotation)),
                default=_default(field.default, name),
                meaning=field.description or "",
                aliases=tuple(a for a in others if a != field_option(name)),
            )
        )
    return found


def _type(name: str, annotation: str) -> str:
    if name in _SIZES:
        return "size"
    if name in _LISTS:
        return "comma list"
    if name == "num_partitions":
        return "integer or auto"
    if "Literal" in annotation:
        return "choice"
    for python, words in _TYPES.items():
        if python in annotation:
            return words
    return "text"


def _default(value: Any, name: str) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if name in _SIZES:
        return f"{value >> 20}MiB"
    if isinstance(value, float):
        return f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"
    return str(value)
