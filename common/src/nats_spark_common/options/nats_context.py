"""Contexts of the nats CLI: connection settings in a JSON file.

Source: github.com/nats-io/jsm.go, natscontext.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import OptionError
from .layers import Layer
from .names import with_url

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


def context_layer(name: str) -> Layer:
    """Return the settings of a context, given by its name or by the path of its file.

    Raises ``OptionError`` if the file cannot be read or is not a JSON object.
    """
    path = Path(name) if name.endswith(".json") else _folder() / f"{name}.json"
    try:
        content = json.loads(path.expanduser().read_text())
    except OSError as error:
        raise OptionError(
            f"nats.context={name}: {path} cannot be read ({error.strerror}); "
            f"use one of the contexts that 'nats context ls' lists{_others()}"
        ) from None
    except ValueError as error:
        raise OptionError(f"nats.context={name}: {path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise OptionError(f"nats.context={name}: {path} is not a JSON object")
    layer = Layer()
    for key, field in _FIELDS.items():
        value = content.get(key)
        if value not in (None, "", False):
            layer.put(field, _text(value), f"{key} in the context {path}")
    return with_url(layer)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(Path(str(value)).expanduser()) if str(value).startswith("~") else str(value)


def _folder() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "nats" / "context"


def _others() -> str:
    names = sorted(path.stem for path in _folder().glob("*.json")) if _folder().is_dir() else []
    return f": {', '.join(names)}" if names else ""
