"""The TLS context, and the CONNECT fields of every kind of authentication.

Sources: NATS docs, "Client Protocol" (CONNECT) and "Authentication"; ADR-14 (JWT and nkeys).
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import NamedTemporaryFile
from typing import Any

import nkeys
from pydantic import SecretStr

from ..errors import AuthError
from ..options.files import read_text
from ..options.names import field_option
from ..options.settings import NatsSettings
from .servers import MisconfiguredError

_log = logging.getLogger(__name__)

_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_CREDS_SECTION = re.compile(r"-----BEGIN ([A-Z ]+)-----\s*(\S+)\s*-+END \1-+")

#: The options for which this process has logged that they are not used.
_warned: set[str] = set()


def ssl_context(settings: NatsSettings) -> ssl.SSLContext:
    """Return the TLS context of the settings; the system's CAs are the default.

    Raises ``MisconfiguredError`` if a certificate or key cannot be used.
    """
    context = ssl.create_default_context()
    try:
        if settings.tls_ca or settings.tls_ca_pem:
            context.load_verify_locations(settings.tls_ca, cadata=_pem_blocks(settings.tls_ca_pem))
        with ExitStack() as files:
            cert = settings.tls_cert or _as_file(files, settings.tls_cert_pem)
            key = settings.tls_key or _as_file(files, _revealed(settings.tls_key_secret))
            if cert:
                context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise MisconfiguredError(
            f"cannot load the TLS files nats.tls.ca={settings.tls_ca}, "
            f"nats.tls.cert={settings.tls_cert}, nats.tls.key={settings.tls_key}, or the contents "
            f"of nats.tls.ca.pem, nats.tls.cert.pem and nats.tls.key.secret: {error}; "
            "use PEM files, and the key that belongs to the certificate"
        ) from error
    return context


def _pem_blocks(text: str | None) -> str | None:
    """Return a text without the comments between its PEM blocks, which `ssl` takes only in ASCII.

    A text without blocks is returned for `ssl` to reject.
    """
    if text is None:
        return None
    blocks = "\n".join(each.group() for each in _PEM_BLOCK.finditer(text))
    return blocks or text.encode("ascii", "replace").decode()


def _as_file(files: ExitStack, text: str | None) -> str | None:
    """Write the text to a temporary file that only its owner can read, until ``files`` closes."""
    if text is None:
        return None
    file = files.enter_context(NamedTemporaryFile("w", encoding="utf-8"))  # noqa: SIM115
    file.write(text)
    file.flush()
    return file.name


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def wants_tls(settings: NatsSettings) -> bool:
    """Return whether the settings require TLS, whatever the server offers."""
    return bool(
        settings.tls_first
        or settings.tls_ca
        or settings.tls_ca_pem
        or settings.tls_cert
        or settings.tls_cert_pem
        or any(url.startswith("tls://") for url in settings.url)
    )


def connect_fields(settings: NatsSettings, info: Mapping[str, object]) -> dict[str, Any]:
    """Return the authentication fields of CONNECT.

    A server that requires no authentication may not send a nonce. As with other clients, keys and
    credentials are then not used, and not even read, with a warning.

    Args:
        info: the server's INFO; its ``nonce`` is signed to authenticate with a key.

    Raises:
        AuthError: the credentials cannot be read, or the server sent no nonce to sign.
    """
    nonce = str(info.get("nonce") or "")
    signed = _signed_with(settings)
    if signed and not nonce and not info.get("auth_required"):
        _warn_of_unused(signed)
        return {}
    if signed and not nonce:
        raise AuthError(
            f"the server requires a password or a token, but {signed} is set: configure the "
            "server for nkey or JWT authentication, or remove the option and set nats.user and "
            "nats.password, or nats.token"
        )
    if settings.credential_secret or settings.credential_file:
        jwt, seed = _credentials(settings)
        return {"jwt": jwt, "sig": _sign(seed, nonce)}
    nkey = _nkey_seed(settings)
    if nkey is not None:
        public = _key_pair(nkey).public_key.decode()
        return {"nkey": public, "sig": _sign(nkey, nonce)}
    if settings.token:
        return {"auth_token": settings.token.get_secret_value()}
    if settings.user:
        password = settings.password.get_secret_value() if settings.password else ""
        return {"user": settings.user, "pass": password}
    return {}


def nats_py_options(settings: NatsSettings) -> dict[str, Any]:
    """Return the TLS and authentication options for ``nats.connect`` of nats-py."""
    options: dict[str, Any] = {}
    if wants_tls(settings):
        options["tls"] = ssl_context(settings)
        options["tls_handshake_first"] = settings.tls_first
    if settings.tls_hostname:  # also for servers that require TLS although the options do not
        options["tls_hostname"] = settings.tls_hostname
    if settings.credential_secret or settings.credential_file:
        # nats-py calls these only if the server sends a nonce; otherwise they need not be valid.
        options["user_jwt_cb"] = lambda: _credentials(settings)[0].encode()
        options["signature_cb"] = lambda nonce: _sign(_credentials(settings)[1], nonce).encode()
        return options
    nkey = _nkey_seed(settings)
    if nkey is not None:
        _key_pair(nkey)  # nats-py's own error does not name the option
        options["nkeys_seed_str"] = nkey.decode()
    elif settings.token:
        options["token"] = settings.token.get_secret_value()
    elif settings.user:
        options["user"] = settings.user
        options["password"] = settings.password.get_secret_value() if settings.password else ""
    return options


def _nkey_seed(settings: NatsSettings) -> bytes | None:
    if settings.nkey_seed_secret:
        return settings.nkey_seed_secret.get_secret_value().strip().encode()
    if settings.nkey_seed_file:
        return read_text(settings.nkey_seed_file, "nats.nkey.seed.file").strip().encode()
    return None


def _signed_with(settings: NatsSettings) -> str:
    """Return the option that signs the server's nonce, with its value if that is no secret."""
    for name in ("credential_file", "nkey_seed_file"):
        if getattr(settings, name):
            return f"{field_option(name)}={getattr(settings, name)}"
    for name in ("credential_secret", "nkey_seed_secret"):
        if getattr(settings, name):
            return field_option(name)
    return ""


def _warn_of_unused(option: str) -> None:
    if option not in _warned:
        _warned.add(option)
        _log.warning(
            "the NATS server requires no authentication, so %s is not used: remove the option if "
            "the server needs no credentials, or check nats.url",
            option,
        )


def _credentials(settings: NatsSettings) -> tuple[str, bytes]:
    """Return the JWT and the seed of the credentials file or text. Raises ``AuthError``."""
    option, text = "nats.credential.secret", ""
    if settings.credential_secret:
        text = settings.credential_secret.get_secret_value()
    elif settings.credential_file:
        option = f"nats.credential.file={settings.credential_file}"
        text = read_text(settings.credential_file, "nats.credential.file")
    sections = dict(_CREDS_SECTION.findall(text))
    try:
        return sections["NATS USER JWT"], sections["USER NKEY SEED"].encode()
    except KeyError:
        raise AuthError(
            f"{option} is not a NATS credentials file: it must hold a 'NATS USER JWT' and a 'USER "
            f"NKEY SEED' section (nsc generate creds); remove {option.partition('=')[0]} if the "
            "server needs no credentials"
        ) from None


def _key_pair(seed: bytes) -> nkeys.KeyPair:
    try:
        return nkeys.from_seed(bytearray(seed))
    except Exception as error:  # nkeys raises several unrelated types
        raise AuthError(
            "the nkey seed (nats.nkey.seed.secret, nats.nkey.seed.file or the credentials file) "
            f"is invalid: {type(error).__name__}; use a user seed, which begins with SU"
        ) from None


def _sign(seed: bytes, nonce: str) -> str:
    return base64.urlsafe_b64encode(_key_pair(seed).sign(nonce.encode())).rstrip(b"=").decode()
