"""Contexts of the nats CLI: connection settings in a JSON file.

Source: github.com/nats-io/jsm.go, natscontext.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..errors import OptionError
from .files import TEXT_FIELDS
from .layers import Layer
from .names import with_url

_log = logging.getLogger(__name__)

_FIELDS = {
    "url": "url",
    "user": "user",
    "password": "password",
    "token": "token",
    "creds": "credential_file",
    "nkey": "nkey_seed_file",
    "ca": "tls_ca",
    "cert": "tls_cert",
    "key": "tls_key",
    "tls_first": "tls_first",
    "jetstream_domain": "domain",
    "jetstream_api_prefix": "js_api_prefix",
    "inbox_prefix": "inbox_prefix",
}


def used_context(options: Layer, environment: Layer) -> Iterator[Layer]:
    """Yield the layer of the context that the options or the environment name, if any.

    If only the environment names a context, and the options name the server, then a context that
    cannot be read gives a warning: it may belong to other programs of the user.

    Raises ``OptionError`` as `context_layer`.
    """
    explicit = "context" in options.values
    name = (options if explicit else environment).values.get("context")
    if not name:
        return
    try:
        yield context_layer(name)
    except OptionError as error:
        if explicit or "url" not in options.values:
            raise
        _warn_once(f"{error}. It is ignored, because the options have nats.url")


@lru_cache(1024)
def _warn_once(message: str) -> None:
    """Log a warning that would be repeated for each batch."""
    _log.warning("%s", message)


def context_layer(name: str) -> Layer:
    """Return the settings of a context, given by its name or by the path of its file.

    Raises ``OptionError`` if the file cannot be read or is not a JSON object.
    """
    path = Path(_expanded(name)) if name.endswith(".json") else _folder() / f"{name}.json"
    shown = name if len(name) <= 200 else f"{name[:200]}..."
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        where = f": {path}" if shown == name else ""
        raise OptionError(
            f"nats.context={shown}{where} cannot be read ({error.strerror}); "
            f"use one of the contexts that 'nats context ls' lists{_others()}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise OptionError(f"nats.context={shown}: {path} is not JSON: {error}") from None
    except RuntimeError as error:  # a home directory that cannot be determined
        raise OptionError(f"nats.context={shown}: {path}: {error}") from None
    if not isinstance(content, dict):
        raise OptionError(f"nats.context={name}: {path} is not a JSON object")
    layer = Layer()
    for key, field in _FIELDS.items():
        value = content.get(key)
        if value not in (None, "", False):
            origin = f"{key} in the context {path}"
            if not isinstance(value, (str, bool, int, float)):
                raise OptionError(f"{origin} is neither text nor a number: correct the file")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            try:
                text = _expanded(text) if field in TEXT_FIELDS else text
            except RuntimeError as error:
                raise OptionError(f"{origin}={text!r}: {error}") from None
            layer.put(field, text, origin)
    return with_url(layer)


def _expanded(path: str) -> str:
    """Return a path with ``~`` expanded, or as it is if there is no such home."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises if there is none


def _folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or _expanded("~/.config")) / "nats" / "context"


def _others() -> str:
    names = sorted(path.stem for path in _folder().glob("*.json")) if _folder().is_dir() else []
    return f": {', '.join(names)}" if names else ""
