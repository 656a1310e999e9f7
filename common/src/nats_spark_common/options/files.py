"""Files of keys, certificates and credentials that options name, and their texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ..errors import AuthError, OptionError
from .names import field_option

if TYPE_CHECKING:
    from .settings import NatsSettings

#: The fields that name a file, each with the field that holds the same text.
TEXT_FIELDS = {
    "nkey_seed_file": "nkey_seed_secret",
    "credential_file": "credential_secret",
    "tls_ca": "tls_ca_pem",
    "tls_cert": "tls_cert_pem",
    "tls_key": "tls_key_secret",
}


def require_files(settings: NatsSettings) -> None:
    """Raise ``OptionError`` if a file that the settings name does not exist on this machine."""
    for name in TEXT_FIELDS:
        path = getattr(settings, name)
        if path and not Path(path).is_file():
            raise OptionError(
                f"{field_option(name)}={path}: no such file on this machine; correct the path, or "
                "remove the option"
            )


def with_file_texts(settings: NatsSettings) -> NatsSettings:
    """Return the settings with the texts of the files, so that executors need no files.

    Raises ``AuthError`` if a file cannot be read.
    """
    found: dict[str, Any] = {}
    for name, text in TEXT_FIELDS.items():
        path = getattr(settings, name)
        if path:
            content = read_text(path, field_option(name))
            secret = text.endswith("secret")
            found |= {name: None, text: SecretStr(content) if secret else content}
    return settings.model_copy(update=found)


def read_text(path: str, option: str) -> str:
    """Return the text of a file. Raises ``AuthError`` that names the option."""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise AuthError(f"{option}={path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AuthError(f"{option}={path} is not a text file ({error.reason})") from error
