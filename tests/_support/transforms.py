"""Subject transforms as the server applies them, written from its source (ADR-30)."""

from __future__ import annotations

import re

_FUNCTION = re.compile(r"\{\{(wildcard|partition)\(([0-9,]+)\)\}\}")


def fnv1a(data: bytes) -> int:
    """The 32-bit hash by which the server numbers partitions."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def partition(count: int, tokens: list[str]) -> int:
    """The partition of a key: its tokens are joined without anything between them."""
    return fnv1a("".join(tokens).encode()) % count


def transform(src: str, dest: str, subject: str) -> str | None:
    """The subject that becomes of one; None where ``src`` does not take it."""
    stars: list[str] = []
    rest: list[str] | None = None
    given = subject.split(".")
    wanted = src.split(".")
    for i, token in enumerate(wanted):
        if token == ">":
            rest = given[i:]
            break
        if i >= len(given) or token not in ("*", given[i]):
            return None
        if token == "*":
            stars.append(given[i])
    if rest == [] or (rest is None and len(given) != len(wanted)):
        return None
    result: list[str] = []
    for token in dest.split("."):
        function = _FUNCTION.fullmatch(token)
        if token == ">":
            assert rest is not None, "a transform has > on both sides or on none"
            result += rest
        elif function is None:
            assert "{{" not in token, f"not a function of the server: {token}"
            result.append(token)
        else:
            numbers = [int(n) for n in function.group(2).split(",")]
            if function.group(1) == "wildcard":
                result.append(stars[numbers[0] - 1])
            else:
                key = [stars[n - 1] for n in numbers[1:]] or given
                joined = [".".join(given)] if key is given else key
                result.append(str(partition(numbers[0], joined)))
    return ".".join(result)
