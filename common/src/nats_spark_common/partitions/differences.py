"""How an existing stream differs from the plan of its set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .mark import Mark

_SECOND_NS = 1_000_000_000
_UNLIMITED: Final = {("max_age", 0), ("max_bytes", -1), ("max_msgs", -1)}


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return how a stream differs from its planned configuration, by the command's options.

    Ignores what depends on the server's version: fast batches and duplicate windows.
    """
    wanted_mark, found_mark = Mark.from_config(wanted), Mark.from_config(found)
    assert wanted_mark is not None, "a planned stream has a mark"
    if found_mark is None:
        return ["it was not created by this command"]
    result = [
        *_mark_differences(wanted_mark, found_mark),
        *_limit_differences(wanted, found, is_ingest=wanted_mark.index is None),
    ]
    routes = ("subjects", "subject_transform", "sources")
    if not result and any(
        _without_empty(found.get(field)) != _without_empty(wanted.get(field)) for field in routes
    ):
        result.append("its subjects, transforms or sources were changed")
    return result


def _mark_differences(wanted: Mark, found: Mark) -> list[str]:
    return [
        f"--{option} is {old}, not {new}"
        for option, old, new in (
            ("partitions", found.count, wanted.count),
            ("subject", found.subject, wanted.subject),
            ("key", found.key, wanted.key),
            ("ingest", found.ingest, wanted.ingest),
        )
        if old != new
    ]


def _limit_differences(
    wanted: Mapping[str, Any], found: Mapping[str, Any], *, is_ingest: bool
) -> list[str]:
    fields: tuple[tuple[str, str, Any], ...] = (
        ("storage", "--storage", "file"),
        ("num_replicas", "--replicas", 1),
        ("max_age", "--ingest-max-age" if is_ingest else "--max-age", 0),
        ("max_bytes", "max_bytes" if is_ingest else "--max-bytes", -1),
        ("max_msgs", "max_msgs", -1),
        ("retention", "retention", "limits"),
        ("discard", "discard", "old"),
        ("allow_direct", "allow_direct", False),
    )
    result = []
    for field, option, default in fields:
        old, new = (each.get(field, default) for each in (found, wanted))
        if old != new:
            result.append(f"{option} is {_shown(field, old)}, not {_shown(field, new)}")
    return result


def _shown(field: str, value: Any) -> str:
    if (field, value) in _UNLIMITED:
        return "unlimited"
    return f"{value / _SECOND_NS:g}s" if field == "max_age" else str(value)


def _without_empty(value: Any) -> Any:
    """Return the value without empty fields, which servers add or leave out."""
    if isinstance(value, Mapping):
        return {
            k: _without_empty(v) for k, v in value.items() if v not in (None, "", [], {}, 0, False)
        }
    return [_without_empty(each) for each in value] if isinstance(value, list) else value or None
