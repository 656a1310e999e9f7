"""JSON objects out of bytes that may be anything. Pure."""

from __future__ import annotations

import json
from typing import Any


def json_object(content: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object in a text; None if the text is anything else.

    Besides other JSON, this excludes bytes that are not UTF-8, numbers that are none (``NaN``),
    text that UTF-8 cannot encode (a lone surrogate), and nesting that exhausts the stack.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        found = json.loads(text, parse_constant=_reject)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _reject(constant: str) -> None:
    raise ValueError(constant)
