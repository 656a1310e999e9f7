"""Server URLs, and the credentials in them. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote, urlsplit

_EXPECTED = "server URLs such as nats://host:4222 or tls://host:4222"
_SCHEMES = ("nats", "tls")


def parse_list(value: Any) -> tuple[str, ...]:
    """Return the items of a comma list, without whitespace and empty items."""
    parts = value if isinstance(value, (tuple, list)) else str(value).split(",")
    return tuple(part.strip() for part in parts if part.strip())


def parse_urls(value: Any) -> tuple[str, ...]:
    """Return server URLs, ``nats://`` or ``tls://``; credentials are options of their own."""
    urls = []
    for text in parse_list(value):
        try:
            parts = urlsplit(text if "://" in text else f"nats://{text}")
            port = parts.port or 4222
        except ValueError:  # also of hosts such as [::1
            raise ValueError(_EXPECTED) from None
        if parts.scheme in ("ws", "wss"):
            raise ValueError(
                f"{_EXPECTED}; WebSocket is not supported: use nats:// or tls://, and the server's "
                "port for NATS clients"
            )
        if parts.scheme not in _SCHEMES or not parts.hostname or not 0 < port < 65536:
            raise ValueError(_EXPECTED)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        urls.append(f"{parts.scheme}://{host}:{port}")
    if not urls:
        raise ValueError("at least one server URL such as nats://host:4222")
    return tuple(urls)


def split_credentials(text: str) -> tuple[str, list[dict[str, str]]]:
    """Return a comma list of URLs without their credentials, and the credentials of each.

    Raises ``ValueError`` if the credentials cannot be separated from the rest. Its message has no
    part of the text, because any part may belong to a password.
    """
    bare, found = [], []
    for url in text.split(","):
        scheme, separator, rest = url.strip().partition("://")
        if not separator:
            scheme, rest = "", scheme
        credentials, at, host = rest.rpartition("@")
        if at:
            found.append(_parse_credentials(credentials))
        bare.append(scheme + separator + host)
    urls = ",".join(bare)
    if found:
        try:
            parse_urls(urls)
        except ValueError as error:
            raise ValueError(
                f"expected {error}; in a user or password, percent-encode , as %2C, @ as %40 and : "
                "as %3A"
            ) from None
    return urls, found


def _parse_credentials(text: str) -> dict[str, str]:
    """Return the user and password, or the token, before the ``@`` of a URL."""
    for character in "#/?":
        if character in text:
            raise ValueError(
                f"the user or password in the URL contains {character}, which ends the host of a "
                f"URL: percent-encode it ({quote(character, safe='')}), or use nats.user and "
                "nats.password"
            )
    user, colon, password = text.partition(":")
    if colon and not user:
        raise ValueError(
            "the URL has a password without a user: use nats://user:password@host, or "
            "nats://token@host"
        )
    if colon:
        return {"user": unquote(user), "password": unquote(password)}
    return {"token": unquote(user)} if user else {}
