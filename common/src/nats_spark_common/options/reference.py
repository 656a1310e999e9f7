"""Every option with its type, default and meaning, read from the settings model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from .names import ALIASES, field_option
from .settings import NatsSettings
from .types import Kind

#: The first field of each group, in the order of the model.
_GROUPS = {
    "url": "connection",
    "stream_name": "reading",
    "durable_name": "balanced",
    "stream_prefix": "partitioned",
    "sink_mode": "sink",
    "datetime_format": "no effect",
}
#: What the documentation calls values of types that have no `Kind`.
_PLAIN = {bool: "boolean", int: "integer", str: "text", SecretStr: "text (secret)"}


@dataclass(frozen=True)
class OptionDoc:
    """One option; ``default`` is empty if there is none, ``aliases`` are its other names."""

    name: str
    group: str
    type: str
    default: str
    meaning: str
    aliases: tuple[str, ...]


def options_reference() -> list[OptionDoc]:
    """Return all options, in the order of the model."""
    found = []
    group = ""
    for name, field in NatsSettings.model_fields.items():
        group = _GROUPS.get(name, group)
        others = tuple(a for a, (target, _) in ALIASES.items() if target == name)
        found.append(
            OptionDoc(
                name=field_option(name),
                group=group,
                type=_kind(field),
                default=_default(field.default, _kind(field)),
                meaning=field.description or "",
                aliases=tuple(a for a in others if a != field_option(name)),
            )
        )
    return found


def _kind(field: FieldInfo) -> str:
    """Return what the documentation calls the values of a field."""
    kinds = [each for each in field.metadata if isinstance(each, Kind)]
    kinds += _kinds(field.annotation)
    if kinds:
        return kinds[0].text
    plain = {field.annotation, *get_args(field.annotation)}
    return next(text for kind, text in _PLAIN.items() if kind in plain)


def _kinds(annotation: Any) -> Iterator[Kind]:
    """Yield the kinds in an annotation such as ``Size | None``."""
    yield from (each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Kind))
    for part in get_args(annotation):
        yield from _kinds(part)


def _default(value: Any, kind: str) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if kind == "size":
        return f"{value >> 20}MiB"
    if kind == "duration":
        return f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"
    return str(value)
