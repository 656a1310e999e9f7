"""Which columns of a DataFrame become which parts of a message; checked before any row is sent."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from ..errors import OptionError
from ..rows.schema import SCHEMA

_SUBJECT = "subject"
_PAYLOAD = ("content", "data")
_HEADERS = "headers"
_MSG_ID = "msgid"
_WRITTEN = (_SUBJECT, *_PAYLOAD, _HEADERS, "msgId")

#: Columns of the sources that the sink ignores, so that rows that were read can be written.
_IGNORED = frozenset(field.name.lower() for field in SCHEMA) - {_SUBJECT, "content", _HEADERS}


@dataclass(frozen=True)
class MessageColumns:
    """Positions of the columns that are written; ``None`` if a column is missing.

    Attributes:
        dropped: names of the columns that are not part of a message.
    """

    subject: int | None
    payload: int
    headers: int | None
    msg_id: int | None
    dropped: tuple[str, ...] = ()


def message_columns(
    schema: StructType, default_subject: str | None, *, drop_unknown: bool = False
) -> MessageColumns:
    """Find the columns of a message in a schema; names are case-insensitive.

    Args:
        default_subject: ``nats.sink.subject``; without it, a ``subject`` column is required.
        drop_unknown: ``nats.sink.unknown.columns=drop``; without it, an unknown column is an
            error.

    Raises ``OptionError`` that names the column and the expected type or name.
    """
    found: dict[str, int] = {}
    dropped: list[str] = []
    for position, field in enumerate(schema):
        name = field.name.lower()
        if name in found:
            raise OptionError(f"schema: there are two columns {field.name!r}: drop one")
        if name in (_SUBJECT, *_PAYLOAD, _HEADERS, _MSG_ID):
            _check_type(name, field)
            found[name] = position
        elif name not in _IGNORED:
            dropped.append(field.name)
    if dropped and not drop_unknown:
        raise OptionError(_unknown(dropped))
    if _SUBJECT not in found and not default_subject:
        raise OptionError(
            "schema: there is no column 'subject': add one, or set nats.sink.subject to the "
            "subject of all rows"
        )
    payloads = [name for name in _PAYLOAD if name in found]
    if len(payloads) != 1:
        raise OptionError(
            "schema: there is no column 'content' (or 'data') for the payload: add one of type "
            "string or binary, for example to_json(struct(*))"
            if not payloads
            else "schema: columns 'content' and 'data' are both the payload: drop one; use "
            "drop('content') to write 'data' as the Scala V2 sink does"
        )
    return MessageColumns(
        found.get(_SUBJECT),
        found[payloads[0]],
        found.get(_HEADERS),
        found.get(_MSG_ID),
        tuple(dropped),
    )


def _unknown(names: list[str]) -> str:
    """Return the error message for columns that are not part of a message."""
    shown = ", ".join(f"{name!r}{_suggestion(name)}" for name in names)
    what, them = ("column", "it") if len(names) == 1 else ("columns", "them")
    be = "is" if len(names) == 1 else "are"
    return (
        f"schema: {what} {shown} {be} not part of a message: drop {them}, set "
        f"nats.sink.unknown.columns=drop to have the sink drop {them}, or put {them} into content, "
        f"for example with to_json(struct(...)); the sink writes {', '.join(_WRITTEN)}"
    )


def _check_type(name: str, field: StructField) -> None:
    kind = field.dataType
    if name in _PAYLOAD:
        fits, expected = isinstance(kind, (BinaryType, StringType)), "binary or string"
    elif name == _HEADERS:
        fits, expected = _is_headers(kind), "map<string,string> or map<string,array<string>>"
    else:
        fits, expected = isinstance(kind, StringType), "string"
    if not fits:
        raise OptionError(
            f"schema: column {field.name!r} is {kind.simpleString()}, not {expected}: cast it"
        )


def _is_headers(kind: DataType) -> bool:
    if not isinstance(kind, MapType) or not isinstance(kind.keyType, StringType):
        return False
    value = kind.valueType
    if isinstance(value, ArrayType):
        value = value.elementType
    return isinstance(value, StringType)


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name, _WRITTEN, 1, 0.75)
    return f" (did you mean {near[0]!r}?)" if near else ""
