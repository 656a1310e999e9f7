"""Files of keys, certificates and credentials that options name, and their texts."""

from __future__ import annotations

import re
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

#: What a file may contain, and a path does not: PEM, a seed, or several lines.
_CONTENTS = re.compile(r"-----BEGIN|\bS[NCOAUX][A-Z2-7]{40,}|[\r\n]")


def require_files(settings: NatsSettings) -> None:
    """Raise ``OptionError`` if a file that the settings name does not exist on this machine.

    The message has no value that may be the contents of a file.
    """
    for name, text in TEXT_FIELDS.items():
        path = getattr(settings, name)
        if not path:
            continue
        option = field_option(name)
        if _CONTENTS.search(path):
            raise OptionError(
                f"{option} is the path of a file, but its value is the contents of one: set "
                f"{field_option(text)} to the contents"
            )
        if _is_too_long(path):
            raise OptionError(
                f"{option}: the value, of {len(path)} characters, is too long for a path: correct "
                f"the path, or set {field_option(text)} to the contents of the file"
            )
        try:
            found = Path(path).is_file()
        except OSError as error:  # a folder that may not be searched
            raise OptionError(
                f"{option}={path} cannot be read: {error.strerror}; correct the path, or the "
                "permissions of its folders"
            ) from None
        if not found:
            raise OptionError(
                f"{option}={path}: no such file on this machine; correct the path, or remove the "
                "option"
            )


def _is_too_long(path: str) -> bool:
    """Return whether a path is longer than Linux allows."""
    encoded = path.encode(errors="replace")
    return len(encoded) >= 4096 or max(map(len, encoded.split(b"/"))) > 255


def with_file_texts(settings: NatsSettings) -> NatsSettings:
    """Return the settings with the texts of the files, so that executors need no files.

    Raises ``AuthError`` if a file cannot be read, and ``OptionError`` if it is empty, because its
    text would count as not set.
    """
    found: dict[str, Any] = {}
    for name, text in TEXT_FIELDS.items():
        path = getattr(settings, name)
        if path:
            content = read_text(path, field_option(name))
            if not content.strip():
                raise OptionError(
                    f"{field_option(name)}={path} is empty: correct the file or the path, or "
                    "remove the option"
                )
            secret = text.endswith("secret")
            found |= {name: None, text: SecretStr(content) if secret else content}
    return settings.model_copy(update=found)


def read_text(path: str, option: str) -> str:
    """Return the text of a file. Raises ``AuthError`` that names the option."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise AuthError(f"{option}={path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AuthError(f"{option}={path} is not a text file ({error.reason})") from error
